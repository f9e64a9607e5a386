/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text: growable strings, UTF-8, columns, and the one way hostile text becomes harmless.
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define _printf_(string, first) __attribute__((__format__(printf, string, first)))
#define _cleanup_text_ __attribute__((cleanup(text_done)))

/* Zero is empty. data is always terminated once something was added; running out of memory ends the
 * program. */
struct text {
	char *data;
	size_t length;
	size_t size;
};

void text_done(struct text *text);
void text_clear(struct text *text);
void text_add_n(struct text *text, const char *bytes, size_t n);
void text_add(struct text *text, const char *string);
void text_add_char(struct text *text, char c);
void text_add_spaces(struct text *text, size_t n);
/* "" for an empty one. */
const char *text_string(const struct text *text);

/*
 * Like printf, for s, c, d, u, f with the usual lengths. What comes as %s is taken to be hostile: line
 * ends, control and bidi characters in it become visible. A width on %s counts columns.
 */
void text_format(struct text *text, const char *format, ...) _printf_(2, 3);
void text_vformat(struct text *text, const char *format, va_list args) _printf_(2, 0);
/* Add hostile text of one line: every control character becomes visible. */
void text_add_visible(struct text *text, const char *bytes, size_t n);
/* Add as a JSON string with its quotes; valid JSON and plain to see, whatever the bytes are. */
void text_add_json(struct text *text, const char *string);

/* Decode one character. Returns its length; *ret is -1 for a byte that is not UTF-8. */
size_t utf8_next(const char *bytes, size_t n, int32_t *ret);
/* Columns that a character takes: 0, 1 or 2. */
unsigned char_columns(int32_t c);
/* Must it be written as an escape sequence to be seen (or to do no harm)? */
bool char_is_hidden(int32_t c);
/* Columns of a string that is visible already. */
size_t text_columns(const char *string);
/* The number of bytes of string that fit into so many columns. */
size_t text_fit(const char *string, size_t columns);

/* "203 MB", "1.2 kB": powers of 1000, three digits. */
void text_add_bytes(struct text *text, uint64_t bytes);
/* "0.06 s", "3.2 s", "2 min 5 s". */
void text_add_duration(struct text *text, uint64_t microseconds);
/* The word of a NULL-terminated list that is nearest to word and near enough, or NULL. */
const char *text_nearest(const char *word, const char *const *list);

/* Ends the program when there is no memory. */
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *pointer, size_t n, size_t size);
char *xstrdup(const char *string);

#endif
