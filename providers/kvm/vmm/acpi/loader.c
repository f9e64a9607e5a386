/* SPDX-License-Identifier: Apache-2.0 */
#include "loader.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	COMMAND_ALLOCATE = 1,
	COMMAND_ADD_POINTER = 2,
	COMMAND_ADD_CHECKSUM = 3,
	ZONE_HIGH = 1,
	ZONE_FSEG = 2, /* where the RSDP is looked for */
	FILE_NAME_SIZE = 56,
	ENTRY_SIZE = 128,
};

struct entry {
	uint32_t command;
	union {
		struct {
			char file[FILE_NAME_SIZE];
			uint32_t align;
			uint8_t zone;
		} allocate;
		struct {
			char file[FILE_NAME_SIZE], target[FILE_NAME_SIZE];
			uint32_t at;
			uint8_t size;
		} pointer;
		struct {
			char file[FILE_NAME_SIZE];
			uint32_t at, start, length;
		} checksum;
		uint8_t pad[ENTRY_SIZE - sizeof(uint32_t)];
	};
} __attribute__((packed));

_Static_assert(sizeof(struct entry) == ENTRY_SIZE, "romfile_loader_entry_s");

static void set_name(char ret[FILE_NAME_SIZE], const char *name)
{
	(void)snprintf(ret, FILE_NAME_SIZE, "%s", name);
}

static const char *file_of(bool in_rsdp)
{
	return in_rsdp ? ACPI_RSDP_FILE : ACPI_TABLES_FILE;
}

static void allocate(struct buf *script, const char *file, uint32_t align, uint8_t zone)
{
	struct entry entry = { .command = COMMAND_ALLOCATE };

	set_name(entry.allocate.file, file);
	entry.allocate.align = align;
	entry.allocate.zone = zone;
	venv__buf_add(script, &entry, sizeof(entry));
}

static void add_pointer(struct buf *script, const struct acpi_pointer *pointer)
{
	struct entry entry = { .command = COMMAND_ADD_POINTER };

	set_name(entry.pointer.file, file_of(pointer->in_rsdp));
	set_name(entry.pointer.target, ACPI_TABLES_FILE);
	entry.pointer.at = pointer->at;
	entry.pointer.size = pointer->size;
	venv__buf_add(script, &entry, sizeof(entry));
}

static void add_checksum(struct buf *script, const struct acpi_sum *sum)
{
	struct entry entry = { .command = COMMAND_ADD_CHECKSUM };

	set_name(entry.checksum.file, file_of(sum->in_rsdp));
	entry.checksum.at = sum->at;
	entry.checksum.start = sum->start;
	entry.checksum.length = sum->length;
	venv__buf_add(script, &entry, sizeof(entry));
}

int acpi_loader(const struct acpi_tables *acpi, struct buf *ret)
{
	enum { RSDP_ALIGN = 16, TABLES_ALIGN = 64 };

	allocate(ret, ACPI_RSDP_FILE, RSDP_ALIGN, ZONE_FSEG);
	allocate(ret, ACPI_TABLES_FILE, TABLES_ALIGN, ZONE_HIGH);
	for (size_t i = 0; i < acpi->n_pointers; i++)
		add_pointer(ret, &acpi->pointers[i]);
	for (size_t i = 0; i < acpi->n_sums; i++)
		add_checksum(ret, &acpi->sums[i]);
	return ret->failed ? -ENOMEM : 0;
}
