/* SPDX-License-Identifier: Apache-2.0 */
/* The two tables that are in memory as a whole: L1 and the refcount table. */
#include <string.h>

#include "bytes.h"
#include "qcow2.h"

enum { CHUNK = 512 };

int venv__table_load(struct qcow2 *q, struct table *table, uint64_t offset, uint64_t n,
		     venv_error **err)
{
	uint64_t *entry = calloc(n ? n : 1, sizeof(*entry));
	int r;

	if (!entry)
		return venv__fail_nomem(err);
	r = venv__pread_all(q->disk.fd, entry, n * sizeof(*entry), offset);
	if (r < 0) {
		free(entry);
		return venv__qcow2_io(q, r, err);
	}
	for (uint64_t i = 0; i < n; i++)
		entry[i] = be64toh(entry[i]);
	free(table->entry);
	*table = (struct table){ .entry = entry, .n = n };
	return 0;
}

int venv__table_write(struct qcow2 *q, struct table *table, uint64_t offset, venv_error **err)
{
	uint64_t chunk[CHUNK];

	while (table->dirty_from < table->dirty_to) {
		uint64_t n = MIN(table->dirty_to - table->dirty_from, (uint64_t)CHUNK);
		int r;

		for (uint64_t i = 0; i < n; i++)
			chunk[i] = htobe64(table->entry[table->dirty_from + i]);
		r = venv__pwrite_all(q->disk.fd, chunk, n * sizeof(*chunk),
				     offset + table->dirty_from * sizeof(*chunk));
		if (r < 0)
			return venv__qcow2_io(q, r, err);
		table->dirty_from += n;
	}
	return 0;
}

void venv__table_set(struct table *table, uint64_t i, uint64_t value)
{
	bool clean = table->dirty_from >= table->dirty_to;

	table->entry[i] = value;
	table->dirty_from = clean ? i : MIN(table->dirty_from, i);
	table->dirty_to = clean ? i + 1 : MAX(table->dirty_to, i + 1);
}

/* ---- loading: what lies where, each place once --------------------------------------------------- */

static int claim(struct qcow2 *q, uint64_t cluster, uint64_t n, const char *what, venv_error **err)
{
	for (uint64_t i = 0; !q->disk.read_only && i < n; i++) {
		int r = venv__set_add(&q->tables, cluster + i);

		if (r == -EEXIST)
			return venv__qcow2_corrupt(q, err, "%s lies over another table", what);
		if (r < 0)
			return venv__fail_nomem(err);
	}
	return 0;
}

/* An entry that points to a table of one cluster. reserved: bits that must be 0. */
static int claim_entry(struct qcow2 *q, uint64_t entry, uint64_t reserved, const char *what,
		       venv_error **err)
{
	uint64_t offset = entry & L2_OFFSET;

	if (entry & reserved)
		return venv__qcow2_corrupt(q, err, "the entry of %s has reserved bits set", what);
	if (offset & (q->cluster_size - 1))
		return venv__qcow2_corrupt(q, err, "%s does not begin at a cluster", what);
	if (offset >> q->cluster_bits >= q->file_end)
		return venv__qcow2_corrupt(q, err, "%s lies outside of the file", what);
	return offset ? claim(q, offset >> q->cluster_bits, 1, what, err) : 0;
}

static int claim_all(struct qcow2 *q, const struct table *table, uint64_t reserved,
		     const char *what, venv_error **err)
{
	for (uint64_t i = 0; i < table->n; i++) {
		int r = table->entry[i] ? claim_entry(q, table->entry[i], reserved, what, err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

int venv__qcow2_load_tables(struct qcow2 *q, venv_error **err)
{
	const struct qcow2_header *h = &q->header;
	int r = venv__table_load(q, &q->l1, h->l1_offset, h->l1_size, err);

	if (r >= 0)
		r = claim(q, 0, 1, "the header", err);
	if (r >= 0)
		r = claim(q, h->l1_offset >> q->cluster_bits, clusters_of(q, 8ULL * h->l1_size),
			  "the L1 table", err);
	if (r >= 0)
		r = claim_all(q, &q->l1, L1_RESERVED, "an L2 table", err);
	return r;
}

int venv__qcow2_load_refs(struct qcow2 *q, venv_error **err)
{
	const struct qcow2_header *h = &q->header;
	uint64_t n = ((uint64_t)h->refs_clusters << q->cluster_bits) / 8;
	int r = venv__table_load(q, &q->refs, h->refs_offset, n, err);

	if (r >= 0)
		r = claim(q, h->refs_offset >> q->cluster_bits, h->refs_clusters,
			  "the refcount table", err);
	if (r >= 0)
		r = claim_all(q, &q->refs, 0xff000000000001ffULL, "a refcount block", err);
	return r;
}
