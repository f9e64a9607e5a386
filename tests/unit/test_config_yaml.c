/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a file before its keys are looked at: YAML, limits, interpolation. */
#include "config_support.h"

#include <stdlib.h>

static void bad_files_name_their_place(void **state)
{
	static const struct bad cases[] = {
		{ "", 1, 1, "the file says nothing", "box: debian/12" },
		{ "# nothing\n---\n", 1, 1, "the file says nothing", NULL },
		{ "box\n", 1, 1, "the file holds text, not keys", NULL },
		{ "- box\n", 1, 1, "the file holds a list, not keys", NULL },
		{ "box: a\n\tmemory: 2G\n", 2, 1, "a tab cannot indent YAML", "spaces" },
		{ "machines:\n\tweb: {}\n", 2, 1, "a tab cannot indent YAML", "spaces" },
		{ "box: a\nbox: b\n", 2, 1, "key 'box' is given twice", "line 1" },
		{ "box: a\nenv: {A: 1, A: 2}\n", 2, 13, "key 'A' is given twice", NULL },
		{ "box: \xc3\xa4\xff\n", 1, 7, "byte 0xff is not UTF-8", "UTF-8" },
		{ "box: a\n# \xc3\x28\n", 2, 3, "byte 0xc3 is not UTF-8", "UTF-8" },
		{ "box: \xed\xa0\x80\n", 1, 6, "byte 0xed is not UTF-8", "UTF-8" },
		{ "box: \xc0\xaf\n", 1, 6, "byte 0xc0 is not UTF-8", "UTF-8" },
		{ "box: a\nuser: \x01\n", 2, 7, "control character U+0001", NULL },
		{ "box: a\nuser: \x1b[31m\n", 2, 7, "control character U+001B", NULL },
		{ "box: \"a\\0b\"\n", 1, 6, "a value cannot hold the character U+0000", NULL },
		{ "box: a: b\n", 1, 7, "YAML: mapping values are not allowed in this context",
		  "quotes" },
		{ "box: @a\n", 1, 6,
		  "YAML: found character that cannot start any token while scanning for the next "
		  "token",
		  "quotes" },
		{ "box: [a\n", 2, 1,
		  "YAML: did not find expected ',' or ']' while parsing a flow sequence",
		  "bracket" },
		{ "{box: a, [x]: y}\n", 1, 10, "a key must be text, not a list", NULL },
		{ "? {a: b}\n: c\n", 1, 3, "a key must be text, not a map", NULL },
		{ "box: !!str a\n", 1, 6, "YAML tag 'tag:yaml.org,2002:str' is not supported",
		  "remove it" },
		{ "box: !ruby/object a\n", 1, 6, "YAML tag '!ruby/object' is not supported", NULL },
		{ "box: a\n---\nbox: b\n", 2, 1, "a second document begins here", "'---'" },
		{ "box: *x\n", 1, 6, "alias '*x' has no anchor", "&x" },
		{ "box: a\nmachines: &a {b: *a}\n", 2, 18, "alias '*a' has no anchor", NULL },
		{ "machines:\n", 1, 10, "'machines' wants a map by names", NULL },
		{ "machines: {}\n", 1, 11, "'machines' is empty", NULL },
		{ "machines: [web]\n", 1, 11, "'machines' wants a map by names", NULL },
		{ "machines:\n  web:\n", 2, 3, "machine 'web' has no box", "for all machines" },
		{ "machines:\n  Web: {box: a}\n", 2, 3, "invalid machine name 'Web'", NULL },
		{ "machines:\n  a_b: {box: a}\n", 2, 3, "invalid machine name 'a_b'", NULL },
		{ "machines:\n  a-: {box: a}\n", 2, 3, "invalid machine name 'a-'", NULL },
		{ "box: a\nmachines: {web: 5}\n", 2, 17, "machine 'web' is a map, not text", NULL },
	};

	(void)state;
	check_all_bad(cases);
}

static void columns_count_characters(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nenv: { A: äöü, B: [] }\n", 2, 19, "variable 'B' is text, not a list",
		  NULL },
		{ "box: a\nports: ['8080:80', \"8081:x\"]\n", 2, 26, "'x' is not a port", NULL },
	};

	(void)state;
	check_all_bad(cases);
}

static void harmless_forms_are_taken(void **state)
{
	static const char *const texts[] = {
		"\xef\xbb\xbf\x62ox: a\n",
		"box: a\r\nmemory: 2G\r\n",
		"box: a",
		"---\nbox: a\n...\n",
		"%YAML 1.1\n---\nbox: a\n",
		"{box: a}",
		"box: 'a'\nmemory: \"2G\"\n",
		"box: &x a\nmachines: {m: {box: *x}}\n",
		"box:\n  a\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_spec_ struct project_spec *spec = parse_good(texts[i]);

		assert_string_equal(spec->machines[0].box, "a");
	}
}

static void text_need_not_end_with_a_zero(void **state)
{
	_cleanup_spec_ struct project_spec *spec = NULL;
	static const char text[] = { 'b', 'o', 'x', ':', ' ', 'a', '!' };

	(void)state;
	assert_int_equal(venv__spec_parse("venv.yml", "/p", text, 6, NULL, &spec, NULL), 0);
	assert_string_equal(spec->machines[0].box, "a");
}

static void check_message(const char *text, const char *message)
{
	_cleanup_error_ venv_error *err = NULL;
	struct project_spec *spec = NULL;

	assert_int_equal(parse_text(text, NULL, &spec, &err), VENV_ERR_CONFIG);
	assert_string_equal(venv_error_message(err), message);
}

static void nesting_is_limited(void **state)
{
	char text[4096] = "box: ";

	(void)state;
	memset(text + 5, '[', 100);
	check_message(text, "nested more than 32 deep");
	memset(text + 5, '[', 4000);
	check_message(text, "nested more than 32 deep");
}

static void aliases_cannot_make_a_small_file_large(void **state)
{
	_cleanup_buf_ struct buf text = { 0 };

	(void)state;
	venv__buf_puts(&text, "box: a\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 9; i++) {
		venv__buf_printf(&text, "a%d: &a%d [", i, i);
		for (int j = 0; j < 10; j++)
			venv__buf_printf(&text, "%s*a%d", j ? ", " : "", i - 1);
		venv__buf_puts(&text, "]\n");
	}
	check_message(text.data, "more than 10000 values");
}

static void size_is_limited(void **state)
{
	_cleanup_free_ char *text = malloc((2 << 20) + 1);

	(void)state;
	memset(text, '#', 2 << 20);
	text[2 << 20] = '\0';
	check_message(text, "larger than 1048576 bytes");
}

static int set_variables(void **state)
{
	(void)state;
	return setenv("VENV_TEST_SET", "2G", 1) | setenv("VENV_TEST_EMPTY", "", 1) |
	       setenv("VENV_TEST_ODD", "a\x1b", 1) | setenv("VENV_TEST_DOLLAR", "${NOPE} $$", 1) |
	       unsetenv("VENV_TEST_UNSET");
}

static void variables_are_interpolated(void **state)
{
	_cleanup_spec_ struct project_spec *spec =
		parse_good("box: a\nmemory: ${VENV_TEST_SET}\n"
			   "env:\n"
			   "  A: x${VENV_TEST_SET}y${VENV_TEST_SET:-z}\n"
			   "  B: ${VENV_TEST_UNSET:-de-fault}\n"
			   "  C: ${VENV_TEST_EMPTY:-full}\n"
			   "  D: \"${VENV_TEST_EMPTY}\"\n"
			   "  E: $$HOME $${VENV_TEST_SET} $HOME $5 100$ $$$$\n"
			   "  F: ${VENV_TEST_DOLLAR}\n"
			   "  G: ${VENV_TEST_UNSET:-}\n");
	char *const *env = spec->machines[0].env;

	(void)state;
	assert_int_equal(spec->machines[0].memory, 2ull << 30);
	assert_string_equal(venv__env_get(env, "A"), "x2Gy2G");
	assert_string_equal(venv__env_get(env, "B"), "de-fault");
	assert_string_equal(venv__env_get(env, "C"), "full");
	assert_string_equal(venv__env_get(env, "D"), "");
	assert_string_equal(venv__env_get(env, "E"), "$HOME ${VENV_TEST_SET} $HOME $5 100$ $$");
	assert_string_equal(venv__env_get(env, "F"), "${NOPE} $$"); /* once only */
	assert_string_equal(venv__env_get(env, "G"), "");
}

static void errors_do_not_tell_what_the_environment_holds(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nmemory: ${VENV_TEST_SECRET}\n", 2, 9, "'${VENV_TEST_SECRET}'", NULL },
		{ "box: a\nmemory: 12${VENV_TEST_SECRET}\n", 2, 9, "${VENV_TEST_SECRET}", NULL },
		{ "box: a\nports: ['8080:${VENV_TEST_SECRET}']\n", 2, 9, "${VENV_TEST_SECRET}",
		  NULL },
		{ "box: a\nports: [{host: 1, guest: \"${VENV_TEST_SECRET}\"}]\n", 2, 26,
		  "'${VENV_TEST_SECRET}'", NULL },
		{ "box: a\nname: ${VENV_TEST_SECRET}\n", 2, 7, "'${VENV_TEST_SECRET}'", NULL },
		{ "box: a\nnetworks: {b: {subnet: \"${VENV_TEST_SECRET}\"}}\n", 2, 24,
		  "'${VENV_TEST_SECRET}'", NULL },
		{ "memory: ${VENV_TEST_SECRET}\nmachines: {w: {box: a}}\n", 1, 9,
		  "'${VENV_TEST_SECRET}'", NULL },
		{ "box: a\nuser: a${VENV_TEST_SPACE}\n", 2, 7, "'a${VENV_TEST_SPACE}'", NULL },
		/* as it stands in the file, it would do */
		{ "box: a\nfolders: [\".:/${VENV_TEST_PROC}\"]\n", 2, 11, "stands for", NULL },
		/* what the file says itself is told */
		{ "box: a\nmemory: ${VENV_TEST_UNSET:-2X}\n", 2, 9, "'2X'", NULL },
	};

	(void)state;
	assert_int_equal(setenv("VENV_TEST_SECRET", "hunter two", 1), 0);
	assert_int_equal(setenv("VENV_TEST_SPACE", " hunter", 1), 0);
	assert_int_equal(setenv("VENV_TEST_PROC", "proc", 1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct project_spec *spec = NULL;
		_cleanup_error_ venv_error *err = NULL;
		const char *hint;

		assert_true(venv__spec_parse("venv.yml", "/tmp", cases[i].text,
					     strlen(cases[i].text), NULL, &spec, &err) < 0);
		hint = venv_error_hint(err);
		assert_null(strstr(venv_error_message(err), "hunter"));
		assert_null(hint ? strstr(hint, "hunter") : NULL);
		assert_non_null(strstr(venv_error_message(err), cases[i].message));
		assert_int_equal(venv_error_line(err), cases[i].line);
		assert_int_equal(venv_error_column(err), cases[i].column);
	}
}

static void a_shared_default_is_interpolated_once(void **state)
{
	_cleanup_spec_ struct project_spec *spec =
		parse_good("box: a\nenv: {A: $$$$}\nmachines: {x: {}, y: {}, z: {env: {B: 1}}}\n");

	(void)state;
	for (size_t i = 0; i < spec->n_machines; i++)
		assert_string_equal(venv__env_get(spec->machines[i].env, "A"), "$$");
}

static void bad_variables(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nuser: ${VENV_TEST_UNSET}\n", 2, 7,
		  "environment variable 'VENV_TEST_UNSET' is not set", "export VENV_TEST_UNSET=" },
		{ "box: a\nuser: x${VENV_TEST_UNSET:?see the README}\n", 2, 8,
		  "environment variable 'VENV_TEST_UNSET' is not set: see the README", NULL },
		{ "box: a\nuser: ${VENV_TEST_EMPTY:?}\n", 2, 7,
		  "environment variable 'VENV_TEST_EMPTY' is not set", NULL },
		{ "box: a\nuser: ${VENV_TEST_SET\n", 2, 7, "'${' without a '}'", NULL },
		{ "box: a\nuser: ${}\n", 2, 7, "unknown substitution '${}'", NULL },
		{ "box: a\nuser: ${x%y}\n", 2, 7, "unknown substitution '${x%y}'", "$${" },
		{ "box: a\nuser: ${VENV_TEST_ODD}\n", 2, 7,
		  "environment variable 'VENV_TEST_ODD' is not text", NULL },
		{ "box: a\nmemory: ${VENV_TEST_UNSET:-2X}\n", 2, 9,
		  "unknown size suffix 'X' in '2X'", NULL },
	};

	(void)state;
	check_all_bad(cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_files_name_their_place),
		cmocka_unit_test(columns_count_characters),
		cmocka_unit_test(harmless_forms_are_taken),
		cmocka_unit_test(text_need_not_end_with_a_zero),
		cmocka_unit_test(nesting_is_limited),
		cmocka_unit_test(aliases_cannot_make_a_small_file_large),
		cmocka_unit_test(size_is_limited),
		cmocka_unit_test(variables_are_interpolated),
		cmocka_unit_test(errors_do_not_tell_what_the_environment_holds),
		cmocka_unit_test(a_shared_default_is_interpolated_once),
		cmocka_unit_test(bad_variables),
	};

	return cmocka_run_group_tests_name("config_yaml", tests, set_variables, NULL);
}
