/* SPDX-License-Identifier: Apache-2.0 */
#include "dhcp.h"

#include <string.h>

#include "util/compiler.h"

/* Where things are in a message. */
enum {
	AT_OP = 0,
	AT_HTYPE = 1,
	AT_HLEN = 2,
	AT_XID = 4,
	AT_FLAGS = 10,
	AT_CIADDR = 12,
	AT_YIADDR = 16,
	AT_GIADDR = 24,
	AT_CHADDR = 28,
	AT_COOKIE = 236,
	AT_OPTIONS = 240,
	REPLY_MIN = 300, /* BOOTP's size, below which some clients see none */
	LABEL_MAX = 63,
	DOMAIN_MAX = 128,
};

enum option {
	OPTION_PAD = 0,
	OPTION_MASK = 1,
	OPTION_ROUTER = 3,
	OPTION_DNS = 6,
	OPTION_HOSTNAME = 12,
	OPTION_DOMAIN = 15,
	OPTION_MTU = 26,
	OPTION_BROADCAST = 28,
	OPTION_REQUESTED = 50,
	OPTION_LEASE = 51,
	OPTION_TYPE = 53,
	OPTION_SERVER = 54,
	OPTION_RENEW = 58,
	OPTION_REBIND = 59,
	OPTION_ID = 61,
	OPTION_END = 255,
};

static const uint8_t cookie[4] = { 99, 130, 83, 99 };

static uint32_t get_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void set_u32(uint8_t *at, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* ---- Requests ---- */

static bool is_address_once(const uint8_t *value, size_t length, uint32_t *ret)
{
	if (length != 4 || *ret)
		return false;
	*ret = get_u32(value);
	return true;
}

/* @return false: an option that cannot be, or that comes twice */
static bool take_option(struct dhcp_request *request, uint8_t option, const uint8_t *value,
			size_t length)
{
	switch (option) {
	case OPTION_TYPE:
		if (length != 1 || request->type)
			return false;
		request->type = *value;
		return true;
	case OPTION_REQUESTED:
		return is_address_once(value, length, &request->requested);
	case OPTION_SERVER:
		return is_address_once(value, length, &request->server);
	case OPTION_ID:
		if (length < 2 || request->id_length)
			return false;
		if (length > DHCP_ID_MAX)
			return true;
		memcpy(request->id, value, length);
		request->id_length = (uint8_t)length;
		return true;
	default:
		return true;
	}
}

/* They end with OPTION_END within the message, or it was cut off. */
static bool parse_options(const uint8_t *at, size_t left, struct dhcp_request *request)
{
	while (left && *at != OPTION_END) {
		size_t length;

		if (*at == OPTION_PAD) {
			at++;
			left--;
			continue;
		}
		if (left < 2 || left - 2 < at[1])
			return false;
		length = at[1];
		if (!take_option(request, *at, at + 2, length))
			return false;
		at += 2 + length;
		left -= 2 + length;
	}
	return left && request->type;
}

bool venv__dhcp_parse(const uint8_t *message, size_t length, struct dhcp_request *ret)
{
	*ret = (struct dhcp_request){ 0 };
	if (length < AT_OPTIONS || message[AT_OP] != 1 || message[AT_HTYPE] != 1 ||
	    message[AT_HLEN] != DHCP_MAC || get_u32(message + AT_GIADDR) ||
	    memcmp(message + AT_COOKIE, cookie, sizeof(cookie)) != 0)
		return false;
	memcpy(ret->xid, message + AT_XID, sizeof(ret->xid));
	ret->flags = (uint16_t)(message[AT_FLAGS] << 8 | message[AT_FLAGS + 1]);
	memcpy(ret->mac, message + AT_CHADDR, DHCP_MAC);
	ret->address = get_u32(message + AT_CIADDR);
	return parse_options(message + AT_OPTIONS, length - AT_OPTIONS, ret);
}

uint8_t venv__dhcp_answer(const struct dhcp_request *request, const struct dhcp_lease *lease)
{
	uint32_t wanted = request->requested ? request->requested : request->address;

	switch (request->type) {
	case DHCP_DISCOVER:
		return DHCP_OFFER;
	case DHCP_REQUEST:
		if (request->server && request->server != lease->server)
			return 0; /* it took another's offer */
		return wanted == lease->address ? DHCP_ACK : DHCP_NAK;
	case DHCP_INFORM:
		return request->address == lease->address ? DHCP_ACK : 0;
	default:
		return 0;
	}
}

/* ---- Replies ---- */

struct writer {
	uint8_t *data;
	size_t length;
};

static void put(struct writer *writer, uint8_t option, const void *value, size_t length)
{
	if (writer->length + 2 + length >= DHCP_REPLY_MAX) /* one remains for the end */
		return;
	writer->data[writer->length] = option;
	writer->data[writer->length + 1] = (uint8_t)length;
	memcpy(writer->data + writer->length + 2, value, length);
	writer->length += 2 + length;
}

static void put_u32(struct writer *writer, uint8_t option, uint32_t value)
{
	uint8_t wire[4];

	set_u32(wire, value);
	put(writer, option, wire, sizeof(wire));
}

static void put_text(struct writer *writer, uint8_t option, const char *text, size_t max)
{
	size_t length = text ? strlen(text) : 0;

	if (length && length <= max)
		put(writer, option, text, length);
}

static void put_times(struct writer *writer)
{
	put_u32(writer, OPTION_LEASE, DHCP_LEASE);
	put_u32(writer, OPTION_RENEW, DHCP_LEASE / 2);
	put_u32(writer, OPTION_REBIND, DHCP_LEASE / 8 * 7);
}

static void put_network(struct writer *writer, const struct dhcp_lease *lease)
{
	uint32_t hosts = lease->prefix >= 32 ? 0 : UINT32_MAX >> lease->prefix;
	const uint8_t mtu[] = { (uint8_t)(lease->mtu >> 8), (uint8_t)lease->mtu };

	put_u32(writer, OPTION_MASK, ~hosts);
	put_u32(writer, OPTION_BROADCAST, lease->address | hosts);
	if (lease->gateway)
		put_u32(writer, OPTION_ROUTER, lease->gateway);
	put_u32(writer, OPTION_DNS, lease->server);
	put(writer, OPTION_MTU, mtu, sizeof(mtu));
	put_text(writer, OPTION_HOSTNAME, lease->hostname, LABEL_MAX);
	put_text(writer, OPTION_DOMAIN, lease->domain, DOMAIN_MAX);
}

size_t venv__dhcp_reply(uint8_t reply[DHCP_REPLY_MAX], uint8_t type,
			const struct dhcp_request *request, const struct dhcp_lease *lease)
{
	struct writer writer = { reply, AT_OPTIONS };

	memset(reply, 0, DHCP_REPLY_MAX);
	reply[AT_OP] = 2;
	reply[AT_HTYPE] = 1;
	reply[AT_HLEN] = DHCP_MAC;
	memcpy(reply + AT_XID, request->xid, sizeof(request->xid));
	reply[AT_FLAGS] = (uint8_t)(request->flags >> 8);
	reply[AT_FLAGS + 1] = (uint8_t)request->flags;
	if (type != DHCP_NAK)
		set_u32(reply + AT_CIADDR, request->address);
	if (type != DHCP_NAK && request->type != DHCP_INFORM)
		set_u32(reply + AT_YIADDR, lease->address);
	memcpy(reply + AT_CHADDR, request->mac, DHCP_MAC);
	memcpy(reply + AT_COOKIE, cookie, sizeof(cookie));
	put(&writer, OPTION_TYPE, &type, 1);
	put_u32(&writer, OPTION_SERVER, lease->server);
	if (request->id_length)
		put(&writer, OPTION_ID, request->id, request->id_length); /* RFC 6842 */
	if (type != DHCP_NAK) {
		if (request->type != DHCP_INFORM)
			put_times(&writer);
		put_network(&writer, lease);
	}
	reply[writer.length++] = OPTION_END;
	return MAX(writer.length, (size_t)REPLY_MIN);
}
