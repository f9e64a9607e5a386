/* SPDX-License-Identifier: Apache-2.0 */
/* The socket "relay" in the machine's directory, and the ops of relay.h. */
#include <signal.h>

#include "relay.h"

static void op_state(struct client *client, const json_t *request, struct msg_fds *fds)
{
	const struct relay *relay = client->relay;
	json_t *state = json_pack("{s:b, s:i}", "agent", relay->agent, "ssh_port",
				  venv__door_port(relay->door));

	(void)request;
	(void)fds;
	venv__serve_reply(client->fd, state, NULL, 0);
}

static void op_ssh(struct client *client, const json_t *request, struct msg_fds *fds)
{
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_close_ int fd = -1;

	(void)request;
	(void)fds;
	if (!client->relay->agent)
		fd = venv__fail(&error, VENV_ERR_STATE, "the machine's agent has not answered yet");
	else if (!client->relay->door)
		fd = venv__fail(&error, VENV_ERR_UNSUPPORTED, "the machine has no ssh");
	else
		fd = venv__door_session(client->relay->door, &error);
	if (fd < 0)
		venv__serve_refuse(client->fd, error);
	else
		venv__serve_reply(client->fd, NULL, &fd, 1);
}

/* It is not waited for: a machine that does not answer keeps nobody. */
static void op_time(struct client *client, const json_t *request, struct msg_fds *fds)
{
	(void)request;
	if (fork() == 0) {
		relay_let_go(client->relay, -1, fds);
		_exit(relay_agent_time(client->relay, NULL) < 0);
	}
	venv__serve_reply(client->fd, NULL, NULL, 0);
}

static void op_open(struct client *client, const json_t *request, struct msg_fds *fds)
{
	_cleanup_close_ int theirs = -1;
	_cleanup_error_ venv_error *error = NULL;
	struct client *opened = NULL;
	int pair[2], r = venv__msg_pair(pair);

	(void)request;
	(void)fds;
	if (r == 0) {
		theirs = pair[1];
		opened = relay_client_add(client->relay, pair[0]);
	}
	if (!opened) {
		(void)venv__fail_errno(&error, r < 0 ? -r : ENOMEM, "cannot make a connection");
		venv__serve_refuse(client->fd, error);
		return;
	}
	opened->session = client->session;
	venv__serve_reply(client->fd, NULL, &theirs, 1);
}

static void op_login(struct client *client, const json_t *request, struct msg_fds *fds)
{
	(void)request;
	(void)fds;
	venv__door_settle(client->relay->door, client->session);
	venv__serve_reply(client->fd, NULL, NULL, 0);
}

/* A worker has it from now on. Frees client. */
static void hand_over(struct client *client, const json_t *request, struct msg_fds *fds)
{
	_cleanup_error_ venv_error *error = NULL;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGCHLD, SIG_DFL);
		relay_worker(client->relay, client->fd, request, fds);
	}
	if (pid < 0) {
		(void)venv__fail_errno(&error, errno, "cannot start a process");
		venv__serve_refuse(client->fd, error);
		return;
	}
	relay_client_close(client);
}

static const struct serve_op ops[] = {
	{ "open", op_open, true },   { "login", op_login, true },   { "exec", hand_over, true },
	{ "dial", hand_over, true }, { "listen", hand_over, true }, { "state", op_state, false },
	{ "ssh", op_ssh, false },    { "time", op_time, false },
};

void relay_client_request(struct client *client, const json_t *request, struct msg_fds *fds)
{
	static const struct server server = { "venv-relay", ops, ARRAY_SIZE(ops) };
	_cleanup_error_ venv_error *error = NULL;
	const struct serve_op *op = venv__serve_find(&server, request, !client->session, &error);

	if (op)
		op->run(client, request, fds);
	else
		venv__serve_refuse(client->fd, error);
}

static void on_message(void *user, int fd, uint32_t events)
{
	struct client *client = user;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *request = NULL;
	int r = venv__serve_receive(fd, &request, &fds);

	(void)events;
	if (r > 0)
		relay_client_request(client, request, &fds);
	else if (r < 0)
		relay_client_close(client);
}

struct client *relay_client_add(struct relay *relay, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client)
		*client = (struct client){ .relay = relay, .fd = fd, .next = relay->clients };
	if (client)
		client->source = venv__loop_add(relay->loop, fd, EPOLLIN, on_message, client);
	if (!client || !client->source) {
		free(client);
		(void)close(fd);
		return NULL;
	}
	relay->clients = client;
	return client;
}

void relay_client_close(struct client *client)
{
	struct client **p = &client->relay->clients;

	while (*p != client)
		p = &(*p)->next;
	*p = client->next;
	if (client->first)
		venv__door_settle(client->relay->door, client->session);
	venv__loop_remove(client->source);
	(void)close(client->fd);
	free(client);
}

static void on_connection(void *user, int fd, uint32_t events)
{
	int connection = venv__msg_accept(fd);

	(void)events;
	if (connection >= 0)
		(void)relay_client_add(user, connection);
}

int relay_control_open(struct relay *relay, venv_error **err)
{
	relay->ctl_fd = venv__msg_listen(relay->machine_fd, "relay", err);
	if (relay->ctl_fd < 0)
		return relay->ctl_fd;
	if (!venv__loop_add(relay->loop, relay->ctl_fd, EPOLLIN, on_connection, relay))
		return venv__fail_errno(err, errno, "cannot listen on 'relay'");
	return 0;
}
