/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/compiler.h"

static void on_socket(void *user, int fd, uint32_t events);

static uint32_t credit(const struct vsock_conn *conn)
{
	uint32_t under_way = conn->sent - conn->guest_forwarded;

	/* a guest that takes back what it gave, or has forwarded more than it got, just waits */
	return under_way < conn->guest_alloc ? conn->guest_alloc - under_way : 0;
}

/* What is waited for. A source without interest would still be told of a hang-up, for ever. */
static bool watch(struct vsock_conn *conn)
{
	bool reads = conn->state == VSOCK_OPEN && !conn->host_ended && !conn->guest_deaf &&
		     !(conn->due & DUE_DATA) && credit(conn);
	uint32_t events = (reads || conn->state == VSOCK_LINE ? EPOLLIN : 0u) |
			  (conn->out_length ? EPOLLOUT : 0u);

	if (!events) {
		venv__loop_remove(conn->source);
		conn->source = NULL;
		return true;
	}
	if (conn->source)
		return venv__loop_set_events(conn->source, events) == 0;
	conn->source = venv__loop_add(vsock_mux_loop(conn->mux), conn->fd, events, on_socket, conn);
	return conn->source != NULL;
}

struct vsock_conn *vsock_conn_new(struct vsock_mux *mux, int fd, enum vsock_state state)
{
	struct vsock_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->mux = mux;
	conn->fd = fd;
	conn->state = state;
	if (watch(conn))
		return conn;
	free(conn);
	return NULL;
}

void vsock_conn_free(struct vsock_conn *conn)
{
	venv__loop_remove(conn->source);
	(void)close(conn->fd);
	free(conn->out);
	free(conn);
}

/* ---- From the guest ---- */

static void have_forwarded(struct vsock_conn *conn, size_t n)
{
	conn->forwarded += (uint32_t)n;
	if (conn->forwarded - conn->told >= VSOCK_BUFFER / 4)
		conn->due |= DUE_CREDIT;
}

/* @return false: nobody is there any more */
static bool flush(struct vsock_conn *conn)
{
	while (conn->out_length) {
		ssize_t n = send(conn->fd, conn->out + conn->out_at, conn->out_length,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		have_forwarded(conn, (size_t)n);
		conn->out_at += (size_t)n;
		conn->out_length -= (size_t)n;
	}
	conn->out_at = 0;
	if (conn->guest_ended)
		(void)shutdown(conn->fd, SHUT_WR);
	return !(conn->guest_ended && conn->guest_deaf); /* then all is done */
}

static bool keep(struct vsock_conn *conn, const uint8_t *data, size_t size)
{
	if (!size)
		return true;
	if (!conn->out)
		conn->out = malloc(VSOCK_BUFFER);
	if (!conn->out)
		return false;
	if (conn->out_at + conn->out_length + size > VSOCK_BUFFER) {
		memmove(conn->out, conn->out + conn->out_at, conn->out_length);
		conn->out_at = 0;
	}
	memcpy(conn->out + conn->out_at + conn->out_length, data, size);
	conn->out_length += size;
	return true;
}

/* Within its credit, what is kept fits the buffer: both are received - forwarded. */
static bool take_data(struct vsock_conn *conn, const struct virtio_vsock_hdr *packet,
		      const struct iovec *iov, int n)
{
	struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)iov,
				  .msg_iovlen = (size_t)n };
	ssize_t done = 0;

	if (conn->state != VSOCK_OPEN || conn->guest_ended ||
	    packet->len > VSOCK_BUFFER - (conn->received - conn->forwarded))
		return false;
	conn->received += packet->len;
	if (!conn->out_length && packet->len) {
		done = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (done < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		done = MAX(done, 0);
		have_forwarded(conn, (size_t)done);
	}
	for (int i = 0; i < n; i++) {
		size_t skip = MIN((size_t)done, iov[i].iov_len);

		done -= (ssize_t)skip;
		if (!keep(conn, (const uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip))
			return false;
	}
	return watch(conn);
}

static bool take_response(struct vsock_conn *conn)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "OK %u\n", conn->host_port);

	if (conn->state != VSOCK_ASKED ||
	    send(conn->fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
		return false;
	conn->state = VSOCK_OPEN;
	return watch(conn);
}

static bool take_shutdown(struct vsock_conn *conn, uint32_t flags)
{
	conn->guest_ended |= (flags & 2) != 0; /* VIRTIO_VSOCK_SHUTDOWN_SEND */
	conn->guest_deaf |= (flags & 1) != 0;  /* …RCV */
	if (conn->guest_deaf)
		conn->due &= ~(unsigned)(DUE_DATA | DUE_SHUTDOWN);
	return conn->state == VSOCK_OPEN && flush(conn) && watch(conn);
}

bool vsock_conn_take(struct vsock_conn *conn, const struct virtio_vsock_hdr *packet,
		     const struct iovec *iov, int n)
{
	conn->guest_alloc = packet->buf_alloc;
	conn->guest_forwarded = packet->fwd_cnt;
	switch (packet->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		return take_response(conn);
	case VIRTIO_VSOCK_OP_RW:
		return take_data(conn, packet, iov, n);
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		return take_shutdown(conn, packet->flags);
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		return watch(conn);
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		conn->due |= DUE_CREDIT;
		return watch(conn);
	default: /* a second request, too: the port is taken */
		return false;
	}
}

/* ---- To the guest ---- */

static const struct {
	unsigned due;
	uint16_t op;
} simple[] = {
	{ DUE_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
	{ DUE_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
	{ DUE_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
	{ DUE_NO_CREDIT, VIRTIO_VSOCK_OP_CREDIT_REQUEST },
};

/* @return as vsock_conn_give() */
static int give_data(struct vsock_conn *conn, struct virtio_vsock_hdr *packet, uint8_t *data,
		     size_t room)
{
	ssize_t n;

	room = MIN(room, credit(conn));
	conn->due &= ~(unsigned)DUE_DATA;
	if (!room) { /* it was taken back: wait for more */
		packet->op = VIRTIO_VSOCK_OP_CREDIT_REQUEST;
		return 1;
	}
	n = recv(conn->fd, data, room, MSG_DONTWAIT);
	if (n > 0) {
		packet->op = VIRTIO_VSOCK_OP_RW;
		packet->len = (uint32_t)n;
		conn->sent += (uint32_t)n;
		if (credit(conn))
			conn->due |= DUE_DATA; /* perhaps; the next read tells */
		else
			conn->due |= DUE_NO_CREDIT;
		return 1;
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return -1;
	if (n == 0) {
		conn->host_ended = true;
		conn->due |= DUE_SHUTDOWN;
	}
	return watch(conn) ? 0 : -1;
}

int vsock_conn_give(struct vsock_conn *conn, struct virtio_vsock_hdr *packet, uint8_t *data,
		    size_t room)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(simple) && !r; i++) {
		if (!(conn->due & simple[i].due))
			continue;
		conn->due &= ~simple[i].due;
		packet->op = simple[i].op;
		r = 1;
	}
	if (!r && conn->due & DUE_DATA)
		r = give_data(conn, packet, data, room);
	if (!r && conn->due & DUE_SHUTDOWN) {
		conn->due &= ~(unsigned)DUE_SHUTDOWN;
		packet->op = VIRTIO_VSOCK_OP_SHUTDOWN;
		packet->flags = conn->host_gone ? 3 : 2;
		r = 1;
	}
	if (r > 0) {
		packet->buf_alloc = VSOCK_BUFFER;
		packet->fwd_cnt = conn->told = conn->forwarded;
	}
	return r;
}

/* ---- The socket ---- */

/* @return false: over. No byte behind the line is read. */
static bool read_line(struct vsock_conn *conn)
{
	for (;;) {
		char byte;
		ssize_t n = recv(conn->fd, &byte, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0 || conn->line_length == VSOCK_LINE_MAX - 1)
			return false;
		if (byte == '\n')
			break;
		conn->line[conn->line_length++] = byte;
	}
	conn->state = VSOCK_ASKED;
	return vsock_mux_ask(conn->mux, conn, conn->line) && watch(conn);
}

static void on_socket(void *user, int fd, uint32_t events)
{
	struct vsock_conn *conn = user;
	struct vsock_mux *mux = conn->mux;
	bool asking = conn->state == VSOCK_LINE, fine = true;

	(void)fd;
	conn->host_gone |= (events & (EPOLLHUP | EPOLLERR)) != 0;
	if (asking) {
		fine = read_line(conn);
	} else {
		if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
			fine = flush(conn);
		if (fine && events & (EPOLLIN | EPOLLHUP) && !conn->host_ended && !conn->guest_deaf)
			conn->due |= DUE_DATA;
		fine = fine && watch(conn);
	}
	if (!fine)
		vsock_mux_over(mux, conn, !asking);
	vsock_mux_due(mux);
}
