/* SPDX-License-Identifier: Apache-2.0 */
#include "balloon.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "machine/state.h"

/*
 * Where the reporting queue is, drivers disagree about: the specification numbers absent queues too, Linux
 * counted only those that are there. So both places report. Statistics are queue 2, if taken.
 */
enum {
	INFLATE = 0,
	DEFLATE = 1,
	THIRD = 2,
	N_QUEUES = 5,
	QUEUE_SIZE = 128,
	TURN_MAX = 32,
	INFLATE_MAX = 8, /* in a turn: each may be PFNS_MAX system calls */
	PFNS_MAX = 1024, /* of a request; Linux sends 256 */
	PFNS_BLOCK = 256,
	STATS_MAX = 32, /* of an answer */
};

struct balloon {
	struct virtio_device device;
	struct virtq_chain chain;
	uint32_t target, actual; /* pages */
	struct balloon_stats stats;
	unsigned n_stats;
	bool stats_held; /* the guest's buffer: giving it back is the question */
	uint16_t stats_head;
};

static struct balloon *balloon_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct balloon, device);
}

/* ---- Pages ---- */

/* A run of pages that follow each other, in either direction. */
struct run {
	uint64_t first, n;
};

static void discard_run(const struct mem *mem, const struct run *run)
{
	void *at = mem_at(mem, run->first * MEM_PAGE, run->n * MEM_PAGE);

	if (at) /* what is no RAM is nothing to give back */
		(void)mem_discard(mem, at, run->n * MEM_PAGE);
}

static void add_page(const struct mem *mem, struct run *run, uint32_t pfn)
{
	if (pfn >= run->first && pfn < run->first + run->n) {
		return; /* again */
	} else if (run->n && pfn == run->first + run->n) {
		run->n++;
	} else if (run->n && (uint64_t)pfn + 1 == run->first) {
		run->first--;
		run->n++;
	} else {
		discard_run(mem, run);
		*run = (struct run){ pfn, 1 };
	}
}

static uint32_t inflate(struct virtio_device *device, struct virtq_chain *chain)
{
	struct run run = { 0 };
	size_t left = PFNS_MAX;

	while (left) {
		uint32_t pfn[PFNS_BLOCK];
		size_t n = virtq_chain_read(chain, pfn, sizeof(pfn)) / sizeof(pfn[0]);

		for (size_t i = 0; i < n; i++)
			add_page(device->mem, &run, pfn[i]);
		left -= n;
		if (n < PFNS_BLOCK)
			break;
	}
	discard_run(device->mem, &run);
	return 0;
}

/* Pages come back by being touched. */
static uint32_t deflate(struct virtio_device *device, struct virtq_chain *chain)
{
	(void)device;
	(void)chain;
	return 0;
}

/* Free pages are the buffers themselves. */
static uint32_t report(struct virtio_device *device, struct virtq_chain *chain)
{
	for (unsigned i = 0; i < chain->n_write; i++) {
		const struct iovec *iov = &chain->iov[chain->n_read + i];

		(void)mem_discard(device->mem, iov->iov_base, iov->iov_len);
	}
	return 0;
}

/* ---- Statistics ---- */

static void clear_stats(struct balloon_stats *stats)
{
	memset(stats, 0xff, sizeof(*stats));
}

static void read_stats(struct balloon *b)
{
	static const struct {
		uint16_t tag;
		size_t at;
	} known[] = {
		{ VIRTIO_BALLOON_S_MEMFREE, offsetof(struct balloon_stats, free) },
		{ VIRTIO_BALLOON_S_MEMTOT, offsetof(struct balloon_stats, total) },
		{ VIRTIO_BALLOON_S_AVAIL, offsetof(struct balloon_stats, available) },
		{ VIRTIO_BALLOON_S_CACHES, offsetof(struct balloon_stats, caches) },
	};
	struct virtio_balloon_stat stat;

	clear_stats(&b->stats);
	for (unsigned i = 0; i < STATS_MAX; i++) {
		if (virtq_chain_read(&b->chain, &stat, sizeof(stat)) < sizeof(stat))
			break;
		for (size_t k = 0; k < ARRAY_SIZE(known); k++)
			if (known[k].tag == stat.tag)
				memcpy((uint8_t *)&b->stats + known[k].at, &stat.val,
				       sizeof(stat.val));
	}
	b->n_stats++;
}

/* One buffer is kept; a driver that sends another gets the older one back. */
static void take_stats(struct balloon *b)
{
	for (unsigned n = 0; n < TURN_MAX; n++) {
		int r = virtio_pop(&b->device, THIRD, &b->chain);

		if (r < 0)
			return;
		if (r == 0) {
			if (!virtq_listen(&b->device.queue[THIRD]))
				return;
			continue;
		}
		read_stats(b);
		if (b->stats_held)
			virtio_complete(&b->device, THIRD, b->stats_head, 0, false);
		b->stats_held = true;
		b->stats_head = b->chain.head;
	}
	virtio_again(&b->device, THIRD);
}

/* ---- The device ---- */

static void on_notify(struct virtio_device *device, unsigned queue)
{
	struct balloon *b = balloon_of(device);

	if (queue == THIRD && virtio_has(device, VIRTIO_BALLOON_F_STATS_VQ))
		take_stats(b);
	else if (queue == INFLATE)
		virtio_each(device, queue, &b->chain, INFLATE_MAX, inflate);
	else if (queue == DEFLATE)
		virtio_each(device, queue, &b->chain, TURN_MAX, deflate);
	else if (virtio_has(device, VIRTIO_BALLOON_F_REPORTING))
		virtio_each(device, queue, &b->chain, TURN_MAX, report);
}

static void on_reset(struct virtio_device *device)
{
	struct balloon *b = balloon_of(device);

	b->stats_held = false;
	b->actual = 0;
}

static void on_config_read(struct virtio_device *device, uint32_t offset, void *data, size_t size)
{
	const struct balloon *b = balloon_of(device);
	uint32_t config[2] = { b->target, b->actual };

	memcpy(data, (const uint8_t *)config + offset, size);
}

static void on_config_write(struct virtio_device *device, uint32_t offset, const void *data,
			    size_t size)
{
	if (offset == offsetof(struct virtio_balloon_config, actual) && size == 4)
		memcpy(&balloon_of(device)->actual, data, size);
}

static void on_free(struct virtio_device *device)
{
	virtio_device_done(device);
	free(balloon_of(device));
}

#define BALLOON_TAG STATE_TAG('B', 'A', 'L', 'L')
enum { BALLOON_VERSION = 1 };

static int on_save(struct virtio_device *device, struct state_writer *writer)
{
	const struct balloon *b = balloon_of(device);

	state_begin(writer, BALLOON_TAG, BALLOON_VERSION);
	state_put_u32(writer, b->target);
	state_put_u32(writer, b->actual);
	state_put_u8(writer, b->stats_held);
	state_put_u16(writer, b->stats_head);
	return state_end(writer);
}

static int on_load(struct virtio_device *device, struct state_reader *reader)
{
	struct balloon *b = balloon_of(device);
	int r = state_enter(reader, BALLOON_TAG, BALLOON_VERSION);

	if (r < 0)
		return r;
	b->target = state_get_u32(reader);
	b->actual = state_get_u32(reader);
	b->stats_held = state_get_u8(reader);
	b->stats_head = state_get_u16(reader); /* virtq_push() minds what is in flight */
	return state_leave(reader);
}

static const struct virtio_ops balloon_ops = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON,
	.pci_class = 0x050000,
	.config_read = on_config_read,
	.config_write = on_config_write,
	.reset = on_reset,
	.notify = on_notify,
	.save = on_save,
	.load = on_load,
	.free = on_free,
};

int virtio_balloon_new(const struct mem *mem, struct worker *worker, struct virtio_device **ret,
		       venv_error **err)
{
	static const uint16_t sizes[N_QUEUES] = { QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE,
						  QUEUE_SIZE };
	uint64_t features = 1ULL << VIRTIO_BALLOON_F_STATS_VQ |
			    1ULL << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
			    1ULL << VIRTIO_BALLOON_F_REPORTING;
	struct balloon *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return venv__fail_nomem(err);
	clear_stats(&b->stats);
	b->device.config_size = offsetof(struct virtio_balloon_config, actual) + 4;
	r = virtio_device_init(&b->device, &balloon_ops, mem, worker, features, sizes, N_QUEUES,
			       err);
	if (r < 0) {
		free(b);
		return r;
	}
	*ret = &b->device;
	return 0;
}

void virtio_balloon_ask(struct virtio_device *device, uint64_t bytes)
{
	struct balloon *b = balloon_of(device);

	(void)pthread_mutex_lock(&device->lock);
	b->target = (uint32_t)MIN(bytes / MEM_PAGE, UINT32_MAX);
	virtio_config_changed(device);
	(void)pthread_mutex_unlock(&device->lock);
}

uint64_t virtio_balloon_size(struct virtio_device *device)
{
	uint64_t pages;

	(void)pthread_mutex_lock(&device->lock);
	pages = balloon_of(device)->actual;
	(void)pthread_mutex_unlock(&device->lock);
	return pages * MEM_PAGE;
}

void virtio_balloon_ask_stats(struct virtio_device *device)
{
	struct balloon *b = balloon_of(device);

	(void)pthread_mutex_lock(&device->lock);
	if (b->stats_held) {
		b->stats_held = false;
		virtio_complete(device, THIRD, b->stats_head, 0, false);
	}
	(void)pthread_mutex_unlock(&device->lock);
}

unsigned virtio_balloon_stats(struct virtio_device *device, struct balloon_stats *ret)
{
	const struct balloon *b = balloon_of(device);
	unsigned n;

	(void)pthread_mutex_lock(&device->lock);
	*ret = b->stats;
	n = b->n_stats;
	(void)pthread_mutex_unlock(&device->lock);
	return n;
}
