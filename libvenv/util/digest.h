/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, as lower-case hex. */
#ifndef VENV_UTIL_DIGEST_H
#define VENV_UTIL_DIGEST_H

#include <stddef.h>

enum { DIGEST_HEX_SIZE = 65 }; /* with the zero */

struct digest;

struct digest *venv__digest_new(void); /* NULL: out of memory */
void venv__digest_add(struct digest *digest, const void *data, size_t length);
/* Finish, write the hex digits and free it. */
void venv__digest_end(struct digest *digest, char ret_hex[DIGEST_HEX_SIZE]);
void venv__digest_free(struct digest *digest);
/* 0 or -ENOMEM */
int venv__digest_of(const void *data, size_t length, char ret_hex[DIGEST_HEX_SIZE]);

#endif
