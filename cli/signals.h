/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals while something long runs: blocked, counted, and let in only while waiting, so that nothing
 * happens between two statements.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>

enum { SIGNALS_MAX = 6 };

struct signals {
	sigset_t before;
	struct sigaction old[SIGNALS_MAX];
	sigset_t during; /* what is let in while waiting */
};

void signals_begin(struct signals *signals);
void signals_end(struct signals *signals);
/* As ppoll(), and returns 0 when a signal came. */
int signals_wait(struct signals *signals, struct pollfd *fds, nfds_t count, int timeout_ms);

/* Handle what came, without waiting. */
void signals_let_in(struct signals *signals);

/* How often Ctrl-C came since the last call. */
unsigned signals_take_interrupts(void);
/* The signal that wants an end (SIGTERM, SIGHUP, SIGQUIT), or 0. */
int signals_terminated(void);
bool signals_take_resized(void);
/* The program went on after it had been stopped. */
bool signals_take_continued(void);

#endif
