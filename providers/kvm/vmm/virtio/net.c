/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "machine/state.h"
#include "net_rx.h"
#include "vhost.h"

enum {
	RX = NET_RX_QUEUE,
	TX = 1,
	TURN_MAX = 64, /* frames, so that neither direction keeps the other waiting */
	SOURCE_AT = 6, /* of the sender's address in a frame */
};

struct net {
	struct virtio_device device;
	struct virtio_net_config config;
	int tap;
	struct loop_source *source; /* there are buffers for what it may have */
	struct virtq_chain tx;
	uint64_t sent, dropped;
	struct net_rx rx;
	struct vhost vhost;
	struct loop_source *vhost_error;
	bool may_lend; /* vhost was not tried yet, and the machine does not stand still */
	uint8_t address[NET_IP];
};

static struct net *net_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct net, device);
}

static bool has_link(const struct net *net)
{
	return net->config.status & VIRTIO_NET_S_LINK_UP;
}

/* ---- The kernel in our place ---- */

static void lose_tap(struct net *net);

/* Under lock, as all that follows. A device that went on by itself would not know where. */
static void take_back(struct net *net)
{
	if (!net->vhost.runs)
		return;
	venv__loop_remove(take_ptr(net->source));
	venv__loop_remove(take_ptr(net->vhost_error));
	if (vhost_stop(&net->vhost, &net->device) < 0)
		virtio_broken(&net->device, "nobody knows how far its queues are");
}

/* Nobody reads the TAP then: all that comes is its end. */
static void on_hang_up(void *user, int fd, uint32_t events)
{
	struct net *net = user;

	(void)fd;
	(void)events;
	(void)pthread_mutex_lock(&net->device.lock);
	lose_tap(net);
	(void)pthread_mutex_unlock(&net->device.lock);
}

static void on_vhost_error(void *user, int fd, uint32_t events)
{
	struct net *net = user;

	(void)fd;
	(void)events;
	(void)pthread_mutex_lock(&net->device.lock);
	take_back(net);
	virtio_broken(&net->device, "a queue that breaks the rules");
	(void)pthread_mutex_unlock(&net->device.lock);
}

static void watch(struct net *net, bool wanted);

/* @return whether both queues are the kernel's now. A host that cannot is not asked again. */
static bool lend(struct net *net)
{
	struct loop *loop = worker_loop(net->device.worker);
	int r;

	if (net->vhost.runs)
		return true;
	if (net->vhost.fd < 0 || !net->may_lend || !has_link(net))
		return false;
	net->may_lend = false;
	watch(net, false);
	net_rx_drain(&net->rx, &net->device);
	r = vhost_start(&net->vhost, &net->device, net->tap);
	if (r > 0) {
		net->source = venv__loop_add(loop, net->tap, 0, on_hang_up, net);
		net->vhost_error =
			venv__loop_add(loop, net->vhost.error, EPOLLIN, on_vhost_error, net);
	}
	if (r > 0 && net->source && net->vhost_error)
		return true;
	take_back(net);
	if (r != 0)
		vhost_done(&net->vhost);
	virtio_again(&net->device, RX);
	return false;
}

/* ---- Receiving ---- */

static void on_tap(void *user, int fd, uint32_t events);

/* A source that waits without interest would still be told of a hang-up, for ever: so there is none. */
static void watch(struct net *net, bool wanted)
{
	if (!wanted || net->tap < 0) {
		venv__loop_remove(net->source);
		net->source = NULL;
	} else if (!net->source) {
		net->source = venv__loop_add(worker_loop(net->device.worker), net->tap, EPOLLIN,
					     on_tap, net);
	}
}

static void lose_tap(struct net *net)
{
	take_back(net);
	watch(net, false);
	(void)close(net->tap);
	net->tap = -1;
	net->config.status &= (uint16_t)~VIRTIO_NET_S_LINK_UP;
	virtio_config_changed(&net->device);
}

/* Under lock. */
static void receive(struct net *net)
{
	enum net_rx_state state;

	if (!has_link(net) || !virtio_is_live(&net->device) || !net->device.queue[RX].started) {
		watch(net, false);
		return;
	}
	state = net_rx_run(&net->rx, &net->device, net->tap, TURN_MAX);
	virtio_signal(&net->device, RX);
	if (state == NET_RX_DEAD)
		lose_tap(net);
	else
		watch(net, state != NET_RX_STARVED);
}

static void on_tap(void *user, int fd, uint32_t events)
{
	struct net *net = user;

	(void)fd;
	(void)events;
	(void)pthread_mutex_lock(&net->device.lock);
	receive(net);
	(void)pthread_mutex_unlock(&net->device.lock);
}

/* ---- Sending ---- */

/* What of a request is looked at, and is the host's copy from then on. */
struct head {
	struct virtio_net_hdr_mrg_rxbuf header;
	uint8_t ethernet[NET_ETHERNET];
};

/* @return whether it went out */
static bool send_frame(struct net *net, struct virtq_chain *chain)
{
	struct iovec io[VIRTQ_IOV_MAX];
	struct head head;
	int n;

	if (chain->read_size < NET_HEADER + NET_ETHERNET || !has_link(net))
		return false;
	(void)virtq_chain_read(chain, &head.header, NET_HEADER);
	(void)virtq_chain_read(chain, head.ethernet, NET_ETHERNET);
	if (!net_header_from_guest(&head.header, chain->read_size - NET_HEADER, net->config.mtu,
				   net->device.features) ||
	    memcmp(head.ethernet + SOURCE_AT, net->config.mac, NET_MAC) != 0)
		return false;
	io[0] = (struct iovec){ &head.header, NET_HEADER };
	io[1] = (struct iovec){ head.ethernet, NET_ETHERNET };
	n = virtq_chain_read_iov(chain, chain->read_size - chain->read_done, io + 2,
				 VIRTQ_IOV_MAX - 2);
	return n >= 0 && writev(net->tap, io, n + 2) >= 0;
}

static uint32_t transmit(struct virtio_device *device, struct virtq_chain *chain)
{
	struct net *net = net_of(device);

	if (send_frame(net, chain))
		net->sent++;
	else
		net->dropped++;
	return 0;
}

static void on_notify(struct virtio_device *device, unsigned queue)
{
	struct net *net = net_of(device);

	if (lend(net))
		return;
	if (queue == RX)
		receive(net);
	else
		virtio_each(device, TX, &net->tx, TURN_MAX, transmit);
}

/* ---- The device ---- */

static void on_config_read(struct virtio_device *device, uint32_t offset, void *data, size_t size)
{
	memcpy(data, (const uint8_t *)&net_of(device)->config + offset, size);
}

/* The TAP gives what the guest can take. What is no TAP (in tests) gives what it is told to. */
static int on_activate(struct virtio_device *device)
{
	static const struct {
		unsigned feature, flag;
	} offloads[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM },
		{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
	};
	struct net *net = net_of(device);
	unsigned flags = 0;

	net->may_lend = true;
	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		if (virtio_has(device, VIRTIO_NET_F_GUEST_CSUM) &&
		    virtio_has(device, offloads[i].feature))
			flags |= offloads[i].flag;
	if (net->tap >= 0)
		(void)ioctl(net->tap, TUNSETOFFLOAD, (unsigned long)flags);
	return 0; /* the TAP is watched, or vhost's, from the first look at a queue on */
}

static void on_reset(struct virtio_device *device)
{
	struct net *net = net_of(device);

	take_back(net);
	watch(net, false);
	net_rx_reset(&net->rx);
}

static void on_drain(struct virtio_device *device)
{
	struct net *net = net_of(device);

	take_back(net);
	net->may_lend = false;
	net_rx_drain(&net->rx, device);
	virtio_again(device, RX); /* should it go on: with what was given back */
}

/* A gratuitous ARP (RFC 5227: an announcement). */
static void on_go_on(struct virtio_device *device)
{
	static const uint8_t nobody[NET_IP];
	struct net *net = net_of(device);
	struct {
		uint8_t header[NET_HEADER];
		uint8_t to[NET_MAC], from[NET_MAC], type[2];
		uint8_t request[8]; /* Ethernet, IPv4, their sizes, "who has" */
		uint8_t sender[NET_MAC], sender_ip[NET_IP], target[NET_MAC], target_ip[NET_IP];
	} frame = {
		.to = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		.type = { 8, 6 },
		.request = { 0, 1, 8, 0, NET_MAC, NET_IP, 0, 1 },
	};

	net->may_lend = true;
	virtio_again(device, RX);
	if (!has_link(net) || memcmp(net->address, nobody, NET_IP) == 0)
		return;
	memcpy(frame.from, net->config.mac, NET_MAC);
	memcpy(frame.sender, net->config.mac, NET_MAC);
	memcpy(frame.sender_ip, net->address, NET_IP);
	memcpy(frame.target_ip, net->address, NET_IP);
	(void)!write(net->tap, &frame, sizeof(frame)); /* one that is lost is asked for */
}

static void on_free(struct virtio_device *device)
{
	struct net *net = net_of(device);

	virtio_device_done(device);
	vhost_done(&net->vhost);
	if (net->tap >= 0)
		(void)close(net->tap);
	free(net);
}

#define NET_TAG STATE_TAG('N', 'E', 'T', '0')
enum { NET_VERSION = 1 };

static int on_save(struct virtio_device *device, struct state_writer *writer)
{
	const struct net *net = net_of(device);

	state_begin(writer, NET_TAG, NET_VERSION);
	state_put(writer, net->config.mac, NET_MAC);
	state_put_u16(writer, net->config.mtu);
	return state_end(writer);
}

/* The guest knows its address and MTU: a device with others would not be the same. The link is what it
 * is now. */
static int on_load(struct virtio_device *device, struct state_reader *reader)
{
	const struct net *net = net_of(device);
	uint8_t mac[NET_MAC];
	uint16_t mtu;
	int r = state_enter(reader, NET_TAG, NET_VERSION);

	if (r < 0)
		return r;
	state_get(reader, mac, sizeof(mac));
	mtu = state_get_u16(reader);
	r = state_leave(reader);
	if (r == 0 && (memcmp(mac, net->config.mac, NET_MAC) != 0 || mtu != net->config.mtu))
		r = -EPROTO;
	return r;
}

static const struct virtio_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.pci_class = 0x020000,
	.config_read = on_config_read,
	.activate = on_activate,
	.reset = on_reset,
	.notify = on_notify,
	.drain = on_drain,
	.go_on = on_go_on,
	.save = on_save,
	.load = on_load,
	.free = on_free,
};

#define NET_FEATURES                                                                               \
	(1ULL << VIRTIO_NET_F_MAC | 1ULL << VIRTIO_NET_F_STATUS | 1ULL << VIRTIO_NET_F_MTU |       \
	 1ULL << VIRTIO_NET_F_CSUM | 1ULL << VIRTIO_NET_F_GUEST_CSUM |                             \
	 1ULL << VIRTIO_NET_F_HOST_TSO4 | 1ULL << VIRTIO_NET_F_HOST_TSO6 |                         \
	 1ULL << VIRTIO_NET_F_GUEST_TSO4 | 1ULL << VIRTIO_NET_F_GUEST_TSO6 |                       \
	 1ULL << VIRTIO_NET_F_MRG_RXBUF)

int virtio_net_new(const struct mem *mem, struct worker *worker,
		   const struct virtio_net_options *options, struct virtio_device **ret,
		   venv_error **err)
{
	static const uint16_t sizes[] = { NET_QUEUE_SIZE, NET_QUEUE_SIZE };
	_cleanup_close_ int tap = options->tap, vhost = options->vhost;
	struct net *net = calloc(1, sizeof(*net));
	int r;

	if (!net)
		return venv__fail_nomem(err);
	memcpy(net->config.mac, options->mac, NET_MAC);
	memcpy(net->address, options->address, NET_IP);
	net->config.status = VIRTIO_NET_S_LINK_UP;
	net->config.max_virtqueue_pairs = 1;
	net->config.mtu = options->mtu;
	net->device.config_size = offsetof(struct virtio_net_config, speed);
	r = virtio_device_init(&net->device, &net_ops, mem, worker, NET_FEATURES, sizes, 2, err);
	if (r < 0) {
		free(net);
		return r;
	}
	net->tap = take_fd(&tap);
	(void)vhost_init(&net->vhost, take_fd(&vhost)); /* without it, we do its work */
	*ret = &net->device;
	return 0;
}

struct link_change {
	struct net *net;
	bool up;
};

static void set_link(void *user)
{
	const struct link_change *change = user;
	struct net *net = change->net;
	uint16_t status;

	(void)pthread_mutex_lock(&net->device.lock);
	status = change->up && net->tap >= 0 ? VIRTIO_NET_S_LINK_UP : 0;
	if (status != net->config.status) {
		take_back(net);
		net->may_lend = true;
		net->config.status = status;
		virtio_config_changed(&net->device);
		virtio_again(&net->device, RX);
	}
	(void)pthread_mutex_unlock(&net->device.lock);
}

void virtio_net_set_link(struct virtio_device *device, bool up)
{
	struct link_change change = { net_of(device), up };

	worker_call(device->worker, set_link, &change);
}

struct virtio_net_counts virtio_net_counts(struct virtio_device *device)
{
	const struct net *net = net_of(device);
	struct virtio_net_counts counts;

	(void)pthread_mutex_lock(&device->lock);
	counts = (struct virtio_net_counts){ .received = net->rx.frames,
					     .sent = net->sent,
					     .received_dropped = net->rx.dropped,
					     .sent_dropped = net->dropped };
	(void)pthread_mutex_unlock(&device->lock);
	return counts;
}
