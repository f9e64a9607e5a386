/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the machine's user namespace must be a child of the project's (so that
 * netd may put interfaces into it) and its first process a child of the keeper (so that they die
 * together and the keeper can wait for it). So a helper enters the cgroups, while it still has
 * the rights, then the project's user namespace, and clones with CLONE_PARENT; it tells the pid
 * and ends. The id map must be written from the parent user namespace: by the helper when there
 * is one, else by the keeper.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "setup.h"

static const uint64_t namespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC |
				   CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP;

static pid_t clone_child(uint64_t flags)
{
	struct clone_args args = { .flags = flags | CLONE_PARENT };

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static int write_identity(pid_t pid, const char *which)
{
	/* as an ordinary user's is in the project: no line may reach over two of its parent's */
	static const char line[] = "0 0 1\n1 1 65535\n";
	_cleanup_close_ int fd = -1;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, which);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, line, sizeof(line) - 1) < 0)
		return -errno;
	return 0;
}

static void enter_project(const struct setup *setup)
{
	if (setns(setup->userns_fd, CLONE_NEWUSER) < 0)
		setup_fail(setup, STAGE_NAMESPACES, errno, "entering the project's user namespace");
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		setup_fail(setup, STAGE_NAMESPACES, errno, "becoming root of the project");
	/* else /proc/<child> belongs to the host's root and the map cannot be written */
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static _Noreturn void helper(struct setup *setup)
{
	pid_t pid;
	int r;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (const int *procs = setup->cgroup_procs; *procs >= 0; procs++)
		if (write(*procs, "0", 1) < 0)
			setup_fail(setup, STAGE_NAMESPACES, errno, "entering a control group");
	if (setup->userns_fd >= 0)
		enter_project(setup);
	pid = clone_child(namespaces | CLONE_NEWTIME);
	if (pid < 0 && errno == EINVAL)
		pid = clone_child(namespaces);
	if (pid < 0)
		setup_fail(setup, STAGE_NAMESPACES, errno, "");
	if (pid == 0)
		setup_child(setup);
	if (setup->userns_fd >= 0) {
		r = write_identity(pid, "gid_map");
		if (r == 0)
			r = write_identity(pid, "uid_map");
		if (r < 0)
			setup_fail(setup, STAGE_NAMESPACES, -r, "writing the id map");
	}
	r = setup_record_simple(setup->sync, RECORD_PID, pid, 0);
	_exit(r < 0 ? 1 : 0);
}

pid_t setup_clone(struct setup *setup, int keeper_end)
{
	pid_t pid = setup_clone_into(setup->cgroup_fd);

	if (pid == 0) {
		(void)close(keeper_end);
		helper(setup);
	}
	return pid;
}

pid_t setup_clone_into(int cgroup_fd)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	pid_t pid;

	if (cgroup_fd >= 0) {
		args.flags = CLONE_INTO_CGROUP;
		args.cgroup = (unsigned)cgroup_fd;
	}
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	return pid < 0 ? -errno : pid;
}
