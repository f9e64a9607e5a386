/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the FUSE server: one request on its way, and what serves it. */
#ifndef VMM_FS_CALL_H
#define VMM_FS_CALL_H

#include <linux/fuse.h>
#include <sys/stat.h>

#include "handles.h"
#include "idmap.h"
#include "inodes.h"
#include "iov.h"
#include "lock.h"
#include "names.h"
#include "server.h"

struct fs_server {
	struct fs_options options;
	struct fs_idmap idmap;
	int proc_fd; /* /proc/self/fd: how an O_PATH descriptor becomes an open file */
	struct fs_inodes inodes;
	struct fs_handles handles;
	struct fs_locks locks;
	pthread_rwlock_t session; /* for writing: while everything is forgotten */
	bool ready;               /* FUSE_INIT was there */
};

/* The fixed part of a request, copied from the guest. */
union fs_args {
	struct fuse_forget_in forget;
	struct fuse_batch_forget_in batch_forget;
	struct fuse_getattr_in getattr;
	struct fuse_mknod_in mknod;
	struct fuse_mkdir_in mkdir;
	struct fuse_rename_in rename;
	struct fuse_rename2_in rename2;
	struct fuse_link_in link;
	struct fuse_setattr_in setattr;
	struct fuse_open_in open;
	struct fuse_create_in create;
	struct fuse_release_in release;
	struct fuse_flush_in flush;
	struct fuse_read_in read;
	struct fuse_write_in write;
	struct fuse_fsync_in fsync;
	struct fuse_setxattr_in setxattr;
	struct fuse_getxattr_in getxattr;
	struct fuse_lk_in lk;
	struct fuse_access_in access;
	struct fuse_init_in init;
	struct fuse_interrupt_in interrupt;
	struct fuse_fallocate_in fallocate;
	struct fuse_lseek_in lseek;
	struct fuse_copy_file_range_in copy;
};

struct fs_call {
	struct fs_server *server;
	struct fuse_in_header in;
	union fs_args args;
	struct fs_iov rest;     /* of the request, behind args */
	struct fs_iov out;      /* of the answer, behind its header and what is there of it */
	size_t size;            /* of what is there */
	struct fs_inode *inode; /* of in.nodeid, when the table says so */
	char name[FS_NAME_SIZE];
	char name2[FS_NAME_SIZE];
	bool may_wait;
};

/* An operation: 0, -errno for the guest, or FS_LATER: to be called again (server.h). */
enum { FS_LATER = 1 };
typedef int (*fs_op_fn)(struct fs_call *call);

/* Append to the answer. Room for an operation's fixed answer is there; else -ERANGE. */
int fs_reply(struct fs_call *call, const void *data, size_t size);
/* "/proc/self/fd/N" relative to proc_fd. */
struct fs_fd_name {
	char text[16];
};
struct fs_fd_name fs_fd_name(int fd);

/* session.c */
int fs_op_init(struct fs_call *call);
int fs_op_destroy(struct fs_call *call);
int fs_op_interrupt(struct fs_call *call);
int fs_op_forget(struct fs_call *call);
int fs_op_batch_forget(struct fs_call *call);
int fs_op_statfs(struct fs_call *call);
int fs_op_syncfs(struct fs_call *call);
void fs_session_end(struct fs_server *server); /* with session held for writing */

/* attr.c */
enum { FS_VALID_S = 1 }; /* how long a guest believes names and attributes */
void fs_attr(const struct fs_server *server, const struct statx *stat, struct fuse_attr *ret);
void fs_entry(const struct fs_server *server, const struct fs_inode *inode,
	      const struct statx *stat, struct fuse_entry_out *ret);
/* What the caller of the guest just made becomes his: dir's name, or with "" dir itself. 0 or -errno */
int fs_give_new(const struct fs_call *call, int dir, const char *name);
int fs_op_getattr(struct fs_call *call);
int fs_op_setattr(struct fs_call *call);

/* dir.c */
int fs_op_opendir(struct fs_call *call);
int fs_op_readdir(struct fs_call *call);
int fs_op_readdirplus(struct fs_call *call);
int fs_op_releasedir(struct fs_call *call);
int fs_op_fsyncdir(struct fs_call *call);

/* open.c */
/* Open an inode anew, which must be a regular file or a directory. fd or -errno */
int fs_open_inode(struct fs_server *server, struct fs_inode *inode, int flags);
int fs_op_open(struct fs_call *call);
int fs_op_create(struct fs_call *call);
int fs_op_tmpfile(struct fs_call *call);
int fs_op_release(struct fs_call *call);
void fs_put_handle(struct fs_server *server, struct fs_handle *handle); /* NULL is fine */

/* file.c */
/* Take away what must not survive a change by another user: set-id bits and capabilities. */
void fs_drop_privileges(int fd);
int fs_op_read(struct fs_call *call);
int fs_op_write(struct fs_call *call);
int fs_op_flush(struct fs_call *call);
int fs_op_fsync(struct fs_call *call);
int fs_op_fallocate(struct fs_call *call);
int fs_op_lseek(struct fs_call *call);
int fs_op_copy_file_range(struct fs_call *call);

/* node.c */
int fs_reply_entry(struct fs_call *call, const char *name); /* look it up and tell */
int fs_op_lookup(struct fs_call *call);
int fs_op_readlink(struct fs_call *call);
int fs_op_symlink(struct fs_call *call);
int fs_op_mknod(struct fs_call *call);
int fs_op_mkdir(struct fs_call *call);
int fs_op_unlink(struct fs_call *call);
int fs_op_rmdir(struct fs_call *call);
int fs_op_rename(struct fs_call *call);
int fs_op_rename2(struct fs_call *call);
int fs_op_link(struct fs_call *call);

/* xattr.c */
int fs_op_setxattr(struct fs_call *call);
int fs_op_getxattr(struct fs_call *call);
int fs_op_listxattr(struct fs_call *call);
int fs_op_removexattr(struct fs_call *call);

/* lock.c */
/* The end of a file for an owner, or of everything (owner NULL): close its locks. */
void fs_locks_close(struct fs_server *server, const struct fs_inode *inode, const uint64_t *owner);
/* The end of a handle: close the locks that were set by it. */
void fs_locks_release(struct fs_server *server, const struct fs_inode *inode, uint64_t handle);
/* Some lock may be free: whoever waits may try again. */
void fs_locks_wake(struct fs_server *server);
int fs_op_getlk(struct fs_call *call);
int fs_op_setlk(struct fs_call *call);
int fs_op_setlkw(struct fs_call *call);

#endif
