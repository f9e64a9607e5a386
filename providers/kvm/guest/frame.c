/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint32_t load(const unsigned char *from)
{
	uint32_t value;

	memcpy(&value, from, sizeof(value));
	return le32toh(value);
}

static void store(unsigned char *to, uint32_t value)
{
	value = htole32(value);
	memcpy(to, &value, sizeof(value));
}

static bool header_ok(const unsigned char *header)
{
	return load(header) <= AGENT_FRAME_MAX && header[4] >= AGENT_REQUEST &&
	       header[4] < AGENT_TYPES && !header[5] && !header[6] && !header[7];
}

/* How many bytes the frame has that is being read, as far as that is known. */
static size_t wanted(const struct agent_stream *stream)
{
	return stream->in_length < AGENT_HEADER ? AGENT_HEADER : AGENT_HEADER + load(stream->in);
}

static int fill(struct agent_stream *stream)
{
	while (stream->in_length < wanted(stream)) {
		ssize_t n = read(stream->fd, stream->in + stream->in_length,
				 wanted(stream) - stream->in_length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		stream->in_length += (size_t)n;
		if (stream->in_length == AGENT_HEADER && !header_ok(stream->in))
			return -EPROTO;
	}
	return 1;
}

int agent_stream_read(struct agent_stream *stream, struct agent_frame *ret)
{
	int r = fill(stream);

	if (r <= 0)
		return r == 0 && stream->in_length ? -EPROTO : r;
	ret->type = (enum agent_type)stream->in[4];
	ret->data = stream->in + AGENT_HEADER;
	ret->length = load(stream->in);
	stream->in_length = 0;
	return 1;
}

bool agent_stream_has_room(const struct agent_stream *stream, size_t length)
{
	return length <= AGENT_FRAME_MAX &&
	       stream->out_length - stream->out_at + AGENT_HEADER + length <= sizeof(stream->out);
}

bool agent_stream_put(struct agent_stream *stream, enum agent_type type, const void *data,
		      size_t length)
{
	unsigned char *to;

	if (!agent_stream_has_room(stream, length))
		return false;
	memmove(stream->out, stream->out + stream->out_at, stream->out_length - stream->out_at);
	stream->out_length -= stream->out_at;
	stream->out_at = 0;
	to = stream->out + stream->out_length;
	store(to, (uint32_t)length);
	store(to + 4, (uint32_t)type);
	if (length)
		memcpy(to + AGENT_HEADER, data, length);
	stream->out_length += AGENT_HEADER + length;
	return true;
}

bool agent_stream_put_numbers(struct agent_stream *stream, enum agent_type type, uint32_t a,
			      const uint32_t *b)
{
	unsigned char bytes[8];

	store(bytes, a);
	store(bytes + 4, b ? *b : 0);
	return agent_stream_put(stream, type, bytes, b ? 8 : 4);
}

int agent_stream_flush(struct agent_stream *stream)
{
	while (stream->out_at < stream->out_length) {
		ssize_t n = send(stream->fd, stream->out + stream->out_at,
				 stream->out_length - stream->out_at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		stream->out_at += (size_t)n;
	}
	return 0;
}

bool agent_stream_waits(const struct agent_stream *stream)
{
	return stream->out_at < stream->out_length;
}

uint32_t agent_number(const struct agent_frame *frame, size_t index)
{
	return frame->length < 4 * (index + 1) ? 0 : load(frame->data + 4 * index);
}
