/* SPDX-License-Identifier: Apache-2.0 */
/* Agents: the process and its requests. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "test_net_world.h"
#include "util/process.h"
#include "util/sys.h"

enum { TALK_MS = 2500, CALL_MS = 60000 };

static int make_address(const char *address, int port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	*ret = (struct sockaddr_storage){ 0 };
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
	}
	return sizeof(*v6);
}

/* Nobody stays behind, not even whose parent ended before it could ask for that. */
static void end_with(pid_t parent)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
}

static void serve_stream(int fd, const char *kind, const char *name)
{
	size_t total = 0;
	char data[65536];
	ssize_t n;

	if (strcmp(kind, "echo") == 0)
		(void)venv__write_all(fd, name, strlen(name));
	while ((n = read(fd, data, sizeof(data))) > 0) {
		total += (size_t)n;
		if (strcmp(kind, "echo") == 0 && venv__write_all(fd, data, (size_t)n) < 0)
			break;
	}
	if (strcmp(kind, "count") == 0) {
		n = snprintf(data, sizeof(data), "%zu", total);
		(void)venv__write_all(fd, data, (size_t)n);
	}
	_exit(0);
}

static _Noreturn void serve(int fd, bool stream, const char *kind, const char *name)
{
	const pid_t own = getpid();

	(void)signal(SIGCHLD, SIG_IGN);
	for (;;) {
		struct sockaddr_storage peer;
		socklen_t length = sizeof(peer);
		char data[65536];
		size_t start = strlen(name);
		ssize_t n;

		if (stream) {
			int connection = accept(fd, NULL, NULL);

			if (connection >= 0 && fork() == 0) {
				end_with(own);
				serve_stream(connection, kind, name);
			}
			(void)close(connection);
			continue;
		}
		(void)snprintf(data, sizeof(data), "%s", name); /* the zero is overwritten */
		n = recvfrom(fd, data + start, sizeof(data) - start, 0, (struct sockaddr *)&peer,
			     &length);
		if (n >= 0)
			(void)sendto(fd, data, start + (size_t)n, 0, (struct sockaddr *)&peer,
				     length);
	}
}

static int do_serve(const json_t *request)
{
	bool stream = strcmp(venv__json_str(request, "type"), "tcp") == 0;
	struct sockaddr_storage address;
	int length = make_address(venv__json_str(request, "address"),
				  (int)venv__json_int(request, "port", 0), &address);
	int fd = socket(address.ss_family, stream ? SOCK_STREAM : SOCK_DGRAM, 0), on = 1;
	const pid_t own = getpid();

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, (socklen_t)length) < 0 ||
	    (stream && listen(fd, 1024) < 0))
		return errno;
	if (fork() == 0) {
		end_with(own);
		serve(fd, stream, venv__json_str(request, "kind"), venv__json_str(request, "name"));
	}
	(void)close(fd);
	return 0;
}

static int talk(const json_t *request, char *received, size_t size)
{
	bool stream = strcmp(venv__json_str(request, "type"), "tcp") == 0;
	const char *text = venv__json_str(request, "text");
	struct timeval patience = { TALK_MS / 1000, TALK_MS % 1000 * 1000 };
	struct sockaddr_storage address;
	int length = make_address(venv__json_str(request, "address"),
				  (int)venv__json_int(request, "port", 0), &address);
	_cleanup_close_ int fd = socket(address.ss_family, stream ? SOCK_STREAM : SOCK_DGRAM, 0);
	size_t got = 0;
	ssize_t n;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, (socklen_t)length) < 0)
		return errno == EINPROGRESS ? ETIMEDOUT : errno;
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		return errno;
	if (stream)
		(void)shutdown(fd, SHUT_WR);
	while (got < size - 1 && (n = recv(fd, received + got, size - 1 - got, 0)) != 0) {
		if (n < 0)
			return errno == EAGAIN ? ETIMEDOUT : errno;
		got += (size_t)n;
		if (!stream)
			break;
	}
	received[got] = '\0';
	return 0;
}

static json_t *run(const char *command)
{
	char shell[] = "sh", flag[] = "-c";
	_cleanup_free_ char *text = strdup(command), *output = NULL;
	int status = venv__run((char *[]){ shell, flag, text, NULL }, &output, NULL);

	return json_pack("{s:i, s:s#}", "status", status, "output", output ? output : "",
			 (int)MIN(output ? strlen(output) : 0, (size_t)20000));
}

static json_t *answer(const json_t *request)
{
	const char *op = venv__json_str(request, "op");
	char received[8192] = "";
	int r;

	if (strcmp(op, "serve") == 0)
		return json_pack("{s:i}", "errno", do_serve(request));
	if (strcmp(op, "run") == 0)
		return run(venv__json_str(request, "command"));
	r = talk(request, received, sizeof(received));
	return json_pack("{s:i, s:s}", "errno", r, "received", r ? "" : received);
}

static _Noreturn void agent_main(int socket)
{
	for (;;) {
		_cleanup_json_ json_t *request = NULL, *reply = NULL;

		if (venv__msg_receive(socket, -1, &request, NULL, NULL) <= 0)
			_exit(0);
		reply = answer(request);
		(void)venv__msg_send(socket, reply, NULL, 0, NULL);
	}
}

int agent_start(struct agent *agent, int (*prepare)(void *), void *user)
{
	_cleanup_json_ json_t *ready = NULL;
	int pair[2], r = venv__msg_pair(pair);

	if (r < 0)
		return r;
	agent->pid = fork();
	if (agent->pid == 0) {
		(void)close(pair[0]);
		r = prepare ? prepare(user) : 0;
		if (r) {
			(void)fprintf(stderr, "agent: %s\n", strerror(-r));
			_exit(1);
		}
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		ready = json_object();
		(void)venv__msg_send(pair[1], ready, NULL, 0, NULL);
		agent_main(pair[1]);
	}
	(void)close(pair[1]);
	agent->socket = pair[0];
	return venv__msg_receive(agent->socket, CALL_MS, &ready, NULL, NULL) == 1 ? 0 : -EIO;
}

void agent_stop(struct agent *agent)
{
	if (agent->pid <= 0)
		return;
	(void)close(agent->socket);
	(void)kill(agent->pid, SIGKILL);
	(void)waitpid(agent->pid, NULL, 0);
	agent->pid = 0;
}

static json_t *ask(struct agent *agent, json_t *request)
{
	_cleanup_error_ venv_error *err = NULL;
	json_t *reply = NULL;

	if (venv__msg_call(agent->socket, request, NULL, 0, CALL_MS, &reply, NULL, &err) < 0)
		(void)fprintf(stderr, "agent: %s\n", venv_error_message(err));
	json_decref(request);
	return reply;
}

int agent_serve(struct agent *agent, const char *kind, const char *type, const char *address,
		int port, const char *name)
{
	_cleanup_json_ json_t *reply =
		ask(agent, json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "op", "serve", "kind", kind,
				     "type", type, "address", address, "port", port, "name", name));

	return (int)venv__json_int(reply, "errno", EIO);
}

int agent_talk(struct agent *agent, const char *type, const char *address, int port,
	       const char *text, char **ret)
{
	_cleanup_json_ json_t *reply =
		ask(agent, json_pack("{s:s, s:s, s:s, s:i, s:s}", "op", "talk", "type", type,
				     "address", address, "port", port, "text", text));

	if (ret)
		*ret = strdup(reply && venv__json_str(reply, "received")
				      ? venv__json_str(reply, "received")
				      : "");
	return (int)venv__json_int(reply, "errno", EIO);
}

int agent_run(struct agent *agent, char **ret, const char *format, ...)
{
	_cleanup_json_ json_t *reply = NULL;
	_cleanup_free_ char *command = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&command, format, args) < 0)
		command = NULL;
	va_end(args);
	reply = ask(agent, json_pack("{s:s, s:s}", "op", "run", "command", command));
	if (ret)
		*ret = strdup(reply ? venv__json_str(reply, "output") : "");
	return (int)venv__json_int(reply, "status", -1);
}
