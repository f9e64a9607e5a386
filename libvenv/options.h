/* SPDX-License-Identifier: Apache-2.0 */
/* Size-first option structs of the public API. */
#ifndef VENV_OPTIONS_H
#define VENV_OPTIONS_H

#include "util/error.h"

/*
 * Copy a caller's options over the defaults in ours. A shorter struct is an older caller; a longer one
 * a newer, whose additional fields must be zero.
 */
int venv__options(void *ours, const void *theirs, size_t size, venv_error **err);

#endif
