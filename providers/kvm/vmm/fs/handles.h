/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files and directories that a guest has open.
 *
 * A number is a slot and how often that slot was used, so a number that was given back never means
 * another file. A handle in use by a request outlives its release by another.
 */
#ifndef VMM_FS_HANDLES_H
#define VMM_FS_HANDLES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/compiler.h"

struct fs_inode;

struct fs_handle {
	uint64_t id;
	struct fs_inode *inode; /* in use by this */
	int fd;                 /* -1: the file was gone when the machine went on from a state */
	int flags;              /* that it was opened with: access, O_SYNC */
	bool directory;
	bool privileges_gone; /* no set-id bits, no capabilities: looked after at the first write */
	size_t users;         /* and one for the table */
	pthread_mutex_t position; /* of a directory */
};

struct fs_slot {
	struct fs_handle *handle;
	uint32_t uses;
	uint32_t next_free; /* slot + 1; 0: none */
};

struct fs_handles {
	pthread_mutex_t lock;
	struct fs_slot *slot;
	uint32_t n, max, first_free;
	size_t open;
};

void fs_handles_init(struct fs_handles *t, uint32_t max);
/* Both: nobody uses one any more. forget() gets each inode. */
void fs_handles_reset(struct fs_handles *t, void (*forget)(void *user, struct fs_inode *),
		      void *user);
void fs_handles_done(struct fs_handles *t);

/* A handle in use, not known to the guest before it is told the id; fd and inode are taken on success.
 * @return 0, -ENFILE, -ENOMEM */
int fs_handle_new(struct fs_handles *t, struct fs_inode *inode, int fd, int flags, bool directory,
		  struct fs_handle **ret);
/* @return 0, -EBADF: none, or one of another inode or kind; -ESTALE: its file is gone */
int fs_handle_get(struct fs_handles *t, uint64_t id, const struct fs_inode *inode, bool directory,
		  struct fs_handle **ret);
/* Take it out of the table, also one whose file is gone; it is in use then. @return 0, -EBADF */
int fs_handle_remove(struct fs_handles *t, uint64_t id, const struct fs_inode *inode,
		     bool directory, struct fs_handle **ret);
/* @return the inode that nobody keeps for this handle any more, or NULL: in use elsewhere */
struct fs_inode *fs_handle_put(struct fs_handles *t, struct fs_handle *handle) _check_;

/*
 * For a state: n slots, each used so often, while no handle is there. Then handles in their slots, not in
 * use; fd and inode are taken on success; at last the free slots are found. 0, -EPROTO: it cannot have been
 * so, -ENOMEM
 */
int fs_handles_restore(struct fs_handles *t, const uint32_t *uses, uint32_t n);
int fs_handle_restore(struct fs_handles *t, uint32_t slot, struct fs_inode *inode, int fd,
		      int flags);
void fs_handles_restored(struct fs_handles *t);

#endif
