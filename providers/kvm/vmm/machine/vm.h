/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine of KVM's: processors, their interrupts, memory slots.
 *
 * Theory of operation: the main thread makes the machine, which stands still, and then tells it to run
 * or to stand still again. Each vCPU has a thread that does nothing but KVM_RUN and accesses to the
 * buses. To stop one in KVM_RUN its immediate_exit is set and a signal sent, which is blocked in all
 * other threads; it finishes the access that it was at, parks, and is counted. vm_pause() returns when
 * all are parked: from then on the main thread may look at everything.
 *   The guest's end (vm_finish(), any thread, the first one counts) parks the machine as well, and
 * makes end_fd readable. What follows is the main thread's decision: vm_free(), or vm_load() of the
 * first state and vm_resume(), which is a reset.
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "../boot/boot.h"
#include "../bus.h"
#include "../irq.h"
#include "../mem.h"
#include "cpus.h"

struct state_writer;
struct state_reader;

enum vm_end {
	VM_RUNS,
	VM_POWER_OFF,
	VM_RESET,
	VM_TRIPLE_FAULT,
	VM_ERROR, /* KVM gave up: the text says why */
	VM_DEBUG_EXIT,
};

/* Why vCPUs came back from KVM_RUN. */
enum vm_exit {
	VM_EXIT_IO_IN,
	VM_EXIT_IO_OUT,
	VM_EXIT_MMIO_READ,
	VM_EXIT_MMIO_WRITE,
	VM_EXIT_KICK,
	VM_EXIT_OTHER,
	VM_EXIT_KINDS,
};

struct vm;

struct vm_config {
	const struct mem *mem;
	struct bus *ports, *memory;
	struct cpus cpus;
	bool firmware; /* with the interrupt controllers and the timer of 1981 */
	void *rom;     /* read-only up to 4 GiB, or NULL */
	uint64_t rom_size;
};

/* The descriptor of /dev/kvm stays the caller's. */
int vm_new(int kvm_fd, const struct vm_config *config, struct vm **ret, venv_error **err);
void vm_free(struct vm *vm); /* ends the threads; NULL is fine */

const struct irq_platform *vm_irqs(struct vm *vm);
/* Let eventfd be the edge of an interrupt pin. */
int vm_connect(struct vm *vm, int eventfd, unsigned gsi, venv_error **err);

/* Where the first processor begins; the others wait for it. */
int vm_enter(struct vm *vm, const struct boot_entry *entry, venv_error **err);
/* The threads, parked. prepare: called first in each (its jail); not 0: the thread is not fit. */
int vm_start(struct vm *vm, int (*prepare)(void *user), void *user, venv_error **err);
void vm_pause(struct vm *vm);  /* also when it is paused */
void vm_resume(struct vm *vm); /* forgets the last end */
/* From any thread, also from handlers of the buses. text is copied. */
void vm_finish(struct vm *vm, enum vm_end end, unsigned value, const char *text);
int vm_end_fd(const struct vm *vm); /* eventfd, for the caller to read */
enum vm_end vm_ended(struct vm *vm, unsigned *ret_value, char *ret_text, size_t size);

void vm_exits(struct vm *vm, uint64_t ret[VM_EXIT_KINDS]);
extern const char *const vm_exit_names[VM_EXIT_KINDS];
uint64_t vm_first_run_us(const struct vm *vm); /* when a vCPU was first let go; 0: not yet */

/* Where vm_save() begins in a state. */
#define VM_STATE_TAG STATE_TAG('K', 'V', 'M', ' ')
/* Paused. Load: into a machine of the same shape on the same kind of processor. */
int vm_save(struct vm *vm, struct state_writer *writer);
int vm_load(struct vm *vm, struct state_reader *reader);

#endif
