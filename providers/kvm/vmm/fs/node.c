/* SPDX-License-Identifier: Apache-2.0 */
/* Names: looked up, made, moved, removed. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <unistd.h>

#include "call.h"

enum { MODE_MASK = 01777 }; /* see attr.c */

static bool is_hidden(const struct fs_call *call, const char *name)
{
	return fs_inode_hidden(&call->server->inodes, call->inode, name);
}

int fs_reply_entry(struct fs_call *call, const char *name)
{
	struct fs_inodes *inodes = &call->server->inodes;
	struct fuse_entry_out out;
	struct fs_inode *inode;
	struct statx stat;
	int r = fs_inode_lookup(inodes, call->inode, name, &inode, &stat);

	if (r < 0)
		return r;
	fs_entry(call->server, inode, &stat, &out);
	fs_inode_put(inodes, inode);
	return fs_reply(call, &out, sizeof(out));
}

int fs_op_lookup(struct fs_call *call)
{
	return is_hidden(call, call->name) ? -ENOENT : fs_reply_entry(call, call->name);
}

int fs_op_readlink(struct fs_call *call)
{
	char target[PATH_MAX];
	ssize_t n;

	if (call->inode->key.type != S_IFLNK)
		return -EINVAL;
	n = readlinkat(call->inode->fd, "", target, sizeof(target));
	return n < 0 ? -errno : fs_reply(call, target, (size_t)n);
}

/* ---- made --------------------------------------------------------------------------------------- */

/* Tell of what was made, which belongs to who asked for it; or it is gone again. */
static int reply_new(struct fs_call *call, int remove_flags)
{
	int r = fs_give_new(call, call->inode->fd, call->name);

	if (r < 0)
		(void)unlinkat(call->inode->fd, call->name, remove_flags);
	return r < 0 ? r : fs_reply_entry(call, call->name);
}

/* The links are the guest's to follow: any target will do. */
int fs_op_symlink(struct fs_call *call)
{
	char target[PATH_MAX];
	int r = fs_take_string(&call->rest, target, sizeof(target));

	if (r < 0)
		return r;
	if (is_hidden(call, call->name))
		return -EPERM;
	if (symlinkat(target, call->inode->fd, call->name) < 0)
		return -errno;
	return reply_new(call, 0);
}

int fs_op_mknod(struct fs_call *call)
{
	mode_t mode = call->args.mknod.mode, type = mode & S_IFMT;

	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return -EPERM; /* no device becomes one of the host's */
	if (is_hidden(call, call->name))
		return -EPERM;
	if (mknodat(call->inode->fd, call->name, type | (mode & MODE_MASK), 0) < 0)
		return -errno;
	return reply_new(call, 0);
}

int fs_op_mkdir(struct fs_call *call)
{
	if (is_hidden(call, call->name))
		return -EPERM;
	if (mkdirat(call->inode->fd, call->name, call->args.mkdir.mode & MODE_MASK) < 0)
		return -errno;
	return reply_new(call, AT_REMOVEDIR);
}

int fs_op_link(struct fs_call *call)
{
	struct fs_server *server = call->server;
	struct fs_inode *from;
	struct fs_fd_name name;
	int r;

	if (is_hidden(call, call->name))
		return -EPERM;
	r = fs_inode_get(&server->inodes, call->args.link.oldnodeid, &from);
	if (r < 0)
		return r;
	r = fs_inode_open(&server->inodes, from);
	if (r == 0) {
		/* follows our descriptor, not what it is */
		name = fs_fd_name(from->fd);
		r = linkat(server->proc_fd, name.text, call->inode->fd, call->name,
			   AT_SYMLINK_FOLLOW) < 0
			    ? -errno
			    : 0;
	}
	fs_inode_put(&server->inodes, from);
	return r < 0 ? r : fs_reply_entry(call, call->name);
}

/* ---- removed and moved -------------------------------------------------------------------------- */

static int remove_name(struct fs_call *call, int flags)
{
	if (is_hidden(call, call->name))
		return -ENOENT;
	return unlinkat(call->inode->fd, call->name, flags) < 0 ? -errno : 0;
}

int fs_op_unlink(struct fs_call *call)
{
	return remove_name(call, 0);
}

int fs_op_rmdir(struct fs_call *call)
{
	return remove_name(call, AT_REMOVEDIR);
}

static int rename_to(struct fs_call *call, struct fs_inode *dir, unsigned flags)
{
	struct fs_inodes *inodes = &call->server->inodes;

	if (is_hidden(call, call->name))
		return -ENOENT;
	if (fs_inode_hidden(inodes, dir, call->name2))
		return -EPERM;
	if (renameat2(call->inode->fd, call->name, dir->fd, call->name2, flags) < 0)
		return -errno;
	fs_inode_rename(inodes, dir, call->name2);
	if (flags & RENAME_EXCHANGE)
		fs_inode_rename(inodes, call->inode, call->name);
	return 0;
}

static int rename_any(struct fs_call *call, uint64_t id, unsigned flags)
{
	struct fs_inodes *inodes = &call->server->inodes;
	struct fs_inode *dir;
	int r = fs_inode_get(inodes, id, &dir);

	if (r < 0)
		return r;
	r = dir->key.type == S_IFDIR ? fs_inode_open(inodes, dir) : -ENOTDIR;
	if (r == 0)
		r = rename_to(call, dir, flags);
	fs_inode_put(inodes, dir);
	return r;
}

int fs_op_rename(struct fs_call *call)
{
	return rename_any(call, call->args.rename.newdir, 0);
}

/* RENAME_WHITEOUT would make a device. */
int fs_op_rename2(struct fs_call *call)
{
	const struct fuse_rename2_in *in = &call->args.rename2;

	if (in->flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	return rename_any(call, in->newdir, in->flags);
}
