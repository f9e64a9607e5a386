/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "util/buf.h"
#include "util/file.h"
#include "util/msg.h"
#include "util/process.h"
#include "util/sys.h"

enum {
	KEY_MAX = 65536,
	FD_COUNT = SESS_CONFIG_FD + 1,
	BACKLOG = 128,
	PENDING_MAX = 16,
	PENDING_MS = 3000, /* forty logins at once on a busy host take more than one second each */
};

struct pending { /* connected, and has not logged in */
	unsigned session;
	int fd; /* of the client's socket */
	uint64_t since_us;
};

struct door {
	struct door_config config;
	int fd, port;
	struct loop_source *source; /* NULL: connections wait */
	struct loop_source *timer;
	unsigned n_sessions;
	struct pending pending[PENDING_MAX]; /* the first came first */
	size_t n_pending;
};

/* ---- The port ------------------------------------------------------------------------------ */

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

static int remembered_port(const struct door *door)
{
	_cleanup_free_ char *text = NULL;

	if (venv__file_read(door->config.machine_fd, "ssh-port", 16, &text, NULL, NULL) < 0)
		return 0;
	return (int)MIN(strtoul(text, NULL, 10), 65535UL);
}

static void remember_port(const struct door *door)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", door->port);

	(void)venv__file_write(door->config.machine_fd, "ssh-port", text, (size_t)n, 0600,
			       WRITE_VOLATILE, NULL);
}

/* ---- Sessions ------------------------------------------------------------------------------ */

static void add_lines(json_t *list, const char *text)
{
	while (text && *text) {
		size_t n = strcspn(text, "\n");

		if (n)
			(void)json_array_append_new(list, json_stringn(text, n));
		text += n + (text[n] == '\n');
	}
}

static json_t *sess_config(const struct door_config *door, venv_error **err)
{
	_cleanup_free_ char *host_key = NULL, *authorized = NULL;
	json_t *list = json_array(), *env = venv__json_from_strv(door->env), *config;
	int r = venv__file_read(door->machine_fd, "keys/host", KEY_MAX, &host_key, NULL, err);

	if (r == 0)
		r = venv__file_read(door->machine_fd, "keys/authorized", KEY_MAX, &authorized, NULL,
				    err);
	if (r < 0) {
		json_decref(list);
		json_decref(env);
		return NULL;
	}
	add_lines(list, authorized);
	for (char *const *key = door->extra_keys; key && *key; key++)
		add_lines(list, *key);
	config = json_pack("{s:s, s:o, s:s, s:o, s:b, s:s}", "host_key", host_key, "authorized",
			   list, "login", door->login, "env", env, "forward_agent",
			   door->forward_agent, "machine", door->machine);
	explicit_bzero(host_key, strlen(host_key));
	if (!config)
		(void)venv__fail_nomem(err);
	return config;
}

static int config_file(const struct door_config *door, venv_error **err)
{
	_cleanup_json_ json_t *config = sess_config(door, err);
	_cleanup_free_ char *text = config ? venv__json_text(config, JSON_COMPACT) : NULL;
	int fd;

	if (!config)
		return VENV_ERR_SYSTEM;
	fd = text ? venv__memfd_sealed("venv-sess", text, strlen(text)) : -ENOMEM;
	if (text)
		explicit_bzero(text, strlen(text));
	return fd < 0 ? venv__fail_errno(err, -fd, "cannot pass the keys on") : fd;
}

/* Consumes nothing: the session has copies of the descriptors. Its number, or a code. */
static int start_session(struct door *door, int client_fd, unsigned *ret_session, venv_error **err)
{
	_cleanup_free_ char *path = venv__path_join(door->config.libexec, "venv-sess");
	_cleanup_close_ int config = config_file(&door->config, err), theirs = -1;
	char name[] = "venv-sess";
	char *argv[] = { name, NULL };
	struct spawn spawn = { .path = path, .argv = argv, .n_fds = FD_COUNT };
	int pair[2], r;

	if (config < 0)
		return config;
	r = path ? venv__msg_pair(pair) : -ENOMEM;
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	theirs = pair[1];
	spawn.fds[0] = spawn.fds[1] = -1;
	spawn.fds[2] = door->config.log_fd;
	spawn.fds[SESS_CLIENT_FD] = client_fd;
	spawn.fds[SESS_KEEPER_FD] = theirs;
	spawn.fds[SESS_CONFIG_FD] = config;
	/* it becomes a child of ours all the same where we are a subreaper */
	r = venv__spawn(&spawn, NULL, NULL, err);
	if (r < 0) {
		(void)close(pair[0]);
		return r;
	}
	door->n_sessions += door->n_sessions == UINT_MAX ? 2 : 1; /* never 0 */
	if (!door->config.opened(door->config.user, pair[0], door->n_sessions)) {
		(void)close(pair[0]);
		return venv__fail_nomem(err);
	}
	*ret_session = door->n_sessions;
	return 0;
}

/* ---- Those that have not logged in ---------------------------------------------------------- */

static void on_connection(void *user, int fd, uint32_t events);

static void go_on(struct door *door)
{
	venv__loop_remove(take_ptr(door->timer));
	if (!door->source && door->fd >= 0)
		door->source =
			venv__loop_add(door->config.loop, door->fd, EPOLLIN, on_connection, door);
}

static void on_patience(void *user, int fd, uint32_t events)
{
	struct door *door = user;

	(void)fd;
	(void)events;
	door->timer = NULL;
	go_on(door);
}

static void remove_pending(struct door *door, size_t i)
{
	(void)close(door->pending[i].fd);
	door->n_pending--;
	memmove(door->pending + i, door->pending + i + 1,
		(door->n_pending - i) * sizeof(*door->pending));
}

/* Is there room for one more? If not, connections wait until there may be. */
static bool make_room(struct door *door)
{
	uint64_t age_ms;

	if (door->n_pending < PENDING_MAX)
		return true;
	age_ms = (venv__now_us() - door->pending[0].since_us) / 1000;
	if (age_ms < PENDING_MS) {
		door->timer = venv__loop_timer(door->config.loop, PENDING_MS - age_ms, 0,
					       on_patience, door);
		if (door->timer)
			venv__loop_remove(take_ptr(door->source));
		return false;
	}
	(void)shutdown(door->pending[0].fd, SHUT_RDWR); /* which ends its venv-sess */
	remove_pending(door, 0);
	return true;
}

static void on_connection(void *user, int fd, uint32_t events)
{
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_close_ int connection = -1;
	struct door *door = user;
	unsigned session = 0;

	(void)events;
	if (!make_room(door))
		return;
	connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (connection < 0)
		return;
	if (start_session(door, connection, &session, &error) < 0)
		door->config.failed(door->config.user, error);
	else
		door->pending[door->n_pending++] =
			(struct pending){ session, take_fd(&connection), venv__now_us() };
}

void venv__door_settle(struct door *door, unsigned session)
{
	for (size_t i = 0; door && i < door->n_pending; i++) {
		if (door->pending[i].session != session)
			continue;
		remove_pending(door, i);
		if (!door->source)
			go_on(door);
		return;
	}
}

/* ---- All of it ----------------------------------------------------------------------------- */

int venv__door_session(struct door *door, venv_error **err)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	unsigned session;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return venv__fail_errno(err, errno, "cannot make a socket");
	ours = pair[0];
	theirs = pair[1];
	r = start_session(door, theirs, &session, err);
	return r < 0 ? r : take_fd(&ours);
}

int venv__door_port(const struct door *door)
{
	return door ? door->port : 0;
}

static int listen_at(struct door *door, venv_error **err)
{
	int wanted = door->config.port ? door->config.port : remembered_port(door);

	door->fd = listen_on(wanted);
	if (door->fd == -EADDRINUSE && !door->config.port && wanted)
		door->fd = listen_on(0);
	if (door->fd == -EADDRINUSE)
		return venv__hint(
			venv__fail(err, VENV_ERR_NETWORK, "the port %d for ssh is taken", wanted),
			err, "set 'ssh: { port: auto }' in venv.yml");
	if (door->fd < 0)
		return venv__fail_errno(err, -door->fd, "cannot listen for ssh");
	door->port = port_of(door->fd);
	if (door->port != wanted)
		remember_port(door);
	go_on(door);
	return door->source ? 0 : venv__fail_errno(err, errno, "cannot listen for ssh");
}

int venv__door_open(const struct door_config *config, struct door **ret, venv_error **err)
{
	struct door *door = calloc(1, sizeof(*door));
	int r;

	if (!door)
		return venv__fail_nomem(err);
	door->config = *config;
	door->fd = -1;
	r = listen_at(door, err);
	if (r < 0)
		venv__door_close(door);
	else
		*ret = door;
	return r;
}

void venv__door_close(struct door *door)
{
	if (!door)
		return;
	venv__loop_remove(door->source);
	venv__loop_remove(door->timer);
	if (door->fd >= 0)
		(void)close(door->fd);
	while (door->n_pending)
		remove_pending(door, 0);
	free(door);
}
