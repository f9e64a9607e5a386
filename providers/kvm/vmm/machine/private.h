/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of machine/ that know KVM. */
#ifndef VMM_MACHINE_PRIVATE_H
#define VMM_MACHINE_PRIVATE_H

#include <linux/kvm.h>

#include "kvm.h"
#include "layout.h"
#include "vm.h"

struct vcpu {
	struct vm *vm;
	unsigned index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	_Atomic uint64_t exits[VM_EXIT_KINDS];
};

enum vm_wish { VM_WISH_PARK, VM_WISH_RUN, VM_WISH_QUIT };

enum { IRQ_MESSAGES_MAX = 512 };

struct irq_route {
	int eventfd; /* -1: free */
	struct irq_message message;
};

struct irqs {
	pthread_mutex_t lock;
	struct vm *vm;
	bool pics;
	struct irq_platform platform;
	struct irq_route messages[IRQ_MESSAGES_MAX]; /* of GSI LAYOUT_GSI_COUNT + index */
};

struct late {
	pthread_mutex_t lock;
	struct kvm_coalesced_mmio_ring
		*ring; /* in the first vCPU's pages; NULL: this KVM has none */
};

struct vm {
	int kvm_fd, fd;
	struct vm_config config;
	struct irqs irqs;
	struct late late;
	struct vcpu vcpus[LAYOUT_CPUS_MAX];
	unsigned n_vcpus; /* as many as have been made */
	size_t run_size, xsave_size;
	struct kvm_cpuid2 *cpuid; /* what all have in common */

	int (*prepare)(void *user);
	void *prepare_user;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	_Atomic int wish; /* enum vm_wish; written under lock */
	unsigned n_threads, n_parked, n_unfit;
	int end_fd;
	enum vm_end end;
	unsigned end_value;
	char end_text[256];
	_Atomic uint64_t first_run_us;
	atomic_bool pics_left; /* firmware and loaders are done with the PICs, see irq.c */
};

enum { EFER_LME = 1 << 8, EFER_LMA = 1 << 10 };

/* cpuid.c */
int cpuid_read(int kvm_fd, struct cpus cpus, struct kvm_cpuid2 **ret, venv_error **err);
int cpuid_set(const struct vcpu *vcpu, venv_error **err);
/* msr.c */
int msr_init(const struct vcpu *vcpu, venv_error **err);
int msr_save(const struct vcpu *vcpu, struct state_writer *writer);
int msr_load(const struct vcpu *vcpu, struct state_reader *reader);
/* regs.c */
int regs_enter(const struct vcpu *vcpu, const struct boot_entry *entry, venv_error **err);
/* irq.c */
int irqs_init(struct irqs *irqs, struct vm *vm, bool pics, venv_error **err);
void irqs_done(struct irqs *irqs);
/* On an access of the first vCPU to PCI's configuration. */
void irqs_leave_pics(const struct vcpu *vcpu);
/* late.c; after the first vCPU */
void late_init(struct late *late, const struct vm *vm);
void late_done(struct late *late);
void late_run(struct late *late, struct bus *ports); /* of a vCPU's thread, after each KVM_RUN */
/* vcpu.c */
int vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned index, venv_error **err);
void vcpu_done(struct vcpu *vcpu);
int vcpu_start(struct vcpu *vcpu, venv_error **err);
void vcpu_kick(struct vcpu *vcpu);
int vcpu_save(const struct vcpu *vcpu, struct state_writer *writer);
int vcpu_load(const struct vcpu *vcpu, struct state_reader *reader);
/* vm.c: a vCPU's thread waits until it may go on. @return false: it ends */
bool vm_park(struct vm *vm);

#endif
