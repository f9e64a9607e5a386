/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forwarded UDP: a flow per client address, which is a socket of its own in the machine's network
 * namespace, so that answers find back. A flow is forgotten after a minute without a datagram; the
 * longest unused goes when there are too many. As with TCP the machine's own address is tried first and
 * its loopback when that refuses (an ICMP error before any answer).
 */
#include <string.h>

#include "netd.h"
#include "util/sys.h"

enum {
	DATAGRAM_MAX = 65536,
	BATCH = 64,
	FLOWS_MAX = 1024,
	WAITING_MAX = 16, /* datagrams kept until the socket is there */
	IDLE_US = 60 * 1000 * 1000,
	SWEEP_MS = 5000,
};

struct datagram {
	struct datagram *next;
	size_t length;
	char data[];
};

struct flow {
	struct flow *next;
	struct port *port;
	struct sockaddr_storage client;
	socklen_t client_length;
	int fd; /* -1 until venv-netns gave it */
	struct loop_source *source;
	bool answered, loopback, tried_both;
	uint64_t used;
	struct datagram
		*waiting; /* in order; after sending the last one stays until an answer came */
	unsigned n_waiting;
};

static char datagram[DATAGRAM_MAX];

static void drop_waiting(struct flow *flow)
{
	while (flow->waiting) {
		struct datagram *first = flow->waiting;

		flow->waiting = first->next;
		free(first);
	}
	flow->n_waiting = 0;
}

static void free_flow(struct flow *flow)
{
	struct netd *netd = flow->port->machine->netd;
	struct flow **link = &flow->port->flows;

	while (*link != flow)
		link = &(*link)->next;
	*link = flow->next;
	venv__helper_cancel(netd, flow);
	venv__loop_remove(flow->source);
	if (flow->fd >= 0)
		(void)close(flow->fd);
	drop_waiting(flow);
	free(flow);
	netd->n_flows--;
}

void venv__udp_close_all(struct port *port)
{
	while (port->flows)
		free_flow(port->flows);
	venv__loop_remove(port->sweep);
	port->sweep = NULL;
}

static void keep(struct flow *flow, const char *data, size_t length)
{
	struct datagram *copy = malloc(sizeof(*copy) + length), **last = &flow->waiting;

	if (!copy || flow->n_waiting >= WAITING_MAX) {
		free(copy);
		return;
	}
	copy->next = NULL;
	copy->length = length;
	memcpy(copy->data, data, length);
	while (*last)
		last = &(*last)->next;
	*last = copy;
	flow->n_waiting++;
}

static bool connect_flow(struct flow *flow, bool loopback)
{
	const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	struct sockaddr_in target;

	flow->loopback = loopback;
	/* else it keeps the source address that went with the last target, and the answer to that
	 * comes from where this socket does not listen */
	(void)connect(flow->fd, &nowhere, sizeof(nowhere));
	venv__port_target(flow->port, loopback, &target);
	return connect(flow->fd, (const struct sockaddr *)&target, sizeof(target)) == 0;
}

/* The machine said that nobody listens there: try the other address once, with what was sent. When that
 * refuses as well nobody is there yet, and the next datagram begins anew. */
static void refused(struct flow *flow)
{
	if (flow->answered || flow->port->machine->tap)
		return;
	flow->tried_both = !flow->tried_both;
	if (!flow->tried_both)
		drop_waiting(flow);
	if (!connect_flow(flow, !flow->loopback))
		return;
	for (const struct datagram *d = flow->waiting; d; d = d->next)
		(void)send(flow->fd, d->data, d->length, 0);
}

static void send_on(struct flow *flow, const char *data, size_t length)
{
	if (!flow->answered)
		keep(flow, data, length);
	if (flow->fd < 0)
		return;
	/* an error of an earlier datagram is reported here, then this one was not sent */
	if (send(flow->fd, data, length, 0) < 0 && errno == ECONNREFUSED) {
		if (flow->answered)
			(void)send(flow->fd, data, length, 0);
		else
			refused(flow);
	}
}

static void on_answer(void *user, int fd, uint32_t events)
{
	struct flow *flow = user;

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		ssize_t n = recv(fd, datagram, sizeof(datagram), 0);

		if (n < 0 && errno == ECONNREFUSED) {
			refused(flow);
			return;
		}
		if (n < 0)
			return;
		if (!flow->answered) {
			flow->answered = true;
			flow->port->own_loopback = flow->loopback;
			drop_waiting(flow);
		}
		flow->used = venv__now_us();
		(void)sendto(flow->port->fd, datagram, (size_t)n, 0,
			     (const struct sockaddr *)&flow->client, flow->client_length);
	}
}

static void on_socket(void *user, const json_t *answer, struct msg_fds *fds, const venv_error *err)
{
	struct flow *flow = user;

	(void)answer;
	flow->fd = err ? -1 : venv__msg_fds_take(fds, 0);
	if (flow->fd < 0 ||
	    !connect_flow(flow, flow->port->own_loopback && !flow->port->machine->tap)) {
		free_flow(flow);
		return;
	}
	flow->source =
		venv__loop_add(flow->port->machine->netd->loop, flow->fd, EPOLLIN, on_answer, flow);
	if (!flow->source) {
		free_flow(flow);
		return;
	}
	for (const struct datagram *d = flow->waiting; d; d = d->next)
		(void)send(flow->fd, d->data, d->length, 0);
}

static void on_sweep(void *user, int fd, uint32_t events)
{
	struct port *port = user;
	uint64_t now = venv__now_us();
	struct flow *next;

	(void)fd;
	(void)events;
	for (struct flow *flow = port->flows; flow; flow = next) {
		next = flow->next;
		if (now - flow->used > IDLE_US)
			free_flow(flow);
	}
	if (!port->flows) {
		venv__loop_remove(port->sweep);
		port->sweep = NULL;
	}
}

static struct flow *new_flow(struct port *port, const struct sockaddr_storage *client,
			     socklen_t length)
{
	struct netd *netd = port->machine->netd;
	struct flow *flow, *oldest = port->flows;

	if (netd->n_flows >= FLOWS_MAX) {
		for (flow = port->flows; flow; flow = flow->next)
			if (flow->used < oldest->used)
				oldest = flow;
		if (!oldest)
			return NULL;
		free_flow(oldest);
	}
	flow = calloc(1, sizeof(*flow));
	if (!flow)
		return NULL;
	*flow = (struct flow){ .next = port->flows,
			       .port = port,
			       .client = *client,
			       .client_length = length,
			       .fd = -1 };
	port->flows = flow;
	netd->n_flows++;
	if (!port->sweep)
		port->sweep = venv__loop_timer(netd->loop, SWEEP_MS, SWEEP_MS, on_sweep, port);
	venv__helper_ask_socket(netd, port->machine, true, on_socket, flow);
	return flow;
}

static struct flow *find_flow(struct port *port, const struct sockaddr_storage *client,
			      socklen_t length)
{
	for (struct flow **link = &port->flows; *link; link = &(*link)->next) {
		struct flow *flow = *link;

		if (flow->client_length != length || memcmp(&flow->client, client, length) != 0)
			continue;
		*link = flow->next; /* to the front: the next datagram is likely its too */
		flow->next = port->flows;
		port->flows = flow;
		return flow;
	}
	return NULL;
}

void venv__udp_receive(void *user, int fd, uint32_t events)
{
	struct port *port = user;

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_storage client = { 0 };
		socklen_t length = sizeof(client);
		struct flow *flow;
		ssize_t n;

		n = recvfrom(fd, datagram, sizeof(datagram), 0, (struct sockaddr *)&client,
			     &length);
		if (n < 0)
			return;
		flow = find_flow(port, &client, length);
		if (!flow)
			flow = new_flow(port, &client, length);
		if (!flow)
			continue;
		flow->used = venv__now_us();
		send_on(flow, datagram, (size_t)n);
	}
}
