/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/close_range.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "relay.h"

/* @return false: the connection serves no more */
static bool serve(const struct relay *relay, int client, const json_t *request, struct msg_fds *fds)
{
	_cleanup_error_ venv_error *error = NULL;
	const char *op = venv__json_str(request, "op");

	if (op && strcmp(op, "exec") == 0)
		return relay_exec(relay, client, request, fds);
	if (op && strcmp(op, "listen") == 0)
		return relay_listen(relay, client, request);
	if (op && strcmp(op, "dial") == 0) {
		relay_dial(relay, client, request);
		return true;
	}
	(void)venv__fail(&error, VENV_ERR_UNSUPPORTED, "this connection is a worker's");
	return venv__msg_send_error(client, error) >= 0;
}

static bool is_kept(const struct relay *relay, int client, const struct msg_fds *fds, unsigned fd)
{
	for (size_t i = 0; i < fds->count; i++)
		if (fds->fd[i] == (int)fd)
			return true;
	return fd <= STDERR_FILENO || (int)fd == relay->machine_fd || (int)fd == relay->vmm_fd ||
	       (int)fd == client;
}

void relay_let_go(const struct relay *relay, int client, const struct msg_fds *fds)
{
	unsigned highest = (unsigned)MAX(MAX(relay->machine_fd, relay->vmm_fd), client), fd;

	for (size_t i = 0; i < fds->count; i++)
		highest = MAX(highest, (unsigned)MAX(fds->fd[i], 0));
	for (fd = 0; fd < highest; fd++)
		if (!is_kept(relay, client, fds, fd))
			(void)close((int)fd);
	(void)syscall(SYS_close_range, highest + 1, ~0U, 0);
}

_Noreturn void relay_worker(const struct relay *relay, int client, const json_t *request,
			    struct msg_fds *fds)
{
	bool more;

	relay_let_go(relay, client, fds);
	more = serve(relay, client, request, fds);
	venv__msg_fds_done(fds);
	while (more) {
		_cleanup_msg_fds_ struct msg_fds next = MSG_FDS_INIT;
		_cleanup_json_ json_t *message = NULL;

		more = venv__msg_receive(client, -1, &message, &next, NULL) > 0 &&
		       serve(relay, client, message, &next);
	}
	_exit(0);
}
