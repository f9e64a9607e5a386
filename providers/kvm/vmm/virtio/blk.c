/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk: the device around its requests (blk_request.c) and what they do (blk_io.c). */
#include "blk.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "blk_internal.h"
#include "machine/state.h"

enum {
	TURN_MAX = 128,
	CONFIG_SIZE = offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4,
	PHYSICAL_EXPONENT = 3, /* physical blocks of 4096 bytes */
};

#define BLK_TAG STATE_TAG('B', 'L', 'K', ' ')
enum { BLK_VERSION = 1 };

/* ---- work ---------------------------------------------------------------------------------------------- */

/* Tell the guest of what was answered, once for each queue. */
static void signal_guest(struct blk *blk)
{
	for (unsigned i = 0; blk->answered; i++, blk->answered >>= 1) {
		if (blk->answered & 1)
			virtio_signal(&blk->device, i);
	}
}

/* What can be had at once is answered in the same turn. */
static void run_engine(struct blk *blk)
{
	engine_start(blk->engine);
	engine_poll(blk->engine);
	signal_guest(blk);
}

static void flush_earlier_writes(struct blk *blk)
{
	venv_error *error = NULL;

	blk->flush_due = false;
	if (venv__disk_flush(blk->disk, &error) < 0)
		blk_warn(blk, error);
	venv_error_free(error);
}

static void on_notify(struct virtio_device *device, unsigned queue)
{
	struct blk *blk = blk_of(device);
	struct virtq *q = &device->queue[queue];
	unsigned n = 0;

	if (blk->flush_due)
		flush_earlier_writes(blk);
	virtq_mute(q);
	while (n < TURN_MAX) {
		int r = virtio_pop(device, queue, &blk->chain);

		if (r < 0)
			break;
		if (r > 0) {
			blk_begin(blk, queue);
			n++;
		} else if (!virtq_listen(q)) {
			break;
		} else {
			virtq_mute(q);
		}
	}
	if (n == TURN_MAX)
		virtio_again(device, queue);
	run_engine(blk);
}

static void on_engine(void *user, int fd, uint32_t events)
{
	struct blk *blk = user;

	(void)fd;
	(void)events;
	(void)pthread_mutex_lock(&blk->device.lock);
	run_engine(blk);
	(void)pthread_mutex_unlock(&blk->device.lock);
}

static void on_drain(struct virtio_device *device)
{
	struct blk *blk = blk_of(device);

	engine_drain(blk->engine);
	signal_guest(blk);
}

static void on_reset(struct virtio_device *device)
{
	on_drain(device);
	blk_of(device)->config.wce = 1;
}

/* ---- configuration ---------------------------------------------------------------------------------------- */

static void on_config_read(struct virtio_device *device, uint32_t offset, void *data, size_t size)
{
	memcpy(data, (const uint8_t *)&blk_of(device)->config + offset, size);
}

/* One byte may be written: whether writes last only after a flush. The flush itself is the worker's. */
static void on_config_write(struct virtio_device *device, uint32_t offset, const void *data,
			    size_t size)
{
	struct blk *blk = blk_of(device);

	if (offset != offsetof(struct virtio_blk_config, wce) || size != 1 ||
	    !virtio_has(device, VIRTIO_BLK_F_CONFIG_WCE))
		return;
	blk->config.wce = *(const uint8_t *)data & 1;
	if (!blk->config.wce) {
		blk->flush_due = true;
		virtio_again(device, 0);
	}
}

static void fill_config(struct blk *blk)
{
	struct virtio_blk_config *c = &blk->config;
	uint32_t granularity = venv__disk_granularity(blk->disk);

	c->capacity = htole64(venv__disk_length(blk->disk) >> SECTOR_SHIFT);
	c->seg_max = htole32(BLK_QUEUE_SIZE - 2); /* header and status are descriptors too */
	c->blk_size = htole32(SECTOR_SIZE);
	c->physical_block_exp = PHYSICAL_EXPONENT;
	c->min_io_size = htole16(1 << PHYSICAL_EXPONENT);
	c->opt_io_size = htole32(granularity / SECTOR_SIZE);
	c->wce = 1;
	c->num_queues = htole16((uint16_t)blk->device.n_queues);
	c->max_discard_sectors = htole32(BLK_DISCARD_MAX);
	c->max_discard_seg = htole32(BLK_SEGMENTS_MAX);
	c->discard_sector_alignment = htole32(MAX(granularity / SECTOR_SIZE, 1U));
	c->max_write_zeroes_sectors = htole32(BLK_ZEROES_MAX);
	c->max_write_zeroes_seg = htole32(BLK_SEGMENTS_MAX);
	c->write_zeroes_may_unmap = 1;
}

static uint64_t features_of(struct disk *disk, unsigned n_queues)
{
	uint64_t features = 1ULL << VIRTIO_BLK_F_SEG_MAX | 1ULL << VIRTIO_BLK_F_BLK_SIZE |
			    1ULL << VIRTIO_BLK_F_TOPOLOGY | 1ULL << VIRTIO_BLK_F_FLUSH;

	if (n_queues > 1)
		features |= 1ULL << VIRTIO_BLK_F_MQ;
	if (venv__disk_is_read_only(disk))
		return features | 1ULL << VIRTIO_BLK_F_RO;
	return features | 1ULL << VIRTIO_BLK_F_CONFIG_WCE | 1ULL << VIRTIO_BLK_F_DISCARD |
	       1ULL << VIRTIO_BLK_F_WRITE_ZEROES;
}

/* ---- state: requests are drained, content and length are the disk's ---------------------------------------- */

/* The disk's files are as the guest's memory believes: whoever copies both copies one moment. */
static int on_save(struct virtio_device *device, struct state_writer *writer)
{
	struct blk *blk = blk_of(device);
	venv_error *error = NULL;

	if (!venv__disk_is_read_only(blk->disk) && venv__disk_flush(blk->disk, &error) < 0) {
		blk_warn(blk, error);
		venv_error_free(error);
		return -EIO;
	}
	state_begin(writer, BLK_TAG, BLK_VERSION);
	state_put_u64(writer, le64toh(blk->config.capacity));
	state_put_u8(writer, blk->config.wce);
	return state_end(writer);
}

static int on_load(struct virtio_device *device, struct state_reader *reader)
{
	struct blk *blk = blk_of(device);
	int r = state_enter(reader, BLK_TAG, BLK_VERSION);
	uint64_t capacity;
	uint8_t wce;

	if (r < 0)
		return r;
	capacity = state_get_u64(reader);
	wce = state_get_u8(reader);
	r = state_leave(reader);
	if (r < 0)
		return r;
	if (capacity != le64toh(blk->config.capacity) || wce > 1)
		return -EPROTO;
	blk->config.wce = wce;
	return 0;
}

/* ---- birth and death ------------------------------------------------------------------------------------------ */

static void listen(void *user)
{
	struct blk *blk = user;

	blk->source = venv__loop_add(worker_loop(blk->device.worker), engine_fd(blk->engine),
				     EPOLLIN, on_engine, blk);
}

/* On the worker: nothing is in flight after it. */
static void unlisten(void *user)
{
	struct blk *blk = user;

	(void)pthread_mutex_lock(&blk->device.lock);
	engine_drain(blk->engine);
	(void)pthread_mutex_unlock(&blk->device.lock);
	venv__loop_remove(blk->source);
}

static void on_free(struct virtio_device *device)
{
	struct blk *blk = blk_of(device);

	worker_call(device->worker, unlisten, blk);
	virtio_device_done(device);
	engine_free(blk->engine);
	free(blk);
}

static const struct virtio_ops blk_ops = {
	.name = "blk",
	.id = VIRTIO_ID_BLOCK,
	.pci_class = 0x010000,
	.config_read = on_config_read,
	.config_write = on_config_write,
	.reset = on_reset,
	.notify = on_notify,
	.drain = on_drain,
	.save = on_save,
	.load = on_load,
	.free = on_free,
};

/* The device's part of it, once there is an engine. */
static int set_up(struct blk *blk, const struct mem *mem, struct worker *worker, unsigned n_queues,
		  venv_error **err)
{
	unsigned n = MIN(MAX(n_queues, 1U), (unsigned)BLK_QUEUES_MAX);
	uint16_t sizes[BLK_QUEUES_MAX];
	int r;

	for (unsigned i = 0; i < n; i++)
		sizes[i] = BLK_QUEUE_SIZE;
	r = virtio_device_init(&blk->device, &blk_ops, mem, worker, features_of(blk->disk, n),
			       sizes, n, err);
	if (r < 0)
		return r;
	blk->device.config_size = CONFIG_SIZE;
	fill_config(blk);
	worker_call(worker, listen, blk);
	if (blk->source)
		return 0;
	virtio_device_done(&blk->device);
	return venv__fail(err, VENV_ERR_SYSTEM, "cannot listen to the engine of a disk");
}

int virtio_blk_new(const struct mem *mem, struct worker *worker,
		   const struct virtio_blk_options *options, struct virtio_device **ret,
		   venv_error **err)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	int r;

	if (!blk)
		return venv__fail_nomem(err);
	blk->disk = options->disk;
	if (options->serial)
		memcpy(blk->serial, options->serial,
		       MIN(strlen(options->serial), sizeof(blk->serial)));
	r = engine_new(options->engine, options->enter, &blk->engine, err);
	if (r >= 0)
		r = set_up(blk, mem, worker, options->n_queues, err);
	if (r < 0) {
		engine_free(blk->engine);
		free(blk);
		return r;
	}
	*ret = &blk->device;
	return 0;
}
