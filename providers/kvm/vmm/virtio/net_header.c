/* SPDX-License-Identifier: Apache-2.0 */
#include "net_header.h"

#include "util/compiler.h"

/* Which feature allows a kind of segmentation, by who is to be protected from it. */
static const struct kind {
	uint8_t gso_type;
	uint8_t host, guest;
} kinds[] = {
	{ VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4 },
	{ VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6 },
};

static bool has(uint64_t features, unsigned bit)
{
	return (features >> bit) & 1;
}

static bool checksum_is_inside(const struct virtio_net_hdr_mrg_rxbuf *header, size_t frame)
{
	size_t start = header->hdr.csum_start;

	return start >= NET_ETHERNET && start + header->hdr.csum_offset + 2u <= frame;
}

/* Segmentation of a kind that was negotiated, with numbers that make sense. */
static bool may_be_cut(const struct virtio_net_hdr_mrg_rxbuf *header, size_t frame,
		       uint64_t features, bool to_host)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (header->hdr.gso_type == kinds[i].gso_type)
			return has(features, to_host ? kinds[i].host : kinds[i].guest) &&
			       header->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
			       header->hdr.gso_size >= NET_GSO_MIN && header->hdr.hdr_len <= frame;
	return false;
}

bool net_header_from_guest(struct virtio_net_hdr_mrg_rxbuf *header, size_t frame, unsigned mtu,
			   uint64_t features)
{
	header->num_buffers = 0;
	header->hdr.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM; /* others are to be ignored */
	if (frame < NET_ETHERNET || frame > NET_FRAME_MAX)
		return false;
	if (!header->hdr.flags)
		header->hdr.csum_start = header->hdr.csum_offset = 0;
	else if (!has(features, VIRTIO_NET_F_CSUM) || !checksum_is_inside(header, frame))
		return false;
	if (header->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return may_be_cut(header, frame, features, true);
	header->hdr.gso_size = header->hdr.hdr_len = 0;
	return frame <= mtu + NET_ETHERNET + NET_VLAN;
}

bool net_header_from_host(struct virtio_net_hdr_mrg_rxbuf *header, size_t frame, uint64_t features)
{
	header->hdr.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID;
	if (frame < NET_ETHERNET || frame > NET_FRAME_MAX)
		return false;
	if (!has(features, VIRTIO_NET_F_GUEST_CSUM)) {
		if (header->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			return false;
		header->hdr.flags = 0;
	} else if (header->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
		   !checksum_is_inside(header, frame)) {
		return false;
	}
	return header->hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE ||
	       may_be_cut(header, frame, features, false);
}
