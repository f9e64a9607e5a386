/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared folders and volumes. An ordinary user's are mounts that the child took by path (root.c):
 * guest root is the user, so what it writes is the user's. As root the keeper makes them, because
 * only it may shift ids, and for that it must know who the login user is; the child, which sees
 * the machine's /etc/passwd, tells it.
 *
 * Theory of operation: what hides .machines/ must stay, though guest root may unmount what was mounted
 * for it. The kernel locks mounts together that pass from a mount namespace into one of a lesser user
 * namespace. So the folder and its cover are mounted in the staging directory, which goes with the old
 * root; a helper goes into such a pair of namespaces and brings a copy back, in which the cover is
 * locked; and that copy is what the machine gets. Nobody waits for the end of the helper's namespaces,
 * which takes the kernel longer than all else here: setup_folders_end() comes last.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "../enter/account.h"
#include "mounts.h"
#include "setup.h"
#include "util/msg.h"

static void tell_owner(struct setup *setup, const struct plan_folder *folder)
{
	const char *name = folder->owner ? folder->owner : setup->plan->login;
	struct account account;
	int r = enter_account_find(setup->root_fd, name, &account);

	if (r == -ENOENT)
		setup_fail(setup, STAGE_USERS, ENOENT, name);
	if (r == 0)
		r = setup_record_simple(setup->sync, RECORD_USER, account.uid, account.gid);
	if (r < 0)
		setup_fail(setup, STAGE_USERS, -r, name);
}

static void receive_trees(struct setup *setup)
{
	size_t n = 0;
	struct record record;

	if (setup_record_receive(setup->sync, &record, setup->folder_trees, setup->plan->n_folders,
				 &n) != 1 ||
	    record.kind != RECORD_TREES || n != setup->plan->n_folders)
		_exit(1);
}

static _Noreturn void copy_locked(int tree_fd, int socket)
{
	struct record record = { .kind = RECORD_TREES };
	int fd;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* the working directory moves to its copy in the new namespace, descriptors do not */
	if (fchdir(tree_fd) < 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) {
		record = (struct record){ .kind = RECORD_ERROR, .number = errno };
		_exit(setup_record_send(socket, &record, NULL, 0) < 0);
	}
	/* not ".": that is looked up, and who has no ids here may search nobody's directory */
	fd = setup_mount_clone(AT_FDCWD, "", 0, true);
	if (fd < 0)
		record = (struct record){ .kind = RECORD_ERROR, .number = -fd };
	_exit(setup_record_send(socket, &record, &fd, fd >= 0 ? 1 : 0) < 0);
}

/* A copy of what is mounted at tree_fd in which nothing can be unmounted from the rest. fd or -errno */
static int locked_copy(struct setup *setup, int tree_fd)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	struct record record;
	int pair[2], fd = -1, r = venv__msg_pair(pair);
	pid_t pid;

	if (r < 0)
		return r;
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid == 0)
		copy_locked(tree_fd, theirs);
	if (pid < 0)
		return -errno;
	setup->n_helpers++;
	(void)close(take_fd(&theirs));
	r = setup_record_receive(ours, &record, &fd, 1, NULL);
	if (r == 1 && record.kind == RECORD_ERROR)
		return -record.number;
	return r == 1 && fd >= 0 ? fd : r < 0 ? r : -EPIPE;
}

void setup_folders_end(struct setup *setup)
{
	for (; setup->n_helpers; setup->n_helpers--)
		while (waitpid(-1, NULL, __WALL) < 0 && errno == EINTR)
			;
}

/* Cover a directory of a mounted folder. */
static int hide(const struct setup *setup, int tree_fd, const char *name)
{
	_cleanup_close_ int target = venv__open_beneath(tree_fd, name, O_PATH | O_DIRECTORY, 0);
	_cleanup_close_ int cover = -1;

	if (target == -ENOENT || target == -ENOTDIR || target == -ELOOP)
		return 0;
	if (target < 0)
		return target;
	cover = setup_empty(setup);
	return cover < 0 ? cover : setup_mount_on(cover, target, "");
}

/* The folder with its cover locked. fd, or the end */
static int hidden(struct setup *setup, size_t index, int tree_fd)
{
	const struct plan_folder *folder = &setup->plan->folders[index];
	char name[32];
	int r;

	(void)snprintf(name, sizeof(name), "f%zu", index);
	r = mkdirat(setup->staging_fd, name, 0700) < 0
		    ? -errno
		    : setup_mount_on(tree_fd, setup->staging_fd, name);
	if (r == 0)
		r = hide(setup, tree_fd, folder->hide);
	if (r == 0)
		r = locked_copy(setup, tree_fd);
	if (r < 0)
		setup_fail(setup, STAGE_FOLDERS, -r, folder->hide);
	return r;
}

/* Links of the box, or of a machine that shares a folder with this one and is running, may lead to
 * where the kernel answers; a folder there would speak for it. */
static int check_target(const struct setup *setup, int target_fd)
{
	static const char *const taken[] = { ".", "..", "../shm" }; /* from /dev/pts */
	struct stat target, other;
	struct statfs info;

	if (fstatfs(target_fd, &info) < 0 || fstat(target_fd, &target) < 0)
		return -errno;
	if (info.f_type == PROC_SUPER_MAGIC || info.f_type == SYSFS_MAGIC ||
	    info.f_type == CGROUP2_SUPER_MAGIC)
		return -EXDEV;
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		if (fstatat(setup->devpts_fd, taken[i], &other, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		if (target.st_dev == other.st_dev)
			return -EXDEV;
	}
	return 0;
}

static void put(struct setup *setup, size_t index)
{
	const struct plan_folder *folder = &setup->plan->folders[index];
	_cleanup_close_ int target = venv__mkdir_in_root(setup->root_fd, folder->guest, 0755);
	int tree_fd = setup->folder_trees[index], r;

	if (folder->hide)
		tree_fd = hidden(setup, index, tree_fd);
	r = target < 0 ? target : check_target(setup, target);
	if (r == 0)
		r = setup_mount_on(tree_fd, target, "");
	if (r < 0)
		setup_fail(setup, STAGE_FOLDERS, -r, folder->guest);
}

void setup_folders(struct setup *setup)
{
	const struct plan *plan = setup->plan;

	if (!plan->n_folders)
		return;
	if (plan->map.root) {
		for (size_t i = 0; i < plan->n_folders; i++)
			if (!plan->folders[i].volume)
				tell_owner(setup, &plan->folders[i]);
		receive_trees(setup);
	}
	for (size_t i = 0; i < plan->n_folders; i++)
		put(setup, i);
}
