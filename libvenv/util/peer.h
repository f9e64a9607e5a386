/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is attached to a machine's console: a stream socket. What the machine says is shown as far as the
 * socket takes it, and lost for him otherwise: the machine never waits. What he types is offered to the
 * machine until it is taken, also when he has left since, for ten seconds then; no more is read meanwhile. One
 * at a time: the next one takes over.
 */
#ifndef VENV_UTIL_PEER_H
#define VENV_UTIL_PEER_H

#include <stddef.h>

#include "error.h"
#include "loop.h"

enum { PEER_INPUT_MAX = 4096 };

struct peer {
	struct loop *loop;
	int fd; /* -1: nobody */
	struct loop_source *source, *retry;
	uint8_t input[PEER_INPUT_MAX];
	size_t n_input;
	unsigned patience; /* how often what he left behind is offered yet, when he has left */
	/* Takes what is typed: returns how much, the rest is offered again soon. NULL: all is lost. */
	size_t (*take)(void *user, const void *data, size_t size);
	void *user;
};

void venv__peer_init(struct peer *peer, struct loop *loop);
/* A stream socket, taken over, or closed on failure. 0 or a code */
int venv__peer_attach(struct peer *peer, int fd, venv_error **err);
/* The same of a new pair of sockets. Its other end, or a negative code */
int venv__peer_connect(struct peer *peer, venv_error **err);
void venv__peer_show(struct peer *peer, const void *data, size_t size);
void venv__peer_let_go(struct peer *peer); /* may be called at any time */

#endif
