/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command: its descriptors here, frames of the agent's there, signals and its end on the client's connection.
 *
 * Theory of operation: output is written before the next frame is read, so who reads here holds the command;
 * while it is waited for, the client's words are heard all the same. Input is read as far as the agent
 * gave credit for it. The end is told when the agent says it, which is after all that the command wrote; what
 * others write to its output is copied until they, or who reads it, have ended.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "relay.h"
#include "ssh/wire/confine.h"
#include "util/buf.h"
#include "util/cleanup.h"

struct run {
	struct agent_stream *stream;
	int client; /* -1: it needs to hear nothing any more */
	int in, out, err;
	bool told; /* its end */
	size_t window;
};

/* ---- The request ---- */

static void put_list(struct words_out *out, const char *key, const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) words_set(out, key, json_string_value(item));
}

bool relay_exec_request(const json_t *request, struct words_out *out)
{
	static const char *const keys[] = { "user", "directory", "mode", "shell" };
	const json_t *tty = json_object_get(request, "tty");
	const char *term = venv__json_str(tty, "term");
	char text[128];

	words_add(out, "exec");
	words_set_number(out, "login", 1);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		words_set(out, keys[i], venv__json_str(request, keys[i]));
	put_list(out, "env", json_object_get(request, "env"));
	if (tty) {
		(void)snprintf(text, sizeof(text), "TERM=%s", term ? term : "xterm-256color");
		words_set(out, "env", text);
		words_set_number(out, "tty", 1);
		words_set_number(out, "rows", (long)venv__json_int(tty, "rows", 24));
		words_set_number(out, "columns", (long)venv__json_int(tty, "columns", 80));
	}
	put_list(out, "arg", json_object_get(request, "argv"));
	return !out->full;
}

/* ---- From here to the machine ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(take_fd(fd));
}

static void tell(const struct run *run, const char *key, int value)
{
	_cleanup_json_ json_t *message = json_pack("{s:i}", key, value);

	if (message && run->client >= 0)
		(void)venv__msg_send_now(run->client, message, NULL, 0, NULL);
}

/* @return false: who wanted the command is gone before its end */
static bool hear_client(struct run *run)
{
	_cleanup_json_ json_t *message = NULL;
	int r = venv__msg_receive(run->client, 0, &message, NULL, NULL);
	const char *op = venv__json_str(message, "op");
	uint32_t columns;

	if (r == VENV_ERR_TIMEOUT)
		return true;
	if (r == 0) {
		run->client = -1;
		return run->told;
	}
	if (r < 0 || !op)
		return true;
	columns = (uint32_t)venv__json_int(message, "columns", 80);
	if (strcmp(op, "signal") == 0)
		(void)agent_stream_put_numbers(run->stream, AGENT_SIGNAL,
					       (uint32_t)venv__json_int(message, "signal", 0),
					       NULL);
	else if (strcmp(op, "resize") == 0)
		(void)agent_stream_put_numbers(run->stream, AGENT_SIZE,
					       (uint32_t)venv__json_int(message, "rows", 24),
					       &columns);
	return true;
}

static void read_input(struct run *run)
{
	char data[AGENT_DATA_MAX];
	ssize_t n = read(run->in, data, MIN(sizeof(data), run->window));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_fd(&run->in);
		n = 0;
	}
	run->window -= (size_t)n;
	(void)agent_stream_put(run->stream, AGENT_IN, data, (size_t)n);
}

/* ---- From the machine to here ---- */

/* @return false: who wanted the command is gone */
static bool write_output(struct run *run, int *fd, const unsigned char *data, size_t length)
{
	while (length && *fd >= 0) {
		struct pollfd wait[2] = { { .fd = *fd, .events = POLLOUT },
					  { .fd = run->client, .events = POLLIN } };
		ssize_t n = write(*fd, data, length);

		if (n >= 0) {
			data += n;
			length -= (size_t)n;
		} else if (errno == EAGAIN) {
			(void)poll(wait, 2, -1);
			if (wait[1].revents && !hear_client(run))
				return false;
			(void)agent_stream_flush(run->stream);
		} else if (errno !=
			   EINTR) { /* nobody reads it: the command is told so by our end */
			return false;
		}
	}
	return true;
}

static bool take_output(struct run *run, int *fd, const struct agent_frame *frame)
{
	if (frame->length)
		return write_output(run, fd, frame->data, frame->length);
	if (fd == &run->out && run->in >= 0 && run->err < 0 && run->told)
		close_fd(&run->in);
	close_fd(fd);
	return true;
}

static void take_end(struct run *run, uint32_t status)
{
	int number = (int)(status & 0xffff);

	run->told = true;
	if (WIFSIGNALED(number))
		tell(run, "signal", WTERMSIG(number));
	else
		tell(run, "exit", WEXITSTATUS(number));
}

static bool take_frame(struct run *run, const struct agent_frame *frame)
{
	switch (frame->type) {
	case AGENT_OUT:
		return take_output(run, &run->out, frame);
	case AGENT_ERR:
		return take_output(run, &run->err, frame);
	case AGENT_CREDIT: /* never more than it was given */
		run->window = MIN(run->window + agent_number(frame, 0), (size_t)AGENT_WINDOW);
		return true;
	case AGENT_DEAF:
		close_fd(&run->in);
		return true;
	case AGENT_EXIT:
		if (!run->told)
			take_end(run, agent_number(frame, 0));
		return true;
	default:
		return false;
	}
}

/* ---- All of it ---- */

static bool turn(struct run *run)
{
	bool sends = agent_stream_waits(run->stream);
	struct pollfd wait[] = {
		{ .fd = run->stream->fd, .events = sends ? POLLIN | POLLOUT : POLLIN },
		{ .fd = run->client, .events = POLLIN },
		{ .fd = run->window && !sends ? run->in : -1, .events = POLLIN },
		/* who reads may go without a word */
		{ .fd = run->told ? run->out : -1 },
	};
	struct agent_frame frame;
	int r;

	if (poll(wait, ARRAY_SIZE(wait), -1) < 0)
		return errno == EINTR;
	if (wait[1].revents && !hear_client(run))
		return false;
	if (wait[2].revents)
		read_input(run);
	r = agent_stream_flush(run->stream);
	if (r < 0 && r != -EAGAIN)
		return false;
	if (wait[0].revents & ~POLLOUT) {
		r = agent_stream_read(run->stream, &frame);
		if (r == 0 || (r < 0 && r != -EAGAIN) || (r > 0 && !take_frame(run, &frame)))
			return false;
	}
	if (wait[3].revents & (POLLERR | POLLHUP))
		close_fd(&run->out);
	return !run->told || run->out >= 0 || run->err >= 0;
}

/* The three descriptors, or for a terminal one that is both. ret_theirs: its other end */
static int take_streams(struct run *run, bool tty, struct msg_fds *fds, int *ret_theirs)
{
	int pair[2];

	if (tty) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			return -errno;
		run->out = pair[0];
		run->in = fcntl(pair[0], F_DUPFD_CLOEXEC, 0);
		*ret_theirs = pair[1];
	} else {
		run->in = venv__msg_fds_take(fds, 0);
		run->out = venv__msg_fds_take(fds, 1);
		run->err = venv__msg_fds_take(fds, 2);
	}
	if (run->in >= 0)
		(void)fcntl(run->in, F_SETFL, fcntl(run->in, F_GETFL) | O_NONBLOCK);
	if (run->out >= 0)
		(void)fcntl(run->out, F_SETFL, fcntl(run->out, F_GETFL) | O_NONBLOCK);
	if (run->err >= 0)
		(void)fcntl(run->err, F_SETFL, fcntl(run->err, F_GETFL) | O_NONBLOCK);
	return 0;
}

static int start(const struct relay *relay, struct run *run, const json_t *request,
		 struct msg_fds *fds, int *ret_theirs, venv_error **err)
{
	_cleanup_free_ char *text = malloc(AGENT_FRAME_MAX);
	struct words_out out = { .data = text, .size = AGENT_FRAME_MAX };
	const struct agent_call call = { relay, &out, RELAY_RETRY_MS, RELAY_ANSWER_MS,
					 run->client };
	struct words reply;
	int r;

	if (!text)
		return venv__fail_nomem(err);
	if (!relay_exec_request(request, &out))
		return venv__fail(err, VENV_ERR_INVALID, "the command is too long");
	r = take_streams(run, json_object_get(request, "tty") != NULL, fds, ret_theirs);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a terminal");
	return relay_agent_call(&call, run->stream, &reply, err);
}

static void carry(struct run *run)
{
	while (turn(run))
		;
	close_fd(&run->in);
	close_fd(&run->out);
	close_fd(&run->err);
}

void relay_exec_carry(struct agent_stream *stream, int client, int in, int out, int err)
{
	struct run run = { .stream = stream,
			   .client = client,
			   .in = in,
			   .out = out,
			   .err = err,
			   .window = AGENT_WINDOW };

	carry(&run);
}

bool relay_exec(const struct relay *relay, int client, const json_t *request, struct msg_fds *fds)
{
	struct run run = {
		.client = client, .in = -1, .out = -1, .err = -1, .window = AGENT_WINDOW
	};
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_json_ json_t *reply = json_pack("{s:i}", "pid", 0);
	_cleanup_close_ int theirs = -1;
	int r;

	run.stream = calloc(1, sizeof(*run.stream));
	r = run.stream && reply ? start(relay, &run, request, fds, &theirs, &error)
				: venv__fail_nomem(&error);
	if (r < 0) {
		(void)venv__msg_send_error(client, error);
		return false;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (venv__msg_send(client, reply, &theirs, theirs >= 0 ? 1 : 0, NULL) < 0 ||
	    venv__confine(0) < 0)
		return false;
	if (theirs >= 0)
		(void)close(take_fd(&theirs));
	carry(&run);
	return false;
}
