/* SPDX-License-Identifier: Apache-2.0 */
/* What the loaders have in common: files into memory, the tables of a processor that starts in the middle. */
#include "boot.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>
#include <sys/stat.h>

#include "e820.h"
#include "machine/layout.h"

int boot_file_size(int fd, const char *what, uint64_t *ret, venv_error **err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return venv__fail_errno(err, errno, "cannot read %s", what);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return venv__hint(venv__fail(err, VENV_ERR_INVALID, "%s is empty or no file", what),
				  err, "make or download it again, or name another file");
	*ret = (uint64_t)st.st_size;
	return 0;
}

int boot_read(int fd, const char *what, uint64_t offset, void *data, size_t size, venv_error **err)
{
	uint8_t *at = data;

	while (size) {
		ssize_t n = pread(fd, at, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return venv__fail_errno(err, errno, "cannot read %s", what);
		if (n == 0)
			return venv__hint(
				venv__fail(err, VENV_ERR_INVALID, "%s is cut short", what), err,
				"make or download it again");
		at += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

const char *boot_kernel_name(const struct boot_source *source)
{
	return source->kernel_name ? source->kernel_name : "the kernel";
}

int boot_not_this(const struct boot_source *source, const char *why, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_INVALID, "%s cannot be booted: %s",
			   boot_kernel_name(source), why);

	return venv__hint(r, err, BOOT_KERNEL_HINT);
}

int boot_too_large(const char *what, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_INVALID, "%s does not fit into the machine's memory",
			   what);

	return venv__hint(r, err, "give the machine more memory in venv.yml");
}

int boot_place(const struct mem *mem, int fd, const char *what, uint64_t offset,
	       const struct boot_piece *piece, venv_error **err)
{
	void *at = mem_at(mem, piece->address, piece->size);

	if (!at)
		return boot_too_large(what, err);
	return boot_read(fd, what, offset, at, piece->size, err);
}

int boot_initrd(const struct boot_source *source, const struct boot_piece *kernel, uint64_t limit,
		struct boot_piece *ret, venv_error **err)
{
	uint64_t end = MIN(limit, e820_kept_page(source->mem)) & ~(MEM_PAGE - 1), size = 0;
	const char *name = source->initrd_name ? source->initrd_name : "the initrd";
	struct boot_piece piece = { 0 };
	int r;

	if (source->initrd_fd >= 0) {
		r = boot_file_size(source->initrd_fd, name, &size, err);
		if (r < 0)
			return r;
	}
	if (size) {
		piece.size = size;
		piece.address = size <= end ? (end - size) & ~(MEM_PAGE - 1) : 0;
		if (piece.address < kernel->address + kernel->size) {
			r = venv__fail(
				err, VENV_ERR_INVALID,
				"%s does not fit into the machine's memory beside the kernel",
				name);
			return venv__hint(r, err, "give the machine more memory in venv.yml");
		}
		r = boot_place(source->mem, source->initrd_fd, name, 0, &piece, err);
		if (r < 0)
			return r;
	}
	*ret = piece;
	return 0;
}

int boot_cmdline(const struct boot_source *source, size_t max, venv_error **err)
{
	size_t length = strlen(source->cmdline);

	if (length > max || length >= LAYOUT_CMDLINE_SIZE)
		return venv__hint(
			venv__fail(
				err, VENV_ERR_INVALID,
				"the kernel's command line is too long (%zu bytes, it takes %zu)",
				length, max),
			err, "shorten kvm.cmdline in venv.yml");
	if (mem_write(source->mem, LAYOUT_CMDLINE, source->cmdline, length + 1) < 0)
		return venv__fail(err, VENV_ERR_INVALID, "the machine has no memory");
	return 0;
}

static void fill_map(const struct mem *mem, struct boot_params *params)
{
	struct e820_entry entries[E820_MAX];
	size_t n = e820_make(mem, false, entries);

	_Static_assert(sizeof(entries[0]) == sizeof(params->e820_table[0]), "e820");
	memcpy(params->e820_table, entries, n * sizeof(entries[0]));
	params->e820_entries = (uint8_t)n;
}

int boot_zero_page(const struct boot_source *source, const struct boot_linux *told,
		   venv_error **err)
{
	enum { LOADER_UNKNOWN = 0xff, BOOT_FLAG = 0xaa55, HDRS = 0x53726448, VERSION = 0x20c };
	struct boot_params params = { .hdr = { .boot_flag = BOOT_FLAG,
					       .header = HDRS,
					       .version = VERSION,
					       .loadflags = LOADED_HIGH,
					       .kernel_alignment = 0x1000000 } };

	_Static_assert(sizeof(params) == MEM_PAGE, "the zero page");
	if (told->header)
		memcpy(&params.hdr, told->header, MIN(told->header_size, sizeof(params.hdr)));
	params.hdr.type_of_loader = LOADER_UNKNOWN;
	params.hdr.loadflags |= told->loadflags;
	params.hdr.setup_data = 0;
	params.hdr.cmd_line_ptr = (uint32_t)LAYOUT_CMDLINE;
	params.hdr.ramdisk_image = (uint32_t)told->initrd.address;
	params.hdr.ramdisk_size = (uint32_t)told->initrd.size;
	params.ext_ramdisk_image = (uint32_t)(told->initrd.address >> 32);
	params.ext_ramdisk_size = (uint32_t)(told->initrd.size >> 32);
	params.acpi_rsdp_addr = source->rsdp;
	fill_map(source->mem, &params);
	if (mem_write(source->mem, LAYOUT_ZERO_PAGE, &params, sizeof(params)) < 0)
		return venv__fail(err, VENV_ERR_INVALID, "the machine has no memory");
	return 0;
}

static const uint64_t descriptors[BOOT_GDT_SIZE / sizeof(uint64_t)] = {
	[BOOT_CS / 8] = 0x00af9b000000ffffULL,  /* code, 64 bits */
	[BOOT_DS / 8] = 0x00cf93000000ffffULL,  /* data */
	[BOOT_TSS / 8] = 0x00008b0000000067ULL, /* a task, busy: what the processor wants to see */
	[BOOT_CS_32 / 8] = 0x00cf9b000000ffffULL, /* code, 32 bits */
};

int boot_tables(const struct mem *mem, venv_error **err)
{
	enum { PRESENT = 1, WRITABLE = 2, HUGE_PAGE = 0x80, ENTRIES = 512, DIRECTORIES = 4 };
	uint64_t *table = mem_at(mem, LAYOUT_PAGE_TABLES, (2 + DIRECTORIES) * MEM_PAGE);
	uint64_t next = LAYOUT_PAGE_TABLES + MEM_PAGE;

	if (!table || mem_write(mem, LAYOUT_GDT, descriptors, sizeof(descriptors)) < 0)
		return venv__fail(err, VENV_ERR_INVALID, "the machine has no memory");
	memset(table, 0, (2 + DIRECTORIES) * MEM_PAGE);
	table[0] = next | PRESENT | WRITABLE;
	for (uint64_t i = 0; i < DIRECTORIES; i++)
		table[ENTRIES + i] = (next + (1 + i) * MEM_PAGE) | PRESENT | WRITABLE;
	for (uint64_t i = 0; i < (uint64_t)DIRECTORIES * ENTRIES; i++)
		table[2 * ENTRIES + i] = i * MEM_ALIGN | PRESENT | WRITABLE | HUGE_PAGE;
	return 0;
}

int boot_kernel(const struct boot_source *source, struct boot_entry *ret, venv_error **err)
{
	const char *name = boot_kernel_name(source);
	char first[SELFMAG] = "";
	uint64_t size;
	int r = boot_file_size(source->kernel_fd, name, &size, err);

	if (r == 0)
		r = boot_read(source->kernel_fd, name, 0, first, MIN(size, sizeof(first)), err);
	if (r < 0)
		return r;
	if (memcmp(first, ELFMAG, SELFMAG) == 0)
		return boot_elf(source, ret, err);
	return boot_bzimage(source, size, ret, err);
}
