/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-ssh: one command over one SSH connection.
 *
 * Theory of operation: everything it needs comes as descriptors; before the server's first byte is
 * looked at, it gives up the right to open anything (confine.h). One thread: connect.c goes through
 * the handshake step by step, io.c then moves bytes until the channel is closed and all output is
 * written. Its result is one message. When the other end of the result socket goes, it leaves at
 * once.
 */
#ifndef VENV_SSH_REMOTE_H
#define VENV_SSH_REMOTE_H

#include <libssh/callbacks.h>
#include <libssh/libssh.h>

#include "../client.h"
#include "../wire/flow.h"
#include "util/buf.h"
#include "util/msg.h"

enum { AGENTS_MAX = 32, UNKNOWN_SIGNAL = 15 };

/* A connection from the server to the user's agent. */
struct agent {
	ssh_channel channel;
	struct ssh_channel_callbacks_struct callbacks;
	struct flow_sink in;
	struct flow_source out;
	bool used, closed, eof_sent;
};

struct remote {
	/* configuration */
	char *user, *alias, *key, *host_key, *host_key_path, *command, *term, *agent;
	char **env;
	bool tty;
	int rows, columns;
	int probe; /* port to look at instead of running a command, or 0 */
	bool tcp;

	ssh_session session;
	ssh_event event;
	ssh_channel channel;
	struct ssh_callbacks_struct session_callbacks;
	struct ssh_channel_callbacks_struct callbacks;
	struct flow_sink out, err;
	struct flow_source in;
	bool eof_sent, closed, left; /* left: nobody waits for the result any more */
	bool control;                /* fd 6 still says something */
	int status, signal;          /* -1: not told */
	struct agent agents[AGENTS_MAX];
};

int remote_connect(struct remote *remote, venv_error **err); /* up to the open channel */
int remote_start(struct remote *remote, venv_error **err);   /* the command */
int remote_run(struct remote *remote, venv_error **err);     /* to its end */
int remote_probe(struct remote *remote, venv_error **err);   /* in the place of both */
/* Wait until something can have changed; false: nobody waits for us any more. */
bool remote_wait(struct remote *remote);
int remote_fail(struct remote *remote, const char *what, venv_error **err);
int remote_signal_number(const char *name);
const char *remote_signal_name(int number);        /* NULL: ssh has no name for it */
int remote_prepare_channel(struct remote *remote); /* before the command can say anything */
ssh_channel remote_on_agent(ssh_session session, void *user);

#endif
