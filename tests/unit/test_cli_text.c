/* SPDX-License-Identifier: Apache-2.0 */
/* The printer: what is hostile becomes visible, columns are counted, numbers read well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/output.h"

static void hostile_text_becomes_visible(void **state)
{
	static const struct {
		const char *text, *visible;
	} cases[] = {
		{ "plain text, ünïcödé 日本", "plain text, ünïcödé 日本" },
		{ "\033[31mred\033[0m", "\\x1b[31mred\\x1b[0m" },
		{ "\033]0;title\007", "\\x1b]0;title\\x07" },
		{ "two\nlines\ttab\rback", "two\\nlines\\ttab\\rback" },
		{ "\x7f", "\\x7f" },
		{ "\xc2\x9b"
		  "31m",
		  "\\u009b31m" }, /* C1: CSI in one character */
		{ "a\xe2\x80\xae"
		  "b\xe2\x81\xa6",
		  "a\\u202eb\\u2066" }, /* bidi */
		{ "\xe2\x80\x8f\xd8\x9c", "\\u200f\\u061c" },
		{ "\xf3\xa0\x81\x81", "\\U0e0041" }, /* a tag character */
		{ "\xff\xfe", "\\xff\\xfe" },
		{ "\xc0\x80", "\\xc0\\x80" },          /* overlong NUL */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" }, /* surrogate */
		{ "\xe2\x82", "\\xe2\\x82" },          /* cut */
		{ "\xef\xbb\xbf", "\\ufeff" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_text_ struct text text = { 0 };

		text_format(&text, "%s", cases[i].text);
		assert_string_equal(text_string(&text), cases[i].visible);
	}
}

static void nothing_hostile_survives_any_byte(void **state)
{
	(void)state;
	for (unsigned a = 1; a < 256; a++)
		for (unsigned b = 1; b < 256; b++) {
			_cleanup_text_ struct text text = { 0 };
			char bytes[3] = { (char)a, (char)b, '\0' };

			text_format(&text, "%s", bytes);
			for (size_t i = 0; i < text.length; i++) {
				unsigned char c = (unsigned char)text.data[i];

				assert_true(c >= 0x20 && c != 0x7f);
				if (c == 0xc2 && i + 1 < text.length)
					assert_true((unsigned char)text.data[i + 1] >= 0xa0);
			}
		}
}

static void blocks_keep_lines_and_tabs_only(void **state)
{
	struct output out = { .fd = -1 };

	(void)state;
	out_block(&out, "| ", "a\tb\r\nc\rd\n\033[2Je");
	assert_string_equal(out.buffer.data, "| a\tb\n| c\\rd\n| \\x1b[2Je\n");
	out_done(&out);
}

static void formats_pad_by_columns(void **state)
{
	_cleanup_text_ struct text text = { 0 };

	(void)state;
	text_format(&text, "[%-6s][%6s][%.2s][%4u][%d][%lu][%.1f][%c][%%]", "日本", "é", "abc", 7U,
		    -3, 12345678901UL, 2.25, 'x');
	assert_string_equal(text.data, "[日本  ][     é][ab][   7][-3][12345678901][2.2][x][%]");
}

static void columns_are_counted(void **state)
{
	(void)state;
	assert_int_equal(text_columns("abc"), 3);
	assert_int_equal(text_columns("日本"), 4);
	assert_int_equal(text_columns("e\xcc\x81"), 1); /* combining acute */
	assert_int_equal(text_columns("🚀"), 2);
	assert_int_equal(text_fit("日本語", 5), 6);
	assert_int_equal(text_fit("abc", 9), 3);
}

static void numbers_read_well(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = { { 0, "0 B" },
		      { 999, "999 B" },
		      { 1000, "1.00 kB" },
		      { 92134567, "92.1 MB" },
		      { 203000000, "203 MB" },
		      { 999600, "1.00 MB" },
		      { 5000000000000, "5.00 TB" } };
	static const struct {
		uint64_t microseconds;
		const char *text;
	} times[] = { { 1200, "0.001 s" },
		      { 60000, "0.06 s" },
		      { 3200000, "3.2 s" },
		      { 125000000, "2 min 5 s" },
		      { 3720000000, "1 h 2 min" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_text_ struct text text = { 0 };

		text_add_bytes(&text, sizes[i].bytes);
		assert_string_equal(text.data, sizes[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		_cleanup_text_ struct text text = { 0 };

		text_add_duration(&text, times[i].microseconds);
		assert_string_equal(text.data, times[i].text);
	}
}

static void json_strings_are_valid_and_visible(void **state)
{
	_cleanup_text_ struct text text = { 0 };

	(void)state;
	text_add_json(&text, "a\"b\\c\n\033\xff\xe2\x80\xae日\xf3\xa0\x81\x81");
	assert_string_equal(text.data, "\"a\\\"b\\\\c\\n\\u001b\\ufffd\\u202e日\\udb40\\udc41\"");
}

static void tables_line_up(void **state)
{
	struct output out = { .fd = -1 };
	struct table table = TABLE_INIT(3);

	(void)state;
	for (size_t i = 0; i < 3; i++)
		table_add(&table, STYLE_BOLD, "%s",
			  ((const char *[]){ "NAME", "BOX", "PORTS" })[i]);
	table_add(&table, STYLE_NONE, "日本web");
	table_add(&table, STYLE_NONE, "%s", "a\nb");
	table_add(&table, STYLE_NONE, "%s", "");
	table_print(&table, &out);
	assert_string_equal(out.buffer.data, "NAME     BOX   PORTS\n日本web  a\\nb\n");
	table_done(&table);
	out_done(&out);
}

static void near_words_are_found(void **state)
{
	static const char *const words[] = { "up", "status", "destroy", "ssh", "ssh-config", NULL };

	(void)state;
	assert_string_equal(text_nearest("stauts", words), "status");
	assert_string_equal(text_nearest("destory", words), "destroy");
	assert_string_equal(text_nearest("shs", words), "ssh");
	assert_null(text_nearest("frobnicate", words));
	assert_null(text_nearest("bogus", (const char *const[]){ "logs", NULL }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_text_becomes_visible),
		cmocka_unit_test(nothing_hostile_survives_any_byte),
		cmocka_unit_test(blocks_keep_lines_and_tabs_only),
		cmocka_unit_test(formats_pad_by_columns),
		cmocka_unit_test(columns_are_counted),
		cmocka_unit_test(numbers_read_well),
		cmocka_unit_test(json_strings_are_valid_and_visible),
		cmocka_unit_test(tables_line_up),
		cmocka_unit_test(near_words_are_found),
	};

	return cmocka_run_group_tests_name("cli_text", tests, NULL, NULL);
}
