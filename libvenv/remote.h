/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines that are reached by ssh alone: their provider has no exec. Commands go to the machine's own
 * sshd over the provider's connect, with the machine's key in keys/user and its pinned key in
 * keys/host.pub. What runs there as another user than the login does so by sudo, or by su from root.
 */
#ifndef VENV_REMOTE_H
#define VENV_REMOTE_H

#include "provider.h"

/* As the slot exec. */
int venv__remote_exec(const struct provider *provider, struct machine *machine,
		      const struct exec_spec *spec, struct exec_handle *ret, venv_error **err);
/*
 * Send a signal to a command and what it started. An ssh server passes signals on to its own user's
 * processes at best, so a connection of its own finds them by the handle's mark.
 */
void venv__remote_signal(const struct provider *provider, struct machine *machine, const char *mark,
			 int number);
/* Does somebody listen on a TCP port there, its own loopback included? VENV_ERR_NETWORK: nobody. */
int venv__remote_listens(const struct provider *provider, struct machine *machine, uint16_t port,
			 struct venv_op *op, venv_error **err);
/* Does its sshd answer with the pinned key and let us in? */
int venv__remote_answers(const struct provider *provider, struct machine *machine,
			 struct venv_op *op, venv_error **err);

/* The text that a login shell of any kind is given for a command; for tests, too. mark: or NULL.
 * NULL: out of memory. */
char *venv__remote_command(const struct machine *machine, const struct exec_spec *spec,
			   const char *mark);

#endif
