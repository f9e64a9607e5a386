/* SPDX-License-Identifier: Apache-2.0 */
#include "slices.h"

#include <errno.h>
#include <stdlib.h>

#include "vec.h"

int venv__slices_init(struct slices *slices, int fd, size_t size, unsigned max)
{
	*slices = (struct slices){ .fd = fd, .size = size, .max = max };
	slices->slot = calloc(max, sizeof(*slices->slot));
	slices->bucket = calloc(max, sizeof(*slices->bucket));
	return slices->slot && slices->bucket ? 0 : -ENOMEM;
}

void venv__slices_done(struct slices *slices)
{
	for (unsigned i = 0; slices->slot && i < slices->max; i++)
		free(slices->slot[i].data);
	free(slices->slot);
	free(slices->bucket);
	slices->slot = NULL;
	slices->bucket = NULL;
}

static uint16_t *bucket_of(const struct slices *slices, uint64_t offset)
{
	return &slices->bucket[offset / slices->size % slices->max];
}

static struct slice *look_up(const struct slices *slices, uint64_t offset)
{
	for (uint16_t i = *bucket_of(slices, offset); i; i = slices->slot[i - 1].next) {
		if (slices->slot[i - 1].offset == offset)
			return &slices->slot[i - 1];
	}
	return NULL;
}

static void unlink_slice(struct slices *slices, struct slice *slice)
{
	uint16_t *link = bucket_of(slices, slice->offset);

	while (&slices->slot[*link - 1] != slice)
		link = &slices->slot[*link - 1].next;
	*link = slice->next;
	slices->n_dirty -= slice->dirty;
	slice->valid = slice->dirty = false;
}

/* A second chance for what was used since the hand came by. */
static struct slice *victim(struct slices *slices)
{
	for (;;) {
		struct slice *slice = &slices->slot[slices->hand];

		slices->hand = (slices->hand + 1) % slices->max;
		if (!slice->valid || !slice->recent)
			return slice;
		slice->recent = false;
	}
}

int venv__slices_get(struct slices *slices, uint64_t offset, struct slice **ret)
{
	struct slice *slice;
	uint16_t *bucket;
	int r;

	offset &= ~(uint64_t)(slices->size - 1);
	slice = look_up(slices, offset);
	if (slice) {
		slice->recent = true;
		*ret = slice;
		return 0;
	}
	slice = victim(slices);
	if (slice->valid && slice->dirty)
		return -EAGAIN;
	if (slice->valid)
		unlink_slice(slices, slice);
	if (!slice->data)
		slice->data = malloc(slices->size);
	if (!slice->data)
		return -ENOMEM;
	r = venv__pread_all(slices->fd, slice->data, slices->size, offset);
	if (r < 0)
		return r;
	bucket = bucket_of(slices, offset);
	slice->offset = offset;
	slice->next = *bucket;
	slice->valid = slice->recent = true;
	*bucket = (uint16_t)(slice - slices->slot + 1);
	*ret = slice;
	return 0;
}

void venv__slices_touch(struct slices *slices, struct slice *slice)
{
	slices->n_dirty += !slice->dirty;
	slice->dirty = true;
}

int venv__slices_write(struct slices *slices)
{
	for (unsigned i = 0; i < slices->max && slices->n_dirty; i++) {
		struct slice *slice = &slices->slot[i];
		int r;

		if (!slice->dirty)
			continue;
		r = venv__pwrite_all(slices->fd, slice->data, slices->size, slice->offset);
		if (r < 0)
			return r;
		slice->dirty = false;
		slices->n_dirty--;
	}
	return 0;
}

void venv__slices_forget(struct slices *slices, uint64_t offset, uint64_t length)
{
	for (unsigned i = 0; i < slices->max; i++) {
		struct slice *slice = &slices->slot[i];

		if (slice->valid && slice->offset >= offset && slice->offset - offset < length)
			unlink_slice(slices, slice);
	}
}
