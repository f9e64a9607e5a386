/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel is moved with all that names its addresses, or not at all. */
#include "tests/unit/test.h"

#include <string.h>
#include <sys/mman.h>

#include "boot/boot.h"

enum { MEMORY = 64 << 20, AT = 16 << 20, SIZE = 4 << 20, ALIGN = 2 << 20, ELF_END = 16 };

#define MAP 0xffffffff80000000ULL
#define START (MAP + AT)

static const struct boot_program program = {
	.memory = { AT, SIZE }, .end = ELF_END, .map = MAP, .align = ALIGN
};

/* Three words that hold addresses, one of each kind, and one that is in no list. */
enum word { OF_64 = 0, INVERSE = 8, OF_32 = 16, OTHER = 24 };

static void put_words(const struct mem *mem)
{
	const uint64_t words[] = { START + 5, (uint32_t) - (START + 5), (uint32_t)(START + 5), 7 };

	assert_int_equal(mem_write(mem, AT, words, sizeof(words)), 0);
}

static uint64_t word(const struct mem *mem, enum word at)
{
	uint64_t value;

	assert_int_equal(mem_read(mem, AT + at, &value, sizeof(value)), 0);
	return value;
}

static int randomize(const struct mem *mem, const struct boot_program *of, const char *cmdline,
		     const uint32_t *words, size_t count, bool *ret, venv_error **err)
{
	_cleanup_close_ int fd = memfd_create("kernel", MFD_CLOEXEC);
	const struct boot_source source = {
		.mem = mem, .kernel_fd = fd, .initrd_fd = -1, .cmdline = cmdline
	};
	struct boot_program with_file = *of;

	with_file.file = ELF_END + count * sizeof(*words);
	assert_int_equal(pwrite(fd, words, count * sizeof(*words), ELF_END),
			 (ssize_t)(count * sizeof(*words)));
	return boot_randomize(&source, &with_file, ret, err);
}

/* As in the kernel's misc.c: each kind by its own rule, in steps of its alignment, within its GiB. */
static void all_addresses_move_together(void **state)
{
	static const uint32_t three[] = { 0, (uint32_t)START + OF_64, 0, (uint32_t)START + INVERSE,
					  0, (uint32_t)START + OF_32 };
	static const uint32_t two[] = { 0, (uint32_t)START + OF_64, 0, (uint32_t)START + OF_32 };
	uint64_t lowest = UINT64_MAX, highest = 0;
	struct mem mem;

	(void)state;
	assert_int_equal(mem_init(&mem, MEMORY, -1, 0, NULL), 0);
	for (int i = 0; i < 200; i++) {
		bool with_inverse = i % 2, moved = false;
		uint64_t delta;

		put_words(&mem);
		assert_int_equal(randomize(&mem, &program, "quiet", with_inverse ? three : two,
					   with_inverse ? ARRAY_SIZE(three) : ARRAY_SIZE(two),
					   &moved, NULL),
				 0);
		assert_true(moved);
		delta = word(&mem, OF_64) - (START + 5);
		assert_int_equal(delta % ALIGN, 0);
		assert_true(delta <= (1 << 30) - AT - SIZE);
		assert_int_equal(word(&mem, INVERSE),
				 (uint32_t) - (START + 5 + (with_inverse ? delta : 0)));
		assert_int_equal(word(&mem, OF_32), (uint32_t)(START + 5 + delta));
		assert_int_equal(word(&mem, OTHER), 7);
		lowest = MIN(lowest, delta);
		highest = MAX(highest, delta);
	}
	/* one of 500 places each time: that all of 200 lie in one half does not happen */
	assert_true(lowest < 400 << 20 && highest > 600 << 20);
	mem_done(&mem);
}

static void what_is_no_table_is_left_alone(void **state)
{
	const uint32_t good = (uint32_t)START;
	const struct {
		const char *cmdline;
		size_t count;
		uint64_t map;
		uint32_t words[8];
	} cases[] = {
		{ "quiet", 0, MAP, { 0 } },
		{ "quiet", 1, MAP, { 0 } },
		{ "quiet", 2, MAP, { 0, good } },
		{ "quiet", 4, MAP, { good, 0, good, 0 } },
		{ "quiet", 4, MAP, { 0, 0, 0, 0 } },
		{ "quiet", 7, MAP, { 0, good, 0, good, 0, good, 0 } },
		{ "quiet", 4, 0, { 0, good, 0, good } },
		{ "nokaslr", 4, MAP, { 0, good, 0, good } },
		{ "quiet nokaslr", 4, MAP, { 0, good, 0, good } },
		{ "a=nokaslr nokaslr\tb", 4, MAP, { 0, good, 0, good } },
	};
	struct mem mem;

	(void)state;
	assert_int_equal(mem_init(&mem, MEMORY, -1, 0, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct boot_program other = program;
		bool moved = true;

		put_words(&mem);
		other.map = cases[i].map;
		assert_int_equal(randomize(&mem, &other, cases[i].cmdline, cases[i].words,
					   cases[i].count, &moved, NULL),
				 0);
		if (moved || word(&mem, OF_64) != START + 5)
			fail_msg("case %zu", i);
	}
	mem_done(&mem);
}

static void a_word_is_no_part_of_another(void **state)
{
	static const char *const lines[] = { "", "nokaslrx", "xnokaslr", "nokaslr.x=1 x-nokaslr" };
	static const uint32_t words[] = { 0, (uint32_t)START, 0 };
	struct mem mem;

	(void)state;
	assert_int_equal(mem_init(&mem, MEMORY, -1, 0, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		bool moved = false;

		assert_int_equal(
			randomize(&mem, &program, lines[i], words, ARRAY_SIZE(words), &moved, NULL),
			0);
		assert_true(moved);
	}
	mem_done(&mem);
}

/* Lists that lead out of the kernel: all around it stays as it is. */
static void what_leads_out_is_refused(void **state)
{
	static const uint32_t places[] = {
		(uint32_t)START - 1,
		(uint32_t)START + SIZE,
		(uint32_t)START + SIZE - 3,
		(uint32_t)MAP + 0x7000,
		(uint32_t)MAP,
		1,
		(uint32_t)MAP + MEMORY - 1,
		0x7fffffff,
		0xffffffff,
	};
	_cleanup_free_ uint8_t *zeroes = calloc(1, MEMORY);
	struct mem mem;

	(void)state;
	assert_int_equal(mem_init(&mem, MEMORY, -1, 0, NULL), 0);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(places); i++) {
		const uint32_t place = places[i / 2],
			       words[] = { 0, i % 2 ? place : (uint32_t)START, 0,
					   i % 2 ? (uint32_t)START : place };
		_cleanup_error_ venv_error *error = NULL;
		bool moved = true;

		assert_int_equal(
			randomize(&mem, &program, "", words, ARRAY_SIZE(words), &moved, &error),
			VENV_ERR_INVALID);
		assert_true(moved); /* as before */
		assert_non_null(strstr(venv_error_message(error), "its relocations are damaged"));
		assert_non_null(venv_error_hint(error));
		assert_memory_equal(mem_at(&mem, 0, AT), zeroes, AT);
		assert_memory_equal(mem_at(&mem, AT + SIZE, MEMORY - AT - SIZE), zeroes,
				    MEMORY - AT - SIZE);
	}
	mem_done(&mem);
}

/* One that fills its GiB has nowhere to go; nor one that would end with it. */
static void a_kernel_that_fills_its_part_stays(void **state)
{
	static const uint32_t words[] = { 0, (uint32_t)START, 0 };
	const uint64_t size = (1 << 30) - AT, beyond = 1 << 20;
	struct boot_program large = program;
	struct mem mem;

	(void)state;
	assert_int_equal(mem_init(&mem, 1ULL << 31, -1, 0, NULL), 0);
	for (uint64_t more = 0; more <= ALIGN; more += ALIGN / 2) {
		bool moved = false;

		large.memory.size = size - more;
		put_words(&mem);
		assert_int_equal(
			randomize(&mem, &large, "", words, ARRAY_SIZE(words), &moved, NULL), 0);
		assert_true(moved);
		assert_int_equal(word(&mem, OF_64), START + 5);
	}
	large.memory.size = size + beyond;
	put_words(&mem);
	assert_int_equal(
		randomize(&mem, &large, "", words, ARRAY_SIZE(words), &(bool){ false }, NULL), 0);
	assert_int_equal(word(&mem, OF_64), START + 5);
	mem_done(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_addresses_move_together),
		cmocka_unit_test(what_is_no_table_is_left_alone),
		cmocka_unit_test(a_word_is_no_part_of_another),
		cmocka_unit_test(what_leads_out_is_refused),
		cmocka_unit_test(a_kernel_that_fills_its_part_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
