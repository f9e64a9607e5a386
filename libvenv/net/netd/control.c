/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to the control socket (net.h has the protocol), and the end of the process. */
#include <poll.h>
#include <string.h>

#include "netd.h"
#include "util/serve.h"

enum { GRACE_MS = 1000 };

void venv__control_reply(struct client *client, json_t *reply, const int *fds, size_t n_fds)
{
	venv__serve_reply(client->fd, json_incref(reply), fds, n_fds);
}

void venv__control_error(struct client *client, const venv_error *err, const char *key,
			 size_t index)
{
	_cleanup_json_ json_t *reply = venv__error_to_json(err);

	if (!reply)
		return;
	if (key)
		(void)json_object_set_new(reply, key, json_integer((json_int_t)index));
	venv__control_reply(client, reply, NULL, 0);
}

static void on_grace(void *user, int fd, uint32_t events)
{
	struct netd *netd = user;

	(void)fd;
	(void)events;
	netd->grace = NULL;
	if (!netd->clients)
		venv__loop_quit(netd->loop, 0);
}

/* Without connections: at once when machines were here, else a little later. */
static void maybe_end(struct netd *netd)
{
	if (netd->clients)
		return;
	if (netd->ever_attached)
		venv__loop_quit(netd->loop, 0);
	else if (!netd->grace)
		netd->grace = venv__loop_timer(netd->loop, GRACE_MS, 0, on_grace, netd);
}

static void free_client(struct client *client)
{
	struct netd *netd = client->netd;
	struct client **link = &netd->clients;

	while (*link != client)
		link = &(*link)->next;
	*link = client->next;
	venv__attach_cancel(client);
	venv__dial_cancel(client);
	venv__helper_cancel(netd, client);
	venv__machine_free(client->machine);
	venv__loop_remove(client->source);
	(void)close(client->fd);
	free(client);
	maybe_end(netd);
}

void venv__control_sweep(struct netd *netd, const struct client *but)
{
	struct client *next;

	for (struct client *client = netd->clients; client; client = next) {
		struct pollfd state = { .fd = client->fd, .events = POLLRDHUP };

		next = client->next;
		if (client != but && poll(&state, 1, 0) > 0 &&
		    state.revents & (POLLRDHUP | POLLHUP | POLLERR))
			free_client(client);
	}
}

static void op_hello(struct client *client)
{
	_cleanup_json_ json_t *reply = json_pack("{s:b}", "adopted", client->netd->adopted);

	venv__control_reply(client, reply, NULL, 0);
}

static void op_ports(struct client *client)
{
	_cleanup_json_ json_t *ports = json_array(), *reply = NULL;

	for (const struct machine *m = client->netd->machines; m; m = m->next) {
		json_t *own = venv__machine_ports(m);

		(void)json_array_extend(ports, own);
		json_decref(own);
	}
	reply = json_pack("{s:O, s:s}", "ports", ports, "project", client->netd->project);
	venv__control_reply(client, reply, NULL, 0);
}

static json_t *describe_network(const struct network *network)
{
	char subnet[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];

	venv__address_text(network->subnet, subnet);
	venv__address_text(network->gateway, gateway);
	return json_pack("{s:s, s:s, s:o, s:s}", "name", network->name, "mode",
			 network->nat ? "nat" : "internal", "subnet",
			 json_sprintf("%s/%u", subnet, network->prefix), "gateway", gateway);
}

static void op_list(struct client *client)
{
	_cleanup_json_ json_t *machines = json_array(), *networks = json_array(), *reply = NULL;

	for (const struct machine *m = client->netd->machines; m; m = m->next)
		(void)json_array_append_new(
			machines,
			json_pack("{s:s, s:s, s:s, s:b, s:b, s:o, s:o}", "machine", m->id, "name",
				  m->name, "hostname", m->hostname, "plugged", m->plugged,
				  "host_access", m->host_access, "interfaces",
				  venv__machine_interfaces(m), "ports", venv__machine_ports(m)));
	for (const struct network *n = client->netd->networks; n; n = n->next)
		(void)json_array_append_new(networks, describe_network(n));
	reply = json_pack("{s:O, s:O}", "machines", machines, "networks", networks);
	venv__control_reply(client, reply, NULL, 0);
}

void venv__control_dispatch(struct client *client, const json_t *request, struct msg_fds *fds)
{
	const char *op = venv__json_str(request, "op");
	_cleanup_error_ venv_error *err = NULL;

	if (!op)
		(void)venv__fail(&err, VENV_ERR_INVALID, "a request without an operation");
	else if (strcmp(op, "hello") == 0)
		op_hello(client);
	else if (strcmp(op, "attach") == 0)
		venv__attach_begin(client, request, &err);
	else if (strcmp(op, "plug") == 0)
		venv__machine_plug(client, venv__msg_fds_take(fds, 0), &err);
	else if (strcmp(op, "tap") == 0)
		venv__machine_tap(client, request, &err);
	else if (strcmp(op, "dial") == 0)
		venv__dial_begin(client, request, &err);
	else if (strcmp(op, "ports") == 0)
		op_ports(client);
	else if (strcmp(op, "list") == 0)
		op_list(client);
	else
		(void)venv__fail(&err, VENV_ERR_UNSUPPORTED, "unknown operation '%s'", op);
	if (err)
		venv__control_error(client, err, NULL, 0);
}

static void on_client(void *user, int fd, uint32_t events)
{
	struct client *client = user;
	_cleanup_json_ json_t *request = NULL;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	int r = venv__serve_receive(fd, &request, &fds);

	(void)events;
	if (r < 0)
		free_client(client);
	else if (r > 0)
		venv__control_dispatch(client, request, &fds);
}

bool venv__control_add(struct netd *netd, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return false;
	*client = (struct client){ .netd = netd, .fd = fd, .next = netd->clients };
	client->source = venv__loop_add(netd->loop, fd, EPOLLIN | EPOLLRDHUP, on_client, client);
	if (!client->source) {
		free(client);
		return false;
	}
	netd->clients = client;
	return true;
}

static void on_listener(void *user, int fd, uint32_t events)
{
	int connection = venv__msg_accept(fd);

	(void)events;
	if (connection >= 0 && !venv__control_add(user, connection))
		(void)close(connection);
}

static void on_uplink(void *user, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	venv__netd_fail(user, "venv-uplink ended");
}

int venv__control_start(struct netd *netd)
{
	if (!venv__loop_add(netd->loop, netd->listener, EPOLLIN, on_listener, netd) ||
	    !venv__loop_add(netd->loop, netd->uplink, EPOLLIN | EPOLLRDHUP, on_uplink, netd))
		return -ENOMEM;
	maybe_end(netd);
	return 0;
}
