/* SPDX-License-Identifier: Apache-2.0 */
/* Starting venv-vmm and waiting until the machine runs. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "alive.h"
#include "cgroup/cgroup.h"
#include "kvm.h"
#include "util/buf.h"
#include "util/process.h"
#include "util/sys.h"

enum { END_MS = 5000, LOG_MAX = 4096 };

void kvm_clean(const struct machine *machine)
{
	_cleanup_json_ json_t *record = NULL;
	_cleanup_strv_ char **groups = NULL;
	enum machine_state state = venv__alive_state(machine->dir_fd, KVM_DISK, &record);

	if (state > MACHINE_STOPPED && state != MACHINE_CRASHED)
		return;
	groups = venv__json_strv(record, "groups");
	venv__cgroup_clean(groups, machine->id);
	if (groups) /* those of v1 that a limit wanted later */
		venv__cgroup_clean_own(machine->id);
	if (state != MACHINE_CRASHED)
		return;
	(void)unlinkat(machine->dir_fd, "ctl", 0);
	(void)unlinkat(machine->dir_fd, "alive", 0);
}

static int make_order(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	int r = kvm_settle(machine, err);

	if (r == 0)
		r = kvm_order_new(machine, order, err);
	if (r == 0)
		r = kvm_boot_order(machine, order, err);
	if (r == 0)
		r = kvm_disk_order(machine, order, err);
	if (r == 0)
		r = machine->from_rootfs ? kvm_agent_order(machine, order, err)
					 : kvm_seed_order(machine, order, err);
	if (r == 0)
		r = kvm_folder_order(machine, order, err);
	return r < 0 ? r : kvm_net_order(machine, order, err);
}

static int spawn(const struct machine *machine, int socket, int *ret_pidfd, venv_error **err)
{
	_cleanup_free_ char *path = venv__context_program(machine->ctx, "venv-vmm");
	_cleanup_close_ int log =
		openat(machine->dir_fd, "vmm.log",
		       O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	char name[] = "venv-vmm";
	char *argv[] = { name, NULL };
	struct spawn spawn = {
		.path = path, .argv = argv, .fds = { -1, -1, log, socket }, .n_fds = 4
	};

	if (!path)
		return venv__fail_nomem(err);
	return venv__spawn(&spawn, NULL, ret_pidfd, err);
}

static int send_order(const struct kvm_order *order, uint64_t spawned, int socket, venv_error **err)
{
	_cleanup_json_ json_t *start =
		json_pack("{s:s, s:I, s:I, s:O}", "op", "start", "spawned_us", (json_int_t)spawned,
			  "fds", (json_int_t)order->n_fds, "machine", order->json);
	_cleanup_json_ json_t *more = json_pack("{s:s}", "op", "fds");
	int r = 0;

	if (!start || !more)
		return venv__fail_nomem(err);
	for (size_t i = 0; r == 0 && i < order->n_fds; i += MSG_FDS_MAX)
		r = venv__msg_send(socket, i ? more : start, order->fd + i,
				   MIN(order->n_fds - i, (size_t)MSG_FDS_MAX), err);
	return r;
}

/* It said nothing any more: the last that it left in its log tells why. */
static int ended(const struct machine *machine, venv_error **err)
{
	_cleanup_close_ int fd =
		openat(machine->dir_fd, "vmm.log", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *log = NULL;
	int r = venv__hint(
		venv__fail(err, VENV_ERR_SYSTEM, "venv-vmm ended while the machine started"), err,
		"look into vmm.log in the machine's directory");

	(void)lseek(fd, -LOG_MAX, SEEK_END);
	if (fd >= 0)
		(void)venv__fd_read(fd, "vmm.log", LOG_MAX, &log, NULL, NULL);
	return log && *log ? venv__error_set_details(r, err, log) : r;
}

static int tell(const struct machine *machine, const struct kvm_order *order, uint64_t spawned,
		int socket, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int r = send_order(order, spawned, socket, &problem);

	if (r < 0 && problem && (problem->sys_errno == EPIPE || problem->sys_errno == ECONNRESET))
		return ended(machine, err);
	return r < 0 ? venv__error_take(take_ptr(problem), err) : 0;
}

static int wait_ready(const struct machine *machine, int socket, struct venv_op *op,
		      venv_error **err)
{
	_cleanup_json_ json_t *reply = NULL;
	int r = venv__alive_started(socket, op, &reply, err);

	if (r == 0)
		return ended(machine, err);
	if (r > 0 && !venv__json_bool(reply, "ready", false))
		r = venv__fail(err, VENV_ERR_SYSTEM, "venv-vmm does not say that the machine runs");
	return MIN(r, 0);
}

/* Of what it was told, only files may be wrong: those that venv.yml names, and the machine's disks. */
static int explain(int r, const struct machine *machine, const struct kvm_order *order,
		   venv_error **err)
{
	const struct place *place =
		r == VENV_ERR_INVALID && err
			? kvm_boot_place(machine, order, venv_error_message(*err))
			: NULL;

	(void)kvm_disk_advise(r, machine, err);
	return place ? venv__at_spec(r, err, place) : r;
}

/* Not half a machine: its lock and its disks must be free when the error is told. */
static void end(int pidfd)
{
	struct pollfd wait = { .fd = pidfd, .events = POLLIN };

	(void)venv__pidfd_signal(pidfd, SIGKILL);
	(void)poll(&wait, 1, END_MS);
}

int kvm_start(struct machine *machine, struct venv_op *op, venv_error **err)
{
	_cleanup_kvm_order_ struct kvm_order order = { .json = NULL };
	_cleanup_close_ int ours = -1, theirs = -1, pidfd = -1;
	uint64_t spawned;
	int ends[2], r = make_order(machine, &order, err);

	if (r < 0)
		return r;
	kvm_clean(machine);
	r = venv__msg_pair(ends);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	ours = ends[0];
	theirs = ends[1];
	spawned = venv__now_us();
	r = spawn(machine, theirs, &pidfd, err);
	if (r < 0)
		return r;
	(void)close(take_fd(&theirs));
	r = tell(machine, &order, spawned, ours, err);
	if (r == 0)
		r = explain(wait_ready(machine, ours, op, err), machine, &order, err);
	if (r == 0 && machine->from_rootfs)
		r = kvm_agent_start(machine, err);
	/* last: one that was suspended stands still until what it goes on from is given up */
	if (r == 0 && order.goes_on)
		r = kvm_resume(machine, op, err);
	if (r < 0) {
		end(pidfd);
		kvm_clean(machine);
	}
	return r;
}
