/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* after sys/socket.h */
#include <linux/vm_sockets.h>

#include "guest.h"
#include "util/cleanup.h"

enum { BACKLOG = 64, CONNECTIONS_MAX = 256, PATIENCE_MS = 10000 };

/* ---- Answers ---- */

int guest_agent_send(struct agent_stream *stream)
{
	struct pollfd p = { .fd = stream->fd, .events = POLLOUT };
	int r;

	while ((r = agent_stream_flush(stream)) == -EAGAIN)
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
	return r;
}

void guest_agent_ok(struct agent_stream *stream, const struct words_out *more)
{
	char text[1024] = "ok";
	size_t length = sizeof("ok");

	if (more && !more->full && more->length <= sizeof(text) - length) {
		memcpy(text + length, more->data, more->length);
		length += more->length;
	}
	(void)agent_stream_put(stream, AGENT_REPLY, text, length);
	(void)guest_agent_send(stream);
}

void guest_agent_fail(struct agent_stream *stream, int number, const char *what)
{
	char text[512];
	struct words_out out = { .data = text, .size = sizeof(text) };

	words_add(&out, "error");
	words_set_number(&out, "number", number);
	words_set(&out, "what", what);
	(void)agent_stream_put(stream, AGENT_REPLY, out.data, out.length);
	(void)guest_agent_send(stream);
}

/* ---- Small requests ---- */

static int op_hello(const struct guest *guest, struct agent_stream *stream,
		    const struct words *request)
{
	_cleanup_close_ int fd =
		open("/run/venv/command-status", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char text[128], status[16] = "";
	struct words_out out = { .data = text, .size = sizeof(text) };

	(void)guest;
	(void)request;
	words_set_number(&out, "version", AGENT_VERSION);
	if (fd >= 0 && read(fd, status, sizeof(status) - 1) > 0) {
		status[strcspn(status, "\n")] = '\0';
		words_set(&out, "command_status", status);
	}
	guest_agent_ok(stream, &out);
	return 0;
}

static int finish(struct agent_stream *stream, int r, const char *what)
{
	if (r < 0)
		guest_agent_fail(stream, errno, what);
	else
		guest_agent_ok(stream, NULL);
	return r < 0;
}

static int op_time(const struct guest *guest, struct agent_stream *stream,
		   const struct words *request)
{
	struct timespec now = { words_number(request, "seconds", INT64_MAX, -1),
				words_number(request, "nanoseconds", 999999999, 0) };

	(void)guest;
	errno = EINVAL;
	return finish(stream, now.tv_sec < 0 ? -1 : clock_settime(CLOCK_REALTIME, &now), "clock");
}

static int op_sync(const struct guest *guest, struct agent_stream *stream,
		   const struct words *request)
{
	(void)guest;
	(void)request;
	sync();
	return finish(stream, 0, "");
}

static int op_poweroff(const struct guest *guest, struct agent_stream *stream,
		       const struct words *request)
{
	int r = finish(stream, 0, ""); /* first: shutting down ends who would say it */

	(void)request;
	guest_shut_down(guest);
	return r;
}

/* ---- A connection ---- */

static const struct op {
	const char *name;
	int (*run)(const struct guest *guest, struct agent_stream *stream,
		   const struct words *request);
} ops[] = {
	{ "hello", op_hello },      { "exec", guest_exec },      { "dial", guest_dial },
	{ "listen", guest_listen }, { "accept", guest_accept },  { "time", op_time },
	{ "sync", op_sync },        { "poweroff", op_poweroff },
};

static int read_request(struct agent_stream *stream, struct agent_frame *ret)
{
	struct pollfd p = { .fd = stream->fd, .events = POLLIN };
	int r;

	while ((r = agent_stream_read(stream, ret)) == -EAGAIN)
		if (poll(&p, 1, PATIENCE_MS) == 0)
			return -ETIMEDOUT;
	return r <= 0 ? -EPROTO : ret->type == AGENT_REQUEST ? 0 : -EPROTO;
}

int guest_agent_serve(const struct guest *guest, int fd)
{
	_cleanup_free_ struct agent_stream *stream = calloc(1, sizeof(*stream));
	struct agent_frame frame;
	_cleanup_free_ char *copy = NULL;
	struct words request;
	const char *name;

	if (!stream)
		return 1;
	stream->fd = fd;
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	if (read_request(stream, &frame) < 0)
		return 1;
	/* the frame's place is used for the next one */
	copy = malloc(frame.length + 1);
	if (!copy)
		return 1;
	memcpy(copy, frame.data, frame.length);
	request = (struct words){ copy, frame.length };
	name = words_valid(&request) ? words_next(&request, NULL) : NULL;
	for (size_t i = 0; name && i < ARRAY_SIZE(ops); i++)
		if (strcmp(ops[i].name, name) == 0)
			return ops[i].run(guest, stream, &request);
	guest_agent_fail(stream, ENOSYS, name ? name : "request");
	return 1;
}

/* ---- The listener ---- */

static void become_worker(void)
{
	sigset_t none;

	(void)signal(SIGCHLD, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL); /* the machine ends: let the terminal go */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void serve_next(const struct guest *guest)
{
	struct sockaddr_vm peer = { 0 };
	socklen_t length = sizeof(peer);
	_cleanup_close_ int fd =
		accept4(guest->listener, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);

	/* users of the machine reach this port too, by its own loopback transport */
	if (fd < 0 || peer.svm_cid != VMADDR_CID_HOST || fork() != 0)
		return;
	become_worker();
	(void)close(guest->listener);
	_exit(guest_agent_serve(guest, fd));
}

int guest_agent_listen(void)
{
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_vm address = { .svm_family = AF_VSOCK,
				       .svm_cid = VMADDR_CID_ANY,
				       .svm_port = AGENT_PORT };

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(&fd);
}

static _Noreturn void run(const struct guest *guest)
{
	struct pollfd wait[2] = { { .fd = guest->listener, .events = POLLIN },
				  { .fd = guest_button_open(), .events = POLLIN } };

	for (;;) {
		if (poll(wait, 2, -1) < 0)
			continue;
		if (wait[0].revents)
			serve_next(guest);
		if (wait[1].revents & (POLLERR | POLLHUP))
			wait[1].fd = -1;
		else if (wait[1].revents && guest_button_pressed(wait[1].fd))
			guest_shut_down(guest);
	}
}

/* Without memory for others, the machine shall still be reached. */
void guest_agent_protect(void)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "-900", 4);
}

pid_t guest_agent_start(const struct guest *guest)
{
	pid_t pid = fork();
	sigset_t none;

	if (pid != 0)
		return pid < 0 ? -errno : pid;
	(void)prctl(PR_SET_NAME, "venv-agent", 0, 0, 0);
	(void)setsid();
	(void)signal(SIGCHLD, SIG_IGN); /* workers reap themselves */
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&none); /* process 1 has them blocked */
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	guest_agent_protect();
	run(guest);
}
