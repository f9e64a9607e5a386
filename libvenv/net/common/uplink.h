/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses between the project's namespace and its uplink. 192.0.0.0/24 belongs to protocol
 * assignments (RFC 6890) and is routed nowhere, so no network of a host collides with it.
 */
#ifndef VENV_NET_UPLINK_H
#define VENV_NET_UPLINK_H

#define UPLINK_DEVICE "uplink0"
#define UPLINK_ROUTER_TEXT "192.0.0.1"
#define HOST_ACCESS_TEXT "192.0.0.9"

enum {
	NET_MTU = 65520,
	UPLINK_PREFIX = 29,
	HOST_ACCESS_MARK = 1, /* on packets of machines with host_access, set at their own port */
};

#define UPLINK_NET 0xc0000000u     /* 192.0.0.0/29: to everywhere, by masquerade */
#define UPLINK_ROUTER 0xc0000001u  /* libslirp */
#define UPLINK_ADDRESS 0xc0000002u /* the namespace */
#define ACCESS_NET 0xc0000008u  /* 192.0.0.8/29: to the host's 127.0.0.1, only with host_access */
#define ACCESS_HOST 0xc0000009u /* host.venv.internal */
#define ACCESS_ADDRESS 0xc000000au /* the namespace */

#endif
