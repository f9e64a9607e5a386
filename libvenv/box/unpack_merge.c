/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a layer is unpacked alone, but an archive may leave to the layers below what it
 * does not say: a directory that only appears in the names of its files ("etc/x" without "etc/") has
 * the owner and mode of the lower one, a link of the lower layers in its place (bin -> usr/bin) is
 * followed, and a hard link may name a file of a lower layer. The writer listed these; here they are
 * looked up in the layers below, topmost first, with overlayfs's rules (whiteouts, opaque
 * directories), and made up for. The result depends on the layers below, so the store names it
 * by the whole chain.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "../util/buf.h"
#include "../util/file.h"
#include "unpack.h"

enum { HOPS_MAX = 16, LIST_MAX = 256 * 1024 * 1024 };

/* ---- Looking up in the layers below ------------------------------------------------------- */

static bool is_opaque(int fd)
{
	char value[2];

	return fgetxattr(fd, "user.overlay.opaque", value, sizeof(value)) == 1 && value[0] == 'y';
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

enum found { FOUND_NOT, FOUND_HIDDEN, FOUND_IT };

/*
 * One layer: walks the path name by name. FOUND_HIDDEN: this layer decides that nothing is there.
 * *ret_fd is an O_PATH descriptor.
 */
static enum found find_in_layer(int layer_fd, const char *path, int *ret_fd, struct stat *ret)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = venv__open_strict(layer_fd, "", O_RDONLY | O_DIRECTORY);
	char *rest = copy, *name;
	bool opaque = false;

	if (!copy || fd < 0)
		return FOUND_NOT;
	while ((name = strsep(&rest, "/"))) {
		int next;

		opaque = opaque || is_opaque(fd);
		next = openat(fd, name,
			      (rest ? O_RDONLY | O_DIRECTORY : O_PATH) | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0 && errno == ENOENT)
			return opaque ? FOUND_HIDDEN : FOUND_NOT;
		if (next < 0)
			return FOUND_HIDDEN; /* no directory on the way */
		(void)close(fd);
		fd = next;
	}
	if (fstat(fd, ret) < 0 || is_whiteout(ret))
		return FOUND_HIDDEN;
	*ret_fd = take_fd(&fd);
	return FOUND_IT;
}

/* In all layers below: O_PATH descriptor, or -ENOENT. */
static int find_below(const struct merge *m, const char *path, struct stat *ret)
{
	int fd = -1;

	for (size_t i = 0; i < m->n_lower; i++) {
		enum found found = find_in_layer(m->lower[i], path, &fd, ret);

		if (found == FOUND_IT)
			return fd;
		if (found == FOUND_HIDDEN)
			break;
	}
	return -ENOENT;
}

/* ---- Directories -------------------------------------------------------------------------- */

static int reopen(int dir_fd, int flags)
{
	int fd = openat(dir_fd, ".", flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int venv__dress_like(int fd, int like_fd, const struct stat *st, uint64_t *refused)
{
	const struct timespec times[2] = { st->st_mtim, st->st_mtim };
	_cleanup_close_ int from = reopen(like_fd, O_RDONLY | O_DIRECTORY);
	int r;

	if (from < 0)
		return from;
	if (fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0)
		return -errno;
	r = venv__xattr_copy(from, fd, refused);
	if (r == 0 && futimens(fd, times) < 0)
		r = -errno;
	return r;
}

static int note_made(void *user, const char *path)
{
	struct merge *m = user;
	struct stat st;
	_cleanup_close_ int lower = -1, fd = -1;

	m->counts.implicit++;
	lower = find_below(m, path, &st);
	if (lower < 0 || !S_ISDIR(st.st_mode))
		return 0;
	fd = venv__open_strict(m->root_fd, path, O_RDONLY | O_DIRECTORY);
	return fd < 0 ? fd : venv__dress_like(fd, lower, &st, &m->counts.attributes);
}

/* Where a link below leads, following further links: a path without links of the root, by text. */
static int follow_below(const struct merge *m, const char *path, char **ret)
{
	_cleanup_free_ char *at = strdup(path);

	for (int hops = 0; at && hops < HOPS_MAX; hops++) {
		_cleanup_close_ int fd = -1;
		_cleanup_free_ char *joined = NULL;
		char target[PATH_MAX], *slash;
		struct stat st;
		ssize_t n;

		fd = find_below(m, at, &st);
		if (fd < 0)
			return fd;
		if (S_ISDIR(st.st_mode)) {
			*ret = take_ptr(at);
			return 0;
		}
		n = S_ISLNK(st.st_mode) ? readlinkat(fd, "", target, sizeof(target) - 1) : -1;
		if (n < 0)
			return -ENOTDIR;
		target[n] = '\0';
		slash = strrchr(at, '/');
		*(slash ? slash : at) = '\0';
		if (asprintf(&joined, "/%s/%s", target[0] == '/' ? "" : at, target) < 0) {
			joined = NULL;
			return -ENOMEM;
		}
		free(at);
		at = venv__path_clean(joined);
		if (at)
			memmove(at, at + 1, strlen(at)); /* the leading slash */
	}
	return at ? -ELOOP : -ENOMEM;
}

static int move_one(struct merge *m, int from_fd, int to_fd, const char *name, int depth);

static int move_children(struct merge *m, int from_fd, int to_fd, int depth)
{
	_cleanup_strv_ char **names = NULL;
	int r = depth > LIMIT_DEPTH ? -ELOOP : 0;

	if (r == 0 && venv__dir_list(from_fd, &names, NULL) < 0)
		r = -EIO;
	for (char **name = names; r == 0 && *name; name++)
		r = move_one(m, from_fd, to_fd, *name, depth);
	return r;
}

static int move_one(struct merge *m, int from_fd, int to_fd, const char *name, int depth)
{
	_cleanup_close_ int from = -1, to = -1;
	int r;

	if (renameat2(from_fd, name, to_fd, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	from = openat(from_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	to = openat(to_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from >= 0 && to >= 0) {
		r = move_children(m, from, to, depth + 1);
		if (r == 0 && unlinkat(from_fd, name, AT_REMOVEDIR) < 0)
			r = -errno;
		return r;
	}
	/* both spell the same file: the one under the link's name is kept */
	m->counts.duplicates++;
	if (to >= 0 && venv__tree_delete(to_fd, name, NULL) < 0)
		return -EIO;
	return renameat(from_fd, name, to_fd, name) < 0 ? -errno : 0;
}

/* A lower layer has a link where this one made a directory: its content goes to the link's target. */
static int move_to_target(struct merge *m, const char *path)
{
	_cleanup_free_ char *target = NULL, *real = NULL;
	_cleanup_close_ int from = -1, to = -1;
	int r;

	r = follow_below(m, path, &target);
	if (r == -ENOENT || r == -ELOOP || r == -ENOTDIR)
		return 0; /* a link to nowhere: the directory takes its place */
	if (r < 0)
		return r;
	if (!strncmp(target, path, strlen(path)) &&
	    (!target[strlen(path)] || target[strlen(path)] == '/'))
		return 0;
	r = venv__path_resolve(m->root_fd, target, note_made, m, &real);
	if (r == -ENOTDIR)
		return 0;
	if (r < 0)
		return r;
	from = venv__open_strict(m->root_fd, path, O_RDONLY | O_DIRECTORY);
	to = venv__open_strict(m->root_fd, real, O_RDONLY | O_DIRECTORY);
	if (from < 0 || to < 0)
		return from < 0 ? from : to;
	r = move_children(m, from, to, 0);
	if (r == 0 && venv__tree_delete(m->root_fd, path, NULL) < 0)
		r = -EIO;
	m->counts.moved++;
	return r;
}

static int merge_directory(struct merge *m, const char *path)
{
	_cleanup_close_ int fd = -1, lower = -1;
	struct stat st;

	fd = venv__open_strict(m->root_fd, path, O_RDONLY | O_DIRECTORY);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0; /* replaced since, or moved with the one above */
	if (fd < 0)
		return fd;
	lower = find_below(m, path, &st);
	if (lower < 0)
		return lower == -ENOENT ? 0 : lower;
	if (S_ISDIR(st.st_mode))
		return venv__dress_like(fd, lower, &st, &m->counts.attributes);
	return S_ISLNK(st.st_mode) ? move_to_target(m, path) : 0;
}

/* ---- Hard links to files of lower layers --------------------------------------------------- */

static int copy_bytes(int from, int to)
{
	for (;;) {
		ssize_t n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);

		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int copy_file(struct merge *m, int dir_fd, const char *name, int lower_dir,
		     const char *lower_name, const struct stat *st)
{
	const struct timespec times[2] = { st->st_mtim, st->st_mtim };
	_cleanup_close_ int from = openat(lower_dir, lower_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int to = -1;
	int r;

	if (from < 0)
		return -errno;
	(void)unlinkat(dir_fd, name, 0);
	to = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	r = copy_bytes(from, to);
	if (r == 0 &&
	    (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0))
		r = -errno;
	if (r == 0)
		r = venv__xattr_copy(from, to, &m->counts.attributes);
	if (r == 0 && futimens(to, times) < 0)
		r = -errno;
	m->counts.bytes += (uint64_t)st->st_size;
	m->counts.files++;
	return r;
}

static int copy_link(int dir_fd, const char *name, int lower_fd, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(lower_fd, "", target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	(void)unlinkat(dir_fd, name, 0);
	if (symlinkat(target, dir_fd, name) < 0 ||
	    fchownat(dir_fd, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

/* The directory of a path and its last name; fd or -errno. */
static int open_parent(int root_fd, const char *path, const char **ret_leaf)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = strndup(path, slash ? (size_t)(slash - path) : 0);

	*ret_leaf = slash ? slash + 1 : path;
	return parent ? venv__open_strict(root_fd, parent, O_RDONLY | O_DIRECTORY) : -ENOMEM;
}

static int merge_link(struct merge *m, const char *path, const char *target)
{
	_cleanup_close_ int lower = -1, dir = -1, lower_dir = -1;
	const char *name, *lower_name;
	struct stat st;

	dir = open_parent(m->root_fd, path, &name);
	if (dir < 0)
		return dir;
	for (size_t i = 0; i < m->n_lower && lower_dir < 0; i++) {
		enum found found = find_in_layer(m->lower[i], target, &lower, &st);

		if (found == FOUND_HIDDEN)
			break;
		if (found == FOUND_IT)
			lower_dir = open_parent(m->lower[i], target, &lower_name);
	}
	if (lower_dir < 0)
		return -ENOENT;
	if (S_ISREG(st.st_mode))
		return copy_file(m, dir, name, lower_dir, lower_name, &st);
	return S_ISLNK(st.st_mode) ? copy_link(dir, name, lower, &st) : -EPERM;
}

/* ---- All ---------------------------------------------------------------------------------- */

static int merge_line(struct merge *m, const char *line, const char **link, venv_error **err)
{
	const char *path = line + 2;
	int r = 0;

	if (line[0] == 'D')
		r = merge_directory(m, path);
	else if (line[0] == 'L')
		*link = path;
	else if (line[0] == 'T' && *link) {
		r = merge_link(m, *link, path);
		if (r == -ENOENT)
			return venv__entry_fail(err, VENV_ERR_BOX, 0, *link,
						"a hard link to a file that no layer has");
		path = *link;
		*link = NULL;
	}
	return r < 0 ? venv__entry_fail(err, 0, -r, path, "cannot fit it to the layers below") : 0;
}

int venv__merge(struct merge *m, venv_error **err)
{
	_cleanup_buf_ struct buf list = { 0 };
	const char *link = NULL;
	char chunk[16384];
	ssize_t n;
	int r = 0;

	if (lseek(m->list_fd, 0, SEEK_SET) < 0)
		return venv__fail_errno(err, errno, "cannot read the list of directories");
	while ((n = read(m->list_fd, chunk, sizeof(chunk))) > 0 && list.length < LIST_MAX)
		venv__buf_add(&list, chunk, (size_t)n);
	if (n != 0 || list.failed)
		return venv__fail_errno(err, n < 0 ? errno : ENOMEM,
					"cannot read the list of directories");
	/* links first: they name their files as the archive does */
	for (int pass = 0; pass < 2; pass++)
		for (size_t at = 0; r == 0 && at + 2 < list.length;
		     at += strlen(list.data + at) + 1)
			if ((list.data[at] == 'D') == (pass == 1))
				r = merge_line(m, list.data + at, &link, err);
	return r;
}

/* ---- To disk ------------------------------------------------------------------------------ */

/*
 * On ext4 and xfs one journal serves all: when the data is written, the fsync of any later change (the
 * parent's record of the layer) brings the names as well. Elsewhere each file and directory is told.
 */
static bool one_journal(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC);
}

static int sync_one(int fd, const struct stat *st, bool journal)
{
	int r;

	if (!journal)
		return fsync(fd) < 0 ? -errno : 0;
	if (!S_ISREG(st->st_mode) || !st->st_size)
		return 0;
	r = sync_file_range(fd, 0, 0,
			    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				    SYNC_FILE_RANGE_WAIT_AFTER);
	return r < 0 ? -errno : 0;
}

static int sync_directory(int fd, int depth, bool journal)
{
	_cleanup_strv_ char **names = NULL;
	int r = depth > LIMIT_DEPTH + 1 || venv__dir_list(fd, &names, NULL) < 0 ? -EIO : 0;

	for (char **name = names; r == 0 && *name; name++) {
		_cleanup_close_ int child = -1;
		struct stat st;

		if (fstatat(fd, *name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
			continue;
		child = openat(fd, *name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (child < 0)
			return -errno;
		r = S_ISDIR(st.st_mode) ? sync_directory(child, depth + 1, journal)
					: sync_one(child, &st, journal);
	}
	return r == 0 && !journal && fsync(fd) < 0 ? -errno : r;
}

int venv__tree_sync(int root_fd, venv_error **err)
{
	int r = sync_directory(root_fd, 0, one_journal(root_fd));

	return r < 0 ? venv__fail_errno(err, -r, "cannot write to disk") : 0;
}
