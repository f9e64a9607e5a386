/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations, as the code that does the work sees them. Every function takes a NULL op (nobody
 * listens) and may be called from any thread of the operation.
 */
#ifndef VENV_OP_H
#define VENV_OP_H

#include "util/json.h"

/* The same object as the public one. */
struct venv_op;

/* Begin and end a named phase of a machine (NULL: none): resolve fetch unpack create network boot ssh
 * folders provision ready stop suspend snapshot restore destroy. */
void venv__op_begin(struct venv_op *op, const char *machine, const char *phase, const char *format,
		    ...) _printf_(4, 5);
void venv__op_end(struct venv_op *op, const char *machine, const char *phase);
/* total 0: unknown. Called as often as one likes: the operation thins it out. */
void venv__op_progress(struct venv_op *op, const char *machine, const char *phase, uint64_t done,
		       uint64_t total);
/* Raw output of a step or build. stream: 1 or 2. */
void venv__op_output(struct venv_op *op, const char *machine, const char *phase, int stream,
		     const char *data, size_t length);
void venv__op_notice(struct venv_op *op, const char *machine, const char *format, ...)
	_printf_(3, 4);
void venv__op_warning(struct venv_op *op, const char *machine, const char *format, ...)
	_printf_(3, 4);
void venv__op_state(struct venv_op *op, const char *machine, const char *state);
/* 0, or VENV_ERR_CANCELLED with *err set. Ask between steps. */
int venv__op_cancelled(struct venv_op *op, venv_error **err);
/* A descriptor that becomes readable when the operation is cancelled; -1 for a NULL op. */
int venv__op_cancel_fd(const struct venv_op *op);

#endif
