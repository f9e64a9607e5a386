/* SPDX-License-Identifier: Apache-2.0 */
#include "bus.h"

#include <errno.h>
#include <string.h>

int bus_init(struct bus *bus)
{
	bus->n_ranges = 0;
	return -pthread_rwlock_init(&bus->lock, NULL);
}

void bus_done(struct bus *bus)
{
	(void)pthread_rwlock_destroy(&bus->lock);
}

/* The place of the first range that ends above address. */
static size_t place_of(const struct bus *bus, uint64_t address)
{
	size_t low = 0, high = bus->n_ranges;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct bus_range *range = &bus->ranges[middle];

		if (range->address + (range->size - 1) < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_free(const struct bus *bus, size_t place, uint64_t last)
{
	return place == bus->n_ranges || bus->ranges[place].address > last;
}

int bus_add(struct bus *bus, uint64_t address, uint64_t size, const struct bus_ops *ops, void *user)
{
	uint64_t last = address + (size - 1);
	size_t place;
	int r = 0;

	if (!size || last < address)
		return -EINVAL;
	(void)pthread_rwlock_wrlock(&bus->lock);
	place = place_of(bus, address);
	if (!is_free(bus, place, last)) {
		r = -EEXIST;
	} else if (bus->n_ranges == BUS_RANGES_MAX) {
		r = -ENOSPC;
	} else {
		memmove(&bus->ranges[place + 1], &bus->ranges[place],
			(bus->n_ranges - place) * sizeof(bus->ranges[0]));
		bus->ranges[place] = (struct bus_range){ address, size, ops, user };
		bus->n_ranges++;
	}
	(void)pthread_rwlock_unlock(&bus->lock);
	return r;
}

void bus_remove(struct bus *bus, uint64_t address)
{
	size_t place;

	(void)pthread_rwlock_wrlock(&bus->lock);
	place = place_of(bus, address);
	if (place < bus->n_ranges && bus->ranges[place].address == address) {
		bus->n_ranges--;
		memmove(&bus->ranges[place], &bus->ranges[place + 1],
			(bus->n_ranges - place) * sizeof(bus->ranges[0]));
	}
	(void)pthread_rwlock_unlock(&bus->lock);
}

bool bus_is_free(struct bus *bus, uint64_t address, uint64_t size)
{
	uint64_t last = address + (size - 1);
	bool free;

	if (!size || last < address)
		return false;
	(void)pthread_rwlock_rdlock(&bus->lock);
	free = is_free(bus, place_of(bus, address), last);
	(void)pthread_rwlock_unlock(&bus->lock);
	return free;
}

/* Who answers all of the access; KVM may cut one that crosses a page into odd sizes: nobody does. */
static const struct bus_range *find(const struct bus *bus, uint64_t address, size_t size)
{
	size_t place = place_of(bus, address);
	const struct bus_range *range = &bus->ranges[place];
	uint64_t offset;

	if (place == bus->n_ranges || (size != 1 && size != 2 && size != 4 && size != 8))
		return NULL;
	offset = address - range->address; /* of an address below: huge */
	return offset < range->size && size <= range->size - offset ? range : NULL;
}

void bus_read(struct bus *bus, uint64_t address, void *data, size_t size)
{
	const struct bus_range *range;

	memset(data, 0xff, size);
	(void)pthread_rwlock_rdlock(&bus->lock);
	range = find(bus, address, size);
	if (range && range->ops->read)
		range->ops->read(range->user, address - range->address, data, size);
	(void)pthread_rwlock_unlock(&bus->lock);
}

void bus_write(struct bus *bus, uint64_t address, const void *data, size_t size)
{
	const struct bus_range *range;
	void (*written)(void *user) = NULL;
	void *user = NULL;

	(void)pthread_rwlock_rdlock(&bus->lock);
	range = find(bus, address, size);
	if (range && range->ops->write) {
		range->ops->write(range->user, address - range->address, data, size);
		written = range->ops->written;
		user = range->user;
	}
	(void)pthread_rwlock_unlock(&bus->lock);
	if (written)
		written(user);
}
