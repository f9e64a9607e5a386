/* SPDX-License-Identifier: Apache-2.0 */
#include "inodes_open.h"

#include <errno.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/cleanup.h"

enum {
	EVICT_TRIES = 16, /* inodes that one lookup looks at to close descriptors */
	STAT_MASK = STATX_BASIC_STATS | STATX_BTIME,
};

/* ---- the host's side -------------------------------------------------------------------------- */

int fs_host_open(int dir, const char *name)
{
	const struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int fs_host_stat(int dir, const char *name, struct statx *ret)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

	return statx(dir, name, *name ? flags : flags | AT_EMPTY_PATH, STAT_MASK, ret) < 0 ? -errno
											   : 0;
}

struct fs_key fs_host_key(const struct statx *stat)
{
	struct fs_key key = {
		.ino = stat->stx_ino,
		.dev_major = stat->stx_dev_major,
		.dev_minor = stat->stx_dev_minor,
		.type = stat->stx_mode & S_IFMT,
	};

	if (stat->stx_mask & STATX_BTIME)
		key.born = stat->stx_btime.tv_sec * 1000000000 + stat->stx_btime.tv_nsec;
	return key;
}

bool fs_same_file(const struct fs_key *a, const struct fs_key *b)
{
	return a->ino == b->ino && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
	       a->born == b->born && a->type == b->type;
}

bool fs_is_inode(const struct fs_inode *inode, const struct statx *stat)
{
	struct fs_key key = fs_host_key(stat);

	return fs_same_file(&inode->key, &key);
}

/* ---- descriptors, the least recently used first ------------------------------------------------- */

static void lru_remove(struct fs_inodes *t, struct fs_inode *inode)
{
	*(inode->newer ? &inode->newer->older : &t->newest) = inode->older;
	*(inode->older ? &inode->older->newer : &t->oldest) = inode->newer;
}

static void lru_add(struct fs_inodes *t, struct fs_inode *inode)
{
	inode->newer = NULL;
	inode->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = inode;
	t->newest = inode;
}

void fs_fd_touch(struct fs_inodes *t, struct fs_inode *inode)
{
	if (inode->fd < 0 || t->newest == inode)
		return;
	lru_remove(t, inode);
	lru_add(t, inode);
}

void fs_fd_set(struct fs_inodes *t, struct fs_inode *inode, int fd)
{
	inode->fd = fd;
	t->n_open++;
	lru_add(t, inode);
}

void fs_fd_close(struct fs_inodes *t, struct fs_inode *inode)
{
	if (inode->fd < 0)
		return;
	lru_remove(t, inode);
	t->n_open--;
	(void)close(inode->fd);
	inode->fd = -1;
}

/*
 * Can it be found again by its name? A file without one cannot. What the guest has forgotten is there for the
 * names below it, which went with it.
 */
static bool may_close(const struct fs_inodes *t, const struct fs_inode *inode)
{
	struct statx stat;

	if (inode->users || inode == t->root)
		return false;
	return !inode->lookups ||
	       (inode->name && fs_host_stat(inode->fd, "", &stat) == 0 && stat.stx_nlink > 0);
}

int fs_fd_room(struct fs_inodes *t)
{
	for (int i = 0; i < EVICT_TRIES && t->n_open >= t->max_open; i++) {
		struct fs_inode *inode = t->oldest;

		if (may_close(t, inode))
			fs_fd_close(t, inode);
		else
			fs_fd_touch(t, inode);
	}
	return t->n_open < t->max_open + t->max_open / 2 ? 0 : -ENFILE;
}

static int reopen_one(struct fs_inodes *t, struct fs_inode *inode)
{
	_cleanup_close_ int fd = -1;
	struct statx stat;
	int r = fs_fd_room(t);

	if (r < 0)
		return r;
	if (!inode->parent || inode->parent->fd < 0)
		return -ESTALE;
	fd = fs_host_open(inode->parent->fd, inode->name);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
	r = fs_host_stat(fd, "", &stat);
	if (r < 0)
		return r;
	if (!fs_is_inode(inode, &stat))
		return -ESTALE;
	fs_fd_set(t, inode, take_fd(&fd));
	return 0;
}

int fs_fd_open(struct fs_inodes *t, struct fs_inode *inode)
{
	while (inode->fd < 0) {
		struct fs_inode *top = inode;
		int depth = 0, r;

		while (top->parent && top->parent->fd < 0 && depth++ < FS_DEPTH_MAX)
			top = top->parent;
		r = reopen_one(t, top);
		if (r < 0)
			return r;
	}
	fs_fd_touch(t, inode);
	return 0;
}
