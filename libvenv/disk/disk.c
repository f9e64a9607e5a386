/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What callers do with a disk: bounds, the lock, and reading through the chain.
 *
 * Theory of operation: an overlay knows which parts it holds itself; the rest is looked for in the image
 * below, and so on. layer_find() walks down until an image knows, cutting the question where an image
 * ends (beyond its end there are zeroes). Only the topmost image is ever changed.
 */
#include <string.h>

#include "layer.h"

int venv__layer_init(struct disk *layer, const struct layer_ops *ops, int fd, const char *name,
		     bool read_only, venv_error **err)
{
	char *copy = strdup(name);
	int r;

	if (!copy)
		return venv__fail_nomem(err);
	r = pthread_mutex_init(&layer->lock, NULL);
	if (r) {
		free(copy);
		return venv__fail_errno(err, r, "cannot make a lock");
	}
	layer->ops = ops;
	layer->fd = fd;
	layer->name = copy;
	layer->read_only = read_only;
	return 0;
}

void venv__layer_done(struct disk *layer)
{
	if (layer->fd >= 0)
		(void)close(layer->fd);
	free(layer->name);
	(void)pthread_mutex_destroy(&layer->lock);
}

int venv__layer_sync(struct disk *layer)
{
	if (!layer->lost && fdatasync(layer->fd) < 0)
		layer->lost = errno;
	return -layer->lost;
}

int venv__layer_find(struct disk *layer, uint64_t offset, uint64_t length, struct layer_run *run,
		     struct disk **owner, venv_error **err)
{
	for (; layer; layer = layer->below) {
		int r;

		if (offset >= layer->length)
			break;
		length = MIN(length, layer->length - offset);
		r = layer->ops->find(layer, offset, length, run, err);
		if (r < 0)
			return r;
		*owner = layer;
		if (run->kind != LAYER_HOLE)
			return 0;
		length = run->length;
	}
	*run = (struct layer_run){ .kind = LAYER_ZEROES, .length = length };
	return 0;
}

int venv__layer_read(struct disk *layer, uint64_t offset, struct vec *vec, uint64_t length,
		     venv_error **err)
{
	struct disk *owner = layer;
	struct layer_run run;

	for (; length; length -= run.length, offset += run.length) {
		int r = venv__layer_find(layer, offset, length, &run, &owner, err);

		if (r < 0)
			return r;
		if (run.kind == LAYER_ZEROES)
			venv__vec_zero(vec, run.length);
		else if (run.kind == LAYER_PACKED)
			r = owner->ops->unpack(owner, offset, vec, run.length, err);
		else
			r = venv__vec_pread(vec, owner->fd, run.host, run.length);
		if (r < 0 && run.kind == LAYER_DATA)
			return venv__fail_errno(err, -r, "cannot read disk '%s'", owner->name);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- what callers call ----------------------------------------------------------------------- */

static int check_range(const struct disk *disk, uint64_t offset, uint64_t length, bool change,
		       venv_error **err)
{
	if (offset > disk->length || length > disk->length - offset)
		return venv__fail(err, VENV_ERR_INVALID, "beyond the end of disk '%s'", disk->name);
	if (change && disk->read_only)
		return venv__fail(err, VENV_ERR_DENIED, "disk '%s' is read-only", disk->name);
	return 0;
}

uint64_t venv__disk_length(const struct disk *disk)
{
	return disk->length;
}

bool venv__disk_is_read_only(const struct disk *disk)
{
	return disk->read_only;
}

unsigned venv__disk_granularity(const struct disk *disk)
{
	return disk->granularity;
}

int venv__disk_readv(struct disk *disk, uint64_t offset, const struct iovec *iov, size_t n_iov,
		     venv_error **err)
{
	struct vec vec = { .iov = iov, .n = n_iov };
	uint64_t length = venv__iov_length(iov, n_iov);
	int r = check_range(disk, offset, length, false, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&disk->lock);
	r = venv__layer_read(disk, offset, &vec, length, err);
	(void)pthread_mutex_unlock(&disk->lock);
	return r;
}

int venv__disk_writev(struct disk *disk, uint64_t offset, const struct iovec *iov, size_t n_iov,
		      venv_error **err)
{
	struct vec vec = { .iov = iov, .n = n_iov };
	uint64_t length = venv__iov_length(iov, n_iov);
	int r = check_range(disk, offset, length, true, err);

	if (r < 0 || !length)
		return r;
	(void)pthread_mutex_lock(&disk->lock);
	r = disk->ops->write(disk, offset, &vec, length, err);
	(void)pthread_mutex_unlock(&disk->lock);
	return r;
}

int venv__disk_read(struct disk *disk, uint64_t offset, void *data, size_t length, venv_error **err)
{
	struct iovec iov = { data, length };

	return venv__disk_readv(disk, offset, &iov, 1, err);
}

int venv__disk_write(struct disk *disk, uint64_t offset, const void *data, size_t length,
		     venv_error **err)
{
	struct iovec iov = { (void *)(uintptr_t)data, length };

	return venv__disk_writev(disk, offset, &iov, 1, err);
}

int venv__disk_flush(struct disk *disk, venv_error **err)
{
	int r;

	if (disk->read_only)
		return 0;
	(void)pthread_mutex_lock(&disk->lock);
	if (disk->lost)
		r = venv__fail_errno(
			err, disk->lost,
			"an earlier flush of disk '%s' failed: what was written before may be lost",
			disk->name);
	else
		r = disk->ops->flush(disk, err);
	(void)pthread_mutex_unlock(&disk->lock);
	return r;
}

int venv__disk_write_zeroes(struct disk *disk, uint64_t offset, uint64_t length, bool unmap,
			    venv_error **err)
{
	int r = check_range(disk, offset, length, true, err);

	if (r < 0 || !length)
		return r;
	(void)pthread_mutex_lock(&disk->lock);
	r = disk->ops->zero(disk, offset, length, unmap, err);
	(void)pthread_mutex_unlock(&disk->lock);
	return r;
}

int venv__disk_discard(struct disk *disk, uint64_t offset, uint64_t length, venv_error **err)
{
	int r = check_range(disk, offset, length, true, err);

	if (r < 0 || !length)
		return r;
	(void)pthread_mutex_lock(&disk->lock);
	r = disk->ops->discard(disk, offset, length, err);
	(void)pthread_mutex_unlock(&disk->lock);
	return r;
}

int venv__disk_map(struct disk *disk, uint64_t offset, uint64_t length, bool write,
		   struct disk_extent *ret, venv_error **err)
{
	struct disk *owner = disk;
	struct layer_run run;
	int r = check_range(disk, offset, length, write, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&disk->lock);
	if (write)
		r = disk->ops->find(disk, offset, length, &run, err);
	else
		r = venv__layer_find(disk, offset, length, &run, &owner, err);
	(void)pthread_mutex_unlock(&disk->lock);
	if (r < 0)
		return r;
	*ret = (struct disk_extent){ .place = DISK_CALL, .fd = -1, .length = run.length };
	if (run.kind == LAYER_ZEROES && !write)
		ret->place = DISK_ZEROES;
	/* what the next write may leave to others is not read by itself either */
	if (run.kind != LAYER_DATA || (!run.overwrites && !owner->read_only))
		return 0;
	ret->place = DISK_FILE;
	ret->fd = owner->fd;
	ret->offset = run.host;
	return 0;
}

int venv__disk_flush_fd(struct disk *disk)
{
	bool flat;

	(void)pthread_mutex_lock(&disk->lock);
	flat = !disk->lost && disk->ops->is_flat(disk);
	(void)pthread_mutex_unlock(&disk->lock);
	return flat ? disk->fd : -1;
}

void venv__disk_flush_failed(struct disk *disk, int error)
{
	(void)pthread_mutex_lock(&disk->lock);
	disk->lost = error;
	(void)pthread_mutex_unlock(&disk->lock);
}

int venv__disk_grow(struct disk *disk, uint64_t length, venv_error **err)
{
	int r = check_range(disk, 0, 0, true, err);

	if (r < 0)
		return r;
	if (length < disk->length)
		return venv__fail(err, VENV_ERR_INVALID, "a disk cannot become smaller");
	if (length > INT64_MAX - 511)
		return venv__fail(err, VENV_ERR_INVALID, "too large for a disk");
	length = (length + 511) & ~511ULL;
	(void)pthread_mutex_lock(&disk->lock);
	if (length > disk->length)
		r = disk->ops->grow(disk, length, err);
	(void)pthread_mutex_unlock(&disk->lock);
	return r;
}

int venv__disk_check(struct disk *disk, struct disk_check *ret, venv_error **err)
{
	int r;

	(void)pthread_mutex_lock(&disk->lock);
	r = disk->ops->check(disk, ret, err);
	(void)pthread_mutex_unlock(&disk->lock);
	return r;
}

int venv__disk_close(struct disk *disk, venv_error **err)
{
	int result = 0;

	while (disk) {
		struct disk *below = disk->below;
		int r = disk->ops->close(disk, result < 0 ? NULL : err);

		result = result < 0 ? result : r;
		disk = below;
	}
	return result;
}
