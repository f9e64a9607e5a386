/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that serve what may take long, so that a slow fsync does not hold up the rest.
 *
 * A job is given in when fs_serve() gave it back. It is served by one of the threads, in no particular
 * order; one that waits for a lock is put aside and tried again when the server says that it may succeed
 * (fs_pool_wake, to be the server's wake function), and every FS_POOL_TICK_MS for locks of the host's own.
 */
#ifndef VMM_FS_POOL_H
#define VMM_FS_POOL_H

#include "server.h"

enum { FS_POOL_TICK_MS = 50 };

struct fs_pool;

struct fs_job {
	struct fs_job *next;
	struct fs_request request;
	/* On a thread of the pool, without any lock; may free the job. length: as fs_serve()'s, or -ECANCELED:
	 * dropped, the buffers are not ours any more. */
	void (*done)(struct fs_job *job, ssize_t length);
};

/* enter: called first in each of the threads; NULL is fine. */
int fs_pool_new(unsigned threads, void (*enter)(void), struct fs_pool **ret, venv_error **err);
/* Whose requests these are; before the first job. */
void fs_pool_serve(struct fs_pool *pool, struct fs_server *server);
void fs_pool_submit(struct fs_pool *pool, struct fs_job *job);
void fs_pool_wake(void *pool);
/* Finish everything; what waits for a lock is interrupted. While no new jobs come: before a save. */
void fs_pool_drain(struct fs_pool *pool);
/* Finish what has begun, drop what waits for a lock or was not begun (on the caller's thread). */
void fs_pool_cancel(struct fs_pool *pool);
void fs_pool_free(struct fs_pool *pool); /* cancels; NULL is fine */

#endif
