/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of a guest, held on the host, so that both sides see each other's.
 *
 * Theory of operation: a lock owner of the guest (a process there) is one open file description on the
 * host for each file that it locks: open-file-description locks have the semantics of POSIX locks then,
 * and closing the descriptor is closing the file for that owner (FUSE_FLUSH). Locks of the guest's own open
 * file descriptions (F_OFD_SETLK) come the same way, with an owner for each; nothing tells of their end but
 * that of the handle they were set by (FUSE_RELEASE), when no process has locks by it any more. flock() works
 * on the guest's open file itself. Locks are never waited for here: a request that must wait is noted in `wait` and given
 * back, to be served again when some lock may have gone; an interrupt that came for it makes that its last
 * time. An interrupt may overtake its request: the last ones that fitted nothing are kept.
 */
#ifndef VMM_FS_LOCK_H
#define VMM_FS_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs_inode;

struct fs_lock_owner { /* of one file */
	struct fs_lock_owner *next;
	struct fs_inode *inode; /* in use by this */
	uint64_t owner;
	uint64_t handle; /* the guest's, by which a lock was set last, */
	uint32_t pid;    /* and by whom there */
	int fd;
};

enum { FS_OWNER_BUCKETS = 64, FS_WAITS_MAX = 64, FS_EARLY_MAX = 16 };

struct fs_locks {
	pthread_mutex_t lock;
	struct fs_lock_owner *bucket[FS_OWNER_BUCKETS]; /* by inode */
	size_t n_owners, max_owners;
	struct fs_wait {
		uint64_t unique;
		bool interrupted;
	} wait[FS_WAITS_MAX];
	size_t n_waits;
	uint64_t early[FS_EARLY_MAX]; /* a ring of uniques */
	size_t next_early;
};

void fs_locks_init(struct fs_locks *locks, size_t max_owners);
void fs_locks_done(struct fs_locks *locks); /* after fs_locks_close() of all */
/* @return whether a request waits that this ends */
bool fs_locks_interrupt(struct fs_locks *locks, uint64_t unique);

#endif
