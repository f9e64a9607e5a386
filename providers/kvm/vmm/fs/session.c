/* SPDX-License-Identifier: Apache-2.0 */
/* What is about the session or the whole file system. */
#include <errno.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "call.h"
#include "util/compiler.h"

enum {
	MINOR_MIN = 31, /* Linux 5.4, the first that knows virtio-fs */
	MAX_PAGES = FS_MAX_WRITE / 4096,
	/* How many requests the guest may have under way that nobody waits for (read-ahead) */
	BACKGROUND = 64,
};

/*
 * Not taken: WRITEBACK_CACHE (the host's changes would be lost, and times be the guest's), EXPORT_SUPPORT
 * (".." by number), POSIX_ACL and SECURITY_CTX (no such attributes here), DONT_MASK (umask is the guest's).
 */
#define WANTED                                                                                     \
	(FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |              \
	 FUSE_FLOCK_LOCKS | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |   \
	 FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS |            \
	 FUSE_HANDLE_KILLPRIV_V2)

static void forget_inode(void *user, struct fs_inode *inode)
{
	fs_inode_put(user, inode);
}

void fs_session_end(struct fs_server *server)
{
	server->ready = false;
	fs_locks_close(server, NULL, NULL);
	fs_handles_reset(&server->handles, forget_inode, &server->inodes);
	fs_inodes_reset(&server->inodes);
}

int fs_op_init(struct fs_call *call)
{
	const struct fuse_init_in *in = &call->args.init;
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = MIN(in->minor, (uint32_t)FUSE_KERNEL_MINOR_VERSION),
		.max_readahead = MIN(in->max_readahead, (uint32_t)FS_MAX_WRITE),
		.flags = in->flags & WANTED,
		.max_background = BACKGROUND,
		.congestion_threshold = BACKGROUND / 4 * 3,
		.max_write = FS_MAX_WRITE,
		.time_gran = 1,
		.max_pages = MAX_PAGES,
	};

	if (in->major > FUSE_KERNEL_VERSION) { /* it asks again with ours */
		out.minor = FUSE_KERNEL_MINOR_VERSION;
		return fs_reply(call, &out, sizeof(out));
	}
	if (in->major < FUSE_KERNEL_VERSION || in->minor < MINOR_MIN)
		return -EPROTO;
	fs_session_end(call->server);
	call->server->ready = true;
	return fs_reply(call, &out, sizeof(out));
}

int fs_op_destroy(struct fs_call *call)
{
	fs_session_end(call->server);
	return 0;
}

int fs_op_interrupt(struct fs_call *call)
{
	if (fs_locks_interrupt(&call->server->locks, call->args.interrupt.unique))
		fs_locks_wake(call->server);
	return 0;
}

int fs_op_forget(struct fs_call *call)
{
	fs_inode_forget(&call->server->inodes, call->in.nodeid, call->args.forget.nlookup);
	return 0;
}

int fs_op_batch_forget(struct fs_call *call)
{
	struct fuse_forget_one one;
	uint32_t left = call->args.batch_forget.count;

	while (left-- && fs_iov_take(&call->rest, &one, sizeof(one)) == sizeof(one))
		fs_inode_forget(&call->server->inodes, one.nodeid, one.nlookup);
	return 0;
}

int fs_op_statfs(struct fs_call *call)
{
	struct fuse_statfs_out out = { 0 };
	struct statfs st;

	if (fstatfs(call->inode->fd, &st) < 0)
		return -errno;
	out.st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.namelen = FS_NAME_SIZE - 1,
		.frsize = (uint32_t)st.f_frsize,
	};
	return fs_reply(call, &out, sizeof(out));
}

/* The guest's sync(): what it wrote is in the host's page cache. */
int fs_op_syncfs(struct fs_call *call)
{
	int fd = fs_open_inode(call->server, call->server->inodes.root, 0);
	int r;

	if (fd < 0)
		return fd;
	r = call->server->options.read_only || syncfs(fd) == 0 ? 0 : -errno;
	(void)close(fd);
	return r;
}
