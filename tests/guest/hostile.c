/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that breaks the rules of a disk's rings, one after the other. After each the disk wants a reset and says so
 * by the interrupt of its configuration, nothing beyond RAM has changed, entropy still comes; after a reset the disk
 * works again. The machine's memory goes on at 4 GiB, so that there is a hole in it, and RAM behind.
 */
#include "virtio.h"

#include <linux/virtio_config.h>

enum {
	FIFTH_GIB = 0xa000 + 4 * 8, /* behind the monitor's own in the table of directories */
	PRESENT_WRITABLE = 3,
	HUGE_PAGE = 0x80,
	MARK = 0x5a,
	BIG = 512 * 1024, /* a request takes its time: it fills this again and again */
	PAGE = 4096,
	RESETS = 64,
	WAIT = 3,
};

#define HOLE 0xc0000000UL
#define HIGH 0x100000000UL
#define HIGH_END (HIGH + (2UL << 20))

static struct virtio rng, blk;
static struct blk_request request;
static volatile uint8_t data[BIG];

/* ---- Rules that are broken ---- */

/* A request as it should be, which each of these spoils. */
static void good_request(void)
{
	request = (struct blk_request){ .type = BLK_IN, .sector = 1, .status = 0xff };
	blk_describe(&blk, &request, (uintptr_t)data, SECTOR);
}

static void jump(unsigned ahead)
{
	blk.ring.avail.idx = (uint16_t)(blk.ring.avail.idx + ahead);
}

static void index_jumps(void)
{
	jump(QUEUE_SIZE + 1);
}

static void index_goes_back(void)
{
	jump(0xffff);
}

static void head_is_beyond(void)
{
	virtio_offer(&blk, QUEUE_SIZE);
}

/* At once: the second one is seen while the first one is in flight. */
static void head_comes_twice(void)
{
	blk.ring.avail.ring[0] = blk.ring.avail.ring[1] = 0;
	jump(2);
}

static void next_is_beyond(void)
{
	blk.ring.desc[0].next = QUEUE_SIZE;
	virtio_offer(&blk, 0);
}

static void descriptors_loop(void)
{
	blk.ring.desc[0].next = 0;
	virtio_offer(&blk, 0);
}

static void table_was_not_agreed(void)
{
	blk.ring.desc[0].flags = DESC_INDIRECT;
	virtio_offer(&blk, 0);
}

static void buffer(uint64_t address, uint32_t length)
{
	blk.ring.desc[1].address = address;
	blk.ring.desc[1].length = length;
	virtio_offer(&blk, 0);
}

static void buffer_in_the_hole(void)
{
	buffer(HOLE + 0x1000, SECTOR);
}

static void buffer_on_registers(void)
{
	buffer(blk.common, SECTOR);
}

static void buffer_into_the_hole(void)
{
	buffer(HOLE - SECTOR / 2, SECTOR);
}

static void buffer_out_of_the_hole(void)
{
	buffer(HIGH - SECTOR / 2, SECTOR);
}

static void buffer_beyond_the_end(void)
{
	buffer(HIGH_END - SECTOR / 2, SECTOR);
}

static void buffer_wraps(void)
{
	buffer(0 - (uint64_t)SECTOR / 2, SECTOR);
}

static void buffer_is_huge(void)
{
	buffer((uintptr_t)data, UINT32_MAX);
}

static void (*const rules[])(void) = {
	index_jumps,         index_goes_back,      head_is_beyond,         head_comes_twice,
	next_is_beyond,      descriptors_loop,     table_was_not_agreed,   buffer_in_the_hole,
	buffer_on_registers, buffer_into_the_hole, buffer_out_of_the_hole, buffer_beyond_the_end,
	buffer_wraps,        buffer_is_huge,
};

/* ---- What must not change ---- */

/* Next to the borders that buffers cross. */
static volatile uint8_t *const marked[] = { (volatile uint8_t *)(HOLE - SECTOR),
					    (volatile uint8_t *)HIGH,
					    (volatile uint8_t *)(HIGH_END - SECTOR) };

static void map_high_memory(void)
{
	static uint64_t directory[512] __attribute__((aligned(4096)));

	directory[0] = HIGH | PRESENT_WRITABLE | HUGE_PAGE;
	*(volatile uint64_t *)FIFTH_GIB = (uintptr_t)directory | PRESENT_WRITABLE;
}

static void set_marks(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(marked); i++)
		for (unsigned j = 0; j < SECTOR; j++)
			marked[i][j] = MARK;
}

static void check_marks(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(marked); i++)
		for (unsigned j = 0; j < SECTOR; j++)
			CHECK(marked[i][j] == MARK);
}

/* ---- The tests ---- */

static void check_disk(void)
{
	virtio_start(&blk);
	for (unsigned i = 0; i < SECTOR; i++)
		data[i] = (uint8_t)i;
	CHECK(blk_call(&blk, BLK_OUT, 1, data, SECTOR) == BLK_OK);
	CHECK(blk_call(&blk, BLK_IN, 1, data + SECTOR, SECTOR) == BLK_OK);
	for (unsigned i = 0; i < SECTOR; i++)
		CHECK(data[SECTOR + i] == (uint8_t)i);
}

static void wait_broken(unsigned before)
{
	wait_for(blk.config_vector, before);
	CHECK(virtio_status(&blk) & STATUS_NEEDS_RESET);
	rng_check(&rng);
	check_marks();
}

/* Its number says which one it was when the test ends here. */
static void break_rule(unsigned i)
{
	unsigned before = interrupts[blk.config_vector];

	outb(COM1, (uint8_t)('a' + i));
	virtio_start(&blk);
	good_request();
	rules[i]();
	virtio_notify(&blk);
	wait_broken(before);
	virtio_notify(&blk); /* it stays silent */
	rng_check(&rng);
	check_disk();
}

/* Rings where there is no RAM, or not whole: found when the driver says that it is ready. */
static void place_rings(void)
{
	static const uint64_t places[] = { HOLE,      HOLE - 64,     HOLE - 160, /* only `used` */
					   HIGH - 64, HIGH_END - 64, 0 - 64UL };

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		unsigned before = interrupts[blk.config_vector];

		outb(COM1, (uint8_t)('0' + i));
		virtio_start_at(&blk, places[i]);
		wait_broken(before);
	}
	check_disk();
}

/* From the end: a transfer that goes on comes there last. */
static void mark_data(void)
{
	for (unsigned i = BIG; i; i -= PAGE)
		data[i - PAGE] = MARK;
}

static void describe_long_request(void)
{
	request = (struct blk_request){ .type = BLK_IN, .sector = 8 };
	virtio_describe(&blk, 0, (uintptr_t)&request, offsetof(struct blk_request, status),
			DESC_NEXT);
	for (unsigned i = 1; i < QUEUE_SIZE - 1; i++)
		virtio_describe(&blk, i, (uintptr_t)data, BIG, DESC_WRITE | DESC_NEXT);
	virtio_describe(&blk, QUEUE_SIZE - 1, (uintptr_t)&request.status, 1, DESC_WRITE);
}

/*
 * Reset at different moments of a request: what was in flight has come by then, or never does. The disk is zeroes
 * there: where a mark is set after the reset, it stays.
 */
static void reset_in_flight(void)
{
	for (unsigned i = 0; i < RESETS; i++) {
		virtio_start(&blk);
		describe_long_request();
		virtio_offer(&blk, 0);
		virtio_notify(&blk);
		for (volatile unsigned wait = 0; wait < i * WAIT; wait++)
			;
		virtio_reset(&blk);
		mark_data();
		rng_check(&rng);
		for (unsigned j = 0; j < BIG; j += PAGE)
			CHECK(data[j] == MARK);
	}
	check_disk();
}

/* The other one of them, with other hands: what serves several devices goes on as well. */
static void break_rng(void)
{
	unsigned before = interrupts[rng.config_vector];

	rng.ring.avail.idx = (uint16_t)(rng.ring.avail.idx + QUEUE_SIZE + 1);
	virtio_notify(&rng);
	wait_for(rng.config_vector, before);
	CHECK(virtio_status(&rng) & STATUS_NEEDS_RESET);
	check_disk();
	virtio_start(&rng);
	rng_check(&rng);
}

void test_hostile(const uint8_t *zero_page)
{
	enable_interrupts();
	map_high_memory();
	set_marks();
	virtio_open(&rng, VIRTIO_RNG, zero_page);
	virtio_open(&blk, VIRTIO_BLK, zero_page);
	virtio_start(&rng);
	check_disk();
	place_rings();
	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++)
		break_rule(i);
	reset_in_flight();
	break_rng();
	guest_stay();
}
