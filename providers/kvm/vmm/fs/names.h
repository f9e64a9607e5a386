/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest may call a file. */
#ifndef VMM_FS_NAMES_H
#define VMM_FS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "iov.h"

enum { FS_NAME_SIZE = 256 }; /* with the zero */

/* The tool's own state at the root of a folder: it does not exist for guests. */
#define FS_HIDDEN ".machines"

/* One component: not empty, no '/', neither "." nor "..". */
bool fs_name_ok(const char *name);
/* Take a zero-terminated string of less than size bytes.
 * @return its length, -ENAMETOOLONG, or -EINVAL: it does not end */
int fs_take_string(struct fs_iov *in, char *ret, size_t size);
/* The same, and it must be the name of one component. @return 0, -ENAMETOOLONG, -EINVAL */
int fs_take_name(struct fs_iov *in, char ret[FS_NAME_SIZE]);

#endif
