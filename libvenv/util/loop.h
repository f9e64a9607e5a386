/* SPDX-License-Identifier: Apache-2.0 */
/* A small event loop for our own single-threaded programs: epoll, one callback per descriptor. */
#ifndef VENV_UTIL_LOOP_H
#define VENV_UTIL_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>

#include "compiler.h"

struct loop;
struct loop_source;

/* events: EPOLLIN… Removing any source, also its own, is allowed inside a callback. */
typedef void (*loop_fn)(void *user, int fd, uint32_t events);

struct loop *venv__loop_new(void);
void venv__loop_free(struct loop *loop); /* sources with it; descriptors are the callers' */
/* NULL: out of memory or a descriptor that epoll refuses (errno). */
struct loop_source *venv__loop_add(struct loop *loop, int fd, uint32_t events, loop_fn fn,
				   void *user);
int venv__loop_set_events(struct loop_source *source, uint32_t events); /* 0 or -errno */
void venv__loop_remove(struct loop_source *source);                     /* NULL is fine */
/* A timer: calls fn once after ms, then every period_ms if not 0. fd is -1 in the
 * callback. One without a period removes itself before the callback: forget the pointer there. */
struct loop_source *venv__loop_timer(struct loop *loop, uint64_t ms, uint64_t period_ms, loop_fn fn,
				     void *user);
/* Dispatch until venv__loop_quit(); returns its value, or -errno. */
int venv__loop_run(struct loop *loop);
void venv__loop_quit(struct loop *loop, int value);

#endif
