/* SPDX-License-Identifier: Apache-2.0 */
/* Links, addresses and routes by rtnetlink: several changes in one message, all answers awaited. */
#ifndef VENV_NET_RTNL_H
#define VENV_NET_RTNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAC_LENGTH = 6 };

struct rtnl {
	int fd;
	uint32_t sequence;
	size_t length;  /* of what is gathered in buffer */
	unsigned count; /* messages in it */
	_Alignas(8) char buffer[4096];
};

/* A netlink socket of the present network namespace. 0 or -errno */
int venv__rtnl_open(struct rtnl *rtnl);
void venv__rtnl_done(struct rtnl *rtnl);
/* Send what was gathered, wait for all answers. 0 or the first failure's -errno */
int venv__rtnl_commit(struct rtnl *rtnl);

/* Index of a link, or -ENODEV. */
int venv__rtnl_index(const char *name);

/* These gather one change each. */
void venv__rtnl_bridge(struct rtnl *rtnl, const char *name, const uint8_t mac[MAC_LENGTH]);
struct rtnl_veth {
	const char *name; /* our end, not up yet */
	const char *peer; /* the other end's name, in its namespace */
	int peer_netns;
	uint8_t peer_mac[MAC_LENGTH];
};
void venv__rtnl_veth(struct rtnl *rtnl, const struct rtnl_veth *veth);
void venv__rtnl_delete(struct rtnl *rtnl, int index);
/* Up, with the MTU of our networks when mtu, and as a port of the bridge when bridge > 0. */
void venv__rtnl_up(struct rtnl *rtnl, int index, unsigned mtu, int bridge);
void venv__rtnl_address(struct rtnl *rtnl, int index, uint32_t address, unsigned prefix);
void venv__rtnl_default_route(struct rtnl *rtnl, int index, uint32_t gateway);

/*
 * Wait until a port of a bridge forwards and the bridge itself is up. The kernel does that some time
 * after it was told (link watch), and drops packets until then: a guest's first one would cost it the
 * second that ARP and TCP wait before they try again. Gives up after a while.
 */
void venv__rtnl_wait_port(struct rtnl *rtnl, int port, int bridge);

#endif
