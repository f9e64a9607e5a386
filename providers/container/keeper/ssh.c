/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ssh: a listener on the host's loopback, and a venv-sess for each connection. The port is kept
 * over restarts while it is free. Keys are read when a session starts and stay in its sealed
 * memory file.
 *
 * Everybody on the host can connect, so only PENDING_MAX may be there that have not logged in. More
 * wait in the listener's queue, until one of those logs in or goes, or until the first of them has
 * had PENDING_MS: then it is ended for the next one (alone, it has the time that venv-sess gives).
 * So twenty sessions at once queue for a moment, and silence keeps nobody out for long. What comes
 * by "ctl", as `venv ssh` does, is the owner's and is not counted.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "keeper.h"
#include "util/process.h"
#include "util/sys.h"

enum {
	KEY_MAX = 65536,
	FD_COUNT = SESS_CONFIG_FD + 1,
	BACKLOG = 128,
	PENDING_MAX = 16,
	PENDING_MS = 1000,
};

static int listen_on(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0)
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

/* Consumes nothing: the session has copies of the descriptors. counts: among those that have not
 * logged in. */
static int start_session(struct keeper *keeper, int client_fd, bool counts, venv_error **err)
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
	keeper->n_sessions += keeper->n_sessions == UINT_MAX ? 2 : 1; /* never 0 */
	client->session = keeper->n_sessions;
	if (counts)
		client->pending = fcntl(client_fd, F_DUPFD_CLOEXEC, 0);
	client->pending_since_us = venv__now_us();
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

/* How many have not logged in, and the first of them. New clients stand at the list's head. */
static size_t count_pending(const struct keeper *keeper, struct client **ret_first)
{
	size_t n = 0;

	*ret_first = NULL;
	for (struct client *client = keeper->clients; client; client = client->next) {
		if (client->pending < 0)
			continue;
		*ret_first = client;
		n++;
	}
	return n;
}

static void on_connection(void *user, int fd, uint32_t events);

static void go_on(struct keeper *keeper)
{
	venv__loop_remove(take_ptr(keeper->ssh_timer));
	if (!keeper->ssh_source && keeper->ssh_fd >= 0)
		keeper->ssh_source = venv__loop_add(keeper->loop, keeper->ssh_fd, EPOLLIN,
						    on_connection, keeper);
}

static void on_patience(void *user, int fd, uint32_t events)
{
	struct keeper *keeper = user;

	(void)fd;
	(void)events;
	keeper->ssh_timer = NULL;
	go_on(keeper);
}

/* Is there room for one more? If not, connections wait until there may be. */
static bool make_room(struct keeper *keeper)
{
	struct client *first;
	uint64_t age_ms;

	if (count_pending(keeper, &first) < PENDING_MAX)
		return true;
	age_ms = (venv__now_us() - first->pending_since_us) / 1000;
	if (age_ms < PENDING_MS) {
		keeper->ssh_timer =
			venv__loop_timer(keeper->loop, PENDING_MS - age_ms, 0, on_patience, keeper);
		if (keeper->ssh_timer)
			venv__loop_remove(take_ptr(keeper->ssh_source));
		return false;
	}
	(void)shutdown(first->pending, SHUT_RDWR); /* which ends its venv-sess */
	(void)close(take_fd(&first->pending));
	return true;
}

static void on_connection(void *user, int fd, uint32_t events)
{
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_close_ int connection = -1;
	struct keeper *keeper = user;

	(void)events;
	if (!make_room(keeper))
		return;
	connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (connection >= 0 && start_session(keeper, connection, true, &error) < 0)
		keeper_console_say(keeper, "ssh: %s", venv_error_message(error));
}

void keeper_ssh_settle(struct client *client)
{
	if (client->pending < 0)
		return;
	(void)close(take_fd(&client->pending));
	if (!client->keeper->ssh_source)
		go_on(client->keeper);
}

void keeper_ssh_login(const struct client *client)
{
	for (struct client *other = client->keeper->clients; other; other = other->next)
		if (other->session == client->session)
			keeper_ssh_settle(other);
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
	go_on(keeper);
	return keeper->ssh_source ? 0 : venv__fail_errno(err, errno, "cannot listen for ssh");
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
	if (start_session(client->keeper, theirs, false, &error) < 0)
		keeper_client_fail(client, error);
	else
		keeper_client_reply(client, NULL, &ours, 1);
}
