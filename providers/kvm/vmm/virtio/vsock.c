/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "machine/state.h"
#include "vsock/muxer.h"

enum { RX = 0, TX = 1, EVENT = 2, QUEUE_SIZE = 128, TURN_MAX = 64 };

enum told { TOLD_ALL, TOLD_NOT, TOLD_SENT /* the guest has not taken it yet */ };

struct vsock {
	struct virtio_device device;
	struct vsock_mux *mux;
	uint64_t guest_cid;
	int directory, listener;
	enum told told;   /* of a reset of the transport */
	uint16_t offered; /* event buffers when it was told */
	struct virtq_chain chain;
	uint8_t data[VSOCK_PACKET_MAX];
};

static struct vsock *vsock_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct vsock, device);
}

/* ---- To the guest ---- */

/* Under lock. @return false: no buffer, or nothing to say */
static bool send_packet(struct vsock *v)
{
	struct virtio_device *device = &v->device;
	struct virtio_vsock_hdr packet;
	bool any;

	if (!vsock_mux_has(v->mux) || virtio_pop(device, RX, &v->chain) <= 0)
		return false;
	if (v->chain.write_size <= sizeof(packet)) {
		virtio_broken(device, "a receive buffer without room");
		return false;
	}
	any = vsock_mux_give(v->mux, &packet, v->data,
			     MIN(v->chain.write_size - sizeof(packet), sizeof(v->data)));
	if (!any) { /* there seemed to be something */
		virtq_unpop(&device->queue[RX], v->chain.head);
		return false;
	}
	(void)virtq_chain_write(&v->chain, &packet, sizeof(packet));
	(void)virtq_chain_write(&v->chain, v->data, packet.len);
	virtio_complete(device, RX, v->chain.head, v->chain.write_done, true);
	return true;
}

/* Under lock. */
static void send_packets(struct vsock *v)
{
	struct virtq *queue = &v->device.queue[RX];
	unsigned n = 0;

	if (!virtio_is_live(&v->device) || !queue->started || v->told != TOLD_ALL)
		return;
	while (n < TURN_MAX && send_packet(v))
		n++;
	if (n == TURN_MAX ||
	    (virtio_is_live(&v->device) && vsock_mux_has(v->mux) && virtq_listen(queue)))
		virtio_again(&v->device, RX);
	if (n)
		virtio_signal(&v->device, RX);
}

static void on_ready(void *user)
{
	struct vsock *v = user;

	(void)pthread_mutex_lock(&v->device.lock);
	send_packets(v);
	(void)pthread_mutex_unlock(&v->device.lock);
}

/* "All streams are gone": one event, and the guest gives its buffer back when it has seen to it. */
static void send_event(struct vsock *v)
{
	static const struct virtio_vsock_event event = { VIRTIO_VSOCK_EVENT_TRANSPORT_RESET };

	if (v->told == TOLD_SENT && virtq_offered(&v->device.queue[EVENT]) != v->offered) {
		v->told = TOLD_ALL;
		virtio_again(&v->device, RX);
	}
	while (v->told == TOLD_NOT && virtio_pop(&v->device, EVENT, &v->chain) <= 0)
		if (!virtio_is_live(&v->device) || !virtq_listen(&v->device.queue[EVENT]))
			return;
	if (v->told != TOLD_NOT)
		return;
	(void)virtq_chain_write(&v->chain, &event, sizeof(event));
	v->told = TOLD_SENT;
	/* a driver keeps several buffers there: the next that it adds is the one that it gives back */
	virtq_listen_behind(&v->device.queue[EVENT]);
	v->offered = virtq_offered(&v->device.queue[EVENT]);
	virtio_complete(&v->device, EVENT, v->chain.head, v->chain.write_done, false);
}

/* ---- From the guest ---- */

static uint32_t take_packet(struct virtio_device *device, struct virtq_chain *chain)
{
	struct vsock *v = vsock_of(device);
	struct virtio_vsock_hdr packet;
	struct iovec iov[VIRTQ_IOV_MAX];
	int n = 0;

	if (virtq_chain_read(chain, &packet, sizeof(packet)) < sizeof(packet) ||
	    packet.len > VSOCK_PACKET_MAX)
		return 0;
	if (packet.op == VIRTIO_VSOCK_OP_RW)
		n = virtq_chain_read_iov(chain, packet.len, iov, VIRTQ_IOV_MAX);
	if (n >= 0)
		vsock_mux_take(v->mux, &packet, iov, n);
	return 0;
}

static void on_notify(struct virtio_device *device, unsigned queue)
{
	struct vsock *v = vsock_of(device);

	if (queue == EVENT)
		send_event(v);
	else if (queue == TX)
		virtio_each(device, TX, &v->chain, TURN_MAX, take_packet);
	send_packets(v);
}

/* ---- The device ---- */

static void on_config_read(struct virtio_device *device, uint32_t offset, void *data, size_t size)
{
	memcpy(data, (const uint8_t *)&vsock_of(device)->guest_cid + offset, size);
}

static int on_activate(struct virtio_device *device)
{
	struct vsock *v = vsock_of(device);

	v->told = TOLD_ALL;
	vsock_mux_start(v->mux);
	return 0;
}

static void on_reset(struct virtio_device *device)
{
	vsock_mux_stop(vsock_of(device)->mux);
}

static void on_free(struct virtio_device *device)
{
	struct vsock *v = vsock_of(device);

	virtio_device_done(device);
	vsock_mux_free(v->mux); /* reset before, so nothing of it is in the loop */
	if (v->directory >= 0)
		(void)close(v->directory);
	if (v->listener >= 0)
		(void)close(v->listener);
	free(v);
}

#define VSOCK_TAG STATE_TAG('V', 'S', 'O', 'K')
enum { VSOCK_VERSION = 1 };

static int on_save(struct virtio_device *device, struct state_writer *writer)
{
	state_begin(writer, VSOCK_TAG, VSOCK_VERSION);
	state_put_u64(writer, vsock_of(device)->guest_cid);
	return state_end(writer);
}

static int on_load(struct virtio_device *device, struct state_reader *reader)
{
	struct vsock *v = vsock_of(device);
	int r = state_enter(reader, VSOCK_TAG, VSOCK_VERSION);
	uint64_t guest_cid;

	if (r < 0)
		return r;
	guest_cid = state_get_u64(reader);
	r = state_leave(reader);
	if (r == 0 && guest_cid != v->guest_cid)
		r = -EPROTO;
	v->told = TOLD_NOT;
	return r;
}

static const struct virtio_ops vsock_ops = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.pci_class = 0x078000,
	.config_read = on_config_read,
	.activate = on_activate,
	.reset = on_reset,
	.notify = on_notify,
	.save = on_save,
	.load = on_load,
	.free = on_free,
};

int virtio_vsock_new(const struct mem *mem, struct worker *worker,
		     const struct virtio_vsock_options *options, struct virtio_device **ret,
		     venv_error **err)
{
	static const uint16_t sizes[] = { QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE };
	_cleanup_close_ int directory = options->directory;
	_cleanup_close_ int listener = options->listener;
	struct vsock *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return venv__fail_nomem(err);
	v->guest_cid = options->guest_cid;
	v->directory = v->listener = -1;
	v->device.config_size = sizeof(v->guest_cid);
	r = virtio_device_init(&v->device, &vsock_ops, mem, worker, 0, sizes, 3, err);
	if (r < 0) {
		free(v);
		return r;
	}
	v->directory = take_fd(&directory);
	v->listener = take_fd(&listener);
	v->mux = vsock_mux_new(worker_loop(worker), v->guest_cid, v->directory, v->listener,
			       on_ready, v);
	if (!v->mux) {
		on_free(&v->device);
		return venv__fail_nomem(err);
	}
	*ret = &v->device;
	return 0;
}
