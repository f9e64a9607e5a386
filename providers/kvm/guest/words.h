/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of texts that each end with a NUL (protocol.h). No allocation: they lie in somebody's buffer. */
#ifndef VENV_KVM_GUEST_WORDS_H
#define VENV_KVM_GUEST_WORDS_H

#include <stdbool.h>
#include <stddef.h>

struct words {
	const char *data;
	size_t length;
};

bool words_valid(const struct words *words); /* does the last one end? */
/* The one after `at`, or the first when that is NULL; NULL at the end. */
const char *words_next(const struct words *words, const char *at);
/* The value of the next KEY=VALUE after *at (NULL: from the start), which is moved on; NULL: no more */
const char *words_each(const struct words *words, const char *key, const char **at);
const char *words_get(const struct words *words, const char *key); /* NULL: there is none */
/* Decimal, 0 to max; otherwise when it is missing or something else. */
long words_number(const struct words *words, const char *key, long max, long otherwise);
size_t words_count(const struct words *words, const char *key);

struct words_out { /* what is being written */
	char *data;
	size_t length, size;
	bool full; /* something did not fit: then nothing of it was taken */
};
void words_add(struct words_out *out, const char *word);
void words_set(struct words_out *out, const char *key, const char *value); /* NULL: nothing */
void words_set_number(struct words_out *out, const char *key, long value);

#endif
