/* SPDX-License-Identifier: Apache-2.0 */
/* Ports on the host: bound when a machine is attached, served when it is plugged. */
#include <arpa/inet.h>
#include <string.h>

#include "netd.h"

enum { NEXT_TRIES = 200, BACKLOG = 512 };

static bool set_address(struct port *port, const char *text)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&port->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&port->address;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		port->address.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		port->address.ss_family = AF_INET6;
	else
		return false;
	return true;
}

static void set_number(struct sockaddr_storage *address, uint16_t number)
{
	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_port = htons(number);
	else
		((struct sockaddr_in *)address)->sin_port = htons(number);
}

static socklen_t address_length(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					      : sizeof(struct sockaddr_in);
}

/* The bound socket or -errno. */
static int bind_at(const struct port *port, uint16_t number)
{
	struct sockaddr_storage address = port->address;
	_cleanup_close_ int fd =
		socket(address.ss_family,
		       SOCK_CLOEXEC | SOCK_NONBLOCK | (port->udp ? SOCK_DGRAM : SOCK_STREAM), 0);
	int on = 1;

	if (fd < 0)
		return -errno;
	set_number(&address, number);
	if (address.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (!port->udp)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&address, address_length(&address)) < 0)
		return -errno;
	if (!port->udp && listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(&fd);
}

static uint16_t bound_number(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address = { .v6 = { 0 } };
	socklen_t length = sizeof(address);

	if (getsockname(fd, &address.any, &length) < 0)
		return 0;
	return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port
						       : address.v4.sin_port);
}

static const struct machine *taken_by(const struct port *port, uint16_t number)
{
	for (const struct machine *m = port->machine->netd->machines; m; m = m->next)
		for (size_t i = 0; i < m->n_ports; i++)
			if (m->ports[i].host == number && m->ports[i].udp == port->udp)
				return m;
	return NULL;
}

static int refused(const struct port *port, const char *address, int number, venv_error **err)
{
	const struct machine *other = taken_by(port, port->host);
	const char *what = port->udp ? "UDP port" : "port";
	int r;

	switch (number) {
	case EADDRINUSE:
		/* who else: the library can look */
		r = other ? venv__fail(err, VENV_ERR_NETWORK,
				       "%s %u on %s is taken by machine '%s'", what, port->host,
				       address, other->name)
			  : venv__fail(err, VENV_ERR_BUSY, "%s %u on %s is taken", what, port->host,
				       address);
		return venv__hint(r, err,
				  "choose another host port, or let venv do it: "
				  "{ host: %u, guest: %u, if_taken: next }",
				  port->host, port->guest);
	case EACCES:
		r = venv__fail(err, VENV_ERR_NETWORK, "%s %u is for root only", what, port->host);
		return venv__hint(r, err,
				  "choose a host port from 1024 on, or allow it: "
				  "'sudo sysctl -w net.ipv4.ip_unprivileged_port_start=%u'",
				  port->host);
	case EADDRNOTAVAIL:
		return venv__hint(
			venv__fail(err, VENV_ERR_NETWORK, "%s is no address of this host", address),
			err, "use 127.0.0.1, or see 'ip address' for what there is");
	default:
		return venv__fail_errno(err, number, "cannot open %s %u on %s", what, port->host,
					address);
	}
}

/* `host: auto`: the port that it had the last time, if that is free, else the kernel's choice. */
static int bind_auto(const struct port *port, const char *machine)
{
	json_t *known = json_object_get(port->machine->netd->memory, "ports");
	_cleanup_free_ char *key = NULL;
	json_int_t before;
	int fd = -1;

	if (asprintf(&key, "%s/%s/%u", machine, port->udp ? "udp" : "tcp", port->guest) < 0) {
		key = NULL;
		return -ENOMEM;
	}
	before = venv__json_int(known, key, 0);
	if (before > 0 && before <= UINT16_MAX)
		fd = bind_at(port, (uint16_t)before);
	if (fd < 0)
		fd = bind_at(port, 0);
	if (fd >= 0)
		(void)json_object_set_new(known, key, json_integer(bound_number(fd)));
	return fd;
}

static bool copy_text(const json_t *request, const char *key, char **ret)
{
	const char *text = venv__json_str(request, key);

	*ret = text ? strdup(text) : NULL;
	return !text || *ret;
}

int venv__port_open(struct port *port, const json_t *request, venv_error **err)
{
	const char *address = venv__json_str(request, "address");
	const char *protocol = venv__json_str(request, "protocol");
	const char *if_taken = venv__json_str(request, "if_taken");
	int64_t host = venv__json_int(request, "host", 0);
	int64_t guest = venv__json_int(request, "guest", 0);
	bool next = if_taken && strcmp(if_taken, "next") == 0;

	if (!address)
		address = "127.0.0.1";
	if (!set_address(port, address) || guest < 1 || guest > UINT16_MAX || host < 0 ||
	    host > UINT16_MAX)
		return venv__fail(err, VENV_ERR_NETWORK, "bad port or address '%s'", address);
	port->host = (uint16_t)host;
	port->guest = (uint16_t)guest;
	port->udp = protocol && strcmp(protocol, "udp") == 0;
	if (!copy_text(request, "name", &port->name) ||
	    !copy_text(request, "service", &port->service))
		return venv__fail_nomem(err);
	port->fd = port->host ? bind_at(port, port->host) : bind_auto(port, port->machine->name);
	for (int n = 1; next && port->fd == -EADDRINUSE && n < NEXT_TRIES && host + n <= UINT16_MAX;
	     n++)
		port->fd = bind_at(port, (uint16_t)(host + n));
	if (port->fd < 0)
		return refused(port, address, -port->fd, err);
	port->host = bound_number(port->fd);
	return 0;
}

void venv__port_start(struct port *port)
{
	if (port->source)
		return;
	port->source = venv__loop_add(port->machine->netd->loop, port->fd, EPOLLIN,
				      port->udp ? venv__udp_receive : venv__tcp_accept, port);
	if (!port->source)
		venv__netd_log("cannot serve port %u", port->host);
}

void venv__port_done(struct port *port)
{
	venv__udp_close_all(port);
	venv__loop_remove(port->pause);
	venv__loop_remove(port->source);
	if (port->fd >= 0)
		(void)close(port->fd);
	free(port->name);
	free(port->service);
	port->pause = NULL;
	port->source = NULL;
	port->name = port->service = NULL;
	port->fd = -1;
}

void venv__port_target(const struct port *port, bool loopback, struct sockaddr_in *ret)
{
	const struct machine *machine = port->machine;
	uint32_t address = INADDR_LOOPBACK;

	if (!loopback && machine->n_interfaces)
		address = machine->interfaces[0].address;
	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port->guest),
				     .sin_addr.s_addr = htonl(address) };
}
