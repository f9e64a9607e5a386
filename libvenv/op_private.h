/* SPDX-License-Identifier: Apache-2.0 */
/* Operations, as core makes them. */
#ifndef VENV_OP_PRIVATE_H
#define VENV_OP_PRIVATE_H

#include "context.h"
#include "op.h"

/* The work of an operation, on its private thread. Owns nothing of user but by its own rules. */
typedef int (*op_fn)(struct venv_op *op, void *user, venv_error **err);

/* Start; free_user (may be NULL) is called when the operation is freed, or at once on failure. */
int venv__op_start(struct venv *ctx, op_fn fn, void *user, void (*free_user)(void *),
		   struct venv_op **ret, venv_error **err);
struct venv *venv__op_context(const struct venv_op *op);
/* Take over json as the answer of the operation. */
void venv__op_set_result(struct venv_op *op, json_t *json);
void venv__op_set_exit_status(struct venv_op *op, int status);
/* Report the error of one machine while others go on; copies it. */
void venv__op_error(struct venv_op *op, const char *machine, const venv_error *error);

/* What venv_op_resize() and venv_op_signal() asked for since the last call; fd readable when any. */
struct op_request {
	unsigned rows, columns; /* 0: no new size */
	uint64_t signals;       /* bit n: signal n */
};
int venv__op_request_fd(struct venv_op *op);
struct op_request venv__op_take_request(struct venv_op *op);

#endif
