/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of modern virtio devices on PCI, by a guest: found by the ACPI tables and ECAM, with one queue, rung for
 * by its notify address and told by MSI-X. Its rings are open to tests that break the rules in them.
 */
#ifndef VENV_TEST_GUEST_VIRTIO_H
#define VENV_TEST_GUEST_VIRTIO_H

#include "guest.h"

enum {
	VIRTIO_BLK = 2,
	VIRTIO_RNG = 4,
	QUEUE_SIZE = 8,
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,
	STATUS_NEEDS_RESET = 64,
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_FLUSH = 4,
	BLK_OK = 0,
	BLK_ERROR = 1,
	SECTOR = 512,
};

struct desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct ring {
	struct desc desc[QUEUE_SIZE];
	struct {
		uint16_t flags, idx, ring[QUEUE_SIZE], event;
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, length;
		} ring[QUEUE_SIZE];
		uint16_t event;
	} used __attribute__((aligned(4)));
} __attribute__((aligned(16)));

struct virtio {
	uintptr_t pci;                    /* its configuration space */
	uintptr_t common, notify, device; /* registers */
	unsigned vector, config_vector;   /* of interrupts */
	uint16_t seen;                    /* of used */
	volatile struct ring ring;
};

struct blk_request {
	uint32_t type, reserved;
	uint64_t sector;
	volatile uint8_t status;
};

void virtio_open(struct virtio *virtio, unsigned id, const uint8_t *zero_page);
uint8_t virtio_status(const struct virtio *virtio);
void virtio_reset(const struct virtio *virtio);
/* Reset to DRIVER_OK, with no feature but VERSION_1. ring: where the device is told that it is */
void virtio_start(struct virtio *virtio);
void virtio_start_at(struct virtio *virtio, uintptr_t ring);

/* Descriptor `index`, which another one follows or not. */
void virtio_describe(struct virtio *virtio, unsigned index, uint64_t address, uint32_t length,
		     uint16_t flags);
void virtio_offer(struct virtio *virtio, uint16_t head); /* in the ring, without ringing */
void virtio_notify(const struct virtio *virtio);
/* Offer head 0, ring, wait for the interrupt. @return what was written */
uint32_t virtio_call(struct virtio *virtio);

/* The chain of a request in descriptors 0 to 2; without data in 0 and 1. */
void blk_describe(struct virtio *blk, struct blk_request *request, uint64_t data, uint32_t length);
/* One of them, to its end. @return its status */
uint8_t blk_call(struct virtio *blk, uint32_t type, uint64_t sector, volatile void *data,
		 uint32_t length);
/* Some bytes that were not there before. */
void rng_check(struct virtio *rng);

/* Says so, and stays: whoever runs the machine looks at it before he ends it. */
_Noreturn void guest_stay(void);

void test_hostile(const uint8_t *zero_page); /* hostile.c */

#endif
