/* SPDX-License-Identifier: Apache-2.0 */
/* The serving end of messages (msg.h): what a process does with its connections, whose requests it has a table for. */
#ifndef VENV_UTIL_SERVE_H
#define VENV_UTIL_SERVE_H

#include "msg.h"

struct client; /* a connection, as each program has it */

struct serve_op {
	const char *name;
	void (*run)(struct client *client, const json_t *request, struct msg_fds *fds);
	bool open; /* also for those of its clients that a program trusts little */
};

struct server {
	const char *program; /* for messages */
	const struct serve_op *ops;
	size_t n_ops;
};

/* The op of a request; NULL, with an error: it is not known, or not for one who is trusted little. */
const struct serve_op *venv__serve_find(const struct server *server, const json_t *request,
					bool trusted, venv_error **err);
/*
 * What is to be read from a connection, without waiting. What is no message is refused.
 * @return 1: *ret is a request; 0: nothing; negative: the connection is over
 */
int venv__serve_receive(int fd, json_t **ret, struct msg_fds *fds);
/*
 * Takes the reference of reply; NULL is {}. Who asks and asks and does not read is hung up on: everybody else would
 * wait for it. fd -1: nobody is there.
 */
void venv__serve_reply(int fd, json_t *reply, const int *fds, size_t n_fds);
void venv__serve_refuse(int fd, const venv_error *error);

#endif
