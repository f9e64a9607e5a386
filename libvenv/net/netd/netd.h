/* SPDX-License-Identifier: Apache-2.0 */
/* venv-netd: what its files share. main.c says how the process works. */
#ifndef VENV_NET_NETD_H
#define VENV_NET_NETD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "../common/lease.h"
#include "../common/ranges.h"
#include "util/idmap.h"
#include "util/loop.h"
#include "util/msg.h"

struct netd;
struct machine;
struct resolver;
struct flow;
struct connection;

struct network {
	struct network *next;
	char *name;
	char bridge[16];
	bool nat;
	bool asked, made;   /* made: the bridge exists and the listeners are open */
	venv_error *failed; /* why it was not made, the last time it was asked for */
	uint32_t subnet, gateway;
	unsigned prefix;
	struct netd *netd;
	int udp_fd, tcp_fd, dhcp_fd; /* of the resolver, and of DHCP */
	struct loop_source *udp, *tcp, *dhcp;
};

struct interface {
	struct network *network;
	uint32_t address;
	enum net_lease lease;
	bool default_route;
	char name[16];   /* in the machine: "eth0" */
	char device[16]; /* our end */
	char mac[18];
	unsigned dhcp_replies; /* in the second since */
	uint64_t dhcp_since;
};

struct port {
	struct machine *machine;
	char *name, *service; /* or NULL */
	struct sockaddr_storage address;
	uint16_t host, guest;
	bool udp;
	bool own_loopback; /* the machine refused at its address: it listens on its 127.0.0.1 */
	int fd;
	struct loop_source *source; /* NULL until the machine is plugged */
	struct loop_source *pause;  /* accepting again later: out of descriptors */
	struct flow *flows;         /* udp */
	struct loop_source *sweep;  /* udp: forgets old flows */
};

struct machine {
	struct machine *next;
	struct netd *netd;
	char *id, *name, *hostname;
	bool host_access, plugged;
	bool tap; /* a virtual machine: sockets are made in the project's namespace */
	struct interface *interfaces;
	size_t n_interfaces;
	struct port *ports;
	size_t n_ports;
	struct connection *connections;
};

struct client {
	struct client *next;
	struct netd *netd;
	int fd;
	struct loop_source *source;
	struct machine *machine; /* attached through this connection */
	struct attach *attach;   /* in progress */
	struct dial *dial;       /* in progress */
};

struct pipe_pool {
	struct pipe_pair *small, *large; /* empty ones */
	unsigned n_large;                /* in all */
};

struct netd {
	struct loop *loop;
	int listener, dir_fd;
	const char *project;
	struct idmap map;
	bool adopted, ever_attached;
	struct loop_source *grace;
	int userns_fd, netns_fd;
	struct helper *netns;
	int uplink; /* socket to venv-uplink */
	struct host *host;
	struct ranges closed;
	struct network *networks;
	struct client *clients;
	struct machine *machines;
	json_t *memory; /* net.json: subnets and addresses that were given before */
	struct resolver *resolver;
	struct pipe_pool pipes;
	unsigned n_connections, n_flows;
	unsigned connections_max;
};

void venv__netd_log(const char *format, ...) _printf_(1, 2);
/* A child died: nothing works any more; the next command starts anew. */
void venv__netd_fail(struct netd *netd, const char *why);

/* start.c: children up to the point where the loop can run. */
int venv__netd_start_children(struct netd *netd, bool adopt, venv_error **err);
/* scope.c: out of the login session */
void venv__netd_scope(const struct netd *netd, const pid_t *children, size_t n);
int venv__netd_confine(struct netd *netd, venv_error **err);

/*
 * helper.c: questions to venv-netns, answered in order.
 * fn: err is set on failure (borrowed); fds not taken are closed. Not called once cancelled.
 */
typedef void (*answer_fn)(void *user, const json_t *reply, struct msg_fds *fds,
			  const venv_error *err);
struct helper *venv__helper_new(struct netd *netd, int socket);
void venv__helper_ask(struct netd *netd, json_t *request, int fd, answer_fn fn, void *user);
void venv__helper_cancel(struct netd *netd, const void *user);
/* A TCP or UDP socket from which the machine is reached. */
void venv__helper_ask_socket(struct netd *netd, const struct machine *machine, bool udp,
			     answer_fn fn, void *user);

/* control.c: connections of the library and of machines' processes. */
int venv__control_start(struct netd *netd);
bool venv__control_add(struct netd *netd,
		       int fd); /* a connection; false: no memory, fd is not taken */
void venv__control_dispatch(struct client *client, const json_t *request, struct msg_fds *fds);
void venv__control_reply(struct client *client, json_t *reply, const int *fds, size_t n_fds);
void venv__control_error(struct client *client, const venv_error *err, const char *key,
			 size_t index);
/* Free the connections (but this one) whose other end is gone already, and so what they held. */
void venv__control_sweep(struct netd *netd, const struct client *but);

/* attach.c */
void venv__attach_begin(struct client *client, const json_t *request, venv_error **err);
void venv__attach_cancel(struct client *client);

/* dial.c */
void venv__dial_begin(struct client *client, const json_t *request, venv_error **err);
void venv__dial_cancel(struct client *client);

/* machine.c */
struct machine *venv__machine_find(struct netd *netd, const char *id);
void venv__machine_free(struct machine *machine);                /* with everything that it has */
json_t *venv__machine_interfaces(const struct machine *machine); /* as clients are told */
json_t *venv__machine_ports(const struct machine *machine);
/* Somebody answered there. */
void venv__interface_used(struct netd *netd, uint32_t address);
/* Answers with an interface's description for venv-netns. */
json_t *venv__interface_plug(const struct interface *interface);
void venv__machine_plug(struct client *client, int netns_fd, venv_error **err);
void venv__machine_tap(struct client *client, const json_t *request, venv_error **err);

/* network.c */
struct network *venv__network_get(struct netd *netd, const json_t *request, venv_error **err);
struct network *venv__network_find(struct netd *netd, const char *name);
void venv__network_ask(struct network *network); /* venv-netns to make it, unless it was asked */
/* An address for a machine: the one asked for, the one that it had, or a free one by its name. */
int venv__network_address(struct network *network, const char *machine, const char *wanted,
			  uint32_t *ret, venv_error **err);
uint64_t venv__name_hash(const char *a, const char *b);
void venv__memory_load(struct netd *netd);
void venv__memory_save(const struct netd *netd);
void venv__address_text(uint32_t address, char ret[INET_ADDRSTRLEN]);

/* ports.c */
int venv__port_open(struct port *port, const json_t *request, venv_error **err); /* bind */
void venv__port_start(struct port *port);                                        /* serve */
void venv__port_done(struct port *port);

/* tcp.c, udp.c */
void venv__tcp_accept(void *user, int fd, uint32_t events);
void venv__tcp_close_all(struct machine *machine);
void venv__udp_receive(void *user, int fd, uint32_t events);
void venv__udp_close_all(struct port *port);
/* Where a port leads: the machine's address, or its own loopback. */
void venv__port_target(const struct port *port, bool loopback, struct sockaddr_in *ret);

/* pipes.c: pipes are held only while bytes are in them. */
struct pipe_pair {
	struct pipe_pair *next;
	int in, out;
	size_t size;
	bool large;
};
struct pipe_pair *venv__pipe_get(struct pipe_pool *pool, bool large);
void venv__pipe_put(struct pipe_pool *pool, struct pipe_pair *pair, bool empty);

/* host.c: the host's own addresses, followed as they change, and its routes. */
int venv__host_start(struct netd *netd, venv_error **err);
int venv__host_follow(struct netd *netd); /* once the loop runs */
/* Whether the host knows a way to something in this range (its default route apart). */
bool venv__host_routes(const struct netd *netd, uint32_t first, uint32_t last);

/* resolver.c */
struct resolver *venv__resolver_new(struct netd *netd);
void venv__resolver_udp(void *user, int fd, uint32_t events); /* user: the network */
void venv__resolver_tcp(void *user, int fd, uint32_t events);

/* leases.c: DHCP, for virtual machines */
size_t venv__dhcp_serve(const struct network *network, const uint8_t *message, size_t length,
			uint8_t *reply, struct sockaddr_in *ret_to); /* reply's length, or 0 */
void venv__dhcp_receive(void *user, int fd, uint32_t events);        /* user: the network */

#endif
