/* SPDX-License-Identifier: Apache-2.0 */
/* Guest addresses: what is RAM as one piece, and what is not. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem.h"

#define HIGH_SIZE (16ULL << 20)

/* Above 3 GiB there are two regions; nothing of it is touched, so it costs nothing. */
static int set_up(void **state)
{
	struct mem *mem = calloc(1, sizeof(*mem));

	assert_int_equal(mem_init(mem, MEM_HOLE + HIGH_SIZE, -1, 0, NULL), 0);
	*state = mem;
	return 0;
}

static int tear_down(void **state)
{
	mem_done(*state);
	mem_done(*state); /* twice is fine */
	free(*state);
	return 0;
}

static void ranges(void **state)
{
	static const struct {
		uint64_t address, size;
		bool is_ram;
	} cases[] = {
		{ 0, 1, true },
		{ 0, 0, false },
		{ 0, MEM_HOLE, true },
		{ 0, MEM_HOLE + 1, false },
		{ 0, UINT64_MAX, false },
		{ 1, UINT64_MAX, false },
		{ MEM_HOLE - 1, 1, true },
		{ MEM_HOLE - 1, 2, false },
		{ MEM_HOLE - 16, UINT64_MAX - 8, false },
		{ MEM_HOLE, 1, false },
		{ MEM_HIGH - 1, 1, false },
		{ MEM_HIGH - 1, 2, false },
		{ MEM_HOLE - 4096, MEM_HIGH - MEM_HOLE + 8192, false }, /* over the hole */
		{ MEM_HIGH, HIGH_SIZE, true },
		{ MEM_HIGH, HIGH_SIZE + 1, false },
		{ MEM_HIGH + HIGH_SIZE - 1, 1, true },
		{ MEM_HIGH + HIGH_SIZE, 1, false },
		{ UINT64_MAX, 1, false },
		{ UINT64_MAX, 2, false },
		{ UINT64_MAX - 4095, 8192, false }, /* wraps */
		{ 0xfffff000, 0x1000, false },      /* ROM */
	};
	const struct mem *mem = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint8_t *at = mem_at(mem, cases[i].address, cases[i].size);

		assert_int_equal(at != NULL, cases[i].is_ram);
		if (at && cases[i].address < MEM_HOLE)
			assert_ptr_equal(at, mem->region[0].host + cases[i].address);
		else if (at)
			assert_ptr_equal(at, mem->region[1].host + cases[i].address - MEM_HIGH);
	}
	assert_int_equal((uintptr_t)mem->region[0].host % MEM_ALIGN, 0);
	assert_int_equal((uintptr_t)mem->region[1].host % MEM_ALIGN, 0);
}

static void copies(void **state)
{
	const struct mem *mem = *state;
	char text[8];

	assert_int_equal(mem_write(mem, MEM_HIGH + 5, "monitor", 8), 0);
	assert_int_equal(mem_read(mem, MEM_HIGH + 5, text, 8), 0);
	assert_string_equal(text, "monitor");
	assert_int_equal(mem_write(mem, MEM_HOLE - 4, "monitor", 8), -EFAULT);
	assert_int_equal(mem_read(mem, MEM_HOLE - 4, text, 4), 0);
	assert_memory_equal(text, "\0\0\0\0", 4); /* nothing of it was written */
	assert_int_equal(mem_read(mem, MEM_HOLE, text, 1), -EFAULT);
	assert_int_equal(mem_read(mem, MEM_HOLE, text, 0), 0);
}

static void sizes_are_checked(void **state)
{
	static const struct {
		uint64_t size;
		int code;
	} cases[] = {
		{ 0, VENV_ERR_INVALID },
		{ 4096, VENV_ERR_INVALID },
		{ MEM_ALIGN + 1, VENV_ERR_INVALID },
		{ UINT64_MAX - MEM_ALIGN + 1, VENV_ERR_INVALID },
		{ MEM_SIZE_MAX + MEM_ALIGN, VENV_ERR_INVALID },
		{ MEM_ALIGN, 0 },
		{ MEM_HOLE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mem mem;

		assert_int_equal(mem_init(&mem, cases[i].size, -1, 0, NULL), cases[i].code);
		if (!cases[i].code)
			assert_int_equal(mem.n_regions, 1);
		mem_done(&mem);
	}
}

static void pages_go_back(void **state)
{
	const struct mem *mem = *state;
	uint8_t *at = mem_at(mem, 0x200000, 0x3000);
	unsigned char resident[3];

	memset(at, 1, 0x3000);
	assert_int_equal(mem_discard(mem, at + 0x1000, 0x1000), 0);
	assert_int_equal(at[0xfff] + at[0x1000] + at[0x1fff] + at[0x2000], 2);
	assert_int_equal(mem_discard(mem, at + 1, 0x1000), -EINVAL);
	assert_int_equal(mem_discard(mem, at, 0x800), -EINVAL);
	assert_int_equal(mem_discard(mem, mem_at(mem, 0x200000, MEM_ALIGN), MEM_ALIGN), 0);
	assert_int_equal(mincore(at, 0x3000, resident), 0);
	assert_int_equal((resident[0] | resident[1] | resident[2]) & 1, 0);
}

/* A suspended machine's memory: read lazily, written to privately. */
static void memory_over_a_file(void **state)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	struct mem mem;
	uint8_t *at;
	char byte;

	(void)state;
	assert_int_equal(ftruncate(fd, 4096 + 2 * (off_t)MEM_ALIGN), 0);
	assert_int_equal(pwrite(fd, "abc", 3, 4096), 3);
	assert_int_equal(pwrite(fd, "def", 3, 4096 + (off_t)MEM_ALIGN), 3);
	assert_int_equal(mem_init(&mem, 2 * MEM_ALIGN, fd, 4096, NULL), 0);
	at = mem_at(&mem, 0, 2 * MEM_ALIGN);
	assert_memory_equal(at, "abc", 3);
	at[0] = 'x';
	assert_int_equal(pread(fd, &byte, 1, 4096), 1);
	assert_int_equal(byte, 'a');
	/* a small piece shows the file again, a huge page is new memory */
	assert_int_equal(mem_discard(&mem, at, 4096), 0);
	assert_memory_equal(at, "abc", 3);
	assert_int_equal(mem_discard(&mem, at + MEM_ALIGN, MEM_ALIGN), 0);
	assert_memory_equal(at + MEM_ALIGN, "\0\0\0", 3);
	mem_done(&mem);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ranges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(copies, set_up, tear_down),
		cmocka_unit_test(sizes_are_checked),
		cmocka_unit_test_setup_teardown(pages_go_back, set_up, tear_down),
		cmocka_unit_test(memory_over_a_file),
	};

	return cmocka_run_group_tests_name("vmm_mem", tests, NULL, NULL);
}
