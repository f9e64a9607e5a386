/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting helper programs from inside somebody else's process.
 *
 * The library must leave the program that embeds it no child to reap and raise no SIGCHLD in it, and
 * a helper must outlive a hang-up of the terminal. So a helper is started by an intermediate, which
 * has a session of its own, no exit signal, and is gone before venv__spawn() returns: the helper is
 * then a child of init (or of the host's subreaper). Its fate is told by what it says on its socket;
 * the end of that stream is its end. No page table is copied (CLONE_VM | CLONE_VFORK twice).
 */
#ifndef VENV_UTIL_PROCESS_H
#define VENV_UTIL_PROCESS_H

#include "error.h"

enum { SPAWN_FDS_MAX = 16 };

struct spawn {
	const char *path; /* program; or NULL and program_fd */
	int program_fd;   /* opened program (fexecve) */
	char *const *argv;
	char *const *envp;      /* NULL: this process's environment */
	int fds[SPAWN_FDS_MAX]; /* become 0, 1, 2, 3… in the program; -1: /dev/null */
	size_t n_fds;           /* fewer than 3 are filled up with /dev/null */
	const char *directory;  /* working directory; NULL: "/" */
};

/*
 * @param ret_pidfd NULL, or a pidfd of the helper (poll it for its end; it cannot be waited for)
 * @return 0 or a negative code; a program that cannot be executed is reported here
 */
int venv__spawn(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd, venv_error **err);

/*
 * A program to wait for, which the program that embeds the library does not notice: it raises no
 * SIGCHLD, and waitpid(-1) does not find it. The pid, of a process that stands for it (do not signal
 * it), or a negative code.
 */
pid_t venv__child_start(const struct spawn *spawn, venv_error **err);
/* Its exit status, 128 + the signal that killed it, or -errno. */
int venv__child_wait(pid_t pid);

/* Run a well-known program of the host (newuidmap, mmdebstrap…) found in PATH to its end.
 * Output, if ret_output, is the joined stdout and stderr, cut at 64 KiB.
 * @return its exit status (>= 0), 128 + signal, or a negative code */
int venv__run(char *const *argv, char **ret_output, venv_error **err);

/* A sealed memfd with these bytes, read-only to everybody. fd or -errno. */
int venv__memfd_sealed(const char *name, const void *data, size_t length);
/* A sealed, executable copy of a file: a guest that gets hold of it cannot change the original. */
int venv__memfd_program(int dir_fd, const char *path);

#endif
