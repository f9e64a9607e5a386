/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk from the driver's side: what it offers, and every rule of virtio/blk_request.c broken. */
#include "test.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/state.h"
#include "support/vmm_driver.h"
#include "virtio/blk.h"
#include "virtio/pci.h"

enum { SLOT = 4, MIB = 1 << 20, LENGTH = 8 * MIB, SECTORS = LENGTH / 512, NOT_SET = 0xee };

struct kind {
	enum disk_format format;
	enum engine_kind engine;
	bool read_only;
};

struct world {
	struct vmm_platform *platform;
	struct virtio_device *device;
	struct virtio_pci *transport;
	struct vmm_driver driver;
	struct disk *disk;
	uint64_t header, status, data; /* addresses */
};

static const uint64_t features = 1ULL << VIRTIO_BLK_F_FLUSH | 1ULL << VIRTIO_BLK_F_DISCARD |
				 1ULL << VIRTIO_BLK_F_WRITE_ZEROES |
				 1ULL << VIRTIO_BLK_F_CONFIG_WCE | 1ULL << VIRTIO_INDIRECT_DESC |
				 1ULL << VIRTIO_EVENT_IDX;

static void make_disk(struct world *w, const struct kind *kind)
{
	const struct disk_create create = { .format = kind->format, .length = LENGTH };
	const struct disk_options options = { .format = kind->format,
					      .read_only = kind->read_only };
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_int_equal(venv__disk_create(fd, &create, NULL), 0);
	assert_int_equal(venv__disk_open(fd, "disk", &options, &w->disk, NULL), 0);
}

static void plug(struct world *w, const struct kind *kind)
{
	const struct virtio_blk_options options = { .disk = w->disk,
						    .serial = "a serial that is too long",
						    .n_queues = 2,
						    .engine = kind->engine };

	assert_int_equal(
		virtio_blk_new(&w->platform->mem, w->platform->worker, &options, &w->device, NULL),
		0);
	assert_int_equal(virtio_pci_new(w->device, &w->platform->pci, SLOT, &w->platform->irq,
					&w->transport, NULL),
			 0);
	assert_int_equal(vmm_driver_open(&w->driver, w->platform, SLOT), 0);
}

static int set_up(void **state, const struct kind *kind)
{
	struct world *w = calloc(1, sizeof(*w));

	w->platform = vmm_platform_new(64 * MIB, true);
	make_disk(w, kind);
	plug(w, kind);
	assert_int_equal(vmm_driver_start(&w->driver, features & vmm_driver_offered(&w->driver)),
			 0);
	w->header = vmm_alloc(w->platform, 4096, 16);
	w->status = vmm_alloc(w->platform, 16, 1);
	w->data = vmm_alloc(w->platform, 4 * MIB, 4096);
	*state = w;
	return 0;
}

static int set_up_raw(void **state)
{
	return set_up(state, &(struct kind){ DISK_RAW, ENGINE_AUTO, false });
}

static int set_up_qcow2(void **state)
{
	return set_up(state, &(struct kind){ DISK_QCOW2, ENGINE_AUTO, false });
}

static int set_up_threads(void **state)
{
	return set_up(state, &(struct kind){ DISK_QCOW2, ENGINE_THREADS, false });
}

static int set_up_read_only(void **state)
{
	return set_up(state, &(struct kind){ DISK_QCOW2, ENGINE_AUTO, true });
}

static int tear_down(void **state)
{
	struct world *w = *state;

	virtio_pci_free(w->transport);
	w->device->ops->free(w->device);
	(void)venv__disk_close(w->disk, NULL);
	vmm_platform_free(w->platform);
	free(w);
	return 0;
}

static void put_header(struct world *w, uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr header = { .type = type, .sector = sector };

	memcpy(vmm_at(w->platform, w->header, 16), &header, 16);
	*(uint8_t *)vmm_at(w->platform, w->status, 1) = NOT_SET;
}

static int status(struct world *w)
{
	return *(uint8_t *)vmm_at(w->platform, w->status, 1);
}

/* One request with one buffer of data (or none), as drivers make it. @return the status */
static int request(struct world *w, uint32_t type, uint64_t sector, uint32_t length)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct vmm_buffer buffers[] = { { w->header, 16, false },
					{ w->data, length, in },
					{ w->status, 1, true } };

	put_header(w, type, sector);
	if (!length)
		buffers[1] = buffers[2];
	if (vmm_driver_call(&w->driver, 0, buffers, length ? 3 : 2) < 0)
		return -1;
	return status(w);
}

static uint8_t *data_of(struct world *w)
{
	return vmm_at(w->platform, w->data, 4 * MIB);
}

static void expect_sector(struct world *w, uint64_t sector, int byte)
{
	memset(data_of(w), ~byte, 512);
	assert_int_equal(request(w, VIRTIO_BLK_T_IN, sector, 512), VIRTIO_BLK_S_OK);
	for (int i = 0; i < 512; i++)
		assert_int_equal(data_of(w)[i], byte);
}

static void fill(struct world *w, uint64_t sector, int byte, uint32_t length)
{
	memset(data_of(w), byte, length);
	assert_int_equal(request(w, VIRTIO_BLK_T_OUT, sector, length), VIRTIO_BLK_S_OK);
}

static void it_says_what_it_is(void **state)
{
	struct world *w = *state;
	struct virtio_blk_config config = { 0 };

	for (uint32_t i = 0; i < w->driver.config_size; i++)
		((uint8_t *)&config)[i] = vmm_read8(w->platform, w->driver.config + i);
	assert_int_equal(w->driver.device_id, 0x1042);
	assert_int_equal(w->driver.n_queues, 2);
	assert_int_equal(config.capacity, SECTORS);
	assert_int_equal(config.seg_max, 254);
	assert_int_equal(config.blk_size, 512);
	assert_int_equal(config.num_queues, 2);
	assert_int_equal(config.wce, 1);
	assert_int_equal(config.discard_sector_alignment, 128);
	assert_int_equal(w->driver.config_size, 60);
	assert_int_equal(vmm_driver_offered(&w->driver) & features, features);
	assert_false(vmm_driver_offered(&w->driver) & 1 << VIRTIO_BLK_F_RO);
}

static void written_is_read_again(void **state)
{
	struct world *w = *state;

	expect_sector(w, 0, 0);
	fill(w, 100, 7, MIB);
	fill(w, 101, 8, 512);
	fill(w, SECTORS - 1, 9, 512);
	expect_sector(w, 100, 7);
	expect_sector(w, 101, 8);
	expect_sector(w, 102, 7);
	expect_sector(w, 100 + MIB / 512 - 1, 7);
	expect_sector(w, 100 + MIB / 512, 0);
	expect_sector(w, SECTORS - 1, 9);
	assert_int_equal(request(w, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	/* pieces of what is there and of what is not */
	assert_int_equal(request(w, VIRTIO_BLK_T_IN, 0, 3 * MIB), VIRTIO_BLK_S_OK);
	assert_int_equal(data_of(w)[100 * 512 - 1], 0);
	assert_int_equal(data_of(w)[100 * 512], 7);
	assert_int_equal(data_of(w)[3 * MIB - 1], 0);
}

static void numbers_are_checked(void **state)
{
	struct world *w = *state;
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t length;
		int status;
	} cases[] = {
		{ VIRTIO_BLK_T_IN, SECTORS, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, SECTORS - 1, 1024, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, UINT64_MAX, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, UINT64_MAX >> 9, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, (UINT64_MAX >> 9) + 1, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 1ULL << 55, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, SECTORS, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, UINT64_MAX, 4096, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, (UINT64_MAX >> 9) - 3, 4096, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, 0, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 511, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, 0, 513, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, SECTORS - 1, 512, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_FLUSH, UINT64_MAX, 512, VIRTIO_BLK_S_OK },
		{ 2, 0, 512, VIRTIO_BLK_S_UNSUPP }, /* SCSI */
		{ 0x80000000, 0, 512, VIRTIO_BLK_S_UNSUPP },
		{ 0xffffffff, UINT64_MAX, 0, VIRTIO_BLK_S_UNSUPP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(request(w, cases[i].type, cases[i].sector, cases[i].length),
				 cases[i].status);
	expect_sector(w, 0, 0);
}

static void headers_come_in_any_shape(void **state)
{
	struct world *w = *state;
	struct vmm_buffer buffers[32];

	fill(w, 3, 5, 512);
	/* 16 single bytes, data in three pieces, the last of them with the status */
	put_header(w, VIRTIO_BLK_T_IN, 3);
	for (unsigned i = 0; i < 16; i++)
		buffers[i] = (struct vmm_buffer){ w->header + i, 1, false };
	buffers[16] = (struct vmm_buffer){ w->data, 1, true };
	buffers[17] = (struct vmm_buffer){ w->data + 1, 500, true };
	buffers[18] = (struct vmm_buffer){ w->data + 501, 12, true };
	memset(data_of(w), 0xcc, 1024);
	assert_int_equal(vmm_driver_call(&w->driver, 0, buffers, 19), 513);
	assert_int_equal(data_of(w)[0], 5);
	assert_int_equal(data_of(w)[511], 5);
	assert_int_equal(data_of(w)[512], VIRTIO_BLK_S_OK);
	assert_int_equal(data_of(w)[513], 0xcc);
	/* header and data in one buffer, by an indirect table */
	put_header(w, VIRTIO_BLK_T_OUT, 4);
	memset(vmm_at(w->platform, w->header + 16, 512), 6, 512);
	buffers[0] = (struct vmm_buffer){ w->header, 16 + 512, false };
	buffers[1] = (struct vmm_buffer){ w->status, 1, true };
	assert_true(vmm_driver_submit_indirect(&w->driver, 1, buffers, 2) >= 0);
	assert_true(vmm_driver_wait(&w->driver, 1, NULL) >= 0);
	assert_int_equal(status(w), VIRTIO_BLK_S_OK);
	expect_sector(w, 4, 6);
}

static void half_requests_are_answered(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer no_status[] = { { w->header, 16, false }, { w->data, 512, false } };
	const struct vmm_buffer short_header[] = { { w->header, 15, false },
						   { w->status, 1, true } };
	const struct vmm_buffer no_header[] = { { w->status, 1, true } };

	put_header(w, VIRTIO_BLK_T_OUT, 0);
	assert_int_equal(vmm_driver_call(&w->driver, 0, no_status, 2), 0);
	assert_int_equal(vmm_driver_call(&w->driver, 0, short_header, 2), 1);
	assert_int_equal(status(w), VIRTIO_BLK_S_IOERR);
	put_header(w, VIRTIO_BLK_T_OUT, 0);
	assert_int_equal(vmm_driver_call(&w->driver, 0, no_header, 1), 1);
	assert_int_equal(status(w), VIRTIO_BLK_S_IOERR);
	assert_false(vmm_driver_status(&w->driver) & VIRTIO_NEEDS_RESET);
	expect_sector(w, 0, 0);
}

static void ids_are_cut(void **state)
{
	struct world *w = *state;

	memset(data_of(w), 0xcc, 64);
	assert_int_equal(request(w, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	assert_memory_equal(data_of(w), "a serial that is too\xcc", 21);
	memset(data_of(w), 0xcc, 64);
	assert_int_equal(request(w, VIRTIO_BLK_T_GET_ID, 0, 3), VIRTIO_BLK_S_OK);
	assert_memory_equal(data_of(w), "a s\xcc", 4);
	memset(data_of(w), 0xcc, 64);
	assert_int_equal(request(w, VIRTIO_BLK_T_GET_ID, 0, 64), VIRTIO_BLK_S_OK);
	assert_memory_equal(data_of(w), "a serial that is too\xcc", 21);
	assert_int_equal(request(w, VIRTIO_BLK_T_GET_ID, 0, 0), VIRTIO_BLK_S_OK);
}

static int wipe(struct world *w, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	const struct virtio_blk_discard_write_zeroes segment = { sector, n, flags };

	memcpy(data_of(w), &segment, sizeof(segment));
	return request(w, type, 0, sizeof(segment));
}

static void segments_are_checked(void **state)
{
	struct world *w = *state;
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t n, flags;
		int status;
	} cases[] = {
		{ VIRTIO_BLK_T_DISCARD, 0, 128, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_DISCARD, 0, 0, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_DISCARD, 0, 128, 1, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_DISCARD, 0, 128, 2, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_DISCARD, SECTORS, 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, UINT64_MAX, 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, UINT64_MAX, UINT32_MAX, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, 1, SECTORS, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 128, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 128, 1, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 128, 2, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 128, UINT32_MAX, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, SECTORS - 1, 2, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX >> 9, 128, 0, VIRTIO_BLK_S_IOERR },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(
			wipe(w, cases[i].type, cases[i].sector, cases[i].n, cases[i].flags),
			cases[i].status);
	memset(data_of(w), 0, 4096);
	assert_int_equal(request(w, VIRTIO_BLK_T_DISCARD, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(w, VIRTIO_BLK_T_DISCARD, 0, 15), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(w, VIRTIO_BLK_T_DISCARD, 0, 17), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(w, VIRTIO_BLK_T_DISCARD, 0, 16 * 32), VIRTIO_BLK_S_OK);
	assert_int_equal(request(w, VIRTIO_BLK_T_DISCARD, 0, 16 * 33), VIRTIO_BLK_S_IOERR);
}

static void all_segments_or_none(void **state)
{
	struct world *w = *state;
	struct virtio_blk_discard_write_zeroes segments[2] = { { 0, 128, 0 }, { SECTORS, 1, 0 } };

	fill(w, 0, 7, 2 * 65536);
	memcpy(data_of(w), segments, sizeof(segments));
	assert_int_equal(request(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(segments)),
			 VIRTIO_BLK_S_IOERR);
	expect_sector(w, 0, 7);
	segments[1] = (struct virtio_blk_discard_write_zeroes){ 130, 10, 1 };
	memcpy(data_of(w), segments, sizeof(segments));
	assert_int_equal(request(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(segments)),
			 VIRTIO_BLK_S_OK);
	expect_sector(w, 0, 0);
	expect_sector(w, 129, 7);
	expect_sector(w, 130, 0);
	expect_sector(w, 140, 7);
	assert_int_equal(wipe(w, VIRTIO_BLK_T_DISCARD, 128, 128, 0), VIRTIO_BLK_S_OK);
	expect_sector(w, 140, 0);
}

static void read_only_is_read_only(void **state)
{
	struct world *w = *state;
	uint64_t offered = vmm_driver_offered(&w->driver);

	assert_true(offered & 1 << VIRTIO_BLK_F_RO);
	assert_false(offered & 1 << VIRTIO_BLK_F_DISCARD);
	assert_int_equal(request(w, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(wipe(w, VIRTIO_BLK_T_DISCARD, 0, 128, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(wipe(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(w, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	expect_sector(w, 0, 0);
}

static void features_not_taken_are_not_there(void **state)
{
	struct world *w = *state;

	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	assert_int_equal(wipe(w, VIRTIO_BLK_T_DISCARD, 0, 128, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(wipe(w, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	fill(w, 0, 1, 512); /* flushed at once */
	assert_true(venv__disk_flush_fd(w->disk) >= 0);
	expect_sector(w, 0, 1);
}

static _Atomic pid_t synced_by;

int fdatasync(int fd)
{
	synced_by = gettid();
	return fsync(fd);
}

static void wait_flushed(struct world *w)
{
	for (int i = 0; i < 5000 && venv__disk_flush_fd(w->disk) < 0; i++)
		(void)usleep(1000);
	assert_true(venv__disk_flush_fd(w->disk) >= 0);
}

static void the_cache_is_the_drivers_choice(void **state)
{
	struct world *w = *state;
	uint64_t wce = w->driver.config + offsetof(struct virtio_blk_config, wce);

	fill(w, 0, 1, 512);
	assert_int_equal(venv__disk_flush_fd(w->disk), -1);
	vmm_write8(w->platform, wce, 0xfe); /* 0 and rubbish */
	wait_flushed(w);
	assert_int_not_equal(synced_by, gettid()); /* not a processor's thread, which may not */
	assert_int_equal(vmm_read8(w->platform, wce), 0);
	fill(w, 1000, 2, 512);
	assert_true(venv__disk_flush_fd(w->disk) >= 0);
	vmm_write8(w->platform, wce, 1);
	fill(w, 4000, 2, 512);
	assert_int_equal(venv__disk_flush_fd(w->disk), -1);
	/* nothing else can be written */
	vmm_write8(w->platform, w->driver.config, 0);
	assert_int_equal(vmm_read32(w->platform, w->driver.config), SECTORS);
}

/* Random requests on all of the disk, many at once, each on a place of its own. */
static void many_at_once(void **state)
{
	enum { PLACES = 16, PLACE = LENGTH / PLACES };
	struct world *w = *state;
	uint64_t random = 88172645463325252ULL;
	uint8_t byte[PLACES] = { 0 };
	int head[PLACES];

	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < PLACES; i++) {
			uint64_t at = w->data + i * 65536, sector;
			bool write = (random = random * 6364136223846793005ULL + 1) >> 63;
			struct vmm_buffer buffers[] = { { w->header + 32 * i, 16, false },
							{ at, 40960, !write },
							{ at + 40960, 20480, !write },
							{ w->header + 32 * i + 16, 1, true } };
			struct virtio_blk_outhdr header = { .type = write };

			sector = i * (PLACE / 512) + 100;
			header.sector = sector;
			memcpy(vmm_at(w->platform, w->header + 32 * i, 16), &header, 16);
			if (write)
				memset(vmm_at(w->platform, at, 61440), ++byte[i], 61440);
			else
				memset(vmm_at(w->platform, at, 61440), 0xcc, 61440);
			head[i] = vmm_driver_add(&w->driver, i & 1, buffers, 4);
			assert_true(head[i] >= 0);
		}
		vmm_driver_ring(&w->driver, 0);
		vmm_driver_ring(&w->driver, 1);
		for (unsigned i = 0; i < PLACES; i++)
			assert_true(vmm_driver_wait(&w->driver, i & 1, NULL) >= 0);
		for (unsigned i = 0; i < PLACES; i++) {
			const uint8_t *at = vmm_at(w->platform, w->data + i * 65536, 61440);

			assert_int_equal(
				*(uint8_t *)vmm_at(w->platform, w->header + 32 * i + 16, 1),
				VIRTIO_BLK_S_OK);
			assert_int_equal(at[0], byte[i]);
			assert_int_equal(at[40960], byte[i]);
			assert_int_equal(at[61439], byte[i]);
		}
	}
}

static void reset_ends_what_is_in_flight(void **state)
{
	enum { MANY = 10, EACH = 256 * 1024 };
	struct world *w = *state;

	for (unsigned round = 0; round < 20; round++) {
		unsigned touched = 0;

		put_header(w, round & 1 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 0);
		for (unsigned i = 0; i < MANY; i++) {
			const struct vmm_buffer buffers[] = { { w->header, 16, false },
							      { w->data + i * EACH, EACH,
								round & 1 },
							      { w->status + i, 1, true } };

			assert_true(vmm_driver_submit(&w->driver, 0, buffers, 3) >= 0);
		}
		vmm_driver_reset(&w->driver);
		memset(data_of(w), 0xcc, MANY * EACH);
		assert_int_equal(vmm_driver_start(&w->driver, features), 0);
		for (unsigned i = 0; i < MANY * EACH; i++)
			touched += data_of(w)[i] != 0xcc;
		assert_int_equal(touched, 0);
		expect_sector(w, 3000, 0);
	}
}

static void state_is_kept(void **state)
{
	struct world *w = *state;
	const struct kind kind = { DISK_QCOW2, ENGINE_AUTO, false };
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;

	fill(w, 0, 9, 4096);
	vmm_write8(w->platform, w->driver.config + offsetof(struct virtio_blk_config, wce), 0);
	state_writer_init(&writer, fd);
	assert_int_equal(virtio_save(w->device, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	virtio_pci_free(w->transport);
	w->device->ops->free(w->device);
	plug(w, &kind);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(virtio_load(w->device, &reader), 0);
	state_reader_done(&reader);
	assert_int_equal(
		vmm_read8(w->platform, w->driver.config + offsetof(struct virtio_blk_config, wce)),
		0);
	(void)close(fd);
}

int main(void)
{
#define TEST(test, set_up) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(it_says_what_it_is, set_up_qcow2),
		TEST(written_is_read_again, set_up_raw),
		TEST(written_is_read_again, set_up_qcow2),
		TEST(written_is_read_again, set_up_threads),
		TEST(numbers_are_checked, set_up_raw),
		TEST(numbers_are_checked, set_up_qcow2),
		TEST(headers_come_in_any_shape, set_up_qcow2),
		TEST(half_requests_are_answered, set_up_qcow2),
		TEST(ids_are_cut, set_up_qcow2),
		TEST(segments_are_checked, set_up_raw),
		TEST(segments_are_checked, set_up_qcow2),
		TEST(all_segments_or_none, set_up_raw),
		TEST(all_segments_or_none, set_up_qcow2),
		TEST(read_only_is_read_only, set_up_read_only),
		TEST(features_not_taken_are_not_there, set_up_qcow2),
		TEST(the_cache_is_the_drivers_choice, set_up_qcow2),
		TEST(many_at_once, set_up_raw),
		TEST(many_at_once, set_up_qcow2),
		TEST(many_at_once, set_up_threads),
		TEST(reset_ends_what_is_in_flight, set_up_qcow2),
		TEST(reset_ends_what_is_in_flight, set_up_threads),
		TEST(state_is_kept, set_up_qcow2),
	};

	return cmocka_run_group_tests_name("vmm_blk", tests, NULL, NULL);
}
