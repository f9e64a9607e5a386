/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes: those of users. What gives rights (security.capability, ACLs) or labels does not
 * pass in either direction.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "call.h"
#include "util/cleanup.h"

#define PREFIX "user."

static bool is_users(const char *name)
{
	return strncmp(name, PREFIX, strlen(PREFIX)) == 0;
}

/* Only files and directories have such attributes. Any kind of access serves to get at them. */
static int open_for_xattr(struct fs_call *call)
{
	int fd;

	if (call->inode->key.type != S_IFREG && call->inode->key.type != S_IFDIR)
		return -EOPNOTSUPP;
	fd = fs_open_inode(call->server, call->inode, O_RDONLY);
	if (fd == -EACCES && call->inode->key.type == S_IFREG)
		fd = fs_open_inode(call->server, call->inode, O_WRONLY);
	return fd;
}

static int take_xattr_name(struct fs_call *call)
{
	int r = fs_take_string(&call->rest, call->name, sizeof(call->name));

	if (r < 0)
		return r;
	return is_users(call->name) ? 0 : -EOPNOTSUPP;
}

int fs_op_setxattr(struct fs_call *call)
{
	const struct fuse_setxattr_in *in = &call->args.setxattr;
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *value = NULL;
	int r = take_xattr_name(call);

	if (r < 0)
		return r;
	if (in->size > XATTR_SIZE_MAX)
		return -E2BIG;
	value = malloc(MAX(in->size, 1U));
	if (!value)
		return -ENOMEM;
	if (fs_iov_take(&call->rest, value, in->size) < in->size)
		return -EINVAL;
	fd = open_for_xattr(call);
	if (fd < 0)
		return fd;
	return fsetxattr(fd, call->name, value, in->size, (int)in->flags) < 0 ? -errno : 0;
}

int fs_op_removexattr(struct fs_call *call)
{
	_cleanup_close_ int fd = -1;
	int r = take_xattr_name(call);

	if (r < 0)
		return r;
	fd = open_for_xattr(call);
	if (fd < 0)
		return fd;
	return fremovexattr(fd, call->name) < 0 ? -errno : 0;
}

/* An answer of n bytes to who gave room for size: 0 asks for n. */
static int reply_sized(struct fs_call *call, const void *data, size_t n)
{
	uint32_t size = call->args.getxattr.size;
	struct fuse_getxattr_out out = { .size = (uint32_t)n };

	if (!size)
		return fs_reply(call, &out, sizeof(out));
	return n > size ? -ERANGE : fs_reply(call, data, n);
}

int fs_op_getxattr(struct fs_call *call)
{
	size_t room = MIN(call->args.getxattr.size, (uint32_t)XATTR_SIZE_MAX);
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *value = NULL;
	ssize_t n;
	int r = take_xattr_name(call);

	if (r < 0)
		return r;
	fd = open_for_xattr(call);
	if (fd < 0)
		return fd;
	value = malloc(MAX(room, 1U));
	if (!value)
		return -ENOMEM;
	n = fgetxattr(fd, call->name, value, room);
	return n < 0 ? -errno : reply_sized(call, value, (size_t)n);
}

/* Keep the users' names, in place. @return bytes */
static size_t filter(char *list, size_t size)
{
	size_t kept = 0;

	for (size_t at = 0, n; at < size; at += n) {
		n = strnlen(list + at, size - at - 1) + 1;
		if (!is_users(list + at))
			continue;
		memmove(list + kept, list + at, n);
		kept += n;
	}
	return kept;
}

int fs_op_listxattr(struct fs_call *call)
{
	_cleanup_close_ int fd = open_for_xattr(call);
	_cleanup_free_ char *list = NULL;
	ssize_t n;

	if (fd == -EOPNOTSUPP)
		return reply_sized(call, "", 0);
	if (fd < 0)
		return fd;
	list = malloc(XATTR_LIST_MAX);
	if (!list)
		return -ENOMEM;
	n = flistxattr(fd, list, XATTR_LIST_MAX);
	return n < 0 ? -errno : reply_sized(call, list, filter(list, (size_t)n));
}
