/* SPDX-License-Identifier: Apache-2.0 */
/* The socket "relay" in the machine's directory, and the ops of relay.h. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "relay.h"

static void reply(struct relay_client *client, json_t *message, const int *fds, size_t n_fds)
{
	_cleanup_json_ json_t *owned = message ? message : json_object();

	if (owned && venv__msg_send_now(client->fd, owned, fds, n_fds, NULL) < 0)
		(void)shutdown(client->fd, SHUT_RDWR);
}

static void refuse(struct relay_client *client, const venv_error *error)
{
	reply(client, venv__error_to_json(error), NULL, 0);
}

static void op_state(struct relay_client *client)
{
	const struct relay *relay = client->relay;
	json_t *state = json_pack("{s:b, s:i}", "agent", relay->agent, "ssh_port",
				  venv__door_port(relay->door));

	reply(client, state, NULL, 0);
}

static void op_ssh(struct relay_client *client)
{
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_close_ int fd = -1;

	if (!client->relay->agent)
		fd = venv__fail(&error, VENV_ERR_STATE, "the machine's agent has not answered yet");
	else if (!client->relay->door)
		fd = venv__fail(&error, VENV_ERR_UNSUPPORTED, "the machine has no ssh");
	else
		fd = venv__door_session(client->relay->door, &error);
	if (fd < 0)
		refuse(client, error);
	else
		reply(client, NULL, &fd, 1);
}

/* It is not waited for: a machine that does not answer keeps nobody. */
static void op_time(struct relay_client *client)
{
	if (fork() == 0)
		_exit(relay_agent_time(client->relay->machine_fd, NULL) < 0);
	reply(client, NULL, NULL, 0);
}

static void op_open(struct relay_client *client)
{
	_cleanup_close_ int theirs = -1;
	_cleanup_error_ venv_error *error = NULL;
	struct relay_client *opened = NULL;
	int pair[2], r = venv__msg_pair(pair);

	if (r == 0) {
		theirs = pair[1];
		opened = relay_client_add(client->relay, pair[0]);
	}
	if (!opened) {
		(void)venv__fail_errno(&error, r < 0 ? -r : ENOMEM, "cannot make a connection");
		refuse(client, error);
		return;
	}
	opened->session = client->session;
	reply(client, NULL, &theirs, 1);
}

static void op_login(struct relay_client *client)
{
	venv__door_settle(client->relay->door, client->session);
	reply(client, NULL, NULL, 0);
}

/* A worker has it from now on. Frees client. */
static void hand_over(struct relay_client *client, const json_t *request, struct msg_fds *fds)
{
	_cleanup_error_ venv_error *error = NULL;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGCHLD, SIG_DFL);
		relay_worker(client->relay, client->fd, request, fds);
	}
	if (pid < 0) {
		(void)venv__fail_errno(&error, errno, "cannot start a process");
		refuse(client, error);
		return;
	}
	relay_client_close(client);
}

static const struct op {
	const char *name;
	void (*run)(struct relay_client *client); /* NULL: a worker's */
	bool session; /* a venv-sess, which reads what strangers send, may ask for it */
} ops[] = {
	{ "open", op_open, true }, { "login", op_login, true }, { "exec", NULL, true },
	{ "dial", NULL, true },    { "listen", NULL, true },    { "state", op_state, false },
	{ "ssh", op_ssh, false },  { "time", op_time, false },
};

void relay_client_request(struct relay_client *client, const json_t *request, struct msg_fds *fds)
{
	const char *name = venv__json_str(request, "op");
	_cleanup_error_ venv_error *error = NULL;

	for (size_t i = 0; name && i < ARRAY_SIZE(ops); i++) {
		if (strcmp(ops[i].name, name) != 0 || (client->session && !ops[i].session))
			continue;
		if (ops[i].run)
			ops[i].run(client);
		else
			hand_over(client, request, fds);
		return;
	}
	(void)venv__fail(&error, VENV_ERR_UNSUPPORTED, "venv-relay does not know '%s'",
			 name ? name : "");
	refuse(client, error);
}

static void on_message(void *user, int fd, uint32_t events)
{
	struct relay_client *client = user;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *request = NULL;
	_cleanup_error_ venv_error *error = NULL;
	int r = venv__msg_receive(fd, 0, &request, &fds, &error);

	(void)events;
	if (r > 0)
		relay_client_request(client, request, &fds);
	else if (r < 0 && venv_error_code(error) == VENV_ERR_INVALID)
		refuse(client, error);
	else if (r != VENV_ERR_TIMEOUT)
		relay_client_close(client);
}

struct relay_client *relay_client_add(struct relay *relay, int fd)
{
	struct relay_client *client = calloc(1, sizeof(*client));

	if (client)
		*client = (struct relay_client){ .relay = relay, .fd = fd, .next = relay->clients };
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

void relay_client_close(struct relay_client *client)
{
	struct relay_client **p = &client->relay->clients;

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
