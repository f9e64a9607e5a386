/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders of a machine of root's. A shared folder is a mount on which ids are shifted: the
 * folder's owner on the host is the login user in the machine, and every other user of the
 * machine is its own sub-id. A volume is owned through the map already.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "../setup/mounts.h"
#include "keeper.h"
#include "util/process.h"

/* "on the disk  as the kernel shall see it  count": all but one id as they are */
static int write_shift(pid_t pid, const char *which, unsigned base, unsigned owner, unsigned login)
{
	_cleanup_close_ int fd = -1;
	char path[64], text[128];
	int n;

	if (owner >= base && owner < base + IDMAP_COUNT)
		n = snprintf(text, sizeof(text), "%u %u %u\n", base, base, (unsigned)IDMAP_COUNT);
	else
		n = snprintf(text, sizeof(text), "%u %u 1\n", owner, base + login);
	if ((owner < base || owner >= base + IDMAP_COUNT) && login > 0)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%u %u %u\n", base, base, login);
	if ((owner < base || owner >= base + IDMAP_COUNT) && login + 1 < IDMAP_COUNT)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%u %u %u\n", base + login + 1,
			      base + login + 1, IDMAP_COUNT - login - 1);
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, which);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, (size_t)n) != n ? -errno : 0;
}

static _Noreturn void namespace_child(int socket)
{
	char byte = unshare(CLONE_NEWUSER) < 0 ? (char)errno : 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (write(socket, &byte, 1) == 1 && read(socket, &byte, 1) < 0)
		_exit(1);
	_exit(0);
}

static int shift_namespace(const struct plan *plan, const struct stat *owner,
			   const int64_t login[2])
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], r = venv__msg_pair(pair), fd = -1;
	char path[64], byte = 0;
	pid_t pid;

	if (r < 0)
		return r;
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid == 0) {
		(void)close(ours);
		namespace_child(theirs);
	}
	if (pid < 0)
		return -errno;
	(void)close(take_fd(&theirs));
	if (read(ours, &byte, 1) != 1 || byte)
		r = byte ? -byte : -EIO;
	if (r == 0)
		r = write_shift(pid, "gid_map", plan->map.gid, owner->st_gid, (unsigned)login[1]);
	if (r == 0)
		r = write_shift(pid, "uid_map", plan->map.uid, owner->st_uid, (unsigned)login[0]);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	if (r == 0 && (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		r = -errno;
	(void)kill(pid, SIGKILL);
	(void)venv__child_wait(pid);
	return r < 0 ? r : fd;
}

static int make_tree(const struct plan *plan, const struct plan_folder *folder,
		     const int64_t login[2])
{
	uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
	_cleanup_close_ int tree = setup_mount_clone(folder->fd, "", 0, false), shift = -1;
	struct stat st;
	int r;

	if (tree < 0)
		return tree;
	if (folder->read_only)
		attributes |= MOUNT_ATTR_RDONLY;
	if (fstat(folder->fd, &st) < 0)
		return -errno;
	if (!folder->volume) {
		shift = shift_namespace(plan, &st, login);
		if (shift < 0)
			return shift;
	}
	r = setup_mount_set(tree, attributes, shift, false);
	return r < 0 ? r : take_fd(&tree);
}

int keeper_trees_make(const struct plan *plan, const int64_t (*owners)[2], int *ret,
		      venv_error **err)
{
	static const int64_t nobody[2] = { 0, 0 };
	size_t user = 0;
	int r;

	for (size_t i = 0; i < plan->n_folders; i++) {
		const struct plan_folder *folder = &plan->folders[i];

		ret[i] = make_tree(plan, folder, folder->volume ? nobody : owners[user]);
		user += !folder->volume;
		if (ret[i] >= 0)
			continue;
		r = venv__fail_errno(err, -ret[i], "cannot share the folder '%s'", folder->host);
		if (ret[i] == -EINVAL || ret[i] == -EPERM)
			r = venv__hint(r, err,
				       "its file system may not support id-mapped mounts: move the "
				       "project to ext4, xfs or btrfs, or run venv as the owner of "
				       "the folder instead of root");
		while (i-- > 0)
			(void)close(ret[i]);
		return r;
	}
	return 0;
}
