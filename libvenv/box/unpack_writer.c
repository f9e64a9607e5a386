/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a layer is written into an empty directory that nobody else touches. No path of
 * an archive ever reaches the kernel as a whole: its directory is opened by openat2 below the root
 * without links (one descriptor is kept, as archives come directory by directory), the last name is
 * then used with calls that do not follow it. What exists is never opened for writing: it is
 * unlinked, so that a hard link to it keeps its content.
 *
 * Owners, modes and attributes are set at once (owner first: it clears setuid bits); times of
 * directories at the end, as every name made in one changes them.
 */
#include <fcntl.h>
#include <search.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "../util/buf.h"
#include "unpack_writer.h"

enum { ID_MAX = 65535, WRITE_BACK_MIN = 64 * 1024, HOLE_MIN = 4096 };
#define WHITEOUT ".wh."
#define WHITEOUT_META ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

struct writer *venv__writer_new(int root_fd, enum writer_mode mode, const struct limits *limits)
{
	struct writer *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->root_fd = root_fd;
	w->mode = mode;
	w->limits = *limits;
	w->dir_fd = w->fd = -1;
	return w;
}

void venv__writer_free(struct writer *w)
{
	if (!w)
		return;
	venv__writer_forget_parent(w);
	if (w->fd >= 0)
		(void)close(w->fd);
	free(w->path);
	tdestroy(w->implicit, venv__writer_free_implicit);
	for (size_t i = 0; i < w->n_times; i++)
		free(w->times[i].path);
	free(w->times);
	for (size_t i = 0; i < w->n_pending; i++) {
		free(w->pending[i].path);
		free(w->pending[i].target);
	}
	free(w->pending);
	free(w);
}

const struct counts *venv__writer_counts(const struct writer *w)
{
	return &w->counts;
}

unsigned venv__writer_machine(const struct writer *w)
{
	size_t best = 0;

	for (size_t i = 1; i < MACHINES_MAX; i++)
		if (w->machines[i].count > w->machines[best].count)
			best = i;
	return w->machines[best].machine;
}

/* ---- Entries by kind ---------------------------------------------------------------------- */

static int set_owner(struct writer *w, const char *leaf, const struct tar_entry *e)
{
	if (w->mode == WRITER_PLAIN)
		return 0;
	if (fchownat(w->dir_fd, leaf, (uid_t)e->uid, (gid_t)e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int set_time(struct writer *w, const char *leaf, const struct tar_entry *e)
{
	const struct timespec times[2] = { e->mtime, e->mtime };

	return utimensat(w->dir_fd, leaf, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int remember_time(struct writer *w, const char *path, const struct tar_entry *e)
{
	if (w->n_times == w->times_capacity) {
		size_t capacity = w->times_capacity ? 2 * w->times_capacity : 256;
		struct directory_time *grown = realloc(w->times, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		w->times = grown;
		w->times_capacity = capacity;
	}
	w->times[w->n_times] = (struct directory_time){ strdup(path), e->mtime };
	return w->times[w->n_times++].path ? 0 : -ENOMEM;
}

static int dress_directory(struct writer *w, int fd, const struct tar_entry *e, bool opaque)
{
	int r = 0;

	if (w->mode == WRITER_LAYER) {
		if (fchown(fd, (uid_t)e->uid, (gid_t)e->gid) < 0 || fchmod(fd, e->mode & 07777) < 0)
			return -errno;
		r = venv__xattr_apply(fd, e->attributes, e->n_attributes, &w->counts.attributes);
	}
	if (r == 0 && opaque)
		r = venv__xattr_opaque(fd);
	return r;
}

static int add_root(struct writer *w, const struct tar_entry *e)
{
	if (e->kind != ENTRY_DIR)
		return -ENOTDIR;
	w->counts.directories++;
	w->counts.roots++;
	venv__writer_described(w, (char[]){ "" });
	if (remember_time(w, "", e) < 0)
		return -ENOMEM;
	return dress_directory(w, w->root_fd, e, false);
}

static int make_directory(struct writer *w, const char *leaf, bool *ret_opaque)
{
	struct stat st;
	int r;

	if (mkdirat(w->dir_fd, leaf, 0755) == 0)
		return 0;
	if (errno != EEXIST || fstatat(w->dir_fd, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return 0;
	/* a whiteout of the same layer and a directory: nothing below shines through */
	*ret_opaque = S_ISCHR(st.st_mode);
	r = venv__writer_replace(w, leaf);
	if (r == 0 && mkdirat(w->dir_fd, leaf, 0755) < 0)
		r = -errno;
	return r;
}

static int add_directory(struct writer *w, const char *leaf, const struct tar_entry *e)
{
	_cleanup_free_ char *path = venv__writer_path(w, leaf);
	_cleanup_close_ int fd = -1;
	bool opaque = false;
	int r;

	if (!path)
		return -ENOMEM;
	r = make_directory(w, leaf, &opaque);
	if (r < 0)
		return r;
	w->counts.directories++;
	venv__writer_described(w, path);
	fd = openat(w->dir_fd, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = remember_time(w, path, e);
	return r < 0 ? r : dress_directory(w, fd, e, opaque);
}

static int open_new(struct writer *w, const char *leaf)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(w->dir_fd, leaf, flags, 0600), r;

	if (fd >= 0 || errno != EEXIST)
		return fd < 0 ? -errno : fd;
	r = venv__writer_replace(w, leaf);
	if (r < 0)
		return r;
	fd = openat(w->dir_fd, leaf, flags, 0600);
	return fd < 0 ? -errno : fd;
}

static int add_symlink(struct writer *w, const char *leaf, const struct tar_entry *e)
{
	int r;

	if (!e->target || !*e->target)
		return -EINVAL;
	if (symlinkat(e->target, w->dir_fd, leaf) < 0) {
		if (errno != EEXIST)
			return -errno;
		r = venv__writer_replace(w, leaf);
		if (r < 0)
			return r;
		if (symlinkat(e->target, w->dir_fd, leaf) < 0)
			return -errno;
	}
	r = set_owner(w, leaf, e);
	return r < 0 ? r : set_time(w, leaf, e);
}

static int add_fifo(struct writer *w, const char *leaf, const struct tar_entry *e)
{
	int r;

	if (mknodat(w->dir_fd, leaf, S_IFIFO | 0600, 0) < 0) {
		if (errno != EEXIST)
			return -errno;
		r = venv__writer_replace(w, leaf);
		if (r < 0)
			return r;
		if (mknodat(w->dir_fd, leaf, S_IFIFO | 0600, 0) < 0)
			return -errno;
	}
	r = set_owner(w, leaf, e);
	if (r == 0 && fchmodat(w->dir_fd, leaf, e->mode & 07777, 0) < 0)
		r = -errno;
	return r < 0 ? r : set_time(w, leaf, e);
}

/* ---- Hard links --------------------------------------------------------------------------- */

/* The directory of a link's target and its last name in it; fd or -errno. */
static int open_target(struct writer *w, const char *target, const char **ret_leaf)
{
	const char *slash = strrchr(target, '/');
	_cleanup_free_ char *parent = strndup(target, slash ? (size_t)(slash - target) : 0);
	_cleanup_free_ char *real = NULL;
	int fd, r;

	if (!parent)
		return -ENOMEM;
	*ret_leaf = slash ? slash + 1 : target;
	fd = venv__open_strict(w->root_fd, parent, O_PATH | O_DIRECTORY);
	if (fd != -ELOOP && fd != -ENOTDIR)
		return fd;
	r = venv__path_resolve(w->root_fd, parent, NULL, NULL, &real);
	return r < 0 ? r : venv__open_strict(w->root_fd, real, O_PATH | O_DIRECTORY);
}

static int make_link(struct writer *w, const char *leaf, const char *target)
{
	_cleanup_close_ int fd = -1;
	struct stat from, to;
	const char *name;
	int r;

	fd = open_target(w, target, &name);
	if (fd < 0)
		return fd == -ENOTDIR ? -ENOENT : fd;
	if (fstatat(fd, name, &from, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(from.st_mode) || S_ISCHR(from.st_mode))
		return S_ISDIR(from.st_mode) ? -EISDIR : -ENOENT;
	if (linkat(fd, name, w->dir_fd, leaf, 0) == 0)
		return 0;
	if (errno != EEXIST || fstatat(w->dir_fd, leaf, &to, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (from.st_dev == to.st_dev && from.st_ino == to.st_ino)
		return 0;
	r = venv__writer_replace(w, leaf);
	if (r == 0 && linkat(fd, name, w->dir_fd, leaf, 0) < 0)
		r = -errno;
	return r;
}

static int remember_link(struct writer *w, const char *path, const char *target)
{
	struct pending *p;

	if (w->n_pending == w->pending_capacity) {
		size_t capacity = w->pending_capacity ? 2 * w->pending_capacity : 64;
		struct pending *grown = realloc(w->pending, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		w->pending = grown;
		w->pending_capacity = capacity;
	}
	p = &w->pending[w->n_pending++];
	*p = (struct pending){ strdup(path), strdup(target) };
	return p->path && p->target ? 0 : -ENOMEM;
}

static int add_hardlink(struct writer *w, const char *leaf, const struct tar_entry *e,
			venv_error **err)
{
	_cleanup_free_ char *path = venv__writer_path(w, leaf), *target = NULL;
	int r;

	if (!path)
		return venv__fail_nomem(err);
	if (e->size > 0)
		return venv__entry_fail(err, VENV_ERR_BOX, 0, e->path,
					"a hard link with data is not allowed");
	r = venv__path_entry(e->target ? e->target : "", w->limits.depth, &target, err);
	if (r < 0)
		return venv__wrap(r, err, "target of a hard link");
	r = make_link(w, leaf, target);
	if (r == -ENOENT)
		r = remember_link(w, path, target);
	if (r == -EISDIR)
		return venv__entry_fail(err, VENV_ERR_BOX, 0, e->path,
					"a hard link to a directory is not allowed");
	return r < 0 ? venv__entry_fail(err, 0, -r, e->path, "cannot make the hard link") : 0;
}

/* ---- Whiteouts ---------------------------------------------------------------------------- */

static int add_whiteout(struct writer *w, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (fstatat(w->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return -errno;
		return mknodat(w->dir_fd, name, S_IFCHR, makedev(0, 0)) < 0 ? -errno : 0;
	}
	if (!S_ISDIR(st.st_mode))
		return 0; /* the layer's own file hides the lower one anyway */
	fd = openat(w->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : venv__xattr_opaque(fd);
}

/* 1: it was no whiteout, 0: done, or a code. */
static int whiteout(struct writer *w, const char *path, venv_error **err)
{
	const char *leaf = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	const char *meta = strstr(path, WHITEOUT_META);
	const char *mark = strstr(path, WHITEOUT);
	int r;

	if (!mark)
		return 1;
	if (strcmp(leaf, WHITEOUT_OPAQUE) != 0 && meta && (meta == path || meta[-1] == '/'))
		return 0; /* bookkeeping of AUFS */
	if (mark < leaf && (mark == path || mark[-1] == '/'))
		return venv__entry_fail(err, VENV_ERR_BOX, 0, path, "a whiteout is no directory");
	if (strncmp(leaf, WHITEOUT, strlen(WHITEOUT)) != 0)
		return 1;
	if (!leaf[4] || !strcmp(leaf + 4, ".") || !strcmp(leaf + 4, ".."))
		return venv__entry_fail(err, VENV_ERR_BOX, 0, path, "a whiteout of nothing");
	r = venv__writer_enter_parent(w, path, &leaf);
	if (r == -ENOTDIR)
		return 0; /* some tools delete below what is a file by now */
	if (r < 0)
		return venv__writer_parent_failed(w, r, path, err);
	r = !strcmp(leaf, WHITEOUT_OPAQUE) ? venv__xattr_opaque(w->dir_fd)
					   : add_whiteout(w, leaf + 4);
	return r < 0 ? venv__entry_fail(err, 0, -r, path, "cannot mark it as deleted") : 0;
}

/* ---- Entries ------------------------------------------------------------------------------ */

static int check_ids(const struct tar_entry *e, venv_error **err)
{
	bool user = e->uid < 0 || e->uid > ID_MAX;
	int64_t id = user ? e->uid : e->gid;

	if (!user && e->gid >= 0 && e->gid <= ID_MAX)
		return 0;
	return venv__hint(venv__entry_fail(err, VENV_ERR_BOX, 0, e->path,
					   "it belongs to %s %lld, and machines have ids up to %d",
					   user ? "user" : "group", (long long)id, ID_MAX),
			  err,
			  "make the image with its files owned by smaller ids: from a directory by "
			  "'tar --numeric-owner --owner=0 --group=0 …', or in a user namespace");
}

static int add_by_kind(struct writer *w, const char *leaf, const struct tar_entry *e)
{
	switch (e->kind) {
	case ENTRY_DIR:
		return add_directory(w, leaf, e);
	case ENTRY_SYMLINK:
		return add_symlink(w, leaf, e);
	case ENTRY_FIFO:
		return w->mode == WRITER_PLAIN ? 0 : add_fifo(w, leaf, e);
	case ENTRY_FILE:
		w->fd = open_new(w, leaf);
		w->end = 0;
		w->counts.files++;
		w->path = venv__writer_path(w, leaf);
		return w->fd < 0 ? w->fd : w->path ? 0 : -ENOMEM;
	default:
		w->counts.devices++;
		return 0;
	}
}

static int entry_failed(const struct tar_entry *e, int r, venv_error **err)
{
	if (r == -EINVAL && e->kind == ENTRY_SYMLINK)
		return venv__entry_fail(err, VENV_ERR_BOX, 0, e->path, "a link to nothing");
	return venv__entry_fail(err, 0, -r, e->path, "cannot unpack it");
}

int venv__writer_begin(struct writer *w, const struct tar_entry *e, venv_error **err)
{
	_cleanup_free_ char *path = NULL;
	const char *leaf;
	int r;

	if (++w->counts.entries > w->limits.entries)
		return venv__writer_parent_failed(w, -EDQUOT, e->path, err);
	r = venv__path_entry(e->path, w->limits.depth, &path, err);
	if (r < 0)
		return r;
	r = w->mode == WRITER_LAYER ? check_ids(e, err) : 0;
	if (r < 0)
		return r;
	if (!*path) {
		r = add_root(w, e);
		return r < 0 ? venv__entry_fail(err, VENV_ERR_BOX, 0, "/",
						"the root is no directory")
			     : 0;
	}
	r = w->mode == WRITER_LAYER ? whiteout(w, path, err) : 1;
	if (r <= 0)
		return r;
	r = venv__writer_enter_parent(w, path, &leaf);
	if (r < 0)
		return venv__writer_parent_failed(w, r, path, err);
	if (e->kind == ENTRY_HARDLINK)
		return add_hardlink(w, leaf, e, err);
	r = add_by_kind(w, leaf, e);
	return r < 0 ? entry_failed(e, r, err) : 0;
}

static void note_machine(struct writer *w, const unsigned char *head)
{
	unsigned machine = head[5] == 2 ? (unsigned)head[18] << 8 | head[19]
					: (unsigned)head[19] << 8 | head[18];

	for (size_t i = 0; i < MACHINES_MAX; i++) {
		if (w->machines[i].count && w->machines[i].machine != machine)
			continue;
		w->machines[i].machine = machine;
		w->machines[i].count++;
		return;
	}
}

static int write_piece(struct writer *w, const char *p, size_t length, int64_t offset,
		       venv_error **err)
{
	while (length) {
		ssize_t n = pwrite(w->fd, p, length, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return venv__entry_fail(err, 0, errno, w->path, "cannot write it");
		p += n;
		offset += n;
		length -= (size_t)n;
	}
	return 0;
}

static bool is_zero(const char *p, size_t length)
{
	return !*p && !memcmp(p, p + 1, length - 1);
}

/* Images of disks are full of zeroes, which need no room: what was packed well must not become large. */
static int write_sparse(struct writer *w, const char *p, size_t length, int64_t offset,
			venv_error **err)
{
	while (length) {
		size_t n = MIN(length, HOLE_MIN - (size_t)(offset % HOLE_MIN));
		int r = is_zero(p, n) ? 0 : write_piece(w, p, n, offset, err);

		if (r < 0)
			return r;
		p += n;
		offset += (int64_t)n;
		length -= n;
	}
	return 0;
}

int venv__writer_data(struct writer *w, const void *data, size_t length, int64_t offset,
		      venv_error **err)
{
	const char *p = data;

	if (w->fd < 0)
		return 0; /* of an entry that was passed over */
	if (offset < 0 || (uint64_t)offset > w->limits.bytes || length > w->limits.bytes ||
	    w->counts.bytes + length > w->limits.bytes)
		return venv__entry_fail(err, VENV_ERR_BOX, 0, w->path,
					"the archive has more than %llu bytes",
					(unsigned long long)w->limits.bytes);
	if (offset == 0 && length >= 20 && !memcmp(p, "\177ELF", 4))
		note_machine(w, (const unsigned char *)p);
	w->counts.bytes += length;
	w->end = MAX(w->end, offset + (int64_t)length);
	return w->mode == WRITER_PLAIN ? write_sparse(w, p, length, offset, err)
				       : write_piece(w, p, length, offset, err);
}

static int dress_file(struct writer *w, const struct tar_entry *e)
{
	const struct timespec times[2] = { e->mtime, e->mtime };
	int r;

	if ((e->size > w->end || w->mode == WRITER_PLAIN) &&
	    ftruncate(w->fd, MAX(e->size, w->end)) < 0)
		return -errno;
	if (w->mode == WRITER_PLAIN)
		return 0;
	if (fchown(w->fd, (uid_t)e->uid, (gid_t)e->gid) < 0 || fchmod(w->fd, e->mode & 07777) < 0)
		return -errno;
	r = venv__xattr_apply(w->fd, e->attributes, e->n_attributes, &w->counts.attributes);
	if (r == 0 && futimens(w->fd, times) < 0)
		r = -errno;
	return r;
}

int venv__writer_end(struct writer *w, const struct tar_entry *e, venv_error **err)
{
	int r;

	if (w->fd < 0)
		return 0;
	if (e->size > 0 && (uint64_t)e->size > w->limits.bytes) {
		r = venv__entry_fail(err, VENV_ERR_BOX, 0, w->path,
				     "a file of %lld bytes is too large", (long long)e->size);
	} else {
		r = dress_file(w, e);
		if (r < 0)
			r = venv__entry_fail(err, 0, -r, w->path, "cannot unpack it");
	}
	/* the disk works while the next files are read and hashed: the sync at the end finds little */
	if (w->end >= WRITE_BACK_MIN)
		(void)sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	if (close(take_fd(&w->fd)) < 0 && r == 0)
		r = venv__entry_fail(err, 0, errno, w->path, "cannot write it");
	free(take_ptr(w->path));
	return r;
}

/* ---- The end ------------------------------------------------------------------------------ */

static int write_line(int fd, const char *kind, const char *text)
{
	_cleanup_buf_ struct buf line = { 0 };

	if (fd < 0)
		return 0;
	venv__buf_puts(&line, kind);
	venv__buf_puts(&line, text);
	venv__buf_add(&line, "", 1);
	return line.failed ? -ENOMEM : venv__write_all(fd, line.data, line.length);
}

static void list_implicit(const void *node, VISIT visit, void *user)
{
	const struct implicit *i = *(struct implicit *const *)node;
	struct writer *w = user;

	/* in order: a directory comes before those in it */
	if ((visit != postorder && visit != leaf) || !i->valid || w->list_result < 0)
		return;
	w->list_result = write_line(w->list_fd, "D ", i->path);
}

static int finish_links(struct writer *w, venv_error **err)
{
	for (size_t i = 0; i < w->n_pending; i++) {
		struct pending *p = &w->pending[i];
		const char *name;
		int r = venv__writer_enter_parent(w, p->path, &name);

		if (r == 0)
			r = make_link(w, name, p->target);
		if (r == -ENOENT) {
			w->counts.pending++;
			r = write_line(w->list_fd, "L ", p->path);
			if (r == 0)
				r = write_line(w->list_fd, "T ", p->target);
		}
		if (r < 0)
			return venv__entry_fail(err, 0, -r, p->path, "cannot make the hard link");
	}
	return 0;
}

static int finish_times(struct writer *w, venv_error **err)
{
	for (size_t i = 0; i < w->n_times; i++) {
		const struct directory_time *t = &w->times[i];
		const struct timespec times[2] = { t->mtime, t->mtime };
		_cleanup_close_ int fd =
			venv__open_strict(w->root_fd, t->path, O_RDONLY | O_DIRECTORY);

		/* it may have been replaced since */
		if (fd >= 0 && futimens(fd, times) < 0)
			return venv__entry_fail(err, 0, errno, t->path, "cannot set its time");
	}
	return 0;
}

int venv__writer_finish(struct writer *w, int list_fd, venv_error **err)
{
	int r;

	w->list_fd = list_fd;
	r = finish_links(w, err);
	if (r < 0)
		return r;
	twalk_r(w->implicit, list_implicit, w);
	if (w->list_result < 0)
		return venv__fail_errno(err, -w->list_result,
					"cannot write the list of directories");
	return finish_times(w, err);
}
