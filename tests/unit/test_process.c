/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "util/process.h"

static char *read_all(int fd)
{
	static char text[4096];
	size_t n = 0;
	ssize_t r;

	while (n < sizeof(text) - 1 && (r = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)r;
	text[n] = '\0';
	return text;
}

static char *spawn_shell(const char *script, int *ret_r)
{
	char sh[] = "/bin/sh", c[] = "-c";
	_cleanup_free_ char *copy = strdup(script);
	char *argv[] = { sh, c, copy, NULL };
	struct spawn spawn = { .path = sh, .argv = argv, .fds = { -1, -1, -1 }, .n_fds = 3 };
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	spawn.fds[1] = spawn.fds[2] = fds[1];
	*ret_r = venv__spawn(&spawn, NULL, NULL, NULL);
	(void)close(fds[1]);
	script = read_all(fds[0]);
	(void)close(fds[0]);
	return (char *)(uintptr_t)script;
}

static void helpers_are_nobodys_children(void **state)
{
	int r;
	const char *text = spawn_shell("echo $PPID", &r);

	(void)state;
	assert_int_equal(r, 0);
	assert_int_not_equal(strtol(text, NULL, 10), getpid());
	/* nothing to reap, in any way that a host program may try */
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	assert_int_equal(errno, ECHILD);
}

static volatile sig_atomic_t child_signals;

static void count_signal(int number)
{
	(void)number;
	child_signals++;
}

static void no_child_signal_is_raised(void **state)
{
	struct sigaction action = { .sa_handler = count_signal }, before;
	int r;

	(void)state;
	child_signals = 0;
	assert_int_equal(sigaction(SIGCHLD, &action, &before), 0);
	assert_string_equal(spawn_shell("echo x", &r), "x\n");
	assert_int_equal(sigaction(SIGCHLD, &before, NULL), 0);
	assert_int_equal(child_signals, 0);
}

static void works_where_the_host_ignores_its_children(void **state)
{
	struct sigaction action = { .sa_handler = SIG_IGN }, before;
	char sh[] = "sh", c[] = "-c", text[] = "exit 7";
	char *argv[] = { sh, c, text, NULL };
	int r;

	(void)state;
	assert_int_equal(sigaction(SIGCHLD, &action, &before), 0);
	assert_string_equal(spawn_shell("trap - CHLD; echo y", &r), "y\n");
	assert_int_equal(venv__run(argv, NULL, NULL), 7);
	assert_int_equal(sigaction(SIGCHLD, &before, NULL), 0);
}

static void a_session_of_its_own_and_no_descriptors(void **state)
{
	_cleanup_close_ int leak = open("/dev/null", O_RDONLY);
	char mine[32];
	int r;
	const char *text = spawn_shell("ls /proc/self/fd | wc -l; cut -d' ' -f6 /proc/$$/stat", &r);

	(void)state;
	assert_int_equal(strtol(text, NULL, 10), 4); /* 0, 1, 2 and ls's own */
	(void)snprintf(mine, sizeof(mine), "\n%d\n", getsid(0));
	assert_null(strstr(text, mine));
}

static void a_missing_program_is_told(void **state)
{
	char name[] = "/nonexistent/program";
	char *argv[] = { name, NULL };
	struct spawn spawn = { .path = name, .argv = argv };
	_cleanup_error_ venv_error *err = NULL;

	(void)state;
	assert_int_equal(venv__spawn(&spawn, NULL, NULL, &err), VENV_ERR_NOT_FOUND);
	assert_non_null(strstr(venv_error_message(err), "/nonexistent/program"));
}

static void a_pidfd_tells_the_end(void **state)
{
	char sh[] = "/bin/sh", c[] = "-c", text[] = "exit 0";
	char *argv[] = { sh, c, text, NULL };
	struct spawn spawn = { .path = sh, .argv = argv };
	struct pollfd wait = { .events = POLLIN };

	(void)state;
	assert_int_equal(venv__spawn(&spawn, NULL, &wait.fd, NULL), 0);
	assert_int_equal(poll(&wait, 1, 5000), 1);
	(void)close(wait.fd);
}

static void run_gives_status_and_output(void **state)
{
	char sh[] = "sh", c[] = "-c", text[] = "echo out; echo err >&2; kill -9 $$";
	char *argv[] = { sh, c, text, NULL };
	_cleanup_free_ char *output = NULL;

	(void)state;
	assert_int_equal(venv__run(argv, &output, NULL), 128 + 9);
	assert_string_equal(output, "out\nerr\n");
}

static void sealed_memory_cannot_change(void **state)
{
	_cleanup_close_ int fd = venv__memfd_sealed("x", "data", 4);
	_cleanup_close_ int program = venv__memfd_program(AT_FDCWD, "/bin/true");
	char *argv[] = { (char *)(uintptr_t) "true", NULL };
	struct spawn spawn = { .program_fd = program, .argv = argv };
	char path[64];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", program);
	{
		_cleanup_close_ int again = open(path, O_RDWR | O_CLOEXEC);

		assert_true(again < 0 || write(again, "x", 1) == -1);
	}
	assert_int_equal(venv__spawn(&spawn, NULL, NULL, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(helpers_are_nobodys_children),
		cmocka_unit_test(no_child_signal_is_raised),
		cmocka_unit_test(works_where_the_host_ignores_its_children),
		cmocka_unit_test(a_session_of_its_own_and_no_descriptors),
		cmocka_unit_test(a_missing_program_is_told),
		cmocka_unit_test(a_pidfd_tells_the_end),
		cmocka_unit_test(run_gives_status_and_output),
		cmocka_unit_test(sealed_memory_cannot_change),
	};

	return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
