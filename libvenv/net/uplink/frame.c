/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include "../common/uplink.h"

enum {
	ETHERNET_LENGTH = 14,
	TYPE_IPV4 = 0x0800,
	TYPE_ARP = 0x0806,
	ARP_LENGTH = 28,
	IPV4_LENGTH = 20,
};

static uint32_t read_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static enum frame_way judge_arp(const uint8_t *arp, size_t length)
{
	if (length < ARP_LENGTH)
		return FRAME_DROP;
	switch (read_u32(arp + 24)) { /* the address that is asked for */
	case UPLINK_ROUTER:
		return FRAME_OUT;
	case ACCESS_HOST:
		return FRAME_ACCESS;
	default:
		return FRAME_DROP;
	}
}

enum frame_way venv__frame_judge(const uint8_t *frame, size_t length, const struct ranges *closed)
{
	const uint8_t *body = frame + ETHERNET_LENGTH;
	uint32_t source, destination;
	unsigned type;

	if (length < ETHERNET_LENGTH)
		return FRAME_DROP;
	length -= ETHERNET_LENGTH;
	type = (unsigned)frame[12] << 8 | frame[13];
	if (type == TYPE_ARP)
		return judge_arp(body, length);
	if (type != TYPE_IPV4 || length < IPV4_LENGTH || body[0] >> 4 != 4)
		return FRAME_DROP;
	source = read_u32(body + 12);
	destination = read_u32(body + 16);
	if (destination == ACCESS_HOST)
		return source == ACCESS_ADDRESS ? FRAME_ACCESS : FRAME_DROP;
	if (source != UPLINK_ADDRESS || venv__ranges_have(closed, destination))
		return FRAME_DROP;
	return FRAME_OUT;
}
