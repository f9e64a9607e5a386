/* SPDX-License-Identifier: Apache-2.0 */
/* What a process that gave up its rights can and cannot do. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ssh/wire/confine.h"

static int refused(long r)
{
	return r < 0 && errno == EPERM ? 0 : 1;
}

static int try_open(void)
{
	return refused(open("/dev/null", O_RDONLY));
}

static int try_exec(void)
{
	char *const argv[] = { NULL };

	return refused(execve("/bin/true", argv, argv));
}

static int try_fork(void)
{
	return refused(fork());
}

static int try_tcp(void)
{
	return refused(socket(AF_INET, SOCK_STREAM, 0));
}

static int try_unix(void)
{
	return refused(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int try_kill(void)
{
	return refused(kill(getppid(), 0));
}

static int try_ptrace(void)
{
	return refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int try_executable_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
				       MAP_FAILED &&
			       errno == EPERM
		       ? 0
		       : 1;
}

static int try_allowed(void)
{
	int ends[2], pair[2];
	char byte = 'x';

	if (pipe2(ends, O_CLOEXEC) < 0 || write(ends[1], &byte, 1) != 1 ||
	    read(ends[0], &byte, 1) != 1)
		return 1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0 || send(pair[0], &byte, 1, 0) != 1 ||
	    recv(pair[1], &byte, 1, 0) != 1)
		return 2;
	return mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			       MAP_FAILED
		       ? 3
		       : 0;
}

static void in_child(int (*try)(void), unsigned flags)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(venv__confine(flags) < 0 ? 99 : try());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void rights_are_gone(void **state)
{
	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip();
#endif
	in_child(try_open, 0);
	in_child(try_exec, 0);
	in_child(try_fork, 0);
	in_child(try_tcp, 0);
	in_child(try_unix, 0);
	in_child(try_kill, 0);
	in_child(try_ptrace, 0);
	in_child(try_executable_memory, 0);
	in_child(try_open, CONFINE_CONNECT_UNIX);
	in_child(try_tcp, CONFINE_CONNECT_UNIX);
}

static void what_is_needed_works(void **state)
{
	(void)state;
	in_child(try_allowed, 0);
	in_child(try_allowed, CONFINE_CONNECT_UNIX);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(rights_are_gone),
					    cmocka_unit_test(what_is_needed_works) };

	return cmocka_run_group_tests_name("ssh_confine", tests, NULL, NULL);
}
