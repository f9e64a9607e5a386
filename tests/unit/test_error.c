/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>

#include "util/error.h"

static void code_and_message(void **state)
{
	_cleanup_error_ venv_error *err = NULL;

	(void)state;
	assert_int_equal(venv__fail(&err, VENV_ERR_BOX, "box '%s' is bad", "x"), VENV_ERR_BOX);
	assert_int_equal(venv_error_code(err), VENV_ERR_BOX);
	assert_string_equal(venv_error_message(err), "box 'x' is bad");
	assert_null(venv_error_hint(err));
	assert_non_null(strstr(venv_error_origin(err), "test_error.c:"));
}

static void errno_gives_the_code_and_its_text(void **state)
{
	_cleanup_error_ venv_error *err = NULL;

	(void)state;
	assert_int_equal(venv__fail_errno(&err, ENOENT, "cannot open"), VENV_ERR_NOT_FOUND);
	assert_string_equal(venv_error_message(err), "cannot open: No such file or directory");
}

static void a_full_disk_says_what_to_do(void **state)
{
	_cleanup_error_ venv_error *err = NULL;

	(void)state;
	assert_int_equal(venv__fail_errno(&err, ENOSPC, "cannot write"), VENV_ERR_SYSTEM);
	assert_non_null(strstr(venv_error_hint(err), "free some space"));
}

static void context_is_put_before(void **state)
{
	_cleanup_error_ venv_error *err = NULL;
	int r = venv__fail(&err, VENV_ERR_BOX, "no layers");

	(void)state;
	assert_int_equal(venv__wrap(r, &err, "box '%s'", "b"), VENV_ERR_BOX);
	assert_string_equal(venv_error_message(err), "box 'b': no layers");
}

static void the_innermost_hint_stays(void **state)
{
	_cleanup_error_ venv_error *err = NULL;
	int r = venv__hint(venv__fail(&err, VENV_ERR_BOX, "x"), &err, "first");

	(void)state;
	assert_int_equal(venv__hint(r, &err, "second"), VENV_ERR_BOX);
	assert_string_equal(venv_error_hint(err), "first");
}

static void without_an_error_object_the_code_still_comes(void **state)
{
	(void)state;
	assert_int_equal(venv__fail(NULL, VENV_ERR_BUSY, "x"), VENV_ERR_BUSY);
	assert_int_equal(venv__wrap(VENV_ERR_BUSY, NULL, "y"), VENV_ERR_BUSY);
	assert_int_equal(venv__fail_errno(NULL, EPERM, "z"), VENV_ERR_DENIED);
}

static void places_are_kept(void **state)
{
	_cleanup_error_ venv_error *err = NULL, *copy = NULL;
	int r = venv__fail_at(&err, VENV_ERR_CONFIG, "venv.yml", 7, 11, "bad");

	(void)state;
	assert_int_equal(venv__error_set_machine(r, &err, "web"), VENV_ERR_CONFIG);
	copy = venv__error_copy(err);
	assert_string_equal(venv_error_file(copy), "venv.yml");
	assert_int_equal(venv_error_line(copy), 7);
	assert_int_equal(venv_error_column(copy), 11);
	assert_string_equal(venv_error_machine(copy), "web");
}

static void every_code_has_a_name_and_a_status(void **state)
{
	(void)state;
	assert_string_equal(venv_code_name(VENV_ERR_NOT_FOUND), "NOT_FOUND");
	assert_int_equal(venv_code_exit_status(VENV_ERR_INVALID), 2);
	assert_int_equal(venv_code_exit_status(0), 0);
	for (int code = VENV_ERR_HOST; code < 0; code++)
		assert_true(venv_code_exit_status(code) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(code_and_message),
		cmocka_unit_test(errno_gives_the_code_and_its_text),
		cmocka_unit_test(a_full_disk_says_what_to_do),
		cmocka_unit_test(context_is_put_before),
		cmocka_unit_test(the_innermost_hint_stays),
		cmocka_unit_test(without_an_error_object_the_code_still_comes),
		cmocka_unit_test(places_are_kept),
		cmocka_unit_test(every_code_has_a_name_and_a_status),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
