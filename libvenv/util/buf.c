/* SPDX-License-Identifier: Apache-2.0 */
#include "buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

static bool reserve(struct buf *buf, size_t more)
{
	size_t capacity = buf->capacity ? buf->capacity : 64;
	char *data;

	if (buf->failed || more > SIZE_MAX / 2 - buf->length) {
		buf->failed = true;
		return false;
	}
	while (capacity < buf->length + more + 1)
		capacity *= 2;
	if (capacity == buf->capacity)
		return true;
	data = realloc(buf->data, capacity);
	if (!data) {
		buf->failed = true;
		return false;
	}
	buf->data = data;
	buf->capacity = capacity;
	return true;
}

void venv__buf_add(struct buf *buf, const void *data, size_t length)
{
	if (!reserve(buf, length))
		return;
	if (length)
		memcpy(buf->data + buf->length, data, length);
	buf->length += length;
	buf->data[buf->length] = '\0';
}

void venv__buf_puts(struct buf *buf, const char *text)
{
	venv__buf_add(buf, text, strlen(text));
}

void venv__buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0 || !reserve(buf, (size_t)n)) {
		buf->failed = true;
		return;
	}
	va_start(args, format);
	(void)vsnprintf(buf->data + buf->length, (size_t)n + 1, format, args);
	va_end(args);
	buf->length += (size_t)n;
}

char *venv__buf_steal(struct buf *buf)
{
	char *data;

	if (buf->failed)
		return NULL;
	if (!buf->data)
		return strdup("");
	data = buf->data;
	*buf = (struct buf){ 0 };
	return data;
}

void venv__buf_done(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){ 0 };
}

size_t venv__line(char *ret, size_t size, const char *prefix, const char *format, va_list args)
{
	size_t length = strlen(prefix), room;
	int n;

	if (size < length + 2)
		return 0;
	room = size - length - 1; /* for the text and a zero: the newline takes its place */
	memcpy(ret, prefix, length);
	n = vsnprintf(ret + length, room, format, args);
	if (n < 0)
		return 0;
	length += MIN((size_t)n, room - 1);
	ret[length++] = '\n';
	ret[length] = '\0';
	return length;
}

void venv__strv_free(char **list)
{
	if (!list)
		return;
	for (char **p = list; *p; p++)
		free(*p);
	free(list);
}

size_t venv__strv_count(char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

static int push(char ***list, char *owned)
{
	size_t n = venv__strv_count(*list);
	char **grown;

	if (!owned)
		return -ENOMEM;
	grown = realloc(*list, (n + 2) * sizeof(char *));
	if (!grown) {
		free(owned);
		return -ENOMEM;
	}
	grown[n] = owned;
	grown[n + 1] = NULL;
	*list = grown;
	return 0;
}

int venv__strv_add(char ***list, const char *text)
{
	return push(list, strdup(text));
}

int venv__strv_addf(char ***list, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	return push(list, n < 0 ? NULL : text);
}

char **venv__strv_copy(char *const *list)
{
	char **ret = calloc(venv__strv_count(list) + 1, sizeof(char *));

	if (!ret)
		return NULL;
	for (size_t i = 0; list && list[i]; i++) {
		ret[i] = strdup(list[i]);
		if (!ret[i]) {
			venv__strv_free(ret);
			return NULL;
		}
	}
	return ret;
}

bool venv__strv_has(char *const *list, const char *text)
{
	for (; list && *list; list++)
		if (strcmp(*list, text) == 0)
			return true;
	return false;
}

int venv__env_set(char ***list, const char *assignment)
{
	size_t name = strcspn(assignment, "=");
	char *text;

	for (char **p = *list; p && *p; p++) {
		if (strncmp(*p, assignment, name) != 0 || (*p)[name] != '=')
			continue;
		text = strdup(assignment);
		if (!text)
			return -ENOMEM;
		free(*p);
		*p = text;
		return 0;
	}
	return venv__strv_add(list, assignment);
}

const char *venv__env_get(char *const *list, const char *name)
{
	size_t n = strlen(name);

	for (; list && *list; list++)
		if (strncmp(*list, name, n) == 0 && (*list)[n] == '=')
			return *list + n + 1;
	return NULL;
}
