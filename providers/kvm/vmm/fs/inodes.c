/* SPDX-License-Identifier: Apache-2.0 */
#include "inodes.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "inodes_open.h"
#include "names.h"
#include "util/cleanup.h"

enum { BUCKETS_MIN = 256 };

/* ---- tables ----------------------------------------------------------------------------------- */

static uint64_t hash_key(const struct fs_key *key)
{
	uint64_t x = key->ino ^ (uint64_t)key->dev_minor << 44 ^ (uint64_t)key->dev_major << 52;

	return (x ^ x >> 29) * 0x9e3779b97f4a7c15 >> 20;
}

static size_t bucket_of(const struct fs_inodes *t, const struct fs_inode *inode, int table)
{
	return (table == FS_BY_ID ? inode->id : hash_key(&inode->key)) & (t->size - 1);
}

static void table_add(struct fs_inodes *t, struct fs_inode *inode, int table)
{
	struct fs_bucket *bucket = &t->bucket[table][bucket_of(t, inode, table)];

	inode->next[table] = bucket->first;
	bucket->first = inode;
}

static void table_remove(struct fs_inodes *t, struct fs_inode *inode, int table)
{
	struct fs_inode **at = &t->bucket[table][bucket_of(t, inode, table)].first;

	while (*at != inode)
		at = &(*at)->next[table];
	*at = inode->next[table];
}

static struct fs_inode *find_id(const struct fs_inodes *t, uint64_t id)
{
	struct fs_inode *inode = t->bucket[FS_BY_ID][id & (t->size - 1)].first;

	while (inode && inode->id != id)
		inode = inode->next[FS_BY_ID];
	return inode;
}

static struct fs_inode *find_file(const struct fs_inodes *t, const struct fs_key *key)
{
	struct fs_inode *inode = t->bucket[FS_BY_FILE][hash_key(key) & (t->size - 1)].first;

	while (inode && !fs_same_file(&inode->key, key))
		inode = inode->next[FS_BY_FILE];
	return inode;
}

/* Twice as many buckets; without memory the chains are longer. */
static void grow(struct fs_inodes *t)
{
	struct fs_bucket *old = t->bucket[FS_BY_ID], *bucket[FS_TABLES];
	size_t old_size = t->size;

	for (int i = 0; i < FS_TABLES; i++)
		bucket[i] = calloc(old_size * 2, sizeof(struct fs_bucket));
	if (!bucket[FS_BY_ID] || !bucket[FS_BY_FILE]) {
		free(bucket[FS_BY_ID]);
		free(bucket[FS_BY_FILE]);
		return;
	}
	free(t->bucket[FS_BY_FILE]);
	memcpy(t->bucket, bucket, sizeof(bucket));
	t->size = old_size * 2;
	for (size_t i = 0; i < old_size; i++)
		for (struct fs_inode *inode = old[i].first, *next; inode; inode = next) {
			next = inode->next[FS_BY_ID];
			table_add(t, inode, FS_BY_ID);
			table_add(t, inode, FS_BY_FILE);
		}
	free(old);
}

/* ---- lives ------------------------------------------------------------------------------------ */

/* Free an inode that nobody needs, then its directory if that was needed for it only, and so on. */
static void release(struct fs_inodes *t, struct fs_inode *inode)
{
	while (inode && inode != t->root && !inode->lookups && !inode->users && !inode->children) {
		struct fs_inode *parent = inode->parent;

		fs_fd_close(t, inode);
		table_remove(t, inode, FS_BY_ID);
		table_remove(t, inode, FS_BY_FILE);
		t->n--;
		free(inode->name);
		free(inode);
		if (parent)
			parent->children--;
		inode = parent;
	}
}

/* Would the directory be below the inode, by what we know? (The host may have moved either.) */
static bool is_below(const struct fs_inode *dir, const struct fs_inode *inode)
{
	int depth = 0;

	for (; dir && depth < FS_DEPTH_MAX; dir = dir->parent, depth++)
		if (dir == inode)
			return true;
	return dir;
}

/* Remember where an inode was seen; without memory it keeps its descriptor, or is stale later. */
static void set_place(struct fs_inodes *t, struct fs_inode *inode, struct fs_inode *parent,
		      const char *name)
{
	struct fs_inode *before = inode->parent;
	char *copy;

	if (inode == t->root || (before == parent && inode->name && strcmp(inode->name, name) == 0))
		return;
	if (before != parent && inode->children && is_below(parent, inode))
		return;
	copy = strdup(name);
	if (!copy)
		return;
	free(inode->name);
	inode->name = copy;
	parent->children++;
	inode->parent = parent;
	if (before) {
		before->children--;
		release(t, before);
	}
}

/* A new inode, known to nobody yet. fd: -1 or a descriptor, which is taken if there is memory. */
static struct fs_inode *make(struct fs_inodes *t, const struct statx *stat, int *fd)
{
	struct fs_inode *inode;

	if (t->n >= t->max)
		return NULL;
	inode = calloc(1, sizeof(*inode));
	if (!inode)
		return NULL;
	if (t->n >= t->size)
		grow(t);
	inode->id = t->next_id++;
	inode->key = fs_host_key(stat);
	inode->fd = -1;
	if (*fd >= 0)
		fs_fd_set(t, inode, take_fd(fd));
	table_add(t, inode, FS_BY_ID);
	table_add(t, inode, FS_BY_FILE);
	t->n++;
	return inode;
}

int fs_inodes_init(struct fs_inodes *t, int root, size_t max, size_t max_open)
{
	struct statx stat;
	int r;

	*t = (struct fs_inodes){ .size = BUCKETS_MIN, .max = max, .max_open = MAX(max_open, 64) };
	t->next_id = FUSE_ROOT_ID;
	(void)pthread_mutex_init(&t->lock, NULL);
	for (int i = 0; i < FS_TABLES; i++)
		t->bucket[i] = calloc(t->size, sizeof(struct fs_bucket));
	r = fs_host_stat(root, "", &stat);
	if (r == 0 && !S_ISDIR(stat.stx_mode))
		r = -ENOTDIR;
	if (r == 0 && t->bucket[FS_BY_ID] && t->bucket[FS_BY_FILE])
		t->root = make(t, &stat, &root);
	if (t->root) {
		t->hides = t->root->key;
		return 0;
	}
	if (root >= 0)
		(void)close(root);
	fs_inodes_done(t);
	return r < 0 ? r : -ENOMEM;
}

/* Everything but the root, whose descriptor stays. */
static void clear(struct fs_inodes *t)
{
	for (size_t i = 0; i < t->size; i++) {
		struct fs_inode *next;

		for (struct fs_inode *inode = t->bucket[FS_BY_ID][i].first; inode; inode = next) {
			next = inode->next[FS_BY_ID];
			if (inode == t->root)
				continue;
			fs_fd_close(t, inode);
			free(inode->name);
			free(inode);
		}
		t->bucket[FS_BY_ID][i].first = t->bucket[FS_BY_FILE][i].first = NULL;
	}
}

void fs_inodes_reset(struct fs_inodes *t)
{
	(void)pthread_mutex_lock(&t->lock);
	clear(t);
	t->root->children = 0;
	t->root->lookups = 0;
	table_add(t, t->root, FS_BY_ID);
	table_add(t, t->root, FS_BY_FILE);
	t->n = 1;
	(void)pthread_mutex_unlock(&t->lock);
}

void fs_inodes_done(struct fs_inodes *t)
{
	if (t->root) {
		clear(t);
		fs_fd_close(t, t->root);
		free(t->root);
	}
	for (int i = 0; i < FS_TABLES; i++)
		free(t->bucket[i]);
	(void)pthread_mutex_destroy(&t->lock);
	*t = (struct fs_inodes){ 0 };
}

/* ---- requests --------------------------------------------------------------------------------- */

int fs_inode_get(struct fs_inodes *t, uint64_t id, struct fs_inode **ret)
{
	struct fs_inode *inode;

	(void)pthread_mutex_lock(&t->lock);
	inode = find_id(t, id);
	if (inode && !inode->lookups && inode != t->root)
		inode = NULL; /* here for its children's sake only */
	if (inode) {
		inode->users++;
		*ret = inode;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return inode ? 0 : -ENOENT;
}

void fs_inode_use(struct fs_inodes *t, struct fs_inode *inode)
{
	(void)pthread_mutex_lock(&t->lock);
	inode->users++;
	(void)pthread_mutex_unlock(&t->lock);
}

void fs_inode_put(struct fs_inodes *t, struct fs_inode *inode)
{
	if (!inode)
		return;
	(void)pthread_mutex_lock(&t->lock);
	inode->users--;
	release(t, inode);
	(void)pthread_mutex_unlock(&t->lock);
}

int fs_inode_open(struct fs_inodes *t, struct fs_inode *inode)
{
	int r;

	(void)pthread_mutex_lock(&t->lock);
	r = fs_fd_open(t, inode);
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

int fs_inode_stat(struct fs_inodes *t, struct fs_inode *inode, struct statx *ret)
{
	struct fs_inode *from = inode; /* whose descriptor is used */
	char name[FS_NAME_SIZE] = "";
	int r = 0;

	(void)pthread_mutex_lock(&t->lock);
	if (inode->fd < 0 && inode->name && inode->parent->fd >= 0) {
		from = inode->parent;
		memcpy(name, inode->name, strlen(inode->name) + 1);
	} else {
		r = fs_fd_open(t, inode);
	}
	from->users++;
	(void)pthread_mutex_unlock(&t->lock);
	if (r == 0)
		r = fs_host_stat(from->fd, name, ret);
	fs_inode_put(t, from);
	if (r == -ENOENT || r == -ENOTDIR || (r == 0 && !fs_is_inode(inode, ret)))
		return -ESTALE;
	return r;
}

/* Count a lookup of the file that stat tells of. Under lock. @return NULL: no memory, too many */
static struct fs_inode *intern(struct fs_inodes *t, const struct statx *stat, int *fd)
{
	struct fs_key key = fs_host_key(stat);
	struct fs_inode *inode = find_file(t, &key);

	if (inode && inode->fd < 0 && *fd >= 0)
		fs_fd_set(t, inode, take_fd(fd));
	if (!inode)
		inode = make(t, stat, fd);
	if (!inode)
		return NULL;
	inode->lookups++;
	inode->users++;
	fs_fd_touch(t, inode);
	return inode;
}

static bool is_known_open(struct fs_inodes *t, const struct statx *stat)
{
	struct fs_key key = fs_host_key(stat);
	const struct fs_inode *inode;
	bool known;

	(void)pthread_mutex_lock(&t->lock);
	inode = find_file(t, &key);
	known = inode && inode->fd >= 0;
	(void)pthread_mutex_unlock(&t->lock);
	return known;
}

/* A directory that is new here gets its descriptor: what was just looked at, or another one. */
static int open_directory(const struct fs_inode *parent, const char *name, struct statx *stat)
{
	int fd = fs_host_open(parent->fd, name), r;

	if (fd < 0)
		return fd;
	r = fs_host_stat(fd, "", stat);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	return fd;
}

int fs_inode_lookup(struct fs_inodes *t, struct fs_inode *parent, const char *name,
		    struct fs_inode **ret, struct statx *stat)
{
	_cleanup_close_ int fd = -1;
	struct fs_inode *inode = NULL;
	int r;

	r = fs_host_stat(parent->fd, name, stat);
	if (r < 0)
		return r;
	if (S_ISDIR(stat->stx_mode) && !is_known_open(t, stat)) {
		fd = open_directory(parent, name, stat);
		if (fd < 0)
			return fd;
	}
	(void)pthread_mutex_lock(&t->lock);
	r = fd >= 0 ? fs_fd_room(t) : 0;
	if (r == 0)
		inode = intern(t, stat, &fd);
	if (inode)
		set_place(t, inode, parent, name);
	(void)pthread_mutex_unlock(&t->lock);
	if (!inode)
		return r < 0 ? r : -ENFILE;
	*ret = inode;
	return 0;
}

int fs_inode_adopt(struct fs_inodes *t, int fd, struct fs_inode **ret, struct statx *stat)
{
	_cleanup_close_ int owned = fd;
	struct fs_inode *inode = NULL;
	int r;

	r = fs_host_stat(fd, "", stat);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&t->lock);
	r = fs_fd_room(t);
	if (r == 0)
		inode = intern(t, stat, &owned);
	(void)pthread_mutex_unlock(&t->lock);
	if (!inode)
		return r < 0 ? r : -ENFILE;
	*ret = inode;
	return 0;
}

void fs_inode_forget(struct fs_inodes *t, uint64_t id, uint64_t lookups)
{
	struct fs_inode *inode;

	(void)pthread_mutex_lock(&t->lock);
	inode = find_id(t, id);
	if (inode && inode != t->root) {
		inode->lookups -= MIN(lookups, inode->lookups);
		release(t, inode);
	}
	(void)pthread_mutex_unlock(&t->lock);
}

/* ---- names come and go ------------------------------------------------------------------------ */

static struct fs_inode *find_name(struct fs_inodes *t, const struct fs_inode *parent,
				  const char *name)
{
	struct statx stat;
	struct fs_key key;

	if (fs_host_stat(parent->fd, name, &stat) < 0)
		return NULL;
	key = fs_host_key(&stat);
	return find_file(t, &key);
}

void fs_inode_rename(struct fs_inodes *t, struct fs_inode *parent, const char *name)
{
	struct fs_inode *inode;

	(void)pthread_mutex_lock(&t->lock);
	inode = find_name(t, parent, name);
	if (inode)
		set_place(t, inode, parent, name);
	(void)pthread_mutex_unlock(&t->lock);
}

int fs_inodes_hide(struct fs_inodes *t, int directory)
{
	struct statx stat;
	int r = fs_host_stat(directory, "", &stat);

	if (r == 0)
		t->hides = fs_host_key(&stat);
	return r;
}

bool fs_inode_hides(const struct fs_inodes *t, const struct fs_inode *inode)
{
	return fs_same_file(&t->hides, &inode->key);
}

bool fs_inode_hidden(const struct fs_inodes *t, const struct fs_inode *parent, const char *name)
{
	struct fs_key hidden_key, key;
	struct statx hidden, stat;

	if (*name != '.' || !fs_inode_hides(t, parent))
		return false;
	if (strcmp(name, FS_HIDDEN) == 0)
		return true;
	/* a file system that folds cases knows it by other names as well */
	if (fs_host_stat(parent->fd, FS_HIDDEN, &hidden) < 0 ||
	    fs_host_stat(parent->fd, name, &stat) < 0)
		return false;
	hidden_key = fs_host_key(&hidden);
	key = fs_host_key(&stat);
	return fs_same_file(&hidden_key, &key);
}

/* ---- from a state ----------------------------------------------------------------------------- */

int fs_inode_restore(struct fs_inodes *t, uint64_t id, const struct fs_key *key, uint64_t lookups,
		     uint64_t stamp)
{
	struct fs_inode *inode;

	if (id <= t->root->id || id >= t->next_id || t->n >= t->max || find_id(t, id))
		return -EPROTO;
	inode = calloc(1, sizeof(*inode));
	if (!inode)
		return -ENOMEM;
	*inode = (struct fs_inode){
		.id = id, .key = *key, .lookups = lookups, .fd = -1, .stamp = stamp
	};
	if (t->n >= t->size)
		grow(t);
	table_add(t, inode, FS_BY_ID);
	table_add(t, inode, FS_BY_FILE);
	t->n++;
	return 0;
}

int fs_inode_restore_place(struct fs_inodes *t, uint64_t id, uint64_t parent, const char *name)
{
	struct fs_inode *inode = find_id(t, id), *dir = find_id(t, parent);

	if (!inode || !dir || inode == t->root || inode->name || dir->key.type != S_IFDIR ||
	    !fs_name_ok(name) || is_below(dir, inode))
		return -EPROTO;
	inode->name = strdup(name);
	if (!inode->name)
		return -ENOMEM;
	inode->parent = dir;
	dir->children++;
	return 0;
}

/* Bucket by bucket, from the start again after each: letting one go may take others along. */
void fs_inodes_restored(struct fs_inodes *t)
{
	for (size_t i = 0; i < t->size; i++) {
		struct fs_inode *inode = t->bucket[FS_BY_ID][i].first;

		while (inode) {
			size_t before = t->n;

			release(t, inode);
			inode = t->n == before ? inode->next[FS_BY_ID]
					       : t->bucket[FS_BY_ID][i].first;
		}
	}
}
