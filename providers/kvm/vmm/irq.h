/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts and doorbells, as devices see them: descriptors.
 *
 * A device raises an interrupt by writing to an eventfd and hears a doorbell by reading one. Who stands
 * behind them is the platform: KVM's irqfd and ioeventfd in a machine (machine/irq.c), a table in tests
 * (tests/support/vmm_platform.c), so that every device runs without /dev/kvm.
 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <stdint.h>

struct irq_message { /* of MSI and MSI-X */
	uint64_t address;
	uint32_t data;
};

struct irq_ops {
	/* Let eventfd raise this message from now on; NULL: nothing any more. 0 or -errno */
	int (*route)(void *user, int eventfd, const struct irq_message *message);
	/* Let a guest's write of any size to this address of the memory bus signal eventfd instead
	 * of leaving the guest. 0 or -errno (the write then comes by the bus: correct, slower) */
	int (*doorbell)(void *user, int eventfd, uint64_t address);
	void (*undo_doorbell)(void *user, int eventfd, uint64_t address);
};

struct irq_platform {
	const struct irq_ops *ops;
	void *user;
};

#endif
