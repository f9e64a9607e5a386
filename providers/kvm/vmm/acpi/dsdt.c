/* SPDX-License-Identifier: Apache-2.0 */
#include "dsdt.h"

#include "aml.h"
#include "machine/layout.h"

enum { NOTIFY_POWER_BUTTON = 0x80, NOTIFY_GENERATION = 0x80, SLEEP_TYPE_OFF = 5 };

static void named_integer(struct aml *aml, const char *name, uint64_t value)
{
	aml_name(aml, name);
	aml_integer(aml, value);
}

static void named_id(struct aml *aml, const char *name, const char *id)
{
	aml_name(aml, name);
	aml_eisa_id(aml, id);
}

static void named_string(struct aml *aml, const char *name, const char *text)
{
	aml_name(aml, name);
	aml_string(aml, text);
}

static void begin_resources(struct aml *aml)
{
	aml_name(aml, "_CRS");
	aml_resources(aml);
}

static void add_pci(struct aml *aml, const struct acpi_config *config)
{
	aml_device(aml, "PCI0");
	if (config->firmware) {
		named_id(aml, "_HID", "PNP0A03");
	} else {
		named_id(aml, "_HID", "PNP0A08");
		named_id(aml, "_CID", "PNP0A03");
	}
	named_integer(aml, "_UID", 0);
	named_integer(aml, "_SEG", 0);
	named_integer(aml, "_BBN", 0);
	begin_resources(aml);
	aml_bus_window(aml, 0, 0);
	aml_io(aml, LAYOUT_PORT_PCI, 8);
	aml_memory_window(aml, config->window, config->window_end - 1);
	aml_end(aml);
	aml_end(aml);
}

/* ECAM, where Linux wants it to be: in a motherboard resource. */
static void add_board(struct aml *aml)
{
	aml_device(aml, "MBRD");
	named_id(aml, "_HID", "PNP0C02");
	named_integer(aml, "_UID", 0);
	begin_resources(aml);
	aml_memory(aml, (uint32_t)LAYOUT_ECAM, (uint32_t)LAYOUT_ECAM_SIZE);
	aml_end(aml);
	aml_end(aml);
}

static void add_com1(struct aml *aml)
{
	aml_device(aml, "COM1");
	named_id(aml, "_HID", "PNP0501");
	named_integer(aml, "_UID", 0);
	begin_resources(aml);
	aml_io(aml, LAYOUT_PORT_COM1, 8);
	aml_interrupt(aml, LAYOUT_GSI_COM1);
	aml_end(aml);
	aml_end(aml);
}

/* Without an interrupt: it tells the time, it wakes nobody. */
static void add_rtc(struct aml *aml)
{
	aml_device(aml, "RTC_");
	named_id(aml, "_HID", "PNP0B00");
	begin_resources(aml);
	aml_io(aml, LAYOUT_PORT_RTC, 2);
	aml_end(aml);
	aml_end(aml);
}

static void add_power_button(struct aml *aml)
{
	aml_device(aml, "PWRB");
	named_id(aml, "_HID", "PNP0C0C");
	named_integer(aml, "_UID", 0);
	aml_end(aml);
}

/* Microsoft's name, and the one by which Linux before 6.10 finds it; neither may be a _HID. */
static void add_generation(struct aml *aml, uint64_t address)
{
	aml_device(aml, "VGEN");
	named_string(aml, "_HID", "VENV0001");
	aml_name(aml, "_CID");
	aml_package(aml, 2);
	aml_string(aml, "VM_Gen_Counter");
	aml_string(aml, "VMGENCTR");
	aml_end(aml);
	named_string(aml, "_DDN", "VM_Gen_Counter");
	aml_name(aml, "ADDR");
	aml_package(aml, 2);
	aml_integer(aml, address & UINT32_MAX);
	aml_integer(aml, address >> 32);
	aml_end(aml);
	aml_end(aml);
}

/* The generic event device: an interrupt for each event. */
static void add_events(struct aml *aml)
{
	static const struct {
		uint8_t gsi, value;
		char device[5];
	} events[] = {
		{ LAYOUT_GSI_POWER, NOTIFY_POWER_BUTTON, "PWRB" },
		{ LAYOUT_GSI_VMGENID, NOTIFY_GENERATION, "VGEN" },
	};

	aml_device(aml, "GED_");
	named_string(aml, "_HID", "ACPI0013");
	named_integer(aml, "_UID", 0);
	begin_resources(aml);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		aml_interrupt(aml, events[i].gsi);
	aml_end(aml);
	aml_method(aml, "_EVT", 1);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		aml_if_argument(aml, events[i].gsi);
		aml_notify(aml, events[i].device, events[i].value);
		aml_end(aml);
	}
	aml_end(aml);
	aml_end(aml);
}

static void add_sleep_states(struct aml *aml)
{
	aml_name(aml, "_S5_");
	aml_package(aml, 4);
	aml_integer(aml, SLEEP_TYPE_OFF);
	for (int i = 0; i < 3; i++)
		aml_integer(aml, 0);
	aml_end(aml);
}

void dsdt_add(struct buf *tables, const struct acpi_config *config)
{
	struct aml aml = { 0 };

	aml_scope(&aml, "_SB_");
	add_pci(&aml, config);
	if (config->firmware)
		add_rtc(&aml);
	else
		add_board(&aml);
	add_com1(&aml);
	add_power_button(&aml);
	add_generation(&aml, config->generation);
	add_events(&aml);
	aml_end(&aml);
	add_sleep_states(&aml);
	venv__buf_add(tables, aml.bytes.data, aml.bytes.length);
	if (aml.bytes.failed)
		tables->failed = true;
	venv__buf_done(&aml.bytes);
}
