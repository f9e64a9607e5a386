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

/* No new privileges, and no capability but the ones in this mask. 0 or -errno */
int venv__sandbox_capabilities(uint64_t keep);
/* Landlock: no file but below these directories. 0, also where the kernel has none, or -errno. */
int venv__sandbox_files(const struct sandbox_path *paths, size_t n);
/*
 * Seccomp: these system calls, anything else is EPERM (ENOSYS for clone3, so that libc falls back).
 * socket() makes IPv4 and IPv6 sockets only. 0 or -errno
 */
int venv__sandbox_syscalls(const int *allowed, size_t n);

#endif
