/* SPDX-License-Identifier: Apache-2.0 */
#include "signals.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

static const int numbers[SIGNALS_MAX] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGCONT };

static volatile sig_atomic_t interrupts, terminated, resized, continued;

static void on_signal(int number)
{
	if (number == SIGINT)
		interrupts = interrupts + 1;
	else if (number == SIGWINCH)
		resized = 1;
	else if (number == SIGCONT)
		continued = 1;
	else
		terminated = number;
}

void signals_begin(struct signals *signals)
{
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t block;

	interrupts = terminated = resized = continued = 0;
	(void)sigemptyset(&block);
	for (size_t i = 0; i < SIGNALS_MAX; i++)
		(void)sigaddset(&block, numbers[i]);
	(void)sigprocmask(SIG_BLOCK, &block, &signals->before);
	signals->during = signals->before;
	for (size_t i = 0; i < SIGNALS_MAX; i++) {
		(void)sigdelset(&signals->during, numbers[i]);
		(void)sigaction(numbers[i], NULL, &signals->old[i]);
		/* Who started us with nohup or in the background wants it ignored. */
		if (signals->old[i].sa_handler != SIG_IGN)
			(void)sigaction(numbers[i], &action, NULL);
	}
}

void signals_end(struct signals *signals)
{
	for (size_t i = 0; i < SIGNALS_MAX; i++)
		(void)sigaction(numbers[i], &signals->old[i], NULL);
	(void)sigprocmask(SIG_SETMASK, &signals->before, NULL);
}

int signals_wait(struct signals *signals, struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec timeout = { timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000 };
	int r = ppoll(fds, count, timeout_ms < 0 ? NULL : &timeout, &signals->during);

	/* ppoll() lets no signal in when a descriptor is ready: a busy one must not keep Ctrl-C out. */
	if (r > 0)
		signals_let_in(signals);
	return r < 0 ? 0 : r;
}

void signals_let_in(struct signals *signals)
{
	sigset_t blocked;

	(void)sigprocmask(SIG_SETMASK, &signals->during, &blocked);
	(void)sigprocmask(SIG_SETMASK, &blocked, NULL);
}

unsigned signals_take_interrupts(void)
{
	unsigned n = (unsigned)interrupts;

	interrupts = 0;
	return n;
}

int signals_terminated(void)
{
	return terminated;
}

bool signals_take_resized(void)
{
	bool yes = resized;

	resized = 0;
	return yes;
}

bool signals_take_continued(void)
{
	bool yes = continued;

	continued = 0;
	return yes;
}
