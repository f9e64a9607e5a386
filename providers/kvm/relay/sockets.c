/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to ports of the machine's, and listeners in it. Theory of operation: what was dialled is the
 * machine's own stream, handed on as it is. A listener is a socket in the machine's directory here, which only
 * its owner reaches; for each connection in there the worker connects to it and copies.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../guest/splice.h"
#include "relay.h"
#include "ssh/wire/confine.h"
#include "util/cleanup.h"

enum { DIAL_MS = 150000, BACKLOG = 64, ID_LENGTH = 32 };

static const char prefix[] = "relay.";

void relay_dial(const struct relay *relay, int client, const json_t *request)
{
	struct agent_stream *stream = calloc(1, sizeof(*stream));
	_cleanup_json_ json_t *answer = json_object();
	_cleanup_error_ venv_error *error = NULL;
	char text[8192];
	struct words_out out = { .data = text, .size = sizeof(text) };
	const struct agent_call call = { relay, &out, RELAY_RETRY_MS, DIAL_MS, client };
	struct words reply;
	int r;

	words_add(&out, "dial");
	words_set(&out, "path", venv__json_str(request, "path"));
	words_set(&out, "host", venv__json_str(request, "host"));
	words_set_number(&out, "port", (long)venv__json_int(request, "port", 0));
	r = stream && answer ? relay_agent_call(&call, stream, &reply, &error)
			     : venv__fail_nomem(&error);
	if (r == 0) {
		(void)fcntl(stream->fd, F_SETFL, 0);
		(void)venv__msg_send(client, answer, &stream->fd, 1, NULL);
		(void)close(stream->fd);
	} else {
		(void)venv__msg_send_error(client, error);
	}
	free(stream);
}

/* ---- A listener ---- */

struct listener {
	const struct relay *relay;
	int client, socket; /* the latter: here */
	char name[RELAY_SOCKET_MAX], id[ID_LENGTH + 1], path[108];
	long port;
	struct agent_stream *held,
		*waiting; /* the one that keeps it there; the next connection's */
};

static int address_of(const struct listener *listener, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s",
			listener->relay->machine_fd, listener->name);
}

static int open_here(struct listener *listener, venv_error **err)
{
	struct sockaddr_un address;

	(void)snprintf(listener->name, sizeof(listener->name), "%s%d", prefix, (int)getpid());
	(void)address_of(listener, &address);
	(void)unlinkat(listener->relay->machine_fd, listener->name, 0);
	listener->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener->socket < 0 ||
	    bind(listener->socket, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener->socket, BACKLOG) < 0)
		return venv__fail_errno(err, errno, "cannot listen");
	return 0;
}

/* What it says is used in requests and handed to others. */
static bool take_facts(struct listener *listener, const struct words *reply)
{
	const char *id = words_get(reply, "id"), *path = words_get(reply, "path");

	listener->port = words_number(reply, "port", 65535, -1);
	if (!id || strlen(id) != ID_LENGTH || strspn(id, "0123456789abcdef") != ID_LENGTH ||
	    listener->port < 0)
		return false;
	memcpy(listener->id, id, ID_LENGTH + 1);
	if (!path)
		return true;
	if (*path != '/' || strlen(path) >= sizeof(listener->path))
		return false;
	for (const char *p = path; *p; p++)
		if (*p <= ' ' || *p > '~')
			return false;
	memcpy(listener->path, path, strlen(path) + 1);
	return true;
}

static int open_there(struct listener *listener, const json_t *request, venv_error **err)
{
	bool agent = venv__json_bool(request, "agent", false);
	const char *user = venv__json_str(request, "user");
	char text[4096];
	struct words_out out = { .data = text, .size = sizeof(text) };
	const struct agent_call call = { listener->relay, &out, RELAY_RETRY_MS, RELAY_ANSWER_MS,
					 listener->client };
	struct words reply;
	int r;

	words_add(&out, "listen");
	if (agent)
		words_set(&out, "agent",
			  user ? user : venv__json_str(listener->relay->config, "login"));
	else
		words_set(&out, "host", venv__json_str(request, "host"));
	words_set_number(&out, "port", (long)venv__json_int(request, "port", 0));
	r = relay_agent_call(&call, listener->held, &reply, err);
	if (r == 0 && !take_facts(listener, &reply))
		r = venv__fail(err, VENV_ERR_CORRUPT,
			       "the machine's agent says what nobody understands");
	return r;
}

/* One connection of the machine's, in a process of its own. */
static void carry(const struct listener *listener, int theirs)
{
	struct sockaddr_un address;
	int here;

	if (fork() != 0)
		return;
	(void)address_of(listener, &address);
	here = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (here >= 0 && connect(here, (const struct sockaddr *)&address, sizeof(address)) == 0) {
		(void)close(listener->client);
		(void)close(listener->socket);
		(void)close(listener->held->fd);
		if (venv__confine(0) == 0)
			agent_splice(here, theirs);
	}
	_exit(0);
}

/* @return false: the listener is over */
static bool accept_next(struct listener *listener)
{
	char text[64];
	struct words_out out = { .data = text, .size = sizeof(text) };
	const struct agent_call call = { listener->relay, &out, 0, -1, listener->client };
	struct words reply;

	words_add(&out, "accept");
	words_set(&out, "id", listener->id);
	if (relay_agent_call(&call, listener->waiting, &reply, NULL) < 0)
		return false;
	carry(listener, listener->waiting->fd);
	(void)close(listener->waiting->fd);
	return true;
}

static void reply_facts(const struct listener *listener)
{
	_cleanup_json_ json_t *answer = listener->path[0]
						? json_pack("{s:s}", "path", listener->path)
						: json_pack("{s:i}", "port", (int)listener->port);

	if (answer)
		(void)venv__msg_send(listener->client, answer, &listener->socket, 1, NULL);
}

/* The client's connection is watched while the next connection is waited for: its end ends this. */
bool relay_listen(const struct relay *relay, int client, const json_t *request)
{
	struct listener listener = { .relay = relay,
				     .client = client,
				     .socket = -1,
				     .held = calloc(1, sizeof(struct agent_stream)),
				     .waiting = calloc(1, sizeof(struct agent_stream)) };
	_cleanup_error_ venv_error *error = NULL;
	int r = listener.held && listener.waiting ? 0 : venv__fail_nomem(&error);

	if (r == 0)
		r = open_here(&listener, &error);
	if (r == 0)
		r = open_there(&listener, request, &error);
	if (r < 0) {
		(void)venv__msg_send_error(client, error);
	} else {
		(void)signal(SIGCHLD, SIG_IGN);
		reply_facts(&listener);
		while (accept_next(&listener))
			;
	}
	(void)unlinkat(relay->machine_fd, listener.name, 0);
	return false;
}

void relay_sockets_sweep(int machine_fd)
{
	int copy = openat(machine_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_type == DT_SOCK &&
		    strncmp(entry->d_name, prefix, sizeof(prefix) - 1) == 0)
			(void)unlinkat(machine_fd, entry->d_name, 0);
}
