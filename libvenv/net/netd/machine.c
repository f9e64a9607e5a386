/* SPDX-License-Identifier: Apache-2.0 */
/* Attached machines: what they have, plugging them, and their end. */
#include <arpa/inet.h>
#include <string.h>

#include "../common/uplink.h"
#include "netd.h"

struct machine *venv__machine_find(struct netd *netd, const char *id)
{
	for (struct machine *machine = netd->machines; machine; machine = machine->next)
		if (strcmp(machine->id, id) == 0)
			return machine;
	return NULL;
}

static void unplug(struct machine *machine)
{
	json_t *devices = json_array();

	for (size_t i = 0; i < machine->n_interfaces; i++)
		(void)json_array_append_new(devices, json_string(machine->interfaces[i].device));
	venv__helper_ask(machine->netd,
			 json_pack("{s:s, s:s, s:o}", "op", "unplug", "machine", machine->id,
				   "devices", devices),
			 -1, NULL, NULL);
}

void venv__machine_free(struct machine *machine)
{
	struct machine **link;

	if (!machine)
		return;
	link = &machine->netd->machines;
	while (*link != machine)
		link = &(*link)->next;
	*link = machine->next;
	venv__helper_cancel(machine->netd, machine);
	venv__tcp_close_all(machine);
	for (size_t i = 0; i < machine->n_ports; i++)
		venv__port_done(&machine->ports[i]);
	if (machine->plugged)
		unplug(machine);
	free(machine->ports);
	free(machine->interfaces);
	free(machine->id);
	free(machine->name);
	free(machine->hostname);
	free(machine);
}

void venv__interface_used(struct netd *netd, uint32_t address)
{
	for (struct machine *m = netd->machines; m; m = m->next)
		for (size_t i = 0; i < m->n_interfaces; i++)
			if (m->interfaces[i].address == address)
				m->interfaces[i].lease = NET_LEASE_USED;
}

json_t *venv__machine_interfaces(const struct machine *machine)
{
	json_t *list = json_array();

	for (size_t i = 0; i < machine->n_interfaces; i++) {
		const struct interface *interface = &machine->interfaces[i];
		char address[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];
		json_t *item;

		venv__address_text(interface->address, address);
		venv__address_text(interface->network->gateway, gateway);
		item = json_pack("{s:s, s:s, s:s, s:i, s:i, s:s}", "name", interface->name,
				 "network", interface->network->name, "address", address, "prefix",
				 (int)interface->network->prefix, "mtu", NET_MTU, "mac",
				 interface->mac);
		if (interface->default_route)
			(void)venv__json_set_str(item, "gateway", gateway);
		(void)venv__json_set_str(item, "lease", venv__net_lease_name(interface->lease));
		(void)json_array_append_new(list, item);
	}
	return list;
}

static json_t *describe_port(const struct port *port)
{
	char address[INET6_ADDRSTRLEN] = "";
	const void *in =
		port->address.ss_family == AF_INET6
			? (const void *)&((const struct sockaddr_in6 *)&port->address)->sin6_addr
			: &((const struct sockaddr_in *)&port->address)->sin_addr;
	json_t *item;

	(void)inet_ntop(port->address.ss_family, in, address, sizeof(address));
	item = json_pack("{s:s, s:s, s:i, s:i, s:s}", "machine", port->machine->name, "address",
			 address, "host", port->host, "guest", port->guest, "protocol",
			 port->udp ? "udp" : "tcp");
	(void)venv__json_set_str(item, "name", port->name);
	(void)venv__json_set_str(item, "service", port->service);
	return item;
}

json_t *venv__machine_ports(const struct machine *machine)
{
	json_t *list = json_array();

	for (size_t i = 0; i < machine->n_ports; i++)
		(void)json_array_append_new(list, describe_port(&machine->ports[i]));
	return list;
}

json_t *venv__interface_plug(const struct interface *interface)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:s}", "device", interface->device, "name",
			 interface->name, "bridge", interface->network->bridge, "address",
			 (json_int_t)interface->address, "gateway",
			 (json_int_t)(interface->default_route ? interface->network->gateway : 0),
			 "prefix", (int)interface->network->prefix, "mac", interface->mac);
}

static void serve(struct machine *machine)
{
	machine->plugged = true;
	for (size_t i = 0; i < machine->n_ports; i++)
		venv__port_start(&machine->ports[i]);
}

static void on_plugged(void *user, const json_t *answer, struct msg_fds *fds, const venv_error *err)
{
	struct client *client = user;
	_cleanup_json_ json_t *reply = NULL;

	(void)answer;
	(void)fds;
	if (err) {
		venv__control_error(client, err, NULL, 0);
		return;
	}
	serve(client->machine);
	reply = json_object();
	venv__control_reply(client, reply, NULL, 0);
}

void venv__machine_plug(struct client *client, int netns_fd, venv_error **err)
{
	const struct machine *machine = client->machine;
	json_t *interfaces;

	if (!machine || netns_fd < 0) {
		if (netns_fd >= 0)
			(void)close(netns_fd);
		(void)venv__fail(err, machine ? VENV_ERR_INVALID : VENV_ERR_STATE,
				 machine ? "no network namespace to plug"
					 : "attach a machine before it is plugged");
		return;
	}
	interfaces = json_array();
	for (size_t i = 0; i < machine->n_interfaces; i++)
		(void)json_array_append_new(interfaces,
					    venv__interface_plug(&machine->interfaces[i]));
	venv__helper_ask(client->netd,
			 json_pack("{s:s, s:s, s:b, s:o}", "op", "plug", "machine", machine->id,
				   "host_access", machine->host_access, "interfaces", interfaces),
			 netns_fd, on_plugged, client);
}

static void on_tap(void *user, const json_t *answer, struct msg_fds *fds, const venv_error *err)
{
	struct client *client = user;
	_cleanup_json_ json_t *reply = NULL;

	(void)answer;
	if (err) {
		venv__control_error(client, err, NULL, 0);
		return;
	}
	client->machine->tap = true;
	serve(client->machine);
	reply = json_object();
	venv__control_reply(client, reply, fds->fd, fds->count);
}

void venv__machine_tap(struct client *client, const json_t *request, venv_error **err)
{
	const struct machine *machine = client->machine;
	const char *name = venv__json_str(request, "interface");
	json_t *question;

	for (size_t i = 0; machine && name && i < machine->n_interfaces; i++) {
		if (strcmp(machine->interfaces[i].name, name) != 0)
			continue;
		question = venv__interface_plug(&machine->interfaces[i]);
		(void)venv__json_set_str(question, "op", "tap");
		(void)json_object_set_new(question, "host_access",
					  json_boolean(machine->host_access));
		(void)json_object_set_new(question, "held",
					  json_boolean(venv__json_bool(request, "held", false)));
		venv__helper_ask(client->netd, question, -1, on_tap, client);
		return;
	}
	(void)venv__fail(err, VENV_ERR_NOT_FOUND, "no interface '%s' is attached",
			 name ? name : "?");
}
