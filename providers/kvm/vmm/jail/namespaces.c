/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces of its own: no network but the descriptors it has, no neighbours, an empty root directory. */
#include "jail.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>

enum { OTHERS = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP };

static int write_text(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
}

/* The caller's own ids are what they were, so files stay his; nobody else's have a name here. */
static int map_self(uid_t uid, gid_t gid)
{
	char users[64], groups[64];
	int r;

	(void)snprintf(users, sizeof(users), "%u %u 1", uid, uid);
	(void)snprintf(groups, sizeof(groups), "%u %u 1", gid, gid);
	r = write_text("/proc/self/setgroups", "deny");
	if (r == 0)
		r = write_text("/proc/self/uid_map", users);
	return r < 0 ? r : write_text("/proc/self/gid_map", groups);
}

/* Root's folders are served with root's rights over all ids: it stays in the user namespace it is in. */
static int unshare_all(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (uid == 0)
		return unshare(OTHERS) < 0 ? -errno : 0;
	return unshare(CLONE_NEWUSER | OTHERS) < 0 ? -errno : map_self(uid, gid);
}

/* A file system that nobody mounted anywhere, empty and never to be written. */
static int empty_root(void)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	_cleanup_close_ int root = -1;

	if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
	    syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	root = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
			    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return root >= 0 && fchdir(root) == 0 && chroot(".") == 0 ? 0 : -errno;
}

int jail_namespaces(void)
{
	int r = unshare_all();

	return r < 0 ? r : empty_root();
}
