/* SPDX-License-Identifier: Apache-2.0 */
/* What makes an engine go, to the inside of block/. */
#ifndef VMM_BLOCK_ENGINE_IMPL_H
#define VMM_BLOCK_ENGINE_IMPL_H

#include <stdbool.h>

#include "engine.h"

enum { ENGINE_DEPTH = 128 }; /* operations that are in flight at once; the others wait */

/* One transfer is asked for and reported as the kernel makes it: in part, perhaps. */
struct engine_ops {
	enum engine_kind kind;
	void (*submit)(struct engine *engine, struct engine_op *op);
	void (*start)(struct engine *engine);
	/* Take what is done: sets transferred. wait: until there is one. NULL: none */
	struct engine_op *(*reap)(struct engine *engine, bool wait);
	void (*free)(struct engine *engine);
};

struct engine { /* first member of an engine of a kind */
	const struct engine_ops *ops;
	int fd;
	unsigned in_flight;
	struct engine_op *waiting, **waiting_end;
};

int engine_uring_new(struct engine **ret); /* 0 or -errno: the host refuses it */
int engine_threads_new(void (*enter)(void), struct engine **ret); /* 0 or -errno */

#endif
