/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>

#include "util/buf.h"

static void text_grows(void **state)
{
	_cleanup_buf_ struct buf buf = { 0 };
	_cleanup_free_ char *text = NULL;

	(void)state;
	for (int i = 0; i < 1000; i++)
		venv__buf_printf(&buf, "%d,", i % 10);
	assert_int_equal(buf.length, 2000);
	text = venv__buf_steal(&buf);
	assert_int_equal(strlen(text), 2000);
	assert_null(buf.data);
}

static void nothing_added_is_an_empty_text(void **state)
{
	struct buf buf = { 0 };
	_cleanup_free_ char *text = venv__buf_steal(&buf);

	(void)state;
	assert_string_equal(text, "");
}

static void a_zero_byte_is_a_byte(void **state)
{
	_cleanup_buf_ struct buf buf = { 0 };

	(void)state;
	venv__buf_add(&buf, "a\0b", 3);
	assert_int_equal(buf.length, 3);
	assert_memory_equal(buf.data, "a\0b", 4);
}

static void lists_end_with_null(void **state)
{
	_cleanup_strv_ char **list = NULL, **copy = NULL;

	(void)state;
	assert_int_equal(venv__strv_count(NULL), 0);
	assert_int_equal(venv__strv_add(&list, "one"), 0);
	assert_int_equal(venv__strv_addf(&list, "%s-%d", "two", 2), 0);
	assert_int_equal(venv__strv_count(list), 2);
	assert_true(venv__strv_has(list, "two-2"));
	assert_false(venv__strv_has(list, "two"));
	copy = venv__strv_copy(list);
	assert_string_equal(copy[1], "two-2");
	assert_null(copy[2]);
}

static void environment_names_are_unique(void **state)
{
	_cleanup_strv_ char **env = NULL;

	(void)state;
	assert_int_equal(venv__env_set(&env, "A=1"), 0);
	assert_int_equal(venv__env_set(&env, "AB=2"), 0);
	assert_int_equal(venv__env_set(&env, "A=3"), 0);
	assert_int_equal(venv__strv_count(env), 2);
	assert_string_equal(venv__env_get(env, "A"), "3");
	assert_string_equal(venv__env_get(env, "AB"), "2");
	assert_null(venv__env_get(env, "B"));
}

_printf_(3, 4) static size_t line(char *ret, size_t size, const char *format, ...)
{
	va_list args;
	size_t length;

	va_start(args, format);
	length = venv__line(ret, size, "venv: ", format, args);
	va_end(args);
	return length;
}

static void a_line_is_cut_to_fit(void **state)
{
	static const struct {
		size_t size;
		const char *expected; /* NULL: it has no place at all */
	} cases[] = {
		{ 64, "venv: said 12345\n" },
		{ 18, "venv: said 12345\n" },
		{ 17, "venv: said 1234\n" },
		{ 9, "venv: s\n" },
		{ 8, "venv: \n" },
		{ 7, NULL },
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(text, 'x', sizeof(text));
		assert_int_equal(line(text, cases[i].size, "said %d", 12345),
				 cases[i].expected ? strlen(cases[i].expected) : 0);
		if (cases[i].expected)
			assert_string_equal(text, cases[i].expected);
		if (cases[i].size < sizeof(text))
			assert_int_equal(text[cases[i].size], 'x');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_grows),
		cmocka_unit_test(nothing_added_is_an_empty_text),
		cmocka_unit_test(a_zero_byte_is_a_byte),
		cmocka_unit_test(a_line_is_cut_to_fit),
		cmocka_unit_test(lists_end_with_null),
		cmocka_unit_test(environment_names_are_unique),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
