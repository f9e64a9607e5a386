/* SPDX-License-Identifier: Apache-2.0 */
/* Between pci.c, the function, and pci_common.c, the common configuration in its window. */
#ifndef VMM_VIRTIO_PCI_INTERNAL_H
#define VMM_VIRTIO_PCI_INTERNAL_H

#include "../pci/msix.h"
#include "pci.h"

struct virtio_pci {
	struct pci_function function;
	struct msix msix;
	struct virtio_device *device;
	const struct irq_platform *platform;
	uint64_t window; /* where the doorbells are; under pci->moving */
	bool doorbell_set[VIRTIO_QUEUES_MAX];
	unsigned cfg_capability; /* PCI_CFG */
	/* under device->lock */
	uint32_t offered_half, taken_half;
	uint16_t queue;
	uint16_t config_vector, vector[VIRTIO_QUEUES_MAX];
	uint8_t isr;
};

/* Vectors and ISR as after a reset of the device. Under device->lock, or nobody else is there. */
void virtio_pci_forget(struct virtio_pci *t);
/* The vector that a guest asks for, or MSIX_NONE. */
uint16_t virtio_pci_vector(const struct virtio_pci *t, uint32_t value);

/* Without the lock. What is no field, or not of its size, is left alone. */
void virtio_pci_common_read(struct virtio_pci *t, uint64_t offset, void *data, size_t size);
void virtio_pci_common_write(struct virtio_pci *t, uint64_t offset, const void *data, size_t size);

#endif
