/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suspended machines: suspend/state and suspend/memory in the machine's directory.
 *
 * Theory of operation: the directory is there as a whole or not at all, and as long as it is there nobody has
 * changed the machine's disks since it was written: memory and disks belong together. So
 *
 *   suspend   let venv-vmm write suspend.new (the machine stands still then, its disks are flushed); rename it
 *             to suspend; end venv-vmm
 *   going on  start venv-vmm with it: the machine and its devices stand still when it is loaded; rename
 *             suspend to suspend.old; let the machine go on
 *
 * each with fsync before and after a rename. Whoever is killed in between leaves a machine that is paused, or
 * a suspended one. The memory file stays mapped by the machine that went on from it, though it has no name.
 */
#include <fcntl.h>
#include <string.h>

#include "alive.h"
#include "kvm.h"

enum { SAVE_MS = 3600 * 1000, CALL_MS = 20000 };

static const char new_name[] = KVM_SUSPEND ".new", old_name[] = KVM_SUSPEND ".old";

static bool is_there(const struct machine *machine)
{
	return faccessat(machine->dir_fd, KVM_SUSPEND, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

enum machine_state kvm_state(const struct machine *machine, json_t **ret_record)
{
	enum machine_state state = venv__alive_state(machine->dir_fd, KVM_DISK, ret_record);
	bool suspended;

	if (state != MACHINE_STOPPED && state != MACHINE_CRASHED)
		return state;
	if (!kvm_is_restoring(machine, &suspended))
		suspended = is_there(machine);
	return suspended ? MACHINE_SUSPENDED : state;
}

static int sync_dir(int fd, venv_error **err)
{
	return fsync(fd) < 0 ? venv__fail_errno(err, errno, "cannot write the machine's state") : 0;
}

int kvm_suspend_drop(const struct machine *machine, venv_error **err)
{
	int r = venv__tree_delete(machine->dir_fd, old_name, err);

	if (r == 0)
		r = venv__tree_delete(machine->dir_fd, new_name, err);
	if (r < 0 || !is_there(machine))
		return r;
	if (renameat(machine->dir_fd, KVM_SUSPEND, machine->dir_fd, old_name) < 0)
		return venv__fail_errno(err, errno, "cannot give up the machine's state");
	r = sync_dir(machine->dir_fd, err);
	/* what stays of it is removed the next time */
	if (r == 0)
		(void)venv__tree_delete(machine->dir_fd, old_name, NULL);
	return r;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static int create_file(int dir_fd, const char *name, venv_error **err)
{
	int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? venv__fail_errno(err, errno, "cannot make '%s'", name) : fd;
}

int kvm_save(const struct machine *machine, int dir_fd, venv_error **err)
{
	_cleanup_close_ int state = create_file(dir_fd, KVM_STATE, err);
	_cleanup_close_ int memory = state < 0 ? state : create_file(dir_fd, KVM_MEMORY, err);
	const int files[] = { state, memory };
	int r;

	if (memory < 0)
		return memory;
	r = venv__alive_call(machine, json_pack("{s:s}", "op", "save"), files, 2, SAVE_MS, NULL,
			     NULL, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++)
		if (fsync(files[i]) < 0)
			r = venv__fail_errno(err, errno, "cannot write the machine's memory");
	return r;
}

static int write_suspend(const struct machine *machine, struct venv_op *op, venv_error **err)
{
	_cleanup_close_ int fd = -1;
	int r = venv__dir_make_at(machine->dir_fd, new_name, 0700, &fd, err);

	if (r == 0)
		r = kvm_save(machine, fd, err);
	if (r == 0)
		r = sync_dir(fd, err);
	if (r == 0)
		r = venv__op_cancelled(op, err);
	if (r == 0 && renameat(machine->dir_fd, new_name, machine->dir_fd, KVM_SUSPEND) < 0)
		r = venv__fail_errno(err, errno, "cannot keep the machine's state");
	return r < 0 ? r : sync_dir(machine->dir_fd, err);
}

int kvm_suspend(struct machine *machine, struct venv_op *op, venv_error **err)
{
	bool ran = kvm_state(machine, NULL) == MACHINE_RUNNING;
	int r = kvm_suspend_drop(machine, err); /* of a command that was killed */

	if (r < 0)
		return r;
	r = write_suspend(machine, op, err);
	if (r == 0)
		return kvm_kill(machine, err);
	(void)venv__tree_delete(machine->dir_fd, new_name, NULL);
	if (ran)
		(void)kvm_resume(machine, NULL, NULL);
	return r;
}

/* ---- Going on ------------------------------------------------------------------------------ */

int kvm_resume(struct machine *machine, struct venv_op *op, venv_error **err)
{
	int r = kvm_suspend_drop(machine, err);

	(void)op;
	if (r == 0)
		r = venv__alive_call(machine, json_pack("{s:s}", "op", "resume"), NULL, 0, CALL_MS,
				     NULL, NULL, err);
	if (r == 0 && machine->from_rootfs)
		kvm_agent_wake(machine);
	return r;
}

/* Sets a descriptor of the order, and its number under key. */
static int add_file(struct kvm_order *order, int dir_fd, const char *name, const char *key,
		    venv_error **err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), number;

	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open the machine's '%s'", name);
	number = kvm_order_fd(order, fd, err);
	if (number < 0)
		return number;
	return json_object_set_new(order->json, key, json_integer(number)) < 0
		       ? venv__fail_nomem(err)
		       : 0;
}

int kvm_suspend_order(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	_cleanup_close_ int fd = openat(machine->dir_fd, KVM_SUSPEND,
					O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open the machine's state");
	order->goes_on = true;
	r = add_file(order, fd, KVM_STATE, "state", err);
	if (r == 0)
		r = add_file(order, fd, KVM_MEMORY, "memory_file", err);
	if (r == 0 && json_object_set_new(order->json, "paused", json_true()) < 0)
		r = venv__fail_nomem(err);
	return r;
}
