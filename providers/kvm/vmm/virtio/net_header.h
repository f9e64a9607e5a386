/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header in front of each frame of virtio-net, checked (virtio 1.2, section 5.1.6). What a guest
 * writes there is obeyed by the host's kernel behind the TAP, so only what it may ask for goes through.
 */
#ifndef VMM_VIRTIO_NET_HEADER_H
#define VMM_VIRTIO_NET_HEADER_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	NET_HEADER = 12, /* always with num_buffers: we speak no legacy */
	NET_ETHERNET = 14,
	NET_VLAN = 4,
	NET_FRAME_MAX =
		65550, /* one that is to be cut up: 65535 bytes behind its Ethernet header, and one */
	NET_GSO_MIN =
		48, /* what Linux itself goes down to: less is an attack on the one that cuts */
};

/*
 * May the guest send this? What needs no refusal is put right in *header.
 * @param frame its length
 * @param features what was negotiated
 */
bool net_header_from_guest(struct virtio_net_hdr_mrg_rxbuf *header, size_t frame, unsigned mtu,
			   uint64_t features);
/* May the guest be given this, which the TAP gave us? */
bool net_header_from_host(struct virtio_net_hdr_mrg_rxbuf *header, size_t frame, uint64_t features);

#endif
