/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an unpacked Linux is moved to a random place of its address space (KASLR).
 *
 * A kernel that comes packed does this itself, before it begins. Its build leaves for that, behind the ELF file, where
 * addresses are that move with it (the kernel's arch/x86/tools/relocs.c and arch/x86/boot/compressed/misc.c): lists of virtual
 * addresses, 32 bits each, each list behind a zero:
 *
 *     0, of 64-bit words; 0, of 32-bit words from which addresses are subtracted; 0, of 32-bit words
 *
 * Since Linux 6.15 the list in the middle is not there. Anything else behind the file is not ours to read: the kernel stays
 * where it was linked to. Where the kernel is in memory does not change.
 */
#include <ctype.h>
#include <string.h>
#include <sys/random.h>

#include "boot.h"

/* arch/x86/include/asm/page_64_types.h: kernels that can be moved have a GiB from here on, modules have the next. */
static const uint64_t kernel_map = 0xffffffff80000000, kernel_map_size = 1 << 30;

enum { TABLE_MAX = 64 << 20, LISTS_MAX = 3, ALIGN_MIN = 2 << 20 };

struct list {
	const uint32_t *words;
	size_t count;
};

struct table {
	uint32_t *words;
	struct list of_64, inverse, of_32;
};

static bool says_nokaslr(const char *cmdline)
{
	static const char word[] = "nokaslr";

	for (const char *at = cmdline; (at = strstr(at, word)); at += strlen(word)) {
		bool begins = at == cmdline || isspace((unsigned char)at[-1]);
		char next = at[strlen(word)];

		if (begins && (!next || isspace((unsigned char)next)))
			return true;
	}
	return false;
}

/* @return whether they are lists as above */
static bool find_lists(struct table *table, size_t count)
{
	struct list lists[LISTS_MAX];
	size_t n = 0;

	if (count == 0 || table->words[0] != 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (table->words[i] != 0)
			lists[n - 1].count++;
		else if (n == LISTS_MAX)
			return false;
		else
			lists[n++] = (struct list){ table->words + i + 1, 0 };
	}
	if (n < LISTS_MAX - 1)
		return false;
	table->of_64 = lists[0];
	table->inverse = n == LISTS_MAX ? lists[1] : (struct list){ NULL, 0 };
	table->of_32 = lists[n - 1];
	return true;
}

/* @return 1: read, 0: there is none */
static int read_table(const struct boot_source *source, const struct boot_program *program,
		      struct table *ret, venv_error **err)
{
	uint64_t size = program->file - program->end;
	int r;

	if (size == 0 || size % sizeof(uint32_t) || size > TABLE_MAX)
		return 0;
	ret->words = malloc(size);
	if (!ret->words)
		return venv__fail_nomem(err);
	r = boot_read(source->kernel_fd, boot_kernel_name(source), program->end, ret->words, size,
		      err);
	return r < 0 ? r : find_lists(ret, size / sizeof(uint32_t));
}

/* By how much. All of it stays in the kernel's part, with a byte behind it: Linux counts in pages up to its end. */
static int choose(const struct boot_program *program, uint64_t *ret, venv_error **err)
{
	const uint64_t align = MAX(program->align, ALIGN_MIN),
		       end = program->memory.address + program->memory.size,
		       room = end < kernel_map_size ? kernel_map_size - 1 - end : 0;
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return venv__fail_errno(err, errno, "cannot get a random number");
	*ret = random % (room / align + 1) * align;
	return 0;
}

/* Add to each word of a list; size: of its words. @return whether all of them are the kernel's */
static bool add(uint8_t *kernel, const struct boot_piece *memory, const struct list *list,
		size_t size, uint64_t delta)
{
	for (size_t i = 0; i < list->count; i++) {
		const uint64_t address = (uint64_t)(int64_t)(int32_t)list->words[i] - kernel_map,
			       at = address - memory->address;
		uint64_t word = 0;

		if (at > memory->size || memory->size - at < size)
			return false;
		memcpy(&word, kernel + at, size); /* little endian, as this host's */
		word += delta;
		memcpy(kernel + at, &word, size);
	}
	return true;
}

static int move(const struct boot_source *source, const struct boot_program *program,
		const struct table *table, venv_error **err)
{
	const struct boot_piece *memory = &program->memory;
	uint8_t *kernel = mem_at(source->mem, memory->address, memory->size);
	uint64_t delta = 0;
	int r = choose(program, &delta, err);

	if (r < 0)
		return r;
	if (kernel && add(kernel, memory, &table->of_64, sizeof(uint64_t), delta) &&
	    add(kernel, memory, &table->inverse, sizeof(uint32_t), -delta) &&
	    add(kernel, memory, &table->of_32, sizeof(uint32_t), delta))
		return 0;
	return boot_not_this(source, "its relocations are damaged", err);
}

int boot_randomize(const struct boot_source *source, const struct boot_program *program,
		   bool *ret_moved, venv_error **err)
{
	struct table table = { 0 };
	const bool may = program->map == kernel_map && !says_nokaslr(source->cmdline);
	int r = may ? read_table(source, program, &table, err) : 0;
	const bool there = r > 0;

	if (there)
		r = move(source, program, &table, err);
	free(table.words);
	if (r == 0)
		*ret_moved = there;
	return r;
}
