/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux as distributions ship it, by the 64-bit boot protocol (the kernel's Documentation/arch/x86/boot.rst).
 *
 * The file is a boot sector, `setup_sects` sectors for the real mode, which nobody runs here, and the
 * part that is loaded. The setup header, at 0x1f1, tells where that wants to be and how much memory it
 * needs there to unpack itself.
 */
#include <asm/bootparam.h>
#include <stddef.h>
#include <string.h>

#include "boot.h"
#include "machine/layout.h"

enum {
	HEADER_AT = 0x1f1,
	JUMP_AT = 0x201, /* how far the header goes from 0x202 on */
	SECTOR = 512,
	ENTRY_64 = 0x200,
	VERSION_MIN = 0x20c,
	SETUP_SECTS_DEFAULT = 4,
};

static int no_kernel(const struct boot_source *source, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_INVALID,
			   "%s is no kernel: it is neither a bzImage nor an ELF program",
			   boot_kernel_name(source));

	return venv__hint(r, err, BOOT_KERNEL_HINT);
}

/* What is told by its first bytes comes first: a file of another kind may be of any length. Returns how much of
 * the header the kernel has. */
static int read_header(const struct boot_source *source, uint64_t size, struct setup_header *ret,
		       size_t *ret_size, venv_error **err)
{
	enum {
		BOOT_FLAG = 0xaa55,
		HDRS = 0x53726448,
		MAGIC_END = HEADER_AT + offsetof(struct setup_header, version)
	};
	const uint64_t there = size > HEADER_AT ? size - HEADER_AT : 0;
	struct setup_header header = { 0 };
	uint8_t jump = 0;
	int r = boot_read(source->kernel_fd, boot_kernel_name(source), HEADER_AT, &header,
			  MIN(there, sizeof(header)), err);

	if (r < 0)
		return r;
	if (size < MAGIC_END || header.boot_flag != BOOT_FLAG || header.header != HDRS)
		return no_kernel(source, err);
	if (there < sizeof(header))
		return boot_not_this(source, "the file is cut short", err);
	r = boot_read(source->kernel_fd, boot_kernel_name(source), JUMP_AT, &jump, sizeof(jump),
		      err);
	if (r < 0)
		return r;
	if (header.version < VERSION_MIN || !(header.xloadflags & XLF_KERNEL_64))
		return boot_not_this(source,
				     "it has no 64-bit entry (Linux 3.8 and later have one)", err);
	if (!(header.loadflags & LOADED_HIGH))
		return boot_not_this(source, "it wants to be below 1 MiB", err);
	*ret = header;
	*ret_size = MIN((size_t)jump + JUMP_AT + 1 - HEADER_AT, sizeof(header));
	return 0;
}

/* What is in the file, and where: offset, size. */
static int find_payload(const struct boot_source *source, uint64_t file,
			const struct setup_header *header, struct boot_piece *ret, venv_error **err)
{
	uint64_t sectors = header->setup_sects ? header->setup_sects : SETUP_SECTS_DEFAULT;
	uint64_t offset = (sectors + 1) * SECTOR, size = (uint64_t)header->syssize * 16;

	if (offset >= file || size > file - offset)
		return boot_not_this(source, "the file is cut short", err);
	/* Old tools rounded syssize as they liked: the rest of the file, within what is needed. */
	ret->address = offset;
	ret->size = MIN(file - offset, (uint64_t)header->init_size);
	if (size > ret->size || ret->size <= ENTRY_64)
		return boot_not_this(source, "its header contradicts itself", err);
	return 0;
}

static bool fits(const struct mem *mem, uint64_t address, uint64_t size)
{
	return address >= LAYOUT_KERNEL && address % MEM_PAGE == 0 && address + size <= MEM_HIGH &&
	       mem_at(mem, address, size) != NULL;
}

/* Where it likes to be; else, if it does not mind, at 1 MiB. */
static int choose_address(const struct boot_source *source, const struct setup_header *header,
			  uint64_t *ret, venv_error **err)
{
	const struct mem *mem = source->mem;
	uint64_t align = header->kernel_alignment, lowest;

	if (align < MEM_PAGE || align > MEM_HOLE || (align & (align - 1)))
		return boot_not_this(source, "its header contradicts itself", err);
	lowest = (LAYOUT_KERNEL + align - 1) & ~(align - 1);
	if (header->pref_address < MEM_HOLE && fits(mem, header->pref_address, header->init_size)) {
		*ret = header->pref_address;
		return 0;
	}
	if (header->relocatable_kernel && fits(mem, lowest, header->init_size)) {
		*ret = lowest;
		return 0;
	}
	return boot_too_large(boot_kernel_name(source), err);
}

int boot_bzimage(const struct boot_source *source, uint64_t size, struct boot_entry *ret,
		 venv_error **err)
{
	struct boot_piece payload = { 0 }, kernel = { 0 };
	struct setup_header header = { 0 };
	struct boot_linux told = { .header = &header };
	int r = read_header(source, size, &header, &told.header_size, err);

	if (r == 0)
		r = find_payload(source, size, &header, &payload, err);
	if (r == 0)
		r = choose_address(source, &header, &kernel.address, err);
	if (r < 0)
		return r;
	kernel.size = payload.size;
	r = boot_place(source->mem, source->kernel_fd, boot_kernel_name(source), payload.address,
		       &kernel, err);
	kernel.size = header.init_size;
	if (r == 0)
		r = boot_initrd(source, &kernel, (uint64_t)header.initrd_addr_max + 1, &told.initrd,
				err);
	if (r == 0)
		r = boot_cmdline(source, header.cmdline_size, err);
	if (r == 0)
		r = boot_zero_page(source, &told, err);
	if (r == 0)
		r = boot_tables(source->mem, err);
	if (r < 0)
		return r;
	*ret = (struct boot_entry){ BOOT_LONG, kernel.address + ENTRY_64, LAYOUT_ZERO_PAGE };
	return 0;
}
