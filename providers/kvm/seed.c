/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine is told at its start, as its second disk. */
#include <fcntl.h>

#include "first_start.h"
#include "kvm.h"

int kvm_seed_order(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	int fd, number, r = order->goes_on ? 0 : venv__seed_write(machine, err);

	if (r < 0)
		return r;
	fd = openat(machine->dir_fd, SEED_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open '%s'", SEED_FILE);
	number = kvm_order_fd(order, fd, err);
	if (number < 0)
		return number;
	return kvm_order_device(order,
				json_pack("{s:s, s:i, s:b, s:[{s:i, s:s, s:s}]}", "kind", "blk",
					  "slot", (int)KVM_SLOT_SEED, "read_only", 1, "images",
					  "file", number, "format", "raw", "name", SEED_FILE),
				err);
}
