/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities, no_new_privs and seccomp of what runs in a machine. */
#ifndef VENV_SETUP_SECURE_H
#define VENV_SETUP_SECURE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct filter { /* a compiled seccomp program */
	struct sock_filter *code;
	size_t length; /* instructions; 0: none */
};

enum { FILTER_MAX = 4096 };

/* Bit set of the capabilities that a profile leaves. */
uint64_t secure_capabilities(bool app);
/*
 * Drop everything else from all sets, clear inheritable and ambient, set no_new_privs (app) and
 * load the filter. The caller is root of the machine. 0 or -errno.
 */
int secure_apply(bool app, const struct filter *filter);

#endif
