/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What providers share whose machines are processes of their own. Such a process has in the machine's
 * directory the file "alive", locked for its whole life and with what it says of itself ("state" and more), and
 * answers on the socket "ctl".
 */
#ifndef VENV_ALIVE_H
#define VENV_ALIVE_H

#include "provider.h"
#include "util/msg.h"

/* alive.c */
/* made: what is in the directory from "create" on; ret_record: what the file says, or NULL; may be NULL */
enum machine_state venv__alive_state(int dir_fd, const char *made, json_t **ret_record);
/* A socket, or a negative code: VENV_ERR_STATE when nobody answers. */
int venv__alive_connect(const struct machine *machine, venv_error **err);
/* Ask it. Takes the reference of request; NULL is out of memory. */
int venv__alive_call(const struct machine *machine, json_t *request, const int *fds, size_t n_fds,
		     int timeout_ms, json_t **ret, struct msg_fds *ret_fds, venv_error **err);
/* Ask it for a command, over a connection, which is taken (providers/container/protocol.h has the message). */
int venv__alive_exec(int control, const struct exec_spec *spec, struct exec_handle *ret,
		     venv_error **err);
/* End one that does not answer any more. 0, or VENV_ERR_STATE: there is none */
int venv__alive_kill(const struct machine *machine, venv_error **err);

/* Has its process ended? Then the provider cleans up what it left. */
typedef bool (*alive_gone_fn)(const struct machine *machine);
enum { ALIVE_KILL_MS = 20000 }; /* how long a process may take that kills its machine */
/* Wait until one that is ending is gone; false: it stays. */
bool venv__alive_ended(const struct machine *machine, alive_gone_fn gone);
/* Let it end by a request ("stop", "kill"), of which the reference is taken, and wait for that. One that has ended
 * is as good. */
int venv__alive_end(const struct machine *machine, json_t *request, int timeout_ms,
		    alive_gone_fn gone, venv_error **err);
/* The same by "kill"; one that hangs, or that somebody stopped, is ended from outside, and its machine with it. */
int venv__alive_force(const struct machine *machine, int timeout_ms, alive_gone_fn gone,
		      venv_error **err);
/* The slot lend_network, of such a process. */
int venv__alive_lend(struct machine *machine, int *ret_userns_fd, int *ret_netns_fd,
		     venv_error **err);

/* The slot console, of such a process. */
int venv__alive_console(struct machine *machine, int *ret_fd, venv_error **err);

/* alive_start.c */
/*
 * Wait until one that was just started says over its starter's socket that the machine runs, or why it does not.
 * @return 1 with what it said; 0: it ended and said nothing; or a negative code
 */
int venv__alive_started(int socket, struct venv_op *op, json_t **ret, venv_error **err);

#endif
