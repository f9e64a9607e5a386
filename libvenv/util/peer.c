/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys.h"

enum { RETRY_MS = 5, PATIENCE_MS = 10000 };

void venv__peer_init(struct peer *peer, struct loop *loop)
{
	*peer = (struct peer){ .loop = loop, .fd = -1 };
}

void venv__peer_let_go(struct peer *peer)
{
	venv__loop_remove(take_ptr(peer->source));
	venv__loop_remove(take_ptr(peer->retry));
	peer->n_input = 0;
	if (peer->fd >= 0)
		(void)close(take_fd(&peer->fd));
}

/* The socket's buffer is the backlog. */
void venv__peer_show(struct peer *peer, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	while (size && peer->fd >= 0) {
		ssize_t n = send(peer->fd, bytes, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			venv__peer_let_go(peer);
		if (n <= 0)
			return;
		bytes += n;
		size -= (size_t)n;
	}
}

static bool has_left(const struct peer *peer)
{
	struct pollfd poll_fd = { .fd = peer->fd, .events = POLLRDHUP };

	return poll(&poll_fd, 1, 0) == 1;
}

static void on_peer(void *user, int fd, uint32_t events);
static void on_retry(void *user, int fd, uint32_t events);

/* What is left is read before it is seen that he has left, so the source is taken out, not told to wait. */
static void offer(struct peer *peer)
{
	size_t n = peer->take ? peer->take(peer->user, peer->input, peer->n_input) : peer->n_input;

	n = MIN(n, peer->n_input);
	if (n)
		peer->patience = PATIENCE_MS / RETRY_MS;
	peer->n_input -= n;
	memmove(peer->input, peer->input + n, peer->n_input);
	if (peer->n_input) {
		venv__loop_remove(take_ptr(peer->source));
		if (!peer->retry)
			peer->retry =
				venv__loop_timer(peer->loop, RETRY_MS, RETRY_MS, on_retry, peer);
		return;
	}
	venv__loop_remove(take_ptr(peer->retry));
	if (!peer->source)
		peer->source = venv__loop_add(peer->loop, peer->fd, EPOLLIN, on_peer, peer);
	if (!peer->source)
		venv__peer_let_go(peer);
}

static void on_retry(void *user, int fd, uint32_t events)
{
	struct peer *peer = user;

	(void)fd;
	(void)events;
	if (has_left(peer) && --peer->patience == 0)
		venv__peer_let_go(peer);
	else
		offer(peer);
}

static void on_peer(void *user, int fd, uint32_t events)
{
	struct peer *peer = user;
	ssize_t n = read(fd, peer->input + peer->n_input, PEER_INPUT_MAX - peer->n_input);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		venv__peer_let_go(peer);
		return;
	}
	peer->n_input += (size_t)n;
	peer->patience = PATIENCE_MS / RETRY_MS;
	offer(peer);
}

int venv__peer_attach(struct peer *peer, int fd, venv_error **err)
{
	int r;

	venv__peer_let_go(peer);
	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) == 0)
		peer->source = venv__loop_add(peer->loop, fd, EPOLLIN, on_peer, peer);
	if (peer->source) {
		peer->fd = fd;
		return 0;
	}
	r = venv__fail_errno(err, errno, "cannot attach to the console");
	(void)close(fd);
	return r;
}

int venv__peer_connect(struct peer *peer, venv_error **err)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return venv__fail_errno(err, errno, "cannot make a connection");
	r = venv__peer_attach(peer, pair[0], err);
	if (r == 0)
		return pair[1];
	(void)close(pair[1]);
	return r;
}
