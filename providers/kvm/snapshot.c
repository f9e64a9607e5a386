/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: copies of the machine's disks and of what it is told at a start, and, of a machine that is not
 * stopped, state and memory as suspend/ has them. Nothing in a snapshot is ever written to again, so memory
 * files are shared by hard links; disks share their blocks where the file system can (FICLONE).
 *
 * Theory of operation, going back: everything is copied into restore.new, venv-vmm is killed, and restore.new is
 * renamed to restore. From then on the machine is the snapshot's, and the rest is moving files, which whoever
 * comes next can finish (kvm_settle()): while restore/drop is there, suspend/ is the one of before and goes;
 * then the disks take the places of those that are there; restore/suspend is the last to move.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "box/disk_copy.h"
#include "first_start.h"
#include "kvm.h"
#include "util/buf.h"

static const char new_name[] = "restore.new", name[] = "restore", drop_name[] = "drop";

static bool is_file(int dir_fd, const char *path)
{
	return faccessat(dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Of the files in a machine's directory: those that its guest writes to or reads. */
static bool is_disk(const char *file)
{
	size_t n = strlen(file);

	return strcmp(file, SEED_FILE) == 0 || (n > 6 && strcmp(file + n - 6, ".qcow2") == 0);
}

/* ---- Copies -------------------------------------------------------------------------------- */

static int copy_file(int from_dir, int to_dir, const char *file, const struct kvm_task *task,
		     venv_error **err)
{
	_cleanup_close_ int from = openat(from_dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int to =
		openat(to_dir, file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (from < 0 || to < 0)
		return venv__fail_errno(err, errno, "cannot copy '%s'", file);
	r = venv__disk_copy(from, to, task->op, task->machine, task->phase, err);
	if (r == 0 && fsync(to) < 0)
		r = venv__fail_errno(err, errno, "cannot write '%s'", file);
	return r < 0 ? venv__wrap(r, err, "'%s'", file) : 0;
}

static int copy_disks(int from_dir, int to_dir, const struct kvm_task *task, venv_error **err)
{
	_cleanup_strv_ char **files = NULL;
	int r = venv__dir_list(from_dir, &files, err);

	for (char **file = files; r == 0 && *file; file++)
		if (is_disk(*file))
			r = copy_file(from_dir, to_dir, *file, task, err);
	return r;
}

/* Both directories lie in the machine's; where links cannot be it is a copy. */
static int link_memory(int from_dir, int to_dir, const struct kvm_task *task, venv_error **err)
{
	static const char *const files[] = { KVM_STATE, KVM_MEMORY };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++)
		if (linkat(from_dir, files[i], to_dir, files[i], 0) < 0)
			r = copy_file(from_dir, to_dir, files[i], task, err);
	if (r == 0 && fsync(to_dir) < 0)
		r = venv__fail_errno(err, errno, "cannot write a snapshot");
	return r;
}

static int open_dir(int at, const char *path, venv_error **err)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? venv__fail_errno(err, errno, "cannot open '%s'", path) : fd;
}

/* ---- Taking one ---------------------------------------------------------------------------- */

/* Memory and disks of one moment: the machine stands still from the one until after the other. */
static int snapshot_live(struct machine *machine, bool runs, int dir_fd,
			 const struct kvm_task *task, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int r = kvm_save(machine, dir_fd, task, err);

	if (r == 0)
		r = copy_disks(machine->dir_fd, dir_fd, task, err);
	if (runs && kvm_resume(machine, NULL, &problem) < 0 && r == 0)
		r = venv__error_take(take_ptr(problem), err);
	return r;
}

static int snapshot_suspended(const struct machine *machine, int dir_fd,
			      const struct kvm_task *task, venv_error **err)
{
	_cleanup_close_ int suspend = open_dir(machine->dir_fd, KVM_SUSPEND, err);
	int r = suspend < 0 ? suspend : link_memory(suspend, dir_fd, task, err);

	return r < 0 ? r : copy_disks(machine->dir_fd, dir_fd, task, err);
}

int kvm_snapshot(struct machine *machine, int dir_fd, struct venv_op *op, venv_error **err)
{
	const struct kvm_task task = { op, machine->name, "snapshot" };
	enum machine_state state = kvm_state(machine, NULL);
	int r;

	if (state == MACHINE_RUNNING || state == MACHINE_PAUSED)
		return snapshot_live(machine, state == MACHINE_RUNNING, dir_fd, &task, err);
	r = kvm_settle(machine, err);
	if (r < 0)
		return r;
	if (state == MACHINE_SUSPENDED)
		return snapshot_suspended(machine, dir_fd, &task, err);
	return copy_disks(machine->dir_fd, dir_fd, &task, err);
}

/* ---- Going back ---------------------------------------------------------------------------- */

bool kvm_is_restoring(const struct machine *machine, bool *ret_suspended)
{
	if (!is_file(machine->dir_fd, "restore"))
		return false;
	*ret_suspended = is_file(machine->dir_fd, "restore/" KVM_SUSPEND) ||
			 (is_file(machine->dir_fd, KVM_SUSPEND) &&
			  !is_file(machine->dir_fd, "restore/drop"));
	return true;
}

static int prepare_memory(int from_dir, int to_dir, const struct kvm_task *task, venv_error **err)
{
	_cleanup_close_ int suspend = -1;
	int r;

	if (!is_file(from_dir, KVM_STATE))
		return 0;
	r = venv__dir_make_at(to_dir, KVM_SUSPEND, 0700, &suspend, err);
	return r < 0 ? r : link_memory(from_dir, suspend, task, err);
}

static int prepare(const struct machine *machine, int dir_fd, struct venv_op *op, venv_error **err)
{
	const struct kvm_task task = { op, machine->name, "restore" };
	_cleanup_close_ int fd = -1;
	int r = venv__tree_delete(machine->dir_fd, new_name, err);

	if (r == 0)
		r = venv__dir_make_at(machine->dir_fd, new_name, 0700, &fd, err);
	if (r == 0)
		r = copy_disks(dir_fd, fd, &task, err);
	if (r == 0)
		r = prepare_memory(dir_fd, fd, &task, err);
	if (r == 0)
		r = venv__file_write(fd, drop_name, "", 0, 0600, WRITE_DURABLE, err);
	return r < 0 ? r : venv__op_cancelled(op, err);
}

static int move(const struct machine *machine, int from_dir, const char *file, venv_error **err)
{
	if (renameat(from_dir, file, machine->dir_fd, file) < 0 && errno != ENOENT)
		return venv__fail_errno(err, errno, "cannot put '%s' back", file);
	return 0;
}

static int move_disks(const struct machine *machine, int from_dir, venv_error **err)
{
	_cleanup_strv_ char **files = NULL;
	int r = venv__dir_list(from_dir, &files, err);

	for (char **file = files; r == 0 && *file; file++)
		if (is_disk(*file))
			r = move(machine, from_dir, *file, err);
	return r;
}

int kvm_settle(const struct machine *machine, venv_error **err)
{
	_cleanup_close_ int fd = -1;
	int r = venv__tree_delete(machine->dir_fd, new_name, err);

	if (r < 0 || !is_file(machine->dir_fd, name))
		return r;
	fd = open_dir(machine->dir_fd, name, err);
	if (fd < 0)
		return fd;
	if (is_file(fd, drop_name)) {
		r = kvm_suspend_drop(machine, err);
		if (r == 0 && (unlinkat(fd, drop_name, 0) < 0 || fsync(fd) < 0))
			r = venv__fail_errno(err, errno, "cannot go back to a snapshot");
	}
	if (r == 0)
		r = move_disks(machine, fd, err);
	if (r == 0)
		r = move(machine, fd, KVM_SUSPEND, err);
	if (r == 0 && fsync(machine->dir_fd) < 0)
		r = venv__fail_errno(err, errno, "cannot go back to a snapshot");
	return r < 0 ? r : venv__tree_delete(machine->dir_fd, name, err);
}

int kvm_restore(struct machine *machine, int dir_fd, struct venv_op *op, venv_error **err)
{
	enum machine_state state = kvm_state(machine, NULL);
	bool runs = state > MACHINE_STOPPED && state < MACHINE_CRASHED;
	int r = runs ? 0 : kvm_settle(machine, err);

	if (r == 0)
		r = prepare(machine, dir_fd, op, err);
	if (r == 0 && runs)
		r = kvm_kill(machine, err);
	if (r < 0) {
		(void)venv__tree_delete(machine->dir_fd, new_name, NULL);
		return r;
	}
	if (renameat(machine->dir_fd, new_name, machine->dir_fd, name) < 0)
		r = venv__fail_errno(err, errno, "cannot go back to a snapshot");
	if (r == 0 && fsync(machine->dir_fd) < 0)
		r = venv__fail_errno(err, errno, "cannot go back to a snapshot");
	if (r < 0)
		return r;
	kvm_clean(machine);
	return kvm_settle(machine, err);
}
