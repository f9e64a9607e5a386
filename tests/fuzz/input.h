/* SPDX-License-Identifier: Apache-2.0 */
/* For fuzzers whose input is a row of choices. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct input {
	const uint8_t *data;
	size_t left;
};

/* Little-endian, at most 4 bytes; zeroes when there is no more. */
static inline uint32_t take(struct input *in, size_t bytes)
{
	uint32_t value = 0;
	size_t n = bytes < in->left ? bytes : in->left;

	memcpy(&value, in->data, n);
	in->data += n;
	in->left -= n;
	return value;
}

static inline void must(bool fine)
{
	if (!fine)
		abort();
}

#endif
