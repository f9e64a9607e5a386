/* SPDX-License-Identifier: Apache-2.0 */
/* Which command lines are the scp protocol's, and what their words are. */
#include "test.h"

#include <string.h>

#include "sess/sess.h"

static void words_are_found(void **state)
{
	static const struct {
		const char *command, *words; /* joined by '|'; NULL: a shell's business */
	} cases[] = {
		{ "scp -t /tmp", "scp|-t|/tmp" },
		{ "scp -v -r -p -d -t -- /tmp/a", "scp|-v|-r|-p|-d|-t|--|/tmp/a" },
		{ "scp -rpt .", "scp|-rpt|." },
		{ "scp  -f\t*.txt  ~/[ab]?", "scp|-f|*.txt|~/[ab]?" },
		{ "scp -f 'a b'", "scp|-f|a b" },
		{ "scp -f 'a*b'", "scp|-f|a\\*b" },
		{ "scp -f a\\ b\\*", "scp|-f|a b\\*" },
		{ "scp -f \"a$\"", NULL },
		{ "scp -f \"a\\$b\"'c'd", "scp|-f|a$bcd" },
		{ "scp -f '~'", "scp|-f|\\~" },
		{ "scp -f ''", "scp|-f|" },
		{ "scp -f a; rm b", NULL },
		{ "scp -f $(x)", NULL },
		{ "scp -f `x`", NULL },
		{ "scp -f a>b", NULL },
		{ "scp -f {a,b}", NULL },
		{ "scp -f 'a", NULL },
		{ "scp -f a\\", NULL },
		{ "scp a b", NULL },
		{ "scp -t", NULL },
		{ "scp -t --", NULL },
		{ "scp -o X -t a", NULL },
		{ "scp", NULL },
		{ "scpx -t a", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strv_ char **words = sess_scp_words(cases[i].command);
		_cleanup_buf_ struct buf joined = { 0 };

		if (!cases[i].words) {
			assert_null(words);
			continue;
		}
		assert_non_null(words);
		for (char **p = words; *p; p++)
			venv__buf_printf(&joined, "%s%s", p == words ? "" : "|", *p);
		assert_string_equal(joined.data, cases[i].words);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(words_are_found) };

	return cmocka_run_group_tests_name("ssh_words", tests, NULL, NULL);
}
