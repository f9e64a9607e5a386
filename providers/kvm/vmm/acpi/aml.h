/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A builder of ACPI machine language (ACPI 6.5, section 20), as much of it as our tables need.
 *
 * What is opened by aml_scope(), aml_device(), aml_method(), aml_package(), aml_if() or
 * aml_resources() is closed by aml_end(), which puts the length in front of what has been added
 * since. Names have four characters. Failure (memory) sticks in bytes.failed.
 */
#ifndef VMM_AML_H
#define VMM_AML_H

#include <stdint.h>

#include "util/buf.h"

enum { AML_DEPTH_MAX = 8 };

struct aml {
	struct buf bytes;
	struct aml_open {
		size_t at;      /* where the length belongs */
		bool resources; /* a buffer of resources: wants its size and an end tag */
	} open[AML_DEPTH_MAX];
	size_t depth;
};

void aml_scope(struct aml *aml, const char *name);
void aml_device(struct aml *aml, const char *name);
void aml_method(struct aml *aml, const char *name, uint8_t arguments);
void aml_package(struct aml *aml, uint8_t elements);
void aml_if_argument(struct aml *aml, uint64_t value); /* If (Arg0 == value) */
void aml_resources(struct aml *aml);                   /* ResourceTemplate */
void aml_end(struct aml *aml);

void aml_name(struct aml *aml, const char *name); /* what it names follows */
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
void aml_eisa_id(struct aml *aml, const char *id); /* "PNP0A03" */
void aml_notify(struct aml *aml, const char *name, uint8_t value);

/* inside aml_resources() */
void aml_io(struct aml *aml, uint16_t port, uint8_t length);
void aml_memory(struct aml *aml, uint32_t address, uint32_t length);
void aml_interrupt(struct aml *aml, uint32_t gsi); /* edge, active high, exclusive */
void aml_bus_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_memory_window(struct aml *aml, uint32_t first, uint32_t last);

#endif
