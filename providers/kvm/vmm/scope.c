/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine outlives the login session that it was started in, as far as its user may linger: it moves to
 * a scope of systemd's of its own. A child asks for that and nobody waits: without a scope the machine
 * works all the same, unless systemd is told to kill what is left of a session. Who stops the scope
 * pushes the guest's power button.
 */
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/scope.h"
#include "util/sys.h"
#include "vmm.h"

enum { FORCE_US = 10 * 1000 * 1000 };

static _Noreturn void ask(const struct scope *scope)
{
	char what[256] = "";
	int r;

	/* whoever holds a copy of a lock or of a connection keeps it */
	(void)close_range(STDERR_FILENO + 1, ~0U, 0);
	r = venv__scope_start(scope, what, sizeof(what));
	if (r < 0)
		(void)fprintf(stderr, "systemd gave no scope: %s\n", what[0] ? what : strerror(-r));
	_exit(r < 0);
}

static uint64_t positive(const json_t *json, const char *key, uint64_t otherwise)
{
	int64_t value = venv__json_int(json, key, 0);

	return value > 0 ? (uint64_t)value : otherwise;
}

void vmm_scope(const struct vmm *vmm)
{
	const json_t *json = vmm->config.json;
	char unit[64], description[128];
	pid_t own = getpid();
	const struct scope scope = {
		.unit = unit,
		.description = description,
		.pids = &own,
		.n_pids = 1,
		.stop_signal = SIGTERM,
		.stop_timeout_us = vmm->config.stop_timeout_ms * 1000ULL + FORCE_US,
		.cpu_weight = positive(json, "cpu_weight", UINT64_MAX),
		.io_weight = positive(json, "io_weight", UINT64_MAX),
		.memory_low = positive(json, "memory_low", 0),
	};

	if (!venv__systemd_runs())
		return;
	(void)snprintf(unit, sizeof(unit), "venv-vmm-%d.scope", own);
	(void)snprintf(description, sizeof(description), "venv machine '%s'", vmm->config.name);
	(void)signal(SIGCHLD, SIG_IGN); /* nobody will wait for it */
	if (fork() == 0)
		ask(&scope);
}
