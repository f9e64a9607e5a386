/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Register accesses of a guest as a stream of operations, on a bus with three devices: configuration space
 * by both ways, windows, memory, and, so that it gets far, a driver that sets a device up and offers
 * descriptors of the input's. Windows must never lie on RAM or beyond where they may be.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/layout.h"
#include "machine/state.h"
#include "support/vmm_driver.h"
#include "tests/fuzz/input.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/pci.h"
#include "virtio/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM = 8 << 20, RAM_START = 1 << 20, RAM_USED = 512 * 1024, DEVICES = 3, STEPS_MAX = 256 };

struct world {
	struct vmm_platform *platform;
	struct virtio_device *device[DEVICES];
	struct virtio_pci *transport[DEVICES];
	struct vmm_driver driver[DEVICES];
	bool open[DEVICES];
};

static void make(struct world *w)
{
	w->platform = vmm_platform_new(RAM, false);
	must(virtio_rng_new(&w->platform->mem, w->platform->worker, &w->device[0], NULL) == 0);
	must(virtio_console_new(&w->platform->mem, w->platform->worker, -1, -1, &w->device[1],
				NULL) == 0);
	must(virtio_balloon_new(&w->platform->mem, w->platform->worker, &w->device[2], NULL) == 0);
	for (unsigned i = 0; i < DEVICES; i++)
		must(virtio_pci_new(w->device[i], &w->platform->pci, i + 1, &w->platform->irq,
				    &w->transport[i], NULL) == 0);
}

static void check_windows(const struct world *w)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		const struct pci_function *function = w->platform->pci.function[slot];

		for (unsigned i = 0; function && i < PCI_BARS; i++) {
			const struct pci_bar *bar = &function->bar[i];

			if (!bar->address)
				continue;
			must(bar->address >= RAM && bar->address % bar->size == 0);
			must(bar->address + (uint64_t)bar->size <= LAYOUT_IOAPIC);
			must(bar->address + (uint64_t)bar->size <= VMM_ECAM ||
			     bar->address >= VMM_ECAM + (1 << 20));
		}
	}
}

static size_t size_of(uint32_t op)
{
	return (size_t)1 << (op >> 6 & 3);
}

/* An address that something may lie at: a window, as it is now or was, or any. */
static uint64_t address_of(struct world *w, unsigned device, struct input *in)
{
	const struct pci_function *function = w->platform->pci.function[device + 1];
	uint32_t offset = take(in, 2);

	return function->bar[0].address + offset % 0x8000;
}

static void access_config(struct world *w, unsigned device, uint32_t op, struct input *in)
{
	unsigned offset = take(in, 1);
	size_t size = MIN(size_of(op), (size_t)4);
	uint32_t value = take(in, 4);

	if (op & 0x20)
		vmm_config_write(w->platform, device + 1, offset, size, value);
	else
		vmm_port_config_write(w->platform, device + 1, offset, size, value);
	(void)vmm_config_read(w->platform, device + 1, offset, size);
	(void)vmm_port_config_read(w->platform, device + 1, offset, size);
}

static void access_window(struct world *w, unsigned device, uint32_t op, struct input *in)
{
	uint64_t address = address_of(w, device, in);
	uint8_t data[8];

	if (op & 0x20) {
		uint32_t value[2] = { take(in, 4), 0 };

		vmm_write(w->platform, address, value, size_of(op));
	} else {
		vmm_read(w->platform, address, data, size_of(op));
	}
}

static void start(struct world *w, unsigned device, struct input *in)
{
	struct vmm_driver *driver = &w->driver[device];
	uint64_t features = take(in, 4);

	if (w->platform->next > RAM_START + RAM_USED / 2)
		return;
	w->open[device] = vmm_driver_open(driver, w->platform, device + 1) == 0 &&
			  vmm_driver_start(driver, features) == 0;
}

/* Descriptors as the input has them, a head too. */
static void offer(struct world *w, unsigned device, uint32_t op, struct input *in)
{
	struct vmm_driver *driver = &w->driver[device];
	unsigned queue = (op >> 5) % MAX(driver->n_queues, 1U);
	struct vmm_queue *q = &driver->queue[queue];

	if (!w->open[device] || !q->size)
		return;
	for (unsigned i = 0; i < 4; i++)
		q->desc[i] = (struct vmm_desc){ RAM_START + take(in, 3), take(in, 2),
						(uint16_t)take(in, 1), (uint16_t)take(in, 1) };
	vmm_driver_offer(driver, queue, (uint16_t)take(in, 1));
	vmm_driver_ring(driver, queue);
}

static void save_and_load(struct world *w)
{
	struct state_writer writer;
	struct state_reader reader;
	int fd = memfd_create("state", MFD_CLOEXEC);

	state_writer_init(&writer, fd);
	must(pci_save(&w->platform->pci, &writer) == 0 && state_finish(&writer) == 0);
	state_writer_done(&writer);
	pci_reset(&w->platform->pci);
	must(state_reader_open(&reader, fd, NULL) == 0);
	must(pci_load(&w->platform->pci, &reader) == 0);
	state_reader_done(&reader);
	(void)close(fd);
}

static void step(struct world *w, struct input *in)
{
	uint32_t op = take(in, 1);
	unsigned device = op >> 3 & 3, at;
	uint32_t value;

	if (device == DEVICES)
		device = 0;
	switch (op & 7) {
	case 0:
		access_config(w, device, op, in);
		break;
	case 1:
	case 2:
		access_window(w, device, op, in);
		break;
	case 3:
		start(w, device, in);
		break;
	case 4:
		offer(w, device, op, in);
		break;
	case 5:
		at = take(in, 3) % (RAM_USED - 4);
		value = take(in, 4);
		must(mem_write(&w->platform->mem, RAM_START + at, &value, 4) == 0);
		break;
	case 6:
		vmm_settle(w->platform, w->device[device]);
		break;
	default:
		if (op == 0xff)
			save_and_load(w);
		else if (op >> 5 == 1)
			virtio_balloon_ask_stats(w->device[2]);
		else if (op >> 5 == 2)
			virtio_balloon_ask(w->device[2], take(in, 4));
		else
			virtio_console_resize(w->device[1], 1, 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct input in = { data, size };

	if (!w.platform)
		make(&w);
	pci_reset(&w.platform->pci);
	w.platform->next = RAM_START;
	memset(w.open, 0, sizeof(w.open));
	memset(vmm_at(w.platform, RAM_START, RAM_USED), 0, RAM_USED);
	for (unsigned i = 0; i < STEPS_MAX && in.left; i++) {
		step(&w, &in);
		check_windows(&w);
	}
	for (unsigned i = 0; i < DEVICES; i++)
		vmm_settle(w.platform, w.device[i]);
	return 0;
}
