/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 images (docs/interop/qcow2.txt of QEMU says what the fields mean).
 *
 * Theory of operation: the guest's clusters are found by two levels of tables, L1 (one, in memory as a
 * whole) and L2 (read in slices of at most 4 KiB, cached). How often each of the file's clusters is used
 * is counted in refcount blocks (cached slices too), which a refcount table (in memory) finds.
 *   Changes stay in the caches until a flush, or until a cache has no room. Whatever ends this process at
 * whatever moment must leave an image whose counts are not too low and whose tables say the truth; so
 * sync_tables() (qcow2.c) writes in this order, each step lasting before the next one begins:
 *     data, refcount blocks, refcount table, L2, L1; then what nothing points to any more is given back.
 * Until that last step, a cluster that was let go keeps its count, so that nothing new is put there while
 * an old table on the disk still shows it. What may be lost at any moment is what was not flushed, and
 * room (a leak); `qemu-img check` finds nothing else.
 *   A table that contradicts itself marks the image corrupt: it can be read from then on, not written.
 */
#ifndef VENV_DISK_QCOW2_H
#define VENV_DISK_QCOW2_H

#include "layer.h"
#include "qcow2_header.h"
#include "set.h"
#include "slices.h"

#define L2_OFFSET 0x00fffffffffffe00ULL /* of L1 entries too */
#define L2_OWNED (1ULL << 63)           /* used once: may be written in place */
#define L2_PACKED (1ULL << 62)
#define L2_ZERO 1ULL
#define L2_RESERVED 0x3f000000000001feULL
#define L1_RESERVED 0x7f000000000001ffULL

enum {
	SLICE_SIZE_MAX = 4096,
	L2_SLICES_MAX = 256, /* 1 MiB: 8 GiB of disk with clusters of 64 KiB */
	REF_SLICES_MAX = 64,
	FREED_MAX = 1024,
};

struct zip;

struct freed {
	uint64_t first, n; /* clusters */
};

struct table { /* in memory as a whole, as numbers of the host */
	uint64_t *entry;
	uint64_t n;
	uint64_t dirty_from, dirty_to; /* entries to be written; from == to: none */
};

struct qcow2 {
	struct disk disk; /* first */
	struct qcow2_header header;
	unsigned cluster_bits;
	uint64_t cluster_size;
	unsigned l2_bits;      /* log2 of the entries of an L2 table */
	unsigned ref_bits;     /* log2 of the entries of a refcount block */
	uint64_t file_end;     /* clusters of the file, the last one perhaps not whole */
	uint64_t fresh_from;   /* the cluster from which on nothing was ever written */
	uint64_t free_at;      /* no cluster below it is free */
	struct table l1, refs; /* refs: the refcount table */
	struct slices l2_slices, ref_slices;
	struct set tables;             /* clusters that hold tables: never a guest's data */
	struct freed freed[FREED_MAX]; /* let go, still counted */
	size_t n_freed;
	bool unsynced; /* something was written since the last fdatasync() */
	bool corrupt;
	uint8_t *scratch; /* a cluster, for what is copied on write */
	struct zip *zip;
};

static inline struct qcow2 *qcow2_of(struct disk *disk)
{
	return CONTAINER_OF(disk, struct qcow2, disk);
}

static inline uint64_t clusters_of(const struct qcow2 *q, uint64_t bytes)
{
	return (bytes >> q->cluster_bits) + ((bytes & (q->cluster_size - 1)) != 0);
}

static inline uint64_t l1_index(const struct qcow2 *q, uint64_t offset)
{
	return offset >> (q->cluster_bits + q->l2_bits);
}

/* Mark the image and refuse to change it from now on. @return VENV_ERR_CORRUPT */
int venv__qcow2_corrupt(struct qcow2 *q, venv_error **err, const char *format, ...) _printf_(3, 4);

/* qcow2.c: the order of writing */
int venv__qcow2_sync_tables(struct qcow2 *q, venv_error **err);
int venv__qcow2_barrier(struct qcow2 *q, venv_error **err);         /* what was written lasts */
int venv__qcow2_io(const struct qcow2 *q, int r, venv_error **err); /* of a -errno */

/* qcow2_table.c: tables in memory as a whole */
int venv__table_load(struct qcow2 *q, struct table *table, uint64_t offset, uint64_t n,
		     venv_error **err);
int venv__table_write(struct qcow2 *q, struct table *table, uint64_t offset, venv_error **err);
void venv__table_set(struct table *table, uint64_t i, uint64_t value);
int venv__qcow2_load_tables(struct qcow2 *q, venv_error **err);
int venv__qcow2_load_refs(struct qcow2 *q, venv_error **err);

/* qcow2_map.c: from the guest's offsets to the file's */
struct cluster { /* what an L2 entry says */
	enum layer_kind kind;
	bool owned;
	uint64_t host;        /* DATA; ZEROES: 0 or a cluster that is kept; PACKED: in bytes */
	uint64_t packed_size; /* PACKED: in bytes */
};
/* @return 0 or a negative code: the entry is none */
int venv__qcow2_decode(struct qcow2 *q, uint64_t entry, struct cluster *ret, venv_error **err);
/* ret_entry: big-endian, of the cluster at offset and the *ret_n - 1 that follow; NULL: all of them are
 * 0. Valid until the next call. make: there must be a table, and one that may be written. */
int venv__qcow2_entries(struct qcow2 *q, uint64_t offset, bool make, uint64_t **ret_entry,
			uint64_t *ret_n, venv_error **err);
int venv__qcow2_find(struct disk *disk, uint64_t offset, uint64_t length, struct layer_run *ret,
		     venv_error **err);
/* Change n entries at offset, which venv__qcow2_entries() with make was called for. Entry i becomes
 * value + i * step. */
int venv__qcow2_set_entries(struct qcow2 *q, uint64_t offset, uint64_t n, uint64_t value,
			    uint64_t step, venv_error **err);

/* qcow2_alloc.c: who uses the file's clusters */
int venv__qcow2_count(struct qcow2 *q, uint64_t cluster, uint64_t *ret, venv_error **err);
/* A run of at most want free clusters (whole: exactly), counted once. */
int venv__qcow2_alloc(struct qcow2 *q, uint64_t want, bool whole, uint64_t *ret_first,
		      uint64_t *ret_n, venv_error **err);
/* Take back what nothing ever pointed to. */
void venv__qcow2_unalloc(struct qcow2 *q, uint64_t first, uint64_t n);
/* Let go of clusters: given back by release() when no table on the disk shows them any more. */
int venv__qcow2_free(struct qcow2 *q, uint64_t first, uint64_t n, venv_error **err);
int venv__qcow2_release(struct qcow2 *q, venv_error **err);
/* Clusters for a table, with zeroes on the disk. *ret: the first */
int venv__qcow2_alloc_table(struct qcow2 *q, uint64_t n, uint64_t *ret, venv_error **err);

/* qcow2_refs.c: refcount structures made anew */
struct refs_plan {
	unsigned cluster_bits, ref_order;
	uint64_t first_block; /* blocks before are kept */
	uint64_t start;       /* the cluster where the new blocks begin; the table follows */
	uint64_t n_blocks, table_clusters;
	uint64_t end; /* the first cluster after all of it */
};
/* reserve: clusters that the table must have room for */
void venv__refs_plan(struct refs_plan *plan, uint64_t reserve);
/* counts: of the clusters before start; NULL: none is used. old: first_block entries */
int venv__refs_write(int fd, const struct refs_plan *plan, const uint16_t *counts,
		     const uint64_t *old);
int venv__qcow2_grow_refs(struct qcow2 *q, uint64_t block, venv_error **err);
uint64_t venv__ref_get(const void *block, unsigned order, uint64_t i);
void venv__ref_set(void *block, unsigned order, uint64_t i, uint64_t value);

/* qcow2_write.c, qcow2_zero.c, qcow2_zip.c, qcow2_check.c, qcow2_grow.c */
int venv__qcow2_write(struct disk *disk, uint64_t offset, struct vec *vec, uint64_t length,
		      venv_error **err);
int venv__qcow2_zero(struct disk *disk, uint64_t offset, uint64_t length, bool unmap,
		     venv_error **err);
int venv__qcow2_discard(struct disk *disk, uint64_t offset, uint64_t length, venv_error **err);
int venv__qcow2_unpack(struct disk *disk, uint64_t offset, struct vec *vec, uint64_t length,
		       venv_error **err);
void venv__zip_free(struct zip *zip);
int venv__qcow2_free_entry(struct qcow2 *q, const struct cluster *cluster, venv_error **err);
int venv__qcow2_check(struct disk *disk, struct disk_check *ret, venv_error **err);
int venv__qcow2_rebuild(struct qcow2 *q, venv_error **err); /* the refcounts, from the tables */
int venv__qcow2_grow(struct disk *disk, uint64_t length, venv_error **err);

#endif
