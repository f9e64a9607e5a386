/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries over TCP: one after the other on each connection, in four states that each wait for one
 * descriptor: read the query, send it on (or answer it), read the server's answer, write the answer.
 */
#include <arpa/inet.h>
#include <string.h>

#include "resolver.h"
#include "util/sys.h"

enum { STREAMS_MAX = 64, PREFIX = 2, MESSAGE_MAX = 65535, IDLE_US = 10 * 1000 * 1000 };

enum step { READ_QUERY, SEND_QUERY, READ_ANSWER, WRITE_ANSWER };

struct stream {
	struct stream *next;
	struct network *network;
	uint32_t from;
	enum step step;
	int client, server;
	struct loop_source *source; /* of the one that is waited for */
	unsigned tries;
	uint64_t used;
	size_t done, length;
	uint8_t data[PREFIX + MESSAGE_MAX];
};

static void free_stream(struct stream *stream)
{
	struct resolver *resolver = stream->network->netd->resolver;
	struct stream **link = &resolver->streams;

	while (*link != stream)
		link = &(*link)->next;
	*link = stream->next;
	venv__loop_remove(stream->source);
	(void)close(stream->client);
	if (stream->server >= 0)
		(void)close(stream->server);
	free(stream);
	resolver->n_streams--;
}

void venv__stream_sweep(struct resolver *resolver, uint64_t now)
{
	struct stream *next;

	for (struct stream *stream = resolver->streams; stream; stream = next) {
		next = stream->next;
		if (now - stream->used > IDLE_US)
			free_stream(stream);
	}
}

static void on_ready(void *user, int fd, uint32_t events);

/* false: it is gone */
static bool go_to(struct stream *stream, enum step step)
{
	bool server = step == SEND_QUERY || step == READ_ANSWER;

	venv__loop_remove(stream->source);
	stream->step = step;
	stream->done = 0;
	if (step == READ_QUERY || step == READ_ANSWER)
		stream->length = PREFIX;
	stream->source = venv__loop_add(
		stream->network->netd->loop, server ? stream->server : stream->client,
		step == READ_QUERY || step == READ_ANSWER ? EPOLLIN : EPOLLOUT, on_ready, stream);
	if (stream->source)
		return true;
	free_stream(stream);
	return false;
}

static void set_message(struct stream *stream, const uint8_t *data, size_t length)
{
	if (data)
		memcpy(stream->data + PREFIX, data, length);
	stream->data[0] = (uint8_t)(length >> 8);
	stream->data[1] = (uint8_t)length;
	stream->length = PREFIX + length;
}

static void take_query(struct stream *stream)
{
	struct resolver *resolver = stream->network->netd->resolver;
	uint8_t reply[DNS_REPLY_MAX];
	int r = venv__names_answer(stream->network, stream->from, stream->data + PREFIX,
				   stream->length - PREFIX, reply);

	if (r > 0) {
		set_message(stream, reply, (size_t)r);
		(void)go_to(stream, WRITE_ANSWER);
		return;
	}
	if (r == 0) {
		free_stream(stream);
		return;
	}
	venv__servers_refresh(resolver);
	if (stream->server >= 0)
		(void)close(stream->server);
	stream->server = venv__servers_connect(resolver, stream->tries, SOCK_STREAM);
	if (stream->server < 0)
		free_stream(stream);
	else
		(void)go_to(stream, SEND_QUERY);
}

/* A message or a part of it came: true when it is whole. */
static bool read_more(struct stream *stream, int fd)
{
	ssize_t n = recv(fd, stream->data + stream->done, stream->length - stream->done, 0);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		free_stream(stream);
		return false;
	}
	stream->done += (size_t)n;
	if (stream->length == PREFIX && stream->done == PREFIX)
		stream->length += (size_t)stream->data[0] << 8 | stream->data[1];
	return stream->done == stream->length;
}

static bool write_more(struct stream *stream, int fd)
{
	ssize_t n =
		send(fd, stream->data + stream->done, stream->length - stream->done, MSG_NOSIGNAL);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0) {
		/* the server is not there: the next connection tries another */
		free_stream(stream);
		return false;
	}
	stream->done += (size_t)n;
	return stream->done == stream->length;
}

static void on_ready(void *user, int fd, uint32_t events)
{
	struct stream *stream = user;

	(void)events;
	stream->used = venv__now_us();
	switch (stream->step) {
	case READ_QUERY:
		if (read_more(stream, fd))
			take_query(stream);
		break;
	case SEND_QUERY:
		if (write_more(stream, fd))
			(void)go_to(stream, READ_ANSWER);
		break;
	case READ_ANSWER:
		if (read_more(stream, fd))
			(void)go_to(stream, WRITE_ANSWER);
		break;
	case WRITE_ANSWER:
		if (write_more(stream, fd))
			(void)go_to(stream, READ_QUERY);
		break;
	}
}

void venv__resolver_tcp(void *user, int fd, uint32_t events)
{
	struct network *network = user;
	struct resolver *resolver = network->netd->resolver;
	struct sockaddr_in client = { 0 };
	socklen_t length = sizeof(client);
	struct stream *stream;
	int connection =
		accept4(fd, (struct sockaddr *)&client, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (connection < 0)
		return;
	stream = resolver->n_streams < STREAMS_MAX ? malloc(sizeof(*stream)) : NULL;
	if (!stream) {
		(void)close(connection);
		return;
	}
	stream->next = resolver->streams;
	stream->network = network;
	stream->from = ntohl(client.sin_addr.s_addr);
	stream->client = connection;
	stream->server = -1;
	stream->source = NULL;
	stream->tries = resolver->n_streams;
	stream->used = venv__now_us();
	resolver->streams = stream;
	resolver->n_streams++;
	venv__resolver_need_sweep(resolver);
	(void)go_to(stream, READ_QUERY);
}
