/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>

#include "tests/support/failing_memory.h"
#include "util/buf.h"
#include "util/json.h"

static void getters_take_anything(void **state)
{
	_cleanup_json_ json_t *json = json_pack("{s:s, s:i, s:b, s:[s,s]}", "s", "text", "i", 7,
						"b", 1, "l", "one", "two");
	_cleanup_strv_ char **list = venv__json_strv(json, "l");

	(void)state;
	assert_string_equal(venv__json_str(json, "s"), "text");
	assert_null(venv__json_str(json, "i"));
	assert_null(venv__json_str(NULL, "i"));
	assert_int_equal(venv__json_int(json, "i", 0), 7);
	assert_int_equal(venv__json_int(json, "s", -1), -1);
	assert_true(venv__json_bool(json, "b", false));
	assert_true(venv__json_bool(json, "none", true));
	assert_string_equal(list[1], "two");
	assert_null(venv__json_strv(json, "s"));
}

static void a_damaged_record_says_so(void **state)
{
	char path[] = "/tmp/venv-test-json.XXXXXX";
	_cleanup_error_ venv_error *err = NULL;
	json_t *json = NULL;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(venv__json_read(fd, "none", &json, NULL), VENV_ERR_NOT_FOUND);
	assert_int_equal(venv__file_write(fd, "bad", "{\"a\":", 5, 0600, WRITE_VOLATILE, NULL), 0);
	assert_int_equal(venv__json_read(fd, "bad", &json, &err), VENV_ERR_CORRUPT);
	assert_non_null(strstr(venv_error_hint(err), "venv repair"));
	(void)close(fd);
	assert_int_equal(venv__tree_delete(AT_FDCWD, path, NULL), 0);
}

#ifdef HAVE_SANITIZER
static void a_lack_of_memory_loses_nothing(void **state)
{
	(void)state; /* a sanitizer has its own allocator */
}
#else
/* Whatever is left out, a number after it must not hide that. */
static void a_lack_of_memory_loses_nothing(void **state)
{
	static const char text[] =
		"{\"a name longer than sixteen\": 12, \"list\": [\"and a text that needs room\", "
		"1234567890123456789, 0.25000000000000000000001], \"end\": true}";
	_cleanup_json_ json_t *whole = NULL;
	bool failed = true;

	(void)state;
	assert_int_equal(venv__json_parse(text, strlen(text), &whole, NULL), 0);
	for (long n = 0; failed; n++) {
		_cleanup_json_ json_t *json = NULL;
		int r;

		failing_memory_begin(n);
		r = venv__json_parse(text, strlen(text), &json, NULL);
		failed = failing_memory_end();
		if (r == 0 && !json_equal(json, whole))
			fail_msg("allocation %ld: another value was read", n);
		if (r < 0)
			assert_int_equal(r, VENV_ERR_NOMEM);
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(getters_take_anything),
		cmocka_unit_test(a_damaged_record_says_so),
		cmocka_unit_test(a_lack_of_memory_loses_nothing),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
