/* SPDX-License-Identifier: Apache-2.0 */
/* The new mount interface, by descriptors: nothing here resolves a guest's path by string. */
#ifndef VENV_SETUP_MOUNTS_H
#define VENV_SETUP_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

/* All return 0 or a descriptor, or -errno. attributes: MOUNT_ATTR_… */

/* A detached, private copy of the mount at a path (dir_fd and name) or of a descriptor (name ""). */
int setup_mount_clone(int dir_fd, const char *name, uint64_t attributes, bool recursive);
/* A detached file system; options: "key", "value" pairs (value NULL: a flag), NULL-terminated. */
int setup_mount_new(const char *type, const char *const *options, unsigned attributes);
/* Put a detached mount on a target that is an O_PATH descriptor, or on a name below a directory. */
int setup_mount_on(int mount_fd, int target_fd, const char *name);
/* The same below a root that may be hostile: links are refused, so are magic links. */
int setup_mount_in(int mount_fd, int root_fd, const char *path);
int setup_mount_set(int mount_fd, uint64_t attributes, int userns_fd, bool recursive);

#endif
