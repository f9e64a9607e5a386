/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "attach": everything that a machine needs before it exists. Its networks are made one after the other
 * (each a question to venv-netns), then addresses are given and ports bound, then the reply goes out.
 * Whatever fails undoes all of it.
 */
#include <string.h>

#include "netd.h"

struct attach {
	struct client *client;
	json_t *request;
	size_t next; /* network to be made */
};

static void free_attach(struct attach *attach)
{
	if (!attach)
		return;
	attach->client->attach = NULL;
	venv__helper_cancel(attach->client->netd, attach);
	json_decref(attach->request);
	free(attach);
}

void venv__attach_cancel(struct client *client)
{
	free_attach(client->attach);
}

static void fail(struct attach *attach, const venv_error *err, const char *key, size_t index)
{
	struct client *client = attach->client;

	free_attach(attach);
	venv__control_error(client, err, key, index);
}

static void next_network(struct attach *attach);

static int add_interface(struct machine *machine, const json_t *use, venv_error **err)
{
	struct network *network = venv__network_find(machine->netd, venv__json_str(use, "name"));
	struct interface *interface = &machine->interfaces[machine->n_interfaces];
	uint64_t hash = venv__name_hash(machine->id, network->name);
	int r;

	r = venv__network_address(network, machine->name, venv__json_str(use, "address"),
				  &interface->address, err);
	if (r < 0)
		return r;
	interface->network = network;
	interface->lease = machine->netd->adopted ? NET_LEASE_UNKNOWN : NET_LEASE_NONE;
	interface->default_route = network->nat;
	for (size_t i = 0; i < machine->n_interfaces; i++)
		if (machine->interfaces[i].default_route)
			interface->default_route = false;
	(void)snprintf(interface->name, sizeof(interface->name), "eth%zu", machine->n_interfaces);
	(void)snprintf(interface->device, sizeof(interface->device), "v%.10s.%zu", machine->id,
		       machine->n_interfaces % 100);
	(void)snprintf(interface->mac, sizeof(interface->mac), "02:%02x:%02x:%02x:%02x:%02x",
		       (unsigned)(hash >> 32 & 0xff), (unsigned)(hash >> 24 & 0xff),
		       (unsigned)(hash >> 16 & 0xff), (unsigned)(hash >> 8 & 0xff),
		       (unsigned)(hash & 0xff));
	machine->n_interfaces++;
	return 0;
}

static int add_interfaces(struct machine *machine, const json_t *uses, size_t *ret_bad,
			  venv_error **err)
{
	size_t n = json_array_size(uses);

	machine->interfaces = calloc(n ? n : 1, sizeof(*machine->interfaces));
	if (!machine->interfaces)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < n; i++) {
		int r = add_interface(machine, json_array_get(uses, i), err);

		if (r < 0) {
			*ret_bad = i;
			return r;
		}
	}
	return 0;
}

static int add_ports(struct machine *machine, const json_t *ports, size_t *ret_bad,
		     venv_error **err)
{
	size_t n = json_array_size(ports);

	machine->ports = calloc(n ? n : 1, sizeof(*machine->ports));
	if (!machine->ports)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < n; i++) {
		struct port *port = &machine->ports[i];
		int r;

		*port = (struct port){ .machine = machine, .fd = -1 };
		r = venv__port_open(port, json_array_get(ports, i), err);
		if (r < 0) {
			venv__port_done(port);
			*ret_bad = i;
			return r;
		}
		machine->n_ports++;
	}
	return 0;
}

static struct machine *new_machine(struct netd *netd, const json_t *request)
{
	const char *name = venv__json_str(request, "name");
	const char *hostname = venv__json_str(request, "hostname");
	struct machine *machine = calloc(1, sizeof(*machine));

	if (!machine)
		return NULL;
	*machine = (struct machine){
		.next = netd->machines,
		.netd = netd,
		.id = strdup(venv__json_str(request, "machine")),
		.name = strdup(name),
		.hostname = strdup(hostname ? hostname : name),
		.host_access = venv__json_bool(request, "host_access", false),
	};
	netd->machines = machine;
	if (machine->id && machine->name && machine->hostname)
		return machine;
	venv__machine_free(machine);
	return NULL;
}

static void reply(struct client *client)
{
	const struct machine *machine = client->machine;
	const struct interface *first = machine->n_interfaces ? &machine->interfaces[0] : NULL;
	char dns[INET_ADDRSTRLEN];
	json_t *message = json_pack("{s:o, s:o}", "interfaces", venv__machine_interfaces(machine),
				    "ports", venv__machine_ports(machine));

	for (size_t i = 0; i < machine->n_interfaces; i++)
		if (machine->interfaces[i].default_route)
			first = &machine->interfaces[i];
	if (first) {
		venv__address_text(first->network->gateway, dns);
		(void)venv__json_set_str(message, "dns", dns);
	}
	venv__control_reply(client, message,
			    (int[]){ client->netd->userns_fd, client->netd->netns_fd }, 2);
	json_decref(message);
}

/* host_access: the uplink opens its way to the host's loopback, if that was not asked before. */
static void open_access(const struct netd *netd)
{
	_cleanup_json_ json_t *message = json_pack("{s:b}", "host_access", 1);

	if (venv__msg_send(netd->uplink, message, NULL, 0, NULL) < 0)
		venv__netd_log("cannot reach venv-uplink");
}

static void finish(struct attach *attach)
{
	struct client *client = attach->client;
	_cleanup_error_ venv_error *err = NULL;
	struct machine *machine;
	const char *key = "network";
	size_t bad = 0;
	int r;

	machine = new_machine(client->netd, attach->request);
	r = machine ? 0 : venv__fail_nomem(&err);
	if (r == 0)
		r = add_interfaces(machine, json_object_get(attach->request, "networks"), &bad,
				   &err);
	if (r == 0) {
		key = "port";
		r = add_ports(machine, json_object_get(attach->request, "ports"), &bad, &err);
	}
	if (r < 0) {
		venv__machine_free(machine);
		fail(attach, err, key, bad);
		return;
	}
	free_attach(attach);
	client->machine = machine;
	client->netd->ever_attached = true;
	if (machine->host_access)
		open_access(client->netd);
	venv__memory_save(client->netd);
	reply(client);
}

static void next_network(struct attach *attach);

/* The answer that comes after the one about the network. */
static void on_sync(void *user, const json_t *answer, struct msg_fds *fds, const venv_error *err)
{
	struct attach *attach = user;

	(void)answer;
	(void)fds;
	if (err)
		fail(attach, err, NULL, 0);
	else
		next_network(attach);
}

static void next_network(struct attach *attach)
{
	const json_t *uses = json_object_get(attach->request, "networks");
	struct netd *netd = attach->client->netd;
	_cleanup_error_ venv_error *err = NULL;

	for (; attach->next < json_array_size(uses); attach->next++) {
		struct network *network;

		network = venv__network_get(netd, json_array_get(uses, attach->next), &err);
		if (network && network->made)
			continue;
		if (!network || network->failed) {
			fail(attach, network ? network->failed : err, "network", attach->next);
			if (network)
				venv__error_clear(&network->failed);
			return;
		}
		venv__network_ask(network);
		venv__helper_ask(netd, json_pack("{s:s}", "op", "sync"), -1, on_sync, attach);
		return;
	}
	finish(attach);
}

static int check(struct client *client, const json_t *request, venv_error **err)
{
	const char *id = venv__json_str(request, "machine");
	const char *name = venv__json_str(request, "name");

	if (client->machine || client->attach)
		return venv__fail(err, VENV_ERR_STATE, "this connection is attached already");
	if (!id || !*id || !name || !*name)
		return venv__fail(err, VENV_ERR_INVALID, "a machine without id or name");
	venv__control_sweep(client->netd, client);
	if (venv__machine_find(client->netd, id))
		return venv__fail(err, VENV_ERR_BUSY,
				  "machine '%s' is still attached to its network", name);
	return 0;
}

void venv__attach_begin(struct client *client, const json_t *request, venv_error **err)
{
	struct attach *attach;

	if (check(client, request, err) < 0)
		return;
	attach = calloc(1, sizeof(*attach));
	if (!attach) {
		(void)venv__fail_nomem(err);
		return;
	}
	*attach = (struct attach){ .client = client, .request = json_deep_copy(request) };
	client->attach = attach;
	next_network(attach);
}
