/* SPDX-License-Identifier: Apache-2.0 */
/* A FAT file system with a few files in its root, made in memory. */
#ifndef VENV_SEED_FAT_H
#define VENV_SEED_FAT_H

#include <stddef.h>
#include <stdint.h>

enum { FAT_NAME_MAX = 26, FAT_FILES_MAX = 16, FAT_SIZE_MAX = 4 << 20 };

struct fat_file {
	const char *name; /* printable ASCII; two names that differ in case only are the same */
	const void *data;
	size_t length;
};

/*
 * The same input gives the same image.
 * @param label up to 11 characters, capital letters
 * @return 0, -ENOMEM, -EINVAL (a name), -EFBIG
 */
int venv__fat_make(const char *label, uint32_t serial, const struct fat_file *files, size_t n,
		   unsigned char **ret, size_t *ret_size);

#endif
