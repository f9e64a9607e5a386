/* SPDX-License-Identifier: Apache-2.0 */
#include "aml.h"

#include <assert.h>
#include <string.h>

enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_EXTENDED = 0x5b,
	OP_ARGUMENT_0 = 0x68,
	OP_DEVICE = 0x82, /* after OP_EXTENDED */
	OP_NOTIFY = 0x86,
	OP_EQUAL = 0x93,
	OP_IF = 0xa0,
};

static void put(struct aml *aml, const void *data, size_t size)
{
	venv__buf_add(&aml->bytes, data, size);
}

static void put_byte(struct aml *aml, unsigned value)
{
	uint8_t byte = (uint8_t)value;

	put(aml, &byte, 1);
}

/* Put bytes before what is there from `at` on. */
static void insert(struct aml *aml, size_t at, const uint8_t *data, size_t size)
{
	size_t tail = aml->bytes.length - at;

	put(aml, data, size); /* makes room */
	if (aml->bytes.failed)
		return;
	memmove(aml->bytes.data + at + size, aml->bytes.data + at, tail);
	memcpy(aml->bytes.data + at, data, size);
}

static void open_block(struct aml *aml, bool resources)
{
	assert(aml->depth < AML_DEPTH_MAX);
	aml->open[aml->depth++] = (struct aml_open){ aml->bytes.length, resources };
}

static void put_name(struct aml *aml, const char *name)
{
	assert(strlen(name) == 4);
	put(aml, name, 4);
}

void aml_scope(struct aml *aml, const char *name)
{
	put_byte(aml, OP_SCOPE);
	open_block(aml, false);
	put_name(aml, name);
}

void aml_device(struct aml *aml, const char *name)
{
	put_byte(aml, OP_EXTENDED);
	put_byte(aml, OP_DEVICE);
	open_block(aml, false);
	put_name(aml, name);
}

void aml_method(struct aml *aml, const char *name, uint8_t arguments)
{
	enum { SERIALIZED = 8 };

	put_byte(aml, OP_METHOD);
	open_block(aml, false);
	put_name(aml, name);
	put_byte(aml, arguments | SERIALIZED);
}

void aml_package(struct aml *aml, uint8_t elements)
{
	put_byte(aml, OP_PACKAGE);
	open_block(aml, false);
	put_byte(aml, elements);
}

void aml_if_argument(struct aml *aml, uint64_t value)
{
	put_byte(aml, OP_IF);
	open_block(aml, false);
	put_byte(aml, OP_EQUAL);
	put_byte(aml, OP_ARGUMENT_0);
	aml_integer(aml, value);
}

void aml_resources(struct aml *aml)
{
	put_byte(aml, OP_BUFFER);
	open_block(aml, true);
}

/* The size of a buffer counts the end tag, which has no checksum (0). */
static void end_resources(struct aml *aml, size_t at)
{
	static const uint8_t end_tag[] = { 0x79, 0x00 };
	size_t size;
	uint8_t head[3];

	put(aml, end_tag, sizeof(end_tag));
	size = aml->bytes.length - at;
	head[0] = size <= UINT8_MAX ? OP_BYTE : OP_WORD;
	head[1] = (uint8_t)size;
	head[2] = (uint8_t)(size >> 8);
	insert(aml, at, head, size <= UINT8_MAX ? 2 : 3);
}

/*
 * The length counts itself. In one byte up to 63; else the first holds the number of bytes that
 * follow (bits 7-6) and the lowest four bits.
 */
void aml_end(struct aml *aml)
{
	const struct aml_open *open;
	size_t length, extra = 0;
	uint8_t head[4];

	assert(aml->depth > 0);
	open = &aml->open[--aml->depth];
	if (open->resources)
		end_resources(aml, open->at);
	length = aml->bytes.length - open->at + 1;
	if (length <= 63) {
		head[0] = (uint8_t)length;
	} else {
		while (length + extra >= (size_t)1 << (4 + 8 * extra))
			extra++;
		length += extra;
		head[0] = (uint8_t)(extra << 6 | (length & 15));
		for (size_t i = 0; i < extra; i++)
			head[1 + i] = (uint8_t)(length >> (4 + 8 * i));
	}
	insert(aml, open->at, head, 1 + extra);
}

void aml_name(struct aml *aml, const char *name)
{
	put_byte(aml, OP_NAME);
	put_name(aml, name);
}

void aml_integer(struct aml *aml, uint64_t value)
{
	static const struct {
		uint64_t max;
		uint8_t op, size;
	} kinds[] = {
		{ 0, OP_ZERO, 0 },           { 1, OP_ONE, 0 },
		{ UINT8_MAX, OP_BYTE, 1 },   { UINT16_MAX, OP_WORD, 2 },
		{ UINT32_MAX, OP_DWORD, 4 }, { UINT64_MAX, OP_QWORD, 8 },
	};
	size_t i = 0;

	while (value > kinds[i].max)
		i++;
	put_byte(aml, kinds[i].op);
	put(aml, &value, kinds[i].size);
}

void aml_string(struct aml *aml, const char *text)
{
	put_byte(aml, OP_STRING);
	put(aml, text, strlen(text) + 1);
}

static unsigned hex_digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters in five bits each, four hex digits, the bytes swapped. */
void aml_eisa_id(struct aml *aml, const char *id)
{
	uint32_t value;

	assert(strlen(id) == 7);
	value = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
		(uint32_t)(id[2] - '@') << 16;
	for (unsigned i = 0; i < 4; i++)
		value |= hex_digit(id[3 + i]) << (12 - 4 * i);
	value = __builtin_bswap32(value);
	put_byte(aml, OP_DWORD);
	put(aml, &value, sizeof(value));
}

void aml_notify(struct aml *aml, const char *name, uint8_t value)
{
	put_byte(aml, OP_NOTIFY);
	put_name(aml, name);
	aml_integer(aml, value);
}

void aml_io(struct aml *aml, uint16_t port, uint8_t length)
{
	const uint8_t low = (uint8_t)port, high = (uint8_t)(port >> 8);
	const uint8_t descriptor[] = { 0x47, 0x01, low, high, low, high, 1, length };

	put(aml, descriptor, sizeof(descriptor));
}

static void put_u32(struct aml *aml, uint32_t value)
{
	put(aml, &value, sizeof(value));
}

void aml_memory(struct aml *aml, uint32_t address, uint32_t length)
{
	static const uint8_t head[] = { 0x86, 9, 0, 0x01 }; /* read and write */

	put(aml, head, sizeof(head));
	put_u32(aml, address);
	put_u32(aml, length);
}

void aml_interrupt(struct aml *aml, uint32_t gsi)
{
	static const uint8_t head[] = { 0x89, 6, 0, 0x03, 1 }; /* consumer, edge; one of them */

	put(aml, head, sizeof(head));
	put_u32(aml, gsi);
}

void aml_bus_window(struct aml *aml, uint16_t first, uint16_t last)
{
	static const uint8_t head[] = { 0x88, 13, 0, 2, 0x0c, 0 }; /* both ends fixed */
	const uint16_t body[] = { 0, first, last, 0, (uint16_t)(last - first + 1) };

	put(aml, head, sizeof(head));
	put(aml, body, sizeof(body));
}

void aml_memory_window(struct aml *aml, uint32_t first, uint32_t last)
{
	static const uint8_t head[] = { 0x87, 23, 0, 0, 0x0c, 0x01 };
	const uint32_t body[] = { 0, first, last, 0, last - first + 1 };

	put(aml, head, sizeof(head));
	put(aml, body, sizeof(body));
}
