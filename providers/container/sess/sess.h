/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-sess: one SSH connection into a machine.
 *
 * Theory of operation: a process per connection, started by the keeper with the client's socket, a
 * socket to the keeper and its configuration. After start-up it may use descriptors and memory only
 * (confine.h); whatever needs rights (running, dialling, listening in the machine) is asked of the
 * keeper, which sends descriptors back. One thread, one poll(); libssh calls back into channel.c,
 * forward.c and auth.c while packets are handled, and these only change state: objects are freed in
 * one place, at the end of a turn of the loop (server.c).
 */
#ifndef CONTAINER_SESS_H
#define CONTAINER_SESS_H

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <poll.h>

#include "ssh/wire/flow.h"
#include "util/buf.h"
#include "util/msg.h"

enum {
	CHANNELS_MAX = 256, /* open at once in one connection */
	LISTENERS_MAX = 64,
	ENV_MAX = 128, /* variables from the client, per channel */
	ENV_SIZE_MAX = 16384,
	OUR_FAILURE = 125, /* exit status when it is not the command's */
	SYNC_MS = 2000     /* longest wait for what the keeper does without waiting itself */
};

struct sess;
struct keeper_call;

/* What one entry of the poll set calls. */
typedef void (*watch_fn)(void *user, short revents);

struct watch {
	watch_fn fn;
	void *user;
};

struct poll_set {
	struct pollfd *fds;
	struct watch *watches;
	size_t count, capacity;
	int timeout_ms; /* -1: none */
	bool failed;
};
void sess_poll_add(struct poll_set *set, int fd, short events, watch_fn fn, void *user);

/* ---- keeper.c: requests --------------------------------------------------------------------- */

/*
 * The answer of the keeper: reply and descriptors, or an error. connection is the one that the call
 * used; take it (and leave -1) to go on with it.
 */
struct keeper_reply {
	json_t *reply;
	struct msg_fds fds;
	const venv_error *error;
	int connection;
};
typedef void (*keeper_fn)(void *user, struct keeper_reply *reply);

struct keeper {
	int fd;           /* where connections are asked for; -1: the keeper is gone */
	unsigned opening; /* asked for */
	int spare[4];     /* idle connections */
	size_t n_spare;
	struct keeper_call *calls; /* waiting for a connection or an answer */
};

int keeper_init(struct keeper *keeper, int fd);
void keeper_poll(struct keeper *keeper, struct poll_set *set);
/* Takes request and fds. fn is called later, once, unless the call is cancelled.
 * NULL: it cannot be asked, and fn is not called. */
struct keeper_call *keeper_ask(struct keeper *keeper, json_t *request, const int *fds, size_t n_fds,
			       keeper_fn fn, void *user);
void keeper_cancel(struct keeper_call *call); /* NULL is fine */
/* Handle answers until *finished or the time is over. */
void keeper_wait(struct keeper *keeper, const bool *finished, int ms);
void keeper_reap(struct keeper *keeper); /* at the end of a turn */

/* ---- channels ------------------------------------------------------------------------------- */

enum chan_kind { CHAN_SESSION, CHAN_TCP, CHAN_AGENT };

struct chan {
	struct chan *next;
	struct sess *sess;
	enum chan_kind kind;
	ssh_channel channel;
	struct ssh_channel_callbacks_struct callbacks;
	struct flow_sink in;         /* to the machine */
	struct flow_source out, err; /* from the machine */
	struct keeper_call *call;
	bool gone;     /* by the client: free it */
	bool finished; /* by us: free it */
	bool eof_sent;

	/* CHAN_SESSION */
	char **env;
	size_t env_size;
	char *term;
	unsigned rows, columns;
	bool tty, agent, started;
	int control; /* connection to the keeper while the command runs */
	bool ended;
	int status, signal;
	uint64_t ended_us;
	char *failure; /* for the client's stderr */

	/* CHAN_TCP */
	bool answered, refused; /* by the keeper */

	/* CHAN_TCP and CHAN_AGENT that the machine opened */
	bool opening;
	char *address, *origin;
	int port, origin_port;
};

struct listener {
	struct listener *next;
	struct sess *sess;
	int fd, connection;
	bool agent, closed;
	char *address; /* as the client gave it */
	int port;
};

struct sess_config {
	char *login, *machine;
	char **env;
	ssh_key host_key;
	ssh_key authorized[64];
	size_t n_authorized;
};

struct sess {
	struct sess_config config;
	ssh_session session;
	ssh_event event;
	int fd;
	bool tcp;
	struct ssh_server_callbacks_struct server_callbacks;
	struct ssh_callbacks_struct callbacks;
	char *user; /* that the client asked for */
	bool authenticated, broken;
	unsigned attempts;
	struct keeper keeper;
	struct chan *channels;
	size_t n_channels;
	struct listener *listeners;
	size_t n_listeners;
	char *agent_path;
	char *client, *connection; /* SSH_CLIENT, SSH_CONNECTION */
};

/* chan.c: what all kinds share */
struct chan *chan_new(struct sess *sess, enum chan_kind kind, ssh_channel channel);
void chan_free(struct chan *chan);
int chan_attach(struct chan *chan); /* callbacks, once the libssh channel exists; 0 or -1 */
void chan_poll(struct chan *chan, struct poll_set *set);
void chan_run(struct chan *chan); /* after packets were handled */
/* Send everything that ends a channel; it is freed after this turn. */
void chan_finish(struct chan *chan);

/* exec.c: commands, shells, sftp and scp */
void exec_callbacks(struct ssh_channel_callbacks_struct *callbacks);
void exec_poll(struct chan *chan, struct poll_set *set);
void exec_run(struct chan *chan);

/* scp.c: is this command line an `scp -t` or `scp -f` that needs no shell? Its words, or NULL. */
char **sess_scp_words(const char *command);

/* forward.c */
int forward_message(ssh_session session, ssh_message message, void *user);
void forward_global(ssh_session session, ssh_message message, void *user);
void forward_agent(struct sess *sess);
void forward_run(struct chan *chan);
void forward_poll(struct sess *sess, struct poll_set *set);
void forward_reap(struct sess *sess, bool all);

/* auth.c */
void auth_callbacks(struct sess *sess);

/* server.c */
int sess_serve(struct sess *sess);

#endif
