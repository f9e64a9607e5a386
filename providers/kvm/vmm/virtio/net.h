/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, section 5.1) with one pair of queues, on a TAP.
 *
 * Theory of operation: the TAP speaks virtio's own header (IFF_VNET_HDR, 12 bytes), so checksums and
 * segmentation are left to whoever does them best, and a frame goes from the guest's memory to the host's
 * kernel in one writev() and back in one readv(). Headers are copied and checked first (net_header.h), and
 * the sender's address with them: a guest sends from its own only. What must not pass is dropped, as
 * networks do. What the guest cannot take the TAP is told not to give (TUNSETOFFLOAD), when the features
 * are known. Receiving is net_rx.h's. When the TAP goes, the link is down. When a machine goes on that stood
 * still, its TAP may be another one, and its neighbours may have given it up: they are told where it is, in its
 * name, by what ARP has for that.
 *   With vhost (vhost.h) the kernel does all of that instead, from the first look at a queue on, until the device is
 * reset, the machine is saved or the link goes down. It checks headers for itself, and no addresses: the filter
 * at the TAP's port of the bridge does (libvenv/net/netns/nft.c), which drops what lies with and without vhost.
 */
#ifndef VMM_VIRTIO_NET_H
#define VMM_VIRTIO_NET_H

#include "device.h"

enum { NET_MAC = 6, NET_IP = 4 };

struct virtio_net_options {
	int tap;   /* taken over in any case; non-blocking, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR */
	int vhost; /* taken over in any case: /dev/vhost-net, or -1 */
	uint8_t mac[NET_MAC];
	uint16_t mtu;
	uint8_t address[NET_IP]; /* what the guest has by DHCP; 0.0.0.0: nobody knows */
};

struct virtio_net_counts {
	uint64_t received, sent;
	uint64_t received_dropped, sent_dropped;
};

int virtio_net_new(const struct mem *mem, struct worker *worker,
		   const struct virtio_net_options *options, struct virtio_device **ret,
		   venv_error **err);
/* From any thread that the worker does not wait for. Without link nothing goes in or out. */
void virtio_net_set_link(struct virtio_device *device, bool up);
/* Of frames that passed through our hands: what vhost carries nobody counts. */
struct virtio_net_counts virtio_net_counts(struct virtio_device *device);

#endif
