/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The project's network outlives the login session that started it, as its machines do: systemd kills
 * what is left of a session when it is told to (KillUserProcesses). So the three processes move to a scope of their own. A child asks
 * for it, and nobody waits: without a scope the network works all the same.
 *
 * When everything is stopped (the user's last session ended without linger, the host shuts down) the
 * machines are told to end, and the network is there for them until they have: the signal that its
 * scope gets is one that means nothing, and it ends with the last machine.
 */
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "netd.h"
#include "util/scope.h"
#include "util/sys.h"

enum { STOP_TIMEOUT_US = 15 * 1000 * 1000 }; /* longer than a machine's scope has */

static _Noreturn void ask(const struct scope *scope)
{
	char what[256] = "";
	int r;

	/* whoever holds a copy of the listener or of a connection keeps it open */
	(void)close_range(STDERR_FILENO + 1, ~0U, 0);
	r = venv__scope_start(scope, what, sizeof(what));
	if (r < 0)
		venv__netd_log("systemd gave no scope: %s", what[0] ? what : strerror(-r));
	_exit(r < 0);
}

void venv__netd_scope(const struct netd *netd, const pid_t *children, size_t n)
{
	char unit[64], description[128];
	pid_t pids[4] = { getpid() };
	const struct scope scope = {
		.unit = unit,
		.description = description,
		.pids = pids,
		.n_pids = n + 1,
		.stop_signal = SIGCONT,
		.stop_timeout_us = STOP_TIMEOUT_US,
		.cpu_weight = UINT64_MAX,
		.io_weight = UINT64_MAX,
	};

	if (!venv__systemd_runs() || n + 1 > ARRAY_SIZE(pids))
		return;
	memcpy(pids + 1, children, n * sizeof(*pids));
	(void)snprintf(unit, sizeof(unit), "venv-netd-%d.scope", pids[0]);
	(void)snprintf(description, sizeof(description), "venv network of project '%s'",
		       netd->project);
	(void)signal(SIGCHLD, SIG_IGN); /* nobody will wait for it */
	if (fork() == 0)
		ask(&scope);
}
