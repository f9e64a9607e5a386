/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>

#include "libvenv/box/store.h"

static void versions_are_ordered(void **state)
{
	static const struct {
		const char *a, *b;
		int order;
	} cases[] = {
		{ "1", "1", 0 },
		{ "1", "1.0", 0 },
		{ "1.0.0", "1", 0 },
		{ "1.2", "1.10", -1 },
		{ "2", "1.9.9", 1 },
		{ "1.0.a", "1.0", -1 },
		{ "1.0.b1", "1.0.b2", -1 },
		{ "1.0.a10", "1.0.b1", -1 },
		{ "1.0-rc1", "1.0", -1 },
		{ "1.0.0.pre", "1.0", -1 },
		{ "20240101.1", "20231231.9", 1 },
		{ "01.2", "1.2", 0 },
		{ "99999999999999999999999", "99999999999999999999998", 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(venv__version_compare(cases[i].a, cases[i].b), cases[i].order);
		assert_int_equal(venv__version_compare(cases[i].b, cases[i].a), -cases[i].order);
	}
}

static void constraints_hold(void **state)
{
	static const struct {
		const char *version, *constraint;
		int matches;
	} cases[] = {
		{ "1.2.3", "1.2.3", 1 },
		{ "1.2.3", "= 1.2.4", 0 },
		{ "1.2.3", "!= 1.2.4", 1 },
		{ "1.2.3", "> 1.2", 1 },
		{ "1.2.3", ">=1.2.3", 1 },
		{ "1.2.3", "< 1.2.3", 0 },
		{ "1.2.3", "<= 1.2.3", 1 },
		{ "1.2.3", "~> 1.2.0", 1 },
		{ "1.3.0", "~> 1.2.0", 0 },
		{ "1.3.0", "~> 1.2", 1 },
		{ "2.0", "~> 1.2", 0 },
		{ "1.1", "~> 1.2", 0 },
		{ "1.9", "~> 1", 1 },
		{ "2", "~> 1", 0 },
		{ "1.5", ">= 1.0, < 2.0", 1 },
		{ "2.5", ">= 1.0, < 2.0", 0 },
		{ "1.5", ">= 1.0,!= 1.5", 0 },
		{ "1.2.9", "~> 1.2.3.pre", 1 },
		{ "1.2", "", VENV_ERR_CONFIG },
		{ "1.2", "~>", VENV_ERR_CONFIG },
		{ "1.2", "=> 1", VENV_ERR_CONFIG },
		{ "1.2", ">= 1,", VENV_ERR_CONFIG },
		{ "1.2", "1..2", VENV_ERR_CONFIG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_error_ venv_error *err = NULL;

		assert_int_equal(venv__version_matches(cases[i].version, cases[i].constraint, &err),
				 cases[i].matches);
	}
}

static void versions_are_checked(void **state)
{
	static const char *const bad[] = { "",   "a",   "1.",  ".1", "1..2",
					   "1-", "1/2", "1 2", "v1", "-1" };
	static const char *const good[] = { "1", "0", "1.2.3", "1.0-rc1", "20240101", "1.0.pre.2" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(venv__version_valid(bad[i]));
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(venv__version_valid(good[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_are_ordered),
		cmocka_unit_test(constraints_hold),
		cmocka_unit_test(versions_are_checked),
	};

	return cmocka_run_group_tests_name("box_version", tests, NULL, NULL);
}
