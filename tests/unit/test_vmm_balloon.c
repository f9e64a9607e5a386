/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that go back to the host, and what a guest may say about its memory. */
#include "test.h"

#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/state.h"
#include "support/vmm_driver.h"
#include "virtio/balloon.h"
#include "virtio/pci.h"

enum { MIB = 1 << 20, SLOT = 6, INFLATE = 0, DEFLATE = 1, STATS = 2, REPORT = 3, REPORT_TOO = 4 };

#define STATS_BIT (1ULL << VIRTIO_BALLOON_F_STATS_VQ)
#define REPORTING_BIT (1ULL << VIRTIO_BALLOON_F_REPORTING)

struct world {
	struct vmm_platform *platform;
	struct virtio_device *device;
	struct virtio_pci *transport;
	struct vmm_driver driver;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->platform = vmm_platform_new(64 * MIB, true);
	assert_int_equal(
		virtio_balloon_new(&w->platform->mem, w->platform->worker, &w->device, NULL), 0);
	assert_int_equal(virtio_pci_new(w->device, &w->platform->pci, SLOT, &w->platform->irq,
					&w->transport, NULL),
			 0);
	assert_int_equal(vmm_driver_open(&w->driver, w->platform, SLOT), 0);
	assert_int_equal(vmm_driver_start(&w->driver, STATS_BIT | REPORTING_BIT), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	virtio_pci_free(w->transport);
	w->device->ops->free(w->device);
	vmm_platform_free(w->platform);
	free(w);
	return 0;
}

/* Pages of [first, first + n) that the host keeps. */
static unsigned resident(struct world *w, uint64_t first, unsigned n)
{
	unsigned char map[4096];
	unsigned count = 0;

	assert_true(n <= sizeof(map));
	assert_int_equal(
		mincore(vmm_at(w->platform, first * MEM_PAGE, n * MEM_PAGE), n * MEM_PAGE, map), 0);
	for (unsigned i = 0; i < n; i++)
		count += map[i] & 1;
	return count;
}

static void fill(struct world *w, uint64_t first, unsigned n)
{
	memset(vmm_at(w->platform, first * MEM_PAGE, n * MEM_PAGE), 0xaa, n * MEM_PAGE);
	assert_int_equal(resident(w, first, n), n);
}

static struct vmm_buffer pfns_of(struct world *w, const uint32_t *pfns, size_t n)
{
	uint64_t at = vmm_alloc(w->platform, 4 * n, 4);

	memcpy(vmm_at(w->platform, at, 4 * n), pfns, 4 * n);
	return (struct vmm_buffer){ at, (uint32_t)(4 * n), false };
}

static void pages_go_back(void **state)
{
	static const uint32_t pfns[] = { 0x1000, 0x1001, 0x1002, 0x1010, 0x100f, 0x100e, 0x1020 };
	struct world *w = *state;
	const struct vmm_buffer buffer = pfns_of(w, pfns, ARRAY_SIZE(pfns));

	fill(w, 0x1000, 64);
	assert_int_equal(vmm_driver_call(&w->driver, INFLATE, &buffer, 1), 0);
	assert_int_equal(resident(w, 0x1000, 64), 64 - 7);
	assert_int_equal(*(uint8_t *)vmm_at(w->platform, 0x1003000, 1), 0xaa);
	assert_int_equal(*(uint8_t *)vmm_at(w->platform, 0x1001000, 1), 0);
	assert_int_equal(vmm_driver_call(&w->driver, DEFLATE, &buffer, 1), 0);
}

static void pages_that_are_none(void **state)
{
	/* beyond RAM, in the hole, where the number times 4096 would wrap; half a number at the end */
	static const uint32_t pfns[] = { 0x4000, 0x3fff, 0xc0000, 0xfee00, 0xffffffff, 0, 0x1fff };
	struct world *w = *state;
	struct vmm_buffer buffer = pfns_of(w, pfns, ARRAY_SIZE(pfns));

	fill(w, 0x1ff0, 16);
	buffer.length -= 3;
	assert_int_equal(vmm_driver_call(&w->driver, INFLATE, &buffer, 1), 0);
	assert_int_equal(resident(w, 0x1ff0, 16), 16);
	buffer.length = 0;
	assert_int_equal(vmm_driver_call(&w->driver, INFLATE, &buffer, 1), 0);
	assert_int_equal(vmm_driver_status(&w->driver), 15);
}

/* A request of millions of pages is cut short. */
static void requests_are_bounded(void **state)
{
	struct world *w = *state;
	uint32_t *pfns = vmm_at(w->platform, 16 * MIB, 16 * MIB);
	const struct vmm_buffer buffer = { 16 * MIB, 16 * MIB, false };

	fill(w, 0x2000, 2);
	for (size_t i = 0; i < 4 * MIB; i++)
		pfns[i] = 0x2000 + (i >= 1024);
	assert_int_equal(vmm_driver_call(&w->driver, INFLATE, &buffer, 1), 0);
	assert_int_equal(resident(w, 0x2000, 2), 1);
}

static void free_pages_are_reported(void **state)
{
	static const unsigned queues[] = { REPORT, REPORT_TOO };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(queues); i++) {
		const struct vmm_buffer buffers[] = {
			{ 0x1000000, 2 * MIB, true },
			{ 0x1400000, 0x3000, true },
			{ 0x1500800, 0x1000, true }, /* no pages: left alone */
			{ 0x1600000, 0x800, true },
		};

		fill(w, 0x1000, 1024 + 1024);
		assert_int_equal(vmm_driver_call(&w->driver, queues[i], buffers, 4), 0);
		assert_int_equal(resident(w, 0x1000, 512), 0);
		assert_int_equal(resident(w, 0x1200, 512), 512);
		assert_int_equal(resident(w, 0x1400, 3), 0);
		assert_int_equal(resident(w, 0x1403, 0x400 - 3), 0x400 - 3);
	}
}

/* A driver without statistics, which counts only the queues that it has. */
static void the_third_queue_reports_then(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer buffer = { 0x1000000, 2 * MIB, true };

	assert_int_equal(vmm_driver_start(&w->driver, REPORTING_BIT), 0);
	fill(w, 0x1000, 512);
	assert_int_equal(vmm_driver_call(&w->driver, 2, &buffer, 1), 0);
	assert_int_equal(resident(w, 0x1000, 512), 0);
}

static void a_size_is_asked_for(void **state)
{
	struct world *w = *state;

	assert_int_equal(vmm_read32(w->platform, w->driver.config), 0);
	virtio_balloon_ask(w->device, 16 * MIB);
	assert_true(vmm_interrupt(w->platform, w->driver.first_data + 5, VMM_WAIT_MS));
	assert_int_equal(vmm_read32(w->platform, w->driver.config), 4096);
	vmm_write32(w->platform, w->driver.config + 4, 4000);
	vmm_write16(w->platform, w->driver.config + 4, 1); /* not of this width */
	vmm_write32(w->platform, w->driver.config, 77);    /* not the guest's */
	assert_int_equal(virtio_balloon_size(w->device), 4000 * 4096);
	assert_int_equal(vmm_read32(w->platform, w->driver.config), 4096);
	virtio_balloon_ask(w->device, UINT64_MAX);
	assert_int_equal(vmm_read32(w->platform, w->driver.config), UINT32_MAX);
	vmm_driver_reset(&w->driver);
	assert_int_equal(virtio_balloon_size(w->device), 0);
}

static struct vmm_buffer stats_of(struct world *w, unsigned n)
{
	uint64_t at = vmm_alloc(w->platform, 10 * n, 1);

	for (unsigned i = 0; i < n; i++) {
		uint16_t tag = (uint16_t)(i % 20);
		uint64_t value = 1000 + i;

		assert_int_equal(mem_write(&w->platform->mem, at + 10 * i, &tag, 2), 0);
		assert_int_equal(mem_write(&w->platform->mem, at + 10 * i + 2, &value, 8), 0);
	}
	return (struct vmm_buffer){ at, 10 * n, false };
}

static void statistics(void **state)
{
	struct world *w = *state;
	struct vmm_buffer buffer = stats_of(w, 10);
	struct balloon_stats stats;

	assert_int_equal(virtio_balloon_stats(w->device, &stats), 0);
	assert_true(stats.free == UINT64_MAX);
	virtio_balloon_ask_stats(w->device); /* too early: nothing to give back */
	assert_true(vmm_driver_submit(&w->driver, STATS, &buffer, 1) >= 0);
	vmm_settle(w->platform, w->device);
	assert_int_equal(virtio_balloon_stats(w->device, &stats), 1);
	assert_int_equal(stats.free, 1004);
	assert_int_equal(stats.total, 1005);
	assert_int_equal(stats.available, 1006);
	assert_int_equal(stats.caches, 1007);
	assert_int_equal(vmm_driver_poll(&w->driver, STATS, NULL), -1); /* it is kept */
	virtio_balloon_ask_stats(w->device);
	assert_true(vmm_driver_wait(&w->driver, STATS, NULL) >= 0);
	buffer.length = 15; /* one and a half */
	assert_true(vmm_driver_submit(&w->driver, STATS, &buffer, 1) >= 0);
	vmm_settle(w->platform, w->device);
	assert_int_equal(virtio_balloon_stats(w->device, &stats), 2);
	assert_true(stats.free == UINT64_MAX);
}

/* More than there are, and more than one buffer: both bounded. */
static void statistics_without_end(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer buffer = stats_of(w, 100000);
	struct balloon_stats stats;

	for (unsigned i = 0; i < 50; i++)
		assert_true(vmm_driver_add(&w->driver, STATS, &buffer, 1) >= 0);
	vmm_driver_ring(&w->driver, STATS);
	for (unsigned i = 0; i < 49; i++)
		assert_true(vmm_driver_wait(&w->driver, STATS, NULL) >= 0);
	assert_int_equal(vmm_driver_poll(&w->driver, STATS, NULL), -1);
	vmm_settle(w->platform, w->device);
	assert_int_equal(virtio_balloon_stats(w->device, &stats), 50);
	assert_int_equal(stats.free, 1024); /* the last of 32 */
}

static void state_survives(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer buffer = stats_of(w, 10);
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;

	virtio_balloon_ask(w->device, 8 * MIB);
	vmm_write32(w->platform, w->driver.config + 4, 2048);
	assert_true(vmm_driver_submit(&w->driver, STATS, &buffer, 1) >= 0);
	vmm_settle(w->platform, w->device);
	state_writer_init(&writer, fd);
	assert_int_equal(pci_save(&w->platform->pci, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	pci_reset(&w->platform->pci);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(pci_load(&w->platform->pci, &reader), 0);
	state_reader_done(&reader);
	assert_int_equal(virtio_balloon_size(w->device), 8 * MIB);
	virtio_balloon_ask_stats(w->device); /* the guest's buffer is still ours */
	assert_true(vmm_driver_wait(&w->driver, STATS, NULL) >= 0);
	(void)close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(pages_go_back),
		TEST(pages_that_are_none),
		TEST(requests_are_bounded),
		TEST(free_pages_are_reported),
		TEST(the_third_queue_reports_then),
		TEST(a_size_is_asked_for),
		TEST(statistics),
		TEST(statistics_without_end),
		TEST(state_survives),
	};

	return cmocka_run_group_tests_name("vmm_balloon", tests, NULL, NULL);
}
