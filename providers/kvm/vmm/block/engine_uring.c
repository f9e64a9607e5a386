/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring: one ring, whose descriptor itself says when something is done. */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#include "engine_impl.h"

struct uring {
	struct engine engine;
	struct io_uring ring;
	unsigned n_added; /* not yet submitted */
};

static void start(struct engine *engine)
{
	struct uring *uring = (struct uring *)engine;

	/* -EAGAIN, -EBUSY: some were taken or none; what is left goes with the next call */
	while (uring->n_added) {
		int n = io_uring_submit(&uring->ring);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			break;
		uring->n_added -= MIN((unsigned)n, uring->n_added);
	}
}

static void submit(struct engine *engine, struct engine_op *op)
{
	struct uring *uring = (struct uring *)engine;
	/* there are as many as operations in flight */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	if (op->what == ENGINE_FLUSH)
		io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
	else if (op->what == ENGINE_READ)
		io_uring_prep_readv(sqe, op->fd, op->iov, op->n_iov, op->offset);
	else
		io_uring_prep_writev(sqe, op->fd, op->iov, op->n_iov, op->offset);
	io_uring_sqe_set_data(sqe, op);
	uring->n_added++;
}

static struct engine_op *reap(struct engine *engine, bool wait)
{
	struct uring *uring = (struct uring *)engine;
	struct io_uring_cqe *cqe;
	struct engine_op *op;
	int r;

	do
		r = wait ? io_uring_wait_cqe(&uring->ring, &cqe)
			 : io_uring_peek_cqe(&uring->ring, &cqe);
	while (r == -EINTR);
	if (r < 0)
		return NULL;
	op = io_uring_cqe_get_data(cqe);
	op->transferred = cqe->res;
	io_uring_cqe_seen(&uring->ring, cqe);
	return op;
}

static void free_uring(struct engine *engine)
{
	struct uring *uring = (struct uring *)engine;

	io_uring_queue_exit(&uring->ring);
	free(uring);
}

static const struct engine_ops uring_ops = {
	.kind = ENGINE_URING,
	.submit = submit,
	.start = start,
	.reap = reap,
	.free = free_uring,
};

int engine_uring_new(struct engine **ret)
{
	struct uring *uring = calloc(1, sizeof(*uring));
	int r;

	if (!uring)
		return -ENOMEM;
	r = io_uring_queue_init(ENGINE_DEPTH, &uring->ring, IORING_SETUP_CLAMP);
	if (r < 0) {
		free(uring);
		return r;
	}
	uring->engine.ops = &uring_ops;
	uring->engine.fd = uring->ring.ring_fd;
	*ret = &uring->engine;
	return 0;
}
