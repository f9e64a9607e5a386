/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refcount structures made anew: for an image being made, for one whose counts are to be made from its
 * tables, and for one that outgrew its refcount table.
 *
 * They count themselves: new blocks and the table that finds them are put one after the other behind all
 * that is counted, as many as it takes to count them too. Nothing points to them before the header does.
 */
#include "bytes.h"
#include "qcow2.h"

uint64_t venv__ref_get(const void *block, unsigned order, uint64_t i)
{
	const uint8_t *at = (const uint8_t *)block + (i << order) / 8;

	switch (order) {
	case 3:
		return *at;
	case 4:
		return get_be16(at);
	case 5:
		return get_be32(at);
	case 6:
		return get_be64(at);
	default: /* the lower bits first */
		return *at >> (i << order) % 8 & ((1U << (1U << order)) - 1);
	}
}

void venv__ref_set(void *block, unsigned order, uint64_t i, uint64_t value)
{
	uint8_t *at = (uint8_t *)block + (i << order) / 8;
	unsigned mask, shift;

	switch (order) {
	case 3:
		*at = (uint8_t)value;
		return;
	case 4:
		put_be16(at, (uint16_t)value);
		return;
	case 5:
		put_be32(at, (uint32_t)value);
		return;
	case 6:
		put_be64(at, value);
		return;
	default:
		mask = (1U << (1U << order)) - 1;
		shift = (unsigned)((i << order) % 8);
		*at = (uint8_t)((*at & ~(mask << shift)) | ((unsigned)value & mask) << shift);
	}
}

static uint64_t divide_up(uint64_t n, unsigned bits)
{
	return (n >> bits) + ((n & ((1ULL << bits) - 1)) != 0);
}

void venv__refs_plan(struct refs_plan *plan, uint64_t reserve)
{
	unsigned ref_bits = plan->cluster_bits + 3 - plan->ref_order;
	uint64_t before;

	plan->n_blocks = plan->table_clusters = 0;
	do {
		before = plan->n_blocks + plan->table_clusters;
		plan->end = plan->start + before;
		plan->n_blocks = divide_up(plan->end, ref_bits) - plan->first_block;
		plan->table_clusters = divide_up(divide_up(MAX(plan->end, reserve), ref_bits),
						 plan->cluster_bits - 3);
	} while (plan->n_blocks + plan->table_clusters != before);
}

static uint64_t count_of(const struct refs_plan *plan, const uint16_t *counts, uint64_t cluster)
{
	if (cluster >= plan->start)
		return cluster < plan->end;
	return counts ? counts[cluster] : 0;
}

int venv__refs_write(int fd, const struct refs_plan *plan, const uint16_t *counts,
		     const uint64_t *old)
{
	uint64_t size = 1ULL << plan->cluster_bits, at = plan->start << plan->cluster_bits;
	uint64_t per_block = 1ULL << (plan->cluster_bits + 3 - plan->ref_order);
	_cleanup_free_ uint8_t *block = malloc(size);
	_cleanup_free_ uint64_t *table = calloc(plan->table_clusters, size);
	int r = block && table ? 0 : -ENOMEM;

	for (uint64_t i = 0; r >= 0 && i < plan->first_block; i++)
		table[i] = htobe64(old[i]);
	for (uint64_t b = 0; r >= 0 && b < plan->n_blocks; b++, at += size) {
		uint64_t cluster = (plan->first_block + b) * per_block;

		memset(block, 0, size);
		for (uint64_t i = 0; i < per_block; i++)
			venv__ref_set(block, plan->ref_order, i,
				      count_of(plan, counts, cluster + i));
		r = venv__pwrite_all(fd, block, size, at);
		table[plan->first_block + b] = htobe64(at);
	}
	return r < 0 ? r : venv__pwrite_all(fd, table, plan->table_clusters * size, at);
}

/* The table as the header shows it, from now on. */
static int switch_table(struct qcow2 *q, const struct refs_plan *plan, venv_error **err)
{
	uint8_t field[12];
	uint64_t at = (plan->start + plan->n_blocks) << plan->cluster_bits;
	int r = venv__qcow2_barrier(q, err);

	if (r < 0)
		return r;
	put_be64(field, at);
	put_be32(field + 8, (uint32_t)plan->table_clusters);
	r = venv__pwrite_all(q->disk.fd, field, sizeof(field), AT_REFS_OFFSET);
	if (r < 0)
		return venv__qcow2_io(q, r, err);
	q->header.refs_offset = at;
	q->header.refs_clusters = (uint32_t)plan->table_clusters;
	return venv__qcow2_barrier(q, err);
}

static int claim_new(struct qcow2 *q, const struct refs_plan *plan, venv_error **err)
{
	for (uint64_t i = plan->start; i < plan->end; i++) {
		int r = venv__set_add(&q->tables, i);

		if (r == -EEXIST)
			return venv__qcow2_corrupt(q, err, "a table is not counted");
		if (r < 0)
			return venv__fail_nomem(err);
	}
	return 0;
}

int venv__qcow2_grow_refs(struct qcow2 *q, uint64_t block, venv_error **err)
{
	struct refs_plan plan = {
		.cluster_bits = q->cluster_bits,
		.ref_order = q->header.ref_order,
		.first_block = q->refs.n,
		.start = q->refs.n << q->ref_bits,
	};
	uint64_t old = q->header.refs_offset >> q->cluster_bits, n_old = q->header.refs_clusters;
	int r;

	venv__refs_plan(&plan, MAX(2 * q->refs.n, block + 1) << q->ref_bits);
	if (plan.table_clusters << q->cluster_bits > QCOW2_REFS_BYTES_MAX)
		return venv__fail(err, VENV_ERR_SYSTEM, "disk '%s' is too large", q->disk.name);
	r = claim_new(q, &plan, err);
	if (r < 0)
		return r;
	/* what the old table finds must be right when the new one takes its place */
	r = venv__slices_write(&q->ref_slices);
	if (r >= 0)
		r = venv__refs_write(q->disk.fd, &plan, NULL, q->refs.entry);
	if (r < 0) {
		for (uint64_t i = plan.start; i < plan.end; i++)
			venv__set_remove(&q->tables, i);
		return venv__qcow2_io(q, r, err);
	}
	q->unsynced = true;
	q->file_end = MAX(q->file_end, plan.end);
	q->fresh_from = MAX(q->fresh_from, plan.end);
	r = switch_table(q, &plan, err);
	if (r >= 0)
		r = venv__table_load(q, &q->refs, q->header.refs_offset,
				     (plan.table_clusters << q->cluster_bits) / 8, err);
	return r < 0 ? r : venv__qcow2_free(q, old, n_old, err);
}
