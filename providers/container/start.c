/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a keeper and waiting until it has the machine running. */
#include <fcntl.h>
#include <string.h>

#include "cgroup/cgroup.h"
#include "container.h"
#include "util/process.h"

enum { FOLDERS_AT_ONCE = 8 };

void container_clean(const struct machine *machine)
{
	_cleanup_json_ json_t *record = NULL;
	_cleanup_strv_ char **groups = NULL;

	if (container_record_state(machine->dir_fd, &record) != MACHINE_CRASHED)
		return;
	groups = venv__json_strv(record, "groups");
	venv__cgroup_clean(groups, machine->id);
	(void)unlinkat(machine->dir_fd, "ctl", 0);
	(void)unlinkat(machine->dir_fd, "alive", 0);
}

static int spawn_keeper(const struct machine *machine, int socket, venv_error **err)
{
	_cleanup_free_ char *path = venv__context_program(machine->ctx, "venv-keeper");
	_cleanup_close_ int log =
		openat(machine->dir_fd, "keeper.log",
		       O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	char name[] = "venv-keeper";
	char *argv[] = { name, NULL };
	struct spawn spawn = {
		.path = path, .argv = argv, .fds = { -1, -1, log, socket }, .n_fds = 4
	};

	if (!path)
		return venv__fail_nomem(err);
	return venv__spawn(&spawn, NULL, NULL, err);
}

static int plan_file(const struct machine *machine, venv_error **err)
{
	_cleanup_json_ json_t *plan = container_plan(machine, err);
	_cleanup_free_ char *text = NULL;
	int fd;

	if (!plan)
		return VENV_ERR_INVALID;
	text = venv__json_text(plan, JSON_COMPACT);
	fd = text ? venv__memfd_sealed("venv-plan", text, strlen(text)) : -ENOMEM;
	return fd < 0 ? venv__fail_errno(err, -fd, "cannot pass the plan on") : fd;
}

static int send_folders(const struct machine *machine, int socket, venv_error **err)
{
	int r = 0;

	for (size_t i = 0; i < machine->n_folders && r == 0; i += FOLDERS_AT_ONCE) {
		_cleanup_json_ json_t *message = json_pack("{s:s}", "op", "folders");
		size_t n = MIN(machine->n_folders - i, (size_t)FOLDERS_AT_ONCE);
		int fds[FOLDERS_AT_ONCE];

		for (size_t k = 0; k < n; k++)
			fds[k] = machine->folders[i + k].host_fd;
		r = message ? venv__msg_send(socket, message, fds, n, err) : venv__fail_nomem(err);
	}
	return r;
}

static int send_start(const struct machine *machine, int socket, venv_error **err)
{
	const struct net_attachment *net =
		machine->net && machine->net->socket >= 0 ? machine->net : NULL;
	_cleanup_close_ int plan = plan_file(machine, err), filter = -1;
	_cleanup_json_ json_t *message = NULL, *network = json_pack("{s:s}", "op", "net");
	int r;

	if (plan < 0)
		return plan;
	filter = container_seccomp(machine->ctx, machine->spec->profile, err);
	if (filter < 0)
		return filter;
	message = json_pack("{s:s, s:b, s:b, s:I}", "op", "start", "filter", 1, "net", net != NULL,
			    "folders", (json_int_t)machine->n_folders);
	if (!message || !network)
		return venv__fail_nomem(err);
	r = venv__msg_send(socket, message, (int[]){ plan, machine->dir_fd, filter }, 3, err);
	if (r == 0 && net)
		r = venv__msg_send(socket, network,
				   (int[]){ net->socket, net->userns_fd, net->netns_fd }, 3, err);
	return r < 0 ? r : send_folders(machine, socket, err);
}

/* Where root runs venv, a folder's owner in the machine is looked up when it starts. */
static void tell_missing(const struct machine *machine, const json_t *users, struct venv_op *op)
{
	const json_t *user;
	size_t i;

	json_array_foreach(users, i, user) venv__op_notice(
		op, machine->name,
		"it has no user '%s' yet: the folders of that user are root's; "
		"let a step with 'as: root' make the user, then run 'venv reload %s'",
		json_string_value(user), machine->name);
}

static int wait_ready(const struct machine *machine, int socket, struct venv_op *op,
		      venv_error **err)
{
	_cleanup_json_ json_t *reply = NULL;
	int r = venv__alive_started(socket, op, &reply, err);

	if (r < 0)
		return r;
	if (r == 0)
		return venv__hint(
			venv__fail(err, VENV_ERR_SYSTEM, "venv-keeper ended unexpectedly"), err,
			"look into keeper.log in the machine's directory");
	tell_missing(machine, json_object_get(reply, "missing_users"), op);
	return 0;
}

int container_start(struct machine *machine, struct venv_op *op, venv_error **err)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], r = venv__msg_pair(pair);

	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	ours = pair[0];
	theirs = pair[1];
	r = spawn_keeper(machine, theirs, err);
	if (r < 0)
		return r;
	(void)close(take_fd(&theirs));
	r = send_start(machine, ours, err);
	return r < 0 ? r : wait_ready(machine, ours, op, err);
}
