/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting what is used: to compare it with the refcounts, and to make them anew. An image that is marked
 * dirty was left by a program that did not keep its refcounts; its tables are right, so they say them all.
 */
#include "bytes.h"
#include "qcow2.h"

enum { CLUSTERS_MAX = 1 << 25 }; /* 64 MiB of counters; 2 TiB of file with clusters of 64 KiB */

struct census {
	struct qcow2 *q;
	uint16_t *used; /* how often; saturates */
	uint64_t n;
	uint64_t not_alone; /* clusters that say 'used once' and are not; after the second walk */
	bool second;
};

static void count(struct census *census, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n && i < census->n; i++) {
		if (census->used[i] < UINT16_MAX)
			census->used[i]++;
	}
}

static void visit(struct census *census, uint64_t first, uint64_t n, bool owned)
{
	if (!census->second)
		count(census, first, n);
	else if (owned && first < census->n && census->used[first] != 1)
		census->not_alone++;
}

static int visit_entry(struct census *census, uint64_t entry, venv_error **err)
{
	const struct qcow2 *q = census->q;
	uint64_t first, last;
	struct cluster c;
	int r = entry ? venv__qcow2_decode(census->q, entry, &c, err) : 0;

	if (r < 0 || !entry || (!c.host && c.kind != LAYER_PACKED))
		return r;
	first = last = c.host >> q->cluster_bits;
	if (c.kind == LAYER_PACKED)
		last = (c.host + c.packed_size - 1) >> q->cluster_bits;
	visit(census, first, last - first + 1, c.owned);
	return 0;
}

static int visit_l2(struct census *census, uint64_t l1, venv_error **err)
{
	struct qcow2 *q = census->q;
	int r = venv__pread_all(q->disk.fd, q->scratch, q->cluster_size, l1 & L2_OFFSET);

	if (r < 0)
		return venv__qcow2_io(q, r, err);
	visit(census, (l1 & L2_OFFSET) >> q->cluster_bits, 1, l1 & L2_OWNED);
	for (uint64_t i = 0; r >= 0 && i < q->cluster_size / 8; i++)
		r = visit_entry(census, get_be64(q->scratch + i * 8), err);
	return r;
}

static int walk(struct census *census, venv_error **err)
{
	struct qcow2 *q = census->q;
	uint64_t tables = 0;
	int r = 0;

	visit(census, 0, 1, false);
	visit(census, q->header.l1_offset >> q->cluster_bits, clusters_of(q, q->l1.n * 8), false);
	for (uint64_t i = 0; r >= 0 && i < q->l1.n; i++) {
		if (!(q->l1.entry[i] & L2_OFFSET))
			continue;
		/* one that is named again and again would be read again and again */
		if (++tables > census->n)
			return venv__qcow2_corrupt(q, err, "it has more tables than room for them");
		r = visit_l2(census, q->l1.entry[i], err);
	}
	return r;
}

static int take_census(struct qcow2 *q, struct census *census, venv_error **err)
{
	int r;

	if (q->header.n_snapshots)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "disk '%s' has snapshots inside: use qemu-img check",
				  q->disk.name);
	if (q->file_end > CLUSTERS_MAX)
		return venv__fail(err, VENV_ERR_UNSUPPORTED, "disk '%s' is too large to be checked",
				  q->disk.name);
	*census = (struct census){ .q = q, .n = q->file_end };
	census->used = calloc(census->n + 1, sizeof(*census->used));
	if (!census->used)
		return venv__fail_nomem(err);
	r = walk(census, err);
	census->second = true;
	return r < 0 ? r : walk(census, err);
}

/* ---- comparing -------------------------------------------------------------------------------------- */

static void count_refs(struct census *census)
{
	const struct qcow2 *q = census->q;

	count(census, q->header.refs_offset >> q->cluster_bits, q->header.refs_clusters);
	for (uint64_t i = 0; i < q->refs.n; i++) {
		if (q->refs.entry[i])
			count(census, q->refs.entry[i] >> q->cluster_bits, 1);
	}
}

static int compare(struct census *census, struct disk_check *ret, venv_error **err)
{
	for (uint64_t i = 0; i < census->n; i++) {
		uint64_t counted;
		int r = venv__qcow2_count(census->q, i, &counted, err);

		if (r < 0)
			return r;
		ret->clusters += census->used[i] > 0;
		ret->leaks += counted > census->used[i];
		ret->errors += counted < census->used[i];
	}
	ret->errors += census->not_alone;
	return 0;
}

int venv__qcow2_check(struct disk *disk, struct disk_check *ret, venv_error **err)
{
	struct qcow2 *q = qcow2_of(disk);
	struct census census = { 0 };
	int r = 0;

	*ret = (struct disk_check){ 0 };
	if (!disk->read_only && !q->corrupt)
		r = venv__qcow2_sync_tables(q, err);
	else if (!q->refs.entry)
		r = venv__qcow2_load_refs(q, err);
	if (r >= 0)
		r = take_census(q, &census, err);
	if (r >= 0) {
		count_refs(&census);
		r = compare(&census, ret, err);
	}
	free(census.used);
	return r;
}

/* ---- making anew -------------------------------------------------------------------------------------- */

/* Show the new counts, and no longer dirty: fields of one sector, by one write. */
static int put_refs(struct qcow2 *q, const struct refs_plan *plan, venv_error **err)
{
	uint8_t field[AT_COMPATIBLE - AT_REFS_OFFSET];
	struct qcow2_header *h = &q->header;
	int r = venv__qcow2_barrier(q, err);

	if (r < 0)
		return r;
	h->refs_offset = (plan->start + plan->n_blocks) << q->cluster_bits;
	h->refs_clusters = (uint32_t)plan->table_clusters;
	h->incompatible &= ~(1ULL << QCOW2_DIRTY);
	put_be64(field, h->refs_offset);
	put_be32(field + (AT_REFS_CLUSTERS - AT_REFS_OFFSET), h->refs_clusters);
	put_be32(field + (AT_N_SNAPSHOTS - AT_REFS_OFFSET), h->n_snapshots);
	put_be64(field + (AT_SNAPSHOTS - AT_REFS_OFFSET), h->snapshots_offset);
	put_be64(field + (AT_INCOMPATIBLE - AT_REFS_OFFSET), h->incompatible);
	r = venv__pwrite_all(q->disk.fd, field, sizeof(field), AT_REFS_OFFSET);
	return r < 0 ? venv__qcow2_io(q, r, err) : venv__qcow2_barrier(q, err);
}

static int check_counts(struct census *census, venv_error **err)
{
	struct qcow2 *q = census->q;
	unsigned bits = 1U << q->header.ref_order;

	if (census->not_alone)
		return venv__qcow2_corrupt(q, err, "clusters that are used twice say 'used once'");
	for (uint64_t i = 0; bits < 16 && i < census->n; i++) {
		if (census->used[i] >> bits)
			return venv__qcow2_corrupt(q, err, "a cluster is used too often");
	}
	return 0;
}

int venv__qcow2_rebuild(struct qcow2 *q, venv_error **err)
{
	struct refs_plan plan = {
		.cluster_bits = q->cluster_bits,
		.ref_order = q->header.ref_order,
		.start = q->file_end,
	};
	struct census census = { 0 };
	int r = take_census(q, &census, err);

	if (r >= 0)
		r = check_counts(&census, err);
	venv__refs_plan(&plan, 2 * q->file_end);
	if (r >= 0 && plan.table_clusters << q->cluster_bits > QCOW2_REFS_BYTES_MAX)
		r = venv__fail(err, VENV_ERR_UNSUPPORTED, "disk '%s' is too large to be repaired",
			       q->disk.name);
	if (r >= 0) {
		r = venv__refs_write(q->disk.fd, &plan, census.used, NULL);
		if (r < 0)
			(void)venv__qcow2_io(q, r, err);
	}
	free(census.used);
	if (r < 0)
		return r;
	q->file_end = q->fresh_from = plan.end;
	return put_refs(q, &plan, err);
}
