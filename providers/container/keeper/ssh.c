/* SPDX-License-Identifier: Apache-2.0 */
/* ssh: ssh/wire/door.h with the machine's keys, and a client for each of its sessions. */
#include "keeper.h"

static bool on_session(void *user, int socket, unsigned session)
{
	struct client *client = keeper_client_add(user, socket);

	if (!client)
		return false;
	client->session = session;
	client->first = true;
	return true;
}

static void on_failure(void *user, const venv_error *error)
{
	keeper_console_say(user, "ssh: %s", venv_error_message(error));
}

int keeper_ssh_open(struct keeper *keeper, venv_error **err)
{
	const struct door_config config = { .loop = keeper->loop,
					    .machine_fd = keeper->machine_fd,
					    .log_fd = keeper->log_fd,
					    .port = keeper->plan.ssh_port,
					    .libexec = keeper->plan.libexec,
					    .machine = keeper->plan.name,
					    .login = keeper->plan.login,
					    .env = keeper->plan.env,
					    .extra_keys = keeper->plan.extra_keys,
					    .forward_agent = keeper->plan.forward_agent,
					    .opened = on_session,
					    .failed = on_failure,
					    .user = keeper };

	if (!keeper->plan.ssh || keeper->door)
		return 0;
	return venv__door_open(&config, &keeper->door, err);
}

void keeper_ssh_settle(const struct client *client)
{
	if (client->session)
		venv__door_settle(client->keeper->door, client->session);
}

void keeper_ssh_request(struct client *client)
{
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_close_ int fd = -1;

	if (!client->keeper->door)
		fd = venv__fail(&error, VENV_ERR_UNSUPPORTED, "the machine has no ssh");
	else
		fd = venv__door_session(client->keeper->door, &error);
	if (fd < 0)
		keeper_client_fail(client, error);
	else
		keeper_client_reply(client, NULL, &fd, 1);
}
