/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill_at N one|all EXECS COMMAND…: run a command and kill at its N-th system call, those of all of its threads and
 * of all that it starts counted together, in the order in which they are made. Counting begins at the EXECS-th program
 * that is executed. one: the process that makes the call; all: all of them that live. SIGKILL comes before the call.
 *
 * Exits when the command's first process has ended, and lets what stays go on: with 99 when it killed, 98 when that
 * took too long, else with the command's status. strace's inject=all:…:when=N is another thing: it counts each
 * system call apart.
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

enum { HIT = 99, TOO_LONG = 98, BROKEN = 97, SECONDS = 60, TRACEES_MAX = 4096 };

#define OPTIONS                                                                                    \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |  \
	 PTRACE_O_TRACEEXEC)

static pid_t tracees[TRACEES_MAX];
static size_t n_tracees;
static long left, execs;
static bool all, hit;

static void die(const char *what)
{
	perror(what);
	exit(BROKEN);
}

static void too_long(int signal)
{
	(void)signal;
	_exit(TOO_LONG);
}

static void remember(pid_t tid)
{
	for (size_t i = 0; i < n_tracees; i++)
		if (tracees[i] == tid)
			return;
	if (n_tracees < TRACEES_MAX)
		tracees[n_tracees++] = tid;
}

static void forget(pid_t tid)
{
	for (size_t i = 0; i < n_tracees; i++)
		if (tracees[i] == tid)
			tracees[i] = tracees[--n_tracees];
}

static void strike(pid_t tid)
{
	hit = true;
	for (size_t i = 0; all && i < n_tracees; i++)
		(void)syscall(SYS_tkill, tracees[i], SIGKILL);
	(void)syscall(SYS_tkill, tid, SIGKILL); /* of one thread: the whole process dies */
}

static bool enters(pid_t tid)
{
	struct ptrace_syscall_info info;

	return ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0 &&
	       info.op == PTRACE_SYSCALL_INFO_ENTRY;
}

/* What it stopped for decides how it goes on. */
static void go_on(pid_t tid, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status), how = hit ? PTRACE_CONT : PTRACE_SYSCALL;

	if (sig == (SIGTRAP | 0x80)) {
		sig = 0;
		if (!hit && execs <= 0 && enters(tid) && --left == 0)
			return strike(tid);
	} else if (event == PTRACE_EVENT_STOP) {
		if (sig != SIGTRAP)
			how = PTRACE_LISTEN; /* stopped as a job */
		sig = 0;
	} else if (event) {
		execs -= event == PTRACE_EVENT_EXEC;
		sig = 0;
	}
	(void)ptrace(how, tid, 0, (long)sig);
}

static pid_t start(char **command)
{
	int gate[2], status;
	pid_t pid;
	char byte = 0;

	if (pipe(gate) < 0)
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		(void)close(gate[1]);
		if (read(gate[0], &byte, 1) != 1)
			_exit(BROKEN);
		(void)close(gate[0]);
		(void)execvp(command[0], command);
		_exit(127);
	}
	(void)close(gate[0]);
	if (ptrace(PTRACE_SEIZE, pid, 0, (long)OPTIONS) < 0 ||
	    ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0 || waitpid(pid, &status, __WALL) != pid ||
	    ptrace(PTRACE_SYSCALL, pid, 0, 0) < 0)
		die("ptrace");
	remember(pid);
	if (write(gate[1], &byte, 1) != 1)
		die("write");
	(void)close(gate[1]);
	return pid;
}

int main(int argc, char **argv)
{
	pid_t first, tid;
	int status;

	if (argc < 5)
		return BROKEN;
	left = strtol(argv[1], NULL, 10);
	all = strcmp(argv[2], "all") == 0;
	execs = strtol(argv[3], NULL, 10);
	(void)signal(SIGALRM, too_long);
	(void)alarm(SECONDS);
	first = start(argv + 4);
	while ((tid = waitpid(-1, &status, __WALL)) > 0) {
		if (WIFSTOPPED(status)) {
			remember(tid);
			go_on(tid, status);
			continue;
		}
		forget(tid);
		if (tid == first)
			return hit                 ? HIT
			       : WIFEXITED(status) ? WEXITSTATUS(status)
						   : 128 + WTERMSIG(status);
	}
	die("waitpid");
}
