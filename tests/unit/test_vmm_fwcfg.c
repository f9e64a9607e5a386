/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "machine/state.h"
#include "platform/fwcfg.h"

enum { SELECTOR = 0, DATA = 1, DMA_HIGH = 4, DMA_LOW = 8 };

struct world {
	struct mem mem;
	struct fwcfg fwcfg;
};

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	*state = world;
	return mem_init(&world->mem, MEM_ALIGN, -1, 0, NULL) < 0 ||
	       fwcfg_init(&world->fwcfg, &world->mem) < 0 ||
	       fwcfg_add_file(&world->fwcfg, "etc/one", "first", 5) < 0 ||
	       fwcfg_add_file(&world->fwcfg, "etc/two", "second", 6) < 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	fwcfg_done(&world->fwcfg);
	mem_done(&world->mem);
	free(world);
	return 0;
}

static void write_port(struct world *world, uint64_t port, const void *data, size_t size)
{
	fwcfg_ops.write(&world->fwcfg, port, data, size);
}

static void choose(struct world *world, uint16_t key)
{
	write_port(world, SELECTOR, &key, sizeof(key));
}

static void take(struct world *world, void *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		fwcfg_ops.read(&world->fwcfg, DATA, (uint8_t *)data + i, 1);
}

/* What SeaBIOS does to find a file. */
static uint16_t find_file(struct world *world, const char *name, uint32_t *ret_size)
{
	uint8_t entry[64];
	uint32_t n;

	choose(world, 0x19);
	take(world, &n, sizeof(n));
	for (n = __builtin_bswap32(n); n; n--) {
		take(world, entry, sizeof(entry));
		if (strcmp((char *)entry + 8, name) == 0) {
			memcpy(ret_size, entry, 4);
			*ret_size = __builtin_bswap32(*ret_size);
			return (uint16_t)(entry[4] << 8 | entry[5]);
		}
	}
	fail_msg("no '%s'", name);
	return 0;
}

static void firmware_reads_items(void **state)
{
	struct world *world = *state;
	char data[16];
	uint32_t size;

	choose(world, 0);
	take(world, data, 6);
	assert_memory_equal(data, "QEMU\0\0", 6);
	choose(world, find_file(world, "etc/two", &size));
	assert_int_equal(size, 6);
	take(world, data, 8);
	assert_memory_equal(data, "second\0\0", 8);
	/* a key with the highest bit is another one: SeaBIOS hangs when it is taken for 0 */
	choose(world, 0x8000);
	take(world, data, 4);
	assert_memory_equal(data, "\0\0\0\0", 4);
}

static uint32_t dma(struct world *world, uint64_t at, uint32_t control, uint32_t length,
		    uint64_t address)
{
	uint8_t command[16];
	uint32_t high = __builtin_bswap32((uint32_t)(at >> 32));
	uint32_t low = __builtin_bswap32((uint32_t)at), answer = 0xffffffff;

	control = __builtin_bswap32(control);
	length = __builtin_bswap32(length);
	address = __builtin_bswap64(address);
	memcpy(command, &control, 4);
	memcpy(command + 4, &length, 4);
	memcpy(command + 8, &address, 8);
	(void)mem_write(&world->mem, at, command, sizeof(command));
	write_port(world, DMA_HIGH, &high, sizeof(high));
	write_port(world, DMA_LOW, &low, sizeof(low));
	(void)mem_read(&world->mem, at, &answer, sizeof(answer));
	return __builtin_bswap32(answer);
}

static void dma_copies_into_memory_alone(void **state)
{
	struct world *world = *state;
	uint32_t size;
	uint32_t select = (uint32_t)find_file(world, "etc/one", &size) << 16 | 8;
	char signature[8], data[8];

	fwcfg_ops.read(&world->fwcfg, DMA_HIGH, signature, 8);
	assert_memory_equal(signature, "QEMU CFG", 8);
	assert_int_equal(dma(world, 0x1000, select | 4, 1, 0), 0); /* select, skip */
	assert_int_equal(dma(world, 0x1000, 2, 8, 0x2000), 0);     /* read */
	assert_int_equal(mem_read(&world->mem, 0x2000, data, 8), 0);
	assert_memory_equal(data, "irst\0\0\0\0", 8);
	assert_int_equal(dma(world, 0x1000, select | 2, 8, MEM_ALIGN - 4), 1); /* out of RAM */
	assert_int_equal(dma(world, 0x1000, select | 2, 0xffffffff, 0), 1);
	assert_int_equal(dma(world, 0x1000, select | 16, 4, 0x2000), 1); /* writing */
	assert_int_equal(dma(world, 0x1000, select | 4, 0xffffffff, 0), 0);
	(void)dma(world, MEM_ALIGN - 8, 2, 8, 0x2000); /* the command itself crosses the end */
	(void)dma(world, UINT64_MAX - 4, 2, 8, 0x2000);
}

static void odd_accesses_do_nothing(void **state)
{
	struct world *world = *state;
	uint8_t data[8];

	for (uint64_t port = 0; port < FWCFG_PORTS; port++) {
		for (size_t size = 1; size <= 8; size *= 2) {
			memset(data, 0xff, sizeof(data));
			write_port(world, port, data, size);
			fwcfg_ops.read(&world->fwcfg, port, data, size);
		}
	}
	fwcfg_reset(&world->fwcfg);
	take(world, data, 4);
	assert_memory_equal(data, "QEMU", 4);
	for (int i = 0; i < FWCFG_ITEMS_MAX; i++)
		(void)fwcfg_add_file(&world->fwcfg, "etc/more", "", 0);
	assert_int_equal(fwcfg_add_file(&world->fwcfg, "etc/more", "", 0), -ENOSPC);
}

static void the_place_is_kept(void **state)
{
	struct world *world = *state;
	_cleanup_close_ int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;
	uint32_t size;
	char data[4];

	choose(world, find_file(world, "etc/two", &size));
	take(world, data, 2);
	state_writer_init(&writer, fd);
	assert_int_equal(fwcfg_save(&world->fwcfg, &writer), 0);
	state_writer_done(&writer);
	fwcfg_reset(&world->fwcfg);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(fwcfg_load(&world->fwcfg, &reader), 0);
	state_reader_done(&reader);
	take(world, data, 4);
	assert_memory_equal(data, "cond", 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(firmware_reads_items, setup, teardown),
		cmocka_unit_test_setup_teardown(dma_copies_into_memory_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_accesses_do_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_place_is_kept, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm_fwcfg", tests, NULL, NULL);
}
