/* SPDX-License-Identifier: Apache-2.0 */
/* What a helper program gives up for good before it looks at foreign bytes. */
#ifndef VENV_NET_SANDBOX_H
#define VENV_NET_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

struct sandbox_path {
	int fd;          /* of a directory; -1 is left out */
	uint64_t access; /* LANDLOCK_ACCESS_FS_… that stay allowed below it */
};

/* No new privileges, no core, no tracer of the same user, no capability but the ones in this mask.
 * 0 or -errno */
int venv__sandbox_rights(uint64_t keep);
/* Landlock: no file but below these directories. 0, also where the kernel has none, or -errno. */
int venv__sandbox_files(const struct sandbox_path *paths, size_t n);

struct sandbox_argument { /* a call that is allowed with one of these values at a position */
	int call;
	unsigned position;
	uint32_t values[6];
	size_t n_values;
};
struct sandbox_calls { /* what one helper needs beside what all of them do */
	const int *calls;
	size_t n_calls;
	const struct sandbox_argument *arguments;
	size_t n_arguments;
};
/* Seccomp: these system calls, anything else is EPERM (ENOSYS for clone3, so that libc falls back).
 * 0 or -errno */
int venv__sandbox_syscalls(const struct sandbox_calls *allowed);

#endif
