/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: the one place where a guest's physical address becomes a pointer of ours.
 *
 * RAM lies in at most two regions, below MEM_HOLE and from 4 GiB on, which the memory map keeps apart
 * (machine/layout.h): a range that the guest names lies in one region as a whole or is no RAM. Regions
 * are made before the first vCPU runs and never change. Any thread may translate. What lies behind a
 * pointer changes under our eyes: read a value once, into a variable of ours, then look at it.
 */
#ifndef VMM_MEM_H
#define VMM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define MEM_HOLE 0xc0000000ULL  /* end of RAM below 4 GiB: the 32-bit window follows */
#define MEM_HIGH 0x100000000ULL /* where the rest goes on */
#define MEM_ALIGN (2ULL << 20)  /* of sizes, and of the host's mapping: huge pages need it */
#define MEM_PAGE 4096ULL        /* the guest's small page, and ours */
#define MEM_SIZE_MAX (1ULL << 40)

struct mem_region {
	uint64_t address; /* the guest's */
	uint64_t size;
	uint8_t *host;
};

struct mem {
	struct mem_region region[2];
	size_t n_regions;
	bool file; /* over a file, not over zeroes */
	void *map; /* what mem_done() gives back */
	size_t map_size;
};

/*
 * size bytes of zeroes, made when they are touched; a multiple of MEM_ALIGN. fd: -1, or a file whose
 * content is copied on write (a suspended machine's memory), from offset on.
 * @return 0, VENV_ERR_INVALID (size), VENV_ERR_HOST (more than the host can map) or VENV_ERR_SYSTEM
 */
int mem_init(struct mem *mem, uint64_t size, int fd, uint64_t offset, venv_error **err);
void mem_done(struct mem *mem);

/* All of [address, address + size) as one piece of RAM, or NULL. A size of 0 is NULL. */
void *mem_at(const struct mem *mem, uint64_t address, uint64_t size);
/* @return 0, or -EFAULT and nothing copied */
int mem_read(const struct mem *mem, uint64_t address, void *data, size_t size);
int mem_write(const struct mem *mem, uint64_t address, const void *data, size_t size);
/*
 * Give pages back to the host; what was in them is lost, what is read there next is zeroes or older. at:
 * from mem_at().
 * @return 0; -EINVAL: not whole pages; another -errno: nothing was given back
 */
int mem_discard(const struct mem *mem, void *at, uint64_t size);

#endif
