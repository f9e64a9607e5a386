/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's memory as a file: both regions one after the other, holes where there are zeroes. */
#ifndef VMM_MEMFILE_H
#define VMM_MEMFILE_H

#include "../mem.h"

int memfile_write(const struct mem *mem, int fd); /* 0 or -errno */

#endif
