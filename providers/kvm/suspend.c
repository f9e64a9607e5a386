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
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "alive.h"
#include "kvm.h"
#include "util/msg.h"

enum { SAVE_MS = 3600 * 1000, CALL_MS = 20000, TELL_MS = 100 };

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

/*
 * The file grows as memory is written, over holes as well. What is there is sent to the disk meanwhile, so that the
 * end is not long to come when all is said to be written.
 */
static void tell_progress(const struct kvm_task *task, int memory, uint64_t size)
{
	struct stat info;

	if (fstat(memory, &info) < 0)
		return;
	(void)sync_file_range(memory, 0, 0, SYNC_FILE_RANGE_WRITE);
	venv__op_progress(task->op, task->machine, task->phase, (uint64_t)info.st_size, size);
}

/* Before it is asked for anything: it writes its record anew then. */
static int64_t memory_size(const struct machine *machine)
{
	_cleanup_json_ json_t *record = NULL;

	(void)venv__alive_state(machine->dir_fd, KVM_DISK, &record);
	return venv__json_int(record, "memory", 0);
}

static int wait_saved(int socket, int memory, int64_t size, const struct kvm_task *task,
		      venv_error **err)
{
	_cleanup_json_ json_t *reply = NULL;
	struct pollfd wait = { .fd = socket, .events = POLLIN };
	int r;

	for (int waited = 0; waited < SAVE_MS && poll(&wait, 1, TELL_MS) == 0; waited += TELL_MS)
		tell_progress(task, memory, size > 0 ? (uint64_t)size : 0);
	r = venv__msg_receive(socket, CALL_MS, &reply, NULL, err);
	if (r == 0)
		return venv__fail(err, VENV_ERR_SYSTEM, "venv-vmm ended while it was saved");
	if (r > 0)
		r = venv__error_from_json(reply, err);
	if (r == 0)
		tell_progress(task, memory, size > 0 ? (uint64_t)size : 0);
	return r;
}

int kvm_save(const struct machine *machine, int dir_fd, const struct kvm_task *task,
	     venv_error **err)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", "save");
	_cleanup_close_ int state = create_file(dir_fd, KVM_STATE, err);
	_cleanup_close_ int memory = state < 0 ? state : create_file(dir_fd, KVM_MEMORY, err);
	_cleanup_close_ int socket = memory < 0 ? memory : venv__alive_connect(machine, err);
	const int files[] = { state, memory };
	int64_t size = memory_size(machine);
	int r;

	if (socket < 0)
		return socket;
	if (!request)
		return venv__fail_nomem(err);
	r = venv__msg_send(socket, request, files, ARRAY_SIZE(files), err);
	if (r == 0)
		r = wait_saved(socket, memory, size, task, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++)
		if (fsync(files[i]) < 0)
			r = venv__fail_errno(err, errno, "cannot write the machine's memory");
	return r;
}

static int write_suspend(const struct machine *machine, struct venv_op *op, venv_error **err)
{
	const struct kvm_task task = { op, machine->name, "suspend" };
	_cleanup_close_ int fd = -1;
	int r = venv__dir_make_at(machine->dir_fd, new_name, 0700, &fd, err);

	if (r == 0)
		r = kvm_save(machine, fd, &task, err);
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
