/* SPDX-License-Identifier: Apache-2.0 */
#include "dns.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	HEADER_LENGTH = 12,
	LABEL_MAX = 63,
	WIRE_NAME_MAX = 255,
	FLAG_RESPONSE = 0x80,      /* of byte 2 */
	FLAG_AUTHORITATIVE = 0x04, /* of byte 2 */
	FLAG_RECURSION_WANTED = 0x01,
	FLAG_RECURSION = 0x80, /* of byte 3 */
	OPCODE_MASK = 0x78,
	CLASS_IN = 1,
	TYPE_OPT = 41,
	OPT_LENGTH = 11, /* with the root as its name, and no options */
	OPT_FLAGS = 7,
	FLAG_PROOFS = 0x80, /* of the first byte of these */
	POINTER_TO_QUESTION = 0xc000 | HEADER_LENGTH,
};

static uint16_t read_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool is_plain(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* One label into the text. Compression has no place in a question: there is nothing to point to. */
static void add_label(struct dns_question *question, size_t *at, const uint8_t *label,
		      size_t length)
{
	if (*at)
		question->name[(*at)++] = '.';
	for (size_t i = 0; i < length; i++) {
		uint8_t c = label[i];

		if (c >= 'A' && c <= 'Z')
			c = (uint8_t)(c - 'A' + 'a');
		if (!is_plain(c)) {
			question->odd = true;
			c = '?';
		}
		question->name[(*at)++] = (char)c;
	}
}

static bool parse_name(const uint8_t *message, size_t length, struct dns_question *ret)
{
	size_t at = HEADER_LENGTH, text = 0;

	for (;;) {
		size_t label;

		if (at >= length)
			return false;
		label = message[at++];
		if (label == 0)
			break;
		if (label > LABEL_MAX || label > length - at ||
		    at - HEADER_LENGTH + label + 1 > WIRE_NAME_MAX)
			return false;
		add_label(ret, &text, message + at, label);
		at += label;
	}
	ret->name[text] = '\0';
	ret->end = at;
	return true;
}

int venv__dns_parse(const uint8_t *message, size_t length, struct dns_question *ret)
{
	*ret = (struct dns_question){ 0 };
	if (length < HEADER_LENGTH || message[2] & FLAG_RESPONSE)
		return -1;
	if (message[2] & OPCODE_MASK)
		return DNS_NOT_IMPLEMENTED;
	if (read_u16(message + 4) != 1 || !parse_name(message, length, ret) ||
	    length - ret->end < 4)
		return DNS_FORMAT_ERROR;
	ret->type = read_u16(message + ret->end);
	ret->class = read_u16(message + ret->end + 2);
	ret->end += 4;
	if (length - ret->end >= OPT_LENGTH && !message[ret->end] &&
	    read_u16(message + ret->end + 1) == TYPE_OPT)
		ret->dnssec = message[ret->end + OPT_FLAGS] & FLAG_PROOFS;
	return DNS_OK;
}

struct writer {
	uint8_t *data;
	size_t length;
};

static void put(struct writer *writer, const void *data, size_t length)
{
	memcpy(writer->data + writer->length, data, length);
	writer->length += length;
}

static void put_u16(struct writer *writer, unsigned value)
{
	put(writer, (const uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

/* A name of our own, which we know to be well-formed; anything else is cut to what fits. */
static void put_name(struct writer *writer, const char *name)
{
	size_t left = WIRE_NAME_MAX - 1;

	while (*name && left > 1) {
		size_t length = strcspn(name, "."), written = length;
		uint8_t size;

		if (written > LABEL_MAX)
			written = LABEL_MAX;
		if (written > left - 1)
			written = left - 1;
		size = (uint8_t)written;
		if (size) {
			put(writer, &size, 1);
			put(writer, name, size);
			left -= written + 1;
		}
		name += length;
		if (*name == '.')
			name++;
	}
	put(writer, "", 1);
}

static void begin_record(struct writer *writer, unsigned type)
{
	put_u16(writer, POINTER_TO_QUESTION);
	put_u16(writer, type);
	put_u16(writer, CLASS_IN);
	put_u16(writer, 0);
	put_u16(writer, DNS_TTL);
}

size_t venv__dns_reply(uint8_t reply[DNS_REPLY_MAX], const uint8_t *query,
		       const struct dns_question *question, int code, uint32_t address,
		       const char *name)
{
	struct writer writer = { .data = reply };
	bool answers = code == DNS_OK && (address || name);

	put(&writer, query, 2);
	put(&writer,
	    (const uint8_t[]){ (uint8_t)(FLAG_RESPONSE | FLAG_AUTHORITATIVE |
					 (query[2] & (OPCODE_MASK | FLAG_RECURSION_WANTED))),
			       (uint8_t)(FLAG_RECURSION | code) },
	    2);
	put_u16(&writer, question ? 1 : 0);
	put_u16(&writer, answers ? 1 : 0);
	put_u16(&writer, 0);
	put_u16(&writer, 0);
	if (!question)
		return writer.length;
	put(&writer, query + HEADER_LENGTH, question->end - HEADER_LENGTH);
	if (answers && address) {
		begin_record(&writer, DNS_TYPE_A);
		put_u16(&writer, 4);
		put_u16(&writer, address >> 16);
		put_u16(&writer, address & 0xffff);
	} else if (answers) {
		struct writer length = { 0 };
		size_t start;

		begin_record(&writer, DNS_TYPE_PTR);
		length.data = writer.data + writer.length;
		put_u16(&writer, 0);
		start = writer.length;
		put_name(&writer, name);
		put_u16(&length, (unsigned)(writer.length - start));
	}
	return writer.length;
}

bool venv__dns_matches(const uint8_t *query, size_t query_length, const uint8_t *answer,
		       size_t answer_length)
{
	struct dns_question question;

	if (answer_length < HEADER_LENGTH || !(answer[2] & FLAG_RESPONSE) ||
	    query[0] != answer[0] || query[1] != answer[1])
		return false;
	if (read_u16(answer + 4) == 0)
		return true; /* some errors come without the question */
	if (venv__dns_parse(query, query_length, &question) != DNS_OK ||
	    answer_length < question.end)
		return false;
	for (size_t i = HEADER_LENGTH; i < question.end; i++)
		if ((query[i] ^ answer[i]) & ~0x20) /* letters in either case */
			return false;
	return true;
}

bool venv__dns_reverse(const char *name, uint32_t *ret_address)
{
	unsigned byte[4];
	int used = 0;

	if (sscanf(name, "%3u.%3u.%3u.%3u%n", &byte[0], &byte[1], &byte[2], &byte[3], &used) != 4 ||
	    strcasecmp(name + used, ".in-addr.arpa") != 0)
		return false;
	for (int i = 0; i < 4; i++)
		if (byte[i] > 255)
			return false;
	*ret_address = byte[3] << 24 | byte[2] << 16 | byte[1] << 8 | byte[0];
	return true;
}
