/* SPDX-License-Identifier: Apache-2.0 */
#include "vm.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "private.h"

static int add_slot(const struct vm *vm, uint32_t slot, uint32_t flags, uint64_t address,
		    uint64_t size, void *host)
{
	const struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = address,
		.memory_size = size,
		.userspace_addr = (uint64_t)(uintptr_t)host,
	};

	return kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static int add_memory(const struct vm *vm, venv_error **err)
{
	const struct vm_config *config = &vm->config;
	uint32_t slot = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < config->mem->n_regions; i++) {
		const struct mem_region *region = &config->mem->region[i];

		r = add_slot(vm, slot++, 0, region->address, region->size, region->host);
	}
	if (r == 0 && config->rom)
		r = add_slot(vm, slot, KVM_MEM_READONLY, LAYOUT_ROM_END - config->rom_size,
			     config->rom_size, config->rom);
	return r < 0 ? venv__fail_errno(err, -r, "cannot give KVM the machine's memory") : 0;
}

/* In the order that KVM wants: pages of its own, interrupt controllers, timer; then vCPUs. */
static int make(struct vm *vm, venv_error **err)
{
	const uint64_t identity_map = LAYOUT_IDENTITY_MAP;
	const struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int r;

	vm->fd = kvm_ioctl_number(vm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return venv__fail_errno(err, -vm->fd, "cannot make a virtual machine");
	r = kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	if (r == 0)
		r = kvm_ioctl_number(vm->fd, KVM_SET_TSS_ADDR, LAYOUT_TSS);
	if (r == 0)
		r = kvm_ioctl_number(vm->fd, KVM_CREATE_IRQCHIP, 0);
	if (r == 0 && vm->config.firmware)
		r = kvm_ioctl(vm->fd, KVM_CREATE_PIT2, &pit);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a virtual machine");
	r = irqs_init(&vm->irqs, vm, vm->config.firmware, err);
	return r < 0 ? r : add_memory(vm, err);
}

static int ask_sizes(struct vm *vm, venv_error **err)
{
	int run = kvm_ioctl_number(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	int xsave = kvm_ioctl_number(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	if (run < (int)sizeof(struct kvm_run))
		return venv__fail(err, VENV_ERR_HOST, "this host's KVM speaks another version");
	vm->run_size = (size_t)run;
	vm->xsave_size = MAX((size_t)MAX(xsave, 0), sizeof(struct kvm_xsave));
	return 0;
}

static int make_vcpus(struct vm *vm, venv_error **err)
{
	int r = ask_sizes(vm, err);

	if (r == 0)
		r = cpuid_read(vm->kvm_fd, vm->config.cpus, &vm->cpuid, err);
	while (r == 0 && vm->n_vcpus < vm->config.cpus.n) {
		r = vcpu_init(&vm->vcpus[vm->n_vcpus], vm, vm->n_vcpus, err);
		if (r == 0)
			vm->n_vcpus++;
	}
	if (r == 0)
		late_init(&vm->late, vm);
	return r;
}

int vm_new(int kvm_fd, const struct vm_config *config, struct vm **ret, venv_error **err)
{
	struct vm *vm;
	int r;

	if (config->cpus.n < 1 || config->cpus.n > LAYOUT_CPUS_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "a machine has 1 to %d processors, not %u",
				  LAYOUT_CPUS_MAX, config->cpus.n);
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return venv__fail_nomem(err);
	vm->kvm_fd = kvm_fd;
	vm->fd = -1;
	vm->config = *config;
	(void)pthread_mutex_init(&vm->lock, NULL);
	(void)pthread_cond_init(&vm->changed, NULL);
	vm->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = vm->end_fd < 0 ? venv__fail_errno(err, errno, "cannot make an eventfd") : make(vm, err);
	if (r == 0)
		r = make_vcpus(vm, err);
	if (r < 0) {
		vm_free(vm);
		return r;
	}
	*ret = vm;
	return 0;
}

/* Under lock. A vCPU that looks at the wish later sees the new one; one that is in KVM_RUN is kicked. */
static void set_wish(struct vm *vm, enum vm_wish wish)
{
	atomic_store(&vm->wish, wish);
	(void)pthread_cond_broadcast(&vm->changed);
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		vcpu_kick(&vm->vcpus[i]);
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	(void)pthread_mutex_lock(&vm->lock);
	set_wish(vm, VM_WISH_QUIT);
	(void)pthread_mutex_unlock(&vm->lock);
	while (vm->n_vcpus > 0)
		vcpu_done(&vm->vcpus[--vm->n_vcpus]);
	late_done(&vm->late);
	irqs_done(&vm->irqs);
	if (vm->fd >= 0)
		(void)close(vm->fd);
	if (vm->end_fd >= 0)
		(void)close(vm->end_fd);
	(void)pthread_cond_destroy(&vm->changed);
	(void)pthread_mutex_destroy(&vm->lock);
	free(vm->cpuid);
	free(vm);
}

int vm_enter(struct vm *vm, const struct boot_entry *entry, venv_error **err)
{
	return regs_enter(&vm->vcpus[0], entry, err);
}

static void wait_parked(struct vm *vm)
{
	while (vm->n_parked < vm->n_threads)
		(void)pthread_cond_wait(&vm->changed, &vm->lock);
}

int vm_start(struct vm *vm, int (*prepare)(void *user), void *user, venv_error **err)
{
	int r = 0;

	vm->prepare = prepare;
	vm->prepare_user = user;
	for (unsigned i = 0; r == 0 && i < vm->n_vcpus; i++) {
		r = vcpu_start(&vm->vcpus[i], err);
		vm->n_threads += r == 0;
	}
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&vm->lock);
	wait_parked(vm);
	if (vm->n_unfit)
		r = venv__fail(err, VENV_ERR_HOST, "a thread of the machine could not be secured");
	(void)pthread_mutex_unlock(&vm->lock);
	return r;
}

bool vm_park(struct vm *vm)
{
	int wish;

	(void)pthread_mutex_lock(&vm->lock);
	vm->n_parked++;
	(void)pthread_cond_broadcast(&vm->changed);
	while ((wish = atomic_load(&vm->wish)) == VM_WISH_PARK)
		(void)pthread_cond_wait(&vm->changed, &vm->lock);
	vm->n_parked--;
	(void)pthread_mutex_unlock(&vm->lock);
	return wish == VM_WISH_RUN;
}

void vm_pause(struct vm *vm)
{
	(void)pthread_mutex_lock(&vm->lock);
	set_wish(vm, VM_WISH_PARK);
	wait_parked(vm);
	(void)pthread_mutex_unlock(&vm->lock);
}

void vm_resume(struct vm *vm)
{
	(void)pthread_mutex_lock(&vm->lock);
	wait_parked(vm);
	vm->end = VM_RUNS;
	atomic_store(&vm->wish, VM_WISH_RUN);
	(void)pthread_cond_broadcast(&vm->changed);
	(void)pthread_mutex_unlock(&vm->lock);
}

void vm_finish(struct vm *vm, enum vm_end end, unsigned value, const char *text)
{
	(void)pthread_mutex_lock(&vm->lock);
	if (vm->end == VM_RUNS) {
		vm->end = end;
		vm->end_value = value;
		(void)snprintf(vm->end_text, sizeof(vm->end_text), "%s", text);
		if (atomic_load(&vm->wish) == VM_WISH_RUN)
			set_wish(vm, VM_WISH_PARK);
		(void)eventfd_write(vm->end_fd, 1);
	}
	(void)pthread_mutex_unlock(&vm->lock);
}

int vm_end_fd(const struct vm *vm)
{
	return vm->end_fd;
}

enum vm_end vm_ended(struct vm *vm, unsigned *ret_value, char *ret_text, size_t size)
{
	enum vm_end end;

	(void)pthread_mutex_lock(&vm->lock);
	end = vm->end;
	*ret_value = vm->end_value;
	(void)snprintf(ret_text, size, "%s", end == VM_RUNS ? "" : vm->end_text);
	(void)pthread_mutex_unlock(&vm->lock);
	return end;
}

void vm_exits(struct vm *vm, uint64_t ret[VM_EXIT_KINDS])
{
	memset(ret, 0, VM_EXIT_KINDS * sizeof(ret[0]));
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		for (size_t kind = 0; kind < VM_EXIT_KINDS; kind++)
			ret[kind] += atomic_load_explicit(&vm->vcpus[i].exits[kind],
							  memory_order_relaxed);
}

uint64_t vm_first_run_us(const struct vm *vm)
{
	return atomic_load(&vm->first_run_us);
}
