/* SPDX-License-Identifier: Apache-2.0 */
/* The caret stands below the character that is meant, whatever stands before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/quote.h"

static void carets_stand_below_the_place(void **state)
{
	static const struct {
		const char *line;
		unsigned column;
		const char *quote;
	} cases[] = {
		{ "  memory: 2X\n", 11, "   7 |   memory: 2X\n     |           ^\n" },
		{ "box: a", 1, "   7 | box: a\n     | ^\n" },
		{ "box: a", 0, "   7 | box: a\n" },
		{ "box:", 5, "   7 | box:\n     |     ^\n" }, /* behind the end */
		{ "box:", 99, "   7 | box:\n     |     ^\n" },
		{ "", 1, "   7 |\n     | ^\n" },
		{ "\tweb:", 2, "   7 |         web:\n     |         ^\n" },
		{ "ab\tc", 4, "   7 | ab      c\n     |         ^\n" },
		{ "\tweb:", 1, "   7 |         web:\n     | ^\n" },
		{ "名前: 2X", 5, "   7 | 名前: 2X\n     |       ^\n" },      /* wide */
		{ "e\xcc\x81: X", 5, "   7 | e\xcc\x81: X\n     |    ^\n" }, /* combining */
		{ "\033[2J: X", 7, "   7 | \\x1b[2J: X\n     |          ^\n" },
		{ "a: b\r\n", 4, "   7 | a: b\n     |    ^\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_text_ struct text text = { 0 };

		quote_line(&text, cases[i].line, 7, cases[i].column, 80, "…");
		assert_string_equal(text.data, cases[i].quote);
	}
}

/* The character above the caret of a quote. */
static char pointed_at(const char *quote)
{
	const char *second = strchr(quote, '\n') + 1;
	size_t column = text_columns(second) - 2; /* without caret and line end */

	return quote[text_fit(quote, column)];
}

static void long_lines_are_cut_around_the_caret(void **state)
{
	char line[400];

	(void)state;
	for (unsigned column = 1; column <= sizeof(line) - 1; column++) {
		_cleanup_text_ struct text text = { 0 };

		memset(line, '.', sizeof(line) - 1);
		line[sizeof(line) - 1] = '\0';
		line[column - 1] = 'X';
		quote_line(&text, line, 12, column, 80, "…");
		assert_int_equal(pointed_at(text.data), 'X');
		text.data[strcspn(text.data, "\n")] = '\0';
		assert_in_range(text_columns(text.data), 40, 80);
	}
}

static void lines_of_wide_characters_are_cut_too(void **state)
{
	char line[600] = "";

	(void)state;
	for (size_t i = 0; i < 100; i++)
		strncat(line, i == 60 ? "X" : "語", sizeof(line) - strlen(line) - 1);
	for (unsigned width = 40; width < 100; width++) {
		_cleanup_text_ struct text text = { 0 };

		quote_line(&text, line, 12, 61, width, "…");
		assert_int_equal(pointed_at(text.data), 'X');
		text.data[strcspn(text.data, "\n")] = '\0';
		assert_in_range(text_columns(text.data), 20, width);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carets_stand_below_the_place),
		cmocka_unit_test(long_lines_are_cut_around_the_caret),
		cmocka_unit_test(lines_of_wide_characters_are_cut_too),
	};

	return cmocka_run_group_tests_name("cli_quote", tests, NULL, NULL);
}
