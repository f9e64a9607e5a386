/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the writer: its state, and the directory that names are made in (unpack_place.c). */
#ifndef VENV_BOX_UNPACK_WRITER_H
#define VENV_BOX_UNPACK_WRITER_H

#include "unpack.h"

enum { MACHINES_MAX = 8 };

struct implicit { /* node of a tree of directories that no entry described (yet) */
	char *path;
	bool valid;
};

struct directory_time {
	char *path;
	struct timespec mtime;
};

struct pending {
	char *path;
	char *target;
};

struct writer {
	int root_fd;
	enum writer_mode mode;
	struct limits limits;
	struct counts counts;
	/* the directory last used */
	char *dir_asked; /* as the archive says */
	char *dir_path;  /* without links */
	int dir_fd;
	/* the file being written */
	int fd;
	char *path;
	int64_t end; /* of what was written */
	void *implicit;
	struct directory_time *times;
	size_t n_times, times_capacity;
	struct pending *pending;
	size_t n_pending, pending_capacity;
	struct {
		unsigned machine, count;
	} machines[MACHINES_MAX];
	int list_fd;     /* of venv__writer_finish() */
	int list_result; /* of it */
};

/* Make w->dir_fd the directory of a clean path; 0 or -errno. *ret_leaf is its last name. */
int venv__writer_enter_parent(struct writer *w, const char *path, const char **ret_leaf);
void venv__writer_forget_parent(struct writer *w);
/* Say why venv__writer_enter_parent() failed. */
int venv__writer_parent_failed(struct writer *w, int r, const char *path, venv_error **err);
/* The path of a name in the directory entered, without links; NULL: out of memory. */
char *venv__writer_path(const struct writer *w, const char *leaf);
/* Remove what has the name of the new entry. 0 or -errno */
int venv__writer_replace(struct writer *w, const char *leaf);
/* An entry for this directory came. */
void venv__writer_described(struct writer *w, char *path);
void venv__writer_free_implicit(void *node);

#endif
