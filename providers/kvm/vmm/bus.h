/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address space of devices: ports or memory. Who answers an address is looked up here.
 *
 * What nobody answers reads as all ones and ignores writes, as on a real bus; so does an access that
 * crosses the end of a range. Ranges may be added, moved and removed while vCPUs run (a guest moves its
 * PCI windows): the table has a lock of its own, taken for reading while a handler runs, so a range that
 * bus_remove() took away is no longer being called. So handlers, on vCPU threads, must not add or remove
 * ranges: `written` may, which the bus calls after a write, without the lock, before the vCPU goes on.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * read and write may be NULL: all ones, ignored. offset: from the range's start. size: 1, 2, 4 or 8;
 * not always aligned. data: little-endian.
 */
struct bus_ops {
	void (*read)(void *user, uint64_t offset, void *data, size_t size);
	void (*write)(void *user, uint64_t offset, const void *data, size_t size);
	void (*written)(void *user); /* NULL: nothing to do */
};

struct bus_range {
	uint64_t address;
	uint64_t size;
	const struct bus_ops *ops;
	void *user;
};

enum { BUS_RANGES_MAX = 128 };

struct bus {
	pthread_rwlock_t lock;
	struct bus_range ranges[BUS_RANGES_MAX]; /* sorted, apart */
	size_t n_ranges;
};

int bus_init(struct bus *bus); /* 0 or -errno */
void bus_done(struct bus *bus);
/* @return 0; -EEXIST: overlaps another; -ENOSPC; -EINVAL: empty or wraps */
int bus_add(struct bus *bus, uint64_t address, uint64_t size, const struct bus_ops *ops,
	    void *user);
void bus_remove(struct bus *bus, uint64_t address); /* what begins there, if anything does */
bool bus_is_free(struct bus *bus, uint64_t address, uint64_t size);
void bus_read(struct bus *bus, uint64_t address, void *data, size_t size);
void bus_write(struct bus *bus, uint64_t address, const void *data, size_t size);

#endif
