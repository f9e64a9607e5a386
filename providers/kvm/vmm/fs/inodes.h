/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a guest knows, by the numbers that it knows them by.
 *
 * Theory of operation: an inode is what a LOOKUP has told the guest of; it lives until the guest forgot
 * each lookup, no request or open file uses it and no other inode names it as its directory. Numbers are
 * never given twice.
 *   An inode may hold an O_PATH descriptor, which pins the host's file; directories get one at once,
 * others when they are first opened. All inodes know in which directory and by which name they were seen
 * last, and what the file is: device, inode number and time of birth. So a descriptor can be closed when
 * there are too many (the least recently used first, but not of files that have no name any more) and
 * be opened again: by the name, never by a path, and what is found must be the same file, else -ESTALE.
 * A guest's kernel answers ESTALE by a new lookup. (Handles of name_to_handle_at() would be simpler,
 * but opening one takes a capability that the monitor does not have.)
 *   A descriptor is valid while the caller has the inode in use (`users`) and called fs_inode_open().
 * One lock for the table; under it at most a few system calls on names of one component.
 */
#ifndef VMM_FS_INODES_H
#define VMM_FS_INODES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct fs_inode;

enum { FS_BY_ID, FS_BY_FILE, FS_TABLES };

struct fs_key { /* which file of the host */
	uint64_t ino;
	uint32_t dev_major, dev_minor;
	uint32_t type; /* S_IFMT bits */
	int64_t born;
};

struct fs_inode {
	struct fs_inode *next[FS_TABLES]; /* of the same bucket */
	struct fs_inode *newer, *older;   /* of those with a descriptor */
	uint64_t id;
	struct fs_key key;
	uint64_t lookups; /* that the guest has not forgotten */
	size_t users;     /* requests and open files */
	size_t children;  /* inodes whose parent this is */
	int fd;           /* O_PATH, or -1 */
	struct fs_inode *parent;
	char *name; /* in parent; NULL: not known */
	/* of file.c: what the file looked like when it was last opened; 0: not known */
	uint64_t stamp;
};

struct fs_bucket {
	struct fs_inode *first;
};

struct fs_inodes {
	pthread_mutex_t lock;
	struct fs_bucket *bucket[FS_TABLES];
	size_t size;         /* of each, a power of two */
	struct fs_key hides; /* the directory that has the tool's own state */
	struct fs_inode *root, *newest, *oldest;
	size_t n, n_open;
	size_t max, max_open;
	uint64_t next_id;
};

/* root: O_PATH descriptor of a directory, owned from now on also on failure. 0 or -errno */
int fs_inodes_init(struct fs_inodes *t, int root, size_t max, size_t max_open);
void fs_inodes_done(struct fs_inodes *t); /* nobody uses one any more */
/* Forget everything but the root, as the guest has done by starting anew. */
void fs_inodes_reset(struct fs_inodes *t);

/* Use an inode that the guest names. @return 0, -ENOENT: it knows none of this number */
int fs_inode_get(struct fs_inodes *t, uint64_t id, struct fs_inode **ret);
void fs_inode_use(struct fs_inodes *t, struct fs_inode *inode); /* once more than it is */
void fs_inode_put(struct fs_inodes *t, struct fs_inode *inode); /* NULL is fine */
/* See that it has a descriptor. @return 0, -ESTALE, -ENFILE or another -errno */
int fs_inode_open(struct fs_inodes *t, struct fs_inode *inode);
/* What the host says of it, by its descriptor or its name. 0, -ESTALE or another -errno */
int fs_inode_stat(struct fs_inodes *t, struct fs_inode *inode, struct statx *ret);

/*
 * The guest looks up a name (one component, checked) in a directory that is open. The inode is in use
 * then, and its lookups are one more.
 */
int fs_inode_lookup(struct fs_inodes *t, struct fs_inode *parent, const char *name,
		    struct fs_inode **ret, struct statx *stat);
/* The same for a file without a name, by an O_PATH descriptor, which is taken. */
int fs_inode_adopt(struct fs_inodes *t, int fd, struct fs_inode **ret, struct statx *stat);
/* Undo lookups. More than there were are as many as there were. */
void fs_inode_forget(struct fs_inodes *t, uint64_t id, uint64_t lookups);

/* A file came to this name. (One that went needs nothing: what is open keeps its descriptor.) */
void fs_inode_rename(struct fs_inodes *t, struct fs_inode *parent, const char *name);

/*
 * For a state, while nothing is being served. Restore an inode as it was, without a descriptor; ids are new
 * and below next_id. Then tell its directory and name, of inodes that are there all, and at last let go of
 * what nobody needs. 0, -EPROTO: it cannot have been so, -ENOMEM
 */
int fs_inode_restore(struct fs_inodes *t, uint64_t id, const struct fs_key *key, uint64_t lookups,
		     uint64_t stamp);
int fs_inode_restore_place(struct fs_inodes *t, uint64_t id, uint64_t parent, const char *name);
void fs_inodes_restored(struct fs_inodes *t);

/* The tool's own state is in that directory and not, as otherwise, in the root. 0 or -errno */
int fs_inodes_hide(struct fs_inodes *t, int directory);
/* Is it in this one? */
bool fs_inode_hides(const struct fs_inodes *t, const struct fs_inode *inode);
/* Is the name in this directory the one of the tool's own state? */
bool fs_inode_hidden(const struct fs_inodes *t, const struct fs_inode *parent, const char *name);

#endif
