/* SPDX-License-Identifier: Apache-2.0 */
/* Scopes of systemd: groups of processes that outlive the login session that they were started in. */
#ifndef VENV_UTIL_SCOPE_H
#define VENV_UTIL_SCOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct scope {
	const char *unit; /* "….scope", of a name that is free */
	const char *description;
	const pid_t *pids; /* who moves there */
	size_t n_pids;
	bool delegate;                  /* the control group is theirs to divide */
	int stop_signal;                /* what they get when it is stopped… */
	uint64_t stop_timeout_us;       /* …and how long they have then */
	uint64_t cpu_weight, io_weight; /* UINT64_MAX: the default */
	uint64_t memory_low;
};

/*
 * Ask systemd (the system's as root, else the user's) for a new scope and wait until it is there. It
 * loads a library for that: call it in a process that ends soon.
 * @return 0, or -errno, and why in what
 */
int venv__scope_start(const struct scope *scope, char *what, size_t size);

#endif
