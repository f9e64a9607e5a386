/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration space by both ways and all widths; windows that move, and where they must not. */
#include "test.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/layout.h"
#include "machine/state.h"
#include "support/vmm_driver.h"

enum { MIB = 1 << 20, SLOT = 2, SIZE = 0x2000, BAR = 1, BAR_AT = PCI_BASE_ADDRESS_0 + 4 * BAR };

struct world {
	struct vmm_platform *platform;
	struct pci_function function, other;
	uint64_t mapped; /* what mapped() was told last */
	unsigned n_mapped, resets;
	unsigned cap;
};

static void on_window_read(void *user, uint64_t offset, void *data, size_t size)
{
	(void)user;
	(void)offset;
	memset(data, 0x5a, size);
}

static const struct bus_ops window_ops = { on_window_read, NULL, NULL };

static void on_mapped(void *user, unsigned bar, uint64_t address)
{
	struct world *w = user;

	assert_int_equal(bar, BAR);
	w->mapped = address;
	w->n_mapped++;
}

static void on_reset(void *user)
{
	((struct world *)user)->resets++;
}

static const struct pci_ops ops = { .mapped = on_mapped, .reset = on_reset };
static const struct pci_id id = {
	.vendor = 0x1234,
	.device = 0x5678,
	.class_code = 0x00ff00,
	.revision = 7,
	.subsystem_vendor = 0xabcd,
	.subsystem = 0xef01,
};

static int set_up(void **state)
{
	static const uint8_t body[6] = { 1, 2, 3, 4, 5, 6 }, mask[6] = { 0, 0xff, 0x0f, 0, 0, 0 };
	struct world *w = calloc(1, sizeof(*w));

	w->platform = vmm_platform_new(64 * MIB, false);
	pci_function_init(&w->function, &id, &ops, w);
	pci_add_bar(&w->function, BAR, SIZE, &window_ops);
	w->cap = (unsigned)pci_add_capability(&w->function, PCI_CAP_ID_VNDR, body, mask, 6);
	assert_int_equal(pci_add_capability(&w->function, PCI_CAP_ID_EXP, body, NULL, 3), 0x48);
	assert_int_equal(pci_add(&w->platform->pci, SLOT, &w->function), 0);
	pci_function_init(&w->other, &id, NULL, NULL);
	pci_add_bar(&w->other, 0, SIZE, &window_ops);
	assert_int_equal(pci_add(&w->platform->pci, SLOT + 1, &w->other), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	pci_remove(&w->function);
	pci_remove(&w->other);
	vmm_platform_free(w->platform);
	free(w);
	return 0;
}

static uint32_t get(struct world *w, unsigned offset, size_t size)
{
	return vmm_config_read(w->platform, SLOT, offset, size);
}

static void set(struct world *w, unsigned offset, size_t size, uint32_t value)
{
	vmm_config_write(w->platform, SLOT, offset, size, value);
}

static bool answers(struct world *w, uint64_t address)
{
	return vmm_read8(w->platform, address) == 0x5a;
}

static void who_is_there(void **state)
{
	struct world *w = *state;

	assert_int_equal(vmm_config_read(w->platform, 0, 0, 4), 0x0d578086);
	assert_int_equal(vmm_config_read(w->platform, 0, 8, 4), 0x06000000);
	assert_int_equal(vmm_config_read(w->platform, 0, PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(vmm_config_read(w->platform, 1, 0, 4), 0xffffffff);
	assert_int_equal(vmm_config_read(w->platform, 31, 0, 2), 0xffff);
	assert_int_equal(get(w, 0, 4), 0x56781234);
	assert_int_equal(get(w, 8, 4), 0x00ff0007);
	assert_int_equal(get(w, PCI_SUBSYSTEM_VENDOR_ID, 4), 0xef01abcd);
	/* other functions, other buses: nobody */
	assert_int_equal(vmm_read32(w->platform, VMM_ECAM + (SLOT * 8 + 1) * 4096), 0xffffffff);
	assert_int_equal(vmm_read32(w->platform, VMM_ECAM + MIB), 0xffffffff);
	assert_int_equal(pci_add(&w->platform->pci, SLOT, &w->other), -EEXIST);
	assert_int_equal(pci_add(&w->platform->pci, 32, &w->other), -EINVAL);
	/* no extended capabilities */
	assert_int_equal(get(w, 0x100, 4), 0xffffffff);
	assert_int_equal(get(w, 0xffc, 4), 0xffffffff);
	set(w, 0x100, 4, 0);
	assert_int_equal(get(w, 0x100, 4), 0xffffffff);
}

static void capabilities_are_a_list(void **state)
{
	struct world *w = *state;

	assert_true(get(w, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	assert_int_equal(get(w, PCI_CAPABILITY_LIST, 1), 0x40);
	assert_int_equal(get(w, 0x40, 4), 0x02014809);
	assert_int_equal(get(w, 0x48, 2), PCI_CAP_ID_EXP);
	for (unsigned i = 0; i < 200; i++) {
		uint8_t body[14] = { 0 };

		if (pci_add_capability(&w->other, PCI_CAP_ID_VNDR, body, NULL, 14) < 0) {
			assert_int_equal(i, 11);
			return;
		}
	}
	fail();
}

static void only_masked_bits_change(void **state)
{
	struct world *w = *state;

	for (unsigned offset = 0; offset < PCI_CONFIG_SIZE; offset += 4) {
		uint32_t before = get(w, offset, 4), mask;

		memcpy(&mask, w->function.mask + offset, 4);
		if (offset == PCI_COMMAND)
			mask &= ~(uint32_t)PCI_COMMAND_MEMORY;
		set(w, offset, 4, ~before & ~(uint32_t)(offset == PCI_COMMAND ? 2 : 0));
		assert_int_equal((get(w, offset, 4) ^ before) & ~mask, 0);
		set(w, offset, 4, before);
		assert_int_equal(get(w, offset, 4), before);
	}
	assert_int_equal(get(w, w->cap + 2, 4), 0x04030201);
	set(w, w->cap + 2, 4, 0xffffffff);
	assert_int_equal(get(w, w->cap + 2, 4), 0x040fff01);
}

/* Ports and ECAM, every width and place: a write of bytes is the same bytes. */
static void all_widths(void **state)
{
	static const size_t sizes[] = { 1, 2, 4, 8 };
	struct world *w = *state;

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (unsigned offset = 0; offset < 260; offset++) {
			uint64_t at = VMM_ECAM + SLOT * 8 * 4096 + offset;
			uint8_t data[8], expected[8];

			vmm_read(w->platform, at, data, sizes[s]);
			memset(expected, 0xff, 8);
			if (offset + sizes[s] <= PCI_CONFIG_SIZE)
				memcpy(expected, w->function.config + offset, sizes[s]);
			assert_memory_equal(data, expected, sizes[s]);
			if (offset < PCI_CONFIG_SIZE && sizes[s] <= 4) {
				uint32_t value =
					vmm_port_config_read(w->platform, SLOT, offset, sizes[s]);

				if (offset % 4 + sizes[s] > 4) /* over the end of the ports */
					memset(expected, 0xff, 8);
				assert_memory_equal(&value, expected, sizes[s]);
			}
		}
	}
	vmm_port_config_write(w->platform, SLOT, PCI_INTERRUPT_LINE, 1, 0x77);
	assert_int_equal(get(w, PCI_INTERRUPT_LINE, 1), 0x77);
	vmm_port_config_write(w->platform, SLOT, PCI_INTERRUPT_LINE, 4, 0x12345688);
	assert_int_equal(get(w, PCI_INTERRUPT_LINE, 4), 0x88);
	set(w, PCI_CACHE_LINE_SIZE - 1, 2, 0x1599); /* misaligned, over two registers */
	assert_int_equal(get(w, PCI_CACHE_LINE_SIZE, 1), 0x15);
	vmm_read32(w->platform, VMM_ECAM + SLOT * 8 * 4096 + 4094); /* over the function's end */
}

static void the_address_port(void **state)
{
	struct world *w = *state;
	struct bus *ports = &w->platform->ports;
	uint32_t value = 0x80000000 | SLOT << 11;
	uint8_t byte = 1;

	bus_write(ports, PCI_PORT, &value, 4);
	bus_write(ports, PCI_PORT + 3, &byte, 1); /* how kernels look for type 1: nothing happens */
	bus_read(ports, PCI_PORT, &value, 4);
	assert_int_equal(value, 0x80000000 | SLOT << 11);
	bus_read(ports, PCI_PORT + 4, &value, 4);
	assert_int_equal(value, 0x56781234);
	value = SLOT << 11; /* not enabled */
	bus_write(ports, PCI_PORT, &value, 4);
	bus_read(ports, PCI_PORT + 4, &value, 4);
	assert_int_equal(value, 0xffffffff);
	value = 0x80000000 | 1 << 16 | SLOT << 11; /* bus 1 */
	bus_write(ports, PCI_PORT, &value, 4);
	bus_read(ports, PCI_PORT + 4, &value, 4);
	assert_int_equal(value, 0xffffffff);
	value = 0x80000000 | SLOT << 11 | 1 << 8; /* function 1 */
	bus_write(ports, PCI_PORT, &value, 4);
	bus_read(ports, PCI_PORT + 4, &value, 4);
	assert_int_equal(value, 0xffffffff);
	bus_write(ports, PCI_PORT + 4, &value, 4);
}

static void a_window_appears_and_goes(void **state)
{
	struct world *w = *state;

	set(w, BAR_AT, 4, 0xffffffff);
	assert_int_equal(get(w, BAR_AT, 4), ~(uint32_t)(SIZE - 1));
	set(w, BAR_AT, 4, VMM_WINDOW + 0x123);
	assert_int_equal(get(w, BAR_AT, 4), VMM_WINDOW);
	assert_false(answers(w, VMM_WINDOW));
	set(w, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_true(answers(w, VMM_WINDOW) && answers(w, VMM_WINDOW + SIZE - 1));
	assert_int_equal(w->mapped, VMM_WINDOW);
	set(w, BAR_AT, 4, VMM_WINDOW + SIZE);
	assert_false(answers(w, VMM_WINDOW));
	assert_true(answers(w, VMM_WINDOW + SIZE));
	assert_int_equal(w->mapped, VMM_WINDOW + SIZE);
	/* asked for its size while it decodes: it stays */
	set(w, BAR_AT, 4, 0xffffffff);
	assert_int_equal(get(w, BAR_AT, 4), ~(uint32_t)(SIZE - 1));
	assert_true(answers(w, VMM_WINDOW + SIZE));
	set(w, BAR_AT, 4, VMM_WINDOW + SIZE);
	/* byte by byte, by ports */
	vmm_port_config_write(w->platform, SLOT, BAR_AT + 2, 1, 0x10);
	assert_true(answers(w, VMM_WINDOW + SIZE + 0x100000));
	set(w, PCI_COMMAND, 2, 0);
	assert_false(answers(w, VMM_WINDOW + SIZE + 0x100000));
	assert_int_equal(w->mapped, 0);
}

static void bad_places_are_refused(void **state)
{
	static const uint64_t bad[] = {
		0,
		SIZE,
		64 * MIB - SIZE, /* the end of RAM */
		VMM_ECAM,
		VMM_ECAM + MIB - SIZE,
		LAYOUT_IOAPIC,
		LAYOUT_LAPIC,
		LAYOUT_TSS & ~(uint64_t)(SIZE - 1),
		0xfffc0000,
		VMM_WINDOW + 0x8000, /* the other function's */
	};
	struct world *w = *state;

	vmm_config_write(w->platform, SLOT + 1, PCI_BASE_ADDRESS_0, 4, VMM_WINDOW + 0x8000);
	vmm_config_write(w->platform, SLOT + 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	set(w, BAR_AT, 4, VMM_WINDOW);
	set(w, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set(w, BAR_AT, 4, (uint32_t)bad[i]);
		assert_int_equal(get(w, BAR_AT, 4), VMM_WINDOW); /* rolled back */
		assert_true(answers(w, VMM_WINDOW));
		assert_int_equal(w->mapped, VMM_WINDOW);
		/* the same in two steps */
		set(w, PCI_COMMAND, 2, 0);
		set(w, BAR_AT, 4, (uint32_t)bad[i]);
		assert_int_equal(get(w, BAR_AT, 4), (uint32_t)bad[i]);
		set(w, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		assert_int_equal(get(w, BAR_AT, 4), VMM_WINDOW);
		assert_true(answers(w, VMM_WINDOW));
	}
	assert_true(answers(w, VMM_WINDOW + 0x8000));
}

static void places_at_the_edge(void **state)
{
	static const uint64_t good[] = { 64 * MIB, LAYOUT_IOAPIC - SIZE, VMM_ECAM - SIZE,
					 VMM_ECAM + MIB };
	struct world *w = *state;

	set(w, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(w->n_mapped, 0); /* at 0 it cannot be, and it was nowhere before */
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		set(w, BAR_AT, 4, (uint32_t)good[i]);
		assert_int_equal(get(w, BAR_AT, 4), good[i]);
		assert_true(answers(w, good[i]));
	}
}

static void windows_are_assigned(void **state)
{
	struct world *w = *state;

	assert_int_equal(pci_assign(&w->platform->pci, VMM_WINDOW, VMM_WINDOW + SIZE), -ENOSPC);
	assert_int_equal(get(w, BAR_AT, 4), VMM_WINDOW);
	pci_reset(&w->platform->pci);
	assert_int_equal(get(w, BAR_AT, 4), 0);
	assert_int_equal(w->resets, 1);
	assert_int_equal(pci_assign(&w->platform->pci, VMM_WINDOW + 1, VMM_WINDOW_END), 0);
	assert_int_equal(get(w, BAR_AT, 4), VMM_WINDOW + SIZE);
	assert_int_equal(vmm_config_read(w->platform, SLOT + 1, PCI_BASE_ADDRESS_0, 4),
			 VMM_WINDOW + 2 * SIZE);
	assert_false(answers(w, VMM_WINDOW + SIZE)); /* the guest must let them decode */
}

static void reset_forgets(void **state)
{
	struct world *w = *state;

	set(w, BAR_AT, 4, VMM_WINDOW);
	set(w, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	set(w, w->cap + 3, 1, 0x42);
	pci_reset(&w->platform->pci);
	assert_false(answers(w, VMM_WINDOW));
	assert_int_equal(get(w, PCI_COMMAND, 2), 0);
	assert_int_equal(get(w, BAR_AT, 4), 0);
	assert_int_equal(get(w, w->cap + 3, 1), 0);
	assert_int_equal(get(w, 0, 4), 0x56781234);
	set(w, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_false(answers(w, VMM_WINDOW)); /* where it was once is no place to go back to */
}

static void state_survives(void **state)
{
	struct world *w = *state;
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;

	set(w, BAR_AT, 4, VMM_WINDOW + SIZE);
	set(w, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	set(w, w->cap + 3, 1, 0x42);
	state_writer_init(&writer, fd);
	assert_int_equal(pci_save(&w->platform->pci, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	pci_reset(&w->platform->pci);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(pci_load(&w->platform->pci, &reader), 0);
	assert_true(state_at_end(&reader));
	state_reader_done(&reader);
	assert_true(answers(w, VMM_WINDOW + SIZE));
	assert_int_equal(get(w, w->cap + 3, 1), 0x42);
	pci_remove(&w->other); /* another machine than the one that was saved */
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(pci_load(&w->platform->pci, &reader), 0);
	assert_false(state_at_end(&reader));
	state_reader_done(&reader);
	(void)close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(who_is_there),
		TEST(capabilities_are_a_list),
		TEST(only_masked_bits_change),
		TEST(all_widths),
		TEST(the_address_port),
		TEST(a_window_appears_and_goes),
		TEST(bad_places_are_refused),
		TEST(places_at_the_edge),
		TEST(windows_are_assigned),
		TEST(reset_forgets),
		TEST(state_survives),
	};

	return cmocka_run_group_tests_name("vmm_pci", tests, NULL, NULL);
}
