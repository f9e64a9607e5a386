/* SPDX-License-Identifier: Apache-2.0 */
/* The socket "ctl" in the machine's directory, and the ops of protocol.h. */
#include <string.h>

#include "keeper.h"

void keeper_client_reply(struct client *client, json_t *reply, const int *fds, size_t n_fds)
{
	venv__serve_reply(client->fd, reply, fds, n_fds);
}

void keeper_client_fail(struct client *client, const venv_error *error)
{
	venv__serve_refuse(client->fd, error);
}

static void finish(struct client *client, int r, const venv_error *error)
{
	if (r < 0)
		keeper_client_fail(client, error);
	else
		keeper_client_reply(client, NULL, NULL, 0);
}

static void op_state(struct client *client, const json_t *request, struct msg_fds *fds)
{
	(void)request;
	(void)fds;
	keeper_client_reply(client, keeper_record_json(client->keeper), NULL, 0);
}

static void op_stop(struct client *client, const json_t *request, struct msg_fds *fds)
{
	struct keeper *keeper = client->keeper;
	int64_t timeout = venv__json_int(request, "timeout_ms", keeper->plan.stop_timeout_ms);
	int64_t number = venv__json_int(request, "signal", keeper->plan.stop_signal);

	(void)fds;
	client->waits = true;
	keeper_stop(keeper, number > 0 && number < NSIG ? (int)number : SIGTERM,
		    timeout > 0 && timeout < UINT32_MAX ? (unsigned)timeout : 0);
}

static void op_kill(struct client *client, const json_t *request, struct msg_fds *fds)
{
	(void)request;
	(void)fds;
	client->waits = true;
	keeper_kill(client->keeper);
}

static void op_pause(struct client *client, const json_t *request, struct msg_fds *fds)
{
	_cleanup_error_ venv_error *error = NULL;
	bool pause = strcmp(venv__json_str(request, "op"), "pause") == 0;
	int r = keeper_pause(client->keeper, pause, &error);

	(void)fds;
	finish(client, r, error);
}

static void op_limits(struct client *client, const json_t *request, struct msg_fds *fds)
{
	struct keeper *keeper = client->keeper;
	_cleanup_error_ venv_error *error = NULL;
	int r = venv__cgroup_limit(&keeper->cgroup, request, &error);

	(void)fds;
	if (r == 0 && keeper->state == KEEPER_FROZEN &&
	    venv__cgroup_oom(&keeper->cgroup) != OOM_REACHED) {
		(void)venv__cgroup_freeze(&keeper->cgroup, false, NULL);
		keeper->state = KEEPER_RUNNING;
		keeper_record_write(keeper);
	}
	finish(client, r, error);
}

static void op_stats(struct client *client, const json_t *request, struct msg_fds *fds)
{
	(void)request;
	(void)fds;
	keeper_client_reply(client, venv__cgroup_stats(&client->keeper->cgroup), NULL, 0);
}

static void op_lend(struct client *client, const json_t *request, struct msg_fds *fds)
{
	const int both[] = { client->keeper->userns_fd, client->keeper->netns_fd };
	_cleanup_error_ venv_error *error = NULL;

	(void)request;
	(void)fds;
	if (both[0] >= 0 && both[1] >= 0) {
		keeper_client_reply(client, NULL, both, 2);
		return;
	}
	(void)venv__fail(&error, VENV_ERR_UNSUPPORTED, "the machine has no network");
	keeper_client_fail(client, error);
}

static void op_console(struct client *client, const json_t *request, struct msg_fds *fds)
{
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_close_ int fd = keeper_console_connect(client->keeper, &error);

	(void)request;
	(void)fds;
	if (fd < 0)
		keeper_client_fail(client, error);
	else
		keeper_client_reply(client, NULL, &fd, 1);
}

/* A new netd has taken the project's namespace up: give it ours again. */
static void op_plug(struct client *client, const json_t *request, struct msg_fds *fds)
{
	struct keeper *keeper = client->keeper;
	_cleanup_json_ json_t *plug = json_pack("{s:s}", "op", "plug");
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_close_ int fd = venv__msg_fds_take(fds, 0);
	int r;

	(void)request;
	if (fd < 0 || keeper->machine_netns_fd < 0 || !plug) {
		(void)venv__fail(&error, VENV_ERR_STATE, "the machine has no network");
		keeper_client_fail(client, error);
		return;
	}
	r = venv__msg_call(fd, plug, &keeper->machine_netns_fd, 1, 10000, NULL, NULL, &error);
	if (r == 0) {
		if (keeper->net_fd >= 0)
			(void)close(keeper->net_fd);
		keeper->net_fd = take_fd(&fd);
	}
	finish(client, r, error);
}

static void op_dial(struct client *client, const json_t *request, struct msg_fds *fds)
{
	(void)fds;
	keeper_dial(client, request);
}

static void op_listen(struct client *client, const json_t *request, struct msg_fds *fds)
{
	(void)fds;
	keeper_listen(client, request);
}

static void op_ssh(struct client *client, const json_t *request, struct msg_fds *fds)
{
	(void)request;
	(void)fds;
	keeper_ssh_request(client);
}

/* Another connection like this one: each carries one command. */
static void op_open(struct client *client, const json_t *request, struct msg_fds *fds)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	_cleanup_error_ venv_error *error = NULL;
	struct client *opened;
	int pair[2];

	(void)request;
	(void)fds;
	if (venv__msg_pair(pair) < 0) {
		(void)venv__fail_errno(&error, errno, "cannot make a connection");
		keeper_client_fail(client, error);
		return;
	}
	ours = pair[0];
	theirs = pair[1];
	opened = keeper_client_add(client->keeper, ours);
	if (!opened) {
		(void)venv__fail_nomem(&error);
		keeper_client_fail(client, error);
		return;
	}
	(void)take_fd(&ours);
	opened->session = client->session;
	keeper_client_reply(client, NULL, &theirs, 1);
}

static void op_login(struct client *client, const json_t *request, struct msg_fds *fds)
{
	(void)request;
	(void)fds;
	keeper_ssh_settle(client);
	keeper_client_reply(client, NULL, NULL, 0);
}

static const struct serve_op ops[] = {
	{ "open", op_open, true },     { "exec", keeper_exec, true },
	{ "dial", op_dial, true },     { "listen", op_listen, true },
	{ "login", op_login, true },   { "state", op_state, false },
	{ "ssh", op_ssh, false },      { "stop", op_stop, false },
	{ "kill", op_kill, false },    { "pause", op_pause, false },
	{ "resume", op_pause, false }, { "limits", op_limits, false },
	{ "stats", op_stats, false },  { "lend", op_lend, false },
	{ "plug", op_plug, false },    { "console", op_console, false },
};

static void run_request(struct client *client, const json_t *request, struct msg_fds *fds)
{
	static const struct server server = { "venv-keeper", ops, ARRAY_SIZE(ops) };
	_cleanup_error_ venv_error *error = NULL;
	const struct serve_op *op = venv__serve_find(&server, request, !client->session, &error);

	if (op)
		op->run(client, request, fds);
	else
		keeper_client_fail(client, error);
}

static void on_message(void *user, int fd, uint32_t events)
{
	struct client *client = user;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *request = NULL;
	int r = venv__serve_receive(fd, &request, &fds);

	(void)events;
	if (r > 0 && client->pid)
		keeper_exec_message(client, request);
	else if (r > 0)
		run_request(client, request, &fds);
	else if (r < 0)
		keeper_client_close(client);
}

struct client *keeper_client_add(struct keeper *keeper, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	*client = (struct client){
		.keeper = keeper, .fd = fd, .master = -1, .next = keeper->clients
	};
	if (fd >= 0) {
		client->source = venv__loop_add(keeper->loop, fd, EPOLLIN, on_message, client);
		if (!client->source) {
			free(client);
			return NULL;
		}
	}
	keeper->clients = client;
	return client;
}

static void free_client(struct client *client)
{
	struct client **link = &client->keeper->clients;

	while (*link && *link != client)
		link = &(*link)->next;
	if (*link)
		*link = client->next;
	free(client);
}

/* The record of a command stays until it is reaped, or its pid might be another's. */
void keeper_client_close(struct client *client)
{
	venv__loop_remove(take_ptr(client->source));
	if (client->fd >= 0)
		(void)close(take_fd(&client->fd));
	client->dead = true;
	if (client->first)
		keeper_ssh_settle(client);
	keeper_agent_end(client);
	if (client->pid)
		keeper_exec_hangup(client);
	else
		free_client(client);
}

static void on_connection(void *user, int fd, uint32_t events)
{
	int connection = venv__msg_accept(fd);

	(void)events;
	if (connection >= 0 && !keeper_client_add(user, connection))
		(void)close(connection);
}

int keeper_control_open(struct keeper *keeper, venv_error **err)
{
	keeper->ctl_fd = venv__msg_listen(keeper->machine_fd, "ctl", err);
	if (keeper->ctl_fd < 0)
		return keeper->ctl_fd;
	if (!venv__loop_add(keeper->loop, keeper->ctl_fd, EPOLLIN, on_connection, keeper))
		return venv__fail_errno(err, errno, "cannot listen on 'ctl'");
	return 0;
}

void keeper_control_end(struct keeper *keeper)
{
	for (struct client *client = keeper->clients; client; client = client->next)
		if (client->waits)
			keeper_client_reply(client, NULL, NULL, 0);
}
