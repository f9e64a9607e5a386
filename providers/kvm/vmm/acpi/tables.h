/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables of a machine: RSDP, RSDT, XSDT, FADT (hardware-reduced), MADT, MCFG, DSDT.
 *
 * They are made without an address: pointers count from the start of the tables, checksums are zero,
 * and lists tell where both are. acpi_place() finishes them in memory for a kernel that is loaded
 * directly; acpi_loader() (loader.h) makes a script of the lists, by which SeaBIOS finishes them.
 */
#ifndef VMM_ACPI_TABLES_H
#define VMM_ACPI_TABLES_H

#include "../machine/cpus.h"
#include "../mem.h"
#include "util/buf.h"

enum { ACPI_RSDP_SIZE = 36, ACPI_POINTERS_MAX = 16, ACPI_SUMS_MAX = 16 };

struct acpi_config {
	struct cpus cpus;
	uint32_t window, window_end; /* of PCI memory; window_end is the first byte after it */
	bool firmware;               /* PICs, RTC; no ECAM */
	uint64_t generation;         /* where the generation id is */
};

struct acpi_pointer { /* to something in the tables */
	bool in_rsdp;
	uint8_t size;
	uint32_t at;
};

struct acpi_sum {
	bool in_rsdp;
	uint32_t at, start, length;
};

struct acpi_tables {
	uint8_t rsdp[ACPI_RSDP_SIZE];
	struct buf tables;
	struct acpi_pointer pointers[ACPI_POINTERS_MAX];
	struct acpi_sum sums[ACPI_SUMS_MAX];
	size_t n_pointers, n_sums;
};

int acpi_tables_init(struct acpi_tables *acpi, const struct acpi_config *config); /* 0, -ENOMEM */
void acpi_tables_done(struct acpi_tables *acpi);
/* Finish them at the address of the RSDP, the tables right after it. 0, -EFAULT, -ENOSPC */
int acpi_place(struct acpi_tables *acpi, const struct mem *mem, uint64_t address, uint64_t size);

#endif
