/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines as containers of our own. This file is the table and the short slots: the library only
 * prepares (plan, filter) and asks; venv-keeper runs the machine (keeper/keeper.h), and what is
 * inside is made by its children (setup/setup.h, enter/enter.h).
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup/cgroup.h"
#include "container.h"

enum { CALL_MS = 20000 };

static int create(struct machine *machine, struct venv_op *op, venv_error **err)
{
	(void)op;
	return container_upper_make(machine, err);
}

/* A keeper that says so in "alive" has ended its machine, and takes a moment yet to end itself. */
static bool is_gone(const struct machine *machine)
{
	enum machine_state state = container_record_state(machine->dir_fd, NULL);

	if (state == MACHINE_CRASHED)
		container_clean(machine);
	return state <= MACHINE_STOPPED || state == MACHINE_CRASHED;
}

static int stop(struct machine *machine, enum stop_how how, struct venv_op *op, venv_error **err)
{
	json_int_t timeout =
		machine->spec->stop_timeout_ms ? machine->spec->stop_timeout_ms : 60000;
	int r;

	(void)op;
	if (is_gone(machine))
		return 0;
	if (how == STOP_KILL)
		return venv__alive_force(machine, ALIVE_KILL_MS, is_gone, err);
	r = venv__alive_end(machine, json_pack("{s:s, s:I}", "op", "stop", "timeout_ms", timeout),
			    (int)MIN(timeout + ALIVE_KILL_MS, 0x7fffffff), is_gone, err);
	return r == VENV_ERR_TIMEOUT
		       ? venv__hint(r, err, "end it with 'venv halt -f %s'", machine->name)
		       : r;
}

static int destroy(struct machine *machine, struct venv_op *op, venv_error **err)
{
	int r = stop(machine, STOP_KILL, op, err);

	if (r < 0)
		return r;
	venv__cgroup_clean_own(machine->id);
	r = container_upper_remove(machine, err);
	(void)unlinkat(machine->dir_fd, "alive", 0);
	return r;
}

static int observe(struct machine *machine, enum machine_state *ret, venv_error **err)
{
	(void)err;
	*ret = container_record_state(machine->dir_fd, NULL);
	return 0;
}

static int connect_ssh(struct machine *machine, int *ret_fd, venv_error **err)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	int r = venv__alive_call(machine, json_pack("{s:s}", "op", "ssh"), NULL, 0, CALL_MS, NULL,
				 &fds, err);

	if (r < 0)
		return r;
	*ret_fd = venv__msg_fds_take(&fds, 0);
	return *ret_fd < 0 ? venv__fail(err, VENV_ERR_SYSTEM, "venv-keeper gave no connection") : 0;
}

static int exec(struct machine *machine, const struct exec_spec *spec, struct exec_handle *ret,
		venv_error **err)
{
	int control = venv__alive_connect(machine, err);

	return control < 0 ? control : venv__alive_exec(control, spec, ret, err);
}

static int pause_machine(struct machine *machine, struct venv_op *op, venv_error **err)
{
	(void)op;
	return venv__alive_call(machine, json_pack("{s:s}", "op", "pause"), NULL, 0, CALL_MS, NULL,
				NULL, err);
}

static int resume(struct machine *machine, struct venv_op *op, venv_error **err)
{
	(void)op;
	return venv__alive_call(machine, json_pack("{s:s}", "op", "resume"), NULL, 0, CALL_MS, NULL,
				NULL, err);
}

/* All limits as the spec now has them; the one that was taken away must be said as well. */
static int apply(struct machine *machine, const json_t *changed, struct venv_op *op,
		 venv_error **err)
{
	json_t *request = venv__cgroup_limits(machine->spec);
	const json_t *change;
	size_t i;

	(void)op;
	if (!request)
		return venv__fail_nomem(err);
	json_array_foreach(changed, i, change)
	{
		const char *key = venv__json_str(change, "key");

		if (key && strcmp(key, "oom") == 0)
			(void)venv__json_set_str(request, "oom",
						 machine->spec->oom == OOM_FREEZE ? "freeze"
										  : "kill");
		else if (key && !json_object_get(request, key))
			(void)json_object_set_new(request, key, json_null());
	}
	(void)venv__json_set_str(request, "op", "limits");
	return venv__alive_call(machine, request, NULL, 0, CALL_MS, NULL, NULL, err);
}

static int stats(struct machine *machine, json_t **ret, venv_error **err)
{
	int r = venv__alive_call(machine, json_pack("{s:s}", "op", "stats"), NULL, 0, CALL_MS, ret,
				 NULL, err);

	if (r == 0)
		container_upper_usage(machine, *ret);
	return r;
}

static int info(struct machine *machine, json_t **ret, venv_error **err)
{
	json_t *record = NULL;
	enum machine_state state = container_record_state(machine->dir_fd, &record);

	if (state > MACHINE_STOPPED && state != MACHINE_CRASHED && record) {
		*ret = record;
		return 0;
	}
	json_decref(record);
	return venv__fail(err, VENV_ERR_STATE, "the machine is not running");
}

static int plug(struct machine *machine, venv_error **err)
{
	if (!machine->net || machine->net->socket < 0)
		return venv__fail(err, VENV_ERR_INVALID, "no connection to netd");
	return venv__alive_call(machine, json_pack("{s:s}", "op", "plug"), &machine->net->socket, 1,
				CALL_MS, NULL, NULL, err);
}

static int dial(struct machine *machine, const char *host, uint16_t port, int *ret_fd,
		venv_error **err)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_error_ venv_error *problem = NULL;
	int r = venv__alive_call(
		machine,
		json_pack("{s:s, s:s, s:i}", "op", "dial", "host", host, "port", (int)port), NULL,
		0, CALL_MS, NULL, &fds, &problem);

	if (r < 0 && r != VENV_ERR_STATE)
		return venv__fail(err, VENV_ERR_NETWORK, "%s", venv_error_message(problem));
	if (r < 0)
		return venv__error_take(take_ptr(problem), err);
	*ret_fd = venv__msg_fds_take(&fds, 0);
	return *ret_fd < 0 ? venv__fail(err, VENV_ERR_SYSTEM, "venv-keeper gave no connection") : 0;
}

static const char *const live_limits[] = { LIMIT_KEYS, NULL };

const struct provider container_provider = {
	.name = "container",
	.live_limits = live_limits,
	.probe = container_probe,
	.create = create,
	.destroy = destroy,
	.start = container_start,
	.stop = stop,
	.observe = observe,
	.connect = connect_ssh,
	.exec = exec,
	.pause = pause_machine,
	.resume = resume,
	.apply = apply,
	.stats = stats,
	.info = info,
	.lend_network = venv__alive_lend,
	.console = venv__alive_console,
	.plug = plug,
	.dial = dial,
	.doctor = container_doctor,
};
