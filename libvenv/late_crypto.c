/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: libvenv.so needs libcrypto for digests and new keys only, yet to map and relocate
 * it costs more than half of a `venv status`. These stand in for its functions and load it when the
 * first is called. In libvenv.so only, where nobody else sees them: libvenv.a and our programs, some of
 * which could open no file when they need it, are linked to it.
 *   Without it nothing of a digest or key can be made, and their callers fail. It is always there where
 * venv is installed: venv-unpack and venv-ssh are linked to it.
 */
#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "util/compiler.h"

#define FUNCTIONS(X)                                                                               \
	X(EVP_sha256)                                                                              \
	X(EVP_MD_CTX_new)                                                                          \
	X(EVP_MD_CTX_free)                                                                         \
	X(EVP_DigestInit_ex)                                                                       \
	X(EVP_DigestUpdate)                                                                        \
	X(EVP_DigestFinal_ex)                                                                      \
	X(EVP_PKEY_new_raw_private_key)                                                            \
	X(EVP_PKEY_get_raw_public_key)                                                             \
	X(EVP_PKEY_free)                                                                           \
	X(EVP_EncodeBlock)

static struct {
#define MEMBER(name) __typeof__(name) *name;
	FUNCTIONS(MEMBER)
#undef MEMBER
	bool complete;
} late;

static void load(void)
{
	void *library = dlopen("libcrypto.so." STRINGIFY(OPENSSL_SHLIB_VERSION), RTLD_NOW);

	if (!library)
		return;
	late.complete = true;
#define FIND(name)                                                                                 \
	*(void **)&late.name = dlsym(library, #name);                                              \
	late.complete = late.complete && late.name;
	FUNCTIONS(FIND)
#undef FIND
}

static bool loaded(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, load);
	return late.complete;
}

const EVP_MD *EVP_sha256(void)
{
	return loaded() ? late.EVP_sha256() : NULL;
}

EVP_MD_CTX *EVP_MD_CTX_new(void)
{
	return loaded() ? late.EVP_MD_CTX_new() : NULL;
}

void EVP_MD_CTX_free(EVP_MD_CTX *context)
{
	if (loaded())
		late.EVP_MD_CTX_free(context);
}

int EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *type, ENGINE *engine)
{
	return loaded() ? late.EVP_DigestInit_ex(context, type, engine) : 0;
}

int EVP_DigestUpdate(EVP_MD_CTX *context, const void *data, size_t length)
{
	return loaded() ? late.EVP_DigestUpdate(context, data, length) : 0;
}

int EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *ret, unsigned int *ret_length)
{
	return loaded() ? late.EVP_DigestFinal_ex(context, ret, ret_length) : 0;
}

EVP_PKEY *EVP_PKEY_new_raw_private_key(int type, ENGINE *engine, const unsigned char *key,
				       size_t length)
{
	return loaded() ? late.EVP_PKEY_new_raw_private_key(type, engine, key, length) : NULL;
}

int EVP_PKEY_get_raw_public_key(const EVP_PKEY *key, unsigned char *ret, size_t *ret_length)
{
	return loaded() ? late.EVP_PKEY_get_raw_public_key(key, ret, ret_length) : 0;
}

void EVP_PKEY_free(EVP_PKEY *key)
{
	if (loaded())
		late.EVP_PKEY_free(key);
}

int EVP_EncodeBlock(unsigned char *ret, const unsigned char *data, int length)
{
	return loaded() ? late.EVP_EncodeBlock(ret, data, length) : 0;
}

/* Needs nothing of it. */
void OPENSSL_cleanse(void *data, size_t length)
{
	explicit_bzero(data, length);
}
