/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of a guest to the muxer, mixed with what the host's side does. Streams and answers stay within
 * their limits, data to the guest within its credit and its buffer.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/input.h"
#include "vsock/muxer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CID = 3, STEPS_MAX = 400, HOSTS_MAX = 8 };

static void on_ready(void *user)
{
	(void)user;
}

static void on_quit(void *user, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	venv__loop_quit(user, 0);
}

static void turn(struct loop *loop)
{
	must(venv__loop_timer(loop, 0, 0, on_quit, loop));
	(void)venv__loop_run(loop);
}

struct world {
	struct loop *loop;
	struct vsock_mux *mux;
	struct sockaddr_un address;
	socklen_t length;
	int host[HOSTS_MAX];
	uint32_t last_port; /* of what the guest was asked from */
};

/* Small numbers for ports and what goes with them, so that they meet. */
static void from_guest(struct world *w, struct input *in)
{
	static uint8_t data[4096];
	struct virtio_vsock_hdr packet = {
		.src_cid = CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = take(in, 1) & 7,
		.dst_port = take(in, 1),
		.op = (uint16_t)(take(in, 1) % 10),
		.type = take(in, 1) & 0x1f ? 1 : 2,
		.flags = take(in, 1) & 3,
		.buf_alloc = take(in, 2),
		.fwd_cnt = take(in, 2),
		.len = take(in, 2) % (sizeof(data) + 1),
	};
	struct iovec iov[2] = { { data, packet.len / 2 }, { data, packet.len - packet.len / 2 } };

	packet.dst_port = packet.dst_port & 0x80 ? w->last_port : packet.dst_port & 3;
	if (packet.op != VIRTIO_VSOCK_OP_RW)
		packet.len = 0;
	vsock_mux_take(w->mux, &packet, iov, packet.len ? 2 : 0);
	must(vsock_mux_count(w->mux) <= VSOCK_CONNECTIONS_MAX);
}

static void to_guest(struct world *w, struct input *in)
{
	static uint8_t data[65536];
	struct virtio_vsock_hdr packet;
	size_t room = 1 + take(in, 2) % sizeof(data);

	if (!vsock_mux_give(w->mux, &packet, data, room))
		return;
	must(packet.op && packet.src_cid == VSOCK_HOST_CID && packet.dst_cid == CID);
	must(packet.len <= room && (!packet.len || packet.op == VIRTIO_VSOCK_OP_RW));
	if (packet.op == VIRTIO_VSOCK_OP_REQUEST)
		w->last_port = packet.src_port;
}

static void of_host(struct world *w, struct input *in)
{
	static const char text[] = "CONNECT 5\nCONNECT 99999999999\n";
	int *fd = &w->host[take(in, 1) % HOSTS_MAX];
	uint32_t op = take(in, 1);
	size_t n = op >> 2 & 31;
	char byte[512];

	if (*fd < 0) {
		*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(*fd, (const struct sockaddr *)&w->address, w->length);
		(void)send(*fd, "CONNECT 5\n", op & 1 ? 10 : 0, MSG_NOSIGNAL);
	} else if (op & 1) {
		(void)send(*fd, text, n, MSG_NOSIGNAL);
	} else if (op & 2) {
		(void)recv(*fd, byte, sizeof(byte), 0);
	} else {
		(void)close(*fd);
		*fd = -1;
	}
}

static int listen_somewhere(struct world *w)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	w->address.sun_family = AF_UNIX; /* the kernel finds a name */
	must(bind(fd, (const struct sockaddr *)&w->address, sizeof(sa_family_t)) == 0);
	w->length = sizeof(w->address);
	must(getsockname(fd, (struct sockaddr *)&w->address, &w->length) == 0);
	must(listen(fd, 64) == 0);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct world w = { .loop = venv__loop_new() };
	int listener = listen_somewhere(&w);

	for (unsigned i = 0; i < HOSTS_MAX; i++)
		w.host[i] = -1;
	w.mux = vsock_mux_new(w.loop, CID, -1, listener, on_ready, NULL);
	must(w.mux != NULL);
	vsock_mux_start(w.mux);
	for (unsigned i = 0; i < STEPS_MAX && in.left; i++) {
		uint32_t op = take(&in, 1);

		if (op % 4 == 0)
			of_host(&w, &in);
		else if (op % 4 == 1)
			from_guest(&w, &in);
		else if (op % 4 == 2)
			to_guest(&w, &in);
		if (op & 0x10 || op % 4 == 3)
			turn(w.loop);
	}
	vsock_mux_free(w.mux);
	for (unsigned i = 0; i < HOSTS_MAX; i++)
		if (w.host[i] >= 0)
			(void)close(w.host[i]);
	venv__loop_free(w.loop);
	(void)close(listener);
	return 0;
}
