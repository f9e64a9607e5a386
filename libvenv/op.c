/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the work runs on one private thread with all signals blocked (and on threads
 * that it starts itself, one a machine). Events go through a list under a lock; `ready` is an eventfd
 * that is readable while the list is not empty or the work has ended. `cancel` and `request` are
 * eventfds too, because writing one is legal in a signal handler. The size and the signals asked for
 * are atomics for the same reason.
 *
 * Progress is thinned out: of one machine and phase, an event that was not pulled yet is overwritten.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

#include "op_private.h"
#include "util/sys.h"
#include "value.h"

struct venv_event {
	struct venv_event *next;
	int type;
	char *machine;
	char *phase;
	char *text;
	int stream;
	uint64_t done, total, elapsed_us;
	venv_error *error;
};

struct phase_start {
	struct phase_start *next;
	char *key; /* machine/phase */
	uint64_t us;
};

struct venv_op {
	struct venv *ctx;
	op_fn fn;
	void *user;
	void (*free_user)(void *);
	pthread_t thread;
	pthread_mutex_t lock;
	int ready_fd, cancel_fd, request_fd;
	struct venv_event *first, *last;
	struct venv_event *current; /* handed out last */
	struct phase_start *phases;
	bool ended;
	int result_code;
	venv_error *error;
	json_t *result;
	int exit_status;
	atomic_uint rows, columns;
	atomic_ullong signals;
};

static void wake(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n; /* a full counter is readable as well */
}

static void drain(int fd)
{
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));

	(void)n;
}

static void event_free(struct venv_event *event)
{
	if (!event)
		return;
	free(event->machine);
	free(event->phase);
	free(event->text);
	venv_error_free(event->error);
	free(event);
}

static void *work(void *arg)
{
	struct venv_op *op = arg;
	venv_error *error = NULL;
	int r = op->fn(op, op->user, &error);

	(void)pthread_mutex_lock(&op->lock);
	op->ended = true;
	op->result_code = r < 0 ? r : 0;
	op->error = r < 0 ? error : NULL;
	wake(op->ready_fd);
	(void)pthread_mutex_unlock(&op->lock);
	return NULL;
}

static void op_dispose(struct venv_op *op)
{
	struct venv_event *event = op->first;

	while (event) {
		struct venv_event *next = event->next;

		event_free(event);
		event = next;
	}
	event_free(op->current);
	while (op->phases) {
		struct phase_start *next = op->phases->next;

		free(op->phases->key);
		free(op->phases);
		op->phases = next;
	}
	venv_error_free(op->error);
	json_decref(op->result);
	if (op->free_user)
		op->free_user(op->user);
	if (op->ready_fd >= 0)
		(void)close(op->ready_fd);
	if (op->cancel_fd >= 0)
		(void)close(op->cancel_fd);
	if (op->request_fd >= 0)
		(void)close(op->request_fd);
	(void)pthread_mutex_destroy(&op->lock);
	free(op);
}

static int start_thread(struct venv_op *op)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&op->thread, NULL, work, op);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

int venv__op_start(struct venv *ctx, op_fn fn, void *user, void (*free_user)(void *),
		   struct venv_op **ret, venv_error **err)
{
	struct venv_op *op = calloc(1, sizeof(*op));
	int r;

	if (!op) {
		if (free_user)
			free_user(user);
		return venv__fail_nomem(err);
	}
	*op = (struct venv_op){
		.ctx = ctx, .fn = fn, .user = user, .free_user = free_user, .exit_status = -1
	};
	(void)pthread_mutex_init(&op->lock, NULL);
	op->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	op->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	op->request_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = op->ready_fd < 0 || op->cancel_fd < 0 || op->request_fd < 0 ? errno : start_thread(op);
	if (r) {
		op_dispose(op);
		return venv__fail_errno(err, r, "cannot start an operation");
	}
	*ret = op;
	return 0;
}

void venv_op_free(venv_op *op)
{
	if (!op)
		return;
	venv_op_cancel(op);
	(void)pthread_join(op->thread, NULL);
	op_dispose(op);
}

/* ---- The caller's side --------------------------------------------------------------------- */

/* Under the lock: hand out the first event, or tell the end. */
static int take(struct venv_op *op, const venv_event **event)
{
	if (op->first) {
		op->current = op->first;
		op->first = op->first->next;
		if (!op->first)
			op->last = NULL;
		if (!op->first && !op->ended)
			drain(op->ready_fd);
		if (event)
			*event = op->current;
		return VENV_OP_EVENT;
	}
	return op->ended ? VENV_OP_DONE : VENV_OP_PENDING;
}

static int end_of(struct venv_op *op, venv_error **err)
{
	int r = op->result_code;

	if (r < 0 && err && op->error)
		*err = venv__error_copy(op->error);
	else if (r < 0 && err)
		(void)venv__fail(err, r, "the operation failed");
	return r;
}

int venv_op_next(venv_op *op, int timeout_ms, const venv_event **event, venv_error **err)
{
	uint64_t end = venv__now_us() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000;
	int r;

	event_free(op->current);
	op->current = NULL;
	for (;;) {
		struct pollfd wait = { .fd = op->ready_fd, .events = POLLIN };
		uint64_t now = venv__now_us();
		int left = timeout_ms < 0 ? -1 : now >= end ? 0 : (int)((end - now + 999) / 1000);

		(void)pthread_mutex_lock(&op->lock);
		r = take(op, event);
		(void)pthread_mutex_unlock(&op->lock);
		if (r == VENV_OP_DONE)
			return end_of(op, err);
		if (r == VENV_OP_EVENT || left == 0)
			return r;
		if (poll(&wait, 1, left) < 0 && errno != EINTR)
			return venv__fail_errno(err, errno, "cannot wait for an operation");
	}
}

int venv_op_wait(venv_op *op, venv_error **err)
{
	int r;

	do
		r = venv_op_next(op, -1, NULL, err);
	while (r == VENV_OP_EVENT);
	return r;
}

int venv_op_fd(const venv_op *op)
{
	return op->ready_fd;
}

void venv_op_cancel(venv_op *op)
{
	wake(op->cancel_fd);
}

const venv_value *venv_op_result(const venv_op *op)
{
	return venv__value(op->result);
}

int venv_op_exit_status(const venv_op *op)
{
	return op->exit_status;
}

void venv_op_resize(venv_op *op, unsigned rows, unsigned columns)
{
	atomic_store(&op->columns, columns);
	atomic_store(&op->rows, rows);
	wake(op->request_fd);
}

void venv_op_signal(venv_op *op, int signal_number)
{
	if (signal_number <= 0 || signal_number > 63)
		return;
	atomic_fetch_or(&op->signals, 1ULL << signal_number);
	wake(op->request_fd);
}

int venv_event_type(const venv_event *event)
{
	return event->type;
}

const char *venv_event_machine(const venv_event *event)
{
	return event->machine;
}

const char *venv_event_phase(const venv_event *event)
{
	return event->phase;
}

const char *venv_event_text(const venv_event *event)
{
	return event->text;
}

int venv_event_stream(const venv_event *event)
{
	return event->stream;
}

uint64_t venv_event_done(const venv_event *event)
{
	return event->done;
}

uint64_t venv_event_total(const venv_event *event)
{
	return event->total;
}

uint64_t venv_event_elapsed_us(const venv_event *event)
{
	return event->elapsed_us;
}

const venv_error *venv_event_error(const venv_event *event)
{
	return event->error;
}

/* ---- The worker's side --------------------------------------------------------------------- */

struct venv *venv__op_context(const struct venv_op *op)
{
	return op->ctx;
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

static struct venv_event *event_new(int type, const char *machine, const char *phase)
{
	struct venv_event *event = calloc(1, sizeof(*event));

	if (!event)
		return NULL;
	event->type = type;
	event->machine = copy(machine);
	event->phase = copy(phase);
	return event;
}

/* Takes the event over; one that could not be allocated is simply not told. */
static void push(struct venv_op *op, struct venv_event *event)
{
	if (!event)
		return;
	(void)pthread_mutex_lock(&op->lock);
	if (op->last)
		op->last->next = event;
	else
		op->first = event;
	op->last = event;
	wake(op->ready_fd);
	(void)pthread_mutex_unlock(&op->lock);
}

static void push_text(struct venv_op *op, int type, const char *machine, const char *phase,
		      const char *format, va_list args) _printf_(5, 0);

static void push_text(struct venv_op *op, int type, const char *machine, const char *phase,
		      const char *format, va_list args)
{
	struct venv_event *event = op ? event_new(type, machine, phase) : NULL;

	if (event && vasprintf(&event->text, format, args) < 0)
		event->text = NULL;
	if (event)
		push(op, event);
}

static char *phase_key(const char *machine, const char *phase)
{
	char *key = NULL;

	return asprintf(&key, "%s/%s", machine ? machine : "", phase) < 0 ? NULL : key;
}

void venv__op_begin(struct venv_op *op, const char *machine, const char *phase, const char *format,
		    ...)
{
	struct phase_start *start = op ? calloc(1, sizeof(*start)) : NULL;
	va_list args;

	if (start) {
		start->key = phase_key(machine, phase);
		start->us = venv__now_us();
		(void)pthread_mutex_lock(&op->lock);
		start->next = op->phases;
		op->phases = start;
		(void)pthread_mutex_unlock(&op->lock);
	}
	va_start(args, format);
	push_text(op, VENV_EVENT_PHASE_BEGIN, machine, phase, format, args);
	va_end(args);
}

/* Microseconds since the phase began, and forget it. */
static uint64_t phase_elapsed(struct venv_op *op, const char *machine, const char *phase)
{
	_cleanup_free_ char *key = phase_key(machine, phase);
	uint64_t elapsed = 0;

	(void)pthread_mutex_lock(&op->lock);
	for (struct phase_start **link = &op->phases; key && *link; link = &(*link)->next) {
		struct phase_start *start = *link;

		if (!start->key || strcmp(start->key, key) != 0)
			continue;
		elapsed = venv__now_us() - start->us;
		*link = start->next;
		free(start->key);
		free(start);
		break;
	}
	(void)pthread_mutex_unlock(&op->lock);
	return elapsed;
}

void venv__op_end(struct venv_op *op, const char *machine, const char *phase)
{
	struct venv_event *event = op ? event_new(VENV_EVENT_PHASE_END, machine, phase) : NULL;

	if (!event)
		return;
	event->elapsed_us = phase_elapsed(op, machine, phase);
	push(op, event);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

void venv__op_progress(struct venv_op *op, const char *machine, const char *phase, uint64_t done,
		       uint64_t total)
{
	struct venv_event *event;
	bool overwritten = false;

	if (!op)
		return;
	(void)pthread_mutex_lock(&op->lock);
	event = op->last;
	if (event && event->type == VENV_EVENT_PROGRESS && same(event->machine, machine) &&
	    same(event->phase, phase)) {
		event->done = done;
		event->total = total;
		overwritten = true;
	}
	(void)pthread_mutex_unlock(&op->lock);
	if (overwritten)
		return;
	event = event_new(VENV_EVENT_PROGRESS, machine, phase);
	if (!event)
		return;
	event->done = done;
	event->total = total;
	push(op, event);
}

void venv__op_output(struct venv_op *op, const char *machine, const char *phase, int stream,
		     const char *data, size_t length)
{
	struct venv_event *event = op ? event_new(VENV_EVENT_OUTPUT, machine, phase) : NULL;

	if (!event)
		return;
	event->stream = stream;
	event->text = strndup(data, length);
	push(op, event);
}

void venv__op_notice(struct venv_op *op, const char *machine, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	push_text(op, VENV_EVENT_NOTICE, machine, NULL, format, args);
	va_end(args);
}

void venv__op_warning(struct venv_op *op, const char *machine, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	push_text(op, VENV_EVENT_WARNING, machine, NULL, format, args);
	va_end(args);
}

void venv__op_state(struct venv_op *op, const char *machine, const char *state)
{
	struct venv_event *event = op ? event_new(VENV_EVENT_STATE, machine, NULL) : NULL;

	if (!event)
		return;
	event->text = copy(state);
	push(op, event);
}

void venv__op_error(struct venv_op *op, const char *machine, const venv_error *error)
{
	struct venv_event *event = op ? event_new(VENV_EVENT_ERROR, machine, NULL) : NULL;

	if (!event)
		return;
	event->text = copy(venv_error_message(error));
	event->error = venv__error_copy(error);
	push(op, event);
}

int venv__op_cancelled(struct venv_op *op, venv_error **err)
{
	struct pollfd wait = { .fd = op ? op->cancel_fd : -1, .events = POLLIN };

	if (!op || poll(&wait, 1, 0) <= 0)
		return 0;
	return venv__fail(err, VENV_ERR_CANCELLED, "cancelled");
}

int venv__op_cancel_fd(const struct venv_op *op)
{
	return op ? op->cancel_fd : -1;
}

void venv__op_set_result(struct venv_op *op, json_t *json)
{
	json_decref(op->result);
	op->result = json;
}

void venv__op_set_exit_status(struct venv_op *op, int status)
{
	op->exit_status = status;
}

int venv__op_request_fd(struct venv_op *op)
{
	return op->request_fd;
}

struct op_request venv__op_take_request(struct venv_op *op)
{
	struct op_request ret = { 0 };

	drain(op->request_fd);
	ret.rows = atomic_exchange(&op->rows, 0);
	ret.columns = atomic_load(&op->columns);
	ret.signals = atomic_exchange(&op->signals, 0);
	return ret;
}
