/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net: the host's kernel works off both queues of a network itself, between the guest's memory and the TAP.
 *
 * Theory of operation: who starts the machine opens /dev/vhost-net, because the monitor opens nothing. When the
 * guest's driver is ready the kernel is told where RAM and the rings are, all of it checked by virtq_start(), is
 * given the doorbells, and the eventfds behind the interrupts, masked or not (msix.h), and from then on no thread
 * of ours sees a frame. To stop (reset, save, a link that goes down) the TAP is taken away, and the kernel says
 * how far it came: it answers in order and leaves nothing in flight, so one number a queue is all that is
 * to be known, and a state is the same whoever worked before and whoever goes on.
 *   The guest sees the same device with and without. Where anything is missing, our own data path does the work.
 */
#ifndef VMM_VIRTIO_VHOST_H
#define VMM_VIRTIO_VHOST_H

#include "device.h"

enum { VHOST_QUEUES = 2 };

struct vhost {
	int fd;    /* -1: none */
	int error; /* eventfd: a queue breaks the rules, or memory is not to be had */
	bool owned;
	bool runs;
};

/* Takes fd, an open /dev/vhost-net. @return 0; -errno: it is not one, or lacks what we need */
int vhost_init(struct vhost *vhost, int fd);
void vhost_done(struct vhost *vhost);
/*
 * On the worker, under lock. While it runs doorbells do not come to the device.
 * @return 1: it runs; 0: not for this guest's driver; -errno: this host cannot, nothing has changed
 */
int vhost_start(struct vhost *vhost, struct virtio_device *device, int tap);
/* The queues are the device's again, and their doorbells rung. 0, or -errno: nobody knows how far they are */
int vhost_stop(struct vhost *vhost, struct virtio_device *device);

#endif
