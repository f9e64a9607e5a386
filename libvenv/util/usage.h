/* SPDX-License-Identifier: Apache-2.0 */
/* How much room a tree takes, within a time. */
#ifndef VENV_UTIL_USAGE_H
#define VENV_UTIL_USAGE_H

#include <stdbool.h>

#include "error.h"

struct tree_usage {
	uint64_t bytes; /* on the disk; what several names share is counted once */
	bool partial;   /* there was more than the time (or the rights) allowed to see */
	bool denied;    /* a directory could not be opened */
};

/* Links are not followed, wherever somebody moves them meanwhile. Never fails: at worst, partial. */
void venv__tree_usage(int dir_fd, const char *name, unsigned budget_ms, struct tree_usage *ret);

#endif
