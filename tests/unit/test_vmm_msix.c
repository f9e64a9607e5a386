/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X: messages, masks and pending bits. */
#include "test.h"

#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/state.h"
#include "pci/msix.h"
#include "support/vmm_driver.h"

enum { MIB = 1 << 20, SLOT = 1, VECTORS = 3, TABLE = 0x1000, PBA = 0x2000, DATA = 0x50 };

struct world {
	struct vmm_platform *platform;
	struct pci_function function;
	struct msix msix;
};

static void on_written(void *user, unsigned offset, size_t size)
{
	struct world *w = user;

	msix_config_written(&w->msix, &w->function, offset, size);
}

static const struct pci_ops ops = { .config_written = on_written };

static int set_up(void **state)
{
	static const struct pci_id id = { .vendor = 1, .device = 2 };
	struct world *w = calloc(1, sizeof(*w));

	w->platform = vmm_platform_new(8 * MIB, false);
	pci_function_init(&w->function, &id, &ops, w);
	assert_int_equal(
		msix_init(&w->msix, &w->platform->irq, VECTORS, &w->function, 0, TABLE, PBA), 0);
	assert_int_equal(pci_add(&w->platform->pci, SLOT, &w->function), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	pci_remove(&w->function);
	msix_done(&w->msix);
	vmm_platform_free(w->platform);
	free(w);
	return 0;
}

static void control(struct world *w, unsigned value)
{
	vmm_config_write(w->platform, SLOT, (unsigned)w->msix.capability + 2, 2, value);
}

static void set32(struct world *w, uint64_t offset, uint32_t value)
{
	msix_table_write(&w->msix, offset, &value, 4);
}

static void set_vector(struct world *w, unsigned vector, uint32_t data, uint32_t mask)
{
	set32(w, 16 * vector, 0xfee01000);
	set32(w, 16 * vector + 4, 0);
	set32(w, 16 * vector + 8, data);
	set32(w, 16 * vector + 12, mask);
}

static uint32_t pending(struct world *w)
{
	uint32_t bits = 0;

	msix_pba_read(&w->msix, 0, &bits, 4);
	return bits;
}

static bool came(struct world *w, uint32_t data)
{
	return vmm_interrupt(w->platform, data, 0);
}

static void the_capability(void **state)
{
	struct world *w = *state;
	unsigned at = (unsigned)w->msix.capability;

	assert_int_equal(vmm_config_read(w->platform, SLOT, at, 1), PCI_CAP_ID_MSIX);
	assert_int_equal(vmm_config_read(w->platform, SLOT, at + 2, 2), VECTORS - 1);
	assert_int_equal(vmm_config_read(w->platform, SLOT, at + 4, 4), TABLE);
	assert_int_equal(vmm_config_read(w->platform, SLOT, at + 8, 4), PBA);
	control(w, 0xffff); /* the size is not the guest's */
	assert_int_equal(vmm_config_read(w->platform, SLOT, at + 2, 2), 0xc000 | (VECTORS - 1));
}

static void a_message_is_raised(void **state)
{
	struct world *w = *state;

	msix_fire(&w->msix, 0); /* off: nothing, and nothing is kept */
	set_vector(w, 0, DATA, 0);
	control(w, PCI_MSIX_FLAGS_ENABLE);
	assert_false(came(w, DATA));
	msix_fire(&w->msix, 0);
	assert_true(came(w, DATA));
	assert_false(came(w, DATA));
	assert_int_equal(w->platform->route[0].message.address, 0xfee01000);
	set32(w, 8, DATA + 1); /* another message from now on */
	msix_fire(&w->msix, 0);
	assert_false(came(w, DATA));
	assert_true(came(w, DATA + 1));
	msix_fire(&w->msix, VECTORS); /* no such */
	msix_fire(&w->msix, MSIX_NONE);
	control(w, 0);
	msix_fire(&w->msix, 0);
	assert_false(came(w, DATA + 1));
}

static void masks_keep_it_pending(void **state)
{
	struct world *w = *state;

	set_vector(w, 0, DATA, 1);
	set_vector(w, 1, DATA + 1, 0);
	control(w, PCI_MSIX_FLAGS_ENABLE);
	msix_fire(&w->msix, 0);
	msix_fire(&w->msix, 0);
	assert_false(came(w, DATA));
	assert_int_equal(pending(w), 1);
	set32(w, 12, 0);
	assert_true(came(w, DATA)); /* once */
	assert_false(came(w, DATA));
	assert_int_equal(pending(w), 0);
	control(w, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	msix_fire(&w->msix, 1);
	assert_false(came(w, DATA + 1));
	assert_int_equal(pending(w), 2);
	control(w, PCI_MSIX_FLAGS_ENABLE);
	assert_true(came(w, DATA + 1));
}

static void routes_change_only_when_needed(void **state)
{
	struct world *w = *state;
	unsigned before;

	set_vector(w, 0, DATA, 0);
	assert_int_equal(w->platform->n_routings, 0);
	control(w, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(w->platform->n_routings, 1); /* the others are masked */
	before = w->platform->n_routings;
	set_vector(w, 0, DATA, 0);
	control(w, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(w->platform->n_routings, before);
}

static void table_accesses(void **state)
{
	struct world *w = *state;
	uint64_t qword = 0x1122334455667788;
	uint32_t value;
	uint8_t byte = 0xee;

	msix_table_write(&w->msix, 16, &qword, 8);
	msix_table_read(&w->msix, 20, &value, 4);
	assert_int_equal(value, 0x11223344);
	msix_table_read(&w->msix, 16, &value, 4);
	assert_int_equal(value, 0x55667788);
	msix_table_write(&w->msix, 16, &byte, 1);  /* no such width */
	msix_table_write(&w->msix, 18, &value, 4); /* misaligned */
	msix_table_write(&w->msix, 20, &qword, 8);
	msix_table_read(&w->msix, 16, &qword, 8);
	assert_int_equal(qword, 0x1122334455667788);
	/* beyond the vectors that there are (CVE-2020-13754's kind) */
	for (uint64_t offset = 16 * VECTORS; offset < 0x1000; offset += 4) {
		msix_table_write(&w->msix, offset, &qword, 4);
		value = 0x77;
		msix_table_read(&w->msix, offset, &value, 4);
		assert_int_equal(value, 0x77);
	}
	set32(w, 12, 0xffffffff); /* reserved bits stay 0 */
	msix_table_read(&w->msix, 12, &value, 4);
	assert_int_equal(value, 1);
	value = 0x77;
	msix_pba_read(&w->msix, 8, &value, 4);
	msix_pba_read(&w->msix, 2, &value, 4);
	assert_int_equal(value, 0x77);
	msix_pba_read(&w->msix, 0, &qword, 8);
	assert_int_equal(qword, 0);
}

static void a_platform_without_routes(void **state)
{
	struct world *w = *state;

	w->platform->no_routes = true;
	set_vector(w, 0, DATA, 0);
	control(w, PCI_MSIX_FLAGS_ENABLE);
	msix_fire(&w->msix, 0);
	w->platform->no_routes = false;
	set32(w, 8, DATA); /* the next chance */
	control(w, PCI_MSIX_FLAGS_ENABLE);
	assert_true(came(w, DATA));
}

static void state_survives(void **state)
{
	struct world *w = *state;
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;

	set_vector(w, 0, DATA, 1);
	set_vector(w, 2, DATA + 2, 0);
	control(w, PCI_MSIX_FLAGS_ENABLE);
	msix_fire(&w->msix, 0);
	state_writer_init(&writer, fd);
	assert_int_equal(msix_save(&w->msix, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	msix_reset(&w->msix);
	assert_int_equal(pending(w), 0);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(msix_load(&w->msix, &reader), 0);
	state_reader_done(&reader);
	assert_int_equal(pending(w), 1);
	set32(w, 12, 0);
	assert_true(came(w, DATA));
	msix_fire(&w->msix, 2);
	assert_true(came(w, DATA + 2));
	(void)close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_capability),        TEST(a_message_is_raised),
		TEST(masks_keep_it_pending), TEST(routes_change_only_when_needed),
		TEST(table_accesses),        TEST(a_platform_without_routes),
		TEST(state_survives),
	};

	return cmocka_run_group_tests_name("vmm_msix", tests, NULL, NULL);
}
