/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transient scope for a machine, asked of systemd over the system's bus (root) or the user's. The
 * library is loaded, used and gone with a child process, so that the keeper stays small.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "cgroup.h"
#include "util/process.h"
#include "util/scope.h"

char *venv__cgroup_systemd_own(const char *unit)
{
	_cleanup_free_ char *tail = NULL;
	struct cgroup_host now;
	char *path, *end;

	if (asprintf(&tail, "/%s/keeper", unit) < 0)
		return NULL;
	venv__cgroup_host_find(&now);
	path = take_ptr(now.base);
	venv__cgroup_host_done(&now);
	end = path ? strstr(path, tail) : NULL;
	if (end && strcmp(end, tail) == 0) {
		*strrchr(path, '/') = '\0';
		return path;
	}
	free(path);
	return NULL;
}

static uint64_t positive(const json_t *limits, const char *key, uint64_t otherwise)
{
	int64_t value = venv__json_int(limits, key, 0);

	return value > 0 ? (uint64_t)value : otherwise;
}

int venv__cgroup_systemd_scope(const struct cgroup_order *order, venv_error **err)
{
	const json_t *limits = order->limits;
	const pid_t pids[] = { getpid(), order->member };
	char what[256] = "";
	pid_t child;
	const struct scope scope = {
		.unit = order->unit,
		.description = order->description,
		.pids = pids,
		.n_pids = order->member ? 2 : 1,
		.delegate = true,
		.stop_signal = SIGTERM,
		.stop_timeout_us = order->stop_timeout_us,
		/* what the scope itself must have, because it counts between machines */
		.cpu_weight = positive(limits, "cpu_weight", UINT64_MAX),
		.io_weight = positive(limits, "io_weight", UINT64_MAX),
		.memory_low = positive(limits, "memory_low", 0),
	};
	int pipe_fds[2], status;
	ssize_t n;

	if (pipe(pipe_fds) < 0)
		return venv__fail_errno(err, errno, "cannot ask systemd for a scope");
	child = fork();
	if (child == 0) {
		status = venv__scope_start(&scope, what, sizeof(what));
		if (status < 0 && write(pipe_fds[1], what, strlen(what)) < 0)
			_exit(2);
		_exit(status < 0 ? 1 : 0);
	}
	(void)close(pipe_fds[1]);
	n = read(pipe_fds[0], what, sizeof(what) - 1);
	(void)close(pipe_fds[0]);
	what[n > 0 ? n : 0] = '\0';
	status = child < 0 ? -1 : venv__child_wait(child);
	if (status == 0)
		return 0;
	return venv__hint(venv__fail(err, VENV_ERR_HOST,
				     "systemd gave no scope for the machine: %s",
				     what[0] ? what : "it did not answer"),
			  err, "check 'systemctl --user status' and that XDG_RUNTIME_DIR is set");
}
