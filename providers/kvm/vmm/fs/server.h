/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FUSE server on a directory of the host. What brings its requests is not its business: a virtio queue,
 * /dev/fuse, a test, a fuzzer.
 *
 * Theory of operation: a request is two lists of buffers, one to read and one to write, and it is served
 * by any thread; reads and writes go between these buffers and the file without a copy. Everything in a
 * request is hostile: headers and names are copied once and then checked, sizes are limited by the
 * buffers that are there, numbers of inodes and open files are looked up in tables.
 *   Nothing outside of the directory can be reached: names are single components without "..", each is
 * looked at relative to a directory that was reached the same way, links are the guest's business and
 * never followed, and files are opened through a descriptor that was seen to be a regular file or a
 * directory (inodes.h). The tool's own state at the root (names.h) does not exist for the guest.
 *   The server never waits for another request. One that would (for a lock) or that may take long and was
 * not allowed to is given back, unchanged, to be served again: by a thread that may wait for the disk, or
 * when a lock was given up (pool.h does both).
 *   FUSE_INIT begins a session; a second one and FUSE_DESTROY close and forget all that the last one had.
 *
 * The process must have umask 0 (the guest's kernel applies the guest's) and ignore SIGXFSZ.
 */
#ifndef VMM_FS_SERVER_H
#define VMM_FS_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "util/error.h"

struct fs_server;
struct idmap; /* util/idmap.h */

enum {
	FS_MAX_WRITE = 1 << 20,               /* bytes of one READ or WRITE */
	FS_REQUEST_MAX = FS_MAX_WRITE + 4096, /* of a request, with its headers */
};

struct fs_options {
	bool read_only;
	uid_t guest_uid; /* the guest's names of this process's user */
	gid_t guest_gid;
	/* A volume, whose files keep their owners: the host's ids of the guest's, as this process sees them. It
	 * must be allowed to give files to them. NULL: a shared folder. Copied */
	const struct idmap *volume;
	/* Limits; 0: the default. Descriptors: for inodes, open files and locks together. */
	size_t max_descriptors, max_inodes;
	/* A request that was given back for a lock may succeed now. Any thread; may be NULL */
	void (*wake)(void *user);
	void *user;
};

struct fs_request {
	const struct iovec *in, *out;
	size_t n_in, n_out;
};

/* directory: stays the caller's. proc_fd: of /proc/self/fd, taken also on failure; -1: open it here. */
int fs_server_new(int directory, int proc_fd, const struct fs_options *options,
		  struct fs_server **ret, venv_error **err);
void fs_server_free(struct fs_server *server); /* no request is being served; NULL is fine */

/*
 * Serve a request.
 * @param may_wait the thread may wait for the disk
 * @return bytes written to out, 0 when no answer is due;
 *         -EAGAIN: serve it again, see above;
 *         -EPROTO: this is no request, or there is no room for an answer
 */
ssize_t fs_serve(struct fs_server *server, const struct fs_request *request, bool may_wait);
/* Before requests: the tool's own state is in that directory below, not in the shared one. 0 or -errno */
int fs_server_hide(struct fs_server *server, int directory);
/* The guest's names of this process's user from now on. Any thread. */
void fs_server_own(struct fs_server *server, uid_t uid, gid_t gid);
/* Let every request that waits for a lock be interrupted when it is served again, and wake. */
void fs_server_interrupt(struct fs_server *server);
/* The guest was reset: as FUSE_DESTROY. */
void fs_server_reset(struct fs_server *server);

struct state_writer; /* machine/state.h */
struct state_reader;
/*
 * state.c, while nothing is being served: what the guest knows and has open, to go on with another server on
 * the same directory. Files are found again by their names there; one that is another or gone by then is
 * stale for the guest (ESTALE), its locks are given up.
 * @return 0 or -errno; -EPROTO: it cannot have been so
 */
int fs_server_save(struct fs_server *server, struct state_writer *writer);
int fs_server_load(struct fs_server *server, struct state_reader *reader);

#endif
