/* SPDX-License-Identifier: Apache-2.0 */
#include "memfile.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 }; /* the grain of holes */

/* Compared with itself, a step aside: as fast as memory is. */
static bool is_zero(const uint8_t *data, size_t size)
{
	return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

static int write_at(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
	while (size) {
		ssize_t n = pwrite(fd, data, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* What is not zero, in runs as long as possible. */
static int write_region(const struct mem_region *region, int fd, uint64_t offset)
{
	uint64_t start = 0, at = 0;
	int r = 0;

	while (r == 0 && at < region->size) {
		bool zero = is_zero(region->host + at, CHUNK);

		if (zero && at > start)
			r = write_at(fd, region->host + start, at - start, offset + start);
		at += CHUNK;
		if (zero)
			start = at;
	}
	if (r == 0 && at > start)
		r = write_at(fd, region->host + start, at - start, offset + start);
	return r;
}

int memfile_write(const struct mem *mem, int fd)
{
	uint64_t offset = 0;
	int r = ftruncate(fd, 0) < 0 ? -errno : 0;

	for (size_t i = 0; r == 0 && i < mem->n_regions; i++) {
		r = write_region(&mem->region[i], fd, offset);
		offset += mem->region[i].size;
	}
	if (r == 0 && ftruncate(fd, (off_t)offset) < 0)
		r = -errno;
	return r;
}
