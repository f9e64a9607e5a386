/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one piece of address space is reserved without rights, RAM is mapped into it at a
 * multiple of MEM_ALIGN (so that huge pages fit), and at least a page without rights is left on each
 * side: an access of ours that runs off the end faults instead of finding something. Both regions lie in
 * that piece one after the other, as they do in a file of suspended memory.
 */
#include "mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static int map_ram(uint8_t *host, uint64_t size, int fd, uint64_t offset, venv_error **err)
{
	int flags = MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0);

	if (mmap(host, size, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset) == MAP_FAILED)
		return venv__fail_errno(err, errno, "cannot map the memory of the machine");
	/* Advice: what the host does not know it may ignore. */
	(void)madvise(host, size, MADV_HUGEPAGE);
	(void)madvise(host, size, MADV_DONTDUMP);
	return 0;
}

static void add_region(struct mem *mem, uint64_t address, uint64_t size, uint8_t *host)
{
	if (size)
		mem->region[mem->n_regions++] = (struct mem_region){ address, size, host };
}

int mem_init(struct mem *mem, uint64_t size, int fd, uint64_t offset, venv_error **err)
{
	uint64_t low = MIN(size, MEM_HOLE);
	uint8_t *host;
	int r;

	*mem = (struct mem){ .file = fd >= 0 };
	if (!size || size % MEM_ALIGN || size > MEM_SIZE_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "no size of a memory: %llu bytes",
				  (unsigned long long)size);
	mem->map_size = size + 2 * MEM_ALIGN;
	mem->map = mmap(NULL, mem->map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);
	if (mem->map == MAP_FAILED) {
		mem->map = NULL;
		return venv__fail(err, VENV_ERR_HOST, "this host cannot map %llu MiB of memory",
				  (unsigned long long)size >> 20);
	}
	/* The first multiple beyond the first byte: there is room before it, and behind the end. */
	host = (uint8_t *)(((uintptr_t)mem->map / MEM_ALIGN + 1) * MEM_ALIGN);
	r = map_ram(host, size, fd, offset, err);
	if (r < 0) {
		mem_done(mem);
		return r;
	}
	add_region(mem, 0, low, host);
	add_region(mem, MEM_HIGH, size - low, host + low);
	return 0;
}

void mem_done(struct mem *mem)
{
	if (mem->map)
		(void)munmap(mem->map, mem->map_size);
	*mem = (struct mem){ 0 };
}

void *mem_at(const struct mem *mem, uint64_t address, uint64_t size)
{
	if (!size)
		return NULL;
	for (size_t i = 0; i < mem->n_regions; i++) {
		const struct mem_region *region = &mem->region[i];
		uint64_t offset = address - region->address; /* of an address below: huge */

		if (offset < region->size && size <= region->size - offset)
			return region->host + offset;
	}
	return NULL;
}

int mem_read(const struct mem *mem, uint64_t address, void *data, size_t size)
{
	const void *at = mem_at(mem, address, size);

	if (!at)
		return size ? -EFAULT : 0;
	memcpy(data, at, size);
	return 0;
}

int mem_write(const struct mem *mem, uint64_t address, const void *data, size_t size)
{
	void *at = mem_at(mem, address, size);

	if (!at)
		return size ? -EFAULT : 0;
	memcpy(at, data, size);
	return 0;
}

/*
 * Under a file, dropped pages show the file again: no secret (it was this guest's), but its page cache is
 * kept busy. Whole huge pages get new memory instead; smaller pieces would make too many mappings.
 */
int mem_discard(const struct mem *mem, void *at, uint64_t size)
{
	uintptr_t host = (uintptr_t)at;

	if (host % MEM_PAGE || size % MEM_PAGE)
		return -EINVAL;
	if (mem->file && host % MEM_ALIGN == 0 && size % MEM_ALIGN == 0 &&
	    map_ram(at, size, -1, 0, NULL) == 0)
		return 0;
	return madvise(at, size, MADV_DONTNEED) < 0 ? -errno : 0;
}
