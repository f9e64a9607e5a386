/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of the machine for ports and ssh's forwardings. venv-enter makes them, as in containers.
 *
 * Theory of operation: a listener belongs to the worker of its connection. Another worker that is asked to
 * accept from it asks this one, over a socket of the abstract name space that takes root only, and gets the
 * accepted connection as a descriptor. So one host connection carries one stream, and nothing else.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../container/setup/report.h"
#include "guest.h"
#include "splice.h"
#include "util/cleanup.h"

/* ---- venv-enter makes one ---- */

static int make(const struct guest *guest, char *const *argv, struct record *ret)
{
	char *const none[] = { NULL };
	const int nothing[3] = { -1, -1, -1 };
	int pair[2], fd = -1, r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = guest_enter(guest, argv, none, nothing, pair[1], false);
	(void)close(pair[1]);
	r = pid < 0 ? (int)pid : setup_record_receive(pair[0], ret, &fd, 1, NULL);
	(void)close(pair[0]);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	if (r <= 0)
		return r < 0 ? r : -EIO;
	if (ret->kind == RECORD_ERROR || fd < 0) {
		if (fd >= 0)
			(void)close(fd);
		return ret->number > 0 ? -ret->number : -EIO;
	}
	return fd;
}

static char *writable(const char *text, char *ret, size_t size)
{
	(void)snprintf(ret, size, "%s", text);
	return ret;
}

int guest_dial(const struct guest *guest, struct agent_stream *stream, const struct words *request)
{
	const char *path = words_get(request, "path"), *host = words_get(request, "host");
	char name[] = "venv-enter", mode[16], place[512], port[16];
	char *argv[] = { name, writable(path ? "dial-path" : "dial", mode, sizeof(mode)),
			 writable(path   ? path
				  : host ? host
					 : "localhost",
				  place, sizeof(place)),
			 NULL, NULL };
	struct record record;
	int fd;

	(void)snprintf(port, sizeof(port), "%ld", words_number(request, "port", 65535, 0));
	if (!path)
		argv[3] = port;
	fd = make(guest, argv, &record);
	if (fd < 0) {
		guest_agent_fail(stream, -fd, place);
		return 1;
	}
	guest_agent_ok(stream, NULL);
	agent_splice(stream->fd, fd);
	return 0;
}

/* ---- Listeners ---- */

static socklen_t listener_address(const char *id, struct sockaddr_un *ret)
{
	int n;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "venv-listener-%s", id);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static bool is_root(int fd)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t length = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == 0;
}

static int open_door(char id[33])
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	unsigned char random[16];
	socklen_t length;

	if (fd < 0 || getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -errno;
	for (size_t i = 0; i < sizeof(random); i++)
		(void)snprintf(id + 2 * i, 3, "%02x", random[i]);
	length = listener_address(id, &address);
	if (bind(fd, (const struct sockaddr *)&address, length) < 0 || listen(fd, 64) < 0)
		return -errno;
	return take_fd(&fd);
}

/* Hand every connection to one who waits for one, as long as the host's connection is there. */
static void hand_out(int host, int door, int listener)
{
	int waiting = -1;

	for (;;) {
		struct pollfd wait[] = {
			{ .fd = host, .events = POLLIN },
			{ .fd = waiting < 0 ? door : -1, .events = POLLIN },
			{ .fd = waiting < 0 ? -1 : listener, .events = POLLIN },
			{ .fd = waiting, .events = POLLIN },
		};
		struct record record = { .kind = RECORD_READY };

		if (poll(wait, ARRAY_SIZE(wait), -1) < 0 || wait[0].revents)
			return;
		if (wait[3].revents) { /* who waits says nothing: it went */
			(void)close(take_fd(&waiting));
		} else if (wait[2].revents) {
			_cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

			if (fd >= 0) {
				(void)setup_record_send(waiting, &record, &fd, 1);
				(void)close(take_fd(&waiting));
			}
		} else if (wait[1].revents) {
			waiting = accept4(door, NULL, NULL, SOCK_CLOEXEC);
			if (waiting >= 0 && !is_root(waiting))
				(void)close(take_fd(&waiting));
		}
	}
}

static void serve_listener(struct agent_stream *stream, int listener, const struct record *record,
			   bool agent)
{
	char id[33] = "", text[512];
	_cleanup_close_ int door = open_door(id);
	struct words_out out = { .data = text, .size = sizeof(text) };

	if (door < 0) {
		guest_agent_fail(stream, -door, "listener");
		return;
	}
	words_set_number(&out, "port", (long)record->value[0]);
	words_set(&out, "id", id);
	words_set(&out, "path", agent ? record->what : NULL);
	guest_agent_ok(stream, &out);
	hand_out(stream->fd, door, listener);
}

static void remove_agent(const struct guest *guest, const char *path)
{
	char name[] = "venv-enter", mode[] = "unlisten-agent", copy[256];
	char *argv[] = { name, mode, writable(path, copy, sizeof(copy)), NULL };
	char *const none[] = { NULL };
	const int nothing[3] = { -1, -1, -1 };
	pid_t pid = guest_enter(guest, argv, none, nothing, -1, false);

	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
}

int guest_listen(const struct guest *guest, struct agent_stream *stream,
		 const struct words *request)
{
	const char *agent = words_get(request, "agent"), *host = words_get(request, "host");
	char name[] = "venv-enter", mode[16], place[256], port[16], option[] = "-u";
	char *argv[] = { name, writable(agent ? "listen-agent" : "listen", mode, sizeof(mode)),
			 NULL, NULL, NULL };
	_cleanup_close_ int fd = -1;
	struct record record = { 0 };

	(void)snprintf(port, sizeof(port), "%ld", words_number(request, "port", 65535, 0));
	(void)writable(agent ? agent : host ? host : "", place, sizeof(place));
	argv[2] = agent ? option : place;
	argv[3] = agent ? place : port;
	fd = make(guest, argv, &record);
	if (fd < 0) {
		guest_agent_fail(stream, -fd, place);
		return 1;
	}
	serve_listener(stream, fd, &record, agent != NULL);
	if (agent)
		remove_agent(guest, record.what);
	return 0;
}

int guest_accept(const struct guest *guest, struct agent_stream *stream,
		 const struct words *request)
{
	_cleanup_close_ int door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fd = -1;
	const char *id = words_get(request, "id");
	struct pollfd wait[2] = { { .fd = door, .events = POLLIN },
				  { .fd = stream->fd, .events = POLLIN } };
	struct sockaddr_un address;
	struct record record;
	socklen_t length;

	(void)guest;
	if (!id || strlen(id) != 32) {
		guest_agent_fail(stream, EINVAL, "id");
		return 1;
	}
	length = listener_address(id, &address);
	if (door < 0 || connect(door, (const struct sockaddr *)&address, length) < 0 ||
	    !is_root(door)) {
		guest_agent_fail(stream, errno, "listener");
		return 1;
	}
	if (poll(wait, 2, -1) < 0 || wait[1].revents ||
	    setup_record_receive(door, &record, &fd, 1, NULL) != 1 || fd < 0)
		return 1;
	guest_agent_ok(stream, NULL);
	agent_splice(stream->fd, fd);
	return 0;
}
