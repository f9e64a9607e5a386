/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in machines: what exec, provisioning, ready conditions and copying share. */
#ifndef VENV_GUEST_H
#define VENV_GUEST_H

#include "provider.h"

/* Where the bytes of a command come from and go. Descriptors are the caller's. */
struct guest_io {
	int in, out, err; /* -1: nothing, dropped */
	bool tty;         /* out carries the terminal, err is unused */
	/* instead of out and err, when set */
	void (*output)(void *user, int stream, const char *data, size_t length);
	void *user;
};
#define GUEST_IO_INIT                                                                              \
	{                                                                                          \
		-1, -1, -1, false, NULL, NULL                                                      \
	}

/* Start a command: by the provider, or over ssh where that has no exec. */
int venv__guest_exec(const struct provider *provider, struct machine *machine,
		     const struct exec_spec *spec, struct exec_handle *ret, venv_error **err);
/*
 * Run a command to its end. The machine never gets the caller's own descriptors, only pipes: what is
 * passed in could be opened again for writing through /proc, or be a terminal.
 * @return exit status (128 + n: killed by signal n), or a negative code
 */
int venv__guest_run(const struct provider *provider, struct machine *machine,
		    struct exec_spec *spec, const struct guest_io *io, struct venv_op *op,
		    venv_error **err);

/*
 * The two ends of the rcp protocol against the machine's own scp server, which needs no program in
 * the image. Put: from_fd is the opened file or directory, as its name if `to` is a directory. Get: into
 * the directory to_fd, under the name `as`, or the name that is sent when that is NULL.
 */
int venv__guest_put(const struct provider *provider, struct machine *machine, const char *user,
		    int from_fd, const char *as, const char *to, struct venv_op *op,
		    venv_error **err);
int venv__guest_get(const struct provider *provider, struct machine *machine, const char *user,
		    const char *from, int to_fd, const char *as, struct venv_op *op,
		    venv_error **err);

#endif
