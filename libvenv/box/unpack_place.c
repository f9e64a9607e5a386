/* SPDX-License-Identifier: Apache-2.0 */
/* Where the writer makes the next name: the directory last used, and those that had to be made for it. */
#include <fcntl.h>
#include <search.h>
#include <string.h>

#include "../util/file.h"
#include "unpack_writer.h"

void venv__writer_forget_parent(struct writer *w)
{
	if (w->dir_fd >= 0 && w->dir_fd != w->root_fd)
		(void)close(w->dir_fd);
	w->dir_fd = -1;
	free(take_ptr(w->dir_asked));
	free(take_ptr(w->dir_path));
}

void venv__writer_free_implicit(void *node)
{
	struct implicit *i = node;

	free(i->path);
	free(i);
}

/* ---- Directories that no entry describes -------------------------------------------------- */

static int compare_implicit(const void *a, const void *b)
{
	const struct implicit *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static int implicit_add(void *user, const char *path)
{
	struct writer *w = user;
	struct implicit *node = calloc(1, sizeof(*node));
	struct implicit **found;

	if (++w->counts.entries > w->limits.entries) {
		free(node);
		return -EDQUOT;
	}
	if (node)
		node->path = strdup(path);
	found = node && node->path ? tsearch(node, &w->implicit, compare_implicit) : NULL;
	if (!found) {
		if (node)
			venv__writer_free_implicit(node);
		return -ENOMEM;
	}
	if (*found != node)
		venv__writer_free_implicit(node);
	if (!(*found)->valid)
		w->counts.implicit++;
	(*found)->valid = true;
	return 0;
}

void venv__writer_described(struct writer *w, char *path)
{
	const struct implicit key = { .path = path };
	struct implicit **found = w->implicit ? tfind(&key, &w->implicit, compare_implicit) : NULL;

	if (found && (*found)->valid) {
		(*found)->valid = false;
		w->counts.implicit--;
	}
}

/* ---- The parent directory ----------------------------------------------------------------- */

int venv__writer_parent_failed(struct writer *w, int r, const char *path, venv_error **err)
{
	if (r == -EDQUOT && w->counts.entries > w->limits.entries)
		return venv__entry_fail(err, VENV_ERR_BOX, 0, path,
					"the archive has more than %llu entries",
					(unsigned long long)w->limits.entries);
	if (r == -ENOTDIR)
		return venv__entry_fail(err, VENV_ERR_BOX, 0, path,
					"something above it is no directory");
	if (r == -ELOOP)
		return venv__entry_fail(err, VENV_ERR_BOX, 0, path,
					"symbolic links above it go round in a circle");
	return venv__entry_fail(err, 0, -r, path, "cannot open its directory");
}

static int open_parent_path(struct writer *w, const char *parent, char **ret_real)
{
	int fd = venv__open_strict(w->root_fd, parent, O_RDONLY | O_DIRECTORY);
	int r;

	if (fd >= 0) {
		*ret_real = strdup(parent);
		if (*ret_real)
			return fd;
		(void)close(fd);
		return -ENOMEM;
	}
	if (fd != -ENOENT && fd != -ELOOP && fd != -ENOTDIR)
		return fd;
	/* ENOTDIR is also what a link to nowhere in the middle gives with O_DIRECTORY */
	r = venv__path_resolve(w->root_fd, parent, implicit_add, w, ret_real);
	if (r < 0)
		return r;
	if (strcmp(*ret_real, parent) != 0)
		w->counts.through_links++;
	fd = venv__open_strict(w->root_fd, *ret_real, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		free(take_ptr(*ret_real));
	return fd;
}

/* Make w->dir_fd the directory of a clean path; 0 or -errno. *ret_leaf is its last name. */
int venv__writer_enter_parent(struct writer *w, const char *path, const char **ret_leaf)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = strndup(path, slash ? (size_t)(slash - path) : 0);
	char *real = NULL;
	int fd;

	if (!parent)
		return -ENOMEM;
	*ret_leaf = slash ? slash + 1 : path;
	if (w->dir_fd >= 0 && !strcmp(parent, w->dir_asked))
		return 0;
	fd = open_parent_path(w, parent, &real);
	if (fd < 0)
		return fd;
	venv__writer_forget_parent(w);
	w->dir_fd = fd;
	w->dir_asked = take_ptr(parent);
	w->dir_path = real;
	return 0;
}

/* The path of a name in the directory entered, without links; NULL: out of memory. */
char *venv__writer_path(const struct writer *w, const char *leaf)
{
	char *path;

	if (!*w->dir_path)
		return strdup(leaf);
	return asprintf(&path, "%s/%s", w->dir_path, leaf) < 0 ? NULL : path;
}

/* Remove what has the name of the new entry. The directory entered stays open: it is above. */
int venv__writer_replace(struct writer *w, const char *leaf)
{
	w->counts.duplicates++;
	if (unlinkat(w->dir_fd, leaf, 0) == 0)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	return venv__tree_delete(w->dir_fd, leaf, NULL) < 0 ? -EIO : 0;
}
