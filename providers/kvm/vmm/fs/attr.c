/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "call.h"

/* Set-id bits would give the guest's programs the rights of the host's user, on the host. */
enum { MODE_MASK = 01777 };

struct fs_fd_name fs_fd_name(int fd)
{
	struct fs_fd_name name;

	(void)snprintf(name.text, sizeof(name.text), "%d", fd);
	return name;
}

static uint32_t device_number(uint32_t major, uint32_t minor) /* as Linux packs it in 32 bits */
{
	return (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
}

void fs_attr(const struct fs_server *server, const struct statx *stat, struct fuse_attr *ret)
{
	*ret = (struct fuse_attr){
		.ino = stat->stx_ino,
		.size = stat->stx_size,
		.blocks = stat->stx_blocks,
		.atime = (uint64_t)stat->stx_atime.tv_sec,
		.mtime = (uint64_t)stat->stx_mtime.tv_sec,
		.ctime = (uint64_t)stat->stx_ctime.tv_sec,
		.atimensec = stat->stx_atime.tv_nsec,
		.mtimensec = stat->stx_mtime.tv_nsec,
		.ctimensec = stat->stx_ctime.tv_nsec,
		.mode = stat->stx_mode,
		.nlink = stat->stx_nlink,
		.uid = fs_idmap_uid(&server->idmap, stat->stx_uid),
		.gid = fs_idmap_gid(&server->idmap, stat->stx_gid),
		.rdev = device_number(stat->stx_rdev_major, stat->stx_rdev_minor),
		.blksize = stat->stx_blksize,
	};
}

void fs_entry(const struct fs_server *server, const struct fs_inode *inode,
	      const struct statx *stat, struct fuse_entry_out *ret)
{
	*ret = (struct fuse_entry_out){
		.nodeid = inode->id,
		.entry_valid = FS_VALID_S,
		.attr_valid = FS_VALID_S,
	};
	fs_attr(server, stat, &ret->attr);
}

static int reply_attr(struct fs_call *call, const struct statx *stat)
{
	struct fuse_attr_out out = { .attr_valid = FS_VALID_S };

	fs_attr(call->server, stat, &out.attr);
	return fs_reply(call, &out, sizeof(out));
}

/* An open file is asked itself, so the guest need not say which: FUSE_GETATTR_FH is not looked at. */
int fs_op_getattr(struct fs_call *call)
{
	struct statx stat;
	int r = fs_inode_stat(&call->server->inodes, call->inode, &stat);

	return r < 0 ? r : reply_attr(call, &stat);
}

/*
 * By name: the guest's kernel, and so every other guest's request, waits until a name that is being made is
 * there. Whoever else has the volume could only put there what is his to put there.
 */
int fs_give_new(const struct fs_call *call, int dir, const char *name)
{
	const struct fs_idmap *map = &call->server->idmap;
	uid_t uid = call->in.uid;
	gid_t gid = call->in.gid;
	int r = map->volume ? fs_idmap_host(map, &uid, &gid) : 0;

	if (r < 0 || !map->volume || (uid == map->host_uid && gid == map->host_gid))
		return r;
	return fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int give(struct fs_call *call, uid_t uid, gid_t gid)
{
	int r = fs_idmap_host(&call->server->idmap, &uid, &gid);

	if (r < 0)
		return r;
	return fchownat(call->inode->fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_owner(struct fs_call *call, const struct statx *stat)
{
	const struct fuse_setattr_in *in = &call->args.setattr;
	const struct fs_idmap *map = &call->server->idmap;
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	if (map->volume)
		return give(call, uid, gid);
	return fs_idmap_may_own(map, stat->stx_uid, stat->stx_gid, uid, gid) ? 0 : -EPERM;
}

static int set_mode(struct fs_call *call, mode_t mode)
{
	struct fs_fd_name name = fs_fd_name(call->inode->fd);

	return fchmodat(call->server->proc_fd, name.text, mode & MODE_MASK, 0) < 0 ? -errno : 0;
}

static int set_size(struct fs_call *call)
{
	const struct fuse_setattr_in *in = &call->args.setattr;
	struct fs_server *server = call->server;
	struct fs_handle *handle = NULL;
	int fd, r = 0;

	if (in->size > INT64_MAX)
		return -EINVAL;
	if (in->valid & FATTR_FH) {
		r = fs_handle_get(&server->handles, in->fh, call->inode, false, &handle);
		fd = r < 0 ? r : handle->fd;
	} else {
		fd = fs_open_inode(server, call->inode, O_WRONLY);
	}
	if (fd < 0)
		return fd;
	fs_drop_privileges(fd);
	r = ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
	if (handle)
		fs_put_handle(server, handle);
	else
		(void)close(fd);
	return r;
}

static struct timespec time_of(uint32_t valid, uint32_t set, uint32_t now, uint64_t s, uint32_t ns)
{
	struct timespec t = { .tv_nsec = UTIME_OMIT };

	if (valid & now)
		t.tv_nsec = UTIME_NOW;
	else if (valid & set) /* more than a second could mean NOW or OMIT */
		t = (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = ns % 1000000000 };
	return t;
}

static int set_times(struct fs_call *call)
{
	const struct fuse_setattr_in *in = &call->args.setattr;
	struct fs_fd_name name = fs_fd_name(call->inode->fd);
	const struct timespec times[2] = {
		time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	return utimensat(call->server->proc_fd, name.text, times, 0) < 0 ? -errno : 0;
}

int fs_op_setattr(struct fs_call *call)
{
	uint32_t valid = call->args.setattr.valid;
	struct fs_inodes *inodes = &call->server->inodes;
	struct statx stat;
	int r = fs_inode_stat(inodes, call->inode, &stat);

	if (r == 0 && valid & (FATTR_UID | FATTR_GID))
		r = set_owner(call, &stat);
	if (r == 0 && valid & FATTR_MODE)
		r = set_mode(call, call->args.setattr.mode);
	else if (r == 0 && valid & FATTR_KILL_SUIDGID && stat.stx_mode & ~MODE_MASK & 07777)
		r = set_mode(call, stat.stx_mode);
	if (r == 0 && valid & FATTR_SIZE)
		r = set_size(call);
	if (r == 0 && valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW))
		r = set_times(call);
	if (r == 0)
		r = fs_inode_stat(inodes, call->inode, &stat);
	return r < 0 ? r : reply_attr(call, &stat);
}
