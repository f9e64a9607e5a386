/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames for the guest: from the TAP straight into its buffers.
 *
 * Theory of operation: how long a frame is shows when it has been read, so buffers for the longest are
 * taken from the queue first, and stay taken until frames have filled them; behind them in the same
 * readv() comes room of ours. A frame that is longer than the guest's buffers waits, its end in our room,
 * until the guest gives more (VIRTIO_NET_F_MRG_RXBUF), or is dropped (without). While one waits, nothing
 * is read. To save a machine, what was taken and not filled goes back into the queue.
 */
#ifndef VMM_VIRTIO_NET_RX_H
#define VMM_VIRTIO_NET_RX_H

#include "device.h"
#include "net_header.h"

enum {
	NET_RX_QUEUE = 0,
	NET_QUEUE_SIZE = 256,
	NET_RX_IOV = 1024, /* of the guest's buffers; one request never has more */
};

enum net_rx_state {
	NET_RX_MORE,    /* the turn is over, frames may be left */
	NET_RX_EMPTY,   /* none at the TAP */
	NET_RX_STARVED, /* the guest must give buffers first, and will ring */
	NET_RX_DEAD,    /* the TAP is no more */
};

struct net_rx_buffer {
	uint16_t head;
	uint16_t n_iov;
	uint32_t size;
};

struct net_rx {
	struct virtq_chain chain; /* to take requests with */
	/* taken: buffers, their pieces of memory, their size */
	struct net_rx_buffer buffer[NET_QUEUE_SIZE];
	unsigned n_buffers, n_iov;
	struct iovec iov[NET_RX_IOV];
	size_t room;
	/* the frame at hand: its length (0: none), how much of it is in the guest's buffers already */
	struct virtio_net_hdr_mrg_rxbuf header;
	size_t frame, direct;
	uint8_t rest[NET_FRAME_MAX + 1]; /* the rest of it */
	uint64_t frames, dropped;
};

/* Read up to max frames for the device. Under lock, on the worker. */
enum net_rx_state net_rx_run(struct net_rx *rx, struct virtio_device *device, int tap,
			     unsigned max);
/* Give back what is not filled; a frame at hand is lost. */
void net_rx_drain(struct net_rx *rx, struct virtio_device *device);
void net_rx_reset(struct net_rx *rx);

#endif
