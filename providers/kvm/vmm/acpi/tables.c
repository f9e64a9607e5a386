/* SPDX-License-Identifier: Apache-2.0 */
#include "tables.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "dsdt.h"
#include "machine/layout.h"

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct address { /* "generic address structure" */
	uint8_t space, bits, offset, access;
	uint64_t address;
} __attribute__((packed));

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
} __attribute__((packed));

struct fadt {
	struct header header;
	uint32_t firmware_control, dsdt;
	uint8_t unused_1[109 - 44];
	uint16_t boot_flags;
	uint8_t unused_2;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value;
	uint16_t arm_flags;
	uint8_t minor;
	uint64_t x_firmware_control, x_dsdt;
	struct address unused_3[8];
	struct address sleep_control, sleep_status;
	char hypervisor[8];
} __attribute__((packed));

struct madt {
	struct header header;
	uint32_t lapic, flags;
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi;
} __attribute__((packed));

struct madt_nmi {
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

struct mcfg {
	struct header header;
	uint64_t reserved, ecam;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved_2;
} __attribute__((packed));

_Static_assert(sizeof(struct fadt) == 276, "FADT revision 6");
_Static_assert(sizeof(struct rsdp) == ACPI_RSDP_SIZE, "RSDP revision 2");

enum {
	FADT_REVISION = 6,
	FADT_MINOR = 5,
	FADT_WBINVD = 1 << 0,
	FADT_NO_SLEEP_BUTTON = 1 << 5,
	FADT_NO_FIXED_POWER_BUTTON = 1 << 4,
	FADT_RESET_REGISTER = 1 << 10,
	FADT_HARDWARE_REDUCED = 1 << 20,
	BOOT_NO_VGA = 1 << 2,
	BOOT_NO_RTC = 1 << 5,
	RESET_VALUE = 1, /* platform/power.h takes any value */
	SPACE_IO = 1,
	MADT_PICS = 1,
};

static const struct header blank = {
	.oem_id = { 'V', 'E', 'N', 'V', ' ', ' ' },
	.oem_table_id = { 'V', 'E', 'N', 'V', 'V', 'M', 'M', ' ' },
	.oem_revision = 1,
	.creator_id = { 'V', 'E', 'N', 'V' },
	.creator_revision = 1,
};

static void add_pointer(struct acpi_tables *acpi, bool in_rsdp, size_t at, size_t size)
{
	assert(acpi->n_pointers < ACPI_POINTERS_MAX);
	acpi->pointers[acpi->n_pointers++] =
		(struct acpi_pointer){ in_rsdp, (uint8_t)size, (uint32_t)at };
}

static void add_sum(struct acpi_tables *acpi, bool in_rsdp, size_t at, size_t start, size_t length)
{
	assert(acpi->n_sums < ACPI_SUMS_MAX);
	acpi->sums[acpi->n_sums++] =
		(struct acpi_sum){ in_rsdp, (uint32_t)at, (uint32_t)start, (uint32_t)length };
}

static size_t here(const struct acpi_tables *acpi)
{
	return acpi->tables.length;
}

static struct header make_header(const char *signature, uint8_t revision)
{
	struct header header = blank;

	memcpy(header.signature, signature, sizeof(header.signature));
	header.revision = revision;
	return header;
}

/* A table that begins at `at` is complete: its length, and a checksum to be made. */
static void finish(struct acpi_tables *acpi, size_t at)
{
	uint32_t length = (uint32_t)(here(acpi) - at);

	if (!acpi->tables.failed)
		memcpy(acpi->tables.data + at + offsetof(struct header, length), &length,
		       sizeof(length));
	add_sum(acpi, false, at + offsetof(struct header, checksum), at, length);
}

static void add_dsdt(struct acpi_tables *acpi, const struct acpi_config *config)
{
	struct header header = make_header("DSDT", 2);
	size_t at = here(acpi);

	venv__buf_add(&acpi->tables, &header, sizeof(header));
	dsdt_add(&acpi->tables, config);
	finish(acpi, at);
}

static struct address port(uint16_t number)
{
	return (struct address){ .space = SPACE_IO, .bits = 8, .access = 1, .address = number };
}

static void add_fadt(struct acpi_tables *acpi, const struct acpi_config *config, size_t dsdt)
{
	size_t at = here(acpi);
	struct fadt fadt = {
		.header = make_header("FACP", FADT_REVISION),
		.minor = FADT_MINOR,
		.dsdt = (uint32_t)dsdt,
		.x_dsdt = dsdt,
		.boot_flags = (uint16_t)(BOOT_NO_VGA | (config->firmware ? 0 : BOOT_NO_RTC)),
		.flags = FADT_WBINVD | FADT_NO_FIXED_POWER_BUTTON | FADT_NO_SLEEP_BUTTON |
			 FADT_RESET_REGISTER | FADT_HARDWARE_REDUCED,
		.reset = port(LAYOUT_PORT_SLEEP + 2),
		.reset_value = RESET_VALUE,
		.sleep_control = port(LAYOUT_PORT_SLEEP),
		.sleep_status = port(LAYOUT_PORT_SLEEP + 1),
		.hypervisor = "VENVVMM",
	};

	add_pointer(acpi, false, at + offsetof(struct fadt, dsdt), sizeof(fadt.dsdt));
	add_pointer(acpi, false, at + offsetof(struct fadt, x_dsdt), sizeof(fadt.x_dsdt));
	venv__buf_add(&acpi->tables, &fadt, sizeof(fadt));
	finish(acpi, at);
}

static void add_madt(struct acpi_tables *acpi, const struct acpi_config *config)
{
	const struct madt madt = { .header = make_header("APIC", 5),
				   .lapic = (uint32_t)LAYOUT_LAPIC,
				   .flags = config->firmware ? MADT_PICS : 0 };
	const struct madt_ioapic ioapic = {
		.type = 1, .length = sizeof(ioapic), .id = 0, .address = (uint32_t)LAYOUT_IOAPIC
	};
	const struct madt_nmi nmi = { .type = 4, .length = sizeof(nmi), .uid = 0xff, .lint = 1 };
	size_t at = here(acpi);

	venv__buf_add(&acpi->tables, &madt, sizeof(madt));
	for (unsigned i = 0; i < config->cpus.n; i++) {
		const struct madt_lapic lapic = { .length = sizeof(lapic),
						  .uid = (uint8_t)i,
						  .apic_id = (uint8_t)cpus_apic_id(config->cpus, i),
						  .flags = 1 };

		venv__buf_add(&acpi->tables, &lapic, sizeof(lapic));
	}
	venv__buf_add(&acpi->tables, &ioapic, sizeof(ioapic));
	venv__buf_add(&acpi->tables, &nmi, sizeof(nmi));
	finish(acpi, at);
}

static void add_mcfg(struct acpi_tables *acpi)
{
	const struct mcfg mcfg = { .header = make_header("MCFG", 1), .ecam = LAYOUT_ECAM };
	size_t at = here(acpi);

	venv__buf_add(&acpi->tables, &mcfg, sizeof(mcfg));
	finish(acpi, at);
}

/* RSDT and XSDT: the same list in 32 and in 64 bits. */
static void add_root(struct acpi_tables *acpi, const char *signature, size_t size,
		     const uint64_t *entries, size_t n)
{
	struct header header = make_header(signature, 1);
	size_t at = here(acpi);

	venv__buf_add(&acpi->tables, &header, sizeof(header));
	for (size_t i = 0; i < n; i++) {
		add_pointer(acpi, false, here(acpi), size);
		venv__buf_add(&acpi->tables, &entries[i], size);
	}
	finish(acpi, at);
}

static void make_rsdp(struct acpi_tables *acpi, size_t rsdt, size_t xsdt)
{
	const struct rsdp rsdp = { .signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
				   .oem_id = { 'V', 'E', 'N', 'V', ' ', ' ' },
				   .revision = 2,
				   .rsdt = (uint32_t)rsdt,
				   .length = sizeof(rsdp),
				   .xsdt = xsdt };

	memcpy(acpi->rsdp, &rsdp, sizeof(rsdp));
	add_pointer(acpi, true, offsetof(struct rsdp, rsdt), sizeof(rsdp.rsdt));
	add_pointer(acpi, true, offsetof(struct rsdp, xsdt), sizeof(rsdp.xsdt));
	add_sum(acpi, true, offsetof(struct rsdp, checksum), 0, offsetof(struct rsdp, length));
	add_sum(acpi, true, offsetof(struct rsdp, checksum_all), 0, sizeof(rsdp));
}

int acpi_tables_init(struct acpi_tables *acpi, const struct acpi_config *config)
{
	uint64_t entries[3];
	size_t n = 0, rsdt, xsdt;

	*acpi = (struct acpi_tables){ 0 };
	add_dsdt(acpi, config);
	entries[n++] = here(acpi);
	add_fadt(acpi, config, 0);
	entries[n++] = here(acpi);
	add_madt(acpi, config);
	if (!config->firmware) {
		entries[n++] = here(acpi);
		add_mcfg(acpi);
	}
	rsdt = here(acpi);
	add_root(acpi, "RSDT", sizeof(uint32_t), entries, n);
	xsdt = here(acpi);
	add_root(acpi, "XSDT", sizeof(uint64_t), entries, n);
	make_rsdp(acpi, rsdt, xsdt);
	return acpi->tables.failed ? -ENOMEM : 0;
}

void acpi_tables_done(struct acpi_tables *acpi)
{
	venv__buf_done(&acpi->tables);
}

static uint8_t *bytes_of(struct acpi_tables *acpi, bool in_rsdp)
{
	return in_rsdp ? acpi->rsdp : (uint8_t *)acpi->tables.data;
}

static void apply_pointer(struct acpi_tables *acpi, const struct acpi_pointer *pointer,
			  uint64_t base)
{
	uint8_t *at = bytes_of(acpi, pointer->in_rsdp) + pointer->at;
	uint64_t value = 0;

	memcpy(&value, at, pointer->size);
	value += base;
	memcpy(at, &value, pointer->size);
}

static void apply_sum(struct acpi_tables *acpi, const struct acpi_sum *sum)
{
	uint8_t *bytes = bytes_of(acpi, sum->in_rsdp), total = 0;

	for (uint32_t i = 0; i < sum->length; i++)
		total = (uint8_t)(total + bytes[sum->start + i]);
	bytes[sum->at] = (uint8_t)(bytes[sum->at] - total);
}

int acpi_place(struct acpi_tables *acpi, const struct mem *mem, uint64_t address, uint64_t size)
{
	enum { TABLES_AT = 64 };
	int r;

	if (size < TABLES_AT || acpi->tables.length > size - TABLES_AT)
		return -ENOSPC;
	for (size_t i = 0; i < acpi->n_pointers; i++)
		apply_pointer(acpi, &acpi->pointers[i], address + TABLES_AT);
	for (size_t i = 0; i < acpi->n_sums; i++)
		apply_sum(acpi, &acpi->sums[i]);
	r = mem_write(mem, address, acpi->rsdp, sizeof(acpi->rsdp));
	if (r == 0)
		r = mem_write(mem, address + TABLES_AT, acpi->tables.data, acpi->tables.length);
	return r;
}
