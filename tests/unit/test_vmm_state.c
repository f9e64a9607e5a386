/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>
#include <sys/mman.h>

#include "machine/state.h"

enum { TAG_A = STATE_TAG('A', 'A', 'A', 'A'), TAG_OPTIONAL = STATE_TAG('o', 'p', 't', ' ') };

static int written(void)
{
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;

	state_writer_init(&writer, fd);
	state_begin(&writer, TAG_OPTIONAL, 9);
	state_put_u32(&writer, 77);
	assert_int_equal(state_end(&writer), 0);
	state_begin(&writer, TAG_A, 2);
	state_put_u8(&writer, 1);
	state_put_u16(&writer, 0x0203);
	state_put_u32(&writer, 0x04050607);
	state_put_u64(&writer, 0x08090a0b0c0d0e0fULL);
	state_put(&writer, "tail", 4);
	assert_int_equal(state_end(&writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	return fd;
}

static void what_is_written_comes_back(void **state)
{
	_cleanup_close_ int fd = written();
	struct state_reader reader;
	char tail[4];

	(void)state;
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(state_enter(&reader, TAG_A, 2), 2);
	assert_int_equal(state_left(&reader), 19);
	assert_int_equal(state_get_u8(&reader), 1);
	assert_int_equal(state_get_u16(&reader), 0x0203);
	assert_int_equal(state_get_u32(&reader), 0x04050607);
	assert_int_equal(state_get_u64(&reader), 0x08090a0b0c0d0e0fULL);
	state_get(&reader, tail, sizeof(tail));
	assert_memory_equal(tail, "tail", 4);
	assert_false(state_at_end(&reader));
	assert_int_equal(state_leave(&reader), 0);
	assert_true(state_at_end(&reader));
	assert_int_equal(state_seek(&reader, TAG_A), 0);
	assert_int_equal(state_enter(&reader, TAG_A, 2), 2);
	assert_int_equal(state_seek(&reader, 0), 0);
	assert_int_equal(state_enter(&reader, TAG_OPTIONAL, 9), 9);
	assert_int_equal(state_seek(&reader, STATE_TAG('B', 'B', 'B', 'B')), -ENOENT);
	state_reader_done(&reader);
}

static void reading_fails_softly(void **state)
{
	_cleanup_close_ int fd = written();
	struct state_reader reader;

	(void)state;
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(state_enter(&reader, TAG_A, 1), -ENOTSUP);
	state_reader_done(&reader);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(state_enter(&reader, STATE_TAG('B', 'B', 'B', 'B'), 1), -ENOENT);
	assert_int_equal(state_enter(&reader, TAG_A, 2), -ENOENT); /* sticks */
	state_reader_done(&reader);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(state_enter(&reader, TAG_A, 2), 2);
	for (int i = 0; i < 3; i++)
		(void)state_get_u64(&reader);
	assert_int_equal(state_get_u32(&reader), 0);
	assert_int_equal(state_leave(&reader), -EPROTO);
	state_reader_done(&reader);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(state_enter(&reader, TAG_A, 2), 2);
	assert_int_equal(state_leave(&reader), -EPROTO); /* not read to its end */
	state_reader_done(&reader);
}

/* Every byte flipped, every length: an error or the same content, never anything else. */
static void damage_is_found(void **state)
{
	_cleanup_close_ int fd = written();
	uint8_t good[256], bad[256];
	ssize_t size = pread(fd, good, sizeof(good), 0);

	(void)state;
	for (ssize_t i = 0; i < size; i++) {
		struct state_reader reader;

		memcpy(bad, good, (size_t)size);
		bad[i] ^= 0x41;
		if (state_reader_init(&reader, bad, (size_t)size, NULL) == 0 &&
		    state_enter(&reader, TAG_A, 2) == 2)
			assert_int_equal(state_get_u8(&reader), 1);
	}
	for (ssize_t i = 0; i < size - 16; i++) {
		struct state_reader reader;

		if (state_reader_init(&reader, good, (size_t)i, NULL) == 0)
			assert_true(state_enter(&reader, TAG_A, 2) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_comes_back),
		cmocka_unit_test(reading_fails_softly),
		cmocka_unit_test(damage_is_found),
	};

	return cmocka_run_group_tests_name("vmm_state", tests, NULL, NULL);
}
