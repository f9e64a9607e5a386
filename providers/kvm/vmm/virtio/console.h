/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console (virtio 1.2, section 5.3) with its one port, between the guest and host descriptors.
 *
 * Theory of operation: a Linux guest spins until its output is taken, so it may be held up for moments but
 * never for long. Output flows at CONSOLE_RATE with bursts of CONSOLE_BURST; what is faster waits. If the
 * host does not read, output waits for CONSOLE_PATIENCE_MS, then is thrown away until the host reads again.
 * Input is only read when there is room: a byte that was read is delivered, or saved with the machine.
 */
#ifndef VMM_VIRTIO_CONSOLE_H
#define VMM_VIRTIO_CONSOLE_H

#include "device.h"

enum {
	CONSOLE_RATE = 1024 * 1024, /* bytes a second */
	CONSOLE_BURST = 256 * 1024,
	CONSOLE_PATIENCE_MS = 500,
};

/* in, out: non-blocking, -1 for none, not the same number (dup() it); taken over in any case. */
int virtio_console_new(const struct mem *mem, struct worker *worker, int in, int out,
		       struct virtio_device **ret, venv_error **err);
/* Any thread. */
void virtio_console_resize(struct virtio_device *device, uint16_t columns, uint16_t rows);
uint64_t virtio_console_dropped(struct virtio_device *device); /* bytes that nobody read */

#endif
