/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories. Offsets are the host file system's own, which stay valid while names come and go; nothing
 * of a directory is kept between two requests, each begins with a seek.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "util/compiler.h"

enum {
	BUFFER = 16 << 10,
	/* An answer's entry, with its attributes, is some four times as long as the host's. */
	PLUS_FACTOR = 4,
	ENTRY_MAX = 280, /* of the host's entries */
};

int fs_op_opendir(struct fs_call *call)
{
	struct fuse_open_out out = { 0 };
	struct fs_server *server = call->server;
	struct fs_handle *handle;
	int fd = openat(call->inode->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = fs_handle_new(&server->handles, call->inode, fd, O_RDONLY, true, &handle);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	fs_inode_use(&server->inodes, call->inode);
	out.fh = handle->id;
	fs_put_handle(server, handle);
	return fs_reply(call, &out, sizeof(out));
}

int fs_op_releasedir(struct fs_call *call)
{
	return fs_op_release(call);
}

int fs_op_fsyncdir(struct fs_call *call)
{
	bool data_only = call->args.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC;
	struct fs_handle *handle;
	int r = fs_handle_get(&call->server->handles, call->args.fsync.fh, call->inode, true,
			      &handle);

	if (r < 0)
		return r;
	r = (data_only ? fdatasync(handle->fd) : fsync(handle->fd)) < 0 ? -errno : 0;
	fs_put_handle(call->server, handle);
	return r;
}

/* ---- reading ------------------------------------------------------------------------------------ */

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int put_dirent(struct fs_call *call, const struct dirent64 *d, size_t length)
{
	static const char zeroes[8] = { 0 };
	bool is_root = call->inode == call->server->inodes.root;
	struct fuse_dirent out = {
		/* what is above the folder is no business of the guest's */
		.ino = is_root && strcmp(d->d_name, "..") == 0 ? call->inode->key.ino : d->d_ino,
		.off = (uint64_t)d->d_off,
		.namelen = (uint32_t)length,
		.type = d->d_type,
	};

	(void)fs_reply(call, &out, FUSE_NAME_OFFSET);
	(void)fs_reply(call, d->d_name, length);
	return fs_reply(call, zeroes, FUSE_DIRENT_SIZE(&out) - FUSE_NAME_OFFSET - length);
}

/* The attributes before an entry; without a lookup (node 0) for dots, and for what is gone already. */
static int put_entry(struct fs_call *call, const struct dirent64 *d)
{
	struct fs_inodes *inodes = &call->server->inodes;
	struct fuse_entry_out out = { .attr = { .ino = d->d_ino,
						.mode = (uint32_t)d->d_type << 12 } };
	struct fs_inode *inode;
	struct statx stat;

	if (!is_dots(d->d_name) &&
	    fs_inode_lookup(inodes, call->inode, d->d_name, &inode, &stat) == 0) {
		fs_entry(call->server, inode, &stat, &out);
		fs_inode_put(inodes, inode);
	}
	return fs_reply(call, &out, sizeof(out));
}

/* @return whether there was room for it */
static bool put(struct fs_call *call, const struct dirent64 *d, bool plus)
{
	size_t length = strlen(d->d_name);
	size_t size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + length);

	if (size + (plus ? sizeof(struct fuse_entry_out) : 0) > call->out.left)
		return false;
	if (plus)
		(void)put_entry(call, d);
	return put_dirent(call, d, length) == 0;
}

static ssize_t read_host(struct fs_handle *handle, off_t offset, void *buffer, size_t size)
{
	ssize_t n = -1;

	(void)pthread_mutex_lock(&handle->position);
	if (lseek(handle->fd, offset, SEEK_SET) >= 0)
		n = getdents64(handle->fd, buffer, size);
	if (n < 0)
		n = -errno;
	(void)pthread_mutex_unlock(&handle->position);
	return n;
}

/* As much as fits; at least one entry, or the end. */
static int read_entries(struct fs_call *call, struct fs_handle *handle, off_t offset, bool plus)
{
	_Alignas(struct dirent64) char buffer[BUFFER];
	bool hides = fs_inode_hides(&call->server->inodes, call->inode);
	size_t want = plus ? call->out.left / PLUS_FACTOR : call->out.left;
	ssize_t n;

	want = MIN(MAX(want, (size_t)ENTRY_MAX), sizeof(buffer));
	do {
		n = read_host(handle, offset, buffer, want);
		if (n < 0)
			return (int)n;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *d = (const void *)(buffer + at);

			at += d->d_reclen; /* NOLINT: the kernel wrote what is there */
			offset = d->d_off;
			if (hides && strcmp(d->d_name, FS_HIDDEN) == 0)
				continue;
			if (!put(call, d, plus))
				return call->size ? 0 : -EINVAL;
		}
	} while (n > 0 && !call->size);
	return 0;
}

static int readdir_any(struct fs_call *call, bool plus)
{
	const struct fuse_read_in *in = &call->args.read;
	struct fs_handle *handle;
	int r;

	if (in->offset > INT64_MAX)
		return -EINVAL;
	r = fs_handle_get(&call->server->handles, in->fh, call->inode, true, &handle);
	if (r < 0)
		return r;
	fs_iov_limit(&call->out, in->size);
	r = read_entries(call, handle, (off_t)in->offset, plus);
	fs_put_handle(call->server, handle);
	return r;
}

int fs_op_readdir(struct fs_call *call)
{
	return readdir_any(call, false);
}

int fs_op_readdirplus(struct fs_call *call)
{
	return readdir_any(call, true);
}
