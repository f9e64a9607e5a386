/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes of files that go on while their worker does something else: by io_uring, or by a few
 * threads where the host refuses that (kernel.io_uring_disabled, a seccomp filter).
 *
 * An engine belongs to one thread. Operations live with the caller until done() was called, which happens
 * in engine_poll() and engine_drain() only. Beyond the end of a file there are zeroes to read.
 */
#ifndef VMM_BLOCK_ENGINE_H
#define VMM_BLOCK_ENGINE_H

#include <stdint.h>
#include <sys/uio.h>

#include "util/error.h"

enum engine_what { ENGINE_READ, ENGINE_WRITE, ENGINE_FLUSH };

struct engine_op {
	enum engine_what what;
	int fd;
	uint64_t offset;
	struct iovec *iov; /* is worked off: not what it was afterwards */
	unsigned n_iov;
	void (*done)(struct engine_op *op, int result); /* 0 or -errno; may add others */
	/* the engine's */
	struct engine_op *next;
	int64_t transferred;
};

enum engine_kind { ENGINE_AUTO, ENGINE_URING, ENGINE_THREADS };

struct engine;

/* enter: called first in each thread that it makes; NULL is fine. */
int engine_new(enum engine_kind kind, void (*enter)(void), struct engine **ret, venv_error **err);
void engine_free(struct engine *engine); /* nothing is in flight; NULL is fine */
enum engine_kind engine_kind_of(const struct engine *engine);
/* Readable when engine_poll() has something to do. */
int engine_fd(const struct engine *engine);
void engine_add(struct engine *engine, struct engine_op *op);
void engine_start(struct engine *engine); /* what was added */
void engine_poll(struct engine *engine);  /* what is done; does not wait */
void engine_drain(struct engine *engine); /* until nothing is in flight */

#endif
