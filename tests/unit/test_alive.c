/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that run machines, as the library sees them: what they leave in "alive", and how they say that they
 * have started. */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "alive.h"
#include "util/file.h"

struct world {
	char path[32];
	struct machine machine;
	int socket, theirs, cancel;
};

/* ---- The operation, which is the eventfd of the test ---------------------------------------- */

static int cancel_of(const struct venv_op *op)
{
	return op ? ((const struct world *)(const void *)op)->cancel : -1;
}

int venv__op_cancel_fd(const struct venv_op *op)
{
	return cancel_of(op);
}

int venv__op_cancelled(struct venv_op *op, venv_error **err)
{
	eventfd_t value;

	return eventfd_read(cancel_of(op), &value) == 0
		       ? venv__fail(err, VENV_ERR_CANCELLED, "cancelled")
		       : 0;
}

static int setup(void **state)
{
	struct world *w = test_calloc(1, sizeof(*w));
	int pair[2];

	memcpy(w->path, "/tmp/venv-test-XXXXXX", sizeof("/tmp/venv-test-XXXXXX"));
	assert_non_null(mkdtemp(w->path));
	w->machine.dir_fd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(venv__msg_pair(pair), 0);
	w->socket = pair[0];
	w->theirs = pair[1];
	w->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	(void)close(w->machine.dir_fd);
	(void)close(w->socket);
	(void)close(w->theirs);
	(void)close(w->cancel);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->path, NULL), 0);
	test_free(w);
	return 0;
}

/* ---- "alive" -------------------------------------------------------------------------------- */

static void state_is_the_lock_then_what_it_says(void **state)
{
	static const struct {
		const char *text; /* NULL: no file */
		bool held;
		enum machine_state expected;
	} cases[] = {
		{ NULL, false, MACHINE_STOPPED },
		{ "", false, MACHINE_STOPPED },
		{ "{\"state\":\"stopped\"}", false, MACHINE_STOPPED },
		{ "{\"state\":\"running\"}", false, MACHINE_CRASHED },
		{ "{\"state\":\"no such\"}", false, MACHINE_CRASHED },
		{ "", true, MACHINE_STARTING },
		{ "{\"state\":", true, MACHINE_STARTING },
		{ "{\"state\":7}", true, MACHINE_STARTING },
		{ "[\"state\"]", true, MACHINE_STARTING },
		{ "{\"state\":\"starting\"}", true, MACHINE_STARTING },
		{ "{\"state\":\"running\"}", true, MACHINE_RUNNING },
		{ "{\"state\":\"paused\"}", true, MACHINE_PAUSED },
		{ "{\"state\":\"frozen\"}", true, MACHINE_FROZEN },
		{ "{\"state\":\"stopping\"}", true, MACHINE_STOPPING },
		{ "{\"state\":\"stopped\"}", true, MACHINE_STOPPED },
	};
	struct world *w = *state;
	int dir = w->machine.dir_fd;

	assert_int_equal(venv__alive_state(dir, "made", NULL), MACHINE_ABSENT);
	assert_int_equal(mkdirat(dir, "made", 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *record = NULL;
		int fd = -1;

		if (cases[i].text) {
			fd = openat(dir, "alive", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
			assert_true(fd >= 0);
			assert_int_equal(venv__write_all(fd, cases[i].text, strlen(cases[i].text)),
					 0);
		}
		if (cases[i].held)
			assert_int_equal(venv__lock_try(fd, true), 0);
		assert_int_equal(venv__alive_state(dir, "made", &record), cases[i].expected);
		if (fd >= 0)
			(void)close(fd);
	}
}

static void a_link_is_no_record(void **state)
{
	struct world *w = *state;

	assert_int_equal(symlinkat("/proc/self/status", w->machine.dir_fd, "alive"), 0);
	assert_int_equal(venv__alive_state(w->machine.dir_fd, "made", NULL), MACHINE_ABSENT);
}

static void nobody_answers_is_not_running(void **state)
{
	_cleanup_error_ venv_error *error = NULL;
	struct world *w = *state;

	assert_int_equal(
		venv__alive_call(&w->machine, json_object(), NULL, 0, 1000, NULL, NULL, &error),
		VENV_ERR_STATE);
	assert_string_equal(venv_error_message(error), "the machine is not running");
	assert_non_null(venv_error_hint(error));
}

/* ---- Ending --------------------------------------------------------------------------------- */

enum manner { HANGS, OBEYS, REFUSES, LINGERS };

/* Answers one request; the lock goes with it. */
static void serve_one(int ctl, enum manner manner)
{
	_cleanup_json_ json_t *request = NULL, *reply = json_object();
	int fd;

	(void)fcntl(ctl, F_SETFL, 0);
	fd = accept4(ctl, NULL, NULL, SOCK_CLOEXEC);
	if (venv__msg_receive(fd, 5000, &request, NULL, NULL) != 1)
		return;
	if (manner == REFUSES)
		(void)json_object_set_new(
			reply, "error",
			json_pack("{s:i, s:s}", "code", VENV_ERR_DENIED, "message", "not now"));
	(void)venv__msg_send(fd, reply, NULL, 0, NULL);
	if (manner == OBEYS)
		(void)usleep(20000);
	else
		(void)pause();
}

/* A process that runs the machine. */
static pid_t run_machine(const struct world *w, enum manner manner)
{
	int pair[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		int alive = openat(w->machine.dir_fd, "alive", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		int ctl = venv__msg_listen(w->machine.dir_fd, "ctl", NULL);

		(void)venv__lock_try(alive, true);
		(void)!write(pair[1], "", 1);
		if (manner == HANGS)
			for (;;)
				(void)raise(SIGSTOP);
		serve_one(ctl, manner);
		_exit(0);
	}
	assert_int_equal(read(pair[0], &byte, 1), 1);
	(void)close(pair[0]);
	(void)close(pair[1]);
	return pid;
}

static void assert_killed(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* As of a provider, whose cleaning is a mark here. */
static bool is_gone(const struct machine *machine)
{
	_cleanup_close_ int fd = openat(machine->dir_fd, "alive", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && venv__lock_is_held(fd))
		return false;
	(void)mkdirat(machine->dir_fd, "cleaned", 0700);
	return true;
}

static bool is_clean(const struct world *w)
{
	return unlinkat(w->machine.dir_fd, "cleaned", AT_REMOVEDIR) == 0;
}

/* One that is stopped answers nobody, and holds its machine. */
static void who_hangs_is_killed(void **state)
{
	struct world *w = *state;
	pid_t pid = run_machine(w, HANGS);

	assert_int_equal(venv__alive_kill(&w->machine, NULL), 0);
	assert_killed(pid);
	assert_int_equal(venv__alive_kill(&w->machine, NULL), VENV_ERR_STATE);
}

static void force_ends_who_hangs(void **state)
{
	struct world *w = *state;
	pid_t pid = run_machine(w, HANGS);

	assert_int_equal(venv__alive_end(&w->machine, json_object(), 50, is_gone, NULL),
			 VENV_ERR_TIMEOUT);
	assert_false(is_clean(w));
	assert_int_equal(venv__alive_force(&w->machine, 50, is_gone, NULL), 0);
	assert_true(is_clean(w));
	assert_killed(pid);
}

/* It says yes and stays: that is no end, unless it is forced. */
static void force_ends_who_lingers(void **state)
{
	struct world *w = *state;
	pid_t pid = run_machine(w, LINGERS);

	assert_int_equal(venv__alive_force(&w->machine, 5000, is_gone, NULL), 0);
	assert_true(is_clean(w));
	assert_killed(pid);
}

static void who_obeys_is_waited_for(void **state)
{
	struct world *w = *state;
	pid_t pid = run_machine(w, OBEYS);
	int status = -1;

	assert_int_equal(venv__alive_force(&w->machine, 5000, is_gone, NULL), 0);
	assert_true(is_clean(w));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* again, of nobody */
	assert_int_equal(venv__alive_force(&w->machine, 5000, is_gone, NULL), 0);
	assert_true(is_clean(w));
}

static void who_refuses_is_believed(void **state)
{
	_cleanup_error_ venv_error *error = NULL;
	struct world *w = *state;
	pid_t pid = run_machine(w, REFUSES);

	assert_int_equal(venv__alive_force(&w->machine, 5000, is_gone, &error), VENV_ERR_DENIED);
	assert_string_equal(venv_error_message(error), "not now");
	assert_false(is_clean(w));
	(void)kill(pid, SIGKILL);
	assert_killed(pid);
}

/* ---- Starting ------------------------------------------------------------------------------- */

static void started_hands_over_what_it_says(void **state)
{
	struct world *w = *state;
	_cleanup_json_ json_t *reply = NULL;

	assert_int_equal(send(w->theirs, "{\"ready\":true}", 14, 0), 14);
	assert_int_equal(venv__alive_started(w->socket, NULL, &reply, NULL), 1);
	assert_true(venv__json_bool(reply, "ready", false));
}

static void started_fails_as_it_says(void **state)
{
	static const char text[] = "{\"error\":{\"code\":-3,\"message\":\"no memory left\"}}";
	struct world *w = *state;
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_json_ json_t *reply = NULL;

	assert_int_equal(send(w->theirs, text, strlen(text), 0), strlen(text));
	assert_int_equal(venv__alive_started(w->socket, NULL, &reply, &error), -3);
	assert_string_equal(venv_error_message(error), "no memory left");
	assert_null(reply);
}

static void started_refuses_what_is_no_message(void **state)
{
	struct world *w = *state;
	_cleanup_json_ json_t *reply = NULL;

	assert_int_equal(send(w->theirs, "ready", 5, 0), 5);
	assert_int_equal(venv__alive_started(w->socket, NULL, &reply, NULL), VENV_ERR_INVALID);
	assert_null(reply);
}

static void started_tells_the_end(void **state)
{
	struct world *w = *state;
	_cleanup_json_ json_t *reply = NULL;

	(void)shutdown(w->theirs, SHUT_RDWR);
	assert_int_equal(venv__alive_started(w->socket, NULL, &reply, NULL), 0);
	assert_null(reply);
}

static void started_is_cancelled(void **state)
{
	struct world *w = *state;
	struct venv_op *op = (struct venv_op *)(void *)w;
	_cleanup_json_ json_t *reply = NULL;

	assert_int_equal(eventfd_write(w->cancel, 1), 0);
	assert_int_equal(venv__alive_started(w->socket, op, &reply, NULL), VENV_ERR_CANCELLED);
	/* what was said already counts more */
	assert_int_equal(eventfd_write(w->cancel, 1), 0);
	assert_int_equal(send(w->theirs, "{}", 2, 0), 2);
	assert_int_equal(venv__alive_started(w->socket, op, &reply, NULL), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(state_is_the_lock_then_what_it_says),
		TEST(a_link_is_no_record),
		TEST(nobody_answers_is_not_running),
		TEST(who_hangs_is_killed),
		TEST(force_ends_who_hangs),
		TEST(force_ends_who_lingers),
		TEST(who_obeys_is_waited_for),
		TEST(who_refuses_is_believed),
		TEST(started_hands_over_what_it_says),
		TEST(started_fails_as_it_says),
		TEST(started_refuses_what_is_no_message),
		TEST(started_tells_the_end),
		TEST(started_is_cancelled),
	};

	return cmocka_run_group_tests_name("alive", tests, NULL, NULL);
}
