/* SPDX-License-Identifier: Apache-2.0 */
#include "pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "machine/state.h"

enum {
	CF8_ENABLE_BIT = 31,
	ECAM_FUNCTION_SIZE = 4096,
	ECAM_SIZE = 256 * ECAM_FUNCTION_SIZE, /* a bus: 32 slots of 8 functions */
	COMMAND_WRITABLE = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
			   PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE,
};

/* ---- Functions ---- */

static void put16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

void pci_function_init(struct pci_function *function, const struct pci_id *id,
		       const struct pci_ops *ops, void *user)
{
	uint8_t *config = function->config, *mask = function->mask;

	*function = (struct pci_function){ .ops = ops, .user = user, .cap_end = 0x40 };
	put16(config + PCI_VENDOR_ID, id->vendor);
	put16(config + PCI_DEVICE_ID, id->device);
	put32(config + PCI_CLASS_REVISION, id->class_code << 8 | id->revision);
	put16(config + PCI_SUBSYSTEM_VENDOR_ID, id->subsystem_vendor);
	put16(config + PCI_SUBSYSTEM_ID, id->subsystem);
	put16(mask + PCI_COMMAND, COMMAND_WRITABLE);
	mask[PCI_CACHE_LINE_SIZE] = 0xff;
	mask[PCI_INTERRUPT_LINE] = 0xff; /* firmware keeps a note there */
}

void pci_add_bar(struct pci_function *function, unsigned bar, uint32_t size,
		 const struct bus_ops *ops)
{
	function->bar[bar] = (struct pci_bar){ .size = size, .ops = ops };
	put32(function->mask + PCI_BASE_ADDRESS_0 + 4 * bar, ~(size - 1));
}

int pci_add_capability(struct pci_function *function, uint8_t id, const void *body,
		       const void *mask, size_t size)
{
	uint8_t at = function->cap_end;
	size_t end = (at + 2 + size + 3) & ~(size_t)3;

	if (end > 0xfc) /* so that cap_end stays a byte */
		return -ENOSPC;
	function->config[at] = id;
	memcpy(function->config + at + 2, body, size);
	if (mask)
		memcpy(function->mask + at + 2, mask, size);
	if (function->last_cap)
		function->config[function->last_cap + 1] = at;
	else
		function->config[PCI_CAPABILITY_LIST] = at;
	function->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	function->last_cap = at;
	function->cap_end = (uint8_t)end;
	return at;
}

int pci_add(struct pci *pci, unsigned slot, struct pci_function *function)
{
	int r = 0;

	if (slot >= PCI_SLOTS)
		return -EINVAL;
	(void)pthread_mutex_lock(&pci->lock);
	if (pci->function[slot]) {
		r = -EEXIST;
	} else {
		pci->function[slot] = function;
		function->pci = pci;
	}
	(void)pthread_mutex_unlock(&pci->lock);
	return r;
}

void pci_remove(struct pci_function *function)
{
	struct pci *pci = function->pci;

	if (!pci)
		return;
	(void)pthread_mutex_lock(&pci->moving);
	pci_bars_unmap(function);
	(void)pthread_mutex_lock(&pci->lock);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		if (pci->function[slot] == function)
			pci->function[slot] = NULL;
	function->pci = NULL;
	(void)pthread_mutex_unlock(&pci->lock);
	(void)pthread_mutex_unlock(&pci->moving);
}

/* ---- Configuration space ---- */

/* Under lock. Beyond the 256 bytes there is nobody: zeroes would be an empty list of more, which kernels look for. */
static void config_read(struct pci_function *function, unsigned offset, uint8_t *data, size_t size)
{
	memset(data, 0xff, size);
	if (offset + size > PCI_CONFIG_SIZE)
		return;
	if (function->ops && function->ops->config_read)
		function->ops->config_read(function->user, offset, size);
	memcpy(data, function->config + offset, size);
}

static bool overlaps(unsigned offset, size_t size, unsigned start, unsigned end)
{
	return offset < end && offset + size > start;
}

/* Under lock. */
static void config_write(struct pci_function *function, unsigned offset, const uint8_t *data,
			 size_t size)
{
	if (offset + size > PCI_CONFIG_SIZE)
		return;
	for (size_t i = 0; i < size; i++) {
		uint8_t *at = &function->config[offset + i];
		uint8_t mask = function->mask[offset + i];

		*at = (uint8_t)((*at & ~mask) | (data[i] & mask));
	}
	if (overlaps(offset, size, PCI_COMMAND, PCI_COMMAND + 2) ||
	    overlaps(offset, size, PCI_BASE_ADDRESS_0, PCI_CARDBUS_CIS))
		function->pci->dirty = true;
	if (function->ops && function->ops->config_written)
		function->ops->config_written(function->user, offset, size);
}

/* Who is there: only functions 0, of bus 0. */
static struct pci_function *function_at(struct pci *pci, unsigned bus, unsigned devfn)
{
	return bus || devfn % 8 ? NULL : pci->function[devfn / 8];
}

/* ---- By ports ---- */

/* The register that an access to 0xcfc + byte means: its function and offset. Under lock. */
static struct pci_function *selected(struct pci *pci, unsigned byte, unsigned *ret_offset)
{
	uint32_t selected = pci->selected;

	*ret_offset = (selected & 0xfc) + byte;
	if (!(selected >> CF8_ENABLE_BIT))
		return NULL;
	return function_at(pci, (selected >> 16) & 0xff, (selected >> 8) & 0xff);
}

static void port_read(void *user, uint64_t offset, void *data, size_t size)
{
	struct pci *pci = user;
	struct pci_function *function;
	unsigned at;

	(void)pthread_mutex_lock(&pci->lock);
	if (offset == 0 && size == 4) {
		memcpy(data, &pci->selected, 4);
	} else if (offset >= 4) {
		function = selected(pci, (unsigned)offset - 4, &at);
		if (function)
			config_read(function, at, data, size);
	}
	(void)pthread_mutex_unlock(&pci->lock);
}

static void port_write(void *user, uint64_t offset, const void *data, size_t size)
{
	struct pci *pci = user;
	struct pci_function *function;
	unsigned at;

	(void)pthread_mutex_lock(&pci->lock);
	if (offset == 0 && size == 4) {
		memcpy(&pci->selected, data, 4);
	} else if (offset >= 4) {
		function = selected(pci, (unsigned)offset - 4, &at);
		if (function)
			config_write(function, at, data, size);
	}
	(void)pthread_mutex_unlock(&pci->lock);
}

static void written(void *user)
{
	pci_bars_settle(user);
}

static const struct bus_ops port_ops = { port_read, port_write, written };

/* ---- By ECAM ---- */

static struct pci_function *ecam_function(struct pci *pci, uint64_t offset, size_t size)
{
	if (offset % ECAM_FUNCTION_SIZE + size > ECAM_FUNCTION_SIZE)
		return NULL;
	return function_at(pci, 0, (unsigned)(offset / ECAM_FUNCTION_SIZE));
}

static void ecam_read(void *user, uint64_t offset, void *data, size_t size)
{
	struct pci *pci = user;
	struct pci_function *function;

	(void)pthread_mutex_lock(&pci->lock);
	function = ecam_function(pci, offset, size);
	if (function)
		config_read(function, (unsigned)(offset % ECAM_FUNCTION_SIZE), data, size);
	(void)pthread_mutex_unlock(&pci->lock);
}

static void ecam_write(void *user, uint64_t offset, const void *data, size_t size)
{
	struct pci *pci = user;
	struct pci_function *function;

	(void)pthread_mutex_lock(&pci->lock);
	function = ecam_function(pci, offset, size);
	if (function)
		config_write(function, (unsigned)(offset % ECAM_FUNCTION_SIZE), data, size);
	(void)pthread_mutex_unlock(&pci->lock);
}

static const struct bus_ops ecam_ops = { ecam_read, ecam_write, written };

/* ---- The bus ---- */

int pci_init(struct pci *pci, struct bus *ports, struct bus *memory, const struct mem *mem,
	     uint64_t ecam)
{
	static const struct pci_id bridge = {
		.vendor = PCI_VENDOR_INTEL,
		.device = 0x0d57, /* what firmware for small monitors knows */
		.class_code = 0x060000,
	};
	int r;

	*pci = (struct pci){ .ports = ports, .memory = memory, .mem = mem, .ecam = ecam };
	(void)pthread_mutex_init(&pci->lock, NULL);
	(void)pthread_mutex_init(&pci->moving, NULL);
	pci_function_init(&pci->bridge, &bridge, NULL, NULL);
	(void)pci_add(pci, 0, &pci->bridge);
	r = bus_add(ports, PCI_PORT, PCI_PORT_SIZE, &port_ops, pci);
	if (r == 0 && ecam) {
		r = bus_add(memory, ecam, ECAM_SIZE, &ecam_ops, pci);
		if (r < 0)
			bus_remove(ports, PCI_PORT);
	}
	return r;
}

void pci_done(struct pci *pci)
{
	bus_remove(pci->ports, PCI_PORT);
	if (pci->ecam)
		bus_remove(pci->memory, pci->ecam);
	(void)pthread_mutex_destroy(&pci->moving);
	(void)pthread_mutex_destroy(&pci->lock);
}

/* What a guest wrote, gone. */
static void clear_written(struct pci_function *function)
{
	for (size_t i = 0; i < PCI_CONFIG_SIZE; i++)
		function->config[i] &= (uint8_t)~function->mask[i];
}

void pci_reset(struct pci *pci)
{
	pci->selected = 0;
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		struct pci_function *function = pci->function[slot];

		if (!function)
			continue;
		pci_bars_unmap(function);
		for (unsigned bar = 0; bar < PCI_BARS; bar++)
			function->bar[bar].good = 0;
		clear_written(function);
		if (function->ops && function->ops->reset)
			function->ops->reset(function->user);
	}
}

/* ---- State ---- */

#define PCI_TAG STATE_TAG('P', 'C', 'I', 'B')
#define FUNCTION_TAG STATE_TAG('P', 'C', 'I', 'F')
enum { PCI_VERSION = 1, FUNCTION_VERSION = 1 };

static int save_function(struct pci_function *function, unsigned slot, struct state_writer *writer)
{
	int r;

	state_begin(writer, FUNCTION_TAG, FUNCTION_VERSION);
	state_put_u8(writer, (uint8_t)slot);
	state_put_u16(writer, (uint16_t)(function->config[PCI_DEVICE_ID] |
					 function->config[PCI_DEVICE_ID + 1] << 8));
	for (unsigned bar = 0; bar < PCI_BARS; bar++)
		state_put_u32(writer, function->bar[bar].good);
	state_put(writer, function->config, PCI_CONFIG_SIZE);
	r = state_end(writer);
	if (r == 0 && function->ops && function->ops->save)
		r = function->ops->save(function->user, writer);
	return r;
}

int pci_save(struct pci *pci, struct state_writer *writer)
{
	int r;

	state_begin(writer, PCI_TAG, PCI_VERSION);
	state_put_u32(writer, pci->selected);
	r = state_end(writer);
	for (unsigned slot = 0; slot < PCI_SLOTS && r == 0; slot++)
		if (pci->function[slot])
			r = save_function(pci->function[slot], slot, writer);
	return r;
}

static int load_function(struct pci_function *function, unsigned slot, struct state_reader *reader)
{
	uint8_t config[PCI_CONFIG_SIZE];
	int r = state_enter(reader, FUNCTION_TAG, FUNCTION_VERSION);

	if (r < 0)
		return r;
	if (state_get_u8(reader) != slot ||
	    state_get_u16(reader) !=
		    (function->config[PCI_DEVICE_ID] | function->config[PCI_DEVICE_ID + 1] << 8))
		return -EPROTO;
	for (unsigned bar = 0; bar < PCI_BARS; bar++)
		function->bar[bar].good = state_get_u32(reader) & ~(function->bar[bar].size - 1);
	state_get(reader, config, sizeof(config));
	r = state_leave(reader);
	if (r < 0)
		return r;
	for (size_t i = 0; i < PCI_CONFIG_SIZE; i++)
		function->config[i] = (uint8_t)((function->config[i] & ~function->mask[i]) |
						(config[i] & function->mask[i]));
	return function->ops && function->ops->load ? function->ops->load(function->user, reader)
						    : 0;
}

int pci_load(struct pci *pci, struct state_reader *reader)
{
	int r = state_enter(reader, PCI_TAG, PCI_VERSION);

	if (r < 0)
		return r;
	pci->selected = state_get_u32(reader);
	r = state_leave(reader);
	for (unsigned slot = 0; slot < PCI_SLOTS && r == 0; slot++)
		if (pci->function[slot])
			r = load_function(pci->function[slot], slot, reader);
	pci->dirty = true;
	if (r == 0)
		pci_bars_settle(pci); /* windows come back where the registers say */
	return r;
}
