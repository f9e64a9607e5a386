/* SPDX-License-Identifier: Apache-2.0 */
/* The memory map, in the form that the PC's firmware has given it since 1998. */
#ifndef VMM_E820_H
#define VMM_E820_H

#include <stdbool.h>

#include "../mem.h"

enum { E820_MAX = 8, E820_USABLE = 1, E820_KEPT = 2 };

struct e820_entry {
	uint64_t address, size;
	uint32_t type;
} __attribute__((packed));

/* @return how many; firmware: what it adds itself is left out */
size_t e820_make(const struct mem *mem, bool firmware, struct e820_entry ret[E820_MAX]);
/* The page that no map gives away, where the generation id is. */
uint64_t e820_kept_page(const struct mem *mem);

#endif
