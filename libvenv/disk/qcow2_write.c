/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing. What lies in clusters of the image's own is written in place; for all else new clusters are
 * taken, filled as a whole (with what was there before, where the guest does not write), and only then
 * shown by the table. A failure on the way leaves the old content in sight.
 */
#include "bytes.h"
#include "qcow2.h"

struct piece {           /* of one write: guest clusters that are treated alike */
	uint64_t offset; /* of the guest, where it writes */
	uint64_t length;
	uint64_t first, n; /* of the file */
	bool blank;        /* what was there reads as zeroes */
	bool fresh;        /* and so do the new clusters before they are written */
};

/* What the guest does not write of a piece: [offset, offset + length), in its first or last cluster. */
static int fill_rest(struct qcow2 *q, const struct piece *p, uint64_t offset, uint64_t length,
		     venv_error **err)
{
	uint64_t start = p->offset & ~(q->cluster_size - 1);
	struct iovec iov = { q->scratch, length };
	struct vec vec = { .iov = &iov, .n = 1 };
	int r = 0;

	if (!length || (p->blank && p->fresh))
		return 0;
	if (p->blank)
		memset(q->scratch, 0, length);
	else
		r = venv__layer_read(&q->disk, offset, &vec, length, err);
	if (r < 0)
		return r;
	r = venv__pwrite_all(q->disk.fd, q->scratch, length,
			     (p->first << q->cluster_bits) + offset - start);
	return r < 0 ? venv__qcow2_io(q, r, err) : 0;
}

static int fill(struct qcow2 *q, const struct piece *p, struct vec *vec, venv_error **err)
{
	uint64_t start = p->offset & ~(q->cluster_size - 1);
	uint64_t end = p->offset + p->length, stop = start + (p->n << q->cluster_bits);
	int r = fill_rest(q, p, start, p->offset - start, err);

	if (r >= 0)
		r = fill_rest(q, p, end, stop - end, err);
	if (r < 0)
		return r;
	r = venv__vec_pwrite(vec, q->disk.fd, (p->first << q->cluster_bits) + p->offset - start,
			     p->length);
	return r < 0 ? venv__qcow2_io(q, r, err) : 0;
}

/* Whether [offset, offset + length) reads as zeroes without a look at data. */
static int is_blank(struct qcow2 *q, uint64_t offset, uint64_t length, bool *ret, venv_error **err)
{
	struct layer_run run;
	struct disk *owner;

	for (*ret = true; length && *ret; length -= run.length, offset += run.length) {
		int r = venv__layer_find(&q->disk, offset, length, &run, &owner, err);

		if (r < 0)
			return r;
		*ret = run.kind == LAYER_ZEROES;
	}
	return 0;
}

/* Show the new clusters in the table. */
static int show(struct qcow2 *q, const struct piece *p, venv_error **err)
{
	return venv__qcow2_set_entries(q, p->offset, p->n, (p->first << q->cluster_bits) | L2_OWNED,
				       q->cluster_size, err);
}

static int is_piece_blank(struct qcow2 *q, struct piece *p, venv_error **err)
{
	uint64_t start = p->offset & ~(q->cluster_size - 1), end = p->offset + p->length;
	uint64_t stop = start + (p->n << q->cluster_bits);
	bool head = true, tail = true;
	int r = is_blank(q, start, p->offset - start, &head, err);

	if (r >= 0)
		r = is_blank(q, end, stop - end, &tail, err);
	p->blank = head && tail;
	return r;
}

/* Take at most n new clusters for a piece that begins at offset, and write it there. */
static int write_new(struct qcow2 *q, struct piece *p, uint64_t n, struct vec *vec,
		     venv_error **err)
{
	uint64_t inside = p->offset & (q->cluster_size - 1);
	int r = venv__qcow2_alloc(q, n, false, &p->first, &p->n, err);

	if (r < 0)
		return r;
	p->fresh = p->first >= q->fresh_from;
	p->length = MIN(p->length, (p->n << q->cluster_bits) - inside);
	r = is_piece_blank(q, p, err);
	if (r >= 0) {
		q->fresh_from = MAX(q->fresh_from, p->first + p->n);
		r = fill(q, p, vec, err);
	}
	q->unsynced = true;
	if (r >= 0)
		r = show(q, p, err);
	if (r < 0)
		venv__qcow2_unalloc(q, p->first, p->n);
	return r;
}

/* Clusters that were kept for a guest's zeroes. */
static int write_kept(struct qcow2 *q, struct piece *p, const struct cluster *old, struct vec *vec,
		      venv_error **err)
{
	int r;

	p->first = old->host >> q->cluster_bits;
	p->n = 1;
	p->blank = true;
	p->length = MIN(p->length, q->cluster_size - (p->offset & (q->cluster_size - 1)));
	r = fill(q, p, vec, err);
	q->unsynced = true;
	return r < 0 ? r : show(q, p, err);
}

static bool is_empty(const struct cluster *c)
{
	return (c->kind == LAYER_HOLE || c->kind == LAYER_ZEROES) && !c->host;
}

/* How many clusters from entry on, at most max, have nothing of their own. */
static int count_empty(struct qcow2 *q, const uint64_t *entry, uint64_t max, uint64_t *ret,
		       venv_error **err)
{
	for (*ret = 0; *ret < max; (*ret)++) {
		struct cluster c;
		int r = venv__qcow2_decode(q, get_be64(entry + *ret), &c, err);

		if (r < 0)
			return r;
		if (!is_empty(&c))
			break;
	}
	return 0;
}

/* The first part of what begins at p->offset, where something new is needed. */
static int write_piece(struct qcow2 *q, struct piece *p, struct vec *vec, venv_error **err)
{
	uint64_t *entry, n, inside = p->offset & (q->cluster_size - 1);
	struct cluster old;
	int r = venv__qcow2_entries(q, p->offset, true, &entry, &n, err);

	if (r >= 0)
		r = venv__qcow2_decode(q, get_be64(entry), &old, err);
	if (r < 0)
		return r;
	if (old.kind == LAYER_ZEROES && old.host && old.owned)
		return write_kept(q, p, &old, vec, err);
	n = MIN(n, clusters_of(q, inside + p->length));
	if (!is_empty(&old))
		n = 1;
	else
		r = count_empty(q, entry, n, &n, err);
	if (r >= 0)
		r = write_new(q, p, n, vec, err);
	return r < 0 ? r : venv__qcow2_free_entry(q, &old, err);
}

/* Let go of what an entry pointed to, which nothing shows any more. */
int venv__qcow2_free_entry(struct qcow2 *q, const struct cluster *cluster, venv_error **err)
{
	uint64_t first = cluster->host >> q->cluster_bits, last = first;

	if (!cluster->host && cluster->kind != LAYER_PACKED)
		return 0;
	if (cluster->kind == LAYER_PACKED)
		last = (cluster->host + cluster->packed_size - 1) >> q->cluster_bits;
	return venv__qcow2_free(q, first, last - first + 1, err);
}

int venv__qcow2_write(struct disk *disk, uint64_t offset, struct vec *vec, uint64_t length,
		      venv_error **err)
{
	struct qcow2 *q = qcow2_of(disk);
	uint64_t here;

	if (q->corrupt)
		return venv__qcow2_corrupt(q, err, "it can only be read");
	for (; length; length -= here, offset += here) {
		struct piece piece = { .offset = offset, .length = length };
		struct layer_run run;
		int r = venv__qcow2_find(disk, offset, length, &run, err);

		here = run.length;
		if (r >= 0 && run.kind == LAYER_DATA && run.overwrites) {
			r = venv__vec_pwrite(vec, disk->fd, run.host, here);
			if (r < 0)
				return venv__qcow2_io(q, r, err);
			continue;
		}
		if (r >= 0)
			r = write_piece(q, &piece, vec, err);
		if (r < 0)
			return r;
		here = piece.length;
	}
	return 0;
}
