/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream between a port of the guest's and a socket of the host's (virtio 1.2, section 5.10.6).
 *
 * Theory of operation: what the guest sends goes to the socket at once, or into a buffer that is as large
 * as the credit that the guest was given; a guest that sends more is reset. What the socket has is read
 * when the guest has both a buffer and credit, straight before it is sent, so nothing is kept for it. A
 * packet that is due to the guest is a bit in `due` until there is a buffer for it. Everything happens on
 * one thread.
 */
#ifndef VMM_VSOCK_CONN_H
#define VMM_VSOCK_CONN_H

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <sys/uio.h>

#include "util/loop.h"

enum {
	VSOCK_BUFFER = 64 * 1024,
	VSOCK_LINE_MAX = 24, /* "CONNECT 4294967295\n" */
};

struct vsock_mux;

enum vsock_state {
	VSOCK_LINE,  /* of the host: has not said yet to where */
	VSOCK_ASKED, /* the guest was asked, or will be */
	VSOCK_OPEN,
};

enum vsock_due { /* in the order in which they are sent */
		 DUE_REQUEST = 1,
		 DUE_RESPONSE = 2,
		 DUE_CREDIT = 4,    /* tell ours */
		 DUE_NO_CREDIT = 8, /* ask for the guest's */
		 DUE_DATA = 16,     /* the socket has some, or its end */
		 DUE_SHUTDOWN = 32,
};

struct vsock_conn {
	struct vsock_mux *mux;
	uint32_t guest_port, host_port;
	enum vsock_state state;
	unsigned due;
	int fd;
	struct loop_source *source;
	bool host_ended, host_gone;   /* read to its end; nobody there to write to either */
	bool guest_ended, guest_deaf; /* it will not send, not read */
	/* counts of bytes, as the protocol has them: they wrap */
	uint32_t sent, guest_alloc, guest_forwarded;
	uint32_t received, forwarded, told;
	uint8_t *out; /* what the socket did not take: VSOCK_BUFFER bytes, or NULL */
	size_t out_at, out_length;
	char line[VSOCK_LINE_MAX];
	size_t line_length;
};

struct vsock_conn *vsock_conn_new(struct vsock_mux *mux, int fd, enum vsock_state state);
void vsock_conn_free(struct vsock_conn *conn);
/* A packet of the guest's for it. @return false: it is over, and the guest must be told (a reset) */
bool vsock_conn_take(struct vsock_conn *conn, const struct virtio_vsock_hdr *packet,
		     const struct iovec *iov, int n);
/*
 * The next packet that is due: fills op, len, flags and the data.
 * @return 1: one; 0: none; -1: it is over, and the guest must be told
 */
int vsock_conn_give(struct vsock_conn *conn, struct virtio_vsock_hdr *packet, uint8_t *data,
		    size_t room);

/* What it asks of the muxer. */
void vsock_mux_over(struct vsock_mux *mux, struct vsock_conn *conn, bool tell); /* frees it */
void vsock_mux_due(struct vsock_mux *mux);
struct loop *vsock_mux_loop(struct vsock_mux *mux);
/* false: it is over. The line is complete, without its end. */
bool vsock_mux_ask(struct vsock_mux *mux, struct vsock_conn *conn, const char *line);

#endif
