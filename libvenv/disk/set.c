/* SPDX-License-Identifier: Apache-2.0 */
#include "set.h"

#include <errno.h>
#include <stdlib.h>

/* Fibonacci hashing: neighbours, which clusters often are, do not collide. */
static size_t home(const struct set *set, uint64_t key)
{
	return (size_t)((key * 0x9e3779b97f4a7c15ULL) >> 32) & (set->size - 1);
}

/* Where the key is, or where it would be put. The set is never full. */
static size_t place(const struct set *set, uint64_t key)
{
	size_t i = home(set, key);

	while (set->slot[i] && set->slot[i] != key)
		i = (i + 1) & (set->size - 1);
	return i;
}

static int grow(struct set *set)
{
	struct set larger = { .size = set->size ? set->size * 2 : 64, .n = set->n };

	larger.slot = calloc(larger.size, sizeof(*larger.slot));
	if (!larger.slot)
		return -ENOMEM;
	for (size_t i = 0; i < set->size; i++) {
		if (set->slot[i])
			larger.slot[place(&larger, set->slot[i])] = set->slot[i];
	}
	free(set->slot);
	*set = larger;
	return 0;
}

int venv__set_add(struct set *set, uint64_t number)
{
	size_t i;
	int r = set->n * 2 >= set->size ? grow(set) : 0;

	if (r < 0)
		return r;
	i = place(set, number + 1);
	if (set->slot[i])
		return -EEXIST;
	set->slot[i] = number + 1;
	set->n++;
	return 0;
}

/* No tombstones: what follows in the same cluster of slots is put back in its place. */
void venv__set_remove(struct set *set, uint64_t number)
{
	size_t i;

	if (!venv__set_has(set, number))
		return;
	i = place(set, number + 1);
	set->slot[i] = 0;
	set->n--;
	for (i = (i + 1) & (set->size - 1); set->slot[i]; i = (i + 1) & (set->size - 1)) {
		uint64_t key = set->slot[i];

		set->slot[i] = 0;
		set->slot[place(set, key)] = key;
	}
}

bool venv__set_has(const struct set *set, uint64_t number)
{
	return set->n && set->slot[place(set, number + 1)];
}

void venv__set_done(struct set *set)
{
	free(set->slot);
	*set = (struct set){ 0 };
}
