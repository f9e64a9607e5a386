/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening files and letting go of them.
 *
 * The guest's page cache: it drops what it has of a file when it opens it, unless we tell that the file is
 * unchanged since it opened it last (FOPEN_KEEP_CACHE). A file's `stamp` stands for its times and size
 * then. It is not believed when the file changed within the granularity of file times before.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "call.h"
#include "util/cleanup.h"

enum {
	/*
	 * What a guest may ask for. Its O_APPEND comes with each write (file.c); O_DIRECT is about its
	 * own cache: its buffers need not be aligned as the host wants them.
	 */
	FLAGS_MASK = O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC,
	MODE_MASK = 01777, /* see attr.c */
	TIME_GRAIN_NS = 100000000,
	CREATE_TRIES = 8,
};

static int check_flags(const struct fs_call *call, uint32_t flags)
{
	bool changes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;

	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	return changes && call->server->options.read_only ? -EROFS : 0;
}

int fs_open_inode(struct fs_server *server, struct fs_inode *inode, int flags)
{
	struct fs_fd_name name;
	int r, fd;

	if (inode->key.type != S_IFREG && inode->key.type != S_IFDIR)
		return inode->key.type == S_IFLNK ? -ELOOP : -ENXIO;
	r = fs_inode_open(&server->inodes, inode);
	if (r < 0)
		return r;
	name = fs_fd_name(inode->fd);
	fd = openat(server->proc_fd, name.text, flags | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/* Makes a handle of fd, which is taken. The caller puts it. */
static int new_handle(struct fs_server *server, struct fs_inode *inode, int fd, uint32_t flags,
		      struct fs_handle **ret)
{
	int r = fs_handle_new(&server->handles, inode, fd, (int)(flags & FLAGS_MASK),
			      inode->key.type == S_IFDIR, ret);

	if (r < 0)
		(void)close(fd);
	else
		fs_inode_use(&server->inodes, inode);
	return r;
}

void fs_put_handle(struct fs_server *server, struct fs_handle *handle)
{
	struct fs_inode *inode = handle ? fs_handle_put(&server->handles, handle) : NULL;

	fs_inode_put(&server->inodes, inode);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	a = (a ^ b) * 0x9e3779b97f4a7c15;
	return a ^ a >> 32;
}

/* The stamp of a file, or 0: it may be changed again without looking different. */
static uint64_t stamp_of(const struct statx *stat)
{
	struct timespec now;
	int64_t age;
	uint64_t stamp;

	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
	age = (now.tv_sec - stat->stx_ctime.tv_sec) * 1000000000 + now.tv_nsec -
	      stat->stx_ctime.tv_nsec;
	if (age < TIME_GRAIN_NS)
		return 0;
	stamp = mix(stat->stx_size, (uint64_t)stat->stx_ctime.tv_sec);
	stamp = mix(stamp, (uint64_t)stat->stx_ctime.tv_nsec << 32 | stat->stx_mtime.tv_nsec);
	return mix(stamp, (uint64_t)stat->stx_mtime.tv_sec) | 1;
}

static uint32_t cache_flags(struct fs_inode *inode, int fd)
{
	struct statx stat;
	uint64_t stamp, before;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stat) < 0)
		return 0;
	stamp = stamp_of(&stat);
	before = __atomic_exchange_n(&inode->stamp, stamp, __ATOMIC_RELAXED);
	return stamp && stamp == before ? FOPEN_KEEP_CACHE : 0;
}

int fs_op_open(struct fs_call *call)
{
	uint32_t flags = call->args.open.flags;
	struct fuse_open_out out = { 0 };
	struct fs_handle *handle;
	int r, fd;

	if (call->inode->key.type == S_IFDIR)
		return -EISDIR;
	r = check_flags(call, flags);
	if (r < 0)
		return r;
	fd = fs_open_inode(call->server, call->inode, (int)(flags & FLAGS_MASK));
	if (fd < 0)
		return fd;
	if (flags & O_TRUNC)
		fs_drop_privileges(fd);
	out.open_flags = cache_flags(call->inode, fd);
	r = new_handle(call->server, call->inode, fd, flags, &handle);
	if (r < 0)
		return r;
	out.fh = handle->id;
	fs_put_handle(call->server, handle);
	return fs_reply(call, &out, sizeof(out));
}

/* ---- files that are made ------------------------------------------------------------------------ */

/* A new file, at a name that nothing has. fd or -errno */
static int create_new(const struct fs_call *call)
{
	const struct open_how how = {
		.flags = (call->args.create.flags & (FLAGS_MASK & ~(uint32_t)O_TRUNC)) | O_CREAT |
			 O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
		.mode = call->args.create.mode & MODE_MASK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	int fd = (int)syscall(SYS_openat2, call->inode->fd, call->name, &how, sizeof(how));
	int r = fd < 0 ? -errno : fs_give_new(call, fd, "");

	if (r < 0 && fd >= 0) {
		(void)unlinkat(call->inode->fd, call->name, 0);
		(void)close(fd);
	}
	return r < 0 ? r : fd;
}

/* The guest learns of a file that we just made: by the descriptor, whatever its name means by now. */
static int adopt(struct fs_call *call, int fd, const char *name, struct fs_inode **ret,
		 struct statx *stat)
{
	struct fs_fd_name fd_name = fs_fd_name(fd);
	int path = openat(call->server->proc_fd, fd_name.text, O_PATH | O_CLOEXEC), r;

	if (path < 0)
		return -errno;
	r = fs_inode_adopt(&call->server->inodes, path, ret, stat);
	if (r == 0 && name)
		fs_inode_rename(&call->server->inodes, call->inode, name);
	return r;
}

/* What is there already is opened, if it is a file. fd or -errno */
static int open_existing(struct fs_call *call, struct fs_inode **ret, struct statx *stat)
{
	struct fs_inodes *inodes = &call->server->inodes;
	uint32_t flags = call->args.create.flags;
	struct fs_inode *inode = NULL;
	int r = fs_inode_lookup(inodes, call->inode, call->name, &inode, stat), fd;

	if (r < 0)
		return r;
	fd = inode->key.type == S_IFDIR
		     ? -EISDIR
		     : fs_open_inode(call->server, inode, (int)(flags & FLAGS_MASK));
	if (fd >= 0 && flags & O_TRUNC)
		fs_drop_privileges(fd);
	r = fd < 0 ? fd : fs_inode_stat(inodes, inode, stat);
	if (r < 0) {
		fs_inode_forget(inodes, inode->id, 1);
		fs_inode_put(inodes, inode);
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	*ret = inode;
	return fd;
}

/* Either, while others make and remove the name. fd or -errno */
static int create_or_open(struct fs_call *call, struct fs_inode **ret, struct statx *stat)
{
	int fd = -EEXIST;

	for (int i = 0; i < CREATE_TRIES; i++) {
		fd = create_new(call);
		if (fd >= 0) {
			int r = adopt(call, fd, call->name, ret, stat);

			if (r < 0)
				(void)close(fd);
			return r < 0 ? r : fd;
		}
		if (fd != -EEXIST || call->args.create.flags & O_EXCL)
			return fd;
		fd = open_existing(call, ret, stat);
		if (fd != -ENOENT && fd != -ESTALE)
			return fd;
	}
	return fd;
}

/* Tell of an inode with one lookup more, and of a handle for fd. Takes all three. */
static int reply_created(struct fs_call *call, struct fs_inode *inode, int fd,
			 const struct statx *stat)
{
	struct fuse_entry_out entry;
	struct fuse_open_out open = { 0 };
	struct fs_handle *handle;
	int r = new_handle(call->server, inode, fd, call->args.create.flags, &handle);

	if (r == 0) {
		fs_entry(call->server, inode, stat, &entry);
		open.fh = handle->id;
		(void)fs_reply(call, &entry, sizeof(entry));
		r = fs_reply(call, &open, sizeof(open));
		fs_put_handle(call->server, handle);
	} else {
		fs_inode_forget(&call->server->inodes, inode->id, 1);
	}
	fs_inode_put(&call->server->inodes, inode);
	return r;
}

int fs_op_create(struct fs_call *call)
{
	struct fs_inode *inode = NULL;
	struct statx stat;
	int r = check_flags(call, call->args.create.flags), fd;

	if (r < 0)
		return r;
	if (fs_inode_hidden(&call->server->inodes, call->inode, call->name))
		return -EPERM;
	fd = create_or_open(call, &inode, &stat);
	return inode ? reply_created(call, inode, fd, &stat) : fd;
}

/* A file without a name: the one that comes with it is made up by the guest's kernel ("/"). */
int fs_op_tmpfile(struct fs_call *call)
{
	uint32_t flags = call->args.create.flags;
	struct fs_inode *inode = NULL;
	struct statx stat;
	int r = check_flags(call, flags), fd;

	if (r < 0)
		return r;
	flags = (flags & (FLAGS_MASK | O_EXCL) & ~(uint32_t)O_TRUNC) | O_TMPFILE;
	fd = openat(call->inode->fd, ".", (int)flags | O_CLOEXEC | O_NOCTTY,
		    call->args.create.mode & MODE_MASK);
	if (fd < 0)
		return -errno;
	r = fs_give_new(call, fd, "");
	if (r == 0)
		r = adopt(call, fd, NULL, &inode, &stat);
	if (!inode) {
		(void)close(fd);
		return r;
	}
	return reply_created(call, inode, fd, &stat);
}

int fs_op_release(struct fs_call *call)
{
	const struct fuse_release_in *in = &call->args.release;
	struct fs_server *server = call->server;
	struct fs_handle *handle;
	bool directory = call->in.opcode == FUSE_RELEASEDIR;
	int r = fs_handle_remove(&server->handles, in->fh, call->inode, directory, &handle);

	if (r < 0)
		return r;
	fs_put_handle(server, handle);
	fs_locks_release(server, call->inode, in->fh);
	fs_locks_wake(server); /* flock() ends with its file */
	return 0;
}
