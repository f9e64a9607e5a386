/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that make blocking calls: two lists under one lock, what is to be done and what is done, and an
 * eventfd that rings when the second one is no longer empty.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine_impl.h"

enum { THREADS = 4 };

struct list {
	struct engine_op *first, **end;
};

struct threads {
	struct engine engine;
	pthread_mutex_t lock;
	pthread_cond_t some_to_do, some_done;
	struct list to_do, done;
	bool quit;
	void (*enter)(void);
	pthread_t thread[THREADS];
	unsigned n_threads;
};

static void put(struct list *list, struct engine_op *op)
{
	op->next = NULL;
	*list->end = op;
	list->end = &op->next;
}

static struct engine_op *take(struct list *list)
{
	struct engine_op *op = list->first;

	if (!op)
		return NULL;
	list->first = op->next;
	if (!op->next)
		list->end = &list->first;
	return op;
}

static int64_t transfer(const struct engine_op *op)
{
	ssize_t n;

	if (op->what == ENGINE_FLUSH)
		n = fdatasync(op->fd);
	else if (op->what == ENGINE_READ)
		n = preadv(op->fd, op->iov, (int)op->n_iov, (off_t)op->offset);
	else
		n = pwritev(op->fd, op->iov, (int)op->n_iov, (off_t)op->offset);
	return n < 0 ? -errno : n;
}

static void *run(void *user)
{
	struct threads *threads = user;
	struct engine_op *op;

	if (threads->enter)
		threads->enter();
	(void)pthread_mutex_lock(&threads->lock);
	for (;;) {
		while (!(op = take(&threads->to_do)) && !threads->quit)
			(void)pthread_cond_wait(&threads->some_to_do, &threads->lock);
		if (!op)
			break;
		(void)pthread_mutex_unlock(&threads->lock);
		op->transferred = transfer(op);
		(void)pthread_mutex_lock(&threads->lock);
		if (!threads->done.first)
			(void)eventfd_write(threads->engine.fd, 1);
		put(&threads->done, op);
		(void)pthread_cond_signal(&threads->some_done);
	}
	(void)pthread_mutex_unlock(&threads->lock);
	return NULL;
}

static void submit(struct engine *engine, struct engine_op *op)
{
	struct threads *threads = (struct threads *)engine;

	(void)pthread_mutex_lock(&threads->lock);
	put(&threads->to_do, op);
	(void)pthread_cond_signal(&threads->some_to_do);
	(void)pthread_mutex_unlock(&threads->lock);
}

static void start(struct engine *engine)
{
	(void)engine;
}

static struct engine_op *reap(struct engine *engine, bool wait)
{
	struct threads *threads = (struct threads *)engine;
	struct engine_op *op;
	eventfd_t count;

	(void)pthread_mutex_lock(&threads->lock);
	while (!(op = take(&threads->done)) && wait)
		(void)pthread_cond_wait(&threads->some_done, &threads->lock);
	if (!threads->done.first)
		(void)eventfd_read(engine->fd, &count);
	(void)pthread_mutex_unlock(&threads->lock);
	return op;
}

static void free_threads(struct engine *engine)
{
	struct threads *threads = (struct threads *)engine;

	(void)pthread_mutex_lock(&threads->lock);
	threads->quit = true;
	(void)pthread_cond_broadcast(&threads->some_to_do);
	(void)pthread_mutex_unlock(&threads->lock);
	for (unsigned i = 0; i < threads->n_threads; i++)
		(void)pthread_join(threads->thread[i], NULL);
	(void)pthread_cond_destroy(&threads->some_to_do);
	(void)pthread_cond_destroy(&threads->some_done);
	(void)pthread_mutex_destroy(&threads->lock);
	if (engine->fd >= 0)
		(void)close(engine->fd);
	free(threads);
}

static const struct engine_ops threads_ops = {
	.kind = ENGINE_THREADS,
	.submit = submit,
	.start = start,
	.reap = reap,
	.free = free_threads,
};

/* Signals are for other threads. */
static int start_threads(struct threads *threads)
{
	sigset_t all, before;
	int r = 0;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!r && threads->n_threads < THREADS) {
		r = pthread_create(&threads->thread[threads->n_threads], NULL, run, threads);
		threads->n_threads += !r;
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return threads->n_threads ? 0 : -r;
}

int engine_threads_new(void (*enter)(void), struct engine **ret)
{
	struct threads *threads = calloc(1, sizeof(*threads));
	int r;

	if (!threads)
		return -ENOMEM;
	threads->engine.ops = &threads_ops;
	threads->enter = enter;
	threads->to_do.end = &threads->to_do.first;
	threads->done.end = &threads->done.first;
	(void)pthread_mutex_init(&threads->lock, NULL);
	(void)pthread_cond_init(&threads->some_to_do, NULL);
	(void)pthread_cond_init(&threads->some_done, NULL);
	threads->engine.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = threads->engine.fd < 0 ? -errno : start_threads(threads);
	if (r < 0) {
		free_threads(&threads->engine);
		return r;
	}
	*ret = &threads->engine;
	return 0;
}
