/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries over UDP. A query that is not ours goes to the host's resolver through a socket of its own
 * (so the port is as random as the kernel's); the next server is asked when one is silent or refuses.
 */
#include "resolver.h"

#include <string.h>

#include "util/sys.h"

enum {
	QUERY_MAX = 4096,
	ANSWER_MAX = 65536,
	BATCH = 32,
	FORWARDS_MAX = 256,
	TRIES = 3,
	TRY_US = 2 * 1000 * 1000,
	SWEEP_MS = 500,
};

struct forward {
	struct forward *next;
	const struct network *network;
	struct sockaddr_in client;
	int fd;
	struct loop_source *source;
	unsigned tries;
	uint64_t deadline;
	size_t length;
	uint8_t query[];
};

static uint8_t packet[ANSWER_MAX];

static struct resolver *resolver_of(const struct forward *forward)
{
	return forward->network->netd->resolver;
}

static void close_server(struct forward *forward)
{
	venv__loop_remove(forward->source);
	forward->source = NULL;
	if (forward->fd >= 0)
		(void)close(take_fd(&forward->fd));
}

static void free_forward(struct forward *forward)
{
	struct resolver *resolver = resolver_of(forward);
	struct forward **link = &resolver->forwards;

	while (*link != forward)
		link = &(*link)->next;
	*link = forward->next;
	close_server(forward);
	free(forward);
	resolver->n_forwards--;
}

static void send_reply(const struct network *network, const struct sockaddr_in *client,
		       const uint8_t *reply, size_t length)
{
	(void)sendto(network->udp_fd, reply, length, 0, (const struct sockaddr *)client,
		     sizeof(*client));
}

static void give_up(struct forward *forward)
{
	uint8_t reply[DNS_REPLY_MAX];
	struct dns_question question;

	if (venv__dns_parse(forward->query, forward->length, &question) == DNS_OK)
		send_reply(forward->network, &forward->client, reply,
			   venv__dns_reply(reply, forward->query, &question, DNS_SERVER_FAILURE, 0,
					   NULL));
	free_forward(forward);
}

static void on_server(void *user, int fd, uint32_t events);

/* Ask the next server. Frees the forward when there is none left to try. */
static void ask(struct forward *forward)
{
	const struct resolver *resolver = resolver_of(forward);

	while (forward->tries < TRIES) {
		close_server(forward);
		forward->fd = venv__servers_connect(resolver, forward->tries++, SOCK_DGRAM);
		if (forward->fd < 0 || send(forward->fd, forward->query, forward->length, 0) < 0)
			continue;
		forward->deadline = venv__now_us() + TRY_US;
		forward->source = venv__loop_add(resolver->netd->loop, forward->fd, EPOLLIN,
						 on_server, forward);
		if (forward->source)
			return;
	}
	give_up(forward);
}

static void on_server(void *user, int fd, uint32_t events)
{
	struct forward *forward = user;
	ssize_t n = recv(fd, packet, sizeof(packet), 0);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		ask(forward); /* nobody listens there */
		return;
	}
	if (!venv__dns_matches(forward->query, forward->length, packet, (size_t)n))
		return;
	send_reply(forward->network, &forward->client, packet, (size_t)n);
	free_forward(forward);
}

static void on_sweep(void *user, int fd, uint32_t events)
{
	struct resolver *resolver = user;
	uint64_t now = venv__now_us();
	struct forward *next;

	(void)fd;
	(void)events;
	for (struct forward *forward = resolver->forwards; forward; forward = next) {
		next = forward->next;
		if (now > forward->deadline)
			ask(forward);
	}
	venv__stream_sweep(resolver, now);
	if (!resolver->forwards && !resolver->streams) {
		venv__loop_remove(resolver->sweep);
		resolver->sweep = NULL;
	}
}

void venv__resolver_need_sweep(struct resolver *resolver)
{
	if (!resolver->sweep)
		resolver->sweep = venv__loop_timer(resolver->netd->loop, SWEEP_MS, SWEEP_MS,
						   on_sweep, resolver);
}

static void forward_query(struct network *network, const struct sockaddr_in *client,
			  const uint8_t *query, size_t length)
{
	struct resolver *resolver = network->netd->resolver;
	struct forward *forward;

	if (resolver->n_forwards >= FORWARDS_MAX)
		return; /* it will ask again */
	forward = malloc(sizeof(*forward) + length);
	if (!forward)
		return;
	*forward = (struct forward){ .next = resolver->forwards,
				     .network = network,
				     .client = *client,
				     .fd = -1,
				     .length = length };
	memcpy(forward->query, query, length);
	resolver->forwards = forward;
	resolver->n_forwards++;
	venv__servers_refresh(resolver);
	venv__resolver_need_sweep(resolver);
	ask(forward);
}

void venv__resolver_udp(void *user, int fd, uint32_t events)
{
	struct network *network = user;
	uint8_t reply[DNS_REPLY_MAX], query[QUERY_MAX];

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_in client = { 0 };
		socklen_t length = sizeof(client);
		ssize_t n;
		int r;

		n = recvfrom(fd, query, sizeof(query), 0, (struct sockaddr *)&client, &length);
		if (n < 0)
			return;
		r = venv__names_answer(network, ntohl(client.sin_addr.s_addr), query, (size_t)n,
				       reply);
		if (r > 0)
			send_reply(network, &client, reply, (size_t)r);
		else if (r < 0)
			forward_query(network, &client, query, (size_t)n);
	}
}

struct resolver *venv__resolver_new(struct netd *netd)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (resolver)
		resolver->netd = netd;
	return resolver;
}
