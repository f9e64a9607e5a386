/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ssh client. libssh and everything that a server can send live in a process of their own,
 * venv-ssh, so that a program that embeds the library neither links nor loads them.
 */
#ifndef VENV_SSH_H
#define VENV_SSH_H

#include "../context.h"
#include "../op.h"

struct ssh_target {
	int fd; /* connected stream socket; borrowed */
	const char *user;
	const char *alias;    /* name under which the host key is pinned */
	const char *key;      /* path of the private key… */
	const char *key_text; /* …or, instead, itself */
	const char *host_key; /* "ssh-ed25519 AAAA…": the only key that is accepted; NULL: any */
	const char *host_key_path; /* the file that it came from, for messages; may be NULL */
};

struct ssh_run {
	const char *command; /* NULL: shell */
	char *const *env;
	int fds[3]; /* stdin, stdout, stderr; -1: nothing */
	bool tty;
	unsigned rows, columns;
	const char *term;
	const char *agent;   /* path of the agent's socket to forward, or NULL */
	int control;         /* seqpacket socket on which {"op":"resize","rows":N,"columns":N} and
			    * {"op":"signal","signal":N} may come, or -1; borrowed */
	uint16_t probe_port; /* not 0: no command, only whether somebody listens on this port there:
			      * 0, or VENV_ERR_NETWORK */
};

/*
 * Run one command over one connection to its end.
 * @return exit status (128 + n: killed by signal n), or a negative code: VENV_ERR_NETWORK
 * (connection),
 *         VENV_ERR_DENIED (host key or user refused), VENV_ERR_CANCELLED
 */
int venv__ssh_run(struct venv *ctx, const struct ssh_target *target, const struct ssh_run *run,
		  struct venv_op *op, venv_error **err);
/*
 * The same without waiting: *ret_control is the control socket, on which the result comes as well,
 * {"exit":N}, {"signal":N} or {"error":…}. Closing it ends the connection.
 */
int venv__ssh_start(struct venv *ctx, const struct ssh_target *target, const struct ssh_run *run,
		    int *ret_control, venv_error **err);

/*
 * Make an ed25519 key pair, name and name.pub in OpenSSH's forms, 0600 and 0644, if it is not
 * there. Written atomically but without fsync; what a power cut left empty is made again.
 */
int venv__ssh_keygen(int dir_fd, const char *name, const char *comment, venv_error **err);

#endif
