/* SPDX-License-Identifier: Apache-2.0 */
/* A set of numbers (below 2^64 - 1): a hash table with open addressing. */
#ifndef VENV_DISK_SET_H
#define VENV_DISK_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct set {
	uint64_t *slot; /* number + 1; 0: free */
	size_t size;    /* a power of two, or 0 */
	size_t n;
};

int venv__set_add(struct set *set, uint64_t number); /* 0, -EEXIST or -ENOMEM */
void venv__set_remove(struct set *set, uint64_t number);
bool venv__set_has(const struct set *set, uint64_t number);
void venv__set_done(struct set *set);

#endif
