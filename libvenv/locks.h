/* SPDX-License-Identifier: Apache-2.0 */
/* venv.lock: which box a name meant, committed with the project. */
#ifndef VENV_LOCKS_H
#define VENV_LOCKS_H

#include "lifecycle.h"

/* The box that venv.lock pins for a reference, when the store has it and the constraint still allows
 * it; VENV_ERR_NOT_FOUND otherwise, or VENV_ERR_NOMEM. */
int venv__lock_file_box(struct venv_project *project, const char *reference, const char *constraint,
			const char *architecture, struct box *ret);
/* Remember what a reference was resolved to; a pin that had to be given up is told as a warning. */
int venv__lock_file_save(struct venv_project *project, const char *reference, const struct box *box,
			 struct venv_op *op, venv_error **err);

/* verbs.c: the error for a machine that venv.yml does not name, with a suggestion. */
int venv__unknown_machine(struct venv_project *project, const char *name, venv_error **err);

#endif
