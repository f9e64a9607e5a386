/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "util/compiler.h"

enum { THREADS_MAX = 8 };

struct list {
	struct fs_job *first, **end;
};

struct fs_pool {
	struct fs_server *server;
	pthread_mutex_t lock;
	pthread_cond_t work; /* something in ready, or in waiting, or stop */
	pthread_cond_t idle; /* busy became 0 */
	struct list ready, waiting;
	unsigned busy;
	uint64_t wakes; /* a request that was being served meanwhile is tried again at once */
	bool stop;
	void (*enter)(void);
	unsigned n_threads;
	pthread_t thread[THREADS_MAX];
};

static void list_init(struct list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_add(struct list *list, struct fs_job *job)
{
	job->next = NULL;
	*list->end = job;
	list->end = &job->next;
}

static struct fs_job *list_take(struct list *list)
{
	struct fs_job *job = list->first;

	list->first = job->next;
	if (!list->first)
		list->end = &list->first;
	return job;
}

static void list_move(struct list *to, struct list *from)
{
	if (!from->first)
		return;
	*to->end = from->first;
	to->end = from->end;
	list_init(from);
}

/* Until there is work, or time to try those that wait. Under lock. */
static void wait_for_work(struct fs_pool *pool)
{
	struct timespec until;

	if (!pool->waiting.first) {
		(void)pthread_cond_wait(&pool->work, &pool->lock);
		return;
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += FS_POOL_TICK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	if (pthread_cond_timedwait(&pool->work, &pool->lock, &until) == ETIMEDOUT)
		list_move(&pool->ready, &pool->waiting);
}

/* Serve one, out of lock. */
static void serve(struct fs_pool *pool, struct fs_job *job)
{
	uint64_t wakes = pool->wakes;
	ssize_t length;

	pool->busy++;
	(void)pthread_mutex_unlock(&pool->lock);
	length = fs_serve(pool->server, &job->request, true);
	if (length != -EAGAIN)
		job->done(job, length);
	(void)pthread_mutex_lock(&pool->lock);
	if (length == -EAGAIN) {
		list_add(wakes == pool->wakes ? &pool->waiting : &pool->ready, job);
		(void)pthread_cond_signal(&pool->work); /* one of those without a timeout */
	}
	if (--pool->busy == 0)
		(void)pthread_cond_broadcast(&pool->idle);
}

static void *run(void *user)
{
	struct fs_pool *pool = user;

	(void)pthread_setname_np(pthread_self(), "fs");
	if (pool->enter)
		pool->enter();
	(void)pthread_mutex_lock(&pool->lock);
	while (!pool->stop)
		if (pool->ready.first)
			serve(pool, list_take(&pool->ready));
		else
			wait_for_work(pool);
	(void)pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static int start_threads(struct fs_pool *pool, unsigned threads)
{
	sigset_t all, before;
	int r = 0;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	while (r == 0 && pool->n_threads < MIN(threads, (unsigned)THREADS_MAX)) {
		r = pthread_create(&pool->thread[pool->n_threads], NULL, run, pool);
		pool->n_threads += r == 0;
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

int fs_pool_new(unsigned threads, void (*enter)(void), struct fs_pool **ret, venv_error **err)
{
	struct fs_pool *pool = calloc(1, sizeof(*pool));
	pthread_condattr_t monotonic;
	int r;

	if (!pool)
		return venv__fail_nomem(err);
	pool->enter = enter;
	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&pool->work, &monotonic);
	(void)pthread_cond_init(&pool->idle, NULL);
	(void)pthread_condattr_destroy(&monotonic);
	list_init(&pool->ready);
	list_init(&pool->waiting);
	r = start_threads(pool, threads);
	if (r != 0) {
		fs_pool_free(pool);
		return venv__fail_errno(err, r, "cannot start a thread for shared folders");
	}
	*ret = pool;
	return 0;
}

void fs_pool_serve(struct fs_pool *pool, struct fs_server *server)
{
	pool->server = server;
}

void fs_pool_submit(struct fs_pool *pool, struct fs_job *job)
{
	(void)pthread_mutex_lock(&pool->lock);
	list_add(&pool->ready, job);
	(void)pthread_cond_signal(&pool->work);
	(void)pthread_mutex_unlock(&pool->lock);
}

void fs_pool_wake(void *user)
{
	struct fs_pool *pool = user;

	(void)pthread_mutex_lock(&pool->lock);
	pool->wakes++;
	list_move(&pool->ready, &pool->waiting);
	(void)pthread_cond_broadcast(&pool->work);
	(void)pthread_mutex_unlock(&pool->lock);
}

void fs_pool_drain(struct fs_pool *pool)
{
	(void)pthread_mutex_lock(&pool->lock);
	while (pool->busy || pool->ready.first || pool->waiting.first) {
		if (pool->waiting.first) {
			(void)pthread_mutex_unlock(&pool->lock);
			fs_server_interrupt(pool->server); /* and wakes */
			(void)pthread_mutex_lock(&pool->lock);
		}
		if (pool->busy || pool->ready.first)
			(void)pthread_cond_wait(&pool->idle, &pool->lock);
	}
	(void)pthread_mutex_unlock(&pool->lock);
}

static void drop(struct list *list)
{
	while (list->first) {
		struct fs_job *job = list_take(list);

		job->done(job, -ECANCELED);
	}
}

void fs_pool_cancel(struct fs_pool *pool)
{
	struct list dropped;

	list_init(&dropped);
	(void)pthread_mutex_lock(&pool->lock);
	do {
		list_move(&dropped, &pool->ready);
		list_move(&dropped, &pool->waiting);
		if (pool->busy)
			(void)pthread_cond_wait(&pool->idle, &pool->lock);
	} while (pool->busy || pool->ready.first || pool->waiting.first);
	(void)pthread_mutex_unlock(&pool->lock);
	drop(&dropped);
}

void fs_pool_free(struct fs_pool *pool)
{
	if (!pool)
		return;
	fs_pool_cancel(pool);
	(void)pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	(void)pthread_cond_broadcast(&pool->work);
	(void)pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		(void)pthread_join(pool->thread[i], NULL);
	(void)pthread_cond_destroy(&pool->work);
	(void)pthread_cond_destroy(&pool->idle);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
}
