/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between our processes: one JSON object a packet over SOCK_SEQPACKET, with descriptors.
 *
 * A request is {"op": NAME, ...}. A reply is any object; one with "error" is a failure:
 * {"error": {"code": N, "message": S, "hint": S, ...}}. Every process answers an op that it does not
 * know with VENV_ERR_UNSUPPORTED, so that an old one survives a new command. Both sides check
 * SO_PEERCRED (venv__msg_peer_ok). A packet is at most 64 KiB with at most 8 descriptors; what is
 * longer is refused, never cut.
 */
#ifndef VENV_UTIL_MSG_H
#define VENV_UTIL_MSG_H

#include "json.h"

enum { MSG_MAX = 64 * 1024, MSG_FDS_MAX = 8 };

struct msg_fds {
	int fd[MSG_FDS_MAX];
	size_t count;
};
#define MSG_FDS_INIT                                                                               \
	{                                                                                          \
		{ -1, -1, -1, -1, -1, -1, -1, -1 }, 0                                              \
	}

void venv__msg_fds_done(struct msg_fds *fds);          /* close what was not taken */
int venv__msg_fds_take(struct msg_fds *fds, size_t i); /* -1 when there is none */
#define _cleanup_msg_fds_ _cleanup_(venv__msg_fds_done)

/* fds may be NULL. Does not raise SIGPIPE. */
int venv__msg_send(int socket, const json_t *message, const int *fds, size_t n_fds,
		   venv_error **err);
/* The same without ever waiting for a reader: fails when what was sent before fills the socket. */
int venv__msg_send_now(int socket, const json_t *message, const int *fds, size_t n_fds,
		       venv_error **err);
/*
 * timeout_ms: -1 waits for ever. fds NULL: received ones are closed.
 * @return 1; 0 at the end of the stream; or a negative code (VENV_ERR_TIMEOUT…)
 */
int venv__msg_receive(int socket, int timeout_ms, json_t **ret, struct msg_fds *fds,
		      venv_error **err);
/* Send a request, wait for its reply, turn an "error" reply into *err. ret may be NULL. */
int venv__msg_call(int socket, const json_t *request, const int *fds, size_t n_fds, int timeout_ms,
		   json_t **ret, struct msg_fds *ret_fds, venv_error **err);

json_t *venv__error_to_json(const venv_error *error);
/* If reply has "error": set *err and return its code; else 0. */
int venv__error_from_json(const json_t *reply, venv_error **err);
/* Answer a request with an error. */
int venv__msg_send_error(int socket, const venv_error *error);

/*
 * Path sockets in a directory given by descriptor: bound and connected through /proc/self/fd, so that
 * a long path does not matter. An old socket file is replaced.
 */
int venv__msg_listen(int dir_fd, const char *name, venv_error **err);  /* fd */
int venv__msg_connect(int dir_fd, const char *name, venv_error **err); /* fd */
int venv__msg_accept(int listener); /* fd or -errno; checks the peer */
/* Is the peer this user, or root? */
bool venv__msg_peer_ok(int socket);
int venv__msg_pair(int ret[2]); /* 0 or -errno */

#endif
