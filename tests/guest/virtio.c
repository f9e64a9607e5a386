/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio.h"

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

enum {
	VENDOR = 0x1af4,
	DEVICE_BASE = 0x1040,
	SLOTS = 32,
	FIRST_VECTOR = 0x50,
	NO_VECTOR = 0xffff,
	RSDP_XSDT = 24,
	TABLE_LENGTH = 4,
	TABLE_HEADER = 36,
	MCFG_ADDRESS = 44,
	MSIX_ENTRY = 16,
};

#define FEATURE_VERSION_1 (1U << (VIRTIO_F_VERSION_1 - 32))

/* One access of just this size: registers, and what the device writes. */
#define ACCESS(bits)                                                                               \
	static uint##bits##_t read##bits(uintptr_t address)                                        \
	{                                                                                          \
		return *(volatile uint##bits##_t *)address;                                        \
	}                                                                                          \
	static void write##bits(uintptr_t address, uint##bits##_t value)                           \
	{                                                                                          \
		*(volatile uint##bits##_t *)address = value;                                       \
	}
ACCESS(8)
ACCESS(16)
ACCESS(32)

/* ---- Where devices are ---- */

static uint64_t get64(const uint8_t *from)
{
	uint64_t value;

	__builtin_memcpy(&value, from, sizeof(value));
	return value;
}

/* Configuration space, as ACPI describes it. */
static uintptr_t find_ecam(const uint8_t *zero_page)
{
	const uint8_t *rsdp = (const uint8_t *)get64(zero_page + RSDP_PTR);
	const uint8_t *xsdt = (const uint8_t *)get64(rsdp + RSDP_XSDT);

	CHECK(starts_with((const char *)xsdt, "XSDT"));
	for (unsigned i = TABLE_HEADER; i < read32((uintptr_t)xsdt + TABLE_LENGTH); i += 8) {
		const uint8_t *table = (const uint8_t *)get64(xsdt + i);

		if (starts_with((const char *)table, "MCFG"))
			return get64(table + MCFG_ADDRESS);
	}
	guest_fail(__func__, __LINE__);
}

static void see_capability(struct virtio *v, unsigned capability)
{
	uintptr_t window = read32(v->pci + PCI_BASE_ADDRESS_0) & ~15UL, cap = v->pci + capability;
	uintptr_t address = window + read32(cap + 8);

	switch (read8(cap + 3)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		v->common = address;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		v->notify = address; /* of queue 0: its offset is checked below */
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		v->device = address;
		break;
	}
}

static void set_up_vectors(struct virtio *v, unsigned capability)
{
	uintptr_t cap = v->pci + capability;
	uintptr_t table = (read32(v->pci + PCI_BASE_ADDRESS_0) & ~15UL) +
			  (read32(cap + PCI_MSIX_TABLE) & ~7U);
	const unsigned vectors[] = { v->vector, v->config_vector };

	for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++) {
		write32(table + i * MSIX_ENTRY, LAPIC);
		write32(table + i * MSIX_ENTRY + 4, 0);
		write32(table + i * MSIX_ENTRY + 8, vectors[i]);
		write32(table + i * MSIX_ENTRY + 12, 0);
	}
	write16(cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
}

void virtio_open(struct virtio *v, unsigned id, const uint8_t *zero_page)
{
	uintptr_t ecam = find_ecam(zero_page);
	unsigned slot = 0;

	do {
		CHECK(++slot < SLOTS);
		v->pci = ecam + slot * 8UL * 4096;
	} while (read32(v->pci) != (VENDOR | (DEVICE_BASE + id) << 16));
	v->vector = FIRST_VECTOR + 2 * slot;
	v->config_vector = v->vector + 1;
	write16(v->pci + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (unsigned cap = read8(v->pci + PCI_CAPABILITY_LIST); cap;
	     cap = read8(v->pci + cap + 1)) {
		if (read8(v->pci + cap) == PCI_CAP_ID_VNDR)
			see_capability(v, cap);
		if (read8(v->pci + cap) == PCI_CAP_ID_MSIX)
			set_up_vectors(v, cap);
	}
	CHECK(v->common && v->notify);
}

/* ---- From reset to DRIVER_OK ---- */

uint8_t virtio_status(const struct virtio *v)
{
	return read8(v->common + VIRTIO_PCI_COMMON_STATUS);
}

static void set_status(const struct virtio *v, uint8_t status)
{
	write8(v->common + VIRTIO_PCI_COMMON_STATUS, status);
}

void virtio_reset(const struct virtio *v)
{
	set_status(v, 0);
	CHECK(virtio_status(v) == 0);
}

static void write_address(const struct virtio *v, unsigned field, uintptr_t address)
{
	write32(v->common + field, (uint32_t)address);
	write32(v->common + field + 4, (uint32_t)(address >> 32));
}

static void set_up_queue(const struct virtio *v, uintptr_t ring)
{
	uintptr_t common = v->common;

	write16(common + VIRTIO_PCI_COMMON_MSIX, 1);
	write16(common + VIRTIO_PCI_COMMON_Q_SELECT, 0);
	write16(common + VIRTIO_PCI_COMMON_Q_SIZE, QUEUE_SIZE);
	write16(common + VIRTIO_PCI_COMMON_Q_MSIX, 0);
	CHECK(read16(common + VIRTIO_PCI_COMMON_MSIX) != NO_VECTOR);
	CHECK(read16(common + VIRTIO_PCI_COMMON_Q_MSIX) != NO_VECTOR);
	CHECK(read16(common + VIRTIO_PCI_COMMON_Q_NOFF) == 0);
	write_address(v, VIRTIO_PCI_COMMON_Q_DESCLO, ring + offsetof(struct ring, desc));
	write_address(v, VIRTIO_PCI_COMMON_Q_AVAILLO, ring + offsetof(struct ring, avail));
	write_address(v, VIRTIO_PCI_COMMON_Q_USEDLO, ring + offsetof(struct ring, used));
	write16(common + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
}

void virtio_start_at(struct virtio *v, uintptr_t ring)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	virtio_reset(v);
	set_status(v, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	set_status(v, status);
	write32(v->common + VIRTIO_PCI_COMMON_GFSELECT, 1);
	write32(v->common + VIRTIO_PCI_COMMON_GF, FEATURE_VERSION_1);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	set_status(v, status);
	CHECK(virtio_status(v) == status);
	set_up_queue(v, ring);
	set_status(v, status | VIRTIO_CONFIG_S_DRIVER_OK);
}

void virtio_start(struct virtio *v)
{
	v->seen = 0;
	v->ring.avail.idx = v->ring.used.idx = 0;
	virtio_start_at(v, (uintptr_t)&v->ring);
	CHECK(!(virtio_status(v) & STATUS_NEEDS_RESET));
}

/* ---- Requests ---- */

void virtio_describe(struct virtio *v, unsigned index, uint64_t address, uint32_t length,
		     uint16_t flags)
{
	volatile struct desc *desc = &v->ring.desc[index];

	desc->address = address;
	desc->length = length;
	desc->flags = flags;
	desc->next = (uint16_t)(index + 1);
}

void virtio_offer(struct virtio *v, uint16_t head)
{
	uint16_t idx = v->ring.avail.idx;

	v->ring.avail.ring[idx % QUEUE_SIZE] = head;
	v->ring.avail.idx =
		(uint16_t)(idx + 1); /* x86 keeps the order of stores, volatile the compiler's */
}

void virtio_notify(const struct virtio *v)
{
	write16(v->notify, 0);
}

uint32_t virtio_call(struct virtio *v)
{
	unsigned before = interrupts[v->vector];

	virtio_offer(v, 0);
	virtio_notify(v);
	wait_for(v->vector, before);
	CHECK(v->ring.used.idx == (uint16_t)(v->seen + 1));
	CHECK(v->ring.used.ring[v->seen % QUEUE_SIZE].id == 0);
	return v->ring.used.ring[v->seen++ % QUEUE_SIZE].length;
}

void blk_describe(struct virtio *blk, struct blk_request *request, uint64_t data, uint32_t length)
{
	uint16_t write = request->type == BLK_IN ? DESC_WRITE : 0;
	unsigned last = length ? 2 : 1;

	virtio_describe(blk, 0, (uintptr_t)request, offsetof(struct blk_request, status),
			DESC_NEXT);
	virtio_describe(blk, 1, data, length, write | DESC_NEXT);
	virtio_describe(blk, last, (uintptr_t)&request->status, 1, DESC_WRITE);
}

uint8_t blk_call(struct virtio *blk, uint32_t type, uint64_t sector, volatile void *data,
		 uint32_t length)
{
	struct blk_request request = { .type = type, .sector = sector, .status = 0xff };

	blk_describe(blk, &request, (uintptr_t)data, length);
	CHECK(virtio_call(blk) > 0);
	__asm__ volatile("" : : : "memory"); /* the device has written */
	return request.status;
}

void rng_check(struct virtio *rng)
{
	static volatile uint64_t bytes[4], last[4];

	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		bytes[i] = last[i];
	virtio_describe(rng, 0, (uintptr_t)bytes, sizeof(bytes), DESC_WRITE);
	CHECK(virtio_call(rng) == sizeof(bytes));
	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++) {
		CHECK(bytes[i] != last[i]);
		last[i] = bytes[i];
	}
}
