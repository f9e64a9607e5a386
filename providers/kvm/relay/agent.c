/* SPDX-License-Identifier: Apache-2.0 */
/* Speaking to the machine: over the socket "vsock" in its directory, which venv-vmm has. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "relay.h"
#include "util/cleanup.h"
#include "util/sys.h"

enum { LINE_MAX_LENGTH = 32, LINE_MS = 5000, PAUSE_MS = 50, WHAT_MAX = 200 };

/* 1: readable; -ETIMEDOUT; -ECANCELED: who watches is gone; -EHOSTDOWN: the machine is */
static int wait_for(int fd, short events, const struct agent_call *call, uint64_t until_us)
{
	struct pollfd wait[] = { { .fd = fd, .events = events },
				 { .fd = call->watch },
				 { .fd = call->relay->vmm_fd } };

	for (;;) {
		uint64_t now = venv__now_us();
		int ms = until_us == UINT64_MAX ? -1
			 : now >= until_us      ? 0
						: (int)((until_us - now + 999) / 1000);
		int n = poll(wait, ARRAY_SIZE(wait), ms);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && wait[1].revents)
			return -ECANCELED;
		if (n > 0 && wait[0].revents) /* also the last words of a machine that has ended */
			return 1;
		if (n > 0)
			return -EHOSTDOWN;
		if (n == 0)
			return -ETIMEDOUT;
	}
}

static int connect_vmm(int machine_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/vsock",
		       machine_fd);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(&fd);
}

/* "OK N", and no byte more. -ECONNREFUSED: nobody listens there */
static int read_line(int fd, const struct agent_call *call, uint64_t until)
{
	char line[LINE_MAX_LENGTH];

	for (size_t n = 0; n < sizeof(line);) {
		ssize_t got = read(fd, line + n, 1);
		int r = 0;

		if (got == 0 || (got < 0 && errno == ECONNRESET))
			return -ECONNREFUSED;
		if (got < 0 && errno == EAGAIN)
			r = wait_for(fd, POLLIN, call, until);
		else if (got < 0 && errno != EINTR)
			r = -errno;
		if (r < 0)
			return r;
		if (got == 1 && line[n++] == '\n')
			return strncmp(line, "OK ", 3) == 0 ? 0 : -EPROTO;
	}
	return -EPROTO;
}

static int exchange(struct agent_stream *stream, const struct agent_call *call,
		    struct agent_frame *frame)
{
	uint64_t until = call->timeout_ms < 0 ? UINT64_MAX
					      : venv__now_us() + (uint64_t)call->timeout_ms * 1000;
	int r;

	*frame = (struct agent_frame){ 0 };
	if (!agent_stream_put(stream, AGENT_REQUEST, call->request->data, call->request->length))
		return -E2BIG;
	while ((r = agent_stream_flush(stream)) == -EAGAIN)
		if ((r = wait_for(stream->fd, POLLOUT, call, until)) < 0)
			return r;
	while (r == 0 && (r = agent_stream_read(stream, frame)) <= 0) {
		if (r != -EAGAIN)
			return r == 0 ? -ECONNRESET : r;
		r = wait_for(stream->fd, POLLIN, call, until);
		r = r > 0 ? 0 : r;
	}
	if (r < 0)
		return r;
	return frame->type == AGENT_REPLY ? 0 : -EPROTO;
}

/* "CONNECT N", as venv-vmm wants it, and what it says to that: nothing as long as the machine has no driver. */
static int open_port(int fd, const struct agent_call *call, uint64_t until)
{
	char line[LINE_MAX_LENGTH];
	int n = snprintf(line, sizeof(line), "CONNECT %d\n", AGENT_PORT), r;

	if (send(fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		return -ECONNREFUSED;
	r = read_line(fd, call, until);
	return r == -ETIMEDOUT ? -ECONNREFUSED : r;
}

int relay_agent_talk(int fd, const struct agent_call *call, uint64_t until,
		     struct agent_stream *stream, struct words *reply)
{
	struct agent_frame frame;
	const char *first;
	int r = open_port(fd, call, until);

	stream->fd = fd;
	stream->in_length = stream->out_at = stream->out_length = 0;
	if (r == 0)
		r = exchange(stream, call, &frame);
	if (r < 0)
		return r;
	*reply = (struct words){ (const char *)frame.data, frame.length };
	first = words_valid(reply) ? words_next(reply, NULL) : NULL;
	return first && (!strcmp(first, "ok") || !strcmp(first, "error")) ? 0 : -EPROTO;
}

/* While it comes up, and when it restarts, nobody is there. fd or -errno */
static int talk_patiently(const struct agent_call *call, struct agent_stream *stream,
			  struct words *reply)
{
	uint64_t until = venv__now_us() + (uint64_t)call->retry_ms * 1000;

	for (;;) {
		_cleanup_close_ int fd = connect_vmm(call->relay->machine_fd);
		uint64_t line_until = venv__now_us() + LINE_MS * 1000ULL;
		int r = fd < 0 ? fd : relay_agent_talk(fd, call, line_until, stream, reply);

		if (r == 0)
			return take_fd(&fd);
		if (r == -ENOENT || r == -EAGAIN)
			r = -ECONNREFUSED;
		if (r != -ECONNREFUSED || venv__now_us() >= until)
			return r;
		r = wait_for(-1, 0, call, venv__now_us() + PAUSE_MS * 1000ULL);
		if (r != -ETIMEDOUT)
			return r;
	}
}

static int told(int r, venv_error **err)
{
	if (r == -ECONNREFUSED)
		return venv__hint(
			venv__fail(err, VENV_ERR_STATE, "the machine's agent does not answer"), err,
			"look at 'venv logs'; the machine may still be starting");
	if (r == -ETIMEDOUT)
		return venv__fail(err, VENV_ERR_TIMEOUT, "the machine's agent gives no answer");
	if (r == -EPROTO)
		return venv__fail(err, VENV_ERR_CORRUPT,
				  "the machine's agent says what nobody understands");
	if (r == -ECANCELED)
		return venv__fail(err, VENV_ERR_CANCELLED, "nobody waits for it any more");
	if (r == -EHOSTDOWN)
		return venv__fail(err, VENV_ERR_STATE, "the machine ended");
	return venv__fail_errno(err, -r, "cannot reach the machine's agent");
}

/* What it says goes to terminals and into JSON. */
static void make_plain(const char *text, char ret[WHAT_MAX])
{
	size_t n = 0;

	for (; text && *text && n + 1 < WHAT_MAX; text++)
		ret[n++] = *text >= ' ' && *text <= '~' ? *text : '?';
	ret[n] = '\0';
}

int relay_agent_error(const struct words *reply, venv_error **err)
{
	long number = words_number(reply, "number", 4095, EIO);
	char what[WHAT_MAX];

	make_plain(words_get(reply, "what"), what);
	if (number == ENOENT)
		return venv__fail(err, VENV_ERR_NOT_FOUND, "no such host or path: '%s'", what);
	return venv__fail_errno(err, number ? (int)number : EIO, "%s",
				what[0] ? what : "the machine");
}

int relay_agent_call(const struct agent_call *call, struct agent_stream *stream,
		     struct words *reply, venv_error **err)
{
	_cleanup_close_ int fd = -1;

	if (call->request->full)
		return venv__fail(err, VENV_ERR_INVALID, "the command is too long");
	fd = talk_patiently(call, stream, reply);
	if (fd < 0)
		return told(fd, err);
	if (strcmp(words_next(reply, NULL), "error") == 0)
		return relay_agent_error(reply, err);
	(void)take_fd(&fd);
	return 0;
}

int relay_agent_time(const struct relay *relay, venv_error **err)
{
	char text[128];
	struct words_out out = { .data = text, .size = sizeof(text) };
	const struct agent_call call = { relay, &out, 0, RELAY_ANSWER_MS, -1 };
	struct agent_stream *stream = calloc(1, sizeof(*stream));
	struct timespec now;
	struct words reply;
	int r;

	if (!stream)
		return venv__fail_nomem(err);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	words_add(&out, "time");
	words_set_number(&out, "seconds", now.tv_sec);
	words_set_number(&out, "nanoseconds", now.tv_nsec);
	r = relay_agent_call(&call, stream, &reply, err);
	if (r == 0)
		(void)close(stream->fd);
	free(stream);
	return r;
}
