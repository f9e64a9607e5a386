/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: both the intermediate and the helper run on this process's memory (CLONE_VM)
 * while their parent is suspended (CLONE_VFORK), so nothing is copied and what they find out (pid,
 * errno of a failed exec) is simply left in struct start. Between clone and exec only system calls are
 * made; all signals are blocked in the caller, so that no handler of the host program runs there.
 * The intermediate shares the descriptor table (CLONE_FILES), so that the pidfd that it gets is ours;
 * the helper has a copy and arranges it as it likes.
 *
 * What is waited for needs a process between as well: the exec of a child sets its exit signal to
 * SIGCHLD, whatever it was cloned with. This one, the waiter, is a forked copy without an exit signal
 * that never executes anything: it starts the program, waits for it and ends with its status.
 */
#include "process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "buf.h"
#include "file.h"

enum { STACK_SIZE = 64 * 1024, OUTPUT_MAX = 64 * 1024 };

struct start {
	const struct spawn *spawn;
	char *const *envp;
	char *stack; /* 2 * STACK_SIZE: the intermediate's and the program's */
	pid_t pid;   /* of the program */
	int pidfd;
	int failed_errno; /* why it could not be executed */
	int report_fd;    /* the waiter's: failed_errno goes there */
};

_no_asan_ static void reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)sigaction(number, &action, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Bring the descriptors to 0, 1, 2…: first all out of the way, then each to its place. */
_no_asan_ static int arrange_fds(const struct spawn *spawn)
{
	int n = (int)MAX(spawn->n_fds, (size_t)3);
	int moved[SPAWN_FDS_MAX];

	for (int i = 0; i < n; i++) {
		int fd = (size_t)i < spawn->n_fds ? spawn->fds[i] : -1;

		if (fd < 0) {
			fd = open("/dev/null", O_RDWR | O_CLOEXEC);
			if (fd < 0)
				return -errno;
		}
		moved[i] = fcntl(fd, F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
		if (moved[i] < 0)
			return -errno;
	}
	for (int i = 0; i < n; i++)
		if (dup2(moved[i], i) < 0)
			return -errno;
	return 0;
}

_no_asan_ static int program_main(void *arg)
{
	struct start *start = arg;
	const struct spawn *spawn = start->spawn;
	int program = -1, n = (int)MAX(spawn->n_fds, (size_t)3), r;

	(void)setsid();
	reset_signals();
	if (!spawn->path)
		program = fcntl(spawn->program_fd, F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
	r = !spawn->path && program < 0 ? -errno : arrange_fds(spawn);
	if (r == 0 && chdir(spawn->directory ? spawn->directory : "/") < 0)
		r = -errno;
	(void)syscall(SYS_close_range, n, ~0U, CLOSE_RANGE_CLOEXEC);
	if (r == 0) {
		if (spawn->path)
			(void)execve(spawn->path, spawn->argv, start->envp);
		else
			(void)syscall(SYS_execveat, program, "", spawn->argv, start->envp,
				      AT_EMPTY_PATH);
		r = -errno;
	}
	start->failed_errno = -r;
	_exit(127);
}

_no_asan_ static pid_t clone_program(struct start *start, int flags)
{
	return clone(program_main, start->stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | flags, start,
		     &start->pidfd);
}

_no_asan_ static int intermediate_main(void *arg)
{
	struct start *start = arg;

	start->pid = clone_program(start, CLONE_PIDFD);
	if (start->pid < 0)
		start->failed_errno = errno;
	_exit(0);
}

/* In a copy of our process: nothing of ours may stay open in it. */
_no_asan_ static _Noreturn void waiter_main(struct start *start)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	int status, r;

	(void)sigaction(SIGCHLD, &action, NULL);
	start->pid = clone_program(start, 0);
	r = start->pid < 0 ? errno : start->failed_errno;
	if (write(start->report_fd, &r, sizeof(r)) != (ssize_t)sizeof(r) || r)
		_exit(127);
	(void)syscall(SYS_close_range, 0, ~0U, 0);
	while (waitpid(start->pid, &status, __WALL) < 0)
		if (errno != EINTR)
			_exit(127);
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static pid_t start_waiter(struct start *start)
{
	int report[2];
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	start->report_fd = report[1];
	pid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
	if (pid == 0)
		waiter_main(start);
	if (pid < 0)
		pid = -errno;
	(void)close(report[1]);
	if (pid > 0 && read(report[0], &start->failed_errno, sizeof(int)) != (ssize_t)sizeof(int))
		start->failed_errno = EIO;
	(void)close(report[0]);
	return pid;
}

static int start_program(struct start *start, bool detached)
{
	sigset_t all, before;
	pid_t pid;
	int r = 0;

	start->stack = mmap(NULL, 2 * STACK_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (start->stack == MAP_FAILED)
		return -errno;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	if (detached) {
		pid = clone(intermediate_main, start->stack + 2 * STACK_SIZE,
			    CLONE_VM | CLONE_VFORK | CLONE_FILES, start);
		if (pid < 0)
			r = -errno;
		else
			(void)venv__child_wait(pid);
	} else {
		start->pid = start_waiter(start);
		if (start->pid < 0)
			r = start->pid;
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)munmap(start->stack, 2 * STACK_SIZE);
	return r ? r : -start->failed_errno;
}

static int report(int r, const struct spawn *spawn, venv_error **err)
{
	const char *name = spawn->path ? spawn->path : spawn->argv[0];

	r = venv__fail_errno(err, -r, "cannot start '%s'", name);
	return venv__hint(r, err, "check that venv is installed completely ('venv doctor')");
}

int venv__spawn(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd, venv_error **err)
{
	struct start start = { .spawn = spawn,
			       .envp = spawn->envp ? spawn->envp : environ,
			       .pidfd = -1 };
	int r = start_program(&start, true);

	if (r < 0) {
		if (start.pidfd >= 0)
			(void)close(start.pidfd);
		return report(r, spawn, err);
	}
	if (ret_pid)
		*ret_pid = start.pid;
	if (ret_pidfd)
		*ret_pidfd = start.pidfd;
	else
		(void)close(start.pidfd);
	return 0;
}

pid_t venv__child_start(const struct spawn *spawn, venv_error **err)
{
	struct start start = { .spawn = spawn,
			       .envp = spawn->envp ? spawn->envp : environ,
			       .pidfd = -1 };
	int r = start_program(&start, false);

	if (r < 0) {
		if (start.pid > 0)
			(void)venv__child_wait(start.pid);
		return report(r, spawn, err);
	}
	return start.pid;
}

int venv__child_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static char *find_in_path(const char *name)
{
	static const char fallback[] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
	const char *path = getenv("PATH");

	if (strchr(name, '/'))
		return strdup(name);
	for (const char *p = path && *path ? path : fallback; p;) {
		size_t length = strcspn(p, ":");
		char *candidate = NULL;

		if (length && asprintf(&candidate, "%.*s/%s", (int)length, p, name) >= 0) {
			if (access(candidate, X_OK) == 0)
				return candidate;
			free(candidate);
		}
		p = p[length] ? p + length + 1 : NULL;
	}
	return NULL;
}

static void collect(int fd, struct buf *output)
{
	char chunk[4096];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && output->length < OUTPUT_MAX)
			venv__buf_add(output, chunk, MIN((size_t)n, OUTPUT_MAX - output->length));
}

int venv__run(char *const *argv, char **ret_output, venv_error **err)
{
	_cleanup_free_ char *path = find_in_path(argv[0]);
	_cleanup_close_ int read_end = -1, write_end = -1;
	_cleanup_buf_ struct buf output = { 0 };
	struct spawn spawn = { .path = path, .argv = argv, .fds = { -1, -1, -1 }, .n_fds = 3 };
	int pipe_fds[2];
	pid_t pid;

	if (!path)
		return venv__fail(err, VENV_ERR_HOST, "the program '%s' is not installed", argv[0]);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return venv__fail_errno(err, errno, "cannot run '%s'", argv[0]);
	read_end = pipe_fds[0];
	write_end = pipe_fds[1];
	spawn.fds[1] = spawn.fds[2] = write_end;
	pid = venv__child_start(&spawn, err);
	if (pid < 0)
		return pid;
	(void)close(take_fd(&write_end));
	collect(read_end, &output);
	if (ret_output)
		*ret_output = venv__buf_steal(&output);
	return venv__child_wait(pid);
}

static int seal(int fd)
{
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	return 0;
}

int venv__memfd_sealed(const char *name, const void *data, size_t length)
{
	_cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = venv__write_all(fd, data, length);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		r = seal(fd);
	return r < 0 ? r : take_fd(&fd);
}

int venv__memfd_program(int dir_fd, const char *path)
{
	_cleanup_close_ int source = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int fd = memfd_create("venv-program", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char chunk[65536];
	ssize_t n;
	int r;

	if (source < 0 || fd < 0)
		return -errno;
	while ((n = read(source, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = venv__write_all(fd, chunk, (size_t)n);
		if (r < 0)
			return r;
	}
	if (fchmod(fd, 0555) < 0)
		return -errno;
	r = seal(fd);
	return r < 0 ? r : take_fd(&fd);
}
