/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine begins with: a kernel that is loaded directly, or firmware.
 *
 * Kernels, initrds and firmware are input from strangers: every field that is used is checked, and all
 * that is written lies in guest memory by mem_at(). Loading again over an earlier run is a reboot.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include "../mem.h"

enum boot_mode {
	BOOT_RESET,     /* the processor's reset state: firmware */
	BOOT_PROTECTED, /* 32 bits, flat, no paging; argument in EBX: PVH */
	BOOT_LONG,      /* 64 bits, the first 4 GiB mapped one to one; argument in RSI: Linux */
};

struct boot_entry {
	enum boot_mode mode;
	uint64_t ip, argument;
};

struct boot_source {
	const struct mem *mem;
	int kernel_fd, initrd_fd;              /* regular files; initrd_fd may be -1 */
	const char *kernel_name, *initrd_name; /* in messages; or NULL */
	const char *cmdline;
	uint64_t rsdp; /* LAYOUT_ACPI, or 0 */
};

/* A part of a file at an address: what boot_place() has put there. */
struct boot_piece {
	uint64_t address, size;
};

/* An ELF program that is in memory. */
struct boot_program {
	struct boot_piece memory; /* from the lowest to the highest byte */
	uint64_t file, end;       /* sizes: of the file, and of what its ELF headers tell of it */
	uint64_t map;             /* from a physical address to the virtual one */
	uint64_t align;
};

/* A kernel of either kind, told by its first bytes. VENV_ERR_INVALID: it is none, or damaged. */
int boot_kernel(const struct boot_source *source, struct boot_entry *ret, venv_error **err);
int boot_bzimage(const struct boot_source *source, uint64_t size, struct boot_entry *ret,
		 venv_error **err);
int boot_elf(const struct boot_source *source, struct boot_entry *ret, venv_error **err);
/* Let a Linux that lies in memory begin at a random virtual address; not one without the lists for it, nor against
 * "nokaslr" in its command line. One that was moved is to be entered with 64 bits. (relocate.c) */
int boot_randomize(const struct boot_source *source, const struct boot_program *program,
		   bool *ret_moved, venv_error **err);

/*
 * For the loaders. `what` names the file in messages.
 */
#define BOOT_KERNEL_HINT                                                                           \
	"name a Linux kernel for x86-64 (a bzImage or a vmlinux), or another ELF program with a "  \
	"PVH note, or leave kvm.kernel away"
const char *boot_kernel_name(const struct boot_source *source);
/* Fail, for a kernel that is not for this; for what does not fit. */
int boot_not_this(const struct boot_source *source, const char *why, venv_error **err);
int boot_too_large(const char *what, venv_error **err);
int boot_file_size(int fd, const char *what, uint64_t *ret, venv_error **err);
int boot_read(int fd, const char *what, uint64_t offset, void *data, size_t size, venv_error **err);
/* size bytes of the file into RAM; VENV_ERR_INVALID when it is not RAM, or not in the file. */
int boot_place(const struct mem *mem, int fd, const char *what, uint64_t offset,
	       const struct boot_piece *piece, venv_error **err);
/* As high as it goes below `limit`, without touching the kernel. Nothing when there is no initrd. */
int boot_initrd(const struct boot_source *source, const struct boot_piece *kernel, uint64_t limit,
		struct boot_piece *ret, venv_error **err);
int boot_cmdline(const struct boot_source *source, size_t max, venv_error **err);
/* What a Linux kernel is told by the 64-bit protocol. */
struct boot_linux {
	const void *header; /* its setup header; NULL: it has none, for it is unpacked */
	size_t header_size;
	uint8_t loadflags; /* more of them */
	struct boot_piece initrd;
};
int boot_zero_page(const struct boot_source *source, const struct boot_linux *told,
		   venv_error **err);
/* Segments and page tables of BOOT_PROTECTED and BOOT_LONG. */
int boot_tables(const struct mem *mem, venv_error **err);

/* what the descriptors that boot_tables() makes are called */
enum { BOOT_CS = 0x10, BOOT_DS = 0x18, BOOT_TSS = 0x20, BOOT_CS_32 = 0x28, BOOT_GDT_SIZE = 0x30 };

#endif
