/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets which address by DHCP: whom we know, the address that it was given when it was attached. So
 * nothing is remembered here but that it was asked for, and a netd that was started again goes on where the last one
 * was.
 *
 * Who has no address yet can only be reached by a broadcast; clients tell answers apart by the number of
 * their question. Each interface gets a few answers a second.
 */
#include <arpa/inet.h>
#include <string.h>

#include "../common/uplink.h"
#include "dhcp.h"
#include "netd.h"
#include "util/sys.h"

enum {
	BATCH = 32,
	MESSAGE_MAX = 1500,
	REPLIES_MAX = 8, /* a second: a client sends two messages, then waits */
	SECOND_US = 1000000,
	DOMAIN_SIZE = 160,
};

static bool is_its_mac(const struct interface *interface, const uint8_t mac[DHCP_MAC])
{
	char text[sizeof(interface->mac)];

	(void)snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		       mac[3], mac[4], mac[5]);
	return strcmp(text, interface->mac) == 0;
}

static struct interface *find(const struct network *network, const uint8_t mac[DHCP_MAC],
			      const struct machine **ret_machine)
{
	for (struct machine *m = network->netd->machines; m; m = m->next)
		for (size_t i = 0; i < m->n_interfaces; i++) {
			if (m->interfaces[i].network != network ||
			    !is_its_mac(&m->interfaces[i], mac))
				continue;
			*ret_machine = m;
			return &m->interfaces[i];
		}
	return NULL;
}

static bool may_answer(struct interface *interface)
{
	uint64_t now = venv__now_us();

	if (now - interface->dhcp_since >= SECOND_US) {
		interface->dhcp_since = now;
		interface->dhcp_replies = 0;
	}
	return interface->dhcp_replies++ < REPLIES_MAX;
}

size_t venv__dhcp_serve(const struct network *network, const uint8_t *message, size_t length,
			uint8_t *reply, struct sockaddr_in *ret_to)
{
	const struct machine *machine = NULL;
	char domain[DOMAIN_SIZE];
	struct dhcp_request request;
	struct interface *interface;
	struct dhcp_lease lease;
	uint8_t type;

	if (!venv__dhcp_parse(message, length, &request))
		return 0;
	interface = find(network, request.mac, &machine);
	if (!interface)
		return 0;
	lease = (struct dhcp_lease){
		.address = interface->address,
		.server = network->gateway,
		.gateway = interface->default_route ? network->gateway : 0,
		.prefix = network->prefix,
		.mtu = NET_MTU,
		.hostname = machine->hostname,
		.domain = domain,
	};
	(void)snprintf(domain, sizeof(domain), "%s.venv", network->netd->project);
	type = venv__dhcp_answer(&request, &lease);
	interface->lease = MAX(interface->lease, NET_LEASE_ASKED);
	if (!type || !may_answer(interface))
		return 0;
	if (type == DHCP_ACK)
		interface->lease = NET_LEASE_USED;
	*ret_to = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(DHCP_CLIENT_PORT),
		.sin_addr.s_addr = request.address && type == DHCP_ACK ? htonl(interface->address)
								       : INADDR_BROADCAST,
	};
	return venv__dhcp_reply(reply, type, &request, &lease);
}

void venv__dhcp_receive(void *user, int fd, uint32_t events)
{
	const struct network *network = user;
	uint8_t message[MESSAGE_MAX], reply[DHCP_REPLY_MAX];

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		ssize_t n = recv(fd, message, sizeof(message), 0);
		struct sockaddr_in to;
		size_t length;

		if (n < 0)
			return;
		length = venv__dhcp_serve(network, message, (size_t)n, reply, &to);
		if (length)
			(void)sendto(fd, reply, length, 0, (const struct sockaddr *)&to,
				     sizeof(to));
	}
}
