/* SPDX-License-Identifier: Apache-2.0 */
/* Files by directory descriptors: whole reads, atomic writes, locks, directories. */
#ifndef VENV_UTIL_FILE_H
#define VENV_UTIL_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "error.h"

enum write_mode {
	WRITE_VOLATILE, /* atomic, but may be lost in a power cut */
	WRITE_DURABLE   /* fsync of file and directory as well */
};

/* Read a whole file of at most max bytes, zero-terminated. ret_length may be NULL. */
int venv__file_read(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_length,
		    venv_error **err);
/* The same from a descriptor; name is for messages. */
int venv__fd_read(int fd, const char *name, size_t max, char **ret, size_t *ret_length,
		  venv_error **err);
/* Replace a file: temporary file, (fsync), rename, (fsync of the directory). */
int venv__file_write(int dir_fd, const char *name, const void *data, size_t length, mode_t mode,
		     enum write_mode how, venv_error **err);
/* Remove what replacing files left when it was killed: of this name, or of all for NULL. Nobody else may be at it. */
void venv__file_sweep(int dir_fd, const char *name);
/* Write all bytes; 0 or -errno. */
int venv__write_all(int fd, const void *data, size_t length);
/* Open a directory, making it (0700) and the missing ones above it. */
int venv__dir_make(const char *path, int *ret_fd, venv_error **err);
/* The same for one name in a directory. */
int venv__dir_make_at(int dir_fd, const char *name, mode_t mode, int *ret_fd, venv_error **err);
/* Names in a directory without "." and "..", sorted. */
int venv__dir_list(int dir_fd, char ***ret, venv_error **err);
/*
 * Remove a tree without following links and without recursion on the stack. What is missing is fine.
 * Directories without write permission that are ours are made writable.
 */
int venv__tree_delete(int dir_fd, const char *name, venv_error **err);

/*
 * Open-file-description locks: they go with the last descriptor, are not inherited by what is
 * spawned (the descriptors are close-on-exec), and do not mind other descriptors of the same file.
 */
int venv__lock_try(int fd, bool exclusive); /* 0, or -EAGAIN when held, or another -errno */
int venv__lock_wait(int fd, bool exclusive);
void venv__unlock(int fd);
bool venv__lock_is_held(int fd); /* exclusively by somebody else */

/* Resolve a path inside a root by openat2 (RESOLVE_IN_ROOT, no magic links); fd or -errno. */
int venv__open_in_root(int root_fd, const char *path, int flags, mode_t mode);
/* The same, refusing every symbolic link and ".." (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS). */
int venv__open_beneath(int root_fd, const char *path, int flags, mode_t mode);
/* The same, following links as long as they stay below: -EXDEV when one leads out (RESOLVE_BENEATH). */
int venv__open_under(int root_fd, const char *path, int flags);
/*
 * Open an absolute path of the user's. When it lies below dir, which others may write, a link must not
 * lead out of dir: -EXDEV. fd or -errno.
 */
int venv__open_inside(const char *dir, const char *path, int flags);
/* mkdir -p inside a root that may be hostile; fd of the last directory or -errno. */
int venv__mkdir_in_root(int root_fd, const char *path, mode_t mode);

/* Join a directory and a name; a name that is absolute stands alone. NULL: out of memory. */
char *venv__path_join(const char *dir, const char *name);
/* "~" and "~/x" to the user's home; anything else is copied. */
char *venv__path_home(const char *path);
/* Remove ".", "..", double and trailing slashes by text alone (absolute paths). */
char *venv__path_clean(const char *path);
/* Is path dir itself or below it, by text? Both clean. Sets *rest to what follows the dir. */
bool venv__path_below(const char *path, const char *dir, const char **rest);

#endif
