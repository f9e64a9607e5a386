/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames over a stream socket that does not block (protocol.h), the same for both ends. What the other end
 * sends is hostile: nothing is kept beyond one frame, and no more is read than belongs to it, because
 * what follows a reply may be no frame any more.
 */
#ifndef VENV_KVM_GUEST_FRAME_H
#define VENV_KVM_GUEST_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"
#include "words.h"

struct agent_stream {
	int fd; /* the caller's */
	size_t in_length, out_at, out_length;
	unsigned char in[AGENT_HEADER + AGENT_FRAME_MAX];
	unsigned char out[AGENT_HEADER + AGENT_FRAME_MAX];
};

struct agent_frame { /* valid until the next one is read */
	enum agent_type type;
	const unsigned char *data;
	size_t length;
};

/*
 * The next frame.
 * @return 1; 0: at the end of the stream; -EAGAIN: not yet all there; -EPROTO: none that there can be;
 * another -errno
 */
int agent_stream_read(struct agent_stream *stream, struct agent_frame *ret);
/* Does a frame with so many bytes fit? */
bool agent_stream_has_room(const struct agent_stream *stream, size_t length);
/* false: no room, or too long */
bool agent_stream_put(struct agent_stream *stream, enum agent_type type, const void *data,
		      size_t length);
bool agent_stream_put_numbers(struct agent_stream *stream, enum agent_type type, uint32_t a,
			      const uint32_t *b);
/* Send what was put: 0 when it is gone, -EAGAIN, another -errno. */
int agent_stream_flush(struct agent_stream *stream);
bool agent_stream_waits(const struct agent_stream *stream); /* is there something to send? */

uint32_t agent_number(const struct agent_frame *frame, size_t index); /* 0: there is none */

#endif
