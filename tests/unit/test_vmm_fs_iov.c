/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers and names. */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "fs/iov.h"
#include "fs/names.h"
#include "util/compiler.h"

static char one[] = "ab", two[] = "cdefg", three[] = "h";
static const struct iovec pieces[] = {
	{ one, 2 }, { NULL, 0 }, { two, 5 }, { NULL, 0 }, { NULL, 0 }, { three, 1 },
};

static void pieces_are_taken_in_order(void **state)
{
	struct fs_iov v;
	char data[16] = "";

	(void)state;
	fs_iov_init(&v, pieces, ARRAY_SIZE(pieces));
	assert_int_equal(v.left, 8);
	assert_int_equal(fs_iov_take(&v, data, 3), 3);
	assert_memory_equal(data, "abc", 3);
	assert_int_equal(fs_iov_take(&v, data, sizeof(data)), 5);
	assert_memory_equal(data, "defgh", 5);
	assert_int_equal(fs_iov_take(&v, data, 1), 0);
	assert_int_equal(v.left, 0);
	fs_iov_init(&v, pieces, 0);
	assert_int_equal(fs_iov_take(&v, data, 1), 0);
}

static void limits_end_it_early(void **state)
{
	struct fs_iov v;
	struct iovec out[4];
	char data[16];

	(void)state;
	fs_iov_init(&v, pieces, ARRAY_SIZE(pieces));
	fs_iov_limit(&v, 4);
	fs_iov_limit(&v, 6);
	assert_int_equal(fs_iov_slice(&v, 100, out, 4), 2);
	assert_int_equal(out[1].iov_len, 2);
	assert_int_equal(v.left, 4);
	assert_int_equal(fs_iov_take(&v, data, sizeof(data)), 4);
}

static void slices_do_not_move(void **state)
{
	struct iovec out[4];
	struct fs_iov v;

	(void)state;
	fs_iov_init(&v, pieces, ARRAY_SIZE(pieces));
	fs_iov_skip(&v, 1);
	assert_int_equal(fs_iov_slice(&v, 7, out, 4), 3);
	assert_ptr_equal(out[0].iov_base, one + 1);
	assert_int_equal(out[0].iov_len, 1);
	assert_ptr_equal(out[2].iov_base, three);
	assert_int_equal(fs_iov_slice(&v, 7, out, 2), 2);
	assert_int_equal(fs_iov_slice(&v, 2, out, 4), 2);
	assert_int_equal(out[1].iov_len, 1);
	assert_int_equal(fs_iov_slice(&v, 0, out, 4), 0);
	assert_int_equal(v.left, 7);
}

static void what_is_put_goes_to_the_pieces(void **state)
{
	char a[2], b[3];
	const struct iovec iov[] = { { a, 2 }, { b, 3 } };
	struct fs_iov v;

	(void)state;
	fs_iov_init(&v, iov, 2);
	assert_int_equal(fs_iov_put(&v, "123", 3), 3);
	assert_int_equal(fs_iov_put(&v, "4567", 4), 2);
	assert_memory_equal(a, "12", 2);
	assert_memory_equal(b, "345", 3);
}

static void names_are_single_components(void **state)
{
	static const struct {
		const char *name;
		bool ok;
	} cases[] = {
		{ "a", true },     { "...", true },  { "..a", true }, { ".a", true },
		{ " ", true },     { "\xff", true }, { "", false },   { ".", false },
		{ "..", false },   { "a/b", false }, { "/", false },  { "/etc", false },
		{ "../x", false }, { "a/", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(fs_name_ok(cases[i].name), cases[i].ok);
}

static void strings_end_where_they_say(void **state)
{
	static char text[] = "ab\0cd\0x";
	const struct iovec iov[] = { { text, 4 }, { text + 4, 3 } };
	char name[FS_NAME_SIZE], small[2];
	struct fs_iov v;

	(void)state;
	fs_iov_init(&v, iov, 2);
	assert_int_equal(fs_take_name(&v, name), 0);
	assert_string_equal(name, "ab");
	assert_int_equal(fs_take_name(&v, name), 0);
	assert_string_equal(name, "cd");
	assert_int_equal(fs_take_name(&v, name), -EINVAL); /* no zero */
	fs_iov_init(&v, iov, 2);
	assert_int_equal(fs_take_string(&v, small, sizeof(small)), -ENAMETOOLONG);
}

static void the_longest_name_has_255_bytes(void **state)
{
	char text[300], name[FS_NAME_SIZE];
	const struct iovec iov = { text, sizeof(text) };
	struct fs_iov v;

	(void)state;
	memset(text, 'n', sizeof(text));
	text[255] = '\0';
	fs_iov_init(&v, &iov, 1);
	assert_int_equal(fs_take_name(&v, name), 0);
	assert_int_equal(strlen(name), 255);
	text[255] = 'n';
	text[256] = '\0';
	fs_iov_init(&v, &iov, 1);
	assert_int_equal(fs_take_name(&v, name), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_taken_in_order),
		cmocka_unit_test(limits_end_it_early),
		cmocka_unit_test(slices_do_not_move),
		cmocka_unit_test(what_is_put_goes_to_the_pieces),
		cmocka_unit_test(names_are_single_components),
		cmocka_unit_test(strings_end_where_they_say),
		cmocka_unit_test(the_longest_name_has_255_bytes),
	};
	return cmocka_run_group_tests_name("vmm_fs_iov", tests, NULL, NULL);
}
