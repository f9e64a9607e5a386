/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks of a project, the library's side: finds or starts venv-netd and asks it.
 *
 * One connection is one machine's attachment: whoever holds it, holds addresses and ports. Core opens
 * it and asks "attach" before the machine exists (so a taken port is an error before anything is
 * created), hands the descriptor to the provider, and the process that runs the machine says "plug"
 * on it and keeps it open for the machine's life. When the last copy closes, everything that belonged
 * to the machine goes: ports, addresses, names. netd itself ends when its last connection closes.
 *
 * On the wire (util/msg.h):
 *   {"op":"hello"} -> {"adopted":B}: it answers, and stays as long as this connection
 *   {"op":"attach","machine":ID,"name":S,"hostname":S,"project":S,"host_access":B,
 *    "networks":[{"name":S,"mode":"nat"|"internal","subnet":S?,"address":S?}…],
 *    "ports":[{"address":S,"host":N,"guest":N,"protocol":"tcp"|"udp","if_taken":"fail"|"next",
 *              "name":S?,"service":"ssh"?}…]}; service: not the user's, but how ssh gets there
 *     -> {"interfaces":[{"name":"eth0","network":S,"address":"10.88.0.2","prefix":24,
 *          "gateway":S?,"mtu":N,"mac":S,"lease":L?}…],"dns":S,"ports":[…with the real host ports]}
 *        + descriptors: the project's user namespace, its network namespace
 *     L: the address of a virtual machine was "used" (taken by DHCP, or somebody answered there), only
 *     "asked" for by DHCP, or "none" of that; missing in a netd that took up what another had.
 *     An error has beside "error" the index of the "port" or the "network" that it is about; a port
 *     with code BUSY is taken by somebody whom the library may look for.
 *   {"op":"plug"} + descriptor of the machine's network namespace -> {}: interfaces exist in it, with
 *        addresses, routes and lo up. A second plug of the same namespace is fine (under a new netd).
 *   {"op":"tap","interface":"eth0"} -> {} + the descriptor of a TAP, for virtual machines: with
 *        IFF_VNET_HDR, header of 12 bytes, offloads on, MTU set. The device passes only what the
 *        machine may say of itself, and goes when the connection or the descriptor is closed.
 *        With "held":true -> {}: who has the descriptor from an earlier netd connects it again.
 *   {"op":"dial","machine":ID,"port":N} -> {} + a socket that is connected to that TCP port of an attached
 *        machine, by its first address. VENV_ERR_NETWORK: nobody answers. One at a time on a connection.
 *   {"op":"ports"} -> {"project":S,"ports":[{"machine":S,"name":S?,"address":S,"host":N,"guest":N,
 *        "protocol":S}…]}
 *   {"op":"list"} -> {"machines":[…as attached…],"networks":[…]}
 * A netd whose forerunner died is started with the namespaces that a machine lent (venv__net_connect);
 * bridges and interfaces are found by name, addresses are remembered in net.json.
 */
#ifndef VENV_NET_H
#define VENV_NET_H

#include "../context.h"
#include "../op.h"
#include "../provider.h"
#include "../spec.h"
#include "common/lease.h"

/* What core must know of a project to serve its network. */
struct net_project {
	const char *uuid;
	const char *name;
	int dir_fd; /* <data>/projects/<uuid>: socket "net", log "netd.log" */
	const struct project_spec *spec;
};

/*
 * Connect to the project's netd, starting it if none runs.
 * @param lend when an old netd died under running machines: called to get one machine's copies of the
 *        project's namespaces; returns 0 and both descriptors, or a negative code when no machine runs
 * @param ret_adopted set to 1 when a new netd took up old namespaces: the running machines must plug
 *        again (core asks their providers to)
 */
typedef int (*net_lend_fn)(void *user, int *ret_userns_fd, int *ret_netns_fd);
int venv__net_connect(struct venv *ctx, const struct net_project *project, net_lend_fn lend,
		      void *user, int *ret_socket, int *ret_adopted, venv_error **err);
/* Attach a machine over a connection (which it consumes into ret on success). ssh: it has an sshd of its
 * own, which gets a port of the host's loopback. A taken port is VENV_ERR_NETWORK at the port's place in
 * the file, naming who holds it. */
int venv__net_attach(int *socket, const struct net_project *project, const char *machine_id,
		     const struct machine_spec *spec, bool ssh, struct net_attachment *ret,
		     venv_error **err);
/* Without starting anything: the ports or the machines of a running netd; empty when none runs. */
int venv__net_query(const struct net_project *project, const char *op_name, json_t **ret,
		    venv_error **err);
/* What a running netd saw of an attached machine's first address, "lease" above. */
enum net_lease venv__net_lease(const struct machine *machine);
/* Remove the socket that a killed netd left, if it did. A running one, or one just starting, keeps its. */
void venv__net_clean(int project_fd);

#endif
