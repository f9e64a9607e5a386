/* SPDX-License-Identifier: Apache-2.0 */
/* One virtual processor: its thread, and what it comes back from KVM_RUN for. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "private.h"
#include "util/sys.h"

const char *const vm_exit_names[VM_EXIT_KINDS] = {
	[VM_EXIT_IO_IN] = "io_in",         [VM_EXIT_IO_OUT] = "io_out",
	[VM_EXIT_MMIO_READ] = "mmio_read", [VM_EXIT_MMIO_WRITE] = "mmio_write",
	[VM_EXIT_KICK] = "kick",           [VM_EXIT_OTHER] = "other",
};

static int kick_signal(void)
{
	return SIGRTMIN;
}

static void on_kick(int number)
{
	(void)number; /* it has done its work: KVM_RUN has come back */
}

static void count(struct vcpu *vcpu, enum vm_exit kind)
{
	(void)atomic_fetch_add_explicit(&vcpu->exits[kind], 1, memory_order_relaxed);
}

/* `rep outsb` and the like come as several accesses at once. */
static void do_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct bus *ports = vcpu->vm->config.ports;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool in = run->io.direction == KVM_EXIT_IO_IN;

	count(vcpu, in ? VM_EXIT_IO_IN : VM_EXIT_IO_OUT);
	if ((run->io.port & ~3) == LAYOUT_PORT_PCI + 4)
		irqs_leave_pics(vcpu);
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (in)
			bus_read(ports, run->io.port, data, run->io.size);
		else
			bus_write(ports, run->io.port, data, run->io.size);
	}
}

static void do_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct bus *memory = vcpu->vm->config.memory;

	count(vcpu, run->mmio.is_write ? VM_EXIT_MMIO_WRITE : VM_EXIT_MMIO_READ);
	if (run->mmio.is_write)
		bus_write(memory, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else
		bus_read(memory, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
}

/* With the instruction that KVM did not understand, where it says which. */
static void give_up(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	char text[128], bytes[64] = "";
	size_t at = 0;

	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && run->internal.ndata > 1 &&
	    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
		const uint8_t *instruction = run->emulation_failure.insn_bytes;
		size_t n = MIN(run->emulation_failure.insn_size,
			       sizeof(run->emulation_failure.insn_bytes));

		for (size_t i = 0; i < n; i++)
			at += (size_t)snprintf(bytes + at, sizeof(bytes) - at, " %02x",
					       instruction[i]);
	}
	(void)snprintf(text, sizeof(text), "KVM cannot go on: internal error %u%s%s",
		       run->internal.suberror, at ? ", instruction" : "", bytes);
	vm_finish(vcpu->vm, VM_ERROR, run->internal.suberror, text);
}

static void do_other(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	char text[128];

	count(vcpu, VM_EXIT_OTHER);
	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		vm_finish(vcpu->vm, VM_TRIPLE_FAULT, 0, "the guest's processor met a triple fault");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		give_up(vcpu);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		(void)snprintf(text, sizeof(text), "the processor refuses the guest: reason %#llx",
			       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		vm_finish(vcpu->vm, VM_ERROR, 0, text);
		break;
	default:
		(void)snprintf(text, sizeof(text), "KVM came back for a reason unknown here: %u",
			       run->exit_reason);
		vm_finish(vcpu->vm, VM_ERROR, run->exit_reason, text);
		break;
	}
}

static void dispatch(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		do_io(vcpu);
		break;
	case KVM_EXIT_MMIO:
		do_mmio(vcpu);
		break;
	case KVM_EXIT_HLT:
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		count(vcpu, VM_EXIT_OTHER);
		break;
	default:
		do_other(vcpu);
		break;
	}
}

static void set_immediate_exit(struct vcpu *vcpu, uint8_t value)
{
	__atomic_store_n(&vcpu->run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

/*
 * Somebody wants something. Who kicks has said what before: so the flag is taken back first, then looked.
 * @return false: the thread ends
 */
static bool attend(struct vcpu *vcpu)
{
	count(vcpu, VM_EXIT_KICK);
	set_immediate_exit(vcpu, 0);
	if (atomic_load(&vcpu->vm->wish) == VM_WISH_RUN)
		return true;
	if (!vm_park(vcpu->vm))
		return false;
	/* The guest's watchdogs shall not count the time that it stood still. */
	(void)kvm_ioctl_number(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
	return true;
}

static void run(struct vcpu *vcpu)
{
	char text[64];
	int r;

	for (;;) {
		r = ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? errno : 0;
		late_run(&vcpu->vm->late, vcpu->vm->config.ports);
		if (r == 0) {
			dispatch(vcpu);
		} else if (r == EINTR || r == EAGAIN) {
			if (!attend(vcpu))
				return;
		} else {
			(void)snprintf(text, sizeof(text), "KVM does not run the guest: errno %d",
				       r);
			vm_finish(vcpu->vm, VM_ERROR, 0, text);
		}
	}
}

static void *thread(void *user)
{
	struct vcpu *vcpu = user;
	struct vm *vm = vcpu->vm;
	sigset_t kick;

	(void)sigemptyset(&kick);
	(void)sigaddset(&kick, kick_signal());
	(void)pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	if (vm->prepare && vm->prepare(vm->prepare_user) != 0) {
		(void)pthread_mutex_lock(&vm->lock);
		vm->n_unfit++;
		(void)pthread_mutex_unlock(&vm->lock);
	}
	if (vm_park(vm)) {
		uint64_t none = 0;

		(void)atomic_compare_exchange_strong(&vm->first_run_us, &none, venv__now_us());
		run(vcpu);
	}
	return NULL;
}

int vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned index, venv_error **err)
{
	int r;

	*vcpu = (struct vcpu){ .vm = vm, .index = index };
	vcpu->fd = kvm_ioctl_number(vm->fd, KVM_CREATE_VCPU, cpus_apic_id(vm->config.cpus, index));
	if (vcpu->fd < 0)
		return venv__fail_errno(err, -vcpu->fd, "cannot make processor %u", index);
	vcpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		r = venv__fail_errno(err, errno, "cannot make processor %u", index);
		(void)close(take_fd(&vcpu->fd));
		return r;
	}
	/* CPUID first: before it, MSRs read as if the processor had none (Linux 6.13). */
	r = cpuid_set(vcpu, err);
	if (r == 0)
		r = msr_init(vcpu, err);
	if (r < 0)
		vcpu_done(vcpu);
	return r;
}

void vcpu_done(struct vcpu *vcpu)
{
	if (vcpu->started)
		(void)pthread_join(vcpu->thread, NULL);
	(void)munmap(vcpu->run, vcpu->vm->run_size);
	(void)close(take_fd(&vcpu->fd));
}

/* All signals but the kick are for others; that one is unblocked by the thread itself. */
int vcpu_start(struct vcpu *vcpu, venv_error **err)
{
	const struct sigaction action = { .sa_handler = on_kick };
	sigset_t all, before;
	char name[16];
	int r;

	(void)sigaction(kick_signal(), &action, NULL);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&vcpu->thread, NULL, thread, vcpu);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return venv__fail_errno(err, r, "cannot make a thread");
	vcpu->started = true;
	(void)snprintf(name, sizeof(name), "vcpu/%u", vcpu->index);
	(void)pthread_setname_np(vcpu->thread, name);
	return 0;
}

void vcpu_kick(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	set_immediate_exit(vcpu, 1);
	(void)pthread_kill(vcpu->thread, kick_signal());
}
