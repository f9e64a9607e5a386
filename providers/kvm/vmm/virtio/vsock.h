/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock (virtio 1.2, section 5.10): streams between the guest and Unix sockets (vsock/muxer.h).
 *
 * Theory of operation: packets from the guest are handled as they come; packets for it are made when there
 * is a buffer, so nothing waits in between. A machine that goes on from a saved state has lost its
 * streams: the guest is told by an event, and gets no packet before it has taken that.
 */
#ifndef VMM_VIRTIO_VSOCK_H
#define VMM_VIRTIO_VSOCK_H

#include "device.h"

enum { VSOCK_CID_FIRST = 3, VSOCK_PACKET_MAX = 64 * 1024 };

struct virtio_vsock_options {
	uint64_t guest_cid; /* VSOCK_CID_FIRST or more, below 2^32 - 1 */
	int directory; /* of sockets named by their port, to which the guest may connect; -1: none */
	int listener;  /* non-blocking, through which the host connects to the guest; -1: none */
};

/* The descriptors are taken over in any case. */
int virtio_vsock_new(const struct mem *mem, struct worker *worker,
		     const struct virtio_vsock_options *options, struct virtio_device **ret,
		     venv_error **err);

#endif
