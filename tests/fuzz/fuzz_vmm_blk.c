/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver of virtio-blk: records that write to its memory, offer chains and ring. The device works
 * in this thread, the engine in its own.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtio/blk.h"

enum {
	RAM = 2 << 20,
	QUEUE = 64,
	DESC = 0x1000,
	AVAIL = 0x2000,
	USED = 0x3000,
	LENGTH = 200 * 1024
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct mem mem;
	struct loop *loop;
	struct worker *worker;
	struct disk *disk;
	struct virtio_device *device;
};

struct input {
	const uint8_t *data;
	size_t size;
};

static unsigned byte(struct input *in)
{
	if (!in->size)
		return 0;
	in->size--;
	return *in->data++;
}

static unsigned word(struct input *in)
{
	unsigned low = byte(in);

	return low | byte(in) << 8;
}

static void start(struct world *w)
{
	struct virtio_device *d = w->device;
	struct virtq *q;

	virtio_set_status(d, 0);
	virtio_set_status(d, VIRTIO_ACKNOWLEDGE);
	virtio_set_status(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	virtio_take(d, 0, virtio_offered(d, 0));
	virtio_take(d, 1, virtio_offered(d, 1));
	virtio_set_status(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	memset(mem_at(&w->mem, DESC, 0x3000), 0, 0x3000);
	q = virtio_setup_queue(d, 0);
	if (q) {
		q->size = QUEUE;
		q->desc = DESC;
		q->avail = AVAIL;
		q->used = USED;
		q->enabled = true;
	}
	virtio_set_status(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK |
				     VIRTIO_DRIVER_OK);
}

static void poke(struct world *w, struct input *in)
{
	uint64_t at = (uint64_t)word(in) << 4;
	unsigned n = byte(in) % 64;
	uint8_t bytes[64];

	for (unsigned i = 0; i < n; i++)
		bytes[i] = (uint8_t)byte(in);
	(void)mem_write(&w->mem, at, bytes, n);
}

struct desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

static void offer(struct world *w, struct input *in)
{
	struct desc *desc = mem_at(&w->mem, DESC, QUEUE * sizeof(*desc));
	uint16_t *avail = mem_at(&w->mem, AVAIL, 4 + 2 * QUEUE);
	unsigned first = byte(in) % QUEUE, n = 1 + byte(in) % 8;

	for (unsigned i = 0; i < n; i++) {
		unsigned kind = byte(in);

		desc[(first + i) % QUEUE] = (struct desc){
			.address = (uint64_t)word(in) << (kind & 16 ? 8 : 4),
			.length = word(in) << (kind & 32 ? 7 : 0),
			.flags = (uint16_t)((i + 1 < n) ^ (kind >> 7)) | (kind & 6),
			.next = (uint16_t)((first + i + 1) % QUEUE),
		};
	}
	avail[2 + avail[1] % QUEUE] = (uint16_t)first;
	avail[1]++;
}

static void ring(struct world *w)
{
	struct virtio_device *d = w->device;

	(void)pthread_mutex_lock(&d->lock);
	if (virtio_is_live(d) && d->queue[0].started) {
		d->ops->notify(d, 0);
		d->ops->drain(d);
	}
	(void)pthread_mutex_unlock(&d->lock);
}

static void configure(struct world *w, struct input *in)
{
	struct virtio_device *d = w->device;
	uint8_t value = (uint8_t)byte(in);

	(void)pthread_mutex_lock(&d->lock);
	d->ops->config_write(d, value & 64 ? 32 : value % 60, &value, 1);
	(void)pthread_mutex_unlock(&d->lock);
}

static void play(struct world *w, struct input *in)
{
	for (unsigned n = 0; in->size && n < 200; n++) {
		switch (byte(in) % 8) {
		case 0:
		case 1:
			poke(w, in);
			break;
		case 2:
		case 3:
		case 4:
			offer(w, in);
			break;
		case 5:
			configure(w, in);
			break;
		case 6:
			if (w->device->broken)
				start(w);
			break;
		default:
			ring(w);
		}
	}
	ring(w);
}

static int set_up(struct world *w)
{
	const struct disk_create create = { .format = DISK_QCOW2,
					    .length = LENGTH,
					    .cluster_bits = 12 };
	const struct disk_options options = { .format = DISK_QCOW2 };
	struct virtio_blk_options blk = { .engine = ENGINE_THREADS, .serial = "fuzz" };
	int fd = memfd_create("disk", MFD_CLOEXEC);

	w->loop = venv__loop_new();
	if (mem_init(&w->mem, RAM, -1, 0, NULL) < 0 || venv__disk_create(fd, &create, NULL) < 0 ||
	    venv__disk_open(fd, "disk", &options, &w->disk, NULL) < 0 ||
	    worker_adopt(w->loop, &w->worker, NULL) < 0)
		return -1;
	blk.disk = w->disk;
	return virtio_blk_new(&w->mem, w->worker, &blk, &w->device, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world
		w; /* threads are slow to make; the memory begins anew, the disk goes on */
	struct input in = { data, size };
	struct disk_check check;

	if (!w.device && set_up(&w) < 0)
		__builtin_trap();
	memset(mem_at(&w.mem, 0, RAM), 0, RAM);
	start(&w);
	play(&w, &in);
	virtio_set_status(w.device, 0);
	if (venv__disk_check(w.disk, &check, NULL) < 0 || check.errors)
		__builtin_trap();
	return 0;
}
