/* SPDX-License-Identifier: Apache-2.0 */
#include "net_rx.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static bool merges(const struct virtio_device *device)
{
	return virtio_has(device, VIRTIO_NET_F_MRG_RXBUF);
}

/* ---- Buffers of the guest's ---- */

enum gather { GATHER_ENOUGH, GATHER_WAIT, GATHER_NEVER };

/* @return 1: taken; 0: the queue is empty; -1: it does not fit beside the others */
static int take_buffer(struct net_rx *rx, struct virtio_device *device)
{
	int n = virtio_pop(device, NET_RX_QUEUE, &rx->chain);

	if (n <= 0)
		return 0;
	if (!rx->chain.write_size) {
		virtio_broken(device, "a receive buffer without room");
		return 0;
	}
	n = virtq_chain_write_iov(&rx->chain, rx->chain.write_size, rx->iov + rx->n_iov,
				  NET_RX_IOV - rx->n_iov);
	if (n < 0) {
		virtq_unpop(&device->queue[NET_RX_QUEUE], rx->chain.head);
		return -1;
	}
	rx->buffer[rx->n_buffers++] = (struct net_rx_buffer){ .head = rx->chain.head,
							      .n_iov = (uint16_t)n,
							      .size = rx->chain.write_size };
	rx->n_iov += (unsigned)n;
	rx->room += rx->chain.write_size;
	return 1;
}

/* Have room for as much, or whatever the guest has at the time. */
static enum gather gather(struct net_rx *rx, struct virtio_device *device, size_t wanted)
{
	struct virtq *queue = &device->queue[NET_RX_QUEUE];

	while (rx->room < wanted) {
		int r;

		if (rx->n_buffers == (merges(device) ? queue->size : 1))
			return GATHER_NEVER;
		r = take_buffer(rx, device);
		if (r < 0)
			return GATHER_NEVER;
		if (r == 0 && (!virtio_is_live(device) || !virtq_listen(queue)))
			return GATHER_WAIT;
		if (r == 0)
			virtq_mute(queue); /* some have come meanwhile */
	}
	return GATHER_ENOUGH;
}

/* Forget the first n buffers, which were filled. */
static void shift(struct net_rx *rx, unsigned n)
{
	unsigned pieces = 0;

	for (unsigned i = 0; i < n; i++) {
		pieces += rx->buffer[i].n_iov;
		rx->room -= rx->buffer[i].size;
	}
	rx->n_buffers -= n;
	rx->n_iov -= pieces;
	memmove(rx->buffer, rx->buffer + n, rx->n_buffers * sizeof(*rx->buffer));
	memmove(rx->iov, rx->iov + pieces, rx->n_iov * sizeof(*rx->iov));
}

/* ---- Frames ---- */

static void drop(struct net_rx *rx)
{
	rx->frame = 0;
	rx->dropped++;
}

/* Where readv() is to put a frame: header, the guest's buffers behind its own header, our room. */
static int plan(struct net_rx *rx, struct iovec *io, size_t *ret_direct)
{
	size_t skip = NET_HEADER;
	int n = 0;

	*ret_direct = 0;
	io[n++] = (struct iovec){ &rx->header, NET_HEADER };
	for (unsigned i = 0; i < rx->n_iov && n < IOV_MAX - 1; i++) {
		size_t cut = MIN(skip, rx->iov[i].iov_len);

		skip -= cut;
		if (cut == rx->iov[i].iov_len)
			continue;
		io[n++] = (struct iovec){ (char *)rx->iov[i].iov_base + cut,
					  rx->iov[i].iov_len - cut };
		*ret_direct += rx->iov[i].iov_len - cut;
	}
	io[n++] = (struct iovec){ rx->rest, sizeof(rx->rest) };
	return n;
}

/* @return 1: a frame is at hand, or one was dropped; 0: none there; -1: nor will there be */
static int read_frame(struct net_rx *rx, const struct virtio_device *device, int tap)
{
	struct iovec io[IOV_MAX];
	size_t direct;
	int pieces = plan(rx, io, &direct);
	ssize_t n = readv(tap, io, pieces);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -1;
	rx->frame = (size_t)n > NET_HEADER ? (size_t)n - NET_HEADER : 0;
	rx->direct = MIN(rx->frame, direct);
	if (!net_header_from_host(&rx->header, rx->frame, device->features))
		drop(rx);
	return 1;
}

/* Write into what was taken, as if it were one buffer. There is room. */
static void put(struct net_rx *rx, size_t offset, const void *data, size_t size)
{
	const char *from = data;

	for (const struct iovec *iov = rx->iov; size; iov++) {
		size_t n = offset < iov->iov_len ? MIN(size, iov->iov_len - offset) : 0;

		if (n)
			memcpy((char *)iov->iov_base + offset, from, n);
		offset -= MIN(offset, iov->iov_len);
		from += n;
		size -= n;
	}
}

static void fill(struct net_rx *rx, struct virtio_device *device)
{
	size_t left = NET_HEADER + rx->frame;
	unsigned n = 0;

	for (size_t room = 0; room < left; n++)
		room += rx->buffer[n].size;
	rx->header.num_buffers = (uint16_t)n;
	put(rx, 0, &rx->header, NET_HEADER);
	put(rx, NET_HEADER + rx->direct, rx->rest, rx->frame - rx->direct);
	for (unsigned i = 0; i < n; i++) {
		size_t part = MIN(left, rx->buffer[i].size);

		virtio_complete(device, NET_RX_QUEUE, rx->buffer[i].head, (uint32_t)part, true);
		left -= part;
	}
	shift(rx, n);
	rx->frame = 0;
	rx->frames++;
}

/* @return whether the frame at hand is done with; false: the guest must give more */
static bool deliver(struct net_rx *rx, struct virtio_device *device)
{
	switch (gather(rx, device, NET_HEADER + rx->frame)) {
	case GATHER_ENOUGH:
		fill(rx, device);
		return true;
	case GATHER_NEVER:
		drop(rx);
		return true;
	default:
		return false;
	}
}

enum net_rx_state net_rx_run(struct net_rx *rx, struct virtio_device *device, int tap, unsigned max)
{
	virtq_mute(&device->queue[NET_RX_QUEUE]);
	for (unsigned n = 0; n < max; n++) {
		int r = 1;

		if (!rx->frame) {
			(void)gather(rx, device, NET_HEADER + NET_FRAME_MAX);
			if (!rx->n_buffers || !virtio_is_live(device))
				return NET_RX_STARVED;
			r = read_frame(rx, device, tap);
		}
		if (r <= 0)
			return r < 0 ? NET_RX_DEAD : NET_RX_EMPTY;
		if (rx->frame && !deliver(rx, device))
			return NET_RX_STARVED;
	}
	return NET_RX_MORE;
}

void net_rx_drain(struct net_rx *rx, struct virtio_device *device)
{
	while (rx->n_buffers)
		virtq_unpop(&device->queue[NET_RX_QUEUE], rx->buffer[--rx->n_buffers].head);
	net_rx_reset(rx);
}

void net_rx_reset(struct net_rx *rx)
{
	rx->n_buffers = rx->n_iov = 0;
	rx->room = 0;
	if (rx->frame)
		drop(rx);
}
