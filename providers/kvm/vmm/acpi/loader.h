/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The script by which SeaBIOS puts the tables into memory (its "romfile_loader"): entries of 128 bytes
 * that say allocate, add a file's address to a pointer, make a checksum.
 */
#ifndef VMM_ACPI_LOADER_H
#define VMM_ACPI_LOADER_H

#include "tables.h"

/* the names under which fw_cfg must have the script, the tables and the RSDP */
#define ACPI_LOADER_FILE "etc/table-loader"
#define ACPI_TABLES_FILE "etc/acpi/tables"
#define ACPI_RSDP_FILE "etc/acpi/rsdp"

int acpi_loader(const struct acpi_tables *acpi, struct buf *ret); /* 0, -ENOMEM */

#endif
