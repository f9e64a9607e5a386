/* SPDX-License-Identifier: Apache-2.0 */
#include "mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "util/cleanup.h"
#include "util/file.h"

int setup_mount_set(int mount_fd, uint64_t attributes, int userns_fd, bool recursive)
{
	/* A copy of a shared mount would hand what is mounted on it to the host. */
	struct mount_attr attr = { .attr_set = attributes, .propagation = MS_PRIVATE };

	if (userns_fd >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (unsigned)userns_fd;
	}
	if (mount_setattr(mount_fd, "", AT_EMPTY_PATH | (recursive ? (unsigned)AT_RECURSIVE : 0U),
			  &attr, sizeof(attr)) < 0)
		return -errno;
	return 0;
}

int setup_mount_clone(int dir_fd, const char *name, uint64_t attributes, bool recursive)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
	_cleanup_close_ int fd = -1;
	int r;

	if (!*name)
		flags |= AT_EMPTY_PATH;
	if (recursive)
		flags |= AT_RECURSIVE;
	fd = open_tree(dir_fd, name, flags);
	if (fd < 0)
		return -errno;
	/* else what is mounted below the copy would appear in the host's, where that is shared */
	if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE,
			  &(struct mount_attr){ .propagation = MS_PRIVATE },
			  sizeof(struct mount_attr)) < 0)
		return -errno;
	r = setup_mount_set(fd, attributes, -1, recursive);
	return r < 0 ? r : take_fd(&fd);
}

int setup_mount_new(const char *type, const char *const *options, unsigned attributes)
{
	_cleanup_close_ int context = fsopen(type, FSOPEN_CLOEXEC);
	int fd;

	if (context < 0)
		return -errno;
	for (; options && options[0]; options += 2) {
		unsigned command = options[1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

		if (fsconfig(context, command, options[0], options[1], 0) < 0)
			return -errno;
	}
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(context, FSMOUNT_CLOEXEC, attributes);
	return fd < 0 ? -errno : fd;
}

int setup_mount_on(int mount_fd, int target_fd, const char *name)
{
	unsigned flags = MOVE_MOUNT_F_EMPTY_PATH;

	if (!*name)
		flags |= MOVE_MOUNT_T_EMPTY_PATH;
	return move_mount(mount_fd, "", target_fd, name, flags) < 0 ? -errno : 0;
}

int setup_mount_in(int mount_fd, int root_fd, const char *path)
{
	_cleanup_close_ int target = venv__open_beneath(root_fd, path, O_PATH, 0);

	return target < 0 ? target : setup_mount_on(mount_fd, target, "");
}
