/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forwarded TCP.
 *
 * Theory of operation: accept on the host, ask venv-netns for a socket made in the machine's network
 * namespace, connect it to the machine's own address, and when that refuses to its 127.0.0.1 (a
 * service that listens on loopback only); from a virtual machine's network instead, where sockets are
 * made in the project's namespace. Connecting from inside the machine's namespace goes over its
 * loopback device: that is faster than the bridge, and no packet of ours can be seen or forged there.
 *
 * Bytes are spliced through a pipe per direction, level-triggered: a side is watched for input while
 * the pipe that leads away from it is empty, and for output while the pipe to it is not. Each end of
 * stream is passed on by shutdown() when its pipe has drained, so half-closed connections work; a
 * reset is passed on as a reset.
 *
 * The limit: one stream carries about 0.65 of what loopback alone does on two processors, which sender,
 * receiver and netd share then. 98 % of netd's time is the kernel's TCP below splice(), some 90 KB a
 * call; pipes of 256 KiB and of 1 MiB carried no more.
 */
#include <fcntl.h>
#include <netinet/tcp.h>

#include "netd.h"

enum {
	ACCEPT_BATCH = 32,
	LARGE_AFTER = 256 * 1024, /* bytes in one direction before it deserves a large pipe */
	ROUNDS = 8,               /* pipes full at a time before others have their turn */
	SYN_COUNT = 3,
	PAUSE_MS = 100,
};

struct side {
	struct connection *connection;
	int fd;
	struct loop_source *source;
	uint32_t events;        /* watched now */
	struct pipe_pair *pipe; /* bytes read here, on their way to the other side */
	size_t held;            /* in it */
	uint64_t total;
	bool hung;  /* hung up both ways: reported without being asked for */
	bool ended; /* end of stream was read here */
	bool shut;  /* and passed on */
};

struct connection {
	struct connection *next, **link;
	struct port *port;
	struct side host, machine;
	bool asking, tried_loopback;
};

static void free_side(struct netd *netd, struct side *side)
{
	venv__loop_remove(side->source);
	venv__pipe_put(&netd->pipes, side->pipe, side->held == 0);
	if (side->fd >= 0)
		(void)close(side->fd);
}

static void free_connection(struct connection *connection)
{
	struct netd *netd = connection->port->machine->netd;

	if (connection->asking)
		venv__helper_cancel(netd, connection);
	*connection->link = connection->next;
	if (connection->next)
		connection->next->link = connection->link;
	free_side(netd, &connection->host);
	free_side(netd, &connection->machine);
	netd->n_connections--;
	free(connection);
}

/* Close both so that each peer sees a reset, not an end. */
static void reset(struct connection *connection)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(connection->host.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	if (connection->machine.fd >= 0)
		(void)setsockopt(connection->machine.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	free_connection(connection);
}

void venv__tcp_close_all(struct machine *machine)
{
	while (machine->connections)
		reset(machine->connections);
}

static void on_side(void *user, int fd, uint32_t events);

/* Watch for what can be gone on with. 0 or -errno */
static int watch(struct netd *netd, struct side *side, const struct side *other)
{
	uint32_t events = 0;

	if (!side->ended && side->held == 0)
		events |= EPOLLIN;
	if (other->held > 0)
		events |= EPOLLOUT;
	if (!events && side->hung) {
		/* epoll would report the hang-up over and over */
		venv__loop_remove(side->source);
		side->source = NULL;
		side->events = 0;
		return 0;
	}
	if (events == side->events)
		return 0;
	side->events = events;
	if (side->source)
		return venv__loop_set_events(side->source, events);
	side->source = venv__loop_add(netd->loop, side->fd, events, on_side, side);
	return side->source ? 0 : -ENOMEM;
}

/* Read what there is into the pipe: 1 when something came, 0, or -errno */
static int fill(struct netd *netd, struct side *from)
{
	ssize_t n;

	if (!from->pipe)
		from->pipe = venv__pipe_get(&netd->pipes, from->total > LARGE_AFTER);
	if (!from->pipe)
		return -ENOMEM;
	n = splice(from->fd, NULL, from->pipe->in, NULL, from->pipe->size,
		   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		from->ended = true;
	from->held = (size_t)n;
	from->total += (size_t)n;
	return n > 0;
}

/* Write what the pipe holds: 1 when it is empty, 0 when the receiver is full, or -errno */
static int drain(struct side *from, const struct side *to)
{
	while (from->held > 0) {
		ssize_t n = splice(from->pipe->out, NULL, to->fd, NULL, from->held,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (n == 0)
			return -EPIPE;
		from->held -= (size_t)n;
	}
	return 1;
}

/* Move bytes one way until one of the two would block. 0 or -errno */
static int pump(struct netd *netd, struct side *from, struct side *to)
{
	int r = drain(from, to);

	for (int round = 0; r == 1 && !from->ended && round < ROUNDS; round++) {
		r = fill(netd, from);
		if (r == 1)
			r = drain(from, to);
	}
	if (from->held == 0) {
		venv__pipe_put(&netd->pipes, from->pipe, true);
		from->pipe = NULL;
	}
	if (r >= 0 && from->ended && from->held == 0 && !from->shut) {
		from->shut = true;
		if (shutdown(to->fd, SHUT_WR) < 0 && errno != ENOTCONN)
			return -errno;
	}
	return r < 0 ? r : 0;
}

static void on_side(void *user, int fd, uint32_t events)
{
	struct side *side = user;
	struct connection *connection = side->connection;
	struct side *host = &connection->host, *machine = &connection->machine;
	struct netd *netd = connection->port->machine->netd;
	struct side *other = side == host ? machine : host;
	int r = 0;

	(void)fd;
	if (events & EPOLLHUP)
		side->hung = true;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !side->ended)
		r = pump(netd, side, other);
	if (r == 0 && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		r = pump(netd, other, side);
	if (r == 0 && events & EPOLLERR)
		r = -ECONNRESET;
	if (r == 0 && host->shut && machine->shut) {
		free_connection(connection);
		return;
	}
	if (r == 0)
		r = watch(netd, host, machine);
	if (r == 0)
		r = watch(netd, machine, host);
	if (r < 0)
		reset(connection);
}

static void no_delay(int fd)
{
	int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void connected(struct connection *connection)
{
	struct netd *netd = connection->port->machine->netd;
	struct side *host = &connection->host, *machine = &connection->machine;

	connection->port->own_loopback = connection->tried_loopback;
	no_delay(host->fd);
	no_delay(machine->fd);
	if (watch(netd, host, machine) < 0 || watch(netd, machine, host) < 0)
		reset(connection);
}

static void try_connect(struct connection *connection, bool loopback);

/* A socket whose connect() failed has to be told before it may try again. */
static void disconnect(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	(void)connect(fd, &none, sizeof(none));
}

static void refused(struct connection *connection)
{
	if (connection->tried_loopback != connection->port->own_loopback ||
	    connection->port->machine->tap) {
		connection->port->own_loopback = false;
		reset(connection);
		return;
	}
	disconnect(connection->machine.fd);
	try_connect(connection, !connection->tried_loopback);
}

static void on_connect(void *user, int fd, uint32_t events)
{
	struct connection *connection = user;
	socklen_t length = sizeof(int);
	int number = 0;

	(void)events;
	venv__loop_remove(connection->machine.source);
	connection->machine.source = NULL;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length) < 0 || number)
		refused(connection);
	else
		connected(connection);
}

static void try_connect(struct connection *connection, bool loopback)
{
	struct loop *loop = connection->port->machine->netd->loop;
	struct side *machine = &connection->machine;
	struct sockaddr_in target;

	connection->tried_loopback = loopback;
	venv__port_target(connection->port, loopback, &target);
	if (connect(machine->fd, (const struct sockaddr *)&target, sizeof(target)) == 0) {
		connected(connection);
		return;
	}
	if (errno != EINPROGRESS) {
		refused(connection);
		return;
	}
	machine->source = venv__loop_add(loop, machine->fd, EPOLLOUT, on_connect, connection);
	if (!machine->source)
		reset(connection);
}

static void on_socket(void *user, const json_t *answer, struct msg_fds *fds, const venv_error *err)
{
	struct connection *connection = user;
	int count = SYN_COUNT;

	(void)answer;
	connection->asking = false;
	connection->machine.fd = err ? -1 : venv__msg_fds_take(fds, 0);
	if (connection->machine.fd < 0) {
		reset(connection);
		return;
	}
	(void)setsockopt(connection->machine.fd, IPPROTO_TCP, TCP_SYNCNT, &count, sizeof(count));
	try_connect(connection, connection->port->own_loopback && !connection->port->machine->tap);
}

static void accept_one(struct port *port, int fd)
{
	struct machine *machine = port->machine;
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection || machine->netd->n_connections >= machine->netd->connections_max) {
		free(connection);
		(void)close(fd);
		return;
	}
	*connection = (struct connection){
		.next = machine->connections,
		.link = &machine->connections,
		.port = port,
		.host = { .connection = connection, .fd = fd },
		.machine = { .connection = connection, .fd = -1 },
		.asking = true,
	};
	if (connection->next)
		connection->next->link = &connection->next;
	machine->connections = connection;
	machine->netd->n_connections++;
	venv__helper_ask_socket(machine->netd, machine, false, on_socket, connection);
}

static void resume(void *user, int fd, uint32_t events)
{
	struct port *port = user;

	(void)fd;
	(void)events;
	port->pause = NULL;
	(void)venv__loop_set_events(port->source, EPOLLIN);
}

void venv__tcp_accept(void *user, int fd, uint32_t events)
{
	struct port *port = user;

	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (connection >= 0) {
			accept_one(port, connection);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
			continue;
		/* no descriptors: the queue must wait, and we must not spin meanwhile */
		port->pause =
			venv__loop_timer(port->machine->netd->loop, PAUSE_MS, 0, resume, port);
		if (port->pause)
			(void)venv__loop_set_events(port->source, 0);
		return;
	}
}
