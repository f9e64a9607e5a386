/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void out_of_memory(void)
{
	static const char message[] = "error: out of memory\n";

	if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
		exit(1);
	exit(1);
}

void *xcalloc(size_t n, size_t size)
{
	void *pointer = calloc(n ? n : 1, size);

	if (!pointer)
		out_of_memory();
	return pointer;
}

void *xrealloc(void *pointer, size_t n, size_t size)
{
	void *moved = reallocarray(pointer, n ? n : 1, size);

	if (!moved)
		out_of_memory();
	return moved;
}

char *xstrdup(const char *string)
{
	char *copy = strdup(string);

	if (!copy)
		out_of_memory();
	return copy;
}

void text_done(struct text *text)
{
	free(text->data);
	*text = (struct text){ 0 };
}

void text_clear(struct text *text)
{
	text->length = 0;
	if (text->data)
		text->data[0] = '\0';
}

void text_add_n(struct text *text, const char *bytes, size_t n)
{
	if (text->size - text->length <= n) {
		text->size = (text->length + n + 1) * 2 < 64 ? 64 : (text->length + n + 1) * 2;
		text->data = xrealloc(text->data, text->size, 1);
	}
	if (n)
		memcpy(text->data + text->length, bytes, n);
	text->length += n;
	text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
	text_add_n(text, string, strlen(string));
}

void text_add_char(struct text *text, char c)
{
	text_add_n(text, &c, 1);
}

void text_add_spaces(struct text *text, size_t n)
{
	while (n--)
		text_add_char(text, ' ');
}

const char *text_string(const struct text *text)
{
	return text->data ? text->data : "";
}

/* NOLINTBEGIN(clang-analyzer-valist.*): it does not follow a va_list through a pointer */

/* One conversion of text_vformat(), taken apart. */
struct conversion {
	bool left;
	int width;
	int precision; /* -1: none */
	char length;   /* 0, 'l', 'z' */
	char kind;
};

static int read_number(const char **p, va_list *args)
{
	int number = 0;

	if (**p == '*') {
		(*p)++;
		return va_arg(*args, int);
	}
	while (**p >= '0' && **p <= '9')
		number = number * 10 + (*(*p)++ - '0');
	return number;
}

/* p stands behind the percent sign; returns what is behind the conversion. */
static const char *read_conversion(const char *p, struct conversion *ret, va_list *args)
{
	struct conversion c = { .precision = -1 };

	for (; *p == '-' || *p == '0'; p++)
		c.left |= *p == '-';
	c.width = read_number(&p, args);
	if (*p == '.') {
		p++;
		c.precision = read_number(&p, args);
	}
	for (; *p == 'l' || *p == 'z'; p++)
		c.length = *p;
	c.kind = *p ? *p++ : '%';
	*ret = c;
	return p;
}

static void add_padded(struct text *text, const struct conversion *c, const struct text *value)
{
	size_t columns = text_columns(text_string(value));
	size_t pad = c->width > 0 && (size_t)c->width > columns ? (size_t)c->width - columns : 0;

	if (!c->left)
		text_add_spaces(text, pad);
	text_add_n(text, text_string(value), value->length);
	if (c->left)
		text_add_spaces(text, pad);
}

static void add_conversion(struct text *text, const struct conversion *c, va_list *args)
{
	_cleanup_text_ struct text value = { 0 };
	char number[64] = "";
	const char *string;

	if (c->kind == 's') {
		string = va_arg(*args, const char *);
		if (!string)
			string = "";
		text_add_visible(&value, string,
				 c->precision < 0 ? strlen(string)
						  : strnlen(string, (size_t)c->precision));
	} else if (c->kind == 'f') {
		(void)snprintf(number, sizeof(number), "%.*f", c->precision < 0 ? 6 : c->precision,
			       va_arg(*args, double));
	} else if (c->kind == 'c') {
		number[0] = (char)va_arg(*args, int);
	} else if (c->kind == 'd') {
		(void)snprintf(number, sizeof(number), "%ld",
			       c->length ? va_arg(*args, long) : (long)va_arg(*args, int));
	} else if (c->kind == 'u') {
		(void)snprintf(number, sizeof(number), "%lu",
			       c->length ? va_arg(*args, unsigned long)
					 : (unsigned long)va_arg(*args, unsigned));
	} else {
		number[0] = c->kind;
	}
	text_add(&value, number);
	add_padded(text, c, &value);
}

void text_vformat(struct text *text, const char *format, va_list args)
{
	struct conversion conversion;
	va_list copy;
	size_t n;

	va_copy(copy, args);
	while (*format) {
		n = strcspn(format, "%");
		text_add_n(text, format, n);
		format += n;
		if (!*format)
			break;
		format = read_conversion(format + 1, &conversion, &copy);
		add_conversion(text, &conversion, &copy);
	}
	va_end(copy);
}

/* NOLINTEND(clang-analyzer-valist.*) */

void text_format(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_vformat(text, format, args);
	va_end(args);
}

void text_add_bytes(struct text *text, uint64_t bytes)
{
	static const char *const units[] = { "kB", "MB", "GB", "TB", "PB" };
	double value = (double)bytes;
	size_t i = 0;

	if (bytes < 1000) {
		text_format(text, "%lu B", (unsigned long)bytes);
		return;
	}
	for (value /= 1000; value >= 999.5 && i + 1 < ARRAY_SIZE(units); i++)
		value /= 1000;
	text_format(text, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[i]);
}

void text_add_duration(struct text *text, uint64_t microseconds)
{
	double seconds = (double)microseconds / 1e6;
	unsigned long whole = (unsigned long)(seconds + 0.5);

	if (microseconds < 1000000)
		text_format(text, "%.*f s", microseconds < 10000 ? 3 : 2, seconds);
	else if (seconds < 59.95)
		text_format(text, "%.1f s", seconds);
	else if (whole < 3600)
		text_format(text, "%lu min %lu s", whole / 60, whole % 60);
	else
		text_format(text, "%lu h %lu min", whole / 3600, whole % 3600 / 60);
}

/* Edits (insert, remove, replace, swap neighbours) from a to b; words longer than 31 are far away. */
static unsigned distance(const char *a, const char *b)
{
	enum { N = 32 };
	unsigned d[N][N];
	size_t la = strlen(a), lb = strlen(b);

	if (la >= N || lb >= N)
		return N;
	for (size_t i = 0; i <= la; i++)
		for (size_t j = 0; j <= lb; j++) {
			unsigned best;

			if (!i || !j) {
				d[i][j] = (unsigned)(i + j);
				continue;
			}
			best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[la][lb];
}

const char *text_nearest(const char *word, const char *const *list)
{
	unsigned best = (unsigned)strlen(word) / 3, d;
	const char *found = NULL;

	best = best ? best : 1;
	for (; *list; list++) {
		d = distance(word, *list);
		if (d <= best && (!found || d < best)) {
			best = d;
			found = *list;
		}
	}
	return found;
}
