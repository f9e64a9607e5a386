/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All of a machine put together: memory, buses, processors, the PC's small devices, PCI, and how it boots.
 *
 * machine_new() makes it, virtio devices are then put into slots of machine->pci, machine_start() loads
 * what it boots, or the state that it was left in, and makes the threads. It stands still until
 * machine_resume(). All of this is the main thread's.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include "../boot/firmware.h"
#include "../pci/pci.h"
#include "../platform/fwcfg.h"
#include "../platform/power.h"
#include "../platform/rtc.h"
#include "../platform/uart.h"
#include "vm.h"

struct machine_config {
	uint64_t memory; /* bytes, a multiple of MEM_ALIGN */
	struct cpus cpus;
	int kernel_fd, initrd_fd; /* stay the caller's, open for reboots; -1: none */
	int firmware_fd;          /* instead of a kernel */
	const char *kernel_name, *initrd_name, *firmware_name; /* in messages; or NULL */
	const char *cmdline;
	const char *boot_order; /* for firmware: bootorder of fw_cfg, or NULL */
	bool debug_exit;        /* a port that ends the machine: in tests */
	int memory_fd;          /* of a suspended machine, else -1 */
	/* What the serial port says, on vCPU threads: must not wait. */
	void (*output)(void *user, const void *data, size_t size);
	void *output_user;
};

struct machine {
	struct machine_config config;
	struct mem mem;
	struct bus ports, memory;
	struct vm *vm;
	struct pci pci;
	bool has_pci;
	struct uart uart;
	struct rtc rtc;
	struct fwcfg fwcfg;
	struct power power;
	struct firmware firmware;
	int com1_fd, power_fd, generation_fd; /* eventfds of their interrupts */
	int first_fd; /* the processors as they were before the first instruction: for resets */
};

int machine_new(int kvm_fd, const struct machine_config *config, struct machine **ret,
		venv_error **err);
void machine_free(struct machine *machine); /* devices must be gone; NULL is fine */

/* state: NULL, or of a suspended machine: goes on where that stood, with a new generation id. */
int machine_start(struct machine *machine, struct state_reader *state, int (*prepare)(void *user),
		  void *user, venv_error **err);
/* From the start again: after VM_RESET. Paused. */
int machine_reset(struct machine *machine, venv_error **err);
void machine_pause(struct machine *machine);
void machine_resume(struct machine *machine);
/* Paused: everything but the memory, then the memory, with holes where it is zero. */
int machine_save(struct machine *machine, int state_fd, int memory_fd, venv_error **err);

#endif
