/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual machines by our own monitor. This file is the table and the short slots: the library says what
 * machine it shall be (order.c and the files that it calls), venv-vmm runs it (vmm/README.md).
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "alive.h"
#include "cgroup/cgroup.h"
#include "kvm.h"
#include "net/dial.h"

enum {
	CALL_MS = 20000,
	STOP_TIMEOUT_MS = 60000,
	SSH_PORT = 22,
};

static int call(const struct machine *machine, const char *op, json_t **ret, venv_error **err)
{
	return venv__alive_call(machine, json_pack("{s:s}", "op", op), NULL, 0, CALL_MS, ret, NULL,
				err);
}

/* ---- From nothing, and back ---------------------------------------------------------------- */

static int create(struct machine *machine, struct venv_op *op, venv_error **err)
{
	int r;

	(void)op;
	if (machine->spec->n_networks || machine->from_rootfs) {
		r = kvm_settle(machine, err);
		return r < 0 ? r : kvm_disk_create(machine, err);
	}
	r = venv__fail_spec(err, VENV_ERR_UNSUPPORTED, &machine->spec->place,
			    "a virtual machine from a disk is reached by its network, and it has "
			    "none ('networks: []')");
	return venv__hint(r, err, "leave 'networks' away");
}

/* It holds the lock as long as it may write to its disks. */
static bool is_gone(const struct machine *machine)
{
	_cleanup_close_ int fd =
		openat(machine->dir_fd, "alive", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && venv__lock_is_held(fd))
		return false;
	kvm_clean(machine);
	return true;
}

int kvm_kill(const struct machine *machine, venv_error **err)
{
	return venv__alive_force(machine, ALIVE_KILL_MS, is_gone, err);
}

/* What it did is given up. */
static int forget(const struct machine *machine, venv_error **err)
{
	int r;

	(void)venv__alive_ended(machine, is_gone);
	r = kvm_settle(machine, err);
	return r < 0 ? r : kvm_suspend_drop(machine, err);
}

static int stop(struct machine *machine, enum stop_how how, struct venv_op *op, venv_error **err)
{
	enum machine_state state = kvm_state(machine, NULL);
	json_int_t timeout =
		machine->spec->stop_timeout_ms ? machine->spec->stop_timeout_ms : STOP_TIMEOUT_MS;
	int r;

	(void)op;
	if (state == MACHINE_SUSPENDED)
		return forget(machine, err);
	if (state <= MACHINE_STOPPED || state == MACHINE_CRASHED) {
		(void)venv__alive_ended(machine, is_gone);
		return 0;
	}
	/* left by a suspend that was killed: the machine goes on now to end, and writes to its disks */
	r = kvm_suspend_drop(machine, err);
	if (r < 0)
		return r;
	if (how == STOP_KILL)
		return kvm_kill(machine, err);
	r = venv__alive_end(machine, json_pack("{s:s, s:I}", "op", "stop", "timeout_ms", timeout),
			    (int)MIN(timeout + ALIVE_KILL_MS, 0x7fffffff), is_gone, err);
	return r == VENV_ERR_TIMEOUT
		       ? venv__hint(r, err, "end it with 'venv halt -f %s'", machine->name)
		       : r;
}

/* Its directory goes with all that is in it. */
static int destroy(struct machine *machine, struct venv_op *op, venv_error **err)
{
	int r = stop(machine, STOP_KILL, op, err);

	if (r < 0)
		return r;
	venv__cgroup_clean_own(machine->id);
	(void)unlinkat(machine->dir_fd, "alive", 0);
	return 0;
}

static int observe(struct machine *machine, enum machine_state *ret, venv_error **err)
{
	(void)err;
	*ret = kvm_state(machine, NULL);
	return 0;
}

/* ---- Of a machine that runs ---------------------------------------------------------------- */

static int connect_ssh(struct machine *machine, int *ret_fd, venv_error **err)
{
	return machine->from_rootfs ? kvm_agent_connect(machine, ret_fd, err)
				    : venv__net_dial(machine, SSH_PORT, ret_fd, err);
}

static int dial(struct machine *machine, const char *host, uint16_t port, int *ret_fd,
		venv_error **err)
{
	return machine->from_rootfs ? kvm_agent_dial(machine, host, port, ret_fd, err)
				    : VENV_ERR_UNSUPPORTED;
}

static int pause_machine(struct machine *machine, struct venv_op *op, venv_error **err)
{
	(void)op;
	return call(machine, "pause", NULL, err);
}

static int info(struct machine *machine, json_t **ret, venv_error **err)
{
	json_t *record = NULL;
	enum machine_state state = kvm_state(machine, &record);

	if (state > MACHINE_STOPPED && state < MACHINE_CRASHED && record) {
		if (machine->from_rootfs)
			kvm_agent_info(machine, record);
		*ret = record;
		return 0;
	}
	json_decref(record);
	return venv__fail(err, VENV_ERR_STATE, "the machine is not running");
}

/* Its process has the guest's memory in it. "VmRSS:    1234 kB" */
static uint64_t read_status(const char *status, const char *key)
{
	const char *line = strstr(status, key);
	unsigned long long kilobytes = 0;

	return line && sscanf(line + strlen(key), ": %llu kB", &kilobytes) == 1
		       ? (uint64_t)kilobytes << 10
		       : 0;
}

static void add_memory(const struct machine *machine, json_t *stats)
{
	_cleanup_json_ json_t *record = NULL;
	_cleanup_free_ char *status = NULL;
	char path[64];

	(void)venv__alive_state(machine->dir_fd, KVM_DISK, &record);
	(void)snprintf(path, sizeof(path), "/proc/%d/status",
		       (int)venv__json_int(record, "pid", 0));
	if (venv__file_read(AT_FDCWD, path, 16384, &status, NULL, NULL) < 0)
		return;
	(void)json_object_set_new(stats, "memory",
				  json_integer((json_int_t)read_status(status, "VmRSS")));
	(void)json_object_set_new(stats, "memory_peak",
				  json_integer((json_int_t)read_status(status, "VmHWM")));
}

static int stats(struct machine *machine, json_t **ret, venv_error **err)
{
	_cleanup_json_ json_t *answer = NULL;
	json_t *figures;
	int r = call(machine, "stats", &answer, err);

	if (r < 0)
		return r;
	figures = json_pack("{s:I, s:I}", "cpu_us", (json_int_t)venv__json_int(answer, "cpu_us", 0),
			    "disk", (json_int_t)kvm_disk_usage(machine));
	if (!figures)
		return venv__fail_nomem(err);
	add_memory(machine, figures);
	if (machine->spec->memory)
		(void)json_object_set_new(figures, "memory_limit",
					  json_integer((json_int_t)machine->spec->memory));
	*ret = figures;
	return 0;
}

/* ---- Network ------------------------------------------------------------------------------- */

static int plug(struct machine *machine, venv_error **err)
{
	int r = kvm_net_again(machine, err);

	if (r < 0)
		return r;
	return venv__alive_call(machine, json_pack("{s:s}", "op", "plug"), &machine->net->socket, 1,
				CALL_MS, NULL, NULL, err);
}

const struct provider kvm_provider = {
	.name = "kvm",
	.live_limits = kvm_live_limits,
	.disks = true,
	.guest_ssh = true,
	.probe = kvm_probe,
	.create = create,
	.destroy = destroy,
	.start = kvm_start,
	.stop = stop,
	.observe = observe,
	.connect = connect_ssh,
	.exec = kvm_agent_exec,
	.pause = pause_machine,
	.resume = kvm_resume,
	.apply = kvm_apply,
	.suspend = kvm_suspend,
	.snapshot = kvm_snapshot,
	.restore = kvm_restore,
	.stats = stats,
	.info = info,
	.lend_network = venv__alive_lend,
	.console = venv__alive_console,
	.plug = plug,
	.own = kvm_folder_own,
	.dial = dial,
	.doctor = kvm_doctor,
};
