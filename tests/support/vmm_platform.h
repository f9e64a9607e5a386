/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in for KVM in tests of the monitor: memory, both buses, PCI, interrupts and doorbells.
 *
 * Theory of operation: an access by vmm_read() and vmm_write() is what a vCPU's exit would be; a write to
 * a doorbell that a device asked for signals its eventfd and goes no further, as KVM does it. An interrupt
 * is an eventfd that has a route: vmm_interrupt() waits for its count. Nothing here fails a test: what
 * cannot be made aborts, because no test can go on without it.
 */
#ifndef VMM_PLATFORM_H
#define VMM_PLATFORM_H

#include "bus.h"
#include "irq.h"
#include "mem.h"
#include "pci/pci.h"
#include "virtio/device.h"
#include "worker.h"

#define VMM_ECAM 0xe8000000ULL
#define VMM_WINDOW 0xc0000000ULL
#define VMM_WINDOW_END 0xe0000000ULL
enum { VMM_ROUTES_MAX = 256 };

struct vmm_route {
	int eventfd; /* -1: free */
	struct irq_message message;
};

struct vmm_doorbell {
	int eventfd; /* -1: free */
	uint64_t address;
};

struct vmm_platform {
	struct mem mem;
	struct bus ports, memory;
	struct pci pci;
	struct irq_platform irq;
	struct worker *worker;
	struct loop *loop; /* of an adopted worker; NULL: it is a thread */
	uint64_t next;     /* guest memory that is still free */
	pthread_mutex_t lock;
	struct vmm_route route[VMM_ROUTES_MAX];
	struct vmm_doorbell doorbell[VMM_ROUTES_MAX];
	bool no_doorbells; /* refuse them: writes come by the bus */
	bool no_routes;    /* refuse interrupts */
	unsigned n_routings;
};

/* thread: devices work on a thread of their own; else when vmm_settle() is called. */
struct vmm_platform *vmm_platform_new(uint64_t memory, bool thread);
void vmm_platform_free(struct vmm_platform *platform);

void vmm_read(struct vmm_platform *platform, uint64_t address, void *data, size_t size);
void vmm_write(struct vmm_platform *platform, uint64_t address, const void *data, size_t size);
uint32_t vmm_read32(struct vmm_platform *platform, uint64_t address);
uint16_t vmm_read16(struct vmm_platform *platform, uint64_t address);
uint8_t vmm_read8(struct vmm_platform *platform, uint64_t address);
void vmm_write32(struct vmm_platform *platform, uint64_t address, uint32_t value);
void vmm_write16(struct vmm_platform *platform, uint64_t address, uint16_t value);
void vmm_write8(struct vmm_platform *platform, uint64_t address, uint8_t value);

/* Has an interrupt with this data come, within the time? Takes it. */
bool vmm_interrupt(struct vmm_platform *platform, uint32_t data, int timeout_ms);
/* Wait until the device has nothing to do any more that the guest asked for. */
void vmm_settle(struct vmm_platform *platform, struct virtio_device *device);
/* Zeroed memory of the guest's; it is not given back. */
uint64_t vmm_alloc(struct vmm_platform *platform, uint64_t size, uint64_t align);
/* The same as a pointer; aborts when it is no RAM. */
void *vmm_at(struct vmm_platform *platform, uint64_t address, uint64_t size);

#endif
