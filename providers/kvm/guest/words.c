/* SPDX-License-Identifier: Apache-2.0 */
#include "words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool words_valid(const struct words *words)
{
	return !words->length || words->data[words->length - 1] == '\0';
}

const char *words_next(const struct words *words, const char *at)
{
	const char *next = at ? at + strlen(at) + 1 : words->data;

	return words->length && next < words->data + words->length ? next : NULL;
}

const char *words_each(const struct words *words, const char *key, const char **at)
{
	size_t length = strlen(key);

	while ((*at = words_next(words, *at)))
		if (strncmp(*at, key, length) == 0 && (*at)[length] == '=')
			return *at + length + 1;
	return NULL;
}

const char *words_get(const struct words *words, const char *key)
{
	const char *at = NULL;

	return words_each(words, key, &at);
}

long words_number(const struct words *words, const char *key, long max, long otherwise)
{
	const char *text = words_get(words, key);
	char *end;
	long value;

	if (!text || *text < '0' || *text > '9')
		return otherwise;
	errno = 0;
	value = strtol(text, &end, 10);
	return errno || *end || value > max ? otherwise : value;
}

size_t words_count(const struct words *words, const char *key)
{
	const char *at = NULL;
	size_t n = 0;

	while (words_each(words, key, &at))
		n++;
	return n;
}

static void put(struct words_out *out, const char *key, const char *value)
{
	size_t key_length = key ? strlen(key) + 1 : 0, length = strlen(value) + 1;

	if (out->full || key_length + length > out->size - out->length) {
		out->full = true;
		return;
	}
	if (key) {
		memcpy(out->data + out->length, key, key_length - 1);
		out->data[out->length + key_length - 1] = '=';
	}
	memcpy(out->data + out->length + key_length, value, length);
	out->length += key_length + length;
}

void words_add(struct words_out *out, const char *word)
{
	put(out, NULL, word);
}

void words_set(struct words_out *out, const char *key, const char *value)
{
	if (value)
		put(out, key, value);
}

void words_set_number(struct words_out *out, const char *key, long value)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%ld", value);
	put(out, key, text);
}
