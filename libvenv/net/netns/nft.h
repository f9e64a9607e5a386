/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet filter of the project's namespace, by nfnetlink (running `nft` costs 12 ms and more).
 *
 *   table ip venv
 *     chain forward   filter, policy drop:
 *                       mark 1, to host.venv.internal, out by the uplink   accept
 *                       in by anything but the uplink                      jump closed
 *                       established, related                               accept
 *                       per network: from its bridge to itself             accept
 *                       per network with nat: from its bridge to the uplink accept
 *     chain closed    the host's own addresses and what is never reachable: reject
 *     chain input     filter, policy drop: answers, and per network DNS, DHCP and echo at its gateway
 *     chain post      nat: masquerade what leaves by the uplink
 *   table ip6 venv    forward and input, policy drop, no rules
 *   table netdev venv one chain at the port of each machine, policy drop: only what it may say of itself
 *                     (its MAC and IPv4 address in Ethernet, ARP, IPv4 and DHCP) passes; packets of one
 *                     with host_access are marked
 */
#ifndef VENV_NET_NFT_H
#define VENV_NET_NFT_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/ranges.h"
#include "rtnl.h"

/* Delete the tables of a netd that died. */
void venv__nft_clear(void);
/* Make the tables. 0 or -errno */
int venv__nft_base(const struct ranges *closed);
int venv__nft_close(const struct ranges *closed);
int venv__nft_network(const char *bridge, uint32_t gateway, bool nat);
/*
 * Let the machine behind this port speak for nobody else; and, with host_access, reach
 * host.venv.internal: nobody else can forge its mark.
 */
int venv__nft_guard(const char *port, const uint8_t mac[MAC_LENGTH], uint32_t address,
		    bool host_access);
/*
 * The port has gone. Its chain has not, from Linux 6.16 on: it would wait for the next device of that
 * name, and give it the rights of the last.
 */
void venv__nft_forget(const char *port);

#endif
