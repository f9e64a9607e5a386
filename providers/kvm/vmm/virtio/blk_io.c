/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests do to the disk.
 *
 * Theory of operation: the disk says where the bytes of a request lie. What lies in a file goes from there
 * to the guest's buffers, or back, by the engine, as one operation for each piece; what reads as zeroes is
 * written into the buffers at once; what the disk must do itself (take new clusters, unpack compressed
 * ones) is done by a call on the worker, under the disk's lock. A request is over with its last part.
 *   Discards and zeroes may give room back, which is then somebody else's: no operation may be in flight
 * then, so the engine is drained before. A flush is one operation of the engine while the disk has nothing
 * but data to be flushed, else a call.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk_internal.h"
#include "disk/vec.h"

enum { CALL_IOV_MAX = 256, WARNINGS_MAX = 8 };

struct part {
	struct engine_op op;
	struct blk_request *request;
	struct iovec iov[];
};

void blk_warn(struct blk *blk, const venv_error *error)
{
	if (blk->device.warn && blk->n_warnings++ < WARNINGS_MAX)
		blk->device.warn(blk->device.warn_user, blk->device.ops->name,
				 venv_error_message(error));
}

/* A status for what a call on the disk gave; the error is used up. */
static uint8_t status_of(struct blk *blk, int r, venv_error *error)
{
	if (r >= 0)
		return VIRTIO_BLK_S_OK;
	blk_warn(blk, error);
	venv_error_free(error);
	return VIRTIO_BLK_S_IOERR;
}

static uint8_t status_of_op(struct blk *blk, int result)
{
	venv_error *error = NULL;

	return result < 0 ? status_of(blk, venv__fail_errno(&error, -result, "disk"), error)
			  : VIRTIO_BLK_S_OK;
}

/* ---- data ------------------------------------------------------------------------------------------------ */

static void on_part(struct engine_op *op, int result)
{
	struct part *part = CONTAINER_OF(op, struct part, op);
	struct blk_request *request = part->request;

	free(part);
	blk_end_part(request, status_of_op(request->blk, result));
}

static void on_whole(struct engine_op *op, int result)
{
	struct blk_request *request = CONTAINER_OF(op, struct blk_request, op);

	blk_end_part(request, status_of_op(request->blk, result));
}

static struct engine_op make_op(const struct blk_request *request, const struct disk_extent *extent)
{
	return (struct engine_op){
		.what = request->type == VIRTIO_BLK_T_OUT ? ENGINE_WRITE : ENGINE_READ,
		.fd = extent->fd,
		.offset = extent->offset,
	};
}

/* The whole request is one operation, on its own buffers. */
static void add_whole(struct blk_request *request, const struct disk_extent *extent)
{
	request->op = make_op(request, extent);
	request->op.iov = request->iov;
	request->op.n_iov = (unsigned)request->n_iov;
	request->op.done = on_whole;
	request->parts++;
	engine_add(request->blk->engine, &request->op);
}

static int add_part(struct blk_request *request, const struct disk_extent *extent, struct vec *vec)
{
	struct part *part = malloc(sizeof(*part) + vec->n * sizeof(struct iovec));
	uint64_t length;

	if (!part)
		return -ENOMEM;
	part->request = request;
	part->op = make_op(request, extent);
	part->op.iov = part->iov;
	part->op.n_iov = (unsigned)venv__vec_take(vec, extent->length, part->iov, vec->n, &length);
	part->op.done = on_part;
	request->parts++;
	engine_add(request->blk->engine, &part->op);
	return 0;
}

/* What only the disk can do. */
static int call_disk(const struct blk_request *request, uint64_t offset, uint64_t length,
		     struct vec *vec, venv_error **err)
{
	struct disk *disk = request->blk->disk;
	struct iovec iov[CALL_IOV_MAX];
	uint64_t here;
	int r = 0;

	for (; r >= 0 && length; length -= here, offset += here) {
		size_t n = venv__vec_take(vec, length, iov, CALL_IOV_MAX, &here);

		r = request->type == VIRTIO_BLK_T_OUT ? venv__disk_writev(disk, offset, iov, n, err)
						      : venv__disk_readv(disk, offset, iov, n, err);
	}
	return r;
}

/* One extent of a request. */
static int begin_extent(struct blk_request *request, uint64_t offset,
			const struct disk_extent *extent, struct vec *vec, venv_error **err)
{
	int r = 0;

	switch (extent->place) {
	case DISK_ZEROES:
		venv__vec_zero(vec, extent->length);
		break;
	case DISK_CALL:
		r = call_disk(request, offset, extent->length, vec, err);
		break;
	case DISK_FILE:
		if (extent->length == request->length)
			add_whole(request, extent);
		else if (add_part(request, extent, vec) < 0)
			r = venv__fail_nomem(err);
		break;
	}
	return r;
}

void blk_begin_data(struct blk_request *request)
{
	struct vec vec = { .iov = request->iov, .n = request->n_iov };
	uint64_t offset = request->offset, end = offset + request->length;
	struct blk *blk = request->blk;
	venv_error *error = NULL;
	int r = 0;

	while (r >= 0 && offset < end) {
		struct disk_extent extent;

		r = venv__disk_map(blk->disk, offset, end - offset,
				   request->type == VIRTIO_BLK_T_OUT, &extent, &error);
		if (r >= 0)
			r = begin_extent(request, offset, &extent, &vec, &error);
		if (r >= 0)
			offset += extent.length;
	}
	blk_end_part(request, status_of(blk, r, error));
}

/* ---- flush ------------------------------------------------------------------------------------------------ */

bool blk_is_write_back(const struct blk *blk)
{
	if (virtio_has(&blk->device, VIRTIO_BLK_F_CONFIG_WCE))
		return blk->config.wce;
	return virtio_has(&blk->device, VIRTIO_BLK_F_FLUSH);
}

static void on_flushed(struct engine_op *op, int result)
{
	struct blk_request *request = CONTAINER_OF(op, struct blk_request, op);

	if (result < 0)
		venv__disk_flush_failed(request->blk->disk, -result);
	on_whole(op, result);
}

void blk_begin_flush(struct blk_request *request)
{
	struct blk *blk = request->blk;
	venv_error *error = NULL;
	int r, fd;

	if (venv__disk_is_read_only(blk->disk)) {
		blk_end_part(request, VIRTIO_BLK_S_OK);
		return;
	}
	fd = venv__disk_flush_fd(blk->disk);
	if (fd < 0) {
		r = venv__disk_flush(blk->disk, &error);
		blk_end_part(request, status_of(blk, r, error));
		return;
	}
	request->op = (struct engine_op){ .what = ENGINE_FLUSH, .fd = fd, .done = on_flushed };
	engine_add(blk->engine, &request->op);
}

/* ---- discard and zeroes -------------------------------------------------------------------------------------- */

struct segment {
	uint64_t offset, length; /* bytes */
	bool unmap;
};

/* @return a status */
static uint8_t read_segment(const struct blk_request *request, struct virtq_chain *chain,
			    struct segment *ret)
{
	bool discard = request->type == VIRTIO_BLK_T_DISCARD;
	uint64_t sectors = venv__disk_length(request->blk->disk) >> SECTOR_SHIFT;
	struct virtio_blk_discard_write_zeroes wire;
	uint32_t flags, n;

	if (virtq_chain_read(chain, &wire, sizeof(wire)) < sizeof(wire))
		return VIRTIO_BLK_S_IOERR;
	flags = le32toh(wire.flags);
	n = le32toh(wire.num_sectors);
	if (flags & (discard ? ~0U : ~(uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
		return VIRTIO_BLK_S_UNSUPP;
	if (n > (discard ? (uint32_t)BLK_DISCARD_MAX : (uint32_t)BLK_ZEROES_MAX) ||
	    le64toh(wire.sector) > sectors || n > sectors - le64toh(wire.sector))
		return VIRTIO_BLK_S_IOERR;
	*ret = (struct segment){ le64toh(wire.sector) << SECTOR_SHIFT, (uint64_t)n << SECTOR_SHIFT,
				 flags };
	return VIRTIO_BLK_S_OK;
}

static uint8_t wipe(struct blk *blk, uint32_t type, const struct segment *segment)
{
	venv_error *error = NULL;
	int r;

	if (type == VIRTIO_BLK_T_DISCARD)
		r = venv__disk_discard(blk->disk, segment->offset, segment->length, &error);
	else
		r = venv__disk_write_zeroes(blk->disk, segment->offset, segment->length,
					    segment->unmap, &error);
	return status_of(blk, r, error);
}

void blk_begin_wipe(struct blk_request *request)
{
	struct segment segment[BLK_SEGMENTS_MAX];
	struct blk *blk = request->blk;
	size_t bytes = blk->chain.read_size - sizeof(struct virtio_blk_outhdr);
	size_t n = bytes / sizeof(struct virtio_blk_discard_write_zeroes);
	uint8_t status = VIRTIO_BLK_S_OK;

	if (!n || n > BLK_SEGMENTS_MAX || bytes % sizeof(struct virtio_blk_discard_write_zeroes))
		status = VIRTIO_BLK_S_IOERR;
	for (size_t i = 0; status == VIRTIO_BLK_S_OK && i < n; i++)
		status = read_segment(request, &blk->chain, &segment[i]);
	if (status == VIRTIO_BLK_S_OK)
		engine_drain(blk->engine);
	for (size_t i = 0; status == VIRTIO_BLK_S_OK && i < n; i++)
		status = wipe(blk, request->type, &segment[i]);
	blk_end_part(request, status);
}
