/* SPDX-License-Identifier: Apache-2.0 */
/* The content of the DSDT: which devices there are, where, and what events mean. */
#ifndef VMM_DSDT_H
#define VMM_DSDT_H

#include "tables.h"

void dsdt_add(struct buf *tables, const struct acpi_config *config);

#endif
