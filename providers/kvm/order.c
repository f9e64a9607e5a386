/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as venv-vmm is told (protocol.h): what its spec says in figures, and its devices. */
#include <fcntl.h>
#include <sched.h>
#include <sys/sysinfo.h>

#include "cgroup/cgroup.h"
#include "kvm.h"

enum {
	MEMORY_STEP = 2 << 20,
	STOP_TIMEOUT_MS = 60000,
	ROOM_PART = 16,
	ROOM_LEAST = 128 << 20,
};

static const uint64_t memory_usual = 2ULL << 30;

int kvm_order_fd(struct kvm_order *order, int fd, venv_error **err)
{
	if (fd < 0)
		return venv__fail(err, VENV_ERR_INVALID, "no descriptor");
	if (order->n_fds == KVM_FDS_MAX) {
		(void)close(fd);
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "the machine has too many disks and folders");
	}
	order->fd[order->n_fds] = fd;
	return (int)order->n_fds++;
}

int kvm_order_copy(struct kvm_order *order, int fd, venv_error **err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return venv__fail_errno(err, errno, "cannot pass a descriptor on");
	return kvm_order_fd(order, copy, err);
}

int kvm_order_device(struct kvm_order *order, json_t *device, venv_error **err)
{
	if (!device || json_array_append_new(json_object_get(order->json, "devices"), device) < 0)
		return venv__fail_nomem(err);
	return 0;
}

void kvm_order_done(struct kvm_order *order)
{
	while (order->n_fds > 0)
		(void)close(order->fd[--order->n_fds]);
	json_decref(take_ptr(order->json));
}

/* ---- Figures ------------------------------------------------------------------------------- */

/* Those that this process may use. */
static unsigned host_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/*
 * As many as its threads can run on at once, and it can have, unless the file says it: then also more, which is refused.
 * A part of one is one that is slowed down.
 */
unsigned kvm_cpus(const struct machine_spec *spec)
{
	unsigned of_set = venv__cgroup_cpuset_size(spec->cpuset), usual = host_cpus();

	if (spec->cpus > 0)
		return (unsigned)spec->cpus + !kvm_has_whole_cpus(spec);
	return MIN(of_set ? MIN(of_set, usual) : usual, (unsigned)KVM_CPUS_MAX);
}

/* The probe refuses it too, but the file may have changed since the machine was made. */
static int check_cpus(const struct machine_spec *spec, venv_error **err)
{
	int r;

	if (kvm_cpus(spec) <= KVM_CPUS_MAX)
		return 0;
	r = venv__fail_spec(err, VENV_ERR_UNSUPPORTED, &spec->cpus_place, "%s", KVM_TOO_MANY_CPUS);
	return venv__hint(r, err, "%s", KVM_FEWER_CPUS);
}

static int size_memory(const struct machine_spec *spec, uint64_t *ret, venv_error **err)
{
	uint64_t wanted = spec->memory ? spec->memory : memory_usual, all;
	struct sysinfo host;
	int r;

	*ret = (wanted + MEMORY_STEP - 1) / MEMORY_STEP * MEMORY_STEP;
	if (sysinfo(&host) < 0)
		return venv__fail_errno(err, errno, "cannot tell how much memory the host has");
	all = (uint64_t)host.totalram * host.mem_unit;
	if (*ret <= all)
		return 0;
	r = venv__fail_spec(err, VENV_ERR_HOST, &spec->place,
			    "it wants %llu MiB of memory, and this host has %llu MiB",
			    (unsigned long long)(*ret >> 20), (unsigned long long)(all >> 20));
	return venv__hint(r, err, "set 'memory' to less%s",
			  spec->memory ? "" : "; 2G is what a virtual machine has by default");
}

/*
 * `memory` and `cpus` are the guest's: what its process may have beside is a sixteenth, for the kernel's tables and
 * for the page cache of its disks and folders, and what the monitor itself wants, many times over. So a fault in the
 * monitor cannot eat the host's memory, and is the machine's end at most.
 */
static int set_limits(const struct machine_spec *spec, uint64_t memory, json_t *json)
{
	json_t *limits = kvm_limits(spec);
	uint64_t bytes = memory + memory / ROOM_PART + ROOM_LEAST;

	if (!limits || json_object_set_new(json, "limits", limits) < 0)
		return -1;
	return json_object_set_new(limits, "memory", json_integer((json_int_t)bytes));
}

static json_t *simple_device(const char *kind, enum kvm_slot slot)
{
	return json_pack("{s:s, s:i}", "kind", kind, "slot", slot);
}

int kvm_order_new(const struct machine *machine, struct kvm_order *ret, venv_error **err)
{
	const struct machine_spec *spec = machine->spec;
	uint64_t memory = 0;
	int r;

	*ret = (struct kvm_order){ .json = NULL };
	r = check_cpus(spec, err);
	if (r == 0)
		r = size_memory(spec, &memory, err);
	if (r == 0)
		r = kvm_order_copy(ret, machine->dir_fd, err);
	if (r < 0)
		return r;
	ret->json = json_pack(
		"{s:s, s:s, s:I, s:i, s:i, s:I, s:[]}", "id", machine->id, "name", machine->name,
		"memory", (json_int_t)memory, "cpus", (int)kvm_cpus(spec), "sockets",
		(int)MAX(spec->kvm.sockets, 1U), "stop_timeout_ms",
		(json_int_t)(spec->stop_timeout_ms ? spec->stop_timeout_ms : STOP_TIMEOUT_MS),
		"devices");
	if (!ret->json || set_limits(spec, memory, ret->json) < 0)
		return venv__fail_nomem(err);
	r = kvm_suspend_order(machine, ret, err);
	if (r == 0)
		r = kvm_order_device(ret, simple_device("rng", KVM_SLOT_RNG), err);
	if (r == 0)
		r = kvm_order_device(ret, simple_device("balloon", KVM_SLOT_BALLOON), err);
	return r;
}
