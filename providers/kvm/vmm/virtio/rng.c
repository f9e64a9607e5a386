/* SPDX-License-Identifier: Apache-2.0 */
#include "rng.h"

#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

enum { QUEUE_SIZE = 64, TURN_MAX = 32, BLOCK = 256 /* what getrandom() gives whole */ };

struct rng {
	struct virtio_device device;
	struct virtq_chain chain;
};

static uint32_t fill(struct virtio_device *device, struct virtq_chain *chain)
{
	size_t left = MIN(chain->write_size, RNG_REQUEST_MAX);

	(void)device;
	while (left) {
		uint8_t block[BLOCK];
		size_t n = MIN(left, sizeof(block));

		if (getrandom(block, n, 0) != (ssize_t)n)
			break; /* fewer bytes are fine */
		(void)virtq_chain_write(chain, block, n);
		left -= n;
	}
	return chain->write_done;
}

static void on_notify(struct virtio_device *device, unsigned queue)
{
	struct rng *rng = CONTAINER_OF(device, struct rng, device);

	virtio_each(device, queue, &rng->chain, TURN_MAX, fill);
}

static void on_free(struct virtio_device *device)
{
	virtio_device_done(device);
	free(CONTAINER_OF(device, struct rng, device));
}

static const struct virtio_ops rng_ops = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.pci_class = 0x00ff00,
	.notify = on_notify,
	.free = on_free,
};

int virtio_rng_new(const struct mem *mem, struct worker *worker, struct virtio_device **ret,
		   venv_error **err)
{
	static const uint16_t sizes[] = { QUEUE_SIZE };
	struct rng *rng = calloc(1, sizeof(*rng));
	int r;

	if (!rng)
		return venv__fail_nomem(err);
	r = virtio_device_init(&rng->device, &rng_ops, mem, worker, 0, sizes, 1, err);
	if (r < 0) {
		free(rng);
		return r;
	}
	*ret = &rng->device;
	return 0;
}
