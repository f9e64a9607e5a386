/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discard and zeroes. Whole clusters change in the tables alone. A cluster that is let go must not show
 * what lies below the image: it becomes one of zeroes there, a hole only where nothing lies below.
 * Version 2 of the format has no clusters of zeroes; there zeroes are written, and a discard that would
 * uncover something does nothing.
 */
#include "bytes.h"
#include "qcow2.h"

enum wipe {
	WIPE_DISCARD, /* zeroes if that costs nothing */
	WIPE_UNMAP,   /* zeroes, and the room back */
	WIPE_KEEP,    /* zeroes, and the room stays */
};

static bool lies_on_something(const struct qcow2 *q, uint64_t offset)
{
	return q->disk.below && offset < q->disk.below->length;
}

static int write_zeroes(struct qcow2 *q, uint64_t offset, uint64_t length, venv_error **err)
{
	_cleanup_free_ void *zeroes = calloc(1, length);
	struct iovec iov = { zeroes, length };
	struct vec vec = { .iov = &iov, .n = 1 };

	if (!zeroes)
		return venv__fail_nomem(err);
	return venv__qcow2_write(&q->disk, offset, &vec, length, err);
}

/* Bytes of one cluster, not all of it. */
static int wipe_part(struct qcow2 *q, uint64_t offset, uint64_t length, enum wipe how,
		     venv_error **err)
{
	struct layer_run run;
	struct disk *owner;
	int r;

	if (how == WIPE_DISCARD)
		return 0;
	r = venv__layer_find(&q->disk, offset, length, &run, &owner, err);
	if (r < 0)
		return r;
	if (run.kind == LAYER_ZEROES && run.length == length && how == WIPE_UNMAP)
		return 0;
	return write_zeroes(q, offset, length, err);
}

static int change(struct qcow2 *q, uint64_t offset, uint64_t value, venv_error **err)
{
	uint64_t *entry, n;
	int r = venv__qcow2_entries(q, offset, true, &entry, &n, err);

	return r < 0 ? r : venv__qcow2_set_entries(q, offset, 1, value, 0, err);
}

static int wipe_v2(struct qcow2 *q, uint64_t offset, const struct cluster *c, enum wipe how,
		   venv_error **err)
{
	int r;

	if (lies_on_something(q, offset) || how == WIPE_KEEP) {
		if (how == WIPE_DISCARD || (c->kind == LAYER_HOLE && !lies_on_something(q, offset)))
			return 0;
		return write_zeroes(q, offset, MIN(q->cluster_size, q->disk.length - offset), err);
	}
	if (c->kind == LAYER_HOLE)
		return 0;
	r = change(q, offset, 0, err);
	return r < 0 ? r : venv__qcow2_free_entry(q, c, err);
}

/* One cluster as a whole. */
static int wipe_cluster(struct qcow2 *q, uint64_t offset, uint64_t entry, enum wipe how,
			venv_error **err)
{
	uint64_t value = lies_on_something(q, offset) ? L2_ZERO : 0;
	struct cluster c;
	int r = venv__qcow2_decode(q, entry, &c, err);

	if (r < 0)
		return r;
	if (q->header.version < 3)
		return wipe_v2(q, offset, &c, how, err);
	if (how == WIPE_KEEP && c.host && c.owned)
		value = c.host | L2_OWNED | L2_ZERO;
	if (entry == value || (entry == L2_ZERO && !value))
		return 0;
	r = change(q, offset, value, err);
	if (r < 0 || (value & L2_OFFSET))
		return r;
	return venv__qcow2_free_entry(q, &c, err);
}

/* The first of these clusters, or all for which there is no table. *ret: bytes that are done */
static int wipe_some(struct qcow2 *q, uint64_t offset, uint64_t length, enum wipe how,
		     uint64_t *ret, venv_error **err)
{
	uint64_t *entry, n;
	int r = venv__qcow2_entries(q, offset, false, &entry, &n, err);

	if (r < 0)
		return r;
	*ret = MIN(length, q->cluster_size);
	if (entry || lies_on_something(q, offset))
		return wipe_cluster(q, offset, entry ? get_be64(entry) : 0, how, err);
	*ret = MIN(length, n << q->cluster_bits);
	return 0;
}

static int wipe(struct disk *disk, uint64_t offset, uint64_t length, enum wipe how,
		venv_error **err)
{
	struct qcow2 *q = qcow2_of(disk);
	uint64_t here;

	if (q->corrupt)
		return venv__qcow2_corrupt(q, err, "it can only be read");
	for (; length; length -= here, offset += here) {
		uint64_t inside = offset & (q->cluster_size - 1);
		int r;

		/* the last cluster is whole if the disk ends in it */
		here = MIN(length, q->cluster_size - inside);
		if (inside || (here < q->cluster_size && offset + here < disk->length))
			r = wipe_part(q, offset, here, how, err);
		else
			r = wipe_some(q, offset, length, how, &here, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int venv__qcow2_zero(struct disk *disk, uint64_t offset, uint64_t length, bool unmap,
		     venv_error **err)
{
	return wipe(disk, offset, length, unmap ? WIPE_UNMAP : WIPE_KEEP, err);
}

int venv__qcow2_discard(struct disk *disk, uint64_t offset, uint64_t length, venv_error **err)
{
	return wipe(disk, offset, length, WIPE_DISCARD, err);
}
