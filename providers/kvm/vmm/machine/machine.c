/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "acpi/tables.h"
#include "boot/e820.h"
#include "layout.h"
#include "memfile.h"
#include "platform/vmgenid.h"
#include "state.h"

static void on_power(void *user, enum power_event event, unsigned value)
{
	static const struct {
		enum vm_end end;
		const char *text;
	} ends[] = {
		[POWER_OFF] = { VM_POWER_OFF, "the guest switched the machine off" },
		[POWER_RESET] = { VM_RESET, "the guest restarted the machine" },
		[POWER_DEBUG_EXIT] = { VM_DEBUG_EXIT, "the guest ended its test" },
	};
	struct machine *machine = user;

	vm_finish(machine->vm, ends[event].end, value, ends[event].text);
}

static int add_ports(struct machine *machine, venv_error **err)
{
	const struct {
		uint64_t port, count;
		const struct bus_ops *ops;
		void *user;
		bool wanted;
	} devices[] = {
		{ LAYOUT_PORT_COM1, UART_PORTS, &uart_ops, &machine->uart, true },
		{ LAYOUT_PORT_RTC, RTC_PORTS, &rtc_ops, &machine->rtc, true },
		{ LAYOUT_PORT_SLEEP, POWER_PORTS, &power_ops, &machine->power, true },
		{ LAYOUT_PORT_I8042, I8042_PORTS, &i8042_ops, &machine->power, true },
		{ LAYOUT_PORT_FWCFG, FWCFG_PORTS, &fwcfg_ops, &machine->fwcfg,
		  machine->config.firmware_fd >= 0 },
		{ LAYOUT_PORT_DEBUG_EXIT, DEBUG_EXIT_PORTS, &debug_exit_ops, &machine->power,
		  machine->config.debug_exit },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(devices); i++)
		if (devices[i].wanted)
			r = bus_add(&machine->ports, devices[i].port, devices[i].count,
				    devices[i].ops, devices[i].user);
	return r < 0 ? venv__fail_errno(err, -r, "cannot place a device") : 0;
}

static int connect_interrupts(struct machine *machine, venv_error **err)
{
	const struct {
		int *fd;
		unsigned gsi;
	} lines[] = {
		{ &machine->com1_fd, LAYOUT_GSI_COM1 },
		{ &machine->power_fd, LAYOUT_GSI_POWER },
		{ &machine->generation_fd, LAYOUT_GSI_VMGENID },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(lines); i++) {
		*lines[i].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = *lines[i].fd < 0 ? venv__fail_errno(err, errno, "cannot make an eventfd")
				     : vm_connect(machine->vm, *lines[i].fd, lines[i].gsi, err);
	}
	return r;
}

static int make_vm(struct machine *machine, int kvm_fd, venv_error **err)
{
	const struct machine_config *config = &machine->config;
	struct vm_config vm = { .mem = &machine->mem,
				.ports = &machine->ports,
				.memory = &machine->memory,
				.cpus = config->cpus,
				.firmware = config->firmware_fd >= 0 };
	int r = 0;

	if (vm.firmware)
		r = firmware_init(&machine->firmware, config->firmware_fd, config->firmware_name,
				  err);
	if (r < 0)
		return r;
	vm.rom = machine->firmware.rom;
	vm.rom_size = machine->firmware.size;
	r = vm_new(kvm_fd, &vm, &machine->vm, err);
	return r < 0 ? r : connect_interrupts(machine, err);
}

static int make_devices(struct machine *machine, venv_error **err)
{
	const struct machine_config *config = &machine->config;
	int r;

	uart_init(&machine->uart, machine->com1_fd, config->output, config->output_user);
	rtc_init(&machine->rtc, &machine->mem, config->cpus.n);
	machine->power = (struct power){ on_power, machine, machine->power_fd };
	r = fwcfg_init(&machine->fwcfg, &machine->mem);
	if (r == 0)
		r = pci_init(&machine->pci, &machine->ports, &machine->memory, &machine->mem,
			     config->firmware_fd >= 0 ? 0 : LAYOUT_ECAM);
	machine->has_pci = r == 0;
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make the machine's devices");
	if (config->firmware_fd >= 0) {
		r = firmware_describe(&machine->fwcfg, &machine->mem, config->cpus,
				      config->boot_order, err);
		if (r < 0)
			return r;
	}
	return add_ports(machine, err);
}

/* What is mapped beyond a file's end kills who touches it. */
static int check_memory_file(const struct machine_config *config, venv_error **err)
{
	struct stat st;

	if (config->memory_fd < 0)
		return 0;
	if (fstat(config->memory_fd, &st) < 0)
		return venv__fail_errno(err, errno,
					"cannot read the memory of the suspended machine");
	return S_ISREG(st.st_mode) && (uint64_t)st.st_size == config->memory
		       ? 0
		       : venv__fail(err, VENV_ERR_CORRUPT,
				    "the memory of the suspended machine has another size");
}

int machine_new(int kvm_fd, const struct machine_config *config, struct machine **ret,
		venv_error **err)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	int r;

	if (!machine)
		return venv__fail_nomem(err);
	machine->config = *config;
	machine->com1_fd = machine->power_fd = machine->generation_fd = machine->first_fd = -1;
	(void)bus_init(&machine->ports);
	(void)bus_init(&machine->memory);
	r = check_memory_file(config, err);
	if (r == 0)
		r = mem_init(&machine->mem, config->memory, config->memory_fd, 0, err);
	if (r == 0)
		r = make_vm(machine, kvm_fd, err);
	if (r == 0)
		r = make_devices(machine, err);
	if (r < 0) {
		machine_free(machine);
		return r;
	}
	*ret = machine;
	return 0;
}

void machine_free(struct machine *machine)
{
	if (!machine)
		return;
	vm_free(machine->vm);
	if (machine->has_pci) {
		pci_done(&machine->pci);
		fwcfg_done(&machine->fwcfg);
		rtc_done(&machine->rtc);
		uart_done(&machine->uart);
	}
	for (size_t i = 0; i < 4; i++) {
		const int fds[] = { machine->com1_fd, machine->power_fd, machine->generation_fd,
				    machine->first_fd };

		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	firmware_done(&machine->firmware);
	bus_done(&machine->memory);
	bus_done(&machine->ports);
	mem_done(&machine->mem);
	free(machine);
}

/*
 * All the firmware that there is below a kernel that is loaded directly. Linux restarts a machine with
 * hardware-reduced ACPI by UEFI, if there is any, else by a jump to where a PC begins.
 */
static int place_restart(const struct mem *mem)
{
	static const uint8_t code[] = {
		0xb0, 0xfe,                  /* mov $0xfe, %al: the reset line, platform/power.c */
		0xe6, LAYOUT_PORT_I8042 + 4, /* out %al, $0x64 */
		0xf4,                        /* hlt */
		0xeb, 0xfd,                  /* jmp to it */
	};

	return mem_write(mem, LAYOUT_RESTART, code, sizeof(code));
}

/* A kernel that is loaded directly finds its tables below 1 MiB and its PCI windows in place. */
static int load_kernel(struct machine *machine, struct boot_entry *ret, venv_error **err)
{
	const struct machine_config *config = &machine->config;
	const struct acpi_config acpi_config = { .cpus = config->cpus,
						 .window = LAYOUT_PCI_WINDOW,
						 .window_end = LAYOUT_PCI_WINDOW_END,
						 .generation = e820_kept_page(&machine->mem) };
	const struct boot_source source = { .mem = &machine->mem,
					    .kernel_fd = config->kernel_fd,
					    .initrd_fd = config->initrd_fd,
					    .kernel_name = config->kernel_name,
					    .initrd_name = config->initrd_name,
					    .cmdline = config->cmdline,
					    .rsdp = LAYOUT_ACPI };
	struct acpi_tables acpi;
	int r = pci_assign(&machine->pci, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_END);

	if (r < 0)
		return venv__fail_errno(err, -r, "the machine has too many devices");
	r = acpi_tables_init(&acpi, &acpi_config);
	if (r == 0)
		r = acpi_place(&acpi, &machine->mem, LAYOUT_ACPI, LAYOUT_ACPI_SIZE);
	if (r == 0)
		r = place_restart(&machine->mem);
	acpi_tables_done(&acpi);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot describe the machine to its guest");
	return boot_kernel(&source, ret, err);
}

static int load_boot(struct machine *machine, venv_error **err)
{
	struct boot_entry entry = { 0 };
	int r = vmgenid_make(&machine->mem, e820_kept_page(&machine->mem));

	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make the generation id");
	r = machine->config.firmware_fd >= 0
		    ? firmware_boot(&machine->firmware, &machine->mem, &entry, err)
		    : load_kernel(machine, &entry, err);
	return r < 0 ? r : vm_enter(machine->vm, &entry, err);
}

/* The processors before their first instruction: loading that again is a reset. */
static int keep_first(struct machine *machine, venv_error **err)
{
	struct state_writer writer;
	int r;

	machine->first_fd = memfd_create("first-state", MFD_CLOEXEC);
	if (machine->first_fd < 0)
		return venv__fail_errno(err, errno, "cannot keep the machine's first state");
	state_writer_init(&writer, machine->first_fd);
	r = vm_save(machine->vm, &writer);
	if (r == 0)
		r = state_finish(&writer);
	state_writer_done(&writer);
	return r < 0 ? venv__fail_errno(err, -r, "cannot keep the machine's first state") : 0;
}

static int load_devices(struct machine *machine, struct state_reader *reader)
{
	int r = uart_load(&machine->uart, reader);

	if (r == 0)
		r = rtc_load(&machine->rtc, reader);
	if (r == 0)
		r = fwcfg_load(&machine->fwcfg, reader);
	return r < 0 ? r : pci_load(&machine->pci, reader);
}

/* Controllers and processors first: devices raise their interrupts again, which must find them. */
static int load_state(struct machine *machine, struct state_reader *reader, venv_error **err)
{
	int r = state_seek(reader, VM_STATE_TAG);

	if (r == 0)
		r = vm_load(machine->vm, reader);
	if (r == 0 && !state_at_end(reader))
		r = -EPROTO;
	if (r == 0)
		r = state_seek(reader, 0);
	if (r == 0)
		r = load_devices(machine, reader);
	if (r == -ENOTSUP)
		return venv__fail(err, VENV_ERR_HOST,
				  "the machine was suspended on another kind of processor");
	if (r == -EPROTO || r == -ENOENT)
		return venv__fail(
			err, VENV_ERR_CORRUPT,
			"the state of the machine is damaged or another machine's ('%.4s')",
			(const char *)&reader->tag);
	if (r == 0)
		r = vmgenid_renew(&machine->mem, e820_kept_page(&machine->mem),
				  machine->generation_fd);
	return r < 0 ? venv__fail_errno(err, -r, "cannot load the state of the machine") : 0;
}

int machine_start(struct machine *machine, struct state_reader *state, int (*prepare)(void *user),
		  void *user, venv_error **err)
{
	int r = keep_first(machine, err);

	if (r == 0)
		r = state ? load_state(machine, state, err) : load_boot(machine, err);
	return r < 0 ? r : vm_start(machine->vm, prepare, user, err);
}

int machine_reset(struct machine *machine, venv_error **err)
{
	struct state_reader reader;
	int r = state_reader_open(&reader, machine->first_fd, err);

	if (r < 0)
		return r;
	pci_reset(&machine->pci);
	uart_reset(&machine->uart);
	fwcfg_reset(&machine->fwcfg);
	r = vm_load(machine->vm, &reader);
	state_reader_done(&reader);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot reset the machine");
	return load_boot(machine, err);
}

void machine_pause(struct machine *machine)
{
	vm_pause(machine->vm);
}

void machine_resume(struct machine *machine)
{
	vm_resume(machine->vm);
}

int machine_save(struct machine *machine, int state_fd, int memory_fd, venv_error **err)
{
	struct state_writer writer;
	int r;

	state_writer_init(&writer, state_fd);
	r = uart_save(&machine->uart, &writer);
	if (r == 0)
		r = rtc_save(&machine->rtc, &writer);
	if (r == 0)
		r = fwcfg_save(&machine->fwcfg, &writer);
	if (r == 0)
		r = pci_save(&machine->pci, &writer);
	if (r == 0)
		r = vm_save(machine->vm, &writer);
	if (r == 0)
		r = state_finish(&writer);
	state_writer_done(&writer);
	if (r == 0)
		r = memfile_write(&machine->mem, memory_fd);
	return r < 0 ? venv__fail_errno(err, -r, "cannot save the machine") : 0;
}
