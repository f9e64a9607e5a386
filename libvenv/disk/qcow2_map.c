/* SPDX-License-Identifier: Apache-2.0 */
/* From the guest's offsets to the file's: L1, L2, and what an entry means. */
#include "bytes.h"
#include "qcow2.h"

/* Size and place of compressed data share the entry: how many bits the place has depends on the cluster. */
static int decode_packed(struct qcow2 *q, uint64_t entry, struct cluster *ret, venv_error **err)
{
	unsigned bits = 62 - (q->cluster_bits - 8);
	uint64_t host = entry & ((1ULL << bits) - 1);
	uint64_t sectors = (entry & (L2_PACKED - 1)) >> bits;

	*ret = (struct cluster){ .kind = LAYER_PACKED, .host = host };
	ret->packed_size = (sectors + 1) * 512 - (host & 511);
	if (host >> q->cluster_bits >= q->file_end ||
	    (host + ret->packed_size - 1) >> q->cluster_bits >= q->file_end)
		return venv__qcow2_corrupt(q, err, "compressed data lies outside of the file");
	if (entry & L2_OWNED)
		return venv__qcow2_corrupt(q, err, "an entry of compressed data says 'used once'");
	return 0;
}

int venv__qcow2_decode(struct qcow2 *q, uint64_t entry, struct cluster *ret, venv_error **err)
{
	uint64_t host = entry & L2_OFFSET;

	if (entry & L2_PACKED)
		return decode_packed(q, entry, ret, err);
	*ret = (struct cluster){ .kind = LAYER_HOLE, .host = host };
	ret->owned = entry & L2_OWNED;
	if (entry & L2_RESERVED || (q->header.version < 3 && entry & L2_ZERO))
		return venv__qcow2_corrupt(q, err, "an L2 entry has reserved bits set");
	if (entry & L2_ZERO)
		ret->kind = LAYER_ZEROES;
	else if (host)
		ret->kind = LAYER_DATA;
	if (!host)
		return 0;
	if (host & (q->cluster_size - 1))
		return venv__qcow2_corrupt(q, err, "an L2 entry does not point to a cluster");
	if (host >> q->cluster_bits >= q->file_end)
		return venv__qcow2_corrupt(q, err, "a cluster lies outside of the file");
	if (!q->disk.read_only && venv__set_has(&q->tables, host >> q->cluster_bits))
		return venv__qcow2_corrupt(q, err, "a cluster of data is one of a table");
	return 0;
}

static int get_slice(struct qcow2 *q, uint64_t offset, struct slice **ret, venv_error **err)
{
	int r = venv__slices_get(&q->l2_slices, offset, ret);

	if (r == -EAGAIN) {
		r = venv__qcow2_sync_tables(q, err);
		if (r < 0)
			return r;
		r = venv__slices_get(&q->l2_slices, offset, ret);
	}
	return r < 0 ? venv__qcow2_io(q, r, err) : 0;
}

/* A table where there was none, or in place of one that others use too. */
static int make_table(struct qcow2 *q, uint64_t i, venv_error **err)
{
	uint64_t old = q->l1.entry[i] & L2_OFFSET, cluster;
	int r = venv__qcow2_alloc_table(q, 1, &cluster, err);

	if (r < 0)
		return r;
	if (old) {
		r = venv__pread_all(q->disk.fd, q->scratch, q->cluster_size, old);
		if (r >= 0)
			r = venv__pwrite_all(q->disk.fd, q->scratch, q->cluster_size,
					     cluster << q->cluster_bits);
		if (r < 0) {
			venv__set_remove(&q->tables, cluster);
			venv__qcow2_unalloc(q, cluster, 1);
			return venv__qcow2_io(q, r, err);
		}
	}
	venv__table_set(&q->l1, i, (cluster << q->cluster_bits) | L2_OWNED);
	return old ? venv__qcow2_free(q, old >> q->cluster_bits, 1, err) : 0;
}

int venv__qcow2_entries(struct qcow2 *q, uint64_t offset, bool make, uint64_t **ret_entry,
			uint64_t *ret_n, venv_error **err)
{
	uint64_t i = l1_index(q, offset);
	uint64_t in_table = offset >> q->cluster_bits & ((1ULL << q->l2_bits) - 1);
	uint64_t per_slice = q->l2_slices.size / 8;
	uint64_t l1 = q->l1.entry[i];
	struct slice *slice;
	int r;

	if (make && !(l1 & L2_OFFSET && l1 & L2_OWNED)) {
		r = make_table(q, i, err);
		if (r < 0)
			return r;
		l1 = q->l1.entry[i];
	}
	*ret_entry = NULL;
	*ret_n = (1ULL << q->l2_bits) - in_table;
	if (!(l1 & L2_OFFSET))
		return 0;
	r = get_slice(q, (l1 & L2_OFFSET) + in_table * 8, &slice, err);
	if (r < 0)
		return r;
	*ret_entry = (uint64_t *)slice->data + in_table % per_slice;
	*ret_n = per_slice - in_table % per_slice;
	return 0;
}

int venv__qcow2_set_entries(struct qcow2 *q, uint64_t offset, uint64_t n, uint64_t value,
			    uint64_t step, venv_error **err)
{
	uint64_t in_table = offset >> q->cluster_bits & ((1ULL << q->l2_bits) - 1);
	struct slice *slice;
	int r = get_slice(q, (q->l1.entry[l1_index(q, offset)] & L2_OFFSET) + in_table * 8, &slice,
			  err);

	if (r < 0)
		return r;
	for (uint64_t i = 0; i < n; i++)
		put_be64((uint64_t *)slice->data + in_table % (q->l2_slices.size / 8) + i,
			 value + i * step);
	venv__slices_touch(&q->l2_slices, slice);
	return 0;
}

static bool goes_on(const struct qcow2 *q, const struct cluster *first, const struct cluster *c,
		    uint64_t i)
{
	if (c->kind != first->kind || c->owned != first->owned || c->kind == LAYER_PACKED)
		return false;
	return c->host == (first->host ? first->host + (i << q->cluster_bits) : 0);
}

int venv__qcow2_find(struct disk *disk, uint64_t offset, uint64_t length, struct layer_run *ret,
		     venv_error **err)
{
	struct qcow2 *q = qcow2_of(disk);
	uint64_t inside = offset & (q->cluster_size - 1);
	struct cluster first = { .kind = LAYER_HOLE }, next;
	uint64_t *entry, n, i = 1;
	int r = venv__qcow2_entries(q, offset, false, &entry, &n, err);

	if (r < 0)
		return r;
	n = MIN(n, clusters_of(q, inside + length));
	if (!entry)
		i = n;
	else
		r = venv__qcow2_decode(q, get_be64(entry), &first, err);
	for (; r >= 0 && i < n; i++) {
		r = venv__qcow2_decode(q, get_be64(entry + i), &next, err);
		if (r >= 0 && !goes_on(q, &first, &next, i))
			break;
	}
	if (r < 0)
		return r;
	*ret = (struct layer_run){
		.kind = first.kind,
		.host = first.host + (first.kind == LAYER_DATA ? inside : 0),
		.length = MIN(length, (i << q->cluster_bits) - inside),
		.overwrites = first.kind == LAYER_DATA && first.owned && !q->corrupt,
	};
	return 0;
}
