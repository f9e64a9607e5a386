/* SPDX-License-Identifier: Apache-2.0 */
/* The context: where things are, which ids are ours, where log lines go. */
#ifndef VENV_CONTEXT_H
#define VENV_CONTEXT_H

#include "util/error.h"
#include "util/idmap.h"

struct venv {
	char *data_dir; /* absolute */
	char *libexec_dir;
	char *box_dir; /* recipes: $VENV_BOXES, or where they were installed */
	int data_fd;   /* opened by venv__context_data() */
	struct idmap map;
	bool map_loaded;
	venv_log_fn log;
	void *log_user;
	int log_level;
};

/* The data directory, made on first use. Borrowed descriptor or a negative code. @threads any */
int venv__context_data(struct venv *ctx, venv_error **err);
/* The id map of this user, found on first use. @threads any */
int venv__context_map(struct venv *ctx, const struct idmap **ret, venv_error **err);
/* Absolute path of a helper program, owned by the caller. NULL: out of memory. */
char *venv__context_program(const struct venv *ctx, const char *name);

void venv__log(struct venv *ctx, int level, const char *format, ...) _printf_(3, 4);
#define venv__debug(ctx, ...) venv__log(ctx, VENV_LOG_DEBUG, __VA_ARGS__)
#define venv__warn(ctx, ...) venv__log(ctx, VENV_LOG_WARNING, __VA_ARGS__)

#endif
