/* SPDX-License-Identifier: Apache-2.0 */
#include "vmgenid.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/random.h>

int vmgenid_make(const struct mem *mem, uint64_t address)
{
	uint8_t id[VMGENID_SIZE];

	if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return -errno;
	return mem_write(mem, address, id, sizeof(id));
}

int vmgenid_renew(const struct mem *mem, uint64_t address, int irq_fd)
{
	int r = vmgenid_make(mem, address);

	if (r < 0)
		return r;
	return eventfd_write(irq_fd, 1) < 0 ? -errno : 0;
}
