/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DHCP messages (RFC 2131, 2132): as much as it takes to tell a virtual machine the address that it has
 * anyway. The input is any bytes from a guest: what is not as it must be is no message.
 */
#ifndef VENV_NET_DHCP_H
#define VENV_NET_DHCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DHCP_SERVER_PORT = 67,
	DHCP_CLIENT_PORT = 68,
	DHCP_MAC = 6,
	DHCP_ID_MAX = 64, /* of what a client calls itself: a longer one is not repeated to it */
	DHCP_REPLY_MAX = 548, /* what every client takes */
	DHCP_LEASE = 30 * 24 * 3600,
};

enum dhcp_type {
	DHCP_DISCOVER = 1,
	DHCP_OFFER = 2,
	DHCP_REQUEST = 3,
	DHCP_ACK = 5,
	DHCP_NAK = 6,
	DHCP_INFORM = 8,
};

struct dhcp_request {
	uint8_t type;
	uint8_t xid[4];
	uint16_t flags;
	uint8_t mac[DHCP_MAC];
	uint32_t address;   /* that it uses already (ciaddr), or 0; these in host byte order */
	uint32_t requested; /* option 50, or 0 */
	uint32_t server;    /* option 54, or 0 */
	uint8_t id[DHCP_ID_MAX];
	uint8_t id_length;
};

struct dhcp_lease { /* host byte order */
	uint32_t address;
	uint32_t server;  /* of DHCP and names */
	uint32_t gateway; /* 0: none */
	unsigned prefix;
	uint16_t mtu;
	const char *hostname, *domain; /* NULL, or what does not fit a label: left out */
};

/* false: not a request of a client on this network, say nothing */
bool venv__dhcp_parse(const uint8_t *message, size_t length, struct dhcp_request *ret);
/* What to answer: DHCP_OFFER, DHCP_ACK, DHCP_NAK, or 0: nothing */
uint8_t venv__dhcp_answer(const struct dhcp_request *request, const struct dhcp_lease *lease);
/* Write it. @return its length */
size_t venv__dhcp_reply(uint8_t reply[DHCP_REPLY_MAX], uint8_t type,
			const struct dhcp_request *request, const struct dhcp_lease *lease);

#endif
