/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a machine's console: what the guest says goes to the log and to who is attached,
 * what is typed there goes to the guest.
 *
 * Theory of operation: vCPU threads put bytes into a ring and never wait. The first byte into an empty
 * ring sets a timer, so the loop's thread takes them out in bunches, a moment later. What does not fit is
 * dropped, counted and told. The log gets LOG_RATE bytes a second with bursts of LOG_BURST, the rest is
 * left out, and is begun anew at LOG_MAX (the last one is kept): a guest that floods costs neither time
 * nor disk. Who is attached and does not read loses output likewise, not the machine.
 */
#ifndef VMM_CONSOLE_H
#define VMM_CONSOLE_H

#include <stdint.h>

#include "util/error.h"
#include "util/loop.h"
#include "util/peer.h"

enum {
	CONSOLE_LOG_MAX = 1024 * 1024,
	CONSOLE_LOG_RATE = 128 * 1024,
	CONSOLE_LOG_BURST = 512 * 1024,
};

struct console;

/* log, old_log: files to append to, taken over; -1: none. */
int console_new(struct loop *loop, int log, int old_log, struct console **ret, venv_error **err);
void console_free(struct console *console); /* writes out what is left; NULL is fine */
/* From any thread; the type of uart_init(). */
void console_put(void *console, const void *data, size_t size);
/* A line of our own into the log: "venv: …". The loop's thread, as all that follows. */
void console_say(struct console *console, const char *format, ...) _printf_(2, 3);
void console_flush(struct console *console);
/* Who is attached: to be asked who takes what is typed, and for a connection. */
struct peer *console_peer(struct console *console);

#endif
