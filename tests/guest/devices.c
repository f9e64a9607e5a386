/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that drives virtio devices: entropy, a disk. What it writes there, the host finds in the disk's file. */
#include "virtio.h"

enum {
	REQUESTS =
		300, /* each with a notification and an interrupt: more than there are registers to be set up */
	FIRST_SECTOR = 5, /* and three more */
	SECTORS = 4,
};

/* The words of the test that looks for them. */
static const char text[] = "written by a guest without an operating system. The end of it: .";

static struct virtio rng, blk;

void guest_stay(void)
{
	puts("well\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void test_rng(const uint8_t *zero_page)
{
	enable_interrupts();
	virtio_open(&rng, VIRTIO_RNG, zero_page);
	virtio_start(&rng);
	for (unsigned i = 0; i < REQUESTS; i++)
		rng_check(&rng);
	guest_stay();
}

static void write_sectors(void)
{
	static char data[SECTORS * SECTOR];

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = text[i % (sizeof(text) - 1)];
	CHECK(blk_call(&blk, BLK_OUT, FIRST_SECTOR, data, sizeof(data)) == BLK_OK);
	CHECK(blk_call(&blk, BLK_FLUSH, 0, NULL, 0) == BLK_OK);
}

static void read_sectors(void)
{
	static char data[SECTORS * SECTOR];

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = 0;
	CHECK(blk_call(&blk, BLK_IN, FIRST_SECTOR, data, sizeof(data)) == BLK_OK);
	for (unsigned i = 0; i < sizeof(data); i++)
		CHECK(data[i] == text[i % (sizeof(text) - 1)]);
}

static void test_blk(const uint8_t *zero_page)
{
	static char data[SECTOR];
	uint64_t sectors;

	enable_interrupts();
	virtio_open(&blk, VIRTIO_BLK, zero_page);
	virtio_start(&blk);
	sectors = *(volatile uint64_t *)blk.device;
	write_sectors();
	read_sectors();
	for (unsigned i = 0; i < REQUESTS; i++)
		CHECK(blk_call(&blk, BLK_IN, i, data, SECTOR) == BLK_OK);
	CHECK(blk_call(&blk, BLK_IN, sectors - 1, data, SECTOR) == BLK_OK);
	CHECK(blk_call(&blk, BLK_IN, sectors, data, SECTOR) == BLK_ERROR);
	guest_stay();
}

static const struct guest_test tests[] = {
	{ "rng", test_rng },
	{ "blk", test_blk },
	{ "hostile", test_hostile },
};

void guest_main(const uint8_t *zero_page)
{
	guest_run(tests, ARRAY_SIZE(tests), zero_page);
}
