/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "store.h"

enum { WORD_MAX = 64 };

/* Edits (insert, remove, change) from one word to the other. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[WORD_MAX + 1], length = (unsigned)strlen(b);

	for (unsigned j = 0; j <= length; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned corner = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= length; j++) {
			unsigned above = row[j];
			bool same = tolower((unsigned char)a[i - 1]) ==
				    tolower((unsigned char)b[j - 1]);

			row[j] = MIN(MIN(above, row[j - 1]) + 1, corner + !same);
			corner = above;
		}
	}
	return row[length];
}

static void consider(char *const *names, const char *wanted, const char **best, unsigned *least)
{
	for (; names && *names; names++) {
		unsigned d;

		if (strlen(*names) > WORD_MAX)
			continue;
		d = distance(wanted, *names);
		if (d < *least) {
			*least = d;
			*best = *names;
		}
	}
}

char *venv__box_suggest(struct venv *ctx, const char *name)
{
	_cleanup_store_ struct store store = STORE_INIT;
	_cleanup_strv_ char **added = NULL, **recipes = venv__recipe_names(ctx);
	unsigned least = (unsigned)MAX(strlen(name) / 3, (size_t)2) + 1;
	const char *best = NULL;

	if (strlen(name) > WORD_MAX)
		return NULL;
	if (venv__store_open(ctx, &store, NULL) == 0)
		(void)venv__name_list(&store, &added, NULL);
	consider(added, name, &best, &least);
	consider(recipes, name, &best, &least);
	return best ? strdup(best) : NULL;
}
