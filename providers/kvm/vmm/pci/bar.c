/* SPDX-License-Identifier: Apache-2.0 */
/* Windows on the memory bus: where the registers want them, if they may be there. See pci.h. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "machine/layout.h"
#include "pci.h"

static uint32_t get_register(const struct pci_function *function, unsigned bar)
{
	uint32_t value;

	memcpy(&value, function->config + PCI_BASE_ADDRESS_0 + 4 * bar, sizeof(value));
	return value;
}

static void set_register(struct pci_function *function, unsigned bar, uint32_t value)
{
	memcpy(function->config + PCI_BASE_ADDRESS_0 + 4 * bar, &value, sizeof(value));
}

/* Not RAM, and below the interrupt controllers and the ROM. What else there is, the bus knows. */
static bool may_be_at(const struct pci *pci, uint64_t address, uint64_t size)
{
	if (!address || address + size > LAYOUT_IOAPIC)
		return false;
	for (size_t i = 0; i < pci->mem->n_regions; i++) {
		const struct mem_region *region = &pci->mem->region[i];

		if (address < region->address + region->size && region->address < address + size)
			return false;
	}
	return true;
}

static int map(struct pci_function *function, struct pci_bar *bar, uint32_t address)
{
	if (!may_be_at(function->pci, address, bar->size))
		return -EINVAL;
	return bus_add(function->pci->memory, address, bar->size, bar->ops, function->user);
}

static void tell(struct pci_function *function, unsigned i)
{
	if (function->ops && function->ops->mapped)
		function->ops->mapped(function->user, i, function->bar[i].address);
}

static void unmap(struct pci_function *function, unsigned i)
{
	struct pci_bar *bar = &function->bar[i];

	if (!bar->address)
		return;
	bus_remove(function->pci->memory, bar->address);
	bar->address = 0;
	tell(function, i);
}

void pci_bars_unmap(struct pci_function *function)
{
	for (unsigned i = 0; i < PCI_BARS; i++)
		unmap(function, i);
}

/* Under moving: from where it is to where it should be, or back to where it was. */
static void move(struct pci_function *function, unsigned i, uint32_t wanted)
{
	struct pci_bar *bar = &function->bar[i];
	uint32_t back = bar->good;

	unmap(function, i);
	if (map(function, bar, wanted) == 0)
		bar->address = wanted;
	else if (back && map(function, bar, back) == 0)
		bar->address = back;
	else
		return; /* decoding, and nowhere to be found: the register keeps what was written */
	bar->good = bar->address;
	tell(function, i);
	(void)pthread_mutex_lock(&function->pci->lock);
	if (get_register(function, i) == wanted) /* nobody wrote it again meanwhile */
		set_register(function, i, bar->address);
	(void)pthread_mutex_unlock(&function->pci->lock);
}

static void settle(struct pci_function *function)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &function->bar[i];
		uint32_t wanted;
		bool decode;

		if (!bar->size)
			continue;
		(void)pthread_mutex_lock(&function->pci->lock);
		decode = function->config[PCI_COMMAND] & PCI_COMMAND_MEMORY;
		wanted = get_register(function, i);
		(void)pthread_mutex_unlock(&function->pci->lock);
		if (!decode)
			unmap(function, i);
		else if ((!bar->address || wanted != bar->address) && wanted != ~(bar->size - 1))
			move(function, i, wanted);
	}
}

void pci_bars_settle(struct pci *pci)
{
	bool dirty;

	/* Whoever finds nothing to do has waited for who is doing it. */
	(void)pthread_mutex_lock(&pci->moving);
	(void)pthread_mutex_lock(&pci->lock);
	dirty = pci->dirty;
	pci->dirty = false;
	(void)pthread_mutex_unlock(&pci->lock);
	for (unsigned slot = 0; dirty && slot < PCI_SLOTS; slot++)
		if (pci->function[slot])
			settle(pci->function[slot]);
	(void)pthread_mutex_unlock(&pci->moving);
}

/* The first place at or above address that is free, or 0. */
static uint32_t find_place(const struct pci *pci, uint32_t size, uint64_t address, uint64_t end)
{
	for (address = (address + size - 1) & ~(uint64_t)(size - 1); address + size <= end;
	     address += size)
		if (may_be_at(pci, address, size) && bus_is_free(pci->memory, address, size))
			return (uint32_t)address;
	return 0;
}

int pci_assign(struct pci *pci, uint32_t start, uint32_t end)
{
	uint64_t next = start;

	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		struct pci_function *function = pci->function[slot];

		for (unsigned i = 0; function && i < PCI_BARS; i++) {
			struct pci_bar *bar = &function->bar[i];
			uint32_t address;

			if (!bar->size || get_register(function, i))
				continue;
			address = find_place(pci, bar->size, next, end);
			if (!address)
				return -ENOSPC;
			set_register(function, i, address);
			bar->good = address;
			next = (uint64_t)address + bar->size;
		}
	}
	return 0;
}
