/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast virtio-blk is without a guest: requests through its queue, beside a loop of pread() or pwrite().
 *
 *   blk_bench FILE raw|qcow2|plain uring|threads read|write random|sequential SIZE DEPTH SECONDS
 *
 * Prints requests a second and MiB a second. "plain" is the loop, on FILE as it is. The file is written to.
 */
#include <endian.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/sys.h"
#include "virtio/blk.h"

enum {
	RAM = 512 << 20,
	QUEUE = 256,
	DESC = 0x1000,
	AVAIL = 0x3000,
	USED = 0x4000,
	HEADERS = 0x10000,
	BUFFERS = 0x100000
};

struct desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct bench {
	struct mem mem;
	struct virtio_device *device;
	struct disk *disk;
	uint64_t length, random, next;
	uint32_t size;
	unsigned depth;
	bool write, sequential;
	uint16_t *avail, *used, seen;
};

static uint64_t next_offset(struct bench *b)
{
	uint64_t n = b->length / b->size;

	if (b->sequential)
		return b->next++ % n * b->size;
	b->random = b->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (b->random >> 20) % n * b->size;
}

static void set_up(struct bench *b, struct loop *loop, enum engine_kind kind)
{
	struct virtio_blk_options options = { .disk = b->disk, .engine = kind };
	struct worker *worker;
	struct virtq *q;
	venv_error *err = NULL;

	if (mem_init(&b->mem, RAM, -1, 0, NULL) < 0 || worker_adopt(loop, &worker, NULL) < 0 ||
	    virtio_blk_new(&b->mem, worker, &options, &b->device, &err) < 0)
		abort();
	virtio_set_status(b->device, VIRTIO_ACKNOWLEDGE);
	virtio_set_status(b->device, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	virtio_take(b->device, 0, virtio_offered(b->device, 0) & ~(1U << VIRTIO_EVENT_IDX));
	virtio_take(b->device, 1, virtio_offered(b->device, 1));
	virtio_set_status(b->device, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	q = virtio_setup_queue(b->device, 0);
	q->size = QUEUE;
	q->desc = DESC;
	q->avail = AVAIL;
	q->used = USED;
	q->enabled = true;
	virtio_set_status(b->device, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK |
					     VIRTIO_DRIVER_OK);
	b->avail = mem_at(&b->mem, AVAIL, 1024);
	b->used = mem_at(&b->mem, USED, 4096);
	memset(mem_at(&b->mem, BUFFERS, 64 << 20), 1, 64 << 20);
}

/* Slot i has descriptors 3i to 3i+2 and its own buffer. */
static void offer(struct bench *b, unsigned i)
{
	struct desc *desc = (struct desc *)mem_at(&b->mem, DESC, QUEUE * sizeof(*desc)) + 3 * i;
	uint64_t header = HEADERS + 64ULL * i, status = header + 32;
	struct virtio_blk_outhdr out = { .type = b->write, .sector = next_offset(b) >> 9 };

	memcpy(mem_at(&b->mem, header, 16), &out, 16);
	desc[0] = (struct desc){ header, 16, 1, (uint16_t)(3 * i + 1) };
	desc[1] = (struct desc){ BUFFERS + (uint64_t)i * b->size, b->size,
				 (uint16_t)(b->write ? 1 : 3), (uint16_t)(3 * i + 2) };
	desc[2] = (struct desc){ status, 1, 2, 0 };
	b->avail[2 + b->avail[1] % QUEUE] = (uint16_t)(3 * i);
	__atomic_store_n(&b->avail[1], (uint16_t)(b->avail[1] + 1), __ATOMIC_RELEASE);
}

static uint64_t run_device(struct bench *b, struct loop *loop, uint64_t end)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < b->depth; i++)
		offer(b, i);
	while (venv__now_us() < end) {
		uint16_t used;

		(void)pthread_mutex_lock(&b->device->lock);
		b->device->ops->notify(b->device, 0);
		while ((used = __atomic_load_n(&b->used[1], __ATOMIC_ACQUIRE)) == b->seen)
			b->device->ops->drain(b->device);
		(void)pthread_mutex_unlock(&b->device->lock);
		for (; b->seen != used; b->seen++, n++) {
			uint32_t id;

			memcpy(&id, &b->used[2 + 4 * (b->seen % QUEUE)], 4);
			if (*(uint8_t *)mem_at(&b->mem, HEADERS + 64ULL * (id / 3) + 32, 1))
				abort();
			offer(b, id / 3);
		}
	}
	(void)loop;
	return n;
}

static uint64_t run_plain(struct bench *b, int fd, uint64_t end)
{
	char *data = memset(malloc(b->size), 1, b->size);
	uint64_t n = 0;

	for (; venv__now_us() < end; n++) {
		off_t at = (off_t)next_offset(b);

		if ((b->write ? pwrite(fd, data, b->size, at) : pread(fd, data, b->size, at)) < 0)
			abort();
	}
	free(data);
	return n;
}

int main(int argc, char **argv)
{
	struct bench b = { .random = 1 };
	struct disk_options options = { 0 };
	struct loop *loop = venv__loop_new();
	uint64_t start, n, us;
	int fd;

	if (argc != 9)
		return 2;
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	options.format = strcmp(argv[2], "qcow2") == 0 ? DISK_QCOW2 : DISK_RAW;
	b.write = strcmp(argv[4], "write") == 0;
	b.sequential = strcmp(argv[5], "sequential") == 0;
	b.size = (uint32_t)strtoul(argv[6], NULL, 0);
	b.depth = (unsigned)strtoul(argv[7], NULL, 0);
	us = strtoul(argv[8], NULL, 0) * 1000000;
	if (fd < 0 || b.depth > QUEUE / 3 ||
	    venv__disk_open(dup(fd), "disk", &options, &b.disk, NULL) < 0)
		return 1;
	b.length = venv__disk_length(b.disk);
	if (strcmp(argv[2], "plain") != 0)
		set_up(&b, loop, strcmp(argv[3], "uring") == 0 ? ENGINE_URING : ENGINE_THREADS);
	start = venv__now_us();
	n = b.device ? run_device(&b, loop, start + us) : run_plain(&b, fd, start + us);
	us = venv__now_us() - start;
	printf("%-6s %-7s %-5s %-10s %7u x%-2u %9.0f/s %8.1f MiB/s\n", argv[2],
	       b.device ? argv[3] : "", argv[4], argv[5], b.size, b.depth,
	       (double)n * 1e6 / (double)us, (double)n * b.size / (double)us);
	if (b.device)
		b.device->ops->free(b.device);
	(void)venv__disk_close(b.disk, NULL);
	return 0;
}
