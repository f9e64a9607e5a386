/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include "util/digest.h"

static void known_answers(void **state)
{
	char hex[DIGEST_HEX_SIZE];
	struct digest *digest = venv__digest_new();

	(void)state;
	assert_int_equal(venv__digest_of("", 0, hex), 0);
	assert_string_equal(hex,
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	venv__digest_add(digest, "a", 1);
	venv__digest_add(digest, "bc", 2);
	venv__digest_end(digest, hex);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
	};

	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
