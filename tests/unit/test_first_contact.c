/* SPDX-License-Identifier: Apache-2.0 */
/* What machines without cloud-init are told over ssh, and what is believed of what they say. */
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "first_contact.h"
#include "guest.h"
#include "ssh/ssh.h"
#include "util/file.h"

struct world {
	char dir[64];
	struct provider provider;
	struct venv_project project;
	struct machine_spec spec;
	struct machine_folder folders[2];
	struct work work;
};

/* What the machine does, and what it was told; the functions below have no other way to it. */
static struct {
	int status;
	const char *out, *err;
	size_t noise; /* bytes on stderr before that */
	size_t taken; /* of them */
	char script[16384];
	char **argv;
	unsigned saved, owned, opened;
} there;

/* ---- The rest of the library ----------------------------------------------------------------- */

int venv__ssh_run(struct venv *ctx, const struct ssh_target *target, const struct ssh_run *run,
		  struct venv_op *op, venv_error **err)
{
	static const char noise[4096] = "noise\n";
	ssize_t n = pread(run->fds[0], there.script, sizeof(there.script) - 1, 0);

	(void)ctx;
	(void)op;
	(void)err;
	assert_string_equal(target->user, "vagrant");
	assert_true(n > 0);
	there.script[n] = '\0';
	if (there.err)
		(void)!write(run->fds[2], there.err, strlen(there.err));
	for (size_t i = 0; i < there.noise; i += sizeof(noise)) {
		n = write(run->fds[2], noise, sizeof(noise));
		there.taken += n > 0 ? (size_t)n : 0;
	}
	(void)close(target->fd);
	return there.status;
}

int venv__guest_run(const struct provider *provider, struct machine *machine,
		    struct exec_spec *spec, const struct guest_io *io, struct venv_op *op,
		    venv_error **err)
{
	(void)provider;
	(void)machine;
	(void)op;
	(void)err;
	assert_string_equal(spec->user, "root");
	venv__strv_free(there.argv);
	there.argv = venv__strv_copy(spec->argv);
	if (there.out)
		io->output(io->user, 1, there.out, strlen(there.out));
	if (there.err)
		io->output(io->user, 2, there.err, strlen(there.err));
	return there.status;
}

int venv__machine_save(struct record *record, enum write_mode how, venv_error **err)
{
	(void)record;
	(void)err;
	assert_int_equal(how, WRITE_DURABLE);
	there.saved++;
	return 0;
}

int venv__folders_open(struct work *work, venv_error **err)
{
	(void)work;
	(void)err;
	there.opened++;
	return 0;
}

void venv__op_begin(struct venv_op *op, const char *machine, const char *phase, const char *format,
		    ...)
{
	(void)op;
	(void)machine;
	(void)phase;
	(void)format;
}

void venv__op_end(struct venv_op *op, const char *machine, const char *phase)
{
	(void)op;
	(void)machine;
	(void)phase;
}

static int connect_nowhere(struct machine *machine, int *ret_fd, venv_error **err)
{
	(void)machine;
	(void)err;
	*ret_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return 0;
}

static int own(struct machine *machine, venv_error **err)
{
	(void)machine;
	(void)err;
	there.owned++;
	return 0;
}

/* ---- A machine ------------------------------------------------------------------------------- */

static void put(int dir_fd, const char *name, const char *text)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_int_equal(venv__write_all(fd, text, strlen(text)), 0);
}

static int setup(void **state)
{
	struct world *w = test_calloc(1, sizeof(*w));
	static char data[] = "/data", code[] = "/srv/it's mine";
	static char name[] = "it's";
	int fd;

	memset(&there, 0, sizeof(there));
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/venv-test-contact.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(fd, "keys", 0700), 0);
	put(fd, "keys/host", "-----BEGIN\nhost\n-----END\n\n");
	put(fd, "keys/host.pub", "ssh-ed25519 AAAA web\n");
	put(fd, "keys/authorized", "ssh-ed25519 BBBB me\n");
	w->provider = (struct provider){ .connect = connect_nowhere, .own = own };
	w->spec.hostname = name;
	w->folders[0].guest = data;
	w->folders[0].read_only = true;
	w->folders[1].guest = code;
	w->work =
		(struct work){ .project = &w->project,
			       .provider = &w->provider,
			       .spec = &w->spec,
			       .record = { .dir_fd = fd,
					   .spec = json_pack("{s:{s:b}}", "box", "insecure_key", 1),
					   .state = json_object() },
			       .machine = { .name = "web",
					    .login = "o'neill",
					    .spec = &w->spec,
					    .dir_fd = fd,
					    .folders = w->folders,
					    .n_folders = 2 } };
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	venv__strv_free(there.argv);
	json_decref(w->work.record.spec);
	json_decref(w->work.record.state);
	(void)close(w->work.record.dir_fd);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->dir, NULL), 0);
	test_free(w);
	return 0;
}

/* ---- The well-known key ---------------------------------------------------------------------- */

static void the_key_is_replaced_once(void **state)
{
	static const char begin[] = "user='o'\\''neill'\n"
				    "host='it'\\''s'\n"
				    "host_key='-----BEGIN\nhost\n-----END'\n"
				    "host_public='ssh-ed25519 AAAA web'\n"
				    "keys='ssh-ed25519 BBBB me'\n"
				    "set -eu\n";
	struct world *w = *state;

	assert_true(venv__first_contact_due(&w->work));
	assert_int_equal(venv__first_contact(&w->work, NULL), 0);
	assert_memory_equal(there.script, begin, sizeof(begin) - 1);
	assert_int_equal(there.saved, 1);
	assert_false(venv__first_contact_due(&w->work));
	json_object_clear(w->work.record.state);
	json_object_clear(w->work.record.spec);
	assert_false(venv__first_contact_due(&w->work));
}

static void a_key_that_stays_is_told(void **state)
{
	_cleanup_error_ venv_error *error = NULL;
	struct world *w = *state;

	there.status = 3;
	there.err = "it has no user 'dev'\n";
	assert_int_equal(venv__first_contact(&w->work, &error), VENV_ERR_COMMAND);
	assert_string_equal(venv_error_details(error), there.err);
	assert_non_null(venv_error_hint(error));
	assert_true(venv__first_contact_due(&w->work));
	assert_int_equal(there.saved, 0);
}

/* Everybody who has the well-known key may be the one who answers. */
static void what_it_says_is_bounded(void **state)
{
	_cleanup_error_ venv_error *error = NULL;
	struct world *w = *state;

	there.status = 1;
	there.err = "the reason\n";
	there.noise = 4 << 20;
	assert_int_equal(venv__first_contact(&w->work, &error), VENV_ERR_COMMAND);
	assert_memory_equal(venv_error_details(error), "the reason\n", 11);
	assert_in_range(there.taken, 0, 4096);
}

static void keys_must_be_there(void **state)
{
	struct world *w = *state;

	assert_int_equal(unlinkat(w->work.record.dir_fd, "keys/host", 0), 0);
	assert_int_equal(venv__first_contact(&w->work, NULL), VENV_ERR_NOT_FOUND);
	assert_string_equal(there.script, "");
}

/* ---- Folders --------------------------------------------------------------------------------- */

static void folders_go_as_words(void **state)
{
	static const char *const expected[] = { "venv", "o'neill", "venv0",          "/data",
						"ro",   "venv1",   "/srv/it's mine", "rw" };
	struct world *w = *state;

	assert_int_equal(venv__folders_mount(&w->work, NULL), 0);
	assert_string_equal(there.argv[0], "/bin/sh");
	assert_string_equal(there.argv[1], "-c");
	assert_null(strstr(there.argv[2], "mine"));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_string_equal(there.argv[3 + i], expected[i]);
	assert_null(there.argv[3 + ARRAY_SIZE(expected)]);
	assert_int_equal(there.opened, 0);
	w->work.machine.folders = NULL;
	w->work.machine.n_folders = 0;
	assert_int_equal(venv__folders_mount(&w->work, NULL), 0);
	assert_int_equal(there.opened, 1);
}

static void who_logs_in_is_noted(void **state)
{
	static const struct {
		const char *said;
		bool known;
		uint32_t uid, gid;
	} cases[] = {
		{ "", false, 0, 0 },
		{ "root\nroot\n", false, 0, 0 },
		{ "1000\n", false, 0, 0 },
		{ "1000\nusers\n", false, 0, 0 },
		{ "-1\n1000\n", false, 0, 0 },
		{ "1000\n-1\n", false, 0, 0 },
		{ "4294967295\n0\n", false, 0, 0 },
		{ "18446744073709551616\n0\n", false, 0, 0 },
		{ "1000\n99999999999999999999999\n", false, 0, 0 },
		{ "1000\n1001\n", true, 1000, 1001 },
		{ "1000\n1001\n", true, 1000, 1001 }, /* nothing new */
		{ "0\n0\n", true, 0, 0 },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		there.out = cases[i].said;
		assert_int_equal(venv__folders_mount(&w->work, NULL), 0);
		assert_int_equal(w->work.machine.login_known, cases[i].known);
		assert_int_equal(w->work.machine.login_uid, cases[i].uid);
		assert_int_equal(w->work.machine.login_gid, cases[i].gid);
	}
	assert_int_equal(there.owned, 2);
	assert_int_equal(venv__json_int(json_object_get(w->work.record.state, "login"), "uid", -1),
			 0);
}

static void folders_that_fail_are_told(void **state)
{
	_cleanup_error_ venv_error *error = NULL;
	struct world *w = *state;

	there.status = 32;
	there.err = "mount: unknown filesystem type 'virtiofs'\n";
	assert_int_equal(venv__folders_mount(&w->work, &error), VENV_ERR_COMMAND);
	assert_string_equal(venv_error_details(error), there.err);
	assert_non_null(venv_error_hint(error));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_key_is_replaced_once),   TEST(a_key_that_stays_is_told),
		TEST(what_it_says_is_bounded),    TEST(keys_must_be_there),
		TEST(folders_go_as_words),        TEST(who_logs_in_is_noted),
		TEST(folders_that_fail_are_told),
	};

	return cmocka_run_group_tests_name("first_contact", tests, NULL, NULL);
}
