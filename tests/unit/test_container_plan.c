/* SPDX-License-Identifier: Apache-2.0 */
/* What the library freezes and the keeper reads; the filters' cache; records. */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "providers/container/container.h"
#include "providers/container/keeper/plan.h"
#include "providers/container/setup/secure.h"

int venv__context_data(struct venv *ctx, venv_error **err)
{
	(void)err;
	return ctx->data_fd;
}

int venv__context_map(struct venv *ctx, const struct idmap **ret, venv_error **err)
{
	*ret = &ctx->map;
	return venv__fail(err, VENV_ERR_HOST, "no map here");
}

char *venv__context_program(const struct venv *ctx, const char *name)
{
	return venv__path_join(ctx->libexec_dir, name);
}

int venv__op_cancelled(struct venv_op *op, venv_error **err)
{
	(void)op;
	(void)err;
	return 0;
}

int venv__op_cancel_fd(const struct venv_op *op)
{
	(void)op;
	return -1;
}

void venv__op_notice(struct venv_op *op, const char *machine, const char *format, ...)
{
	(void)op;
	(void)machine;
	(void)format;
}

static struct machine machine_of(struct venv *ctx, struct machine_spec *spec)
{
	static char layer[] = "/layer", *layers[] = { layer, NULL }, libexec[] = "/libexec";

	ctx->libexec_dir = libexec;
	ctx->map = (struct idmap){ .uid = 1000, .gid = 1000, .sub_uid = 100000, .sub_gid = 100000 };
	return (struct machine){ .ctx = ctx,
				 .id = "00112233445566778899aabbccddeeff",
				 .name = "web",
				 .project = "shop",
				 .spec = spec,
				 .map = &ctx->map,
				 .dir_fd = AT_FDCWD,
				 .dir = "/machines/x",
				 .image = { .layers = layers },
				 .login = "dev" };
}

static void freezes_and_reads_plans(void **state)
{
	char name[] = "web", variable[] = "A=b", *env[] = { variable, NULL };
	struct machine_spec spec = { .name = name,
				     .hostname = name,
				     .env = env,
				     .memory = 1 << 20,
				     .cpus = 1.5,
				     .oom = OOM_FREEZE,
				     .profile = PROFILE_APP };
	struct venv ctx = { 0 };
	struct machine machine = machine_of(&ctx, &spec);
	json_t *json = container_plan(&machine, NULL);
	struct plan plan;

	(void)state;
	assert_non_null(json);
	assert_int_equal(plan_parse(json, &plan, NULL), 0);
	assert_string_equal(plan.login, "dev");
	assert_true(plan.app);
	assert_false(plan.systemd);
	assert_null(plan.init);
	assert_string_equal(venv__env_get(plan.env, "A"), "b");
	assert_string_equal(venv__env_get(plan.env, "container"), "venv");
	assert_int_equal(plan.map.sub_uid, 100000);
	assert_int_equal(venv__json_int(plan.limits, "memory", 0), 1 << 20);
	assert_string_equal(venv__json_str(plan.limits, "oom"), "freeze");
	assert_int_equal(plan.stop_signal, SIGTERM);
	plan_done(&plan);
	assert_int_equal(plan_parse(json_pack("{s:s}", "id", "x"), &plan, NULL), VENV_ERR_INVALID);
}

static void chooses_the_first_program(void **state)
{
	char name[] = "web", init[] = "/sbin/init", serve[] = "/serve", stop[] = "SIGQUIT";
	char *system[] = { init, NULL }, *service[] = { serve, NULL };
	const struct {
		enum init_kind init;
		char **cmd;
		const char *program; /* NULL: venv-init */
		bool systemd;
		int signal_number;
	} cases[] = {
		{ INIT_AUTO, NULL, NULL, false, SIGTERM },
		{ INIT_AUTO, service, NULL, false, SIGTERM },
		{ INIT_AUTO, system, "/sbin/init", true, SIGQUIT },
		{ INIT_NONE, system, NULL, false, SIGTERM },
		{ INIT_IMAGE, service, "/serve", false, SIGQUIT },
		{ INIT_SYSTEMD, service, "/sbin/init", true, SIGQUIT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct machine_spec spec = { .name = name,
					     .hostname = name,
					     .init = cases[i].init };
		struct venv ctx = { 0 };
		struct machine machine = machine_of(&ctx, &spec);
		struct plan plan;

		machine.image.cmd = cases[i].cmd;
		machine.image.stop_signal = stop;
		assert_int_equal(plan_parse(container_plan(&machine, NULL), &plan, NULL), 0);
		assert_int_equal(plan.systemd, cases[i].systemd);
		assert_int_equal(plan.stop_signal, cases[i].signal_number);
		if (cases[i].program)
			assert_string_equal(plan.init[0], cases[i].program);
		else
			assert_null(plan.init);
		plan_done(&plan);
	}
}

static int temporary(char template[])
{
	assert_non_null(mkdtemp(template));
	return open(template, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void keeps_filters(void **state)
{
	char template[] = "/tmp/venv-filter-XXXXXX";
	struct venv ctx = { .data_fd = temporary(template) };
	_cleanup_strv_ char **names = NULL;
	struct stat first, second;
	int fd, dir;

	(void)state;
	fd = container_seccomp(&ctx, PROFILE_DEV, NULL);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &first), 0);
	(void)close(fd);
	dir = openat(ctx.data_fd, "seccomp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(venv__dir_list(dir, &names, NULL), 0);
	assert_int_equal(venv__strv_count(names), 1);
	/* damaged, or writable by others: not used, and made anew */
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			assert_int_equal(venv__file_write(dir, names[0],
							  "12345678\6\0\0\0\0\0\xff\x7f", 16, 0600,
							  WRITE_VOLATILE, NULL),
					 0);
		else
			assert_int_equal(fchmodat(dir, names[0], 0666, 0), 0);
		fd = container_seccomp(&ctx, PROFILE_DEV, NULL);
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &second), 0);
		assert_int_equal(first.st_size, second.st_size);
		(void)close(fd);
		assert_int_equal(fstatat(dir, names[0], &second, 0), 0);
		assert_int_equal(second.st_mode & 0777, 0600);
	}
	fd = container_seccomp(&ctx, PROFILE_APP, NULL);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &second), 0);
	assert_true(second.st_size > first.st_size);
	assert_true(second.st_size <= (off_t)(FILTER_MAX * sizeof(struct sock_filter)));
	(void)close(fd);
	(void)close(dir);
	(void)venv__tree_delete(AT_FDCWD, template, NULL);
}

static void reads_records(void **state)
{
	static const char running[] = "{\"state\":\"running\",\"pid\":7}          \n";
	static const char stopped[] = "{\"state\":\"stopped\"}\n";
	char template[] = "/tmp/venv-record-XXXXXX";
	_cleanup_close_ int dir = temporary(template), fd = -1;
	json_t *record = NULL;

	(void)state;
	assert_int_equal(container_record_state(dir, NULL), MACHINE_ABSENT);
	assert_int_equal(mkdirat(dir, "upper", 0700), 0);
	assert_int_equal(container_record_state(dir, NULL), MACHINE_STOPPED);
	fd = openat(dir, "alive", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(pwrite(fd, running, sizeof(running) - 1, 0), sizeof(running) - 1);
	assert_int_equal(container_record_state(dir, NULL), MACHINE_CRASHED);
	assert_int_equal(venv__lock_try(fd, true), 0);
	assert_int_equal(container_record_state(dir, &record), MACHINE_RUNNING);
	assert_int_equal(venv__json_int(record, "pid", 0), 7);
	json_decref(record);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(container_record_state(dir, NULL), MACHINE_STARTING);
	assert_int_equal(pwrite(fd, stopped, sizeof(stopped) - 1, 0), sizeof(stopped) - 1);
	assert_int_equal(container_record_state(dir, NULL), MACHINE_STOPPED);
	venv__unlock(fd);
	assert_int_equal(container_record_state(dir, NULL), MACHINE_STOPPED);
	(void)venv__tree_delete(AT_FDCWD, template, NULL);
}

static void keeps_the_right_capabilities(void **state)
{
	(void)state;
	assert_int_equal(secure_capabilities(true), 0x800405fb);
	assert_true(secure_capabilities(false) & (UINT64_C(1) << 21));  /* CAP_SYS_ADMIN */
	assert_false(secure_capabilities(false) & (UINT64_C(1) << 16)); /* CAP_SYS_MODULE */
	assert_false(secure_capabilities(false) >> 41);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(freezes_and_reads_plans),
		cmocka_unit_test(chooses_the_first_program),
		cmocka_unit_test(keeps_filters),
		cmocka_unit_test(reads_records),
		cmocka_unit_test(keeps_the_right_capabilities),
	};

	return cmocka_run_group_tests_name("container_plan", tests, NULL, NULL);
}
