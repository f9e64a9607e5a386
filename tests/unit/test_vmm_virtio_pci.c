/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI transport, from a guest that does what it likes with the registers. */
#include "test.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/state.h"
#include "support/vmm_driver.h"
#include "virtio/pci.h"

enum { MIB = 1 << 20, SLOT = 4, QUEUES = 2, CONFIG_SIZE = 12, ALL = 15 };

#define REG(w, name) ((w)->driver.common + VIRTIO_PCI_COMMON_##name)

/* A device that answers requests only when it is told to. */
struct toy {
	struct virtio_device device;
	uint8_t config[CONFIG_SIZE];
	struct virtq_chain chain;
	uint16_t held[VMM_QUEUE_SIZE];
	unsigned n_held, activated;
};

struct world {
	struct vmm_platform *platform;
	struct toy toy;
	struct virtio_pci *transport;
	struct vmm_driver driver;
};

static int on_activate(struct virtio_device *device)
{
	((struct toy *)device)->activated++;
	return 0;
}

static void on_reset(struct virtio_device *device)
{
	((struct toy *)device)->n_held = 0;
}

static void on_notify(struct virtio_device *device, unsigned queue)
{
	struct toy *toy = (struct toy *)device;

	if (queue != 0)
		return;
	while (toy->n_held < VMM_QUEUE_SIZE && virtio_pop(device, 0, &toy->chain) > 0)
		toy->held[toy->n_held++] = toy->chain.head;
}

static void on_config_read(struct virtio_device *device, uint32_t offset, void *data, size_t size)
{
	memcpy(data, ((struct toy *)device)->config + offset, size);
}

static void on_config_write(struct virtio_device *device, uint32_t offset, const void *data,
			    size_t size)
{
	memcpy(((struct toy *)device)->config + offset, data, size);
}

static const struct virtio_ops toy_ops = {
	.name = "toy",
	.id = 42,
	.pci_class = 0x00ff00,
	.config_read = on_config_read,
	.config_write = on_config_write,
	.activate = on_activate,
	.reset = on_reset,
	.notify = on_notify,
};

static void finish_all(struct world *w)
{
	struct virtio_device *device = &w->toy.device;

	(void)pthread_mutex_lock(&device->lock);
	for (unsigned i = 0; i < w->toy.n_held; i++)
		virtio_complete(device, 0, w->toy.held[i], 7, i + 1 < w->toy.n_held);
	w->toy.n_held = 0;
	(void)pthread_mutex_unlock(&device->lock);
}

static int set_up(void **state)
{
	static const uint16_t sizes[QUEUES] = { 256, 64 };
	struct world *w = calloc(1, sizeof(*w));

	w->platform = vmm_platform_new(64 * MIB, true);
	w->toy.device.config_size = CONFIG_SIZE;
	assert_int_equal(virtio_device_init(&w->toy.device, &toy_ops, &w->platform->mem,
					    w->platform->worker, 1, sizes, QUEUES, NULL),
			 0);
	assert_int_equal(virtio_pci_new(&w->toy.device, &w->platform->pci, SLOT, &w->platform->irq,
					&w->transport, NULL),
			 0);
	assert_int_equal(vmm_driver_open(&w->driver, w->platform, SLOT), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	virtio_pci_free(w->transport);
	virtio_pci_free(NULL);
	virtio_device_done(&w->toy.device);
	vmm_platform_free(w->platform);
	free(w);
	return 0;
}

static void settle(struct world *w)
{
	vmm_settle(w->platform, &w->toy.device);
}

static struct vmm_buffer buffer_of(struct world *w, uint32_t length)
{
	return (struct vmm_buffer){ vmm_alloc(w->platform, length, 1), length, true };
}

static void discovery(void **state)
{
	struct world *w = *state;
	_cleanup_error_ venv_error *err = NULL;
	struct virtio_pci *second;

	assert_int_equal(w->driver.device_id, 0x1040 + 42);
	assert_int_equal(vmm_config_read(w->platform, SLOT, PCI_REVISION_ID, 1), 1);
	assert_int_equal(w->driver.n_queues, QUEUES);
	assert_int_equal(w->driver.n_vectors, QUEUES + 1);
	assert_int_equal(w->driver.config_size, CONFIG_SIZE);
	assert_int_equal(w->driver.multiplier, 4);
	assert_true(vmm_driver_offered(&w->driver) & 1ULL << VIRTIO_VERSION_1);
	assert_int_equal(virtio_pci_new(&w->toy.device, &w->platform->pci, SLOT, &w->platform->irq,
					&second, &err),
			 VENV_ERR_EXISTS);
	assert_non_null(w->toy.device.interrupt); /* still the first one's */
}

static void requests_and_interrupts(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer buffer = buffer_of(w, 64);
	uint32_t written;
	int head;

	assert_int_equal(vmm_driver_start(&w->driver, 1ULL << VIRTIO_EVENT_IDX), 0);
	head = vmm_driver_submit(&w->driver, 0, &buffer, 1);
	settle(w);
	assert_int_equal(w->toy.n_held, 1);
	assert_int_equal(vmm_driver_poll(&w->driver, 0, NULL), -1);
	finish_all(w);
	assert_int_equal(vmm_driver_wait(&w->driver, 0, &written), head);
	assert_int_equal(written, 7);
	assert_true(vmm_driver_submit_indirect(&w->driver, 0, &buffer, 1) >= 0);
	settle(w); /* not negotiated: broken */
	assert_int_equal(vmm_driver_status(&w->driver), ALL | VIRTIO_NEEDS_RESET);
	assert_true(vmm_interrupt(w->platform, w->driver.first_data + QUEUES, VMM_WAIT_MS));
}

/* A doorbell that the platform cannot watch comes by the bus, and does the same. */
static void without_doorbells(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer buffer = buffer_of(w, 64);

	w->platform->no_doorbells = true;
	vmm_config_write(w->platform, SLOT, PCI_COMMAND, 2, 0);
	vmm_config_write(w->platform, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	assert_true(vmm_driver_submit(&w->driver, 0, &buffer, 1) >= 0);
	settle(w);
	assert_int_equal(w->toy.n_held, 1);
}

static void doorbells_move_with_the_window(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer buffer = buffer_of(w, 64);
	uint64_t before = w->driver.notify;
	uint32_t moved = VMM_WINDOW + 64 * MIB;

	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	settle(w); /* every queue is looked at once, rung or not */
	vmm_config_write(w->platform, SLOT, PCI_BASE_ADDRESS_0, 4, moved);
	w->driver.notify += moved - w->driver.window;
	for (size_t i = 0; i < VMM_ROUTES_MAX; i++)
		assert_true(w->platform->doorbell[i].eventfd < 0 ||
			    w->platform->doorbell[i].address >= moved);
	assert_true(vmm_driver_add(&w->driver, 0, &buffer, 1) >= 0);
	vmm_write16(w->platform, before, 0); /* nobody there */
	settle(w);
	assert_int_equal(w->toy.n_held, 0);
	vmm_driver_ring(&w->driver, 0);
	settle(w);
	assert_int_equal(w->toy.n_held, 1);
}

/* Every offset of the window, every width: what is no field reads as all ones, nothing breaks. */
static void any_access(void **state)
{
	static const size_t sizes[] = { 1, 2, 4, 8 };
	static const uint8_t ones[8] = { 255, 255, 255, 255, 255, 255, 255, 255 };
	struct world *w = *state;

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (uint64_t offset = 0; offset < 0x8000; offset++) {
			uint8_t data[8] = { 0 };

			if (offset % 0x1000 >= 0x80 && offset % 0x1000 < 0xff0)
				continue; /* the same as its neighbours */
			bus_read(&w->platform->memory, w->driver.window + offset, data, sizes[s]);
			if (offset >= 56 && offset < 0x1000)
				assert_memory_equal(data, ones, sizes[s]);
			bus_write(&w->platform->memory, w->driver.window + offset, data, sizes[s]);
			bus_write(&w->platform->memory, w->driver.window + offset, ones, sizes[s]);
		}
	}
	vmm_driver_reset(&w->driver);
	assert_int_equal(vmm_driver_status(&w->driver), 0);
}

static void fields_have_their_size(void **state)
{
	struct world *w = *state;
	uint64_t address = 0x123456789000;
	uint64_t half;

	assert_int_equal(vmm_read8(w->platform, REG(w, Q_SIZE)), 0xff);
	assert_int_equal(vmm_read32(w->platform, REG(w, Q_SELECT)), 0xffffffff);
	assert_int_equal(vmm_read16(w->platform, REG(w, Q_SIZE) + 1), 0xffff);
	vmm_write8(w->platform, REG(w, Q_SIZE), 8); /* ignored */
	assert_int_equal(vmm_read16(w->platform, REG(w, Q_SIZE)), 256);
	/* 64 bits are two of 32 */
	vmm_write(w->platform, REG(w, Q_DESCLO), &address, 8);
	vmm_read(w->platform, REG(w, Q_DESCLO), &half, 8);
	assert_int_equal(half, address);
	assert_int_equal(vmm_read32(w->platform, REG(w, Q_DESCHI)), 0x1234);
}

static void queue_sizes(void **state)
{
	static const struct {
		uint16_t write, read;
	} cases[] = { { 128, 128 }, { 0, 128 },      { 3, 128 },      { 512, 128 },
		      { 256, 256 }, { 0x8000, 256 }, { 0xffff, 256 }, { 1, 1 } };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		vmm_write16(w->platform, REG(w, Q_SIZE), cases[i].write);
		assert_int_equal(vmm_read16(w->platform, REG(w, Q_SIZE)), cases[i].read);
	}
}

static void selectors_out_of_range(void **state)
{
	static const uint16_t queues[] = { QUEUES, VIRTIO_QUEUES_MAX, 0x100, 0xffff };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(queues); i++) {
		vmm_write16(w->platform, REG(w, Q_SELECT), queues[i]);
		assert_int_equal(vmm_read16(w->platform, REG(w, Q_SELECT)), queues[i]);
		assert_int_equal(vmm_read16(w->platform, REG(w, Q_SIZE)), 0);
		assert_int_equal(vmm_read16(w->platform, REG(w, Q_ENABLE)), 0);
		assert_int_equal(vmm_read16(w->platform, REG(w, Q_MSIX)), 0xffff);
		assert_int_equal(vmm_read32(w->platform, REG(w, Q_DESCLO)), 0);
		vmm_write16(w->platform, REG(w, Q_SIZE), 64);
		vmm_write16(w->platform, REG(w, Q_MSIX), 0);
		vmm_write32(w->platform, REG(w, Q_DESCLO), 0x1000);
		vmm_write32(w->platform, REG(w, Q_USEDHI), 0x1000);
		vmm_write16(w->platform, REG(w, Q_ENABLE), 1);
		assert_int_equal(vmm_read16(w->platform, REG(w, Q_ENABLE)), 0);
	}
	vmm_write32(w->platform, REG(w, DFSELECT), 0xffffffff);
	assert_int_equal(vmm_read32(w->platform, REG(w, DF)), 0);
	vmm_write32(w->platform, REG(w, GFSELECT), 64);
	vmm_write32(w->platform, REG(w, GF), 0xffffffff);
	assert_int_equal(vmm_read32(w->platform, REG(w, GF)), 0);
	for (unsigned i = 0; i < 1024; i++) /* doorbells of queues that are not */
		vmm_write16(w->platform, w->driver.notify + 4 * i, (uint16_t)i);
	settle(w);
}

static void vectors_out_of_range(void **state)
{
	struct world *w = *state;

	vmm_write16(w->platform, REG(w, MSIX), QUEUES);
	assert_int_equal(vmm_read16(w->platform, REG(w, MSIX)), QUEUES);
	vmm_write16(w->platform, REG(w, MSIX), QUEUES + 1);
	assert_int_equal(vmm_read16(w->platform, REG(w, MSIX)), 0xffff);
	vmm_write16(w->platform, REG(w, Q_SELECT), 1);
	vmm_write16(w->platform, REG(w, Q_MSIX), 0x7fff);
	assert_int_equal(vmm_read16(w->platform, REG(w, Q_MSIX)), 0xffff);
}

static void nothing_moves_after_driver_ok(void **state)
{
	static const struct {
		unsigned at, size;
	} fields[] = {
		{ VIRTIO_PCI_COMMON_GF, 4 },        { VIRTIO_PCI_COMMON_MSIX, 2 },
		{ VIRTIO_PCI_COMMON_Q_SIZE, 2 },    { VIRTIO_PCI_COMMON_Q_MSIX, 2 },
		{ VIRTIO_PCI_COMMON_Q_ENABLE, 2 },  { VIRTIO_PCI_COMMON_Q_DESCLO, 4 },
		{ VIRTIO_PCI_COMMON_Q_DESCHI, 4 },  { VIRTIO_PCI_COMMON_Q_AVAILLO, 4 },
		{ VIRTIO_PCI_COMMON_Q_AVAILHI, 4 }, { VIRTIO_PCI_COMMON_Q_USEDLO, 4 },
		{ VIRTIO_PCI_COMMON_Q_USEDHI, 4 },
	};
	static const uint32_t values[] = { 0, 1, 2, 8, 0x1000, 0xffffffff };
	struct world *w = *state;
	const struct vmm_buffer buffer = buffer_of(w, 64);
	struct virtq before;

	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	before = w->toy.device.queue[1];
	vmm_write16(w->platform, REG(w, Q_SELECT), 1);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		uint64_t at = w->driver.common + fields[i].at;
		uint32_t was = 0, is = 0;

		vmm_read(w->platform, at, &was, fields[i].size);
		for (size_t k = 0; k < ARRAY_SIZE(values); k++) {
			vmm_write(w->platform, at, &values[k], fields[i].size);
			vmm_read(w->platform, at, &is, fields[i].size);
			assert_int_equal(is, was);
		}
	}
	assert_memory_equal(&before, &w->toy.device.queue[1], sizeof(before));
	assert_int_equal(w->toy.activated, 1);
	assert_true(vmm_driver_submit(&w->driver, 0, &buffer, 1) >= 0);
	settle(w);
	assert_int_equal(w->toy.n_held, 1); /* it works as before */
}

/* Enabled, a queue is frozen: also before DRIVER_OK, also when it is enabled again. */
static void enabled_twice(void **state)
{
	struct world *w = *state;

	vmm_driver_reset(&w->driver);
	assert_int_equal(vmm_driver_take(&w->driver, 1ULL << VIRTIO_VERSION_1), 0);
	vmm_driver_add_queue(&w->driver, 0, 64);
	vmm_write32(w->platform, REG(w, Q_USEDLO), 0xfee00000);
	vmm_write16(w->platform, REG(w, Q_SIZE), 128);
	vmm_write16(w->platform, REG(w, Q_ENABLE), 1);
	vmm_write16(w->platform, REG(w, Q_ENABLE), 0);
	assert_int_equal(vmm_read16(w->platform, REG(w, Q_ENABLE)), 1);
	assert_int_equal(vmm_read16(w->platform, REG(w, Q_SIZE)), 64);
	assert_int_equal(vmm_read32(w->platform, REG(w, Q_USEDLO)),
			 w->driver.queue[0].used_address);
	vmm_driver_set_status(&w->driver, ALL);
	assert_int_equal(vmm_driver_status(&w->driver), ALL);
}

static void reset_in_the_middle(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer buffer = buffer_of(w, 64);
	uint64_t used;

	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_true(vmm_driver_submit(&w->driver, 0, &buffer, 1) >= 0);
	settle(w);
	assert_int_equal(w->toy.n_held, 5);
	used = w->driver.queue[0].used_address;
	vmm_driver_reset(&w->driver);
	assert_int_equal(vmm_driver_status(&w->driver), 0);
	assert_int_equal(vmm_read16(w->platform, REG(w, MSIX)), 0xffff);
	/* late, as a device that did not drain would be: nothing reaches the old ring */
	(void)pthread_mutex_lock(&w->toy.device.lock);
	virtio_complete(&w->toy.device, 0, 0, 7, false);
	(void)pthread_mutex_unlock(&w->toy.device.lock);
	assert_int_equal(vmm_read8(w->platform, w->driver.isr), 0);
	assert_int_equal(*(uint32_t *)vmm_at(w->platform, used, 4), 0);
	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	assert_true(vmm_driver_submit(&w->driver, 0, &buffer, 1) >= 0);
	settle(w);
	finish_all(w);
	assert_true(vmm_driver_wait(&w->driver, 0, NULL) >= 0);
}

static void isr_is_cleared_by_reading(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer buffer = buffer_of(w, 64);

	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	assert_true(vmm_driver_submit(&w->driver, 0, &buffer, 1) >= 0);
	settle(w);
	finish_all(w);
	assert_int_equal(vmm_read8(w->platform, w->driver.isr), 1);
	assert_int_equal(vmm_read8(w->platform, w->driver.isr), 0);
	(void)pthread_mutex_lock(&w->toy.device.lock);
	virtio_config_changed(&w->toy.device);
	(void)pthread_mutex_unlock(&w->toy.device.lock);
	assert_int_equal(vmm_read32(w->platform, w->driver.isr), 2);
	assert_int_equal(vmm_read8(w->platform, REG(w, CFGGENERATION)), 1);
}

static void device_configuration_is_bounded(void **state)
{
	static const struct {
		unsigned offset;
		size_t size;
		bool inside;
	} cases[] = {
		{ 0, 1, true },      { 0, 8, true },      { 4, 8, true },  { 8, 4, true },
		{ 11, 1, true },     { 11, 2, false },    { 8, 8, false }, { 12, 1, false },
		{ 0xfff, 1, false }, { 0xffc, 4, false },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t at = w->driver.config + cases[i].offset;
		uint8_t data[8];

		memset(w->toy.config, 0x33, CONFIG_SIZE);
		memset(data, 0x44, 8);
		bus_write(&w->platform->memory, at, data, cases[i].size);
		bus_read(&w->platform->memory, at, data, cases[i].size);
		for (size_t k = 0; k < cases[i].size; k++)
			assert_int_equal(data[k], cases[i].inside ? 0x44 : 0xff);
	}
}

/* ---- As SeaBIOS does it: everything through PCI_CFG, polling, queues before features ---- */

static void cfg_select(struct world *w, uint64_t address, uint32_t size)
{
	unsigned cap = w->driver.cfg_capability;

	vmm_port_config_write(w->platform, SLOT, cap + 4, 1, 0);
	vmm_port_config_write(w->platform, SLOT, cap + 8, 4,
			      (uint32_t)(address - w->driver.window));
	vmm_port_config_write(w->platform, SLOT, cap + 12, 4, size);
}

static uint32_t cfg_read(struct world *w, uint64_t address, uint32_t size)
{
	cfg_select(w, address, size);
	return vmm_port_config_read(w->platform, SLOT, w->driver.cfg_capability + 16, size);
}

static void cfg_write(struct world *w, uint64_t address, uint32_t size, uint32_t value)
{
	cfg_select(w, address, size);
	vmm_port_config_write(w->platform, SLOT, w->driver.cfg_capability + 16, size, value);
}

static void firmware_drives_it(void **state)
{
	struct world *w = *state;
	struct vmm_queue *q = &w->driver.queue[0];
	const struct vmm_buffer buffer = buffer_of(w, 64);

	/* no MSI-X, no window */
	vmm_config_write(w->platform, SLOT, w->driver.msix_capability + 2, 2, 0);
	vmm_config_write(w->platform, SLOT, PCI_COMMAND, 2, 0);
	cfg_write(w, REG(w, STATUS), 1, 0);
	assert_int_equal(cfg_read(w, REG(w, STATUS), 1), 0);
	cfg_write(w, REG(w, STATUS), 1, 1);
	cfg_write(w, REG(w, STATUS), 1, 3);
	cfg_write(w, REG(w, Q_SELECT), 2, 0);
	assert_int_equal(cfg_read(w, REG(w, Q_SIZE), 2), 256);
	cfg_write(w, REG(w, Q_SIZE), 2, 128);
	assert_int_equal(cfg_read(w, REG(w, Q_SIZE), 2), 128);
	assert_int_equal(cfg_read(w, REG(w, Q_ENABLE), 2), 0);
	w->driver.common = 0; /* not by the window from here on */
	vmm_driver_add_queue(&w->driver, 0, 128);
	w->driver.common = w->driver.window;
	cfg_write(w, REG(w, Q_DESCLO), 4, (uint32_t)q->desc_address);
	cfg_write(w, REG(w, Q_DESCHI), 4, 0);
	cfg_write(w, REG(w, Q_AVAILLO), 4, (uint32_t)q->avail_address);
	cfg_write(w, REG(w, Q_AVAILHI), 4, 0);
	cfg_write(w, REG(w, Q_USEDLO), 4, (uint32_t)q->used_address);
	cfg_write(w, REG(w, Q_USEDHI), 4, 0);
	cfg_write(w, REG(w, Q_ENABLE), 2, 1);
	cfg_write(w, REG(w, DFSELECT), 4, 1);
	assert_int_equal(cfg_read(w, REG(w, DF), 4), 1);
	cfg_write(w, REG(w, GFSELECT), 4, 1);
	cfg_write(w, REG(w, GF), 4, 1);
	cfg_write(w, REG(w, STATUS), 1, 11);
	assert_int_equal(cfg_read(w, REG(w, STATUS), 1), 11);
	cfg_write(w, REG(w, STATUS), 1, 15);
	q->avail->flags = 1;
	assert_true(vmm_driver_add(&w->driver, 0, &buffer, 1) >= 0);
	cfg_write(w, w->driver.notify, 2, 0);
	settle(w);
	finish_all(w);
	assert_true(vmm_driver_poll(&w->driver, 0, NULL) >= 0);
	assert_int_equal(cfg_read(w, w->driver.isr, 1), 0); /* it did not want to be told */
}

static void cfg_is_bounded(void **state)
{
	static const struct {
		uint32_t bar, offset, length;
	} bad[] = {
		{ 1, 0, 4 },          { 5, 0, 4 },           { 255, 0, 4 }, { 0, 0x8000, 4 },
		{ 0, 0xfffffffc, 4 }, { 0, 0x7fff, 4 },      { 0, 20, 0 },  { 0, 20, 3 },
		{ 0, 20, 8 },         { 0, 20, 0xffffffff }, { 0, 22, 4 },  { 0, 21, 2 },
	};
	struct world *w = *state;
	unsigned cap = w->driver.cfg_capability;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		vmm_config_write(w->platform, SLOT, cap + 16, 4, 0);
		vmm_config_write(w->platform, SLOT, cap + 4, 1, bad[i].bar);
		vmm_config_write(w->platform, SLOT, cap + 8, 4, bad[i].offset);
		vmm_config_write(w->platform, SLOT, cap + 12, 4, bad[i].length);
		vmm_config_write(w->platform, SLOT, cap + 16, 4, 0x01010101);
		assert_int_equal(vmm_config_read(w->platform, SLOT, cap + 16, 4), 0x01010101);
		assert_int_equal(vmm_driver_status(&w->driver), 0);
	}
}

static void state_survives(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer buffer = buffer_of(w, 64);
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;

	assert_int_equal(vmm_driver_start(&w->driver, 1ULL << VIRTIO_EVENT_IDX), 0);
	assert_true(vmm_driver_submit(&w->driver, 0, &buffer, 1) >= 0);
	settle(w);
	finish_all(w);
	assert_true(vmm_driver_wait(&w->driver, 0, NULL) >= 0);
	assert_true(vmm_driver_add(&w->driver, 0, &buffer, 1) >= 0); /* its ring is lost */
	state_writer_init(&writer, fd);
	assert_int_equal(pci_save(&w->platform->pci, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);

	pci_reset(&w->platform->pci);
	assert_int_equal(vmm_config_read(w->platform, SLOT, PCI_BASE_ADDRESS_0, 4), 0);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(pci_load(&w->platform->pci, &reader), 0);
	assert_true(state_at_end(&reader));
	state_reader_done(&reader);
	assert_int_equal(vmm_driver_status(&w->driver), ALL);
	assert_int_equal(vmm_read16(w->platform, REG(w, MSIX)), QUEUES);
	settle(w);
	assert_int_equal(w->toy.n_held, 1);
	finish_all(w);
	assert_true(vmm_driver_wait(&w->driver, 0, NULL) >= 0);
	assert_true(vmm_driver_submit(&w->driver, 0, &buffer, 1) >= 0);
	settle(w);
	assert_int_equal(w->toy.n_held, 1);
	(void)close(fd);
}

/* Two vCPUs: one moves the window, the other uses it. */
static void *move_about(void *user)
{
	struct world *w = user;

	for (unsigned i = 0; i < 2000; i++)
		vmm_config_write(w->platform, SLOT, PCI_BASE_ADDRESS_0, 4,
				 (uint32_t)(VMM_WINDOW + (i % 3) * MIB));
	return NULL;
}

static void windows_that_move_in_use(void **state)
{
	struct world *w = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, move_about, w), 0);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t at = VMM_WINDOW + (i % 3) * MIB;
		uint8_t status = vmm_read8(w->platform, at + VIRTIO_PCI_COMMON_STATUS);

		assert_true(status == 0xff || status <= ALL);
		vmm_write8(w->platform, at + VIRTIO_PCI_COMMON_STATUS, (uint8_t)(i % 4));
		vmm_write16(w->platform, at + 0x3000, 0);
		(void)vmm_config_read(w->platform, SLOT, 0, 4);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(discovery),
		TEST(requests_and_interrupts),
		TEST(without_doorbells),
		TEST(doorbells_move_with_the_window),
		TEST(any_access),
		TEST(fields_have_their_size),
		TEST(queue_sizes),
		TEST(selectors_out_of_range),
		TEST(vectors_out_of_range),
		TEST(nothing_moves_after_driver_ok),
		TEST(enabled_twice),
		TEST(reset_in_the_middle),
		TEST(isr_is_cleared_by_reading),
		TEST(device_configuration_is_bounded),
		TEST(firmware_drives_it),
		TEST(cfg_is_bounded),
		TEST(state_survives),
		TEST(windows_that_move_in_use),
	};

	return cmocka_run_group_tests_name("vmm_virtio_pci", tests, NULL, NULL);
}
