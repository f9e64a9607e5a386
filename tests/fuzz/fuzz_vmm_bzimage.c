/* SPDX-License-Identifier: Apache-2.0 */
/* A file that claims to be a kernel: whatever it says, nothing outside the guest's memory is touched. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/boot.h"
#include "machine/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_source source = { .initrd_fd = -1, .cmdline = "quiet", .rsdp = LAYOUT_ACPI };
	struct boot_entry entry = { 0 };
	struct mem mem;
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size ||
	    mem_init(&mem, 16 * MEM_ALIGN, -1, 0, NULL) < 0)
		abort();
	source.mem = &mem;
	source.kernel_fd = fd;
	if (boot_bzimage(&source, size, &entry, NULL) == 0 && !mem_at(&mem, entry.ip, 1))
		abort();
	mem_done(&mem);
	(void)close(fd);
	return 0;
}
