/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device (virtio 1.2, sections 2 and 3): its status machine, features and queues. The transport
 * (virtio/pci.c) drives it from the guest's side, the device's own file fills in the operations.
 *
 * Theory of operation: vCPU threads come through the transport with one register access at a time, under
 * `lock`. Work happens on the device's worker, also under `lock`: notify() when a doorbell rang, and what
 * the device does for its host descriptors. Activation (DRIVER_OK) and reset run on the worker while the
 * vCPU that asked waits, without the lock, so a device may drain its requests there. After reset() nothing
 * of the device touches guest memory.
 *   The status only gains bits until it is reset. Features are what was offered and written, frozen by
 * FEATURES_OK; queues are set up between FEATURES_OK and DRIVER_OK and frozen then. A device that cannot go
 * on (a broken queue) sets DEVICE_NEEDS_RESET, tells the guest by a configuration interrupt and stays silent.
 */
#ifndef VMM_VIRTIO_DEVICE_H
#define VMM_VIRTIO_DEVICE_H

#include <pthread.h>

#include "../irq.h"
#include "../worker.h"
#include "queue.h"

enum { VIRTIO_QUEUES_MAX = 20 };

struct virtio_device;
struct state_writer; /* machine/state.h */
struct state_reader;

struct virtio_ops {
	const char *name;   /* "blk" */
	uint16_t id;        /* virtio 1.2, section 5 */
	uint32_t pci_class; /* 24 bits: class, subclass, interface */
	/* Device-specific configuration; out of config_size does not come here. Under lock. */
	void (*config_read)(struct virtio_device *device, uint32_t offset, void *data, size_t size);
	void (*config_write)(struct virtio_device *device, uint32_t offset, const void *data,
			     size_t size);
	/* On the worker, under lock. */
	int (*activate)(struct virtio_device *device); /* 0 or -errno: needs reset */
	void (*reset)(struct virtio_device *device);
	void (*notify)(struct virtio_device *device, unsigned queue);
	void (*drain)(struct virtio_device *device); /* finish what is in flight: before a save */
	int (*save)(struct virtio_device *device, struct state_writer *writer);
	int (*load)(struct virtio_device *device, struct state_reader *reader);
	void (*free)(struct virtio_device *device);
};

struct virtio_device {
	const struct virtio_ops *ops;
	const struct mem *mem;
	struct worker *worker;
	pthread_mutex_t lock;
	uint64_t offered, features; /* features: what the driver took */
	uint8_t status;
	bool active;
	uint32_t config_size;
	uint32_t config_generation;
	unsigned n_queues;
	struct virtq queue[VIRTIO_QUEUES_MAX];
	int doorbell[VIRTIO_QUEUES_MAX]; /* eventfd, read on the worker */
	struct loop_source *source[VIRTIO_QUEUES_MAX];
	/* set by the transport: called under lock. queue -1: the configuration changed */
	void (*interrupt)(void *transport, int queue);
	void *transport;
};

/* For devices: embedded as the first member. queue_sizes: n_queues of them. */
int virtio_device_init(struct virtio_device *device, const struct virtio_ops *ops,
		       const struct mem *mem, struct worker *worker, uint64_t offered,
		       const uint16_t *queue_sizes, unsigned n_queues, venv_error **err);
void virtio_device_done(struct virtio_device *device);
/* Give a request back and tell the guest if it wants to know (pass more = true inside a batch). */
void virtio_complete(struct virtio_device *device, unsigned queue, uint16_t head, uint32_t written,
		     bool more);
void virtio_signal(struct virtio_device *device, unsigned queue); /* after a batch */
void virtio_config_changed(struct virtio_device *device);
void virtio_broken(struct virtio_device *device, const char *why); /* DEVICE_NEEDS_RESET */
static inline bool virtio_has(const struct virtio_device *device, unsigned bit)
{
	return (device->features >> bit) & 1;
}

/* For transports, on vCPU threads, without the lock. */
void virtio_set_status(struct virtio_device *device, uint8_t status);
uint32_t virtio_offered(struct virtio_device *device, uint32_t half);
void virtio_take(struct virtio_device *device, uint32_t half, uint32_t bits);

#endif
