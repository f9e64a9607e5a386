/* SPDX-License-Identifier: Apache-2.0 */
#include "firmware.h"

#include <string.h>
#include <sys/mman.h>

#include "acpi/loader.h"
#include "e820.h"
#include "machine/layout.h"

int firmware_init(struct firmware *firmware, int fd, const char *name, venv_error **err)
{
	const char *what = name ? name : "the firmware";
	uint64_t size;
	void *rom;
	int r = boot_file_size(fd, what, &size, err);

	if (r < 0)
		return r;
	if (size < 65536 || size > LAYOUT_ROM_MAX || (size & (size - 1)))
		return venv__hint(
			venv__fail(err, VENV_ERR_INVALID,
				   "%s is no firmware for PCs: it has %llu bytes, not 64, 128 or "
				   "256 KiB",
				   what, (unsigned long long)size),
			err, "name an image of SeaBIOS, or leave kvm.firmware away");
	rom = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rom == MAP_FAILED)
		return venv__fail_errno(err, errno, "cannot map %s", what);
	*firmware = (struct firmware){ rom, size };
	r = boot_read(fd, what, 0, rom, size, err);
	if (r < 0)
		firmware_done(firmware);
	return r;
}

void firmware_done(struct firmware *firmware)
{
	if (firmware->rom)
		(void)munmap(firmware->rom, firmware->size);
	*firmware = (struct firmware){ 0 };
}

int firmware_boot(const struct firmware *firmware, const struct mem *mem, struct boot_entry *ret,
		  venv_error **err)
{
	if (mem_write(mem, LAYOUT_KERNEL - firmware->size, firmware->rom, firmware->size) < 0)
		return venv__fail(err, VENV_ERR_INVALID, "the machine has no memory");
	*ret = (struct boot_entry){ .mode = BOOT_RESET };
	return 0;
}

/*
 * Keys that SeaBIOS asks for by number. MAX_CPUS: one above the last APIC id. BOOT_MENU 0: do not wait for
 * a key at the keyboard.
 */
static int describe_numbers(struct fwcfg *fwcfg, struct cpus cpus)
{
	enum { NB_CPUS = 0x05, BOOT_MENU = 0x0e, MAX_CPUS = 0x0f };
	const struct {
		uint16_t key, value;
	} numbers[] = { { NB_CPUS, (uint16_t)cpus.n },
			{ MAX_CPUS, (uint16_t)(cpus_apic_id(cpus, cpus.n - 1) + 1) },
			{ BOOT_MENU, 0 } };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++)
		r = fwcfg_add(fwcfg, numbers[i].key, &numbers[i].value, sizeof(numbers[i].value));
	return r;
}

static int describe_acpi(struct fwcfg *fwcfg, const struct mem *mem, struct cpus cpus)
{
	const struct acpi_config config = { .cpus = cpus,
					    .window = (uint32_t)mem->region[0].size,
					    .window_end = (uint32_t)LAYOUT_IOAPIC,
					    .firmware = true,
					    .generation = e820_kept_page(mem) };
	_cleanup_buf_ struct buf script = { 0 };
	struct acpi_tables acpi;
	int r = acpi_tables_init(&acpi, &config);

	if (r == 0)
		r = acpi_loader(&acpi, &script);
	if (r == 0)
		r = fwcfg_add_file(fwcfg, ACPI_RSDP_FILE, acpi.rsdp, sizeof(acpi.rsdp));
	if (r == 0)
		r = fwcfg_add_file(fwcfg, ACPI_TABLES_FILE, acpi.tables.data, acpi.tables.length);
	if (r == 0)
		r = fwcfg_add_file(fwcfg, ACPI_LOADER_FILE, script.data, script.length);
	acpi_tables_done(&acpi);
	return r;
}

int firmware_describe(struct fwcfg *fwcfg, const struct mem *mem, struct cpus cpus,
		      const char *boot_order, venv_error **err)
{
	static const uint16_t console_port = LAYOUT_PORT_COM1;
	struct e820_entry entries[E820_MAX];
	size_t n = e820_make(mem, true, entries);
	int r = describe_numbers(fwcfg, cpus);

	if (r == 0)
		r = fwcfg_add_file(fwcfg, "etc/e820", entries, n * sizeof(entries[0]));
	if (r == 0)
		r = fwcfg_add_file(fwcfg, "etc/sercon-port", &console_port, sizeof(console_port));
	if (r == 0 && boot_order)
		r = fwcfg_add_file(fwcfg, "bootorder", boot_order, strlen(boot_order) + 1);
	if (r == 0)
		r = describe_acpi(fwcfg, mem, cpus);
	return r < 0 ? venv__fail_nomem(err) : 0;
}
