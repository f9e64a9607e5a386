/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk, to the inside of virtio/blk*.c. */
#ifndef VMM_VIRTIO_BLK_INTERNAL_H
#define VMM_VIRTIO_BLK_INTERNAL_H

#include <linux/virtio_blk.h>

#include "blk.h"

enum { SECTOR_SHIFT = 9, SECTOR_SIZE = 512 };

struct blk {
	struct virtio_device device; /* first */
	struct disk *disk;
	struct engine *engine;
	struct loop_source *source; /* of the engine */
	struct virtio_blk_config config;
	char serial[BLK_SERIAL_SIZE];
	bool flush_due; /* the driver wants no cache any more: what was written before is flushed */
	unsigned n_warnings;
	uint32_t answered; /* queues that the guest is to be told of: bits */
	struct virtq_chain chain;
};

/* Lives from the ring until it is answered. */
struct blk_request {
	struct blk *blk;
	unsigned queue;
	uint16_t head;
	uint32_t type;
	uint64_t offset;     /* bytes */
	uint64_t length;     /* of the data */
	uint32_t written;    /* into the guest's memory when it goes well, without the status */
	uint8_t *status;     /* in the guest's memory */
	uint8_t result;      /* VIRTIO_BLK_S_... */
	bool flushing;       /* the data are written: the rest is a flush */
	unsigned parts;      /* that are in flight, and one while they are being made */
	struct engine_op op; /* of the only part, or of the flush */
	size_t n_iov;
	struct iovec iov[]; /* of the data */
};

static inline struct blk *blk_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct blk, device);
}

/* blk_request.c: take the chain at blk->chain as a request and begin it; it may be over at once. */
void blk_begin(struct blk *blk, unsigned queue);

/* blk_io.c */
void blk_begin_data(struct blk_request *request);
void blk_begin_flush(struct blk_request *request);
void blk_begin_wipe(struct blk_request *request); /* discard, zeroes; the segments are in chain */
void blk_end_part(struct blk_request *request, uint8_t result);
void blk_warn(struct blk *blk, const venv_error *error);
bool blk_is_write_back(const struct blk *blk);

#endif
