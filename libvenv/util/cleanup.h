/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scoped ownership: _cleanup_x_ variables are let go at the end of their scope, take_x() passes the
 * ownership on. Descriptors start at -1, pointers at NULL.
 */
#ifndef VENV_UTIL_CLEANUP_H
#define VENV_UTIL_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "compiler.h"

/* Defines the cleanup function `name` for variables of a pointer type. */
#define DEFINE_CLEANUP(type, name, function)                                                       \
	static inline _unused_ void name(type *p)                                                  \
	{                                                                                          \
		if (*p)                                                                            \
			function(*p);                                                              \
	}

static inline void venv__cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void venv__cleanup_close(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved;
}

DEFINE_CLEANUP(FILE *, venv__cleanup_fclose, fclose)
DEFINE_CLEANUP(DIR *, venv__cleanup_closedir, closedir)

#define _cleanup_free_ _cleanup_(venv__cleanup_free)
#define _cleanup_close_ _cleanup_(venv__cleanup_close)
#define _cleanup_fclose_ _cleanup_(venv__cleanup_fclose)
#define _cleanup_closedir_ _cleanup_(venv__cleanup_closedir)

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define take_ptr(p)                                                                                \
	__extension__({                                                                            \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})

#endif
