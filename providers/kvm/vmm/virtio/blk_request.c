/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a chain of buffers to a request, and back. The rules, each of them a test:
 *   - the header is the first 16 bytes that the device reads, however they are cut up, and is read once
 *   - the status is the last byte that the device writes; without one nothing can be said
 *   - data are whole sectors and lie on the disk as a whole, also when numbers are as large as they get
 *   - nothing changes a disk that is read-only
 *   - an id longer than its buffer is cut; segments of a discard are whole, few, and all right before
 *     the first of them is done
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk_internal.h"

static void answer(struct blk *blk, unsigned queue, uint16_t head, uint32_t written)
{
	virtio_complete(&blk->device, queue, head, written, true);
	blk->answered |= 1U << queue;
}

/* The last part is over. */
static void finish(struct blk_request *request)
{
	uint32_t written = request->result == VIRTIO_BLK_S_OK ? request->written : 0;

	*request->status = request->result;
	/* bytes before the status count as written: the guest looks for it behind them */
	answer(request->blk, request->queue, request->head, written + 1);
	free(request);
}

void blk_end_part(struct blk_request *request, uint8_t result)
{
	if (result != VIRTIO_BLK_S_OK)
		request->result = result;
	if (--request->parts)
		return;
	if (request->type == VIRTIO_BLK_T_OUT && request->result == VIRTIO_BLK_S_OK &&
	    !request->flushing && !blk_is_write_back(request->blk)) {
		request->flushing = true;
		request->parts = 1;
		blk_begin_flush(request);
		return;
	}
	finish(request);
}

/* ---- what each type asks for -------------------------------------------------------------------------- */

/* @return a status: OK when it was begun (and will end), else what is wrong */
static uint8_t begin_data(struct blk_request *request)
{
	struct blk *blk = request->blk;
	uint64_t length = venv__disk_length(blk->disk) & ~(SECTOR_SIZE - 1ULL);

	if (request->type == VIRTIO_BLK_T_OUT && venv__disk_is_read_only(blk->disk))
		return VIRTIO_BLK_S_IOERR;
	if (!request->length || request->length % SECTOR_SIZE)
		return VIRTIO_BLK_S_IOERR;
	if (request->offset > length || request->length > length - request->offset)
		return VIRTIO_BLK_S_IOERR;
	blk_begin_data(request);
	return VIRTIO_BLK_S_OK;
}

static uint8_t begin_flush(struct blk_request *request)
{
	request->flushing = true;
	blk_begin_flush(request);
	return VIRTIO_BLK_S_OK;
}

static uint8_t tell_id(struct blk_request *request)
{
	struct blk *blk = request->blk;
	size_t room = MIN(blk->chain.write_size - 1, (size_t)BLK_SERIAL_SIZE);

	request->written = (uint32_t)virtq_chain_write(&blk->chain, blk->serial, room);
	blk_end_part(request, VIRTIO_BLK_S_OK);
	return VIRTIO_BLK_S_OK;
}

static uint8_t begin_wipe(struct blk_request *request)
{
	if (venv__disk_is_read_only(request->blk->disk))
		return VIRTIO_BLK_S_IOERR;
	blk_begin_wipe(request);
	return VIRTIO_BLK_S_OK;
}

static const struct type {
	uint32_t type;
	int feature; /* that the driver must have taken; -1: none */
	uint8_t (*begin)(struct blk_request *request);
} types[] = {
	{ VIRTIO_BLK_T_IN, -1, begin_data },
	{ VIRTIO_BLK_T_OUT, -1, begin_data },
	{ VIRTIO_BLK_T_FLUSH, -1, begin_flush },
	{ VIRTIO_BLK_T_GET_ID, -1, tell_id },
	{ VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_F_DISCARD, begin_wipe },
	{ VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_F_WRITE_ZEROES, begin_wipe },
};

static const struct type *find_type(const struct blk *blk, uint32_t number)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].type == number &&
		    (types[i].feature < 0 || virtio_has(&blk->device, (unsigned)types[i].feature)))
			return &types[i];
	}
	return NULL;
}

/* ---- the chain ------------------------------------------------------------------------------------------ */

/* The last byte that the device writes. Empty buffers are not in a chain. */
static uint8_t *status_of(const struct virtq_chain *chain)
{
	const struct iovec *last = &chain->iov[chain->n_read + chain->n_write - 1];

	return (uint8_t *)last->iov_base + last->iov_len - 1;
}

/* The request's data buffers, without header and status. */
static int take_data(struct blk_request *request, struct virtq_chain *chain, size_t max)
{
	int n;

	if (request->type == VIRTIO_BLK_T_IN) {
		request->length = chain->write_size - 1;
		request->written = (uint32_t)request->length;
		n = virtq_chain_write_iov(chain, request->length, request->iov, max);
	} else {
		request->length = chain->read_size - sizeof(struct virtio_blk_outhdr);
		n = virtq_chain_read_iov(chain, request->length, request->iov, max);
	}
	if (n >= 0)
		request->n_iov = (size_t)n;
	return n;
}

static struct blk_request *new_request(struct blk *blk, unsigned queue,
				       const struct virtio_blk_outhdr *header)
{
	struct virtq_chain *chain = &blk->chain;
	size_t max = (size_t)chain->n_read + chain->n_write;
	struct blk_request *request = malloc(sizeof(*request) + max * sizeof(struct iovec));

	if (!request)
		return NULL;
	*request = (struct blk_request){
		.blk = blk,
		.queue = queue,
		.head = chain->head,
		.type = le32toh(header->type),
		.status = status_of(chain),
		.parts = 1,
	};
	/* what is too large to be multiplied is too large for any disk */
	request->offset = le64toh(header->sector) > UINT64_MAX >> SECTOR_SHIFT
				  ? UINT64_MAX
				  : le64toh(header->sector) << SECTOR_SHIFT;
	if ((request->type == VIRTIO_BLK_T_IN || request->type == VIRTIO_BLK_T_OUT) &&
	    take_data(request, chain, max) < 0)
		request->length = 0; /* refused below */
	return request;
}

void blk_begin(struct blk *blk, unsigned queue)
{
	struct virtq_chain *chain = &blk->chain;
	struct virtio_blk_outhdr header;
	struct blk_request *request;
	const struct type *type;
	uint8_t result;

	if (!chain->write_size) {
		answer(blk, queue, chain->head, 0);
		return;
	}
	if (virtq_chain_read(chain, &header, sizeof(header)) < sizeof(header) ||
	    !(request = new_request(blk, queue, &header))) {
		*status_of(chain) = VIRTIO_BLK_S_IOERR;
		answer(blk, queue, chain->head, 1);
		return;
	}
	type = find_type(blk, request->type);
	result = type ? type->begin(request) : VIRTIO_BLK_S_UNSUPP;
	if (result != VIRTIO_BLK_S_OK)
		blk_end_part(request, result);
}
