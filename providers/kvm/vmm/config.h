/* SPDX-License-Identifier: Apache-2.0 */
/* What machine this is: read from the starter's messages (../protocol.h). */
#ifndef VMM_CONFIG_H
#define VMM_CONFIG_H

#include "../protocol.h"
#include "machine/cpus.h"
#include "util/idmap.h"
#include "util/json.h"
#include "util/msg.h"

struct config {
	json_t *json; /* "machine" */
	int fd[KVM_FDS_MAX];
	size_t n_fds;
	uint64_t spawned_us; /* 0: unknown */

	const char *name; /* in json, as are the others */
	uint64_t memory;
	struct cpus cpus;
	int kernel, initrd, firmware;                          /* -1: none */
	const char *kernel_name, *initrd_name, *firmware_name; /* or NULL */
	int state, memory_file;
	const char *cmdline, *boot_order;
	unsigned stop_timeout_ms;
	bool debug_exit, paused;
	struct idmap ids; /* the host's ids of the guest's on volumes, as this process sees them */
	bool has_ids;
	int proc_fd; /* /proc/self/fd, for folders: their jail has no /proc */
};

/* Receives all of it. VENV_ERR_INVALID with what is wrong. */
int config_receive(int socket, struct config *config, venv_error **err);
/* For tests: from a message; its descriptors stay the caller's. */
int config_parse(struct config *config, venv_error **err);
void config_done(struct config *config);
/* A descriptor that json names: stays config's; -1: no such key, -2: no such descriptor. */
int config_fd(const struct config *config, const json_t *json, const char *key);

#endif
