/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file in which a machine's state is kept, but for its memory.
 *
 *   magic (8 bytes), format version, architecture, then sections:
 *   tag, version, length (each 32 bits), CRC-32 of the content, content
 *
 * All little-endian. A section whose tag begins with a small letter may be skipped by who does not know
 * it. The last one has the tag "END " and no content.
 *   Each object's x_save() writes one section, each x_load() reads it again, in the same order. Errors
 * stick: puts and gets need no checks, state_end() and state_leave() tell. What a get delivers after a
 * failure is zeroes. x_load() checks what it has read as if a stranger had written it: -EPROTO.
 */
#ifndef VMM_STATE_H
#define VMM_STATE_H

#include <stdint.h>

#include "util/buf.h"
#include "util/error.h"

#define STATE_TAG(a, b, c, d)                                                                      \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

enum { STATE_FILE_MAX = 64 * 1024 * 1024 };

struct state_writer {
	int fd;
	struct buf section;
	uint32_t tag, version;
	int failed; /* 0 or -errno */
};

struct state_reader {
	const uint8_t *data;
	size_t size, at;
	size_t section_end; /* 0: between sections */
	void *owned;
	uint32_t tag; /* of the section read last, for messages */
	int failed;
};

/* Begins the file; the descriptor stays the caller's. */
void state_writer_init(struct state_writer *writer, int fd);
void state_writer_done(struct state_writer *writer);
void state_begin(struct state_writer *writer, uint32_t tag, uint32_t version);
void state_put(struct state_writer *writer, const void *data, size_t size);
void state_put_u8(struct state_writer *writer, uint8_t value);
void state_put_u16(struct state_writer *writer, uint16_t value);
void state_put_u32(struct state_writer *writer, uint32_t value);
void state_put_u64(struct state_writer *writer, uint64_t value);
int state_end(struct state_writer *writer);    /* of the section; 0 or -errno */
int state_finish(struct state_writer *writer); /* of the file; 0 or -errno */

/* Reads the whole file, from its start: VENV_ERR_CORRUPT, VENV_ERR_UNSUPPORTED (a later format). */
int state_reader_open(struct state_reader *reader, int fd, venv_error **err);
/* The same from bytes of the caller's, which must stay. */
int state_reader_init(struct state_reader *reader, const void *data, size_t size, venv_error **err);
void state_reader_done(struct state_reader *reader);
/*
 * The next section must have this tag; skips optional ones before it.
 * @return its version, from 1 to newest, or -ENOENT, -EPROTO (damaged), -ENOTSUP (a later version)
 */
int state_enter(struct state_reader *reader, uint32_t tag, uint32_t newest);
/* Go back to the start; then to the first section with this tag, unless that is 0. 0, -ENOENT, -EPROTO */
int state_seek(struct state_reader *reader, uint32_t tag);
void state_get(struct state_reader *reader, void *data, size_t size);
uint8_t state_get_u8(struct state_reader *reader);
uint16_t state_get_u16(struct state_reader *reader);
uint32_t state_get_u32(struct state_reader *reader);
uint64_t state_get_u64(struct state_reader *reader);
size_t state_left(const struct state_reader *reader); /* bytes of the section */
int state_leave(struct state_reader *reader); /* all of it must have been read; 0 or -errno */
bool state_at_end(struct state_reader *reader);

#endif
