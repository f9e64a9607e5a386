/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio driver that speaks to a device as a guest would: it finds it in PCI configuration space, sets it
 * up through its registers, keeps queues in guest memory and waits for MSI-X. Its rings are open to the
 * tests, which break the rules in them.
 *
 *	vmm_driver_open(&driver, platform, slot) == 0
 *	vmm_driver_start(&driver, features) == 0
 *	head = vmm_driver_submit(&driver, 0, buffers, 2);
 *	vmm_driver_wait(&driver, 0, &written) == head
 */
#ifndef VMM_DRIVER_H
#define VMM_DRIVER_H

#include "vmm_platform.h"

enum {
	VMM_DESC_NEXT = 1,
	VMM_DESC_WRITE = 2,
	VMM_DESC_INDIRECT = 4,
	VMM_QUEUE_SIZE = 64, /* what queues are set to, if they can be so large */
	VMM_WAIT_MS = 5000,
};

struct vmm_desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct vmm_avail {
	uint16_t flags, idx, ring[];
};

struct vmm_used_entry {
	uint32_t id, length;
};

struct vmm_used {
	uint16_t flags, idx;
	struct vmm_used_entry ring[];
};

struct vmm_queue {
	uint16_t size;
	uint64_t desc_address, avail_address, used_address;
	struct vmm_desc *desc;
	struct vmm_avail *avail;
	struct vmm_used *used;
	uint16_t seen; /* of used */
	uint16_t n_free, free[VIRTQ_SIZE_MAX];
};

struct vmm_driver {
	struct vmm_platform *platform;
	unsigned slot;
	uint16_t device_id;
	uint64_t window;                             /* the BAR's address */
	uint64_t common, isr, config, notify, table; /* addresses */
	uint32_t config_size, multiplier;
	unsigned cfg_capability, msix_capability; /* offsets */
	unsigned n_queues, n_vectors;
	uint16_t notify_offset[VIRTIO_QUEUES_MAX];
	struct vmm_queue queue[VIRTIO_QUEUES_MAX];
	uint64_t features;   /* taken */
	uint32_t first_data; /* of the vectors' messages: the queues', then the configuration's */
};

struct vmm_buffer {
	uint64_t address;
	uint32_t length;
	bool write; /* by the device */
};

/* Configuration space, by ECAM and by ports. */
uint32_t vmm_config_read(struct vmm_platform *platform, unsigned slot, unsigned offset,
			 size_t size);
void vmm_config_write(struct vmm_platform *platform, unsigned slot, unsigned offset, size_t size,
		      uint32_t value);
uint32_t vmm_port_config_read(struct vmm_platform *platform, unsigned slot, unsigned offset,
			      size_t size);
void vmm_port_config_write(struct vmm_platform *platform, unsigned slot, unsigned offset,
			   size_t size, uint32_t value);

/* Find the device, give it a window and interrupts. 0, or -1: it is not what it should be */
int vmm_driver_open(struct vmm_driver *driver, struct vmm_platform *platform, unsigned slot);
/* Reset to DRIVER_OK, with all queues. features: VERSION_1 is added. 0; -1: refused */
int vmm_driver_start(struct vmm_driver *driver, uint64_t features);
/* The steps of it, for those who go another way. */
void vmm_driver_reset(struct vmm_driver *driver);
uint64_t vmm_driver_offered(struct vmm_driver *driver);
int vmm_driver_take(struct vmm_driver *driver, uint64_t features); /* up to FEATURES_OK */
void vmm_driver_add_queue(struct vmm_driver *driver, unsigned queue, uint16_t size);
uint8_t vmm_driver_status(struct vmm_driver *driver);
void vmm_driver_set_status(struct vmm_driver *driver, uint8_t status);

/* Put a chain into the ring and ring. @return its head, or -1: no descriptors */
int vmm_driver_submit(struct vmm_driver *driver, unsigned queue, const struct vmm_buffer *buffers,
		      size_t n);
/* The same by an indirect table. */
int vmm_driver_submit_indirect(struct vmm_driver *driver, unsigned queue,
			       const struct vmm_buffer *buffers, size_t n);
/* The same without ringing. */
int vmm_driver_add(struct vmm_driver *driver, unsigned queue, const struct vmm_buffer *buffers,
		   size_t n);
void vmm_driver_offer(struct vmm_driver *driver, unsigned queue,
		      uint16_t head); /* avail, as it is */
void vmm_driver_ring(struct vmm_driver *driver, unsigned queue);
/* The next used entry, waiting for interrupts. @return its head, or -1: none in VMM_WAIT_MS */
int vmm_driver_wait(struct vmm_driver *driver, unsigned queue, uint32_t *ret_written);
/* The same without waiting. */
int vmm_driver_poll(struct vmm_driver *driver, unsigned queue, uint32_t *ret_written);
/* Submit and wait. @return what was written, or -1 */
int64_t vmm_driver_call(struct vmm_driver *driver, unsigned queue, const struct vmm_buffer *buffers,
			size_t n);

#endif
