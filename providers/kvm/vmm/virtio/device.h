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
 * FEATURES_OK; a queue is set up before DRIVER_OK and frozen when it is enabled. (The specification wants
 * FEATURES_OK before queues; SeaBIOS does it the other way round. Queues begin to work, and are checked,
 * with DRIVER_OK, when the features are known.) A device that cannot go on (a broken queue) sets
 * DEVICE_NEEDS_RESET, tells the guest by a configuration interrupt and stays silent.
 *   To save a machine: vCPUs stop, every device is drained and every worker parked (worker.h), then
 * virtio_save(); rings that rang meanwhile are not saved: virtio_load() has every queue looked at.
 */
#ifndef VMM_VIRTIO_DEVICE_H
#define VMM_VIRTIO_DEVICE_H

#include <pthread.h>

#include "../irq.h"
#include "../worker.h"
#include "queue.h"

enum { VIRTIO_QUEUES_MAX = 20 };

enum virtio_status {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

/* Feature bits of every device (virtio 1.2, section 6), always offered. */
enum { VIRTIO_INDIRECT_DESC = 28, VIRTIO_EVENT_IDX = 29, VIRTIO_VERSION_1 = 32 };

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
	void (*reset)(struct virtio_device *device);   /* after an activate() that did not fail */
	/* The doorbell of a queue that was started rang, or might have. The device is live. */
	void (*notify)(struct virtio_device *device, unsigned queue);
	void (*drain)(struct virtio_device *device); /* finish what is in flight: before a save */
	void (*go_on)(struct virtio_device *device); /* the machine stood still; it is live */
	/* What device and queues do not know. load() comes after activate(), if it was active. */
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
	bool active; /* between activate() and reset() */
	uint32_t config_size;
	uint32_t config_generation;
	unsigned n_queues;
	struct virtq queue[VIRTIO_QUEUES_MAX];
	int doorbell[VIRTIO_QUEUES_MAX]; /* eventfd, read on the worker */
	struct loop_source *source[VIRTIO_QUEUES_MAX];
	/* set by the transport: called under lock. queue -1: the configuration changed */
	void (*interrupt)(void *transport, int queue);
	/* the same: the eventfd that raises a queue's interrupt, -1: none. Fixed from DRIVER_OK to reset */
	int (*call_fd)(void *transport, unsigned queue);
	void *transport;
	/* set by the machine, for its log; NULL is fine. Called under lock, a few times per device. */
	void (*warn)(void *warn_user, const char *device, const char *why);
	void *warn_user;
	unsigned n_warnings;
	const char *broken; /* why it needs a reset; NULL: it does not */
};

/* For devices: embedded as the first member. queue_sizes: n_queues of them, powers of two. offered: the
 * device's own bits; those of every device are added. The worker must be running, or be the caller's. */
int virtio_device_init(struct virtio_device *device, const struct virtio_ops *ops,
		       const struct mem *mem, struct worker *worker, uint64_t offered,
		       const uint16_t *queue_sizes, unsigned n_queues, venv_error **err);
void virtio_device_done(struct virtio_device *device);
/* Does it work: active, and not broken? */
static inline bool virtio_is_live(const struct virtio_device *device)
{
	return device->active && !(device->status & VIRTIO_NEEDS_RESET);
}
/* The next request, as virtq_pop(). A queue that breaks the rules makes the device need a reset. */
int virtio_pop(struct virtio_device *device, unsigned queue, struct virtq_chain *chain);
/*
 * What notify() mostly is: take requests, answer each with handle(), which returns how many bytes it wrote,
 * and tell the guest. At most max of them in a turn, so that no guest keeps a worker to itself; chain is
 * the caller's because it is large.
 */
void virtio_each(struct virtio_device *device, unsigned queue, struct virtq_chain *chain,
		 unsigned max,
		 uint32_t (*handle)(struct virtio_device *device, struct virtq_chain *chain));
/* Have notify() called again by the loop: for work that was left to keep a turn short. */
void virtio_again(struct virtio_device *device, unsigned queue);
/* Hear doorbells or leave them to somebody else; one may still come through after that. On the worker, under lock. */
void virtio_listen(struct virtio_device *device, bool wanted);
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
/* With the lock: the queue, if the guest may set it up now, else NULL. */
struct virtq *virtio_setup_queue(struct virtio_device *device, unsigned queue);

/* For the machine, while vCPUs stand still, from any thread that the worker does not wait for. */
void virtio_drain(struct virtio_device *device);
void virtio_go_on(struct virtio_device *device);                            /* before they go on */
int virtio_save(struct virtio_device *device, struct state_writer *writer); /* 0 or -errno */
/* Into a device as virtio_device_init() left it. 0 or -errno; -EPROTO: it cannot have been so */
int virtio_load(struct virtio_device *device, struct state_reader *reader);

#endif
