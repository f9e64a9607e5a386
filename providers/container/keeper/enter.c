/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: to run something inside, a helper enters the machine's control groups
 * while it still may, then all its namespaces at once by the pidfd of process 1, and clones with
 * CLONE_PARENT, because only a new process gets into the pid namespace, and that one shall be the
 * keeper's child. Both hold copies of the keeper's memory until the sealed venv-enter is
 * executed; the machine cannot trace them, since a change of namespaces makes a process
 * undumpable and its memory belongs to the host's user namespace. A terminal is made in the
 * machine's own devpts through a descriptor kept since the set-up, never through a path.
 *
 * Guest root can stop or kill the new process at once, but not the helper, which is in no pid
 * namespace of the machine's. So all that the keeper waits for comes from the helper.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>

#include "../enter/enter.h"
#include "../setup/setup.h"
#include "keeper.h"
#include "util/process.h"

enum { HIGH_FD = 10 };

static const int all_namespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC |
				  CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP;

struct entering {
	struct keeper *keeper;
	const struct entry *entry;
	int sync; /* the child's end */
	int program_fd;
	int terminal; /* the slave, or -1 */
	int procs[CGROUP_PROCS_MAX];
};

static _Noreturn void give_up(const struct entering *entering, int number, const char *what)
{
	struct record record = { .kind = RECORD_ERROR, .number = number };

	(void)snprintf(record.what, sizeof(record.what), "%s", what);
	(void)setup_record_send(entering->sync, &record, NULL, 0);
	_exit(ENTER_FAILED);
}

/* Keep the slave; the master goes to the keeper. */
static void open_terminal(struct entering *entering)
{
	_cleanup_close_ int master =
		openat(entering->keeper->devpts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct winsize size = { .ws_row = (unsigned short)entering->entry->rows,
				.ws_col = (unsigned short)entering->entry->columns };
	struct record record = { .kind = RECORD_PTY };
	struct termios settings;
	int slave, unlock = 0;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		give_up(entering, errno, "making a terminal");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		give_up(entering, errno, "making a terminal");
	(void)ioctl(master, TIOCSWINSZ, &size);
	if (tcgetattr(slave, &settings) == 0) {
		settings.c_iflag |= IUTF8;
		(void)tcsetattr(slave, TCSANOW, &settings);
	}
	if (setup_record_send(entering->sync, &record, &master, 1) < 0)
		_exit(ENTER_FAILED);
	entering->terminal = slave;
}

/* 0, 1, 2 and perhaps 3; first all out of the way. */
static void arrange(const struct entering *entering)
{
	const struct entry *entry = entering->entry;
	int terminal = entering->terminal;
	int moved[4] = { -1, -1, -1, -1 };

	for (int i = 0; i < 3; i++)
		moved[i] =
			fcntl(terminal >= 0 ? terminal : entry->fds[i], F_DUPFD_CLOEXEC, HIGH_FD);
	if (entry->socket >= 0)
		moved[3] = fcntl(entry->socket, F_DUPFD_CLOEXEC, HIGH_FD);
	for (int i = 0; i < 3; i++) {
		if (moved[i] < 0)
			moved[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (moved[i] < 0 || dup2(moved[i], i) < 0)
			give_up(entering, errno, "passing descriptors");
	}
	if (moved[3] >= 0 && dup2(moved[3], ENTER_SOCKET_FD) < 0)
		give_up(entering, errno, "passing a socket");
}

static _Noreturn void inside(struct entering *entering)
{
	const struct entry *entry = entering->entry;
	int program = fcntl(entering->program_fd, F_DUPFD_CLOEXEC, HIGH_FD);
	int sync = fcntl(entering->sync, F_DUPFD_CLOEXEC, HIGH_FD), r;
	sigset_t none;

	entering->sync = sync;
	(void)setsid();
	if (entering->terminal >= 0 && ioctl(entering->terminal, TIOCSCTTY, 0) < 0)
		give_up(entering, errno, "taking a terminal");
	arrange(entering);
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)umask(022);
	(void)syscall(SYS_close_range, entry->socket >= 0 ? 4U : 3U, ~0U, CLOSE_RANGE_CLOEXEC);
	r = secure_apply(entering->keeper->plan.app, &entering->keeper->filter);
	if (r < 0)
		give_up(entering, -r, "giving up rights");
	(void)syscall(SYS_execveat, program, "", entry->argv, entry->envp, AT_EMPTY_PATH);
	give_up(entering, errno, "executing venv-enter");
}

static void enter_groups(const struct entering *entering)
{
	for (const int *fd = entering->procs; *fd >= 0; fd++)
		if (write(*fd, "0", 1) != 1)
			give_up(entering, errno, "entering a control group");
}

/* The payload group itself takes no process when the machine has handed its controllers on (systemd
 * does): then there is a group for what comes from outside. */
static pid_t clone_helper(const struct keeper *keeper)
{
	pid_t pid = setup_clone_into(keeper->cgroup.payload_fd);
	_cleanup_close_ int leaf = -1;

	if (pid != -EBUSY)
		return pid;
	(void)mkdirat(keeper->cgroup.payload_fd, "venv.exec", 0755);
	leaf = openat(keeper->cgroup.payload_fd, "venv.exec", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return leaf < 0 ? -errno : setup_clone_into(leaf);
}

static _Noreturn void helper(struct entering *entering)
{
	struct clone_args args = { .flags = CLONE_PARENT };
	int pidfd = entering->keeper->init_pidfd;
	pid_t pid;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	enter_groups(entering);
	if (setns(pidfd, all_namespaces | CLONE_NEWTIME) < 0 &&
	    (errno != EINVAL || setns(pidfd, all_namespaces) < 0))
		give_up(entering, errno, "entering the machine");
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		give_up(entering, errno, "becoming root of the machine");
	if (entering->entry->tty)
		open_terminal(entering);
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		give_up(entering, errno, "starting a process in the machine");
	if (pid == 0)
		inside(entering);
	_exit(setup_record_simple(entering->sync, RECORD_PID, pid, 0) < 0);
}

static int failed(const struct record *record, venv_error **err)
{
	int r = venv__fail_errno(err, record->number, "%s", record->what);

	if (record->number == EAGAIN || record->number == ENOMEM)
		return venv__hint(r, err,
				  "the machine is at its limit of processes or memory: raise "
				  "'pids' or 'memory' in venv.yml");
	return r;
}

/* With a terminal its master, and then the pid. */
static pid_t hear(int sync, int *ret_master, venv_error **err)
{
	_cleanup_close_ int master = -1;
	struct record record;
	pid_t pid = 0;
	int r;

	while (!pid) {
		int fd = -1;

		r = setup_record_receive(sync, &record, &fd, 1, NULL);
		if (r < 0)
			return venv__fail_errno(err, -r, "cannot hear the helper");
		if (r == 0)
			return venv__fail(err, VENV_ERR_STATE, "the machine is ending");
		if (record.kind == RECORD_ERROR)
			return failed(&record, err);
		if (record.kind == RECORD_PID)
			pid = (pid_t)record.value[0];
		else if (record.kind == RECORD_PTY && master < 0)
			master = fd;
	}
	*ret_master = take_fd(&master);
	return pid;
}

int keeper_enter(struct keeper *keeper, const struct entry *entry, int *ret_master,
		 venv_error **err)
{
	_cleanup_free_ char *path = venv__path_join(keeper->plan.libexec, "venv-enter");
	struct entering entering = { .keeper = keeper, .entry = entry, .terminal = -1 };
	_cleanup_close_ int ours = -1, program = -1;
	int pair[2], r;
	pid_t child, pid;

	if (keeper->state != KEEPER_RUNNING && keeper->state != KEEPER_STARTING)
		return venv__fail(err, VENV_ERR_STATE, "the machine is %s",
				  keeper_state_name(keeper->state));
	program = path ? venv__memfd_program(AT_FDCWD, path) : -ENOMEM;
	if (program < 0)
		return venv__fail_errno(err, -program, "cannot open '%s'",
					path ? path : "venv-enter");
	r = venv__msg_pair(pair);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	ours = pair[0];
	entering.sync = pair[1];
	entering.program_fd = program;
	(void)venv__cgroup_procs(&keeper->cgroup, entering.procs);
	child = clone_helper(keeper);
	if (child == 0) {
		(void)close(ours);
		helper(&entering);
	}
	(void)close(pair[1]);
	for (int *fd = entering.procs; *fd >= 0; fd++)
		(void)close(*fd);
	if (child < 0)
		return venv__fail_errno(err, -child, "cannot start a process");
	pid = hear(ours, ret_master, err);
	(void)venv__child_wait(child);
	return pid;
}
