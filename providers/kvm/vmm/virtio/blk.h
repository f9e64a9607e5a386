/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk (virtio 1.2, section 5.2) on a disk image. */
#ifndef VMM_VIRTIO_BLK_H
#define VMM_VIRTIO_BLK_H

#include "block/engine.h"
#include "device.h"
#include "disk/disk.h"

enum {
	BLK_QUEUES_MAX = 16,
	BLK_QUEUE_SIZE = 256,
	BLK_SERIAL_SIZE = 20,
	BLK_SEGMENTS_MAX = 32,     /* of one discard */
	BLK_DISCARD_MAX = 1 << 22, /* sectors of one segment: 2 GiB */
	BLK_ZEROES_MAX = 1 << 17,  /* 64 MiB: perhaps they must be written */
};

struct virtio_blk_options {
	struct disk *disk;       /* stays the caller's, who closes it after the device */
	const char *serial;      /* what the guest is told; cut to BLK_SERIAL_SIZE; NULL: "" */
	unsigned n_queues;       /* 0: 1 */
	enum engine_kind engine; /* ENGINE_AUTO outside of tests */
	void (*enter)(void);     /* as engine_new() */
};

/* worker: the device's own, because a request that takes new room of an image waits for it there. */
int virtio_blk_new(const struct mem *mem, struct worker *worker,
		   const struct virtio_blk_options *options, struct virtio_device **ret,
		   venv_error **err);

#endif
