/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2 as a layer: opening, closing, and the order in which changes reach the disk. */
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "bytes.h"
#include "qcow2.h"

int venv__qcow2_io(const struct qcow2 *q, int r, venv_error **err)
{
	return venv__fail_errno(err, -r, "disk '%s'", q->disk.name);
}

int venv__qcow2_barrier(struct qcow2 *q, venv_error **err)
{
	int r = venv__layer_sync(&q->disk);

	if (r < 0)
		return venv__qcow2_io(q, r, err);
	q->unsynced = false;
	return 0;
}

int venv__qcow2_corrupt(struct qcow2 *q, venv_error **err, const char *format, ...)
{
	char what[128];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (!q->corrupt && !q->disk.read_only && q->header.version > 2) {
		q->header.incompatible |= 1ULL << QCOW2_CORRUPT;
		(void)venv__qcow2_header_put64(q->disk.fd, AT_INCOMPATIBLE, q->header.incompatible);
	}
	q->corrupt = true;
	q->n_freed = 0; /* who knows: rather a leak */
	return venv__fail(err, VENV_ERR_CORRUPT, "disk '%s' is damaged: %s", q->disk.name, what);
}

/* ---- the order of writing ---------------------------------------------------------------------- */

static bool refs_dirty(const struct qcow2 *q)
{
	return q->ref_slices.n_dirty;
}

static int write_ref_slices(struct qcow2 *q, venv_error **err)
{
	int r = venv__slices_write(&q->ref_slices);

	return r < 0 ? venv__qcow2_io(q, r, err) : 0;
}

static bool table_dirty(const struct qcow2 *q)
{
	return q->refs.dirty_from < q->refs.dirty_to;
}

static int write_table(struct qcow2 *q, venv_error **err)
{
	return venv__table_write(q, &q->refs, q->header.refs_offset, err);
}

static bool l2_dirty(const struct qcow2 *q)
{
	return q->l2_slices.n_dirty;
}

static int write_l2_slices(struct qcow2 *q, venv_error **err)
{
	int r = venv__slices_write(&q->l2_slices);

	return r < 0 ? venv__qcow2_io(q, r, err) : 0;
}

static bool l1_dirty(const struct qcow2 *q)
{
	return q->l1.dirty_from < q->l1.dirty_to;
}

static int write_l1(struct qcow2 *q, venv_error **err)
{
	return venv__table_write(q, &q->l1, q->header.l1_offset, err);
}

static bool any_freed(const struct qcow2 *q)
{
	return q->n_freed;
}

/* Each may rely on what stands above it, so that must last first. Counts need nothing. */
static const struct {
	bool (*is_due)(const struct qcow2 *q);
	int (*write)(struct qcow2 *q, venv_error **err);
	bool waits;
} stages[] = {
	{ refs_dirty, write_ref_slices, false },  { table_dirty, write_table, true },
	{ l2_dirty, write_l2_slices, true },      { l1_dirty, write_l1, true },
	{ any_freed, venv__qcow2_release, true }, { refs_dirty, write_ref_slices, false },
};

int venv__qcow2_sync_tables(struct qcow2 *q, venv_error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		int r;

		if (!stages[i].is_due(q))
			continue;
		r = stages[i].waits && q->unsynced ? venv__qcow2_barrier(q, err) : 0;
		if (r >= 0)
			r = stages[i].write(q, err);
		if (r < 0)
			return r;
		q->unsynced = true;
	}
	return 0;
}

static int flush(struct disk *disk, venv_error **err)
{
	struct qcow2 *q = qcow2_of(disk);
	int r = q->corrupt ? 0 : venv__qcow2_sync_tables(q, err);

	/* also for what callers wrote in place, which is not known here */
	return r < 0 ? r : venv__qcow2_barrier(q, err);
}

static bool is_flat(struct disk *disk)
{
	const struct qcow2 *q = qcow2_of(disk);

	return q->corrupt ||
	       (!q->n_freed && !refs_dirty(q) && !table_dirty(q) && !l2_dirty(q) && !l1_dirty(q));
}

/* ---- opening and closing -------------------------------------------------------------------------- */

static void free_qcow2(struct qcow2 *q)
{
	venv__slices_done(&q->l2_slices);
	venv__slices_done(&q->ref_slices);
	venv__set_done(&q->tables);
	venv__zip_free(q->zip);
	free(q->l1.entry);
	free(q->refs.entry);
	free(q->scratch);
	venv__layer_done(&q->disk);
	free(q);
}

static int close_qcow2(struct disk *disk, venv_error **err)
{
	struct qcow2 *q = qcow2_of(disk);
	int r = disk->read_only ? 0 : flush(disk, err);

	/* room that was made for clusters to come, but none came */
	if (r >= 0 && !disk->read_only && !q->corrupt && q->fresh_from < q->file_end &&
	    ftruncate(disk->fd, (off_t)(q->fresh_from << q->cluster_bits)) < 0)
		r = venv__qcow2_io(q, -errno, err);
	free_qcow2(q);
	return r;
}

static const struct layer_ops qcow2_ops = {
	.find = venv__qcow2_find,
	.unpack = venv__qcow2_unpack,
	.write = venv__qcow2_write,
	.zero = venv__qcow2_zero,
	.discard = venv__qcow2_discard,
	.flush = flush,
	.is_flat = is_flat,
	.grow = venv__qcow2_grow,
	.check = venv__qcow2_check,
	.close = close_qcow2,
};

static int set_up(struct qcow2 *q, venv_error **err)
{
	const struct qcow2_header *h = &q->header;
	uint64_t slice;
	off_t end = lseek(q->disk.fd, 0, SEEK_END);

	if (end < 0)
		return venv__qcow2_io(q, -errno, err);
	q->disk.length = h->size;
	q->cluster_bits = h->cluster_bits;
	q->cluster_size = 1ULL << h->cluster_bits;
	q->disk.granularity = 1U << h->cluster_bits;
	q->l2_bits = h->cluster_bits - 3;
	q->ref_bits = h->cluster_bits + 3 - h->ref_order;
	q->file_end = q->fresh_from = clusters_of(q, (uint64_t)end);
	slice = MIN(q->cluster_size, (uint64_t)SLICE_SIZE_MAX);
	q->scratch = malloc(q->cluster_size);
	if (!q->scratch || venv__slices_init(&q->l2_slices, q->disk.fd, slice, L2_SLICES_MAX) < 0 ||
	    venv__slices_init(&q->ref_slices, q->disk.fd, slice, REF_SLICES_MAX) < 0)
		return venv__fail_nomem(err);
	return 0;
}

/* Who writes to an image must not leave what others keep in it and what would not fit any more. */
static int prepare_to_write(struct qcow2 *q, venv_error **err)
{
	struct qcow2_header *h = &q->header;
	int r = 0;

	if (h->incompatible >> QCOW2_CORRUPT & 1) {
		r = venv__fail(err, VENV_ERR_CORRUPT,
			       "disk '%s' is marked as corrupt: it can only be read", q->disk.name);
		return venv__hint(r, err, "repair it: qemu-img check -r all FILE");
	}
	if (h->incompatible >> QCOW2_DIRTY & 1)
		r = venv__qcow2_rebuild(q, err);
	if (r >= 0)
		r = venv__qcow2_load_refs(q, err);
	if (r < 0 || !h->autoclear)
		return r;
	h->autoclear = 0;
	r = venv__qcow2_header_put64(q->disk.fd, AT_AUTOCLEAR, 0);
	return r < 0 ? venv__qcow2_io(q, r, err) : 0;
}

static int open_tables(struct qcow2 *q, const char *name, venv_error **err)
{
	int r = venv__qcow2_header_read(q->disk.fd, name, &q->header, err);

	if (r >= 0)
		r = set_up(q, err);
	if (r >= 0)
		r = venv__qcow2_load_tables(q, err);
	if (r >= 0 && !q->disk.read_only)
		r = prepare_to_write(q, err);
	return r;
}

int venv__qcow2_open(int fd, const char *name, const struct disk_options *options,
		     struct disk **ret, char **ret_backing, enum disk_format *ret_format,
		     venv_error **err)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return venv__fail_nomem(err);
	r = venv__layer_init(&q->disk, &qcow2_ops, fd, name, options->read_only, err);
	if (r < 0) {
		free(q);
		return r;
	}
	r = open_tables(q, name, err);
	*ret_backing = NULL;
	if (r >= 0 && q->header.backing[0]) {
		r = venv__qcow2_backing_format(&q->header, ret_format, err);
		*ret_backing = r < 0 ? NULL : strdup(q->header.backing);
		if (r >= 0 && !*ret_backing)
			r = venv__fail_nomem(err);
	}
	if (r < 0) {
		q->disk.fd = -1; /* the caller's */
		free_qcow2(q);
		return r;
	}
	*ret = &q->disk;
	return 0;
}

int venv__qcow2_info(int fd, const char *name, struct disk_info *ret, venv_error **err)
{
	struct qcow2_header h;
	int r = venv__qcow2_header_read(fd, name, &h, err);

	if (r < 0)
		return r;
	*ret = (struct disk_info){
		.format = DISK_QCOW2,
		.length = h.size,
		.version = h.version,
		.cluster_bits = h.cluster_bits,
		.refcount_bits = 1U << h.ref_order,
		.n_snapshots = h.n_snapshots,
		.dirty = h.incompatible >> QCOW2_DIRTY & 1,
		.corrupt = h.incompatible >> QCOW2_CORRUPT & 1,
		.zstd = h.zstd,
	};
	memcpy(ret->backing, h.backing, sizeof(h.backing));
	return h.backing[0] ? venv__qcow2_backing_format(&h, &ret->backing_format, err) : 0;
}
