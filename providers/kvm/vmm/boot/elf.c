/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels as ELF programs. A Linux that can be moved is (relocate.c), and entered with 64 bits, as by the code that unpacks
 * it: by PVH it could not be told that it was, and would leave the rest of its address space where everyone knows it.
 * Another one with Xen's note for it is entered by PVH (xen/include/public/arch-x86/hvm/start_info.h), with 32 bits; else
 * it is taken for a Linux as well.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>

#include "boot.h"
#include "e820.h"
#include "machine/layout.h"

enum {
	HEADERS_MAX = 64,
	NOTES_MAX = 65536,
	NOTE_PHYS32_ENTRY = 18,
	CMDLINE_MAX = 4095, /* what Linux takes */
	START_MAGIC = 0x336ec578,
	START_VERSION = 1,
};

struct start_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t n_memmap, reserved;
};

struct start_module {
	uint64_t address, size, cmdline, reserved;
};

struct start_memory {
	uint64_t address, size;
	uint32_t type, reserved;
};

struct program {
	Elf64_Ehdr header;
	Elf64_Phdr segments[HEADERS_MAX];
	struct boot_program loaded;
	uint64_t pvh_entry; /* 0: none */
	bool moved;
};

static int damaged(const struct boot_source *source, venv_error **err)
{
	return boot_not_this(source, "its ELF headers are damaged", err);
}

static int read_headers(const struct boot_source *source, struct program *program, venv_error **err)
{
	Elf64_Ehdr *header = &program->header;
	const char *name = boot_kernel_name(source);
	int r = boot_file_size(source->kernel_fd, name, &program->loaded.file, err);

	if (r == 0)
		r = boot_read(source->kernel_fd, name, 0, header, sizeof(*header), err);
	if (r < 0)
		return r;
	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
	    header->e_machine != EM_X86_64)
		return boot_not_this(source, "it is not for x86-64", err);
	if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
	    header->e_phnum > HEADERS_MAX || header->e_phoff > program->loaded.file)
		return damaged(source, err);
	return boot_read(source->kernel_fd, name, header->e_phoff, program->segments,
			 header->e_phnum * sizeof(Elf64_Phdr), err);
}

/* One segment; memory that the file does not fill is zero. Nothing goes where our own tables are. */
static int load_segment(const struct boot_source *source, struct program *program,
			const Elf64_Phdr *segment, venv_error **err)
{
	const struct boot_piece piece = { segment->p_paddr, segment->p_filesz };
	struct boot_program *loaded = &program->loaded;
	struct boot_piece *memory = &loaded->memory;
	uint64_t end = memory->address + memory->size;
	uint8_t *at;
	int r = 0;

	if (segment->p_memsz == 0)
		return 0;
	at = mem_at(source->mem, segment->p_paddr, segment->p_memsz);
	if (segment->p_filesz > segment->p_memsz)
		return damaged(source, err);
	if (segment->p_paddr < LAYOUT_KERNEL)
		return boot_not_this(source, "it wants to be below 1 MiB", err);
	if (!at || segment->p_paddr >= MEM_HOLE)
		return boot_too_large(boot_kernel_name(source), err);
	if (piece.size)
		r = boot_place(source->mem, source->kernel_fd, boot_kernel_name(source),
			       segment->p_offset, &piece, err);
	if (r < 0)
		return r;
	memset(at + segment->p_filesz, 0, segment->p_memsz - segment->p_filesz);
	if (memory->size == 0)
		loaded->map = segment->p_vaddr - segment->p_paddr;
	loaded->align = MAX(loaded->align, segment->p_align);
	end = MAX(end, segment->p_paddr + segment->p_memsz);
	memory->address = memory->size ? MIN(memory->address, segment->p_paddr) : segment->p_paddr;
	memory->size = end - memory->address;
	return 0;
}

static size_t padded(uint32_t size)
{
	return ((size_t)size + 3) & ~(size_t)3;
}

/* Look for the entry in notes; each turn goes on by a header at least. */
static uint64_t find_entry(const uint8_t *notes, size_t size)
{
	Elf64_Nhdr note;

	while (size >= sizeof(note)) {
		size_t name, content;
		uint32_t entry;

		memcpy(&note, notes, sizeof(note));
		notes += sizeof(note);
		size -= sizeof(note);
		name = padded(note.n_namesz);
		content = padded(note.n_descsz);
		if (name > size || content > size - name)
			return 0;
		if (note.n_type == NOTE_PHYS32_ENTRY && note.n_namesz == 4 &&
		    memcmp(notes, "Xen", 4) == 0 && note.n_descsz >= sizeof(entry)) {
			memcpy(&entry, notes + name, sizeof(entry));
			return entry;
		}
		notes += name + content;
		size -= name + content;
	}
	return 0;
}

static int read_notes(const struct boot_source *source, struct program *program,
		      const Elf64_Phdr *segment, venv_error **err)
{
	_cleanup_free_ uint8_t *notes = NULL;
	int r;

	if (segment->p_filesz > NOTES_MAX || program->pvh_entry)
		return 0;
	notes = malloc(segment->p_filesz + 1);
	if (!notes)
		return venv__fail_nomem(err);
	r = boot_read(source->kernel_fd, boot_kernel_name(source), segment->p_offset, notes,
		      segment->p_filesz, err);
	if (r == 0)
		program->pvh_entry = find_entry(notes, segment->p_filesz);
	return r;
}

static bool is_in_file(const struct program *program, uint64_t offset, uint64_t size)
{
	const uint64_t file = program->loaded.file;

	return offset <= file && size <= file - offset;
}

/* Where what the headers tell of the file ends; what they say of more than there is counts for nothing. */
static uint64_t end_of_file(const struct program *program)
{
	const Elf64_Ehdr *header = &program->header;
	const uint64_t sections = (uint64_t)header->e_shnum * header->e_shentsize;
	uint64_t end = header->e_phoff + header->e_phnum * sizeof(Elf64_Phdr);

	if (is_in_file(program, header->e_shoff, sections))
		end = MAX(end, header->e_shoff + sections);
	for (size_t i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *segment = &program->segments[i];

		if (is_in_file(program, segment->p_offset, segment->p_filesz))
			end = MAX(end, segment->p_offset + segment->p_filesz);
	}
	return MIN(end, program->loaded.file);
}

static int load(const struct boot_source *source, struct program *program, venv_error **err)
{
	int r = read_headers(source, program, err);

	for (size_t i = 0; r == 0 && i < program->header.e_phnum; i++) {
		const Elf64_Phdr *segment = &program->segments[i];

		if (segment->p_type != PT_LOAD && segment->p_type != PT_NOTE)
			continue;
		if (!is_in_file(program, segment->p_offset, segment->p_filesz))
			return damaged(source, err);
		r = segment->p_type == PT_LOAD ? load_segment(source, program, segment, err)
					       : read_notes(source, program, segment, err);
	}
	if (r < 0)
		return r;
	if (program->loaded.memory.size == 0)
		return damaged(source, err);
	program->loaded.end = end_of_file(program);
	return 0;
}

static int write_start_info(const struct boot_source *source, const struct boot_piece *initrd,
			    venv_error **err)
{
	struct e820_entry entries[E820_MAX];
	struct start_memory memory[E820_MAX] = { 0 };
	const struct start_module module = { .address = initrd->address, .size = initrd->size };
	struct start_info info = { .magic = START_MAGIC,
				   .version = START_VERSION,
				   .n_modules = initrd->size ? 1 : 0,
				   .modules = initrd->size ? LAYOUT_PVH_MODULES : 0,
				   .cmdline = LAYOUT_CMDLINE,
				   .rsdp = source->rsdp,
				   .memmap = LAYOUT_PVH_MEMMAP };

	info.n_memmap = (uint32_t)e820_make(source->mem, false, entries);
	for (size_t i = 0; i < info.n_memmap; i++)
		memory[i] = (struct start_memory){ .address = entries[i].address,
						   .size = entries[i].size,
						   .type = entries[i].type };
	if (mem_write(source->mem, LAYOUT_PVH_INFO, &info, sizeof(info)) < 0 ||
	    mem_write(source->mem, LAYOUT_PVH_MODULES, &module, sizeof(module)) < 0 ||
	    mem_write(source->mem, LAYOUT_PVH_MEMMAP, memory, sizeof(memory)) < 0)
		return venv__fail(err, VENV_ERR_INVALID, "the machine has no memory");
	return 0;
}

/* Where it begins, and with what. */
static struct boot_entry entry_of(const struct program *program)
{
	if (program->pvh_entry && !program->moved)
		return (struct boot_entry){ BOOT_PROTECTED, program->pvh_entry, LAYOUT_PVH_INFO };
	return (struct boot_entry){ BOOT_LONG, program->header.e_entry, LAYOUT_ZERO_PAGE };
}

/* What the kernel finds there, by the way that it is entered. */
static int write_information(const struct boot_source *source, const struct program *program,
			     enum boot_mode mode, const struct boot_piece *initrd, venv_error **err)
{
	/* by its flag Linux knows that the rest of its address space may be random too */
	const struct boot_linux told = { .loadflags = program->moved ? KASLR_FLAG : 0,
					 .initrd = *initrd };

	if (mode == BOOT_PROTECTED)
		return write_start_info(source, initrd, err);
	return boot_zero_page(source, &told, err);
}

int boot_elf(const struct boot_source *source, struct boot_entry *ret, venv_error **err)
{
	struct program program = { .pvh_entry = 0 };
	const struct boot_piece *memory = &program.loaded.memory;
	struct boot_piece initrd = { 0 };
	struct boot_entry entry = { 0 };
	int r = load(source, &program, err);

	if (r == 0)
		r = boot_randomize(source, &program.loaded, &program.moved, err);
	if (r < 0)
		return r;
	entry = entry_of(&program);
	if (entry.ip < memory->address || entry.ip - memory->address >= memory->size)
		return damaged(source, err);
	r = boot_initrd(source, memory, MEM_HOLE, &initrd, err);
	if (r == 0)
		r = boot_cmdline(source, CMDLINE_MAX, err);
	if (r == 0)
		r = write_information(source, &program, entry.mode, &initrd, err);
	if (r == 0)
		r = boot_tables(source->mem, err);
	if (r == 0)
		*ret = entry;
	return r;
}
