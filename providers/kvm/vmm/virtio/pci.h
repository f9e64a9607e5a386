/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device as a PCI function (virtio 1.2, section 4.1): modern only, MSI-X only, one window.
 *
 *   0x0000 common configuration   0x1000 ISR        0x2000 device configuration
 *   0x3000 doorbells, 4 bytes each                  0x4000 MSI-X table   0x5000 pending bits
 *
 * The doorbells have a page of their own, which the platform watches (irq.h); what does not reach it comes
 * by the bus. The capability PCI_CFG reaches all of the window through configuration space, where firmware
 * has no other way. Vector 0…n-1 are queues', n is the configuration's only by the driver's choice.
 */
#ifndef VMM_VIRTIO_PCI_H
#define VMM_VIRTIO_PCI_H

#include "../irq.h"
#include "../pci/pci.h"
#include "device.h"

struct virtio_pci;

/*
 * Puts the device into a slot. The device stays the caller's, as do platform and pci, and outlives it.
 * @return 0, VENV_ERR_EXISTS (the slot is taken), VENV_ERR_NOMEM or VENV_ERR_SYSTEM
 */
int virtio_pci_new(struct virtio_device *device, struct pci *pci, unsigned slot,
		   const struct irq_platform *platform, struct virtio_pci **ret, venv_error **err);
/* The device is reset, its function gone. NULL is fine. */
void virtio_pci_free(struct virtio_pci *transport);

#endif
