/* SPDX-License-Identifier: Apache-2.0 */
#include "muxer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/compiler.h"

enum { HOST_PORTS = 1 << 30 }; /* from here on: ours, for who connects to the guest */

struct reset { /* of a stream that is not there (any more) */
	uint32_t guest_port, host_port;
};

struct vsock_mux {
	struct loop *loop;
	uint64_t guest_cid;
	int directory, listener;
	void (*ready)(void *user);
	void *user;
	struct loop_source *source; /* of the listener */
	struct vsock_conn *conn[VSOCK_CONNECTIONS_MAX];
	unsigned n_conns, turn;
	uint32_t next_port;
	struct reset reset[VSOCK_RESETS_MAX];
	unsigned n_resets;
};

/* ---- Streams ---- */

static void add_reset(struct vsock_mux *mux, uint32_t guest_port, uint32_t host_port)
{
	if (mux->n_resets < VSOCK_RESETS_MAX) /* else it hears nothing, and gives up by itself */
		mux->reset[mux->n_resets++] = (struct reset){ guest_port, host_port };
}

static struct vsock_conn *find(const struct vsock_mux *mux, uint32_t guest_port, uint32_t host_port)
{
	for (unsigned i = 0; i < mux->n_conns; i++)
		if (mux->conn[i]->state != VSOCK_LINE && mux->conn[i]->guest_port == guest_port &&
		    mux->conn[i]->host_port == host_port)
			return mux->conn[i];
	return NULL;
}

/* Takes fd over. */
static struct vsock_conn *add(struct vsock_mux *mux, int fd, enum vsock_state state)
{
	struct vsock_conn *conn = NULL;

	if (mux->n_conns < VSOCK_CONNECTIONS_MAX)
		conn = vsock_conn_new(mux, fd, state);
	if (conn)
		mux->conn[mux->n_conns++] = conn;
	else
		(void)close(fd);
	return conn;
}

void vsock_mux_over(struct vsock_mux *mux, struct vsock_conn *conn, bool tell)
{
	unsigned i = 0;

	while (mux->conn[i] != conn)
		i++;
	mux->conn[i] = mux->conn[--mux->n_conns];
	if (tell)
		add_reset(mux, conn->guest_port, conn->host_port);
	vsock_conn_free(conn);
}

void vsock_mux_due(struct vsock_mux *mux)
{
	if (vsock_mux_has(mux))
		mux->ready(mux->user);
}

struct loop *vsock_mux_loop(struct vsock_mux *mux)
{
	return mux->loop;
}

/* ---- The host connects ---- */

bool vsock_mux_ask(struct vsock_mux *mux, struct vsock_conn *conn, const char *line)
{
	static const char word[] = "CONNECT ";
	unsigned long port;
	char *end;

	if (strncmp(line, word, sizeof(word) - 1) != 0 || line[sizeof(word) - 1] < '0' ||
	    line[sizeof(word) - 1] > '9')
		return false;
	errno = 0;
	port = strtoul(line + sizeof(word) - 1, &end, 10);
	if (errno || *end || port > UINT32_MAX)
		return false;
	conn->guest_port = (uint32_t)port;
	conn->host_port = UINT32_MAX; /* of none */
	do
		mux->next_port = HOST_PORTS | (mux->next_port + 1);
	while (mux->next_port == UINT32_MAX || find(mux, conn->guest_port, mux->next_port));
	conn->host_port = mux->next_port;
	conn->due = DUE_REQUEST;
	return true;
}

static void on_listener(void *user, int fd, uint32_t events)
{
	struct vsock_mux *mux = user;
	int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (connection >= 0)
		(void)add(mux, connection, VSOCK_LINE);
}

/* ---- The guest connects ---- */

static int connect_to(const struct vsock_mux *mux, uint32_t port)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;

	if (mux->directory < 0)
		return -ECONNREFUSED;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "./%u", port);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(&fd);
}

static void take_request(struct vsock_mux *mux, const struct virtio_vsock_hdr *packet)
{
	int fd = mux->n_conns < VSOCK_CONNECTIONS_MAX ? connect_to(mux, packet->dst_port) : -1;
	struct vsock_conn *conn = fd < 0 ? NULL : add(mux, fd, VSOCK_ASKED);

	if (!conn) {
		add_reset(mux, packet->src_port, packet->dst_port);
		return;
	}
	conn->guest_port = packet->src_port;
	conn->host_port = packet->dst_port;
	conn->state = VSOCK_OPEN;
	conn->due = DUE_RESPONSE | DUE_DATA;
	conn->guest_alloc = packet->buf_alloc;
	conn->guest_forwarded = packet->fwd_cnt;
}

/* ---- Packets ---- */

void vsock_mux_take(struct vsock_mux *mux, const struct virtio_vsock_hdr *packet,
		    const struct iovec *iov, int n)
{
	bool stream = packet->type == VIRTIO_VSOCK_TYPE_STREAM;
	struct vsock_conn *conn;

	if (packet->src_cid != mux->guest_cid || packet->dst_cid != VSOCK_HOST_CID)
		return; /* nobody's */
	conn = find(mux, packet->src_port, packet->dst_port);
	if (packet->op == VIRTIO_VSOCK_OP_RST) {
		if (conn)
			vsock_mux_over(mux, conn, false);
	} else if (stream && conn) {
		if (!vsock_conn_take(conn, packet, iov, n))
			vsock_mux_over(mux, conn, true);
	} else if (stream && packet->op == VIRTIO_VSOCK_OP_REQUEST) {
		take_request(mux, packet);
	} else {
		add_reset(mux, packet->src_port, packet->dst_port);
	}
}

static void address_packet(const struct vsock_mux *mux, struct virtio_vsock_hdr *packet,
			   uint32_t guest_port, uint32_t host_port)
{
	packet->src_cid = VSOCK_HOST_CID;
	packet->dst_cid = mux->guest_cid;
	packet->src_port = host_port;
	packet->dst_port = guest_port;
	packet->type = VIRTIO_VSOCK_TYPE_STREAM;
}

static bool give_reset(struct vsock_mux *mux, struct virtio_vsock_hdr *packet)
{
	if (!mux->n_resets)
		return false;
	address_packet(mux, packet, mux->reset[0].guest_port, mux->reset[0].host_port);
	packet->op = VIRTIO_VSOCK_OP_RST;
	mux->n_resets--;
	memmove(mux->reset, mux->reset + 1, mux->n_resets * sizeof(*mux->reset));
	return true;
}

/* One packet of one stream, then the next one's turn. */
bool vsock_mux_give(struct vsock_mux *mux, struct virtio_vsock_hdr *packet, uint8_t *data,
		    size_t room)
{
	*packet = (struct virtio_vsock_hdr){ 0 };
	for (unsigned left = mux->n_conns; left && mux->n_conns; left--) {
		struct vsock_conn *conn = mux->conn[mux->turn++ % mux->n_conns];
		int r = vsock_conn_give(conn, packet, data, room);

		if (r > 0)
			address_packet(mux, packet, conn->guest_port, conn->host_port);
		if (r > 0)
			return true;
		if (r < 0)
			vsock_mux_over(mux, conn, true);
	}
	return give_reset(mux, packet);
}

bool vsock_mux_has(const struct vsock_mux *mux)
{
	for (unsigned i = 0; i < mux->n_conns; i++)
		if (mux->conn[i]->due)
			return true;
	return mux->n_resets;
}

unsigned vsock_mux_count(const struct vsock_mux *mux)
{
	return mux->n_conns;
}

/* ---- All of it ---- */

void vsock_mux_start(struct vsock_mux *mux)
{
	if (mux->listener >= 0 && !mux->source)
		mux->source = venv__loop_add(mux->loop, mux->listener, EPOLLIN, on_listener, mux);
}

void vsock_mux_stop(struct vsock_mux *mux)
{
	venv__loop_remove(mux->source);
	mux->source = NULL;
	while (mux->n_conns)
		vsock_mux_over(mux, mux->conn[0], false);
	mux->n_resets = 0;
}

struct vsock_mux *vsock_mux_new(struct loop *loop, uint64_t guest_cid, int directory, int listener,
				void (*ready)(void *user), void *user)
{
	struct vsock_mux *mux = calloc(1, sizeof(*mux));

	if (!mux || (directory >= 0 && fchdir(directory) < 0)) {
		free(mux);
		return NULL;
	}
	mux->loop = loop;
	mux->guest_cid = guest_cid;
	mux->directory = directory;
	mux->listener = listener;
	mux->ready = ready;
	mux->user = user;
	return mux;
}

void vsock_mux_free(struct vsock_mux *mux)
{
	if (mux)
		vsock_mux_stop(mux);
	free(mux);
}
