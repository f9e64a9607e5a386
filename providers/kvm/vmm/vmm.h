/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-vmm: runs one machine for its whole life.
 *
 * Theory of operation: the main thread has an event loop for the socket "ctl", the console, timers and the
 * end of the guest; processors and devices have threads of their own (machine/vm.h, worker.h). It holds
 * the lock "alive" of the machine's directory: held means running, and the file's text says what.
 *
 *   running <-> paused -> stopping -> gone (the process ends)
 *
 * A guest that restarts its machine goes on in the same process (machine_reset()).
 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include "config.h"
#include "console.h"
#include "devices.h"
#include "machine/machine.h"
#include "util/loop.h"

enum vmm_state { VMM_STARTING, VMM_RUNNING, VMM_PAUSED, VMM_STOPPING };

/* What the time until the first instruction goes into. */
enum vmm_phase { PHASE_CONFIGURED, PHASE_MADE, PHASE_LOADED, PHASE_JAILED, PHASES };

struct client;

/* What the machine's networks hang on, for as long as it runs; -1: none. */
struct vmm_network {
	int socket;        /* to the project's venv-netd */
	int namespaces[2]; /* the project's: user, network; a new venv-netd may want them */
};

struct vmm {
	struct loop *loop;
	struct config config;
	struct devices devices;
	struct machine *machine;
	struct console *console;
	enum vmm_state state;
	struct vmm_network network;
	int starter_fd, kvm_fd, machine_fd, alive_fd, ctl_fd;
	int groups_fd;  /* where it is said what control groups there are; -1: nobody says it */
	json_t *groups; /* paths of those that are to be removed, or NULL */
	int64_t started;
	uint64_t phase_us[PHASES];
	unsigned resets;
	struct client *clients;
	struct loop_source *stop_timer;
	/* how it ended */
	bool crashed;
	char reason[256];
	int debug_exit; /* -1: not so */
};

/* record.c: the file "alive" */
int vmm_record_lock(struct vmm *vmm, venv_error **err);
void vmm_record_write(const struct vmm *vmm);
void vmm_record_end(const struct vmm *vmm);
json_t *vmm_record_json(const struct vmm *vmm);
json_t *vmm_record_stats(const struct vmm *vmm);

/* lifecycle.c */
int vmm_watch(struct vmm *vmm, venv_error **err); /* the guest's end, and signals */
int vmm_pause(struct vmm *vmm, bool pause, venv_error **err);
void vmm_stop(struct vmm *vmm, unsigned timeout_ms);
void vmm_kill(struct vmm *vmm);
int vmm_save(struct vmm *vmm, int state_fd, int memory_fd, venv_error **err);

/* groups.c: limits, out of the login session; begun before the process gives up its rights */
int vmm_groups_make(struct vmm *vmm, venv_error **err);
int vmm_groups_wait(struct vmm *vmm, venv_error **err);

/* control.c */
int vmm_control_open(struct vmm *vmm, venv_error **err);
void vmm_control_end(struct vmm *vmm); /* answers those who wait for the end */

#endif
