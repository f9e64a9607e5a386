/* SPDX-License-Identifier: Apache-2.0 */
/* Attaching a machine: its spec as a request, the answer as a struct, errors at their place. */
#include <string.h>

#include "holder.h"
#include "net.h"
#include "util/msg.h"

enum { PATIENCE_MS = 30000 };

void venv__net_attachment_done(struct net_attachment *attachment)
{
	if (attachment->socket >= 0)
		(void)close(attachment->socket);
	if (attachment->userns_fd >= 0)
		(void)close(attachment->userns_fd);
	if (attachment->netns_fd >= 0)
		(void)close(attachment->netns_fd);
	for (size_t i = 0; i < attachment->n_interfaces; i++) {
		struct net_interface *interface = &attachment->interfaces[i];

		free(interface->name);
		free(interface->network);
		free(interface->address);
		free(interface->gateway);
		free(interface->mac);
	}
	free(attachment->interfaces);
	free(attachment->dns);
	json_decref(attachment->ports);
	*attachment = (struct net_attachment){ .socket = -1, .userns_fd = -1, .netns_fd = -1 };
}

static const struct network_spec *find_network(const struct project_spec *spec, const char *name)
{
	for (size_t i = 0; spec && i < spec->n_networks; i++)
		if (strcmp(spec->networks[i].name, name) == 0)
			return &spec->networks[i];
	return NULL;
}

static json_t *network_request(const struct net_project *project, const struct net_use *use)
{
	const struct network_spec *network = find_network(project->spec, use->name);
	bool internal = network && network->mode == NETWORK_INTERNAL;
	json_t *item =
		json_pack("{s:s, s:s}", "name", use->name, "mode", internal ? "internal" : "nat");

	if (!item)
		return NULL;
	(void)venv__json_set_str(item, "subnet", network ? network->subnet : NULL);
	(void)venv__json_set_str(item, "address", use->address);
	return item;
}

static json_t *port_request(const struct port_spec *port)
{
	json_t *item =
		json_pack("{s:s, s:i, s:i, s:s, s:s}", "address",
			  port->address ? port->address : "127.0.0.1", "host", port->host, "guest",
			  port->guest, "protocol", port->protocol == PROTOCOL_UDP ? "udp" : "tcp",
			  "if_taken", port->if_taken == TAKEN_NEXT ? "next" : "fail");

	if (item)
		(void)venv__json_set_str(item, "name", port->name);
	return item;
}

static json_t *ssh_request(const struct ssh_spec *ssh)
{
	return json_pack("{s:s, s:i, s:i, s:s, s:s, s:s}", "address", "127.0.0.1", "host",
			 ssh->port, "guest", 22, "protocol", "tcp", "if_taken", "fail", "service",
			 "ssh");
}

static json_t *attach_request(const struct net_project *project, const char *machine_id,
			      const struct machine_spec *spec, bool ssh)
{
	json_t *networks = json_array(), *ports = json_array();

	for (size_t i = 0; i < spec->n_networks; i++)
		(void)json_array_append_new(networks, network_request(project, &spec->networks[i]));
	for (size_t i = 0; i < spec->n_ports; i++)
		(void)json_array_append_new(ports, port_request(&spec->ports[i]));
	if (ssh)
		(void)json_array_append_new(ports, ssh_request(&spec->ssh));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:o}", "op", "attach", "machine",
			 machine_id, "name", spec->name, "hostname",
			 spec->hostname ? spec->hostname : spec->name, "project", project->name,
			 "host_access", spec->host_access, "networks", networks, "ports", ports);
}

static bool read_text(const json_t *object, const char *key, char **ret)
{
	const char *text = venv__json_str(object, key);

	*ret = text ? strdup(text) : NULL;
	return !text || *ret;
}

static int read_attachment(const json_t *reply, struct net_attachment *ret, venv_error **err)
{
	const json_t *list = json_object_get(reply, "interfaces");
	size_t i;
	json_t *item;

	ret->ports = json_incref(json_object_get(reply, "ports"));
	ret->interfaces = calloc(json_array_size(list) + 1, sizeof(*ret->interfaces));
	if (!ret->interfaces || !read_text(reply, "dns", &ret->dns))
		return venv__fail_nomem(err);
	json_array_foreach(list, i, item)
	{
		struct net_interface *interface = &ret->interfaces[ret->n_interfaces++];

		interface->prefix = (unsigned)venv__json_int(item, "prefix", 24);
		interface->mtu = (unsigned)venv__json_int(item, "mtu", 1500);
		if (!read_text(item, "name", &interface->name) ||
		    !read_text(item, "network", &interface->network) ||
		    !read_text(item, "address", &interface->address) ||
		    !read_text(item, "gateway", &interface->gateway) ||
		    !read_text(item, "mac", &interface->mac))
			return venv__fail_nomem(err);
		if (!interface->name || !interface->address)
			return venv__fail(err, VENV_ERR_NETWORK,
					  "venv-netd gave half an interface");
	}
	return 0;
}

/* An error of netd's at its place in the file; who has a taken port, only we may look. */
static int place_error(const json_t *reply, const venv_error *error,
		       const struct net_project *project, const struct machine_spec *spec,
		       venv_error **err)
{
	int64_t port = venv__json_int(reply, "port", -1),
		network = venv__json_int(reply, "network", -1);
	_cleanup_free_ char *holder = NULL;
	const struct place *place = NULL;
	int r;

	if (port >= 0) {
		struct port_spec ssh = { .host = spec->ssh.port, .place = spec->ssh.place };
		const struct port_spec *at =
			(size_t)port < spec->n_ports ? &spec->ports[port] : &ssh;

		place = at == &ssh ? &spec->ssh.place : &at->place;
		if (error->code == VENV_ERR_BUSY)
			holder = venv__port_holder(at, project->dir_fd);
	} else if (network >= 0 && (size_t)network < spec->n_networks) {
		place = &spec->networks[network].place;
	}
	r = venv__fail_at(err, place ? VENV_ERR_NETWORK : error->code,
			  place && place->line ? place->file : NULL, place ? place->line : 0,
			  place ? place->column : 0, "%s%s%s", error->message, holder ? " by " : "",
			  holder ? holder : "");
	if (error->hint)
		(void)venv__hint(r, err, "%s", error->hint);
	return venv__error_set_machine(r, err, spec->name);
}

int venv__net_attach(int *socket, const struct net_project *project, const char *machine_id,
		     const struct machine_spec *spec, bool ssh, struct net_attachment *ret,
		     venv_error **err)
{
	_cleanup_json_ json_t *request = attach_request(project, machine_id, spec, ssh);
	_cleanup_json_ json_t *reply = NULL;
	_cleanup_(venv__net_attachment_done) struct net_attachment attachment = { .socket = -1,
										  .userns_fd = -1,
										  .netns_fd = -1 };
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_error_ venv_error *error = NULL;
	int r;

	if (!request)
		return venv__fail_nomem(err);
	r = venv__msg_send(*socket, request, NULL, 0, err);
	if (r < 0)
		return r;
	r = venv__msg_receive(*socket, PATIENCE_MS, &reply, &fds, err);
	if (r < 0)
		return r;
	if (r == 0)
		return venv__fail(err, VENV_ERR_NETWORK, "the project's network process ended");
	if (venv__error_from_json(reply, &error) < 0)
		return place_error(reply, error, project, spec, err);
	r = read_attachment(reply, &attachment, err);
	if (r < 0)
		return r;
	attachment.userns_fd = venv__msg_fds_take(&fds, 0);
	attachment.netns_fd = venv__msg_fds_take(&fds, 1);
	attachment.socket = take_fd(socket);
	*ret = attachment;
	attachment = (struct net_attachment){ .socket = -1, .userns_fd = -1, .netns_fd = -1 };
	return 0;
}
