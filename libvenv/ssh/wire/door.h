/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in by ssh, for the processes that run machines whose ssh server is ours: a listener on the host's
 * loopback, and a venv-sess for each connection. The port is kept over restarts while it is free. Keys are
 * read when a session starts and stay in its sealed memory file.
 *
 * Everybody on the host can connect, so only a few may be there that have not logged in. More wait in the
 * listener's queue, until one of those logs in or goes, or until the first of them has had three seconds: then it
 * is ended for the next one (alone, it has the time that venv-sess gives). So twenty sessions at once queue for
 * a moment, and silence keeps nobody out for long. What venv__door_session() is given is the owner's and is
 * not counted.
 *
 * A venv-sess is started with: 0-2 /dev/null, /dev/null, the log; 3 the client's socket; 4 its socket to us;
 * 5 a sealed memfd with JSON: {"host_key":PEM text, "authorized":[public keys…],"login":S,"env":[…],
 * "forward_agent":B,"machine":S}.
 */
#ifndef VENV_SSH_WIRE_DOOR_H
#define VENV_SSH_WIRE_DOOR_H

#include <stdbool.h>

#include "util/error.h"
#include "util/loop.h"

enum { SESS_CLIENT_FD = 3, SESS_KEEPER_FD = 4, SESS_CONFIG_FD = 5 };

struct door;

struct door_config { /* all the caller's, and valid as long as the door is there */
	struct loop *loop;
	int machine_fd; /* its directory: keys/, ssh-port */
	int log_fd;
	int port; /* 0: any, if possible the last one */
	const char *libexec, *machine, *login;
	char *const *env, *const *extra_keys;
	bool forward_agent;
	/*
	 * A venv-sess was started: its socket, which is taken, and its number, which is not 0. Called while
	 * one is started. false: it cannot be served
	 */
	bool (*opened)(void *user, int socket, unsigned session);
	/* Who connected could not be let in. */
	void (*failed)(void *user, const venv_error *error);
	void *user;
};

int venv__door_open(const struct door_config *config, struct door **ret, venv_error **err);
void venv__door_close(struct door *door); /* NULL is fine; sessions stay */
int venv__door_port(const struct door *door);
/* A stream socket whose other end is a new venv-sess. fd or a code */
int venv__door_session(struct door *door, venv_error **err);
/* Who is behind this session has logged in, or is gone: no longer one that has to. */
void venv__door_settle(struct door *door, unsigned session);

#endif
