/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ssh: a listener on the host's loopback, and a venv-sess for each connection. The port is kept
 * over restarts while it is free. Keys are read when a session starts and stay in its sealed
 * memory file.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "keeper.h"
#include "util/process.h"

enum { KEY_MAX = 65536, FD_COUNT = SESS_CONFIG_FD + 1 };

static int listen_on(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0)
		return -errno;
	return take_fd(&fd);
}

static int port_of(int fd)
{
	struct sockaddr_in address = { 0 };
	socklen_t length = sizeof(address);

	return getsockname(fd, (struct sockaddr *)&address, &length) < 0 ? 0
									 : ntohs(address.sin_port);
}

static int remembered_port(const struct keeper *keeper)
{
	_cleanup_free_ char *text = NULL;

	if (venv__file_read(keeper->machine_fd, "ssh-port", 16, &text, NULL, NULL) < 0)
		return 0;
	return (int)MIN(strtoul(text, NULL, 10), 65535UL);
}

static void remember_port(const struct keeper *keeper)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", keeper->ssh_port);

	(void)venv__file_write(keeper->machine_fd, "ssh-port", text, (size_t)n, 0600,
			       WRITE_VOLATILE, NULL);
}

static void add_lines(json_t *list, const char *text)
{
	while (text && *text) {
		size_t n = strcspn(text, "\n");

		if (n)
			(void)json_array_append_new(list, json_stringn(text, n));
		text += n + (text[n] == '\n');
	}
}

static json_t *sess_config(const struct keeper *keeper, venv_error **err)
{
	_cleanup_free_ char *host_key = NULL, *authorized = NULL;
	json_t *list = json_array(), *env = venv__json_from_strv(keeper->plan.env), *config;
	int r = venv__file_read(keeper->machine_fd, "keys/host", KEY_MAX, &host_key, NULL, err);

	if (r == 0)
		r = venv__file_read(keeper->machine_fd, "keys/authorized", KEY_MAX, &authorized,
				    NULL, err);
	if (r < 0) {
		json_decref(list);
		json_decref(env);
		return NULL;
	}
	add_lines(list, authorized);
	for (char **key = keeper->plan.extra_keys; key && *key; key++)
		add_lines(list, *key);
	config = json_pack("{s:s, s:o, s:s, s:o, s:b, s:s}", "host_key", host_key, "authorized",
			   list, "login", keeper->plan.login, "env", env, "forward_agent",
			   keeper->plan.forward_agent, "machine", keeper->plan.name);
	explicit_bzero(host_key, strlen(host_key));
	if (!config)
		(void)venv__fail_nomem(err);
	return config;
}

static int config_file(const struct keeper *keeper, venv_error **err)
{
	_cleanup_json_ json_t *config = sess_config(keeper, err);
	_cleanup_free_ char *text = config ? json_dumps(config, JSON_COMPACT) : NULL;
	int fd;

	if (!config)
		return VENV_ERR_SYSTEM;
	fd = text ? venv__memfd_sealed("venv-sess", text, strlen(text)) : -ENOMEM;
	if (text)
		explicit_bzero(text, strlen(text));
	return fd < 0 ? venv__fail_errno(err, -fd, "cannot pass the keys on") : fd;
}

/* Consumes nothing: the session has copies of the descriptors. */
static int start_session(struct keeper *keeper, int client_fd, venv_error **err)
{
	_cleanup_free_ char *path = venv__path_join(keeper->plan.libexec, "venv-sess");
	_cleanup_close_ int config = config_file(keeper, err), theirs = -1;
	char name[] = "venv-sess";
	char *argv[] = { name, NULL };
	struct spawn spawn = { .path = path, .argv = argv, .n_fds = FD_COUNT };
	struct client *client;
	int pair[2], r;

	if (config < 0)
		return config;
	r = path ? venv__msg_pair(pair) : -ENOMEM;
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	theirs = pair[1];
	client = keeper_client_add(keeper, pair[0]);
	if (!client) {
		(void)close(pair[0]);
		return venv__fail_nomem(err);
	}
	client->session = true;
	spawn.fds[0] = spawn.fds[1] = -1;
	spawn.fds[2] = keeper->log_fd;
	spawn.fds[SESS_CLIENT_FD] = client_fd;
	spawn.fds[SESS_KEEPER_FD] = theirs;
	spawn.fds[SESS_CONFIG_FD] = config;
	/* it becomes a child of ours all the same: we are a subreaper */
	r = venv__spawn(&spawn, NULL, NULL, err);
	if (r < 0)
		keeper_client_close(client);
	return r;
}

static void on_connection(void *user, int fd, uint32_t events)
{
	_cleanup_close_ int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	_cleanup_error_ venv_error *error = NULL;

	(void)events;
	if (connection >= 0 && start_session(user, connection, &error) < 0)
		keeper_console_say(user, "ssh: %s", venv_error_message(error));
}

int keeper_ssh_open(struct keeper *keeper, venv_error **err)
{
	int wanted = keeper->plan.ssh_port ? keeper->plan.ssh_port : remembered_port(keeper);
	int fd;

	if (!keeper->plan.ssh || keeper->ssh_fd >= 0)
		return 0;
	fd = listen_on(wanted);
	if (fd == -EADDRINUSE && !keeper->plan.ssh_port && wanted)
		fd = listen_on(0);
	if (fd == -EADDRINUSE)
		return venv__hint(
			venv__fail(err, VENV_ERR_NETWORK, "the port %d for ssh is taken", wanted),
			err, "set 'ssh: { port: auto }' in venv.yml");
	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot listen for ssh");
	keeper->ssh_fd = fd;
	keeper->ssh_port = port_of(fd);
	if (keeper->ssh_port != wanted)
		remember_port(keeper);
	if (!venv__loop_add(keeper->loop, fd, EPOLLIN, on_connection, keeper))
		return venv__fail_errno(err, errno, "cannot listen for ssh");
	return 0;
}

void keeper_ssh_request(struct client *client)
{
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		(void)venv__fail_errno(&error, errno, "cannot make a socket");
		keeper_client_fail(client, error);
		return;
	}
	ours = pair[0];
	theirs = pair[1];
	if (start_session(client->keeper, theirs, &error) < 0)
		keeper_client_fail(client, error);
	else
		keeper_client_reply(client, NULL, &ours, 1);
}
