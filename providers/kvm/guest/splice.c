/* SPDX-License-Identifier: Apache-2.0 */
#include "splice.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

struct direction {
	int from, to;
	bool ended;
	size_t at, length;
	char data[CHUNK];
};

/* Nobody takes what goes this way any more. */
static void cut(struct direction *d)
{
	d->ended = true;
	d->length = 0;
	(void)shutdown(d->from, SHUT_RD);
}

/* Both at once would wait for each other: so neither side is waited for alone. */
static void move(struct direction *d, bool readable, bool writable_now)
{
	if (readable && !d->length && !d->ended) {
		ssize_t n = read(d->from, d->data, sizeof(d->data));

		d->ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
		d->at = 0;
		d->length = n > 0 ? (size_t)n : 0;
		writable_now = true;
	}
	while (writable_now && d->length) {
		ssize_t n = send(d->to, d->data + d->at, d->length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			cut(d);
			break;
		}
		d->at += (size_t)n;
		d->length -= (size_t)n;
	}
	if (d->ended && !d->length && d->to >= 0) {
		(void)shutdown(d->to, SHUT_WR);
		d->to = -1;
	}
}

void agent_splice(int a, int b)
{
	struct direction *d = calloc(2, sizeof(*d));

	if (!d)
		return;
	d[0].from = d[1].to = a;
	d[1].from = d[0].to = b;
	while (d[0].to >= 0 || d[1].to >= 0) {
		struct pollfd wait[4];

		for (int i = 0; i < 2; i++) {
			wait[2 * i] = (struct pollfd){ d[i].length || d[i].ended ? -1 : d[i].from,
						       POLLIN, 0 };
			/* without events: has the other side gone altogether? */
			wait[2 * i + 1] = (struct pollfd){ d[i].to, d[i].length ? POLLOUT : 0, 0 };
		}
		if (poll(wait, 4, -1) < 0 && errno != EINTR)
			break;
		for (int i = 0; i < 2; i++) {
			if (wait[2 * i + 1].revents & (POLLERR | POLLHUP))
				cut(&d[i]);
			move(&d[i], wait[2 * i].revents, wait[2 * i + 1].revents);
		}
	}
	free(d);
}
