/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: who calls puts a call, which is its own, on the worker's list, rings the eventfd
 * and later waits for the call to be marked done. The worker takes the list as a whole and runs it
 * in order. Calls that are still on the list when the loop ends are run then, so nobody waits for ever.
 *   A parked worker sits in the callback of its eventfd, and takes calls there.
 */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>

struct worker {
	struct loop *loop;
	struct loop_source *source;
	bool adopted; /* the loop is the caller's */
	int event_fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* anything below */
	bool quit;
	bool park, parked; /* wanted, reached */
	struct worker_call *first, **last;
};

/* Under lock, but for the calls themselves. */
static void run_calls(struct worker *worker)
{
	while (worker->first) {
		struct worker_call *call = worker->first;

		worker->first = call->next;
		if (!worker->first)
			worker->last = &worker->first;
		(void)pthread_mutex_unlock(&worker->lock);
		call->fn(call->user);
		(void)pthread_mutex_lock(&worker->lock);
		call->done = true; /* from the unlock on it is gone */
		(void)pthread_cond_broadcast(&worker->changed);
	}
}

static void stay_parked(struct worker *worker)
{
	while (worker->park) {
		worker->parked = true;
		(void)pthread_cond_broadcast(&worker->changed);
		(void)pthread_cond_wait(&worker->changed, &worker->lock);
		run_calls(worker);
	}
	worker->parked = false;
}

static void on_event(void *user, int fd, uint32_t events)
{
	struct worker *worker = user;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(fd, &count);
	(void)pthread_mutex_lock(&worker->lock);
	run_calls(worker);
	stay_parked(worker);
	if (worker->quit)
		venv__loop_quit(worker->loop, 0);
	(void)pthread_mutex_unlock(&worker->lock);
}

static void *run(void *user)
{
	struct worker *worker = user;

	(void)venv__loop_run(worker->loop);
	(void)pthread_mutex_lock(&worker->lock);
	run_calls(worker);
	(void)pthread_mutex_unlock(&worker->lock);
	return NULL;
}

static void destroy(struct worker *worker)
{
	venv__loop_remove(worker->source);
	if (!worker->adopted)
		venv__loop_free(worker->loop);
	if (worker->event_fd >= 0)
		(void)close(worker->event_fd);
	(void)pthread_cond_destroy(&worker->changed);
	(void)pthread_mutex_destroy(&worker->lock);
	free(worker);
}

/* loop: NULL makes one. */
static struct worker *create(struct loop *loop)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	(void)pthread_mutex_init(&worker->lock, NULL); /* neither fails on Linux */
	(void)pthread_cond_init(&worker->changed, NULL);
	worker->last = &worker->first;
	worker->adopted = loop != NULL;
	worker->loop = loop ? loop : venv__loop_new();
	worker->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->loop && worker->event_fd >= 0)
		worker->source =
			venv__loop_add(worker->loop, worker->event_fd, EPOLLIN, on_event, worker);
	if (!worker->source) {
		destroy(worker);
		return NULL;
	}
	return worker;
}

int worker_new(const char *name, struct worker **ret, venv_error **err)
{
	struct worker *worker = create(NULL);
	sigset_t all, before;
	int r;

	if (!worker)
		return venv__fail_errno(err, errno, "cannot make a thread");
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it */
	r = pthread_create(&worker->thread, NULL, run, worker);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r) {
		destroy(worker);
		return venv__fail_errno(err, r, "cannot make a thread");
	}
	(void)pthread_setname_np(worker->thread, name);
	*ret = worker;
	return 0;
}

int worker_adopt(struct loop *loop, struct worker **ret, venv_error **err)
{
	struct worker *worker = create(loop);

	if (!worker)
		return venv__fail_errno(err, errno, "cannot use the loop");
	worker->thread = pthread_self();
	*ret = worker;
	return 0;
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	if (!worker->adopted) {
		(void)pthread_mutex_lock(&worker->lock);
		worker->quit = true;
		worker->park = false;
		(void)eventfd_write(worker->event_fd, 1);
		(void)pthread_cond_broadcast(&worker->changed);
		(void)pthread_mutex_unlock(&worker->lock);
		(void)pthread_join(worker->thread, NULL);
	}
	destroy(worker);
}

struct loop *worker_loop(struct worker *worker)
{
	return worker->loop;
}

void worker_begin(struct worker *worker, struct worker_call *call)
{
	call->next = NULL;
	call->done = pthread_equal(worker->thread, pthread_self());
	if (call->done) {
		call->fn(call->user);
		return;
	}
	(void)pthread_mutex_lock(&worker->lock);
	*worker->last = call;
	worker->last = &call->next;
	(void)eventfd_write(worker->event_fd, 1);
	(void)pthread_cond_broadcast(&worker->changed);
	(void)pthread_mutex_unlock(&worker->lock);
}

void worker_finish(struct worker *worker, struct worker_call *call)
{
	(void)pthread_mutex_lock(&worker->lock);
	while (!call->done)
		(void)pthread_cond_wait(&worker->changed, &worker->lock);
	(void)pthread_mutex_unlock(&worker->lock);
}

void worker_call(struct worker *worker, void (*fn)(void *user), void *user)
{
	struct worker_call call = { .fn = fn, .user = user };

	worker_begin(worker, &call);
	worker_finish(worker, &call);
}

void worker_park(struct worker *worker)
{
	(void)pthread_mutex_lock(&worker->lock);
	worker->park = true;
	(void)eventfd_write(worker->event_fd, 1);
	while (!worker->parked)
		(void)pthread_cond_wait(&worker->changed, &worker->lock);
	(void)pthread_mutex_unlock(&worker->lock);
}

void worker_unpark(struct worker *worker)
{
	(void)pthread_mutex_lock(&worker->lock);
	worker->park = false;
	(void)pthread_cond_broadcast(&worker->changed);
	(void)pthread_mutex_unlock(&worker->lock);
}
