/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: sources are heap objects whose address is in the epoll event. A source that is
 * removed while events are being dispatched may still stand in the batch just read; so it is only
 * marked dead and freed when the batch is done.
 */
#include "loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct loop_source {
	struct loop *loop;
	struct loop_source *next;
	int fd;
	bool timer; /* the descriptor is ours */
	bool once;
	bool dead;
	loop_fn fn;
	void *user;
};

struct loop {
	int epoll_fd;
	bool quit, dispatching;
	bool any_dead; /* a source waits to be freed */
	int value;
	struct loop_source *sources;
};

struct loop *venv__loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		free(loop);
		return NULL;
	}
	return loop;
}

static void bury(struct loop *loop, bool all)
{
	struct loop_source **link = &loop->sources;

	if (!all && !loop->any_dead)
		return;
	loop->any_dead = false;
	while (*link) {
		struct loop_source *source = *link;

		if (!all && !source->dead) {
			link = &source->next;
			continue;
		}
		*link = source->next;
		if (source->timer && source->fd >= 0)
			(void)close(source->fd);
		free(source);
	}
}

void venv__loop_free(struct loop *loop)
{
	if (!loop)
		return;
	bury(loop, true);
	(void)close(loop->epoll_fd);
	free(loop);
}

struct loop_source *venv__loop_add(struct loop *loop, int fd, uint32_t events, loop_fn fn,
				   void *user)
{
	struct loop_source *source = calloc(1, sizeof(*source));
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (!source)
		return NULL;
	*source = (struct loop_source){ .loop = loop, .fd = fd, .fn = fn, .user = user };
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		free(source);
		return NULL;
	}
	source->next = loop->sources;
	loop->sources = source;
	return source;
}

int venv__loop_set_events(struct loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno
											: 0;
}

void venv__loop_remove(struct loop_source *source)
{
	if (!source || source->dead)
		return;
	(void)epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	source->dead = true;
	source->loop->any_dead = true;
	if (!source->loop->dispatching)
		bury(source->loop, false);
}

struct loop_source *venv__loop_timer(struct loop *loop, uint64_t ms, uint64_t period_ms, loop_fn fn,
				     void *user)
{
	struct itimerspec spec = {
		.it_value = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 },
		.it_interval = { (time_t)(period_ms / 1000), (long)(period_ms % 1000) * 1000000 },
	};
	struct loop_source *source;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return NULL;
	if (!ms)
		spec.it_value.tv_nsec = 1;
	source = timerfd_settime(fd, 0, &spec, NULL) < 0
			 ? NULL
			 : venv__loop_add(loop, fd, EPOLLIN, fn, user);
	if (!source) {
		(void)close(fd);
		return NULL;
	}
	source->timer = true;
	source->once = !period_ms;
	return source;
}

static void dispatch(struct loop_source *source, uint32_t events)
{
	uint64_t expirations;

	if (source->dead)
		return;
	if (!source->timer) {
		source->fn(source->user, source->fd, events);
		return;
	}
	if (read(source->fd, &expirations, sizeof(expirations)) != sizeof(expirations))
		return;
	if (source->once)
		venv__loop_remove(source);
	source->fn(source->user, -1, events);
}

int venv__loop_run(struct loop *loop)
{
	struct epoll_event events[32];

	while (!loop->quit) {
		int n = epoll_wait(loop->epoll_fd, events, 32, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		loop->dispatching = true;
		for (int i = 0; i < n && !loop->quit; i++)
			dispatch(events[i].data.ptr, events[i].events);
		loop->dispatching = false;
		bury(loop, false);
	}
	loop->quit = false; /* it may be run again */
	return loop->value;
}

void venv__loop_quit(struct loop *loop, int value)
{
	loop->quit = true;
	loop->value = value;
}
