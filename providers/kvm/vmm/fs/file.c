/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with open files. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "call.h"
#include "util/compiler.h"

enum {
	PIECES = 260, /* buffers of one system call: 1 MiB in pages, with some to spare */
	WRITE_AT_ONCE = 64 << 10, /* larger writes are for threads that may wait */
	COPY_MAX = 64 << 20,
	FALLOCATE_MODES = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE |
			  FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE |
			  FALLOC_FL_UNSHARE_RANGE,
};

/* The kernel takes away capabilities itself, and set-id bits where we have no rights to keep them. */
void fs_drop_privileges(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_mode & (S_ISUID | S_ISGID))
		(void)fchmod(fd, st.st_mode & 01777);
}

static int get_handle(struct fs_call *call, uint64_t fh, struct fs_handle **ret)
{
	return fs_handle_get(&call->server->handles, fh, call->inode, false, ret);
}

/* ---- reading and writing ------------------------------------------------------------------------ */

/* A short read without waiting: the file's end, or the end of what the cache holds? */
static bool at_end(int fd, off_t offset)
{
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };

	return preadv2(fd, &iov, 1, offset, RWF_NOWAIT) == 0;
}

/* @return bytes, -EAGAIN: it would wait, or another -errno */
static ssize_t read_pieces(struct fs_call *call, int fd, size_t size, off_t offset)
{
	int flags = call->may_wait ? 0 : RWF_NOWAIT;
	struct iovec iov[PIECES];
	struct fs_iov at = call->out;
	size_t done = 0;

	while (done < size) {
		size_t n = fs_iov_slice(&at, size - done, iov, PIECES);
		ssize_t r = preadv2(fd, iov, (int)n, offset + (off_t)done, flags);

		if (r < 0 && done == 0)
			return errno == EOPNOTSUPP ? -EAGAIN : -errno;
		if (r <= 0)
			break;
		fs_iov_skip(&at, (size_t)r);
		done += (size_t)r;
	}
	if (done < size && flags && !at_end(fd, offset + (off_t)done))
		return -EAGAIN;
	return (ssize_t)done;
}

int fs_op_read(struct fs_call *call)
{
	const struct fuse_read_in *in = &call->args.read;
	size_t size = MIN(MIN(in->size, (uint32_t)FS_MAX_WRITE), call->out.left);
	struct fs_handle *handle;
	ssize_t n;
	int r = get_handle(call, in->fh, &handle);

	if (r < 0)
		return r;
	n = in->offset > INT64_MAX - FS_MAX_WRITE
		    ? -EINVAL
		    : read_pieces(call, handle->fd, size, (off_t)in->offset);
	fs_put_handle(call->server, handle);
	if (n == -EAGAIN && !call->may_wait)
		return FS_LATER;
	if (n < 0)
		return (int)n;
	call->size = (size_t)n;
	return 0;
}

static ssize_t write_pieces(struct fs_call *call, int fd, size_t size, off_t offset, int flags)
{
	struct iovec iov[PIECES];
	size_t done = 0;

	while (done < size) {
		size_t n = fs_iov_slice(&call->rest, size - done, iov, PIECES);
		ssize_t r = pwritev2(fd, iov, (int)n, offset + (off_t)done, flags);

		if (r < 0 && done == 0)
			return -errno;
		if (r <= 0)
			break;
		fs_iov_skip(&call->rest, (size_t)r);
		done += (size_t)r;
	}
	return (ssize_t)done;
}

/*
 * Appending is done by the host, where the end of the file is. Not so the pages of a mapping, which the
 * guest's kernel may write by any open file (FUSE_WRITE_CACHE): they have their place.
 */
static int write_flags(const struct fuse_write_in *in)
{
	return in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE) ? RWF_APPEND : 0;
}

static ssize_t write_handle(struct fs_call *call, struct fs_handle *handle)
{
	const struct fuse_write_in *in = &call->args.write;

	if (in->write_flags & FUSE_WRITE_KILL_SUIDGID || !handle->privileges_gone)
		fs_drop_privileges(handle->fd);
	handle->privileges_gone = true;
	return write_pieces(call, handle->fd, in->size, (off_t)in->offset, write_flags(in));
}

int fs_op_write(struct fs_call *call)
{
	const struct fuse_write_in *in = &call->args.write;
	struct fuse_write_out out = { 0 };
	struct fs_handle *handle;
	ssize_t n;
	int r;

	if (in->size > FS_MAX_WRITE || in->size > call->rest.left ||
	    in->offset > INT64_MAX - FS_MAX_WRITE)
		return -EINVAL;
	r = get_handle(call, in->fh, &handle);
	if (r < 0)
		return r;
	n = -EAGAIN;
	if (call->may_wait || (in->size <= WRITE_AT_ONCE && !(handle->flags & (O_SYNC | O_DSYNC))))
		n = write_handle(call, handle);
	fs_put_handle(call->server, handle);
	if (n == -EAGAIN && !call->may_wait)
		return FS_LATER;
	out.size = n < 0 ? 0 : (uint32_t)n;
	return n < 0 ? (int)n : fs_reply(call, &out, sizeof(out));
}

/* ---- the rest ----------------------------------------------------------------------------------- */

/* close() by one of those who share the guest's open file */
int fs_op_flush(struct fs_call *call)
{
	fs_locks_close(call->server, call->inode, &call->args.flush.lock_owner);
	return 0;
}

int fs_op_fsync(struct fs_call *call)
{
	struct fs_handle *handle;
	bool data_only = call->args.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC;
	int r = get_handle(call, call->args.fsync.fh, &handle);

	if (r < 0)
		return r;
	r = (data_only ? fdatasync(handle->fd) : fsync(handle->fd)) < 0 ? -errno : 0;
	fs_put_handle(call->server, handle);
	return r;
}

/* Some file systems fill up before they find that it will not do. */
static bool fits(int fd, const struct fuse_fallocate_in *in)
{
	struct statfs fs;
	struct stat st;
	uint64_t there;

	if (in->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE))
		return true;
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return false;
	there = (uint64_t)st.st_blocks * 512;
	return in->length <= there || (in->length - there) / (uint64_t)fs.f_bsize < fs.f_bavail;
}

int fs_op_fallocate(struct fs_call *call)
{
	const struct fuse_fallocate_in *in = &call->args.fallocate;
	struct fs_handle *handle;
	int r;

	if (in->mode & ~(uint32_t)FALLOCATE_MODES)
		return -EOPNOTSUPP;
	if (in->length > INT64_MAX || in->offset > INT64_MAX - in->length)
		return -EFBIG;
	r = get_handle(call, in->fh, &handle);
	if (r < 0)
		return r;
	if (!fits(handle->fd, in))
		r = -ENOSPC;
	else if (fallocate(handle->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0)
		r = -errno;
	fs_put_handle(call->server, handle);
	return r;
}

/* The guest has its own position; the one of our descriptor is not used. */
int fs_op_lseek(struct fs_call *call)
{
	const struct fuse_lseek_in *in = &call->args.lseek;
	struct fuse_lseek_out out;
	struct fs_handle *handle;
	off_t at;
	int r;

	if (in->offset > INT64_MAX || (in->whence != SEEK_DATA && in->whence != SEEK_HOLE))
		return -EINVAL;
	r = get_handle(call, in->fh, &handle);
	if (r < 0)
		return r;
	at = lseek(handle->fd, (off_t)in->offset, (int)in->whence);
	r = at < 0 ? -errno : 0;
	fs_put_handle(call->server, handle);
	out.offset = (uint64_t)at;
	return r < 0 ? r : fs_reply(call, &out, sizeof(out));
}

static ssize_t copy_range(const struct fuse_copy_file_range_in *in, int from, struct fs_handle *to)
{
	off_t at = (off_t)in->off_in, to_at = (off_t)in->off_out;
	ssize_t n;

	fs_drop_privileges(to->fd);
	n = copy_file_range(from, &at, to->fd, &to_at, MIN(in->len, (uint64_t)COPY_MAX), 0);
	return n < 0 ? -errno : n;
}

int fs_op_copy_file_range(struct fs_call *call)
{
	const struct fuse_copy_file_range_in *in = &call->args.copy;
	struct fs_server *server = call->server;
	struct fuse_write_out out = { 0 };
	struct fs_handle *from, *to = NULL;
	struct fs_inode *inode = NULL;
	ssize_t n;
	int r;

	if (in->flags || in->off_in > INT64_MAX || in->off_out > INT64_MAX)
		return -EINVAL;
	r = get_handle(call, in->fh_in, &from);
	if (r < 0)
		return r;
	r = fs_inode_get(&server->inodes, in->nodeid_out, &inode);
	if (r == 0)
		r = fs_handle_get(&server->handles, in->fh_out, inode, false, &to);
	n = to ? copy_range(in, from->fd, to) : r;
	fs_put_handle(server, to);
	fs_inode_put(&server->inodes, inode);
	fs_put_handle(server, from);
	out.size = n < 0 ? 0 : (uint32_t)n;
	return n < 0 ? (int)n : fs_reply(call, &out, sizeof(out));
}
