/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "call.h"

enum {
	DIR_IS = 1 << 0,  /* the inode must be a directory, and is open */
	ANY = 1 << 1,     /* any inode */
	OPEN = 1 << 2,    /* the inode gets a descriptor */
	NAME = 1 << 3,    /* the name of a component follows */
	NAME2 = 1 << 4,   /* and another one */
	CHANGES = 1 << 5, /* not in a read-only folder */
	SLOW = 1 << 6,    /* may wait for the disk for long */
	SILENT = 1 << 7,  /* has no answer */
	ALONE = 1 << 8,   /* while no other request is being served */
	FIRST = 1 << 9,   /* may come before FUSE_INIT */
};

#define IN(type) sizeof(((union fs_args *)NULL)->type)
#define ENTRY sizeof(struct fuse_entry_out)
#define OPENED sizeof(struct fuse_open_out)

/* clang-format off */
static const struct op {
	fs_op_fn fn;
	uint16_t in;  /* size of the fixed part */
	uint16_t out; /* room that the answer needs at least */
	uint16_t flags;
} ops[] = {
	[FUSE_LOOKUP]          = { fs_op_lookup,          0,                   ENTRY, DIR_IS | NAME },
	[FUSE_FORGET]          = { fs_op_forget,          IN(forget),          0, SILENT },
	[FUSE_GETATTR]         = { fs_op_getattr,         IN(getattr),         sizeof(struct fuse_attr_out), ANY },
	[FUSE_SETATTR]         = { fs_op_setattr,         IN(setattr),         sizeof(struct fuse_attr_out), OPEN | CHANGES },
	[FUSE_READLINK]        = { fs_op_readlink,        0,                   0, OPEN },
	[FUSE_SYMLINK]         = { fs_op_symlink,         0,                   ENTRY, DIR_IS | NAME | CHANGES },
	[FUSE_MKNOD]           = { fs_op_mknod,           IN(mknod),           ENTRY, DIR_IS | NAME | CHANGES },
	[FUSE_MKDIR]           = { fs_op_mkdir,           IN(mkdir),           ENTRY, DIR_IS | NAME | CHANGES },
	[FUSE_UNLINK]          = { fs_op_unlink,          0,                   0, DIR_IS | NAME | CHANGES },
	[FUSE_RMDIR]           = { fs_op_rmdir,           0,                   0, DIR_IS | NAME | CHANGES },
	[FUSE_RENAME]          = { fs_op_rename,          IN(rename),          0, DIR_IS | NAME | NAME2 | CHANGES },
	[FUSE_RENAME2]         = { fs_op_rename2,         IN(rename2),         0, DIR_IS | NAME | NAME2 | CHANGES },
	[FUSE_LINK]            = { fs_op_link,            IN(link),            ENTRY, DIR_IS | NAME | CHANGES },
	[FUSE_OPEN]            = { fs_op_open,            IN(open),            OPENED, OPEN },
	[FUSE_READ]            = { fs_op_read,            IN(read),            0, ANY },
	[FUSE_WRITE]           = { fs_op_write,           IN(write),           sizeof(struct fuse_write_out), ANY | CHANGES },
	[FUSE_STATFS]          = { fs_op_statfs,          0,                   sizeof(struct fuse_statfs_out), OPEN },
	[FUSE_RELEASE]         = { fs_op_release,         IN(release),         0, ANY },
	[FUSE_FSYNC]           = { fs_op_fsync,           IN(fsync),           0, ANY | SLOW },
	[FUSE_SETXATTR]        = { fs_op_setxattr,        FUSE_COMPAT_SETXATTR_IN_SIZE, 0, OPEN | CHANGES },
	[FUSE_GETXATTR]        = { fs_op_getxattr,        IN(getxattr),        0, ANY },
	[FUSE_LISTXATTR]       = { fs_op_listxattr,       IN(getxattr),        0, OPEN },
	[FUSE_REMOVEXATTR]     = { fs_op_removexattr,     0,                   0, OPEN | CHANGES },
	[FUSE_FLUSH]           = { fs_op_flush,           IN(flush),           0, ANY },
	[FUSE_INIT]            = { fs_op_init,            offsetof(struct fuse_init_in, flags2), sizeof(struct fuse_init_out), ALONE | FIRST },
	[FUSE_OPENDIR]         = { fs_op_opendir,         IN(open),            OPENED, DIR_IS },
	[FUSE_READDIR]         = { fs_op_readdir,         IN(read),            0, DIR_IS },
	[FUSE_RELEASEDIR]      = { fs_op_releasedir,      IN(release),         0, DIR_IS },
	[FUSE_FSYNCDIR]        = { fs_op_fsyncdir,        IN(fsync),           0, DIR_IS | SLOW },
	[FUSE_GETLK]           = { fs_op_getlk,           IN(lk),              sizeof(struct fuse_lk_out), OPEN },
	[FUSE_SETLK]           = { fs_op_setlk,           IN(lk),              0, OPEN },
	[FUSE_SETLKW]          = { fs_op_setlkw,          IN(lk),              0, OPEN },
	[FUSE_CREATE]          = { fs_op_create,          IN(create),          ENTRY + OPENED, DIR_IS | NAME | CHANGES },
	[FUSE_INTERRUPT]       = { fs_op_interrupt,       IN(interrupt),       0, SILENT },
	[FUSE_DESTROY]         = { fs_op_destroy,         0,                   0, ALONE },
	[FUSE_BATCH_FORGET]    = { fs_op_batch_forget,    IN(batch_forget),    0, SILENT },
	[FUSE_FALLOCATE]       = { fs_op_fallocate,       IN(fallocate),       0, ANY | CHANGES | SLOW },
	[FUSE_READDIRPLUS]     = { fs_op_readdirplus,     IN(read),            0, DIR_IS },
	[FUSE_LSEEK]           = { fs_op_lseek,           IN(lseek),           sizeof(struct fuse_lseek_out), ANY },
	[FUSE_COPY_FILE_RANGE] = { fs_op_copy_file_range, IN(copy),            sizeof(struct fuse_write_out), ANY | CHANGES | SLOW },
	[FUSE_SYNCFS]          = { fs_op_syncfs,          0,                   0, SLOW },
	[FUSE_TMPFILE]         = { fs_op_tmpfile,         IN(create),          ENTRY + OPENED, DIR_IS | CHANGES },
};
/* clang-format on */

/* ---- one request ------------------------------------------------------------------------------ */

int fs_reply(struct fs_call *call, const void *data, size_t size)
{
	if (call->out.left < size)
		return -ERANGE;
	call->size += fs_iov_put(&call->out, data, size);
	return 0;
}

/* What stands in the request's fixed part and behind it. */
static int take_args(struct fs_call *call, const struct op *op)
{
	int r = 0;

	if (fs_iov_take(&call->rest, &call->args, op->in) < op->in || call->out.left < op->out)
		return -EINVAL;
	if (op->flags & NAME)
		r = fs_take_name(&call->rest, call->name);
	if (r == 0 && op->flags & NAME2)
		r = fs_take_name(&call->rest, call->name2);
	return r;
}

static int take_inode(struct fs_call *call, const struct op *op)
{
	int r;

	if (!(op->flags & (ANY | OPEN | DIR_IS)))
		return 0;
	r = fs_inode_get(&call->server->inodes, call->in.nodeid, &call->inode);
	if (r < 0)
		return r;
	if (op->flags & DIR_IS && call->inode->key.type != S_IFDIR)
		return -ENOTDIR;
	return op->flags & (OPEN | DIR_IS) ? fs_inode_open(&call->server->inodes, call->inode) : 0;
}

static int serve(struct fs_call *call, const struct op *op)
{
	int r;

	if (!call->server->ready && !(op->flags & FIRST))
		return -ENOTCONN;
	if (op->flags & CHANGES && call->server->options.read_only)
		return -EROFS;
	if (op->flags & SLOW && !call->may_wait)
		return FS_LATER;
	r = take_args(call, op);
	if (r == 0)
		r = take_inode(call, op);
	if (r == 0)
		r = op->fn(call);
	fs_inode_put(&call->server->inodes, call->inode);
	return r;
}

static int serve_in_session(struct fs_call *call, const struct op *op)
{
	pthread_rwlock_t *session = &call->server->session;
	int r;

	if (op->flags & ALONE)
		(void)pthread_rwlock_wrlock(session);
	else
		(void)pthread_rwlock_rdlock(session);
	r = serve(call, op);
	(void)pthread_rwlock_unlock(session);
	return r;
}

static const struct op *find_op(uint32_t opcode)
{
	return opcode < ARRAY_SIZE(ops) && ops[opcode].fn ? &ops[opcode] : NULL;
}

static ssize_t answer(struct fs_iov *out, uint64_t unique, size_t payload, int error)
{
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + (error ? 0 : payload)),
		.error = error,
		.unique = unique,
	};

	(void)fs_iov_put(out, &header, sizeof(header));
	return (ssize_t)header.len;
}

ssize_t fs_serve(struct fs_server *server, const struct fs_request *request, bool may_wait)
{
	struct fs_call call;
	const struct op *op;
	struct fs_iov out;
	bool silent;
	int r;

	/* not the whole of it: the names are large and are written before they are read */
	call.server = server;
	call.inode = NULL;
	call.size = 0;
	call.may_wait = may_wait;
	fs_iov_init(&call.rest, request->in, request->n_in);
	fs_iov_init(&out, request->out, request->n_out);
	if (fs_iov_take(&call.rest, &call.in, sizeof(call.in)) < sizeof(call.in))
		return -EPROTO;
	op = find_op(call.in.opcode);
	silent = op && op->flags & SILENT;
	if (!silent && out.left < sizeof(struct fuse_out_header))
		return -EPROTO;
	if (call.in.len < sizeof(call.in) || call.in.len - sizeof(call.in) > call.rest.left)
		return silent ? 0 : answer(&out, call.in.unique, 0, -EINVAL);
	fs_iov_limit(&call.rest, call.in.len - sizeof(call.in));
	call.out = out;
	fs_iov_skip(&call.out, sizeof(struct fuse_out_header));

	r = op ? serve_in_session(&call, op) : -ENOSYS;
	if (silent)
		return 0;
	return r == FS_LATER ? -EAGAIN : answer(&out, call.in.unique, call.size, r);
}

/* ---- the server --------------------------------------------------------------------------------- */

static void set_limits(struct fs_options *options)
{
	struct rlimit limit = { 1024, 1024 };

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	if (!options->max_descriptors)
		options->max_descriptors = MIN(limit.rlim_cur / 4 * 3, 1 << 20);
	if (!options->max_inodes)
		options->max_inodes = 4 << 20;
}

static int open_tables(struct fs_server *server, int directory)
{
	size_t n = server->options.max_descriptors;
	int root = openat(directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return -errno;
	fs_locks_init(&server->locks, MAX(n / 8, 16));
	fs_handles_init(&server->handles, (uint32_t)MAX(n / 8 * 3, 16));
	(void)pthread_rwlock_init(&server->session, NULL);
	/* descriptors of inodes may be half as many again, for a while */
	return fs_inodes_init(&server->inodes, root, server->options.max_inodes, n / 3);
}

int fs_server_new(int directory, int proc_fd, const struct fs_options *options,
		  struct fs_server **ret, venv_error **err)
{
	struct fs_server *server = calloc(1, sizeof(*server));
	int r;

	if (proc_fd < 0)
		proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!server || proc_fd < 0) {
		r = server ? venv__fail_errno(err, errno, "cannot open /proc/self/fd")
			   : venv__fail_nomem(err);
		if (proc_fd >= 0)
			(void)close(proc_fd);
		free(server);
		return r;
	}
	server->options = *options;
	server->proc_fd = proc_fd;
	server->idmap = (struct fs_idmap){ .host_uid = geteuid(),
					   .guest_uid = options->guest_uid,
					   .host_gid = getegid(),
					   .guest_gid = options->guest_gid,
					   .volume = options->volume != NULL };
	if (options->volume)
		server->idmap.ids = *options->volume;
	server->options.volume = NULL; /* the caller's */
	set_limits(&server->options);
	r = open_tables(server, directory);
	if (r < 0) {
		(void)close(proc_fd);
		free(server);
		return venv__fail_errno(err, -r, "cannot share this directory");
	}
	*ret = server;
	return 0;
}

int fs_server_hide(struct fs_server *server, int directory)
{
	return fs_inodes_hide(&server->inodes, directory);
}

void fs_server_own(struct fs_server *server, uid_t uid, gid_t gid)
{
	fs_idmap_set(&server->idmap, uid, gid);
}

void fs_server_reset(struct fs_server *server)
{
	(void)pthread_rwlock_wrlock(&server->session);
	fs_session_end(server);
	(void)pthread_rwlock_unlock(&server->session);
}

void fs_server_free(struct fs_server *server)
{
	if (!server)
		return;
	fs_server_reset(server);
	fs_handles_done(&server->handles);
	fs_locks_done(&server->locks);
	fs_inodes_done(&server->inodes);
	(void)pthread_rwlock_destroy(&server->session);
	(void)close(server->proc_fd);
	free(server);
}
