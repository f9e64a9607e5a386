/* SPDX-License-Identifier: Apache-2.0 */
/* Text that grows, and lists of strings that end with NULL. */
#ifndef VENV_UTIL_BUF_H
#define VENV_UTIL_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"

struct buf {
	char *data;    /* always ends with a zero when not NULL */
	size_t length; /* without that zero */
	size_t capacity;
	bool failed; /* out of memory: sticky, so that only the end must check */
};

void venv__buf_add(struct buf *buf, const void *data, size_t length);
void venv__buf_puts(struct buf *buf, const char *text);
void venv__buf_printf(struct buf *buf, const char *format, ...) _printf_(2, 3);
/* The text, owned by the caller, "" when nothing was added; NULL when memory failed. */
char *venv__buf_steal(struct buf *buf);
void venv__buf_done(struct buf *buf);
#define _cleanup_buf_ _cleanup_(venv__buf_done)

/* prefix, text and a newline, the text cut to fit. @return the length, without the zero behind it; 0: failure */
size_t venv__line(char *ret, size_t size, const char *prefix, const char *format, va_list args)
	_printf_(4, 0);

void venv__strv_free(char **list);
size_t venv__strv_count(char *const *list);
/* Append a copy; 0 or -ENOMEM. A NULL *list is an empty one. */
int venv__strv_add(char ***list, const char *text);
int venv__strv_addf(char ***list, const char *format, ...) _printf_(2, 3);
char **venv__strv_copy(char *const *list);
bool venv__strv_has(char *const *list, const char *text);
/* Set NAME=value in an environment list, replacing an entry of that name; 0 or -ENOMEM. */
int venv__env_set(char ***list, const char *assignment);
const char *venv__env_get(char *const *list, const char *name);
DEFINE_CLEANUP(char **, venv__cleanup_strv, venv__strv_free)
#define _cleanup_strv_ _cleanup_(venv__cleanup_strv)

#endif
