/* SPDX-License-Identifier: Apache-2.0 */
#include "flow.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 128 * 1024 };

void venv__sink_close(struct flow_sink *sink)
{
	if (sink->fd >= 0) {
		if (sink->shut)
			(void)shutdown(sink->fd, SHUT_WR);
		(void)close(sink->fd);
	}
	free(sink->stash);
	*sink = (struct flow_sink){ .fd = -1, .is_stderr = sink->is_stderr };
}

/* Is a blocking descriptor ready for the next small write? */
static bool writable_now(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) > 0;
}

/* Bytes written; fewer than length: it would block. A broken descriptor swallows everything. */
static size_t write_some(struct flow_sink *sink, const unsigned char *data, size_t length)
{
	size_t done = 0;

	while (done < length && sink->fd >= 0) {
		size_t n = length - done;
		ssize_t w;

		if (sink->small) {
			n = n < PIPE_BUF ? n : PIPE_BUF;
			if (!writable_now(sink->fd))
				return done;
		}
		if (sink->is_socket)
			w = send(sink->fd, data + done, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			w = write(sink->fd, data + done, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno == EAGAIN)
			return done;
		if (w < 0) {
			venv__sink_close(sink);
			return length;
		}
		done += (size_t)w;
	}
	return length;
}

size_t venv__sink_take(struct flow_sink *sink, const void *data, size_t length)
{
	size_t n = 0;

	if (sink->fd < 0 && !sink->expected)
		return length;
	if (!sink->busy && sink->fd >= 0 && !sink->length)
		n = write_some(sink, data, length);
	if (n < length)
		sink->blocked = true;
	return n;
}

/* @return false when the descriptor is full again, or gone */
static bool write_stash(struct flow_sink *sink)
{
	size_t n = write_some(sink, sink->stash + sink->offset, sink->length);

	if (sink->fd < 0)
		return false; /* closed: the stash is freed */
	sink->offset += n;
	sink->length -= n;
	if (sink->length)
		return false;
	free(sink->stash);
	sink->stash = NULL;
	sink->offset = 0;
	return true;
}

/* All that libssh holds, in one read. @return whether the stash has bytes now */
static bool fill_stash(struct flow_sink *sink, ssh_channel channel)
{
	int n;

	sink->busy = true;
	n = ssh_channel_poll(channel, sink->is_stderr);
	if (n > 0) {
		sink->stash = malloc((size_t)n);
		if (sink->stash)
			n = ssh_channel_read_nonblocking(channel, sink->stash, (uint32_t)n,
							 sink->is_stderr);
	}
	sink->busy = false;
	if (!sink->stash)
		return false;
	if (n <= 0) {
		free(sink->stash);
		sink->stash = NULL;
		return false;
	}
	sink->offset = 0;
	sink->length = (size_t)n;
	return true;
}

void venv__sink_run(struct flow_sink *sink, ssh_channel channel)
{
	if (sink->busy)
		return;
	while (sink->fd >= 0) {
		if (sink->length && !write_stash(sink))
			return;
		if (!fill_stash(sink, channel))
			break;
	}
	if (sink->fd < 0)
		return;
	sink->blocked = false;
	if (sink->eof && ssh_channel_poll(channel, sink->is_stderr) <= 0)
		venv__sink_close(sink);
}

bool venv__sink_waits(const struct flow_sink *sink)
{
	return sink->fd >= 0 && (sink->length || sink->blocked);
}

void venv__sink_open(struct flow_sink *sink, int fd)
{
	sink->expected = false;
	sink->fd = fd;
	sink->blocked = fd >= 0; /* libssh may hold bytes: look when it can be written */
}

void venv__source_close(struct flow_source *source)
{
	if (source->fd >= 0)
		(void)close(source->fd);
	free(source->rest);
	*source = (struct flow_source){ .fd = -1, .is_stderr = source->is_stderr };
}

bool venv__flow_flushed(ssh_session session)
{
	return !(ssh_get_poll_flags(session) & SSH_WRITE_PENDING);
}

bool venv__source_waits(const struct flow_source *source, ssh_channel channel)
{
	return source->fd >= 0 && !source->length && ssh_channel_window_size(channel) > 0 &&
	       venv__flow_flushed(ssh_channel_get_session(channel));
}

/* Give bytes to libssh. @return how many it took, or -1 */
static ssize_t give(const struct flow_source *source, ssh_channel channel, const void *data,
		    size_t n)
{
	uint32_t window = ssh_channel_window_size(channel);
	int r;

	if (n > window)
		n = window;
	if (!n)
		return 0;
	r = source->is_stderr ? ssh_channel_write_stderr(channel, data, (uint32_t)n)
			      : ssh_channel_write(channel, data, (uint32_t)n);
	if (r == SSH_AGAIN)
		return 0;
	return r < 0 ? -1 : r;
}

static enum flow_state give_rest(struct flow_source *source, ssh_channel channel)
{
	ssize_t n = give(source, channel, source->rest + source->offset, source->length);

	if (n < 0)
		return FLOW_BROKEN;
	source->offset += (size_t)n;
	source->length -= (size_t)n;
	if (source->length)
		return FLOW_GOES_ON;
	free(source->rest);
	source->rest = NULL;
	source->offset = 0;
	return FLOW_GOES_ON;
}

static enum flow_state keep_rest(struct flow_source *source, const unsigned char *data, size_t n)
{
	source->rest = malloc(n);
	if (!source->rest)
		return FLOW_BROKEN;
	memcpy(source->rest, data, n);
	source->offset = 0;
	source->length = n;
	return FLOW_GOES_ON;
}

enum flow_state venv__source_run(struct flow_source *source, ssh_channel channel, bool readable)
{
	static unsigned char buffer[READ_SIZE];
	ssize_t n, given;

	if (source->length)
		return give_rest(source, channel);
	if (source->fd < 0)
		return FLOW_ENDED;
	if (!readable || !venv__source_waits(source, channel))
		return FLOW_GOES_ON;
	n = ssh_channel_window_size(channel);
	n = read(source->fd, buffer, n < READ_SIZE ? (size_t)n : READ_SIZE);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return FLOW_GOES_ON;
	if (n <= 0) { /* the end; EIO is how a terminal says it */
		venv__source_close(source);
		return FLOW_ENDED;
	}
	given = give(source, channel, buffer, (size_t)n);
	if (given < 0)
		return FLOW_BROKEN;
	return given < n ? keep_rest(source, buffer + given, (size_t)(n - given)) : FLOW_GOES_ON;
}
