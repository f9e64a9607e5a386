/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon (virtio 1.2, section 5.5): memory that a guest does not need goes back to the host.
 *
 * Two ways: free page reporting, which the guest does by itself all the time, and the balloon, whose size
 * the host asks for; the guest may take pages back when it runs short (deflate on OOM). The guest's
 * figures about its memory are asked for, and delivered when it answers.
 */
#ifndef VMM_VIRTIO_BALLOON_H
#define VMM_VIRTIO_BALLOON_H

#include "device.h"

/* What a guest says: not to be believed. In bytes; UINT64_MAX: it did not say. */
struct balloon_stats {
	uint64_t free, total, available, caches;
};

int virtio_balloon_new(const struct mem *mem, struct worker *worker, struct virtio_device **ret,
		       venv_error **err);
/* Any thread. */
void virtio_balloon_ask(struct virtio_device *device, uint64_t bytes); /* how large it should be */
uint64_t virtio_balloon_size(struct virtio_device *device); /* how large the guest says it is */
void virtio_balloon_ask_stats(struct virtio_device *device);
/* @return how many answers have come so far */
unsigned virtio_balloon_stats(struct virtio_device *device, struct balloon_stats *ret);

#endif
