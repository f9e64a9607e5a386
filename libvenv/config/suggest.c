/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <string.h>

enum { LONGEST = 32 };

static size_t least(size_t a, size_t b, size_t c)
{
	return MIN(MIN(a, b), c);
}

/* Insertions, deletions, replacements and swaps of neighbours that make a into b. */
static size_t distance(const char *a, const char *b)
{
	size_t d[3][LONGEST + 1], m = strlen(a), n = strlen(b);

	if (m > LONGEST || n > LONGEST)
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= m; i++) {
		size_t *row = d[i % 3];
		const size_t *above = d[(i + 2) % 3], *above2 = d[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			row[j] = least(above[j] + 1, row[j - 1] + 1,
				       above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = MIN(row[j], above2[j - 2] + 1);
		}
	}
	return d[m % 3][n];
}

void venv__suggest(struct suggestion *suggestion, const char *candidate)
{
	size_t limit = strlen(suggestion->wanted) / 3, d = distance(suggestion->wanted, candidate);

	if (d > MAX(limit, (size_t)1) || d >= strlen(candidate))
		return;
	if (suggestion->best && d >= suggestion->distance)
		return;
	suggestion->best = candidate;
	suggestion->distance = d;
}
