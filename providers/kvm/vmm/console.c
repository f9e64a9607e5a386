/* SPDX-License-Identifier: Apache-2.0 */
#include "console.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include "util/buf.h"
#include "util/file.h"
#include "util/sys.h"

enum {
	RING_SIZE = 64 * 1024,
	DELAY_NS = 2 * 1000 * 1000,
};

struct console {
	pthread_mutex_t lock;
	uint8_t ring[RING_SIZE]; /* under lock, as the next two */
	size_t first, count;
	uint64_t dropped;
	int timer_fd;
	struct loop_source *timer;

	int log, old_log;
	uint64_t credit, credited_us; /* bytes that the log may take, as of when */
	uint64_t left_out;
	bool in_line; /* the last byte in the log was no line's end */

	struct peer peer; /* who is attached */
};

void console_put(void *user, const void *data, size_t size)
{
	static const struct itimerspec soon = { .it_value = { .tv_nsec = DELAY_NS } };
	struct console *console = user;
	const uint8_t *bytes = data;
	bool was_empty;

	(void)pthread_mutex_lock(&console->lock);
	was_empty = console->count == 0;
	for (size_t i = 0; i < size; i++) {
		if (console->count == RING_SIZE) {
			console->dropped += size - i;
			break;
		}
		console->ring[(console->first + console->count++) % RING_SIZE] = bytes[i];
	}
	if (was_empty && size)
		(void)timerfd_settime(console->timer_fd, 0, &soon, NULL);
	(void)pthread_mutex_unlock(&console->lock);
}

/* Begin the log anew; what it held becomes the old one. */
static void rotate(struct console *console)
{
	char chunk[16384];
	off_t at = 0;
	ssize_t n;

	if (ftruncate(console->old_log, 0) < 0)
		return;
	while ((n = pread(console->log, chunk, sizeof(chunk), at)) > 0) {
		if (venv__write_all(console->old_log, chunk, (size_t)n) < 0)
			break;
		at += n;
	}
	(void)!ftruncate(console->log, 0); /* then it grows on */
}

static void append(struct console *console, const void *data, size_t size)
{
	struct stat st;

	if (console->log < 0 || !size)
		return;
	if (fstat(console->log, &st) == 0 && st.st_size > CONSOLE_LOG_MAX)
		rotate(console);
	/* a full disk must not stop the machine */
	(void)venv__write_all(console->log, data, size);
	console->in_line = ((const uint8_t *)data)[size - 1] != '\n';
}

void console_say(struct console *console, const char *format, ...)
{
	char line[512];
	va_list args;
	size_t length;

	va_start(args, format);
	length = venv__line(line, sizeof(line), console->in_line ? "\nvenv: " : "venv: ", format,
			    args);
	va_end(args);
	append(console, line, length);
}

static void refill(struct console *console)
{
	uint64_t now = venv__now_us(), gained;

	gained = (now - console->credited_us) * CONSOLE_LOG_RATE / 1000000;
	if (!gained)
		return;
	console->credit = MIN(console->credit + gained, (uint64_t)CONSOLE_LOG_BURST);
	console->credited_us = now;
}

static void log_output(struct console *console, const uint8_t *data, size_t size)
{
	size_t n;

	refill(console);
	n = MIN(size, console->credit);
	if (n && console->left_out) {
		console_say(console,
			    "%llu bytes of the guest's output are left out: it says too much",
			    (unsigned long long)console->left_out);
		console->left_out = 0;
	}
	append(console, data, n);
	console->credit -= n;
	console->left_out += size - n;
}

static size_t take_ring(struct console *console, uint8_t *ret, uint64_t *ret_dropped)
{
	size_t n, head;

	(void)pthread_mutex_lock(&console->lock);
	n = console->count;
	head = MIN(n, RING_SIZE - console->first);
	memcpy(ret, console->ring + console->first, head);
	memcpy(ret + head, console->ring, n - head);
	console->first = console->count = 0;
	*ret_dropped = console->dropped;
	console->dropped = 0;
	(void)pthread_mutex_unlock(&console->lock);
	return n;
}

void console_flush(struct console *console)
{
	uint8_t chunk[RING_SIZE];
	uint64_t dropped;
	size_t n = take_ring(console, chunk, &dropped);

	log_output(console, chunk, n);
	venv__peer_show(&console->peer, chunk, n);
	console->left_out += dropped;
}

static void on_timer(void *user, int fd, uint32_t events)
{
	uint64_t count;

	(void)events;
	(void)!read(fd, &count, sizeof(count));
	console_flush(user);
}

struct peer *console_peer(struct console *console)
{
	return &console->peer;
}

int console_new(struct loop *loop, int log, int old_log, struct console **ret, venv_error **err)
{
	struct console *console = calloc(1, sizeof(*console));
	int r;

	if (!console)
		return venv__fail_nomem(err);
	*console = (struct console){ .log = log,
				     .old_log = old_log,
				     .credit = CONSOLE_LOG_BURST,
				     .credited_us = venv__now_us() };
	venv__peer_init(&console->peer, loop);
	(void)pthread_mutex_init(&console->lock, NULL);
	console->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (console->timer_fd >= 0)
		console->timer =
			venv__loop_add(loop, console->timer_fd, EPOLLIN, on_timer, console);
	if (!console->timer) {
		r = venv__fail_errno(err, errno, "cannot make the console");
		console_free(console);
		return r;
	}
	*ret = console;
	return 0;
}

void console_free(struct console *console)
{
	if (!console)
		return;
	console_flush(console);
	venv__peer_let_go(&console->peer);
	venv__loop_remove(console->timer);
	if (console->timer_fd >= 0)
		(void)close(console->timer_fd);
	if (console->log >= 0)
		(void)close(console->log);
	if (console->old_log >= 0)
		(void)close(console->old_log);
	(void)pthread_mutex_destroy(&console->lock);
	free(console);
}
