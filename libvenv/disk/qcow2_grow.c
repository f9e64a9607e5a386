/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A longer disk: first a larger L1 if it takes one, written beside the old one; then zeroes where the image
 * below is longer than the disk was; and the new length last, so that the disk is whole at any moment.
 */
#include "bytes.h"
#include "qcow2.h"

/* Length, size and place of L1 stand side by side and change by one write. */
static int put_size(struct qcow2 *q, uint64_t length, uint64_t l1_size, uint64_t l1_offset,
		    venv_error **err)
{
	uint8_t field[AT_REFS_OFFSET - AT_SIZE] = { 0 };
	int r;

	put_be64(field, length);
	put_be32(field + (AT_L1_SIZE - AT_SIZE), (uint32_t)l1_size);
	put_be64(field + (AT_L1_OFFSET - AT_SIZE), l1_offset);
	r = venv__pwrite_all(q->disk.fd, field, sizeof(field), AT_SIZE);
	return r < 0 ? venv__qcow2_io(q, r, err) : venv__qcow2_barrier(q, err);
}

/* A copy of L1 with room for n entries, on the disk; nothing points to it. */
static int copy_l1(struct qcow2 *q, struct table *copy, uint64_t *ret_cluster, venv_error **err)
{
	int r = venv__qcow2_alloc_table(q, clusters_of(q, copy->n * 8), ret_cluster, err);

	if (r < 0)
		return r;
	memcpy(copy->entry, q->l1.entry, q->l1.n * sizeof(*copy->entry));
	copy->dirty_to = q->l1.n;
	/* its own clusters must be counted before the header shows it */
	r = venv__qcow2_sync_tables(q, err);
	if (r >= 0)
		r = venv__table_write(q, copy, *ret_cluster << q->cluster_bits, err);
	return r < 0 ? r : venv__qcow2_barrier(q, err);
}

static int grow_l1(struct qcow2 *q, uint64_t n, venv_error **err)
{
	uint64_t old = q->header.l1_offset, n_old = clusters_of(q, q->l1.n * 8), cluster;
	struct table copy = { .entry = calloc(n, sizeof(*copy.entry)), .n = n };
	int r = copy.entry ? venv__qcow2_sync_tables(q, err) : venv__fail_nomem(err);

	if (r >= 0)
		r = copy_l1(q, &copy, &cluster, err);
	if (r < 0) {
		free(copy.entry);
		return r;
	}
	free(q->l1.entry);
	q->l1 = copy;
	q->header.l1_offset = cluster << q->cluster_bits;
	q->header.l1_size = (uint32_t)n;
	r = put_size(q, q->disk.length, n, q->header.l1_offset, err);
	if (r < 0) {
		q->corrupt = true; /* which L1 the disk shows is not known */
		return r;
	}
	return n_old ? venv__qcow2_free(q, old >> q->cluster_bits, n_old, err) : 0;
}

/* What was below the end must not come to light behind it; nor what other programs left there. */
static int hide_below(struct qcow2 *q, uint64_t from, venv_error **err)
{
	uint64_t below = q->disk.below ? q->disk.below->length : 0;
	uint64_t last = (from | (q->cluster_size - 1)) + 1; /* the end of the last cluster */
	uint64_t to = MIN(q->disk.length, from & (q->cluster_size - 1) ? MAX(below, last) : below);
	int r = 0;

	if (from < to)
		r = venv__qcow2_zero(&q->disk, from, to - from, true, err);
	if (r >= 0)
		r = venv__qcow2_sync_tables(q, err);
	return r < 0 ? r : venv__qcow2_barrier(q, err);
}

int venv__qcow2_grow(struct disk *disk, uint64_t length, venv_error **err)
{
	struct qcow2 *q = qcow2_of(disk);
	uint64_t n = venv__qcow2_l1_size(length, q->cluster_bits), old = disk->length;
	int r;

	if (q->corrupt)
		return venv__qcow2_corrupt(q, err, "it can only be read");
	if (n == UINT64_MAX)
		return venv__fail(err, VENV_ERR_INVALID,
				  "too large for a disk with clusters of %llu bytes",
				  (unsigned long long)q->cluster_size);
	if (q->header.n_snapshots)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "disk '%s' has snapshots inside: it cannot grow", disk->name);
	r = n > q->l1.n ? grow_l1(q, n, err) : 0;
	if (r < 0)
		return r;
	disk->length = length;
	r = hide_below(q, old, err);
	if (r >= 0)
		r = put_size(q, length, q->header.l1_size, q->header.l1_offset, err);
	if (r < 0) {
		disk->length = old;
		return r;
	}
	q->header.size = length;
	return venv__qcow2_sync_tables(q, err);
}
