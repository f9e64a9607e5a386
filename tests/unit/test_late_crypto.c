/* SPDX-License-Identifier: Apache-2.0 */
/* Linked as libvenv.so is: without libcrypto. */
#include "tests/unit/test.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/digest.h"

static bool is_loaded(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[4096];
	bool found = false;

	assert_non_null(maps);
	while (!found && fgets(line, sizeof(line), maps))
		found = strstr(line, "/libcrypto.so") != NULL;
	(void)fclose(maps);
	return found;
}

static void is_loaded_when_it_is_needed(void **state)
{
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	assert_false(is_loaded());
	assert_int_equal(venv__digest_of("abc", 3, hex), 0);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(is_loaded());
}

/* RFC 8032, 7.1, test 2 */
static void makes_keys(void **state)
{
	static const unsigned char seed[] =
		"\x4c\xcd\x08\x9b\x28\xff\x96\xda\x9d\xb6\xc3\x46\xec\x11\x4e\x0f"
		"\x5b\x8a\x31\x9f\x35\xab\xa6\x24\xda\x8c\xf6\xed\x4f\xb8\xa6\xfb";
	unsigned char public[32], text[16];
	size_t length = sizeof(public);
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);

	(void)state;
	assert_non_null(key);
	assert_int_equal(EVP_PKEY_get_raw_public_key(key, public, &length), 1);
	assert_memory_equal(public, "\x3d\x40\x17\xc3\xe8\x43\x89\x5a", 8);
	EVP_PKEY_free(key);
	assert_int_equal(EVP_EncodeBlock(text, (const unsigned char *)"venv", 4), 8);
	assert_string_equal((const char *)text, "dmVudg==");
	OPENSSL_cleanse(public, sizeof(public));
	assert_int_equal(public[31], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_loaded_when_it_is_needed),
		cmocka_unit_test(makes_keys),
	};

	return cmocka_run_group_tests_name("late_crypto", tests, NULL, NULL);
}
