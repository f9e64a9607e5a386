/* SPDX-License-Identifier: Apache-2.0 */
/* Between inodes.c and inodes_open.c: what the host has by a name, and the descriptors that inodes hold. */
#ifndef VMM_FS_INODES_OPEN_H
#define VMM_FS_INODES_OPEN_H

#include <fcntl.h>

#include "inodes.h"

enum { FS_DEPTH_MAX = 4096 }; /* of closed directories, or of a tree in which one moves */

/* One component, as it is: no link is followed. A descriptor (O_PATH) or -errno; 0 or -errno ("": of dir itself) */
int fs_host_open(int dir, const char *name);
int fs_host_stat(int dir, const char *name, struct statx *ret);
/* Which file that is. */
struct fs_key fs_host_key(const struct statx *stat);
bool fs_same_file(const struct fs_key *a, const struct fs_key *b);
bool fs_is_inode(const struct fs_inode *inode, const struct statx *stat);

/* All under the table's lock. */
void fs_fd_set(struct fs_inodes *t, struct fs_inode *inode, int fd); /* one that has none */
void fs_fd_close(struct fs_inodes *t, struct fs_inode *inode);
void fs_fd_touch(struct fs_inodes *t, struct fs_inode *inode); /* it was used last */
/* Make room for one more. Those that cannot be closed count against the guest: a half more, then none. */
int fs_fd_room(struct fs_inodes *t);
/* From the uppermost directory that is closed down to the inode; the root is always open. */
int fs_fd_open(struct fs_inodes *t, struct fs_inode *inode);

#endif
