/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-relay: the way into a virtual machine that has our agent (guest/protocol.h), for the library and for ssh.
 * It answers as venv-keeper does for containers, so venv-sess does not know the difference.
 *
 * Started by the library when the machine runs, with /dev/null on 0 and 1, its log on 2 and on 3 a socket, on
 * which it gets
 *
 *   {"op":"start","machine":S,"login":S,"env":[…],"extra_keys":[…],"forward_agent":B,"ssh":B,"ssh_port":N,
 *    "libexec":S} + the machine's directory
 *
 * and answers {"ready":true,"ssh_port":N}. It ends with venv-vmm. On the socket "relay" in the directory:
 *
 *   {"op":"state"} -> {"agent":B,"ssh_port":N}: has the agent answered?
 *   {"op":"ssh"} -> {} + a stream socket whose other end is a new venv-sess
 *   {"op":"time"} -> {}: the machine's clock is set to the host's
 *   {"op":"open"}, {"op":"login"}, {"op":"exec",…}, {"op":"dial",…}, {"op":"listen",…}: as venv-keeper's
 *      (providers/container/protocol.h); the terminal is a stream socket, its size goes by "resize"
 *
 * Theory of operation: one thread and an event loop for connections, the listener of ssh, and the first
 * contact with the agent. What has to do with bytes of the machine's is done in a worker, a process forked for
 * one connection, which it has for itself from then on; it says on the machine's socket what is wanted, and
 * copies. The machine is hostile: all that comes from it is bounded, and waited for with a limit, unless
 * somebody here waits who can go away.
 */
#ifndef VENV_KVM_RELAY_H
#define VENV_KVM_RELAY_H

#include "../guest/frame.h"
#include "ssh/wire/door.h"
#include "util/serve.h"

enum { RELAY_ANSWER_MS = 30000, RELAY_RETRY_MS = 20000, RELAY_SOCKET_MAX = 64 };

struct relay {
	struct loop *loop;
	int machine_fd, ctl_fd;
	int vmm_fd; /* says nothing; its end is the machine's. Each process that was forked has it too */
	json_t *config;
	char **env, **extra_keys;
	struct door *door;
	bool agent; /* it has answered */
	struct loop_source *hello;
	struct client *clients;
};

struct client { /* a connection that no worker has */
	struct client *next;
	struct relay *relay;
	int fd;
	struct loop_source *source;
	unsigned session; /* of a venv-sess; 0: the library's */
	bool first;       /* the one that it was started with */
};

/* control.c */
int relay_control_open(struct relay *relay, venv_error **err);
struct client *relay_client_add(struct relay *relay, int fd);
void relay_client_close(struct client *client); /* frees it */
/* For tests and fuzzers: a request as it came; the client may be gone then. */
void relay_client_request(struct client *client, const json_t *request, struct msg_fds *fds);

/* worker.c: serve requests on this connection to its end, first this one */
_Noreturn void relay_worker(const struct relay *relay, int client, const json_t *request,
			    struct msg_fds *fds);

/* In a process that was forked: close all but these and its own; others' connections would not end as long as it
 * has them. */
void relay_let_go(const struct relay *relay, int client, const struct msg_fds *fds);

/*
 * agent.c: one request. While nobody listens in the machine it is tried again for retry_ms; the answer is
 * waited for until timeout_ms (-1: for ever), until `watch` (unless -1) has an end, or until the machine has.
 * @param[out] reply words after "ok", which lie in stream->in
 * @return 0: stream->fd is the caller's, blocking no more; or a negative code
 */
struct agent_call {
	const struct relay *relay;
	const struct words_out *request;
	int retry_ms, timeout_ms, watch;
};
int relay_agent_call(const struct agent_call *call, struct agent_stream *stream,
		     struct words *reply, venv_error **err);
/*
 * For fuzzers: the same over a connection to venv-vmm, which stays the caller's. The reply is "ok" or "error".
 * until: us, for venv-vmm's answer. 0; -ECONNREFUSED: nobody listens there; another -errno
 */
int relay_agent_talk(int fd, const struct agent_call *call, uint64_t until,
		     struct agent_stream *stream, struct words *reply);
/* From words that the machine said: what it complains of, as an error. */
int relay_agent_error(const struct words *reply, venv_error **err);
/* Set its clock to ours. */
int relay_agent_time(const struct relay *relay, venv_error **err);

/* exec.c */
/* The request of the agent's for one of ours. false: too long */
bool relay_exec_request(const json_t *request, struct words_out *out);
/* For fuzzers: what goes on between the agent and these, which are taken, until the command ended. */
void relay_exec_carry(struct agent_stream *stream, int client, int in, int out, int err);
/* To its end: fds as they came with the request. @return false: `client` serves no more */
bool relay_exec(const struct relay *relay, int client, const json_t *request, struct msg_fds *fds);

/* sockets.c */
void relay_dial(const struct relay *relay, int client, const json_t *request);
/* @return false: `client` serves no more */
bool relay_listen(const struct relay *relay, int client, const json_t *request);
/* Sockets of workers that were killed. */
void relay_sockets_sweep(int machine_fd);

#endif
