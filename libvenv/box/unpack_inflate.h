/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a descriptor, inflated when they begin like gzip, xz or zstd. */
#ifndef VENV_BOX_UNPACK_INFLATE_H
#define VENV_BOX_UNPACK_INFLATE_H

#include <stdint.h>

#include "../util/error.h"

struct inflater;

/* Looks at the first bytes: what is neither compressed nor a tar archive is refused by name. */
int venv__inflater_new(int fd, struct inflater **ret, venv_error **err);
/* Fill the space as far as there is something; *ret_length 0 is the end. */
int venv__inflater_read(struct inflater *inflater, void *space, size_t size, size_t *ret_length,
			venv_error **err);
/* Bytes read of the descriptor. Same thread as venv__inflater_read(). */
uint64_t venv__inflater_position(const struct inflater *inflater);
void venv__inflater_free(struct inflater *inflater);

#endif
