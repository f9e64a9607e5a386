/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses the file's clusters.
 *
 * Theory of operation: refcount blocks count how often each cluster is used. A cluster is free when its
 * count is 0; free_at says below which cluster there is no use looking. Where the block itself is missing,
 * the first cluster that it would count becomes the block. Where the table has no room for the block, a
 * larger table is made (qcow2_refs.c).
 *   What is let go waits in `freed`, still counted, until release() finds that no table on the disk shows
 * it; then its count goes down and its room goes back to the file system.
 */
#include "bytes.h"
#include "qcow2.h"

enum { FILE_STEP = 1 << 20 }; /* bytes by which the file grows at least */

static int get_block(struct qcow2 *q, uint64_t cluster, struct slice **ret, venv_error **err)
{
	uint64_t in_block = cluster & ((1ULL << q->ref_bits) - 1);
	uint64_t offset = (q->refs.entry[cluster >> q->ref_bits] & L2_OFFSET) +
			  (in_block << q->header.ref_order) / 8;
	int r = venv__slices_get(&q->ref_slices, offset, ret);

	if (r == -EAGAIN) {
		/* counts rely on nothing: they may be written at any time */
		r = venv__slices_write(&q->ref_slices);
		q->unsynced = true;
		if (r >= 0)
			r = venv__slices_get(&q->ref_slices, offset, ret);
	}
	return r < 0 ? venv__qcow2_io(q, r, err) : 0;
}

static uint64_t in_slice(const struct qcow2 *q, uint64_t cluster)
{
	return cluster & (q->ref_slices.size * 8 / (1ULL << q->header.ref_order) - 1);
}

static bool has_block(const struct qcow2 *q, uint64_t cluster)
{
	uint64_t block = cluster >> q->ref_bits;

	return block < q->refs.n && q->refs.entry[block];
}

int venv__qcow2_count(struct qcow2 *q, uint64_t cluster, uint64_t *ret, venv_error **err)
{
	struct slice *slice;
	int r;

	*ret = 0;
	if (!has_block(q, cluster))
		return 0;
	r = get_block(q, cluster, &slice, err);
	if (r >= 0)
		*ret = venv__ref_get(slice->data, q->header.ref_order, in_slice(q, cluster));
	return r;
}

static int set_count(struct qcow2 *q, uint64_t cluster, uint64_t value, venv_error **err)
{
	struct slice *slice;
	int r = get_block(q, cluster, &slice, err);

	if (r < 0)
		return r;
	venv__ref_set(slice->data, q->header.ref_order, in_slice(q, cluster), value);
	venv__slices_touch(&q->ref_slices, slice);
	return 0;
}

/* Let the file have this many clusters; what is new reads as zeroes. */
static int extend_file(struct qcow2 *q, uint64_t clusters, venv_error **err)
{
	uint64_t step = MAX((uint64_t)FILE_STEP >> q->cluster_bits, 1ULL);

	if (clusters > q->file_end) {
		clusters = MAX(clusters, q->file_end + step);
		if (ftruncate(q->disk.fd, (off_t)(clusters << q->cluster_bits)) < 0)
			return venv__qcow2_io(q, -errno, err);
		q->file_end = clusters;
	}
	return 0;
}

/* Make sure that somebody counts this cluster. */
static int make_block(struct qcow2 *q, uint64_t cluster, venv_error **err)
{
	uint64_t block = cluster >> q->ref_bits, at = block << q->ref_bits;
	int r;

	if (has_block(q, cluster))
		return 0;
	if (block >= q->refs.n)
		return venv__qcow2_grow_refs(q, block, err);
	r = venv__set_add(&q->tables, at);
	if (r == -EEXIST)
		return venv__qcow2_corrupt(q, err, "a table is not counted");
	if (r < 0)
		return venv__fail_nomem(err);
	r = extend_file(q, at + 1, err);
	if (r >= 0) {
		venv__slices_forget(&q->ref_slices, at << q->cluster_bits, q->cluster_size);
		r = venv__pwrite_zeroes(q->disk.fd, q->cluster_size, at << q->cluster_bits);
		if (r < 0)
			(void)venv__qcow2_io(q, r, err);
	}
	if (r < 0) {
		venv__set_remove(&q->tables, at);
		return r;
	}
	q->unsynced = true;
	q->fresh_from = MAX(q->fresh_from, at + 1);
	venv__table_set(&q->refs, block, at << q->cluster_bits);
	return set_count(q, at, 1, err);
}

/* @return 1: free; 0: in use */
static int is_free(struct qcow2 *q, uint64_t cluster, venv_error **err)
{
	uint64_t count;
	int r;

	if (cluster >= 1ULL << (55 - q->cluster_bits))
		return venv__fail(err, VENV_ERR_SYSTEM, "disk '%s' is too large", q->disk.name);
	r = make_block(q, cluster, err);
	if (r >= 0)
		r = venv__qcow2_count(q, cluster, &count, err);
	if (r < 0)
		return r;
	if (count == 0 && venv__set_has(&q->tables, cluster))
		return venv__qcow2_corrupt(q, err, "a table is not counted");
	return count == 0;
}

/* The first run of free clusters: at most want, whole: not fewer. */
static int find_run(struct qcow2 *q, uint64_t want, bool whole, uint64_t *ret_first,
		    uint64_t *ret_n, venv_error **err)
{
	uint64_t first = q->free_at, n = 0;

	while (n < want) {
		int r = is_free(q, first + n, err);

		if (r < 0)
			return r;
		if (r) {
			n++;
		} else if (n && !whole) {
			break;
		} else {
			first += n + 1;
			n = 0;
		}
	}
	*ret_first = first;
	*ret_n = n;
	return 0;
}

void venv__qcow2_unalloc(struct qcow2 *q, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		(void)set_count(q, first + i, 0, NULL); /* else it is a leak */
	q->free_at = MIN(q->free_at, first);
}

int venv__qcow2_alloc(struct qcow2 *q, uint64_t want, bool whole, uint64_t *ret_first,
		      uint64_t *ret_n, venv_error **err)
{
	uint64_t first, n;
	int r;

	/* while nothing is half done; what is freed now may be found at once */
	r = q->n_freed > FREED_MAX / 2 ? venv__qcow2_sync_tables(q, err) : 0;
	if (r >= 0)
		r = find_run(q, want, whole, &first, &n, err);
	if (r >= 0)
		r = extend_file(q, first + n, err);
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < n; i++) {
		r = set_count(q, first + i, 1, err);
		if (r < 0) {
			venv__qcow2_unalloc(q, first, i);
			return r;
		}
	}
	if (first == q->free_at || !whole)
		q->free_at = first + n;
	*ret_first = first;
	*ret_n = n;
	return 0;
}

int venv__qcow2_alloc_table(struct qcow2 *q, uint64_t n, uint64_t *ret, venv_error **err)
{
	uint64_t first, done = 0;
	int r = venv__qcow2_alloc(q, n, true, &first, &n, err);

	if (r < 0)
		return r;
	/* written, not only left out: a table must not fail for lack of room later */
	venv__slices_forget(&q->l2_slices, first << q->cluster_bits, n << q->cluster_bits);
	venv__slices_forget(&q->ref_slices, first << q->cluster_bits, n << q->cluster_bits);
	r = venv__pwrite_zeroes(q->disk.fd, n << q->cluster_bits, first << q->cluster_bits);
	if (r < 0)
		(void)venv__qcow2_io(q, r, err);
	for (; r >= 0 && done < n; done++) {
		r = venv__set_add(&q->tables, first + done);
		if (r < 0)
			(void)venv__fail_nomem(err);
	}
	if (r < 0) {
		for (uint64_t i = 0; i < done; i++)
			venv__set_remove(&q->tables, first + i);
		venv__qcow2_unalloc(q, first, n);
		return r;
	}
	q->fresh_from = MAX(q->fresh_from, first + n);
	q->unsynced = true;
	*ret = first;
	return 0;
}

/* ---- letting go ----------------------------------------------------------------------------------- */

int venv__qcow2_free(struct qcow2 *q, uint64_t first, uint64_t n, venv_error **err)
{
	struct freed *last = q->n_freed ? &q->freed[q->n_freed - 1] : NULL;
	int r;

	if (last && last->first + last->n == first) {
		last->n += n;
		return 0;
	}
	if (q->n_freed == FREED_MAX) {
		r = venv__qcow2_sync_tables(q, err);
		if (r < 0)
			return r;
	}
	q->freed[q->n_freed++] = (struct freed){ first, n };
	return 0;
}

static int drop_count(struct qcow2 *q, uint64_t cluster, bool *ret_last, venv_error **err)
{
	uint64_t count;
	int r = venv__qcow2_count(q, cluster, &count, err);

	if (r < 0)
		return r;
	if (!count)
		return venv__qcow2_corrupt(q, err, "a cluster is used more often than counted");
	*ret_last = count == 1;
	return set_count(q, cluster, count - 1, err);
}

/* Take back the count of one piece, from its end; *ret_n: how many clusters there are free now. */
static int drop_last(struct qcow2 *q, struct freed *f, uint64_t *ret_n, venv_error **err)
{
	bool last = true;

	for (*ret_n = 0; f->n && last; *ret_n += last) {
		uint64_t cluster = f->first + f->n - 1;
		int r = drop_count(q, cluster, &last, err);

		if (r < 0)
			return r;
		f->n--;
		if (last)
			venv__set_remove(&q->tables, cluster);
	}
	return 0;
}

int venv__qcow2_release(struct qcow2 *q, venv_error **err)
{
	while (q->n_freed) {
		struct freed *f = &q->freed[q->n_freed - 1];
		uint64_t end = f->first + f->n, n;
		int r = drop_last(q, f, &n, err);

		if (r < 0)
			return r;
		if (n) {
			q->free_at = MIN(q->free_at, end - n);
			venv__punch(q->disk.fd, (end - n) << q->cluster_bits, n << q->cluster_bits);
		}
		if (!f->n)
			q->n_freed--;
	}
	return 0;
}
