/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded cache of slices of tables, by their offset in the file. Knows nothing of their order: when
 * room is needed and the slice to go was changed, it says so, and the caller writes first.
 */
#ifndef VENV_DISK_SLICES_H
#define VENV_DISK_SLICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
	uint64_t offset;
	void *data;    /* NULL: never used */
	uint16_t next; /* in the bucket, + 1 */
	bool valid, dirty, recent;
};

struct slices {
	int fd;
	size_t size; /* of each: a power of two */
	unsigned max, n_dirty;
	unsigned hand; /* the next to be looked at for eviction: a clock */
	struct slice *slot;
	uint16_t *bucket; /* max of them; slot + 1 */
};

int venv__slices_init(struct slices *slices, int fd, size_t size, unsigned max); /* 0, -ENOMEM */
void venv__slices_done(struct slices *slices);
/*
 * The slice that holds offset; valid until the next call.
 * @return 0, -errno, or -EAGAIN: call venv__slices_write() first
 */
int venv__slices_get(struct slices *slices, uint64_t offset, struct slice **ret);
void venv__slices_touch(struct slices *slices, struct slice *slice); /* it was changed */
/* Write all that were changed. 0 or -errno */
int venv__slices_write(struct slices *slices);
/* Forget what is known of a piece of the file, changed or not. */
void venv__slices_forget(struct slices *slices, uint64_t offset, uint64_t length);

#endif
