/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm_driver.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <string.h>

#include "util/sys.h"

enum { DATA_PER_SLOT = 32, DATA_BASE = 0x40, LAPIC = 0xfee00000, NO_VECTOR = 0xffff };

/* ---- Configuration space ---- */

static uint64_t ecam_at(unsigned slot, unsigned offset)
{
	return VMM_ECAM + slot * 8 * 4096ULL + offset;
}

uint32_t vmm_config_read(struct vmm_platform *platform, unsigned slot, unsigned offset, size_t size)
{
	uint32_t value = 0;

	vmm_read(platform, ecam_at(slot, offset), &value, size);
	return value;
}

void vmm_config_write(struct vmm_platform *platform, unsigned slot, unsigned offset, size_t size,
		      uint32_t value)
{
	vmm_write(platform, ecam_at(slot, offset), &value, size);
}

static void port_select(struct vmm_platform *platform, unsigned slot, unsigned offset)
{
	uint32_t select = 0x80000000 | slot << 11 | (offset & 0xfc);

	bus_write(&platform->ports, PCI_PORT, &select, 4);
}

uint32_t vmm_port_config_read(struct vmm_platform *platform, unsigned slot, unsigned offset,
			      size_t size)
{
	uint32_t value = 0;

	port_select(platform, slot, offset);
	bus_read(&platform->ports, PCI_PORT + 4 + offset % 4, &value, size);
	return value;
}

void vmm_port_config_write(struct vmm_platform *platform, unsigned slot, unsigned offset,
			   size_t size, uint32_t value)
{
	port_select(platform, slot, offset);
	bus_write(&platform->ports, PCI_PORT + 4 + offset % 4, &value, size);
}

/* ---- Finding the device ---- */

static void see_capability(struct vmm_driver *d, unsigned at)
{
	struct vmm_platform *p = d->platform;
	uint64_t address = d->window + vmm_config_read(p, d->slot, at + 8, 4);

	switch (vmm_config_read(p, d->slot, at + 3, 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		d->common = address;
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		d->isr = address;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		d->config = address;
		d->config_size = vmm_config_read(p, d->slot, at + 12, 4);
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		d->notify = address;
		d->multiplier = vmm_config_read(p, d->slot, at + 16, 4);
		break;
	case VIRTIO_PCI_CAP_PCI_CFG:
		d->cfg_capability = at;
		break;
	}
}

static void see_capabilities(struct vmm_driver *d)
{
	struct vmm_platform *p = d->platform;
	unsigned at = vmm_config_read(p, d->slot, PCI_CAPABILITY_LIST, 1);

	for (unsigned n = 0; at && n < 48; n++) {
		unsigned id = vmm_config_read(p, d->slot, at, 1);

		if (id == PCI_CAP_ID_VNDR)
			see_capability(d, at);
		if (id == PCI_CAP_ID_MSIX) {
			d->msix_capability = at;
			d->n_vectors = (vmm_config_read(p, d->slot, at + 2, 2) & 0x7ff) + 1;
			d->table = d->window + (vmm_config_read(p, d->slot, at + 4, 4) & ~7U);
		}
		at = vmm_config_read(p, d->slot, at + 1, 1);
	}
}

/* As guests do it: ask for the size, give an address, let it decode. */
static void place_window(struct vmm_driver *d)
{
	struct vmm_platform *p = d->platform;
	uint32_t size;

	vmm_config_write(p, d->slot, PCI_COMMAND, 2, 0);
	vmm_config_write(p, d->slot, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	size = ~(vmm_config_read(p, d->slot, PCI_BASE_ADDRESS_0, 4) & ~15U) + 1;
	d->window = VMM_WINDOW + (uint64_t)size * d->slot;
	vmm_config_write(p, d->slot, PCI_BASE_ADDRESS_0, 4, (uint32_t)d->window);
	vmm_config_write(p, d->slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void set_up_vectors(struct vmm_driver *d)
{
	struct vmm_platform *p = d->platform;

	vmm_config_write(p, d->slot, d->msix_capability + 2, 2,
			 PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned i = 0; i < d->n_vectors; i++) {
		uint64_t at = d->table + 16ULL * i;

		vmm_write32(p, at, LAPIC);
		vmm_write32(p, at + 4, 0);
		vmm_write32(p, at + 8, d->first_data + i);
		vmm_write32(p, at + 12, 0);
	}
	vmm_config_write(p, d->slot, d->msix_capability + 2, 2, PCI_MSIX_FLAGS_ENABLE);
}

int vmm_driver_open(struct vmm_driver *driver, struct vmm_platform *platform, unsigned slot)
{
	*driver = (struct vmm_driver){ .platform = platform,
				       .slot = slot,
				       .first_data = DATA_BASE + DATA_PER_SLOT * slot };
	if (vmm_config_read(platform, slot, PCI_VENDOR_ID, 2) != PCI_VENDOR_VIRTIO)
		return -1;
	driver->device_id = (uint16_t)vmm_config_read(platform, slot, PCI_DEVICE_ID, 2);
	place_window(driver);
	see_capabilities(driver);
	if (!driver->common || !driver->notify || !driver->isr || !driver->cfg_capability ||
	    !driver->msix_capability)
		return -1;
	set_up_vectors(driver);
	driver->n_queues = vmm_read16(platform, driver->common + VIRTIO_PCI_COMMON_NUMQ);
	return driver->n_queues <= VIRTIO_QUEUES_MAX ? 0 : -1;
}

/* ---- Setting it up ---- */

uint8_t vmm_driver_status(struct vmm_driver *driver)
{
	return vmm_read8(driver->platform, driver->common + VIRTIO_PCI_COMMON_STATUS);
}

void vmm_driver_set_status(struct vmm_driver *driver, uint8_t status)
{
	vmm_write8(driver->platform, driver->common + VIRTIO_PCI_COMMON_STATUS, status);
}

void vmm_driver_reset(struct vmm_driver *driver)
{
	vmm_driver_set_status(driver, 0);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		driver->queue[i].size = 0;
}

uint64_t vmm_driver_offered(struct vmm_driver *driver)
{
	struct vmm_platform *p = driver->platform;
	uint64_t offered;

	vmm_write32(p, driver->common + VIRTIO_PCI_COMMON_DFSELECT, 1);
	offered = (uint64_t)vmm_read32(p, driver->common + VIRTIO_PCI_COMMON_DF) << 32;
	vmm_write32(p, driver->common + VIRTIO_PCI_COMMON_DFSELECT, 0);
	return offered | vmm_read32(p, driver->common + VIRTIO_PCI_COMMON_DF);
}

int vmm_driver_take(struct vmm_driver *driver, uint64_t features)
{
	struct vmm_platform *p = driver->platform;
	uint8_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

	vmm_driver_set_status(driver, VIRTIO_ACKNOWLEDGE);
	vmm_driver_set_status(driver, status);
	vmm_write32(p, driver->common + VIRTIO_PCI_COMMON_GFSELECT, 0);
	vmm_write32(p, driver->common + VIRTIO_PCI_COMMON_GF, (uint32_t)features);
	vmm_write32(p, driver->common + VIRTIO_PCI_COMMON_GFSELECT, 1);
	vmm_write32(p, driver->common + VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> 32));
	vmm_driver_set_status(driver, status | VIRTIO_FEATURES_OK);
	driver->features = features;
	return vmm_driver_status(driver) & VIRTIO_FEATURES_OK ? 0 : -1;
}

static void write_address(struct vmm_driver *d, unsigned field, uint64_t address)
{
	vmm_write32(d->platform, d->common + field, (uint32_t)address);
	vmm_write32(d->platform, d->common + field + 4, (uint32_t)(address >> 32));
}

void vmm_driver_add_queue(struct vmm_driver *driver, unsigned queue, uint16_t size)
{
	struct vmm_platform *p = driver->platform;
	struct vmm_queue *q = &driver->queue[queue];

	q->size = size;
	q->desc_address = vmm_alloc(p, 16ULL * size, 16);
	q->avail_address = vmm_alloc(p, 6 + 2ULL * size, 2);
	q->used_address = vmm_alloc(p, 6 + 8ULL * size, 4);
	q->desc = vmm_at(p, q->desc_address, 16ULL * size);
	q->avail = vmm_at(p, q->avail_address, 6 + 2ULL * size);
	q->used = vmm_at(p, q->used_address, 6 + 8ULL * size);
	q->seen = 0;
	q->n_free = size;
	for (uint16_t i = 0; i < size; i++)
		q->free[i] = (uint16_t)(size - 1 - i);
	vmm_write16(p, driver->common + VIRTIO_PCI_COMMON_Q_SELECT, (uint16_t)queue);
	vmm_write16(p, driver->common + VIRTIO_PCI_COMMON_Q_SIZE, size);
	vmm_write16(p, driver->common + VIRTIO_PCI_COMMON_Q_MSIX, (uint16_t)queue);
	write_address(driver, VIRTIO_PCI_COMMON_Q_DESCLO, q->desc_address);
	write_address(driver, VIRTIO_PCI_COMMON_Q_AVAILLO, q->avail_address);
	write_address(driver, VIRTIO_PCI_COMMON_Q_USEDLO, q->used_address);
	driver->notify_offset[queue] = vmm_read16(p, driver->common + VIRTIO_PCI_COMMON_Q_NOFF);
	vmm_write16(p, driver->common + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
}

int vmm_driver_start(struct vmm_driver *driver, uint64_t features)
{
	struct vmm_platform *p = driver->platform;

	vmm_driver_reset(driver);
	if (vmm_driver_take(driver, features | 1ULL << VIRTIO_VERSION_1) < 0)
		return -1;
	vmm_write16(p, driver->common + VIRTIO_PCI_COMMON_MSIX, (uint16_t)(driver->n_vectors - 1));
	for (unsigned i = 0; i < driver->n_queues; i++) {
		uint16_t max;

		vmm_write16(p, driver->common + VIRTIO_PCI_COMMON_Q_SELECT, (uint16_t)i);
		max = vmm_read16(p, driver->common + VIRTIO_PCI_COMMON_Q_SIZE);
		vmm_driver_add_queue(driver, i, MIN(max, (uint16_t)VMM_QUEUE_SIZE));
	}
	vmm_driver_set_status(driver, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK |
					      VIRTIO_DRIVER_OK);
	return vmm_driver_status(driver) & VIRTIO_NEEDS_RESET ? -1 : 0;
}

/* ---- Requests ---- */

static uint16_t flags_of(const struct vmm_buffer *buffers, size_t n, size_t i)
{
	return (uint16_t)((i + 1 < n ? VMM_DESC_NEXT : 0) |
			  (buffers[i].write ? VMM_DESC_WRITE : 0));
}

/* The descriptors of a chain; its head. */
static int build(struct vmm_queue *q, const struct vmm_buffer *buffers, size_t n)
{
	uint16_t at[VIRTQ_SIZE_MAX];

	if (!n || n > q->n_free)
		return -1;
	for (size_t i = 0; i < n; i++)
		at[i] = q->free[--q->n_free];
	for (size_t i = 0; i < n; i++)
		q->desc[at[i]] = (struct vmm_desc){ buffers[i].address, buffers[i].length,
						    flags_of(buffers, n, i),
						    i + 1 < n ? at[i + 1] : (uint16_t)0 };
	return at[0];
}

void vmm_driver_offer(struct vmm_driver *driver, unsigned queue, uint16_t head)
{
	struct vmm_queue *q = &driver->queue[queue];
	uint16_t idx = q->avail->idx;

	q->avail->ring[idx % q->size] = head;
	__atomic_store_n(&q->avail->idx, (uint16_t)(idx + 1), __ATOMIC_RELEASE);
}

void vmm_driver_ring(struct vmm_driver *driver, unsigned queue)
{
	/* after the index, before the device's wishes would be looked at */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	vmm_write16(driver->platform,
		    driver->notify + (uint64_t)driver->notify_offset[queue] * driver->multiplier,
		    (uint16_t)queue);
}

int vmm_driver_add(struct vmm_driver *driver, unsigned queue, const struct vmm_buffer *buffers,
		   size_t n)
{
	int head = build(&driver->queue[queue], buffers, n);

	if (head >= 0)
		vmm_driver_offer(driver, queue, (uint16_t)head);
	return head;
}

int vmm_driver_submit(struct vmm_driver *driver, unsigned queue, const struct vmm_buffer *buffers,
		      size_t n)
{
	int head = vmm_driver_add(driver, queue, buffers, n);

	if (head >= 0)
		vmm_driver_ring(driver, queue);
	return head;
}

int vmm_driver_submit_indirect(struct vmm_driver *driver, unsigned queue,
			       const struct vmm_buffer *buffers, size_t n)
{
	struct vmm_queue *q = &driver->queue[queue];
	uint64_t table = vmm_alloc(driver->platform, 16 * n, 16);
	struct vmm_desc *desc = vmm_at(driver->platform, table, 16 * n);
	uint16_t head;

	if (!n || !q->n_free)
		return -1;
	for (size_t i = 0; i < n; i++)
		desc[i] = (struct vmm_desc){ buffers[i].address, buffers[i].length,
					     flags_of(buffers, n, i), (uint16_t)(i + 1) };
	head = q->free[--q->n_free];
	q->desc[head] = (struct vmm_desc){ table, (uint32_t)(16 * n), VMM_DESC_INDIRECT, 0 };
	vmm_driver_offer(driver, queue, head);
	vmm_driver_ring(driver, queue);
	return head;
}

static void release(struct vmm_queue *q, uint16_t head)
{
	for (uint16_t i = head, n = 0; n < q->size && q->n_free < q->size; n++) {
		q->free[q->n_free++] = i;
		if (!(q->desc[i].flags & VMM_DESC_NEXT))
			break;
		i = q->desc[i].next % q->size;
	}
}

int vmm_driver_poll(struct vmm_driver *driver, unsigned queue, uint32_t *ret_written)
{
	struct vmm_queue *q = &driver->queue[queue];
	struct vmm_used_entry entry;

	if (__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) == q->seen)
		return -1;
	entry = q->used->ring[q->seen % q->size];
	q->seen++;
	if (driver->features & 1ULL << VIRTIO_EVENT_IDX) {
		__atomic_store_n(&q->avail->ring[q->size], q->seen, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	if (entry.id >= q->size)
		return -1;
	release(q, (uint16_t)entry.id);
	if (ret_written)
		*ret_written = entry.length;
	return (int)entry.id;
}

int vmm_driver_wait(struct vmm_driver *driver, unsigned queue, uint32_t *ret_written)
{
	uint64_t end = venv__now_us() + VMM_WAIT_MS * 1000;

	for (;;) {
		int head = vmm_driver_poll(driver, queue, ret_written);
		uint64_t now = venv__now_us();

		if (head >= 0 || now >= end)
			return head;
		(void)vmm_interrupt(driver->platform, driver->first_data + queue,
				    (int)((end - now) / 1000 + 1));
	}
}

int64_t vmm_driver_call(struct vmm_driver *driver, unsigned queue, const struct vmm_buffer *buffers,
			size_t n)
{
	uint32_t written;

	if (vmm_driver_submit(driver, queue, buffers, n) < 0 ||
	    vmm_driver_wait(driver, queue, &written) < 0)
		return -1;
	return written;
}
