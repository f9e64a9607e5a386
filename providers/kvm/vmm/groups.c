/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control groups that the machine's process is in, with the limits of its spec; under systemd in a scope of
 * their own, so that the machine outlives the login session that it was started in, as far as its user may
 * linger. Who stops the scope pushes the guest's power button.
 *
 * Theory of operation: systemd takes its time, and so does the kernel for each group that a process moves to. So a
 * child makes them and moves us there while we make the machine, and says what came of it before anybody is told
 * that the machine runs. What is left of them when the machine has ended is removed by the library, which finds
 * them in "alive"; systemd removes its scope itself.
 */
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cgroup/cgroup.h"
#include "vmm.h"

enum { FORCE_US = 10 * 1000 * 1000, WAIT_MS = 20000, CHILD_FD = STDERR_FILENO + 1 };

static json_t *make(const struct cgroup_order *order)
{
	_cleanup_error_ venv_error *error = NULL;
	struct cgroup cgroup = CGROUP_INIT;
	_cleanup_strv_ char **paths = NULL;
	int r = venv__cgroup_open(&cgroup, order, &error);

	if (r == 0)
		r = venv__cgroup_enter(&cgroup, order->member, &error);
	if (r < 0) {
		venv__cgroup_remove(&cgroup);
		return venv__error_to_json(error);
	}
	if (cgroup.layout != CGROUP_SYSTEMD)
		paths = venv__cgroup_paths(&cgroup);
	return json_pack("{s:o}", "groups", venv__json_from_strv(paths));
}

static _Noreturn void run_child(const struct cgroup_order *order, int socket)
{
	_cleanup_json_ json_t *answer = NULL;

	/* whoever holds a copy of a lock or of a connection keeps it */
	if (dup2(socket, CHILD_FD) < 0)
		_exit(1);
	(void)close_range(CHILD_FD + 1, ~0U, 0);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)signal(SIGTERM, SIG_IGN); /* in the scope, too, for as long as this takes */
	answer = make(order);
	if (answer)
		(void)venv__msg_send(CHILD_FD, answer, NULL, 0, NULL);
	_exit(answer == NULL);
}

int vmm_groups_make(struct vmm *vmm, venv_error **err)
{
	char unit[64], description[128];
	const struct cgroup_order order = {
		.id = venv__json_str(vmm->config.json, "id"),
		.limits = json_object_get(vmm->config.json, "limits"),
		.unit = unit,
		.description = description,
		.stop_timeout_us = vmm->config.stop_timeout_ms * 1000ULL + FORCE_US,
		.member = getpid(),
	};
	int pair[2], r;
	pid_t child;

	if (!order.id)
		return 0;
	(void)snprintf(unit, sizeof(unit), "venv-vmm-%d.scope", order.member);
	(void)snprintf(description, sizeof(description), "venv machine '%s'", vmm->config.name);
	r = venv__msg_pair(pair);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	(void)signal(SIGCHLD, SIG_IGN); /* nobody will wait for it */
	child = fork();
	if (child == 0)
		run_child(&order, pair[1]);
	r = child < 0 ? venv__fail_errno(err, errno, "cannot make a process") : 0;
	(void)close(pair[1]);
	vmm->groups_fd = pair[0];
	return r;
}

int vmm_groups_wait(struct vmm *vmm, venv_error **err)
{
	_cleanup_json_ json_t *answer = NULL;
	int r;

	if (vmm->groups_fd < 0)
		return 0;
	r = venv__msg_receive(vmm->groups_fd, WAIT_MS, &answer, NULL, err);
	(void)close(take_fd(&vmm->groups_fd));
	if (r == 0)
		return venv__fail(err, VENV_ERR_SYSTEM,
				  "who makes the machine's control groups ended");
	if (r > 0)
		r = venv__error_from_json(answer, err);
	if (r == 0)
		vmm->groups = json_incref(json_object_get(answer, "groups"));
	return r;
}
