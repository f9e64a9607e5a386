/* SPDX-License-Identifier: Apache-2.0 */
#include "digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct digest {
	EVP_MD_CTX *context;
};

struct digest *venv__digest_new(void)
{
	struct digest *digest = calloc(1, sizeof(*digest));

	if (!digest)
		return NULL;
	digest->context = EVP_MD_CTX_new();
	if (!digest->context || !EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL)) {
		venv__digest_free(digest);
		return NULL;
	}
	return digest;
}

void venv__digest_add(struct digest *digest, const void *data, size_t length)
{
	(void)EVP_DigestUpdate(digest->context, data, length);
}

void venv__digest_end(struct digest *digest, char ret_hex[DIGEST_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char sum[EVP_MAX_MD_SIZE] = { 0 };
	unsigned length = 0;

	(void)EVP_DigestFinal_ex(digest->context, sum, &length);
	for (size_t i = 0; i < 32; i++) {
		ret_hex[2 * i] = digits[sum[i] >> 4];
		ret_hex[2 * i + 1] = digits[sum[i] & 15];
	}
	ret_hex[64] = '\0';
	venv__digest_free(digest);
}

void venv__digest_free(struct digest *digest)
{
	if (!digest)
		return;
	EVP_MD_CTX_free(digest->context);
	free(digest);
}

int venv__digest_of(const void *data, size_t length, char ret_hex[DIGEST_HEX_SIZE])
{
	struct digest *digest = venv__digest_new();

	if (!digest)
		return -ENOMEM;
	venv__digest_add(digest, data, length);
	venv__digest_end(digest, ret_hex);
	return 0;
}
