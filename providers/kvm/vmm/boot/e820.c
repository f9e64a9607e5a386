/* SPDX-License-Identifier: Apache-2.0 */
#include "e820.h"

#include "machine/layout.h"

uint64_t e820_kept_page(const struct mem *mem)
{
	return mem->region[0].size - LAYOUT_RESERVED_SIZE;
}

size_t e820_make(const struct mem *mem, bool firmware, struct e820_entry ret[E820_MAX])
{
	const uint64_t kept = e820_kept_page(mem);
	size_t n = 0;

	if (firmware) {
		ret[n++] = (struct e820_entry){ 0, kept, E820_USABLE };
	} else {
		ret[n++] = (struct e820_entry){ 0, LAYOUT_LOW_END, E820_USABLE };
		ret[n++] = (struct e820_entry){ LAYOUT_LOW_END, LAYOUT_KERNEL - LAYOUT_LOW_END,
						E820_KEPT };
		ret[n++] = (struct e820_entry){ LAYOUT_KERNEL, kept - LAYOUT_KERNEL, E820_USABLE };
	}
	ret[n++] = (struct e820_entry){ kept, LAYOUT_RESERVED_SIZE, E820_KEPT };
	if (!firmware)
		ret[n++] = (struct e820_entry){ LAYOUT_ECAM, LAYOUT_ECAM_SIZE, E820_KEPT };
	if (mem->n_regions > 1)
		ret[n++] = (struct e820_entry){ mem->region[1].address, mem->region[1].size,
						E820_USABLE };
	return n;
}
