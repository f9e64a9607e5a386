/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Core over the fake provider while memory runs out: allocation n fails, for every n until the work
 * needs no more. Each time it ends with VENV_ERR_NOMEM (see may_end_with()) or as if nothing had happened, has given back
 * all memory and every descriptor, and the same work succeeds right after.
 *
 *   test_core_memory [STRIDE [TEST]]    only every STRIDE-th n; 1, the default, takes minutes
 */
#include "tests/unit/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <venv.h>

#include "failing_memory.h"
#include "util/file.h"

#ifdef HAVE_SANITIZER
int main(void)
{
	(void)fputs("skipped: a sanitizer has its own allocator\n", stderr);
	return 77;
}
#else

static char root[64], data[96], dir[96];
static long stride = 1;

/* answer: text of a question, else NULL */
typedef int (*work_fn)(char **answer, venv_error **err);

struct session {
	venv *ctx;
	venv_project *project;
};

static void end(struct session *session)
{
	venv_project_free(session->project);
	venv_free(session->ctx);
}
#define _cleanup_session_ _cleanup_(end)

static int begin(struct session *ret, venv_error **err)
{
	venv_project_options project = VENV_PROJECT_OPTIONS_INIT;
	venv_options options = VENV_OPTIONS_INIT;
	int r;

	options.data_dir = data;
	project.dir = dir;
	r = venv_new(&options, &ret->ctx, err);
	return r < 0 ? r : venv_project_open(ret->ctx, &project, &ret->project, err);
}

static int finish(int r, venv_op *const *ret, venv_error **err)
{
	venv_op *op;

	if (r < 0)
		return r;
	op = *ret;
	r = venv_op_wait(op, err);
	venv_op_free(op);
	return r;
}

static int do_open(char **answer, venv_error **err)
{
	_cleanup_session_ struct session s = { 0 };

	(void)answer;
	return begin(&s, err);
}

static int do_up(char **answer, venv_error **err)
{
	_cleanup_session_ struct session s = { 0 };
	venv_op *op = NULL;
	int r = begin(&s, err);

	(void)answer;
	if (r < 0)
		return r;
	return finish(venv_up(s.project, NULL, NULL, &op, err), &op, err);
}

#define VERB(name)                                                                                 \
	static int do_##name(char **answer, venv_error **err)                                      \
	{                                                                                          \
		_cleanup_session_ struct session s = { 0 };                                        \
		venv_op *op = NULL;                                                                \
		int r = begin(&s, err);                                                            \
                                                                                                   \
		(void)answer;                                                                      \
		if (r < 0)                                                                         \
			return r;                                                                  \
		return finish(venv_##name(s.project, NULL, 0, &op, err), &op, err);                \
	}
VERB(halt)
VERB(suspend)
VERB(resume)
VERB(provision)
VERB(destroy)

/* The last thing that failed may have come after the deed. */
static int forget(venv_error **err)
{
	venv_error_free(*err);
	*err = NULL;
	return 0;
}

#define SNAPSHOT(name, done_already)                                                               \
	static int do_snapshot_##name(char **answer, venv_error **err)                             \
	{                                                                                          \
		_cleanup_session_ struct session s = { 0 };                                        \
		venv_op *op = NULL;                                                                \
		int r = begin(&s, err);                                                            \
                                                                                                   \
		(void)answer;                                                                      \
		if (r < 0)                                                                         \
			return r;                                                                  \
		r = finish(venv_snapshot_##name(s.project, NULL, "a", 0, &op, err), &op, err);     \
		return r == done_already ? forget(err) : r;                                        \
	}
SNAPSHOT(save, VENV_ERR_EXISTS)
SNAPSHOT(restore, 0)
SNAPSHOT(delete, VENV_ERR_NOT_FOUND)

static int do_exec(char **answer, venv_error **err)
{
	static const char *const argv[] = { "sh", "-c", "exit 3", NULL };
	static const char *const env[] = { "A=1", NULL };
	venv_run_options options = VENV_RUN_OPTIONS_INIT;
	_cleanup_session_ struct session s = { 0 };
	venv_op *op = NULL;
	int r = begin(&s, err);

	(void)answer;
	options.argv = argv;
	options.env = env;
	if (r == 0)
		r = venv_exec(s.project, "web", &options, &op, err);
	if (r < 0)
		return r;
	r = venv_op_wait(op, err);
	if (r == 0)
		assert_int_equal(venv_op_exit_status(op), 3);
	venv_op_free(op);
	return r;
}

static bool mute; /* venv_value_json() has no error to give */

static int give(int r, venv_value *const *value, char **answer)
{
	if (r < 0)
		return r;
	*answer = venv_value_json(*value);
	venv_value_free(*value);
	mute = !*answer;
	return mute ? VENV_ERR_NOMEM : 0;
}

#define QUESTION(name, call)                                                                       \
	static int do_##name(char **answer, venv_error **err)                                      \
	{                                                                                          \
		_cleanup_session_ struct session s = { 0 };                                        \
		venv_value *value = NULL;                                                          \
		int r = begin(&s, err);                                                            \
                                                                                                   \
		return r < 0 ? r : give(call, &value, answer);                                     \
	}
QUESTION(status, venv_status(s.project, NULL, &value, err))
QUESTION(plan, venv_plan(s.project, NULL, &value, err))
QUESTION(global_status, venv_global_status(s.ctx, &value, err))
QUESTION(box_list, venv_box_list(s.ctx, &value, err))
QUESTION(box_info, venv_box_info(s.ctx, "busybox", &value, err))
QUESTION(box_recipes, venv_box_recipes(s.ctx, &value, err))

static size_t open_descriptors(void)
{
	DIR *list = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(list);
	while (readdir(list))
		n++;
	(void)closedir(list);
	return n;
}

/* Without a failure. */
static char *succeed(work_fn work, const char *what)
{
	_cleanup_error_ venv_error *err = NULL;
	char *answer = NULL;
	int r = work(&answer, &err);

	if (r < 0)
		fail_msg("%s: %d, %s (hint: %s)", what, r, venv_error_message(err),
			 venv_error_hint(err) ? venv_error_hint(err) : "-");
	return answer;
}

/*
 * Threads, libcrypto and directories tell a lack of memory as a failure of the system; a command whose
 * end could not be read has failed. What must not be said: that a record is damaged or not there.
 */
static bool may_end_with(int r)
{
	return r >= 0 || r == VENV_ERR_NOMEM || r == VENV_ERR_SYSTEM || r == VENV_ERR_COMMAND;
}

static int complaints;

/* All that is wrong, in one run. */
static void complain(const char *format, ...) _printf_(1, 2);
static void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprint_error(format, args);
	va_end(args);
	print_error("\n");
	complaints++;
}

static bool try_one(work_fn work, long n, const char *expected)
{
	size_t descriptors = open_descriptors();
	_cleanup_free_ char *answer = NULL;
	char place[1024], lost[512];
	venv_error *err = NULL;
	bool failed;
	size_t left;
	int r;

	mute = false;
	failing_memory_begin(n);
	r = work(&answer, &err);
	failed = failing_memory_end();
	failing_memory_place(place, sizeof(place));
	if (!may_end_with(r))
		complain("%ld: code %d, %s; failed at%s", n, r, venv_error_message(err), place);
	if (r < 0 && !err && !mute)
		complain("%ld: no error object; failed at%s", n, place);
	if (r == 0 && expected && strcmp(answer, expected) != 0)
		complain("%ld: %s instead of %s; failed at%s", n, answer, expected, place);
	venv_error_free(err);
	free(answer);
	answer = NULL;
	left = failing_memory_lost(lost, sizeof(lost));
	if (left)
		complain("%ld: %zu pieces lost, of %s; failed at%s", n, left, lost, place);
	if (open_descriptors() != descriptors)
		complain("%ld: a descriptor is lost; failed at%s", n, place);
	return failed;
}

/* undo: what leads back to where the work began; NULL: nothing */
static void fail_each(work_fn work, work_fn undo)
{
	_cleanup_free_ char *expected = NULL;
	long n = 0;

	complaints = 0;
	for (int i = 0; i < 2; i++) { /* what is allocated once and for all */
		free(expected);
		expected = succeed(work, "before");
		if (undo)
			free(succeed(undo, "undo"));
	}
	while (try_one(work, n, expected)) {
		char what[32];

		(void)snprintf(what, sizeof(what), "after %ld", n);
		free(succeed(work, what));
		if (undo)
			free(succeed(undo, what));
		n += stride;
	}
	if (undo)
		free(succeed(undo, "undo"));
	assert_true(n > 100);
	assert_int_equal(complaints, 0);
	print_message("             %ld allocations\n", n);
}

static void write_project(const char *text)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(
		venv__file_write(fd, "venv.yml", text, strlen(text), 0644, WRITE_VOLATILE, NULL),
		0);
}

#define ONE                                                                                        \
	"box: busybox\nnetworks: []\nfolders: [ .:/work ]\nmachines:\n"                            \
	"  web: { env: { A: b }, volumes: [ data:/srv ],\n"                                        \
	"         provision: [ { name: one, run: 'true' }, { run: 'true', when: always } ] }\n"
#define TWO                                                                                        \
	"box: busybox\nnetworks: []\nfolders: []\nmachines:\n"                                     \
	"  web: { needs: { db: ready } }\n  db: { ready: { run: 'true' } }\n"

static int setup(void **state)
{
	(void)state;
	(void)free(succeed(do_destroy, "setup"));
	return 0;
}

static void opening(void **state)
{
	(void)state;
	fail_each(do_open, NULL);
}

static void up_of_one(void **state)
{
	(void)state;
	write_project(ONE);
	fail_each(do_up, do_destroy);
}

static void up_of_two(void **state)
{
	(void)state;
	write_project(TWO);
	fail_each(do_up, do_destroy);
	write_project(ONE);
}

static void questions(void **state)
{
	(void)state;
	fail_each(do_plan, NULL);
	free(succeed(do_up, "up"));
	fail_each(do_status, NULL);
	fail_each(do_plan, NULL);
	fail_each(do_global_status, NULL);
	fail_each(do_box_list, NULL);
	fail_each(do_box_info, NULL);
	fail_each(do_box_recipes, NULL);
}

static void work_in_a_machine(void **state)
{
	(void)state;
	free(succeed(do_up, "up"));
	fail_each(do_exec, NULL);
	fail_each(do_provision, NULL);
}

static void up_again(void **state)
{
	(void)state;
	free(succeed(do_up, "up"));
	fail_each(do_up, NULL);
}

static void stopping(void **state)
{
	(void)state;
	free(succeed(do_up, "up"));
	fail_each(do_halt, do_up);
}

static void suspending(void **state)
{
	(void)state;
	free(succeed(do_up, "up"));
	fail_each(do_suspend, do_resume);
	free(succeed(do_suspend, "suspend"));
	fail_each(do_resume, do_suspend);
}

static void snapshots(void **state)
{
	(void)state;
	free(succeed(do_up, "up"));
	fail_each(do_snapshot_save, do_snapshot_delete);
	free(succeed(do_snapshot_save, "save"));
	fail_each(do_snapshot_restore, NULL);
	fail_each(do_snapshot_delete, do_snapshot_save);
}

static void destroying(void **state)
{
	(void)state;
	free(succeed(do_up, "up"));
	fail_each(do_destroy, do_up);
}

static int make_world(void **state)
{
	_cleanup_session_ struct session s = { 0 };
	venv_op *op = NULL;

	(void)state;
	(void)snprintf(root, sizeof(root), "/tmp/venv-test-core-memory.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	(void)snprintf(data, sizeof(data), "%s/data", root);
	(void)snprintf(dir, sizeof(dir), "%s/shop", root);
	if (mkdir(dir, 0755) < 0)
		return -1;
	write_project(ONE);
	if (begin(&s, NULL) < 0)
		return -1;
	return finish(venv_box_build(s.ctx, "busybox", &op, NULL), &op, NULL);
}

static int remove_world(void **state)
{
	(void)state;
	return venv__tree_delete(AT_FDCWD, root, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opening),
		cmocka_unit_test_setup(questions, setup),
		cmocka_unit_test_setup(up_of_one, setup),
		cmocka_unit_test_setup(up_again, setup),
		cmocka_unit_test_setup(up_of_two, setup),
		cmocka_unit_test_setup(work_in_a_machine, setup),
		cmocka_unit_test_setup(stopping, setup),
		cmocka_unit_test_setup(suspending, setup),
		cmocka_unit_test_setup(snapshots, setup),
		cmocka_unit_test_setup(destroying, setup),
	};

	if (argc > 1)
		stride = strtol(argv[1], NULL, 10);
	if (argc > 2)
		cmocka_set_test_filter(argv[2]);
	return cmocka_run_group_tests_name("core_memory", tests, make_world, remove_world);
}

#endif
