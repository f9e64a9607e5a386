/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread with an event loop, on which devices do their work.
 *
 * Each device belongs to one worker. Its queues, timers and host descriptors are looked after there, so
 * a device's code is single-threaded but for what vCPU threads do under the device's lock (virtio/device.h).
 * worker_call() runs a function there and waits: for what must not overlap the work, like a reset.
 */
#ifndef VMM_WORKER_H
#define VMM_WORKER_H

#include <stdbool.h>

#include "util/error.h"
#include "util/loop.h"

struct worker;

/* name: of the thread, at most 15 bytes. Signals are blocked in it. */
int worker_new(const char *name, struct worker **ret, venv_error **err);
/* Ends the loop, also of a parked worker, and joins the thread. NULL is fine. */
void worker_free(struct worker *worker);
/* A worker whose loop is run by the thread that calls this (the main thread, tests). */
int worker_adopt(struct loop *loop, struct worker **ret, venv_error **err);

struct loop *worker_loop(struct worker *worker); /* to be used on the worker's thread only */
/*
 * Run fn(user) on the worker's thread and wait for its end; at once when called there. Who calls holds no
 * lock that work on the worker takes, and the worker must not be waiting for who calls.
 */
void worker_call(struct worker *worker, void (*fn)(void *user), void *user);
/*
 * The same in two steps, so that several workers are at it at once. The call is the caller's, who sets
 * fn and user, and it must stay where it is until worker_finish() has returned.
 */
struct worker_call {
	void (*fn)(void *user);
	void *user;
	struct worker_call *next;
	bool done;
};
void worker_begin(struct worker *worker, struct worker_call *call);
void worker_finish(struct worker *worker, struct worker_call *call);
/*
 * Let the worker do nothing but calls until worker_unpark(): returns when its callbacks have ended. Not
 * for an adopted worker, which is parked while its thread does something else.
 */
void worker_park(struct worker *worker);
void worker_unpark(struct worker *worker);

#endif
