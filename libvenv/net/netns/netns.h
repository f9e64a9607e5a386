/* SPDX-License-Identifier: Apache-2.0 */
/* venv-netns: what its files share. */
#ifndef VENV_NET_NETNS_H
#define VENV_NET_NETNS_H

#include "../common/ranges.h"
#include "rtnl.h"
#include "util/msg.h"

struct machine_ns { /* a machine that has plugged; sockets can be made in its namespace */
	struct machine_ns *next;
	char *id;
	int netns_fd;
};

struct netns {
	int control; /* to netd */
	int own_fd;  /* the project's network namespace, to come back to */
	struct machine_ns *machines;
};

/* Enter (adopt) or make the namespaces, set them up, hand them and the TAP to netd. */
int venv__netns_setup(struct netns *netns, bool adopt, venv_error **err);
/* confine.c: give up for good what the operations do not need. */
int venv__netns_confine(venv_error **err);

/* The operations of netd's requests. They answer through *ret_fds; an empty reply is sent for them. */
int venv__netns_network(struct netns *netns, const json_t *request, struct msg_fds *ret_fds,
			venv_error **err);
int venv__netns_plug(struct netns *netns, const json_t *request, int machine_fd, venv_error **err);
int venv__netns_unplug(struct netns *netns, const json_t *request, venv_error **err);
int venv__netns_tap(struct netns *netns, const json_t *request, struct msg_fds *ret_fds,
		    venv_error **err);
int venv__netns_socket(struct netns *netns, const json_t *request, struct msg_fds *ret_fds,
		       venv_error **err);

struct plug { /* one interface */
	const char *device, *name, *bridge;
	uint32_t address, gateway;
	unsigned prefix;
	uint8_t mac[MAC_LENGTH];
};
bool venv__plug_read(const json_t *object, struct plug *ret);
/* Guard our end of it, which is there, and let it up. The filter comes first: no frame is faster. */
int venv__plug_connect(struct rtnl *rtnl, const struct plug *plug, bool host_access);

/* A TAP device, up, with the MTU of our networks: its descriptor or -errno. */
int venv__tap_open(const char *name, int flags);

#endif
