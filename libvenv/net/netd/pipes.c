/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes for splice(). A connection holds one per direction only while bytes are in it, so thousands of
 * idle connections need two descriptors each. Streams that move much get a large one; the kernel
 * limits a user's pipe memory (pipe-user-pages-soft), so there are few of those.
 */
#include <fcntl.h>

#include "netd.h"

enum { SMALL_SIZE = 65536, LARGE_SIZE = 131072, LARGE_MAX = 64, KEEP_SMALL = 8 };

static struct pipe_pair *open_pipe(struct pipe_pool *pool, bool large)
{
	struct pipe_pair *pair = calloc(1, sizeof(*pair));
	int fds[2];

	if (!pair)
		return NULL;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(pair);
		return NULL;
	}
	*pair = (struct pipe_pair){ .out = fds[0], .in = fds[1], .size = SMALL_SIZE };
	if (large && fcntl(fds[0], F_SETPIPE_SZ, LARGE_SIZE) >= LARGE_SIZE) {
		pair->large = true;
		pair->size = LARGE_SIZE;
		pool->n_large++;
	}
	return pair;
}

struct pipe_pair *venv__pipe_get(struct pipe_pool *pool, bool large)
{
	struct pipe_pair **list =
		large && (pool->large || pool->n_large < LARGE_MAX) ? &pool->large : &pool->small;
	struct pipe_pair *pair = *list;

	if (!pair)
		return open_pipe(pool, list == &pool->large);
	*list = pair->next;
	pair->next = NULL;
	return pair;
}

void venv__pipe_put(struct pipe_pool *pool, struct pipe_pair *pair, bool empty)
{
	struct pipe_pair **list;
	unsigned kept = 0;

	if (!pair)
		return;
	list = pair->large ? &pool->large : &pool->small;
	for (const struct pipe_pair *p = *list; p && kept < KEEP_SMALL; p = p->next)
		kept++;
	if (empty && kept < KEEP_SMALL) {
		pair->next = *list;
		*list = pair;
		return;
	}
	if (pair->large)
		pool->n_large--;
	(void)close(pair->in);
	(void)close(pair->out);
	free(pair);
}
