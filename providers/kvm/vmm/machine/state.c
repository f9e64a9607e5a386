/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "util/file.h"

static const char magic[8] = "VENVVMM";

enum { FORMAT = 1, X86_64 = 62, TAG_END = STATE_TAG('E', 'N', 'D', ' ') };

struct file_header {
	char magic[8];
	uint32_t format, architecture;
};

struct section_header {
	uint32_t tag, version, length, crc;
};

static uint32_t checksum(const void *data, size_t size)
{
	return (uint32_t)crc32(0, data, (unsigned)size);
}

static void emit(struct state_writer *writer, const void *data, size_t size)
{
	int r;

	if (writer->failed || size == 0)
		return;
	r = venv__write_all(writer->fd, data, size);
	if (r < 0)
		writer->failed = r;
}

void state_writer_init(struct state_writer *writer, int fd)
{
	struct file_header header = { .format = FORMAT, .architecture = X86_64 };

	*writer = (struct state_writer){ .fd = fd };
	memcpy(header.magic, magic, sizeof(magic));
	emit(writer, &header, sizeof(header));
}

void state_writer_done(struct state_writer *writer)
{
	venv__buf_done(&writer->section);
}

void state_begin(struct state_writer *writer, uint32_t tag, uint32_t version)
{
	writer->tag = tag;
	writer->version = version;
	writer->section.length = 0;
}

void state_put(struct state_writer *writer, const void *data, size_t size)
{
	venv__buf_add(&writer->section, data, size);
}

void state_put_u8(struct state_writer *writer, uint8_t value)
{
	state_put(writer, &value, sizeof(value));
}

void state_put_u16(struct state_writer *writer, uint16_t value)
{
	state_put(writer, &value, sizeof(value));
}

void state_put_u32(struct state_writer *writer, uint32_t value)
{
	state_put(writer, &value, sizeof(value));
}

void state_put_u64(struct state_writer *writer, uint64_t value)
{
	state_put(writer, &value, sizeof(value));
}

int state_end(struct state_writer *writer)
{
	const struct buf *content = &writer->section;
	struct section_header header = { writer->tag, writer->version, (uint32_t)content->length,
					 checksum(content->data, content->length) };

	if (content->failed)
		writer->failed = -ENOMEM;
	else if (content->length > STATE_FILE_MAX)
		writer->failed = -EFBIG;
	emit(writer, &header, sizeof(header));
	emit(writer, content->data, content->length);
	return writer->failed;
}

int state_finish(struct state_writer *writer)
{
	state_begin(writer, TAG_END, 1);
	return state_end(writer);
}

int state_reader_init(struct state_reader *reader, const void *data, size_t size, venv_error **err)
{
	struct file_header header;

	*reader = (struct state_reader){ .data = data, .size = size };
	if (size < sizeof(header))
		return venv__fail(err, VENV_ERR_CORRUPT, "the state of the machine is cut short");
	memcpy(&header, data, sizeof(header));
	if (memcmp(header.magic, magic, sizeof(magic)) != 0 || header.architecture != X86_64)
		return venv__fail(err, VENV_ERR_CORRUPT, "this is no state of a machine");
	if (header.format != FORMAT)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "the state of the machine has format %u, this version knows %d",
				  header.format, FORMAT);
	reader->at = sizeof(header);
	return 0;
}

int state_reader_open(struct state_reader *reader, int fd, venv_error **err)
{
	char *data = NULL;
	size_t size;
	int r;

	*reader = (struct state_reader){ 0 };
	if (lseek(fd, 0, SEEK_SET) < 0)
		return venv__fail_errno(err, errno, "cannot read the state of the machine");
	r = venv__fd_read(fd, "state", STATE_FILE_MAX, &data, &size, err);
	if (r < 0)
		return r;
	r = state_reader_init(reader, data, size, err);
	reader->owned = data;
	return r;
}

void state_reader_done(struct state_reader *reader)
{
	free(take_ptr(reader->owned));
}

/* @return whether there is a section at `at` that is whole; does not look at what is in it */
static bool peek(const struct state_reader *reader, size_t at, struct section_header *ret)
{
	if (reader->size - at < sizeof(*ret))
		return false;
	memcpy(ret, reader->data + at, sizeof(*ret));
	return ret->length <= reader->size - at - sizeof(*ret);
}

static bool is_optional(uint32_t tag)
{
	char first = (char)(tag & 0xff);

	return first >= 'a' && first <= 'z';
}

/* Find a section from here on, over optional ones. */
static int find(struct state_reader *reader, uint32_t tag, struct section_header *ret)
{
	size_t at = reader->at;

	for (;;) {
		if (!peek(reader, at, ret))
			return -EPROTO;
		if (ret->tag == tag)
			break;
		if (!is_optional(ret->tag))
			return -ENOENT;
		at += sizeof(*ret) + ret->length;
	}
	reader->at = at + sizeof(*ret);
	return 0;
}

static int fail(struct state_reader *reader, int error)
{
	reader->failed = error;
	return error;
}

int state_enter(struct state_reader *reader, uint32_t tag, uint32_t newest)
{
	struct section_header header = { 0 };
	int r = reader->failed;

	reader->tag = tag;
	if (r == 0 && reader->section_end)
		r = -EPROTO;
	if (r == 0)
		r = find(reader, tag, &header);
	if (r < 0)
		return fail(reader, r);
	if (checksum(reader->data + reader->at, header.length) != header.crc || header.version == 0)
		return fail(reader, -EPROTO);
	if (header.version > newest)
		return fail(reader, -ENOTSUP);
	reader->section_end = reader->at + header.length;
	return (int)header.version;
}

int state_seek(struct state_reader *reader, uint32_t tag)
{
	struct section_header header = { 0 };

	reader->at = sizeof(struct file_header);
	reader->section_end = 0;
	if (tag == 0 || reader->failed)
		return reader->failed;
	for (;;) {
		if (!peek(reader, reader->at, &header))
			return fail(reader, -EPROTO);
		if (header.tag == tag)
			return 0;
		if (header.tag == TAG_END)
			return fail(reader, -ENOENT);
		reader->at += sizeof(header) + header.length;
	}
}

size_t state_left(const struct state_reader *reader)
{
	return reader->failed || !reader->section_end ? 0 : reader->section_end - reader->at;
}

void state_get(struct state_reader *reader, void *data, size_t size)
{
	memset(data, 0, size);
	if (state_left(reader) < size) {
		if (!reader->failed)
			reader->failed = -EPROTO;
		return;
	}
	memcpy(data, reader->data + reader->at, size);
	reader->at += size;
}

uint8_t state_get_u8(struct state_reader *reader)
{
	uint8_t value;

	state_get(reader, &value, sizeof(value));
	return value;
}

uint16_t state_get_u16(struct state_reader *reader)
{
	uint16_t value;

	state_get(reader, &value, sizeof(value));
	return value;
}

uint32_t state_get_u32(struct state_reader *reader)
{
	uint32_t value;

	state_get(reader, &value, sizeof(value));
	return value;
}

uint64_t state_get_u64(struct state_reader *reader)
{
	uint64_t value;

	state_get(reader, &value, sizeof(value));
	return value;
}

int state_leave(struct state_reader *reader)
{
	if (!reader->failed && reader->at != reader->section_end)
		reader->failed = -EPROTO;
	reader->section_end = 0;
	return reader->failed;
}

bool state_at_end(struct state_reader *reader)
{
	struct section_header header = { 0 };

	return !reader->failed && !reader->section_end && peek(reader, reader->at, &header) &&
	       header.tag == TAG_END;
}
