/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent was killed, as the machine's root may do, or died: it is started again. At once the first time, and ever
 * later as long as it does not live, so that one which cannot keeps nobody from working.
 *
 * Both end by SIGTERM: an init that switches the machine off sends it to all that is left, and waits for them, systemd for
 * a minute and a half.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

enum { FIRST_MS = 100, LAST_MS = 30000, STEADY_MS = 60000 };

static int64_t now_ms(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void guest_watch_plan(struct guest_watch *watch, int64_t now)
{
	bool steady = !watch->delay || now - watch->started >= STEADY_MS;

	watch->delay = steady ? FIRST_MS : watch->delay * 2 > LAST_MS ? LAST_MS : watch->delay * 2;
	watch->due = now + watch->delay;
}

void guest_watch_ended(struct guest *guest)
{
	guest->agent = 0;
	guest_watch_plan(&guest->watch, now_ms());
	guest_say("the agent ended, it starts again in %d ms", guest->watch.delay);
}

bool guest_watch_wait(const struct guest *guest, struct timespec *ret)
{
	int64_t ms = guest->watch.due - now_ms();

	if (guest->agent > 0)
		return false;
	ms = ms < 0 ? 0 : ms;
	*ret = (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
	return true;
}

void guest_watch_start(struct guest *guest)
{
	struct timespec rest;

	if (!guest_watch_wait(guest, &rest) || rest.tv_sec || rest.tv_nsec)
		return;
	guest->watch.started = now_ms();
	guest->agent = guest_agent_start(guest);
	if (guest->agent < 0)
		guest_watch_ended(guest);
}

static _Noreturn void watch(struct guest *guest)
{
	struct timespec rest;

	for (;;) {
		if (guest->agent > 0 && waitpid(guest->agent, NULL, 0) == guest->agent)
			guest_watch_ended(guest);
		if (guest_watch_wait(guest, &rest))
			(void)nanosleep(&rest, NULL);
		guest_watch_start(guest);
	}
}

pid_t guest_watch_fork(struct guest *guest)
{
	pid_t pid = fork();
	sigset_t none;

	if (pid != 0)
		return pid < 0 ? -errno : pid;
	(void)prctl(PR_SET_NAME, "venv-watch", 0, 0, 0);
	(void)setsid();
	(void)signal(SIGHUP, SIG_IGN);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	guest_agent_protect();
	watch(guest);
}
