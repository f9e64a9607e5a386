/* SPDX-License-Identifier: Apache-2.0 */
#include "nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../common/uplink.h"
#include "nft_batch.h"

#define TABLE "venv"

/* Kernels without nft_reject just drop: guests then wait for their time-outs. */
static bool no_reject;

static void add_closed(struct batch *batch, const struct ranges *closed)
{
	for (size_t i = 0; i < closed->n; i++) {
		nft_rule(batch, NFPROTO_IPV4, TABLE, "closed");
		nft_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, 16, 4);
		nft_compare_u32(batch, NFT_CMP_GTE, htonl(closed->list[i].first));
		nft_compare_u32(batch, NFT_CMP_LTE, htonl(closed->list[i].last));
		if (!no_reject)
			nft_reject(batch);
		nft_verdict(batch, NF_DROP, NULL);
		nft_rule_end(batch);
	}
}

int venv__nft_close(const struct ranges *closed)
{
	_cleanup_batch_ struct batch batch = { 0 };

	nft_begin(&batch);
	nft_flush(&batch, NFPROTO_IPV4, TABLE, "closed");
	add_closed(&batch, closed);
	return nft_commit(&batch);
}

static void add_forward(struct batch *batch)
{
	nft_rule(batch, NFPROTO_IPV4, TABLE, "forward");
	nft_meta(batch, NFT_META_MARK);
	nft_compare_u32(batch, NFT_CMP_EQ, HOST_ACCESS_MARK);
	nft_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, 16, 4);
	nft_compare_u32(batch, NFT_CMP_EQ, htonl(ACCESS_HOST));
	nft_interface(batch, NFT_META_OIFNAME, NFT_CMP_EQ, UPLINK_DEVICE);
	nft_verdict(batch, NF_ACCEPT, NULL);
	nft_rule_end(batch);

	nft_rule(batch, NFPROTO_IPV4, TABLE, "forward");
	nft_interface(batch, NFT_META_IIFNAME, NFT_CMP_NEQ, UPLINK_DEVICE);
	nft_verdict(batch, NFT_JUMP, "closed");
	nft_rule_end(batch);

	nft_rule(batch, NFPROTO_IPV4, TABLE, "forward");
	nft_established(batch);
	nft_verdict(batch, NF_ACCEPT, NULL);
	nft_rule_end(batch);
}

static void add_chains(struct batch *batch)
{
	nft_table(batch, NFT_MSG_NEWTABLE, NFPROTO_IPV4, TABLE);
	nft_chain(batch, NFPROTO_IPV4, TABLE, "closed", NULL);
	nft_chain(batch, NFPROTO_IPV4, TABLE, "forward",
		  &(struct hook){ "filter", NF_INET_FORWARD, 0, NF_DROP, NULL });
	nft_chain(batch, NFPROTO_IPV4, TABLE, "input",
		  &(struct hook){ "filter", NF_INET_LOCAL_IN, 0, NF_DROP, NULL });
	nft_chain(batch, NFPROTO_IPV4, TABLE, "post",
		  &(struct hook){ "nat", NF_INET_POST_ROUTING, 100, NF_ACCEPT, NULL });
}

static int add_ipv6(void)
{
	_cleanup_batch_ struct batch batch = { 0 };

	nft_begin(&batch);
	nft_table(&batch, NFT_MSG_NEWTABLE, NFPROTO_IPV6, TABLE);
	nft_chain(&batch, NFPROTO_IPV6, TABLE, "forward",
		  &(struct hook){ "filter", NF_INET_FORWARD, 0, NF_DROP, NULL });
	nft_chain(&batch, NFPROTO_IPV6, TABLE, "input",
		  &(struct hook){ "filter", NF_INET_LOCAL_IN, 0, NF_DROP, NULL });
	return nft_commit(&batch);
}

/*
 * Tables of a netd that died. Made before they are deleted, so that there is always one: a transaction
 * that fails costs the kernel a grace period of RCU, 10 ms and more.
 */
static void delete_table(uint8_t family)
{
	_cleanup_batch_ struct batch batch = { 0 };

	nft_begin(&batch);
	nft_table(&batch, NFT_MSG_NEWTABLE, family, TABLE);
	nft_table(&batch, NFT_MSG_DELTABLE, family, TABLE);
	(void)nft_commit(&batch);
}

void venv__nft_clear(void)
{
	delete_table(NFPROTO_IPV4);
	delete_table(NFPROTO_IPV6);
	/* the guards of ports stay: a machine that runs must not be unguarded until it is plugged again */
}

static int add_ipv4(const struct ranges *closed)
{
	_cleanup_batch_ struct batch batch = { 0 };

	nft_begin(&batch);
	add_chains(&batch);
	add_forward(&batch);
	add_closed(&batch, closed);
	nft_rule(&batch, NFPROTO_IPV4, TABLE, "input");
	nft_established(&batch);
	nft_verdict(&batch, NF_ACCEPT, NULL);
	nft_rule_end(&batch);
	nft_rule(&batch, NFPROTO_IPV4, TABLE, "post");
	nft_interface(&batch, NFT_META_OIFNAME, NFT_CMP_EQ, UPLINK_DEVICE);
	nft_masquerade(&batch);
	nft_rule_end(&batch);
	return nft_commit(&batch);
}

int venv__nft_base(const struct ranges *closed)
{
	int r = add_ipv4(closed);

	if (r < 0) {
		no_reject = true;
		r = add_ipv4(closed);
	}
	if (r < 0)
		return r;
	r = add_ipv6();
	/* a kernel without IPv6 forwards none */
	return r == -EAFNOSUPPORT || r == -EOPNOTSUPP ? 0 : r;
}

/* Accept at the gateway: the protocol, and the port unless 0. */
static void add_service(struct batch *batch, const char *bridge, uint32_t gateway, uint8_t protocol,
			uint16_t port)
{
	nft_rule(batch, NFPROTO_IPV4, TABLE, "input");
	nft_interface(batch, NFT_META_IIFNAME, NFT_CMP_EQ, bridge);
	if (gateway) {
		nft_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, 16, 4);
		nft_compare_u32(batch, NFT_CMP_EQ, htonl(gateway));
	}
	nft_meta(batch, NFT_META_L4PROTO);
	nft_compare(batch, NFT_CMP_EQ, &protocol, sizeof(protocol));
	if (port) {
		uint16_t wire = htons(port);

		nft_payload(batch, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
		nft_compare(batch, NFT_CMP_EQ, &wire, sizeof(wire));
	}
	nft_verdict(batch, NF_ACCEPT, NULL);
	nft_rule_end(batch);
}

static void add_pass(struct batch *batch, const char *from, const char *to)
{
	nft_rule(batch, NFPROTO_IPV4, TABLE, "forward");
	nft_interface(batch, NFT_META_IIFNAME, NFT_CMP_EQ, from);
	nft_interface(batch, NFT_META_OIFNAME, NFT_CMP_EQ, to);
	nft_verdict(batch, NF_ACCEPT, NULL);
	nft_rule_end(batch);
}

int venv__nft_network(const char *bridge, uint32_t gateway, bool nat)
{
	_cleanup_batch_ struct batch batch = { 0 };

	nft_begin(&batch);
	/* bridged frames come here too where br_netfilter is loaded */
	add_pass(&batch, bridge, bridge);
	if (nat)
		add_pass(&batch, bridge, UPLINK_DEVICE);
	add_service(&batch, bridge, gateway, IPPROTO_UDP, 53);
	add_service(&batch, bridge, gateway, IPPROTO_TCP, 53);
	add_service(&batch, bridge, gateway, IPPROTO_ICMP, 0);
	add_service(&batch, bridge, 0, IPPROTO_UDP, 67);
	return nft_commit(&batch);
}

static void add_port(struct batch *batch, const char *port)
{
	struct hook hook = { "filter", NF_NETDEV_INGRESS, 0, NF_DROP, port };

	nft_table(batch, NFT_MSG_NEWTABLE, NFPROTO_NETDEV, TABLE);
	nft_chain(batch, NFPROTO_NETDEV, TABLE, port, &hook);
	nft_flush(batch, NFPROTO_NETDEV, TABLE, port);
}

static void begin_protocol(struct batch *batch, const char *port, uint16_t protocol)
{
	protocol = htons(protocol);
	nft_rule(batch, NFPROTO_NETDEV, TABLE, port);
	nft_meta(batch, NFT_META_PROTOCOL);
	nft_compare(batch, NFT_CMP_EQ, &protocol, sizeof(protocol));
}

static void add_mark(struct batch *batch, const char *port, uint32_t address)
{
	begin_protocol(batch, port, ETH_P_IP);
	nft_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, 12, 4);
	nft_compare_u32(batch, NFT_CMP_EQ, htonl(address));
	nft_set_mark(batch, HOST_ACCESS_MARK);
	nft_rule_end(batch);
}

/* ARP by this MAC, for the address or while it is looked whether somebody has it (RFC 5227). */
static void add_arp(struct batch *batch, const char *port, const uint8_t mac[MAC_LENGTH],
		    uint32_t address)
{
	begin_protocol(batch, port, ETH_P_ARP);
	nft_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, 8, MAC_LENGTH);
	nft_compare(batch, NFT_CMP_EQ, mac, MAC_LENGTH);
	nft_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, 14, 4);
	nft_compare_u32(batch, NFT_CMP_EQ, htonl(address));
	nft_verdict(batch, NF_ACCEPT, NULL);
	nft_rule_end(batch);
}

static void begin_dhcp(struct batch *batch, const char *port)
{
	const uint8_t protocol = IPPROTO_UDP;
	const uint16_t server = htons(67);

	begin_protocol(batch, port, ETH_P_IP);
	nft_meta(batch, NFT_META_L4PROTO);
	nft_compare(batch, NFT_CMP_EQ, &protocol, sizeof(protocol));
	nft_payload(batch, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
	nft_compare(batch, NFT_CMP_EQ, &server, sizeof(server));
}

/* Asking for an address: for its own MAC only, and without an address to nobody but everybody. */
static void add_dhcp(struct batch *batch, const char *port, const uint8_t mac[MAC_LENGTH])
{
	enum { CHADDR = 8 + 28 };

	begin_dhcp(batch, port);
	nft_payload(batch, NFT_PAYLOAD_TRANSPORT_HEADER, CHADDR, MAC_LENGTH);
	nft_compare(batch, NFT_CMP_NEQ, mac, MAC_LENGTH);
	nft_verdict(batch, NF_DROP, NULL);
	nft_rule_end(batch);

	begin_dhcp(batch, port);
	nft_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, 12, 4);
	nft_compare_u32(batch, NFT_CMP_EQ, 0);
	nft_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, 16, 4);
	nft_compare_u32(batch, NFT_CMP_EQ, UINT32_MAX);
	nft_verdict(batch, NF_ACCEPT, NULL);
	nft_rule_end(batch);
}

int venv__nft_guard(const char *port, const uint8_t mac[MAC_LENGTH], uint32_t address,
		    bool host_access)
{
	_cleanup_batch_ struct batch batch = { 0 };

	nft_begin(&batch);
	add_port(&batch, port);
	nft_rule(&batch, NFPROTO_NETDEV, TABLE, port);
	nft_payload(&batch, NFT_PAYLOAD_LL_HEADER, 6, MAC_LENGTH);
	nft_compare(&batch, NFT_CMP_NEQ, mac, MAC_LENGTH);
	nft_verdict(&batch, NF_DROP, NULL);
	nft_rule_end(&batch);
	add_arp(&batch, port, mac, address);
	add_arp(&batch, port, mac, 0);
	add_dhcp(&batch, port, mac);
	if (host_access)
		add_mark(&batch, port, address);
	begin_protocol(&batch, port, ETH_P_IP);
	nft_payload(&batch, NFT_PAYLOAD_NETWORK_HEADER, 12, 4);
	nft_compare_u32(&batch, NFT_CMP_EQ, htonl(address));
	nft_verdict(&batch, NF_ACCEPT, NULL);
	nft_rule_end(&batch);
	return nft_commit(&batch);
}

void venv__nft_forget(const char *port)
{
	_cleanup_batch_ struct batch batch = { 0 };

	nft_begin(&batch);
	/* older kernels have deleted it together with the device: made before it is deleted, see
	 * delete_table() */
	nft_table(&batch, NFT_MSG_NEWTABLE, NFPROTO_NETDEV, TABLE);
	nft_chain(&batch, NFPROTO_NETDEV, TABLE, port, NULL);
	nft_flush(&batch, NFPROTO_NETDEV, TABLE, port);
	nft_chain_delete(&batch, NFPROTO_NETDEV, TABLE, port);
	(void)nft_commit(&batch);
}
