/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all engines have in common: how many operations are in flight, and transfers that come in parts.
 *
 * Theory of operation: a transfer may be shorter than it was asked for (a signal, 2 GiB, the end of the
 * file). What is left is submitted again, until nothing is left or a read finds the end of the file, whose
 * rest is zeroes. More than ENGINE_DEPTH operations wait in a list.
 */
#include "engine_impl.h"

#include <errno.h>
#include <string.h>

int engine_new(enum engine_kind kind, void (*enter)(void), struct engine **ret, venv_error **err)
{
	struct engine *engine = NULL;
	int r = -ENOSYS;

	if (kind != ENGINE_THREADS)
		r = engine_uring_new(&engine);
	if (r < 0 && kind != ENGINE_URING)
		r = engine_threads_new(enter, &engine);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make an engine for disks");
	engine->waiting = NULL;
	engine->waiting_end = &engine->waiting;
	*ret = engine;
	return 0;
}

void engine_free(struct engine *engine)
{
	if (engine)
		engine->ops->free(engine);
}

enum engine_kind engine_kind_of(const struct engine *engine)
{
	return engine->ops->kind;
}

int engine_fd(const struct engine *engine)
{
	return engine->fd;
}

static void submit(struct engine *engine, struct engine_op *op)
{
	engine->in_flight++;
	engine->ops->submit(engine, op);
}

static void submit_waiting(struct engine *engine)
{
	while (engine->waiting && engine->in_flight < ENGINE_DEPTH) {
		struct engine_op *op = engine->waiting;

		engine->waiting = op->next;
		if (!op->next)
			engine->waiting_end = &engine->waiting;
		submit(engine, op);
	}
}

void engine_add(struct engine *engine, struct engine_op *op)
{
	op->next = NULL;
	op->transferred = 0;
	if (!engine->waiting && engine->in_flight < ENGINE_DEPTH) {
		submit(engine, op);
		return;
	}
	*engine->waiting_end = op;
	engine->waiting_end = &op->next;
}

void engine_start(struct engine *engine)
{
	engine->ops->start(engine);
}

/* Cut what was transferred off the front. @return whether something is left */
static bool is_left(struct engine_op *op)
{
	size_t done = (size_t)op->transferred;

	op->offset += done;
	for (; op->n_iov && done >= op->iov->iov_len; op->iov++, op->n_iov--)
		done -= op->iov->iov_len;
	if (!op->n_iov)
		return false;
	op->iov->iov_base = (char *)op->iov->iov_base + done;
	op->iov->iov_len -= done;
	return true;
}

/* @return whether the operation is over; *ret: its result */
static bool is_over(struct engine_op *op, int *ret)
{
	int64_t n = op->transferred;

	*ret = 0;
	if (n == -EINTR || n == -EAGAIN)
		return false;
	if (n < 0 || op->what == ENGINE_FLUSH) {
		*ret = (int)MIN(n, 0);
		return true;
	}
	if (!is_left(op))
		return true;
	if (n)
		return false;
	if (op->what == ENGINE_WRITE)
		*ret = -EIO; /* it takes nothing, and does not say why */
	for (; !*ret && op->n_iov; op->iov++, op->n_iov--)
		memset(op->iov->iov_base, 0, op->iov->iov_len);
	return true;
}

static void settle(struct engine *engine, struct engine_op *op)
{
	int result;

	engine->in_flight--;
	if (is_over(op, &result))
		op->done(op, result);
	else
		submit(engine, op);
	submit_waiting(engine);
}

void engine_poll(struct engine *engine)
{
	struct engine_op *op;

	while ((op = engine->ops->reap(engine, false)))
		settle(engine, op);
	engine->ops->start(engine);
}

void engine_drain(struct engine *engine)
{
	engine->ops->start(engine);
	while (engine->in_flight) {
		struct engine_op *op = engine->ops->reap(engine, true);

		if (op)
			settle(engine, op);
		engine->ops->start(engine);
	}
}
