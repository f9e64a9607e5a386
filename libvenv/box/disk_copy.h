/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VENV_BOX_DISK_COPY_H
#define VENV_BOX_DISK_COPY_H

#include "op.h"

/* Copy an image with its holes, sharing the blocks where the file system can. */
int venv__disk_copy(int from, int to, struct venv_op *op, const char *machine, const char *phase,
		    venv_error **err);

#endif
