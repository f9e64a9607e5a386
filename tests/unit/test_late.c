/* SPDX-License-Identifier: Apache-2.0 */
/* Linked as libvenv.so is: without libcrypto and libsodium. */
#include "tests/unit/test.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/digest.h"

static bool is_loaded(const char *library)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[4096];
	bool found = false;

	assert_non_null(maps);
	while (!found && fgets(line, sizeof(line), maps))
		found = strstr(line, library) != NULL;
	(void)fclose(maps);
	return found;
}

static void is_loaded_when_it_is_needed(void **state)
{
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	assert_false(is_loaded("/libcrypto.so"));
	assert_int_equal(venv__digest_of("abc", 3, hex), 0);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(is_loaded("/libcrypto.so"));
}

/* RFC 8032, 7.1, test 2 */
static void makes_keys(void **state)
{
	static const unsigned char seed[] =
		"\x4c\xcd\x08\x9b\x28\xff\x96\xda\x9d\xb6\xc3\x46\xec\x11\x4e\x0f"
		"\x5b\x8a\x31\x9f\x35\xab\xa6\x24\xda\x8c\xf6\xed\x4f\xb8\xa6\xfb";
	unsigned char public[32], secret[64];
	char text[16];

	(void)state;
	assert_false(is_loaded("/libsodium.so"));
	assert_true(sodium_init() >= 0);
	assert_true(is_loaded("/libsodium.so"));
	assert_int_equal(crypto_sign_ed25519_seed_keypair(public, secret, seed), 0);
	assert_memory_equal(public, "\x3d\x40\x17\xc3\xe8\x43\x89\x5a", 8);
	assert_memory_equal(secret, seed, 32);
	assert_memory_equal(secret + 32, public, 32);
	assert_ptr_equal(sodium_bin2base64(text, sizeof(text), (const unsigned char *)"venv", 4,
					   sodium_base64_VARIANT_ORIGINAL),
			 text);
	assert_string_equal(text, "dmVudg==");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_loaded_when_it_is_needed),
		cmocka_unit_test(makes_keys),
	};

	return cmocka_run_group_tests_name("late", tests, NULL, NULL);
}
