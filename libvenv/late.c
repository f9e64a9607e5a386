/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: libvenv.so needs libcrypto for digests and libsodium for new keys only, yet to
 * map and relocate the first costs more than half of a `venv status`. These stand in for their functions
 * and load a library when one of its functions is called first. In libvenv.so only, where nobody else
 * sees them: libvenv.a and our programs, some of which could open no file when they need it, are linked
 * to the libraries themselves.
 *   Without them no digest or key can be made, and their callers fail. They are always there where venv
 * is installed: it depends on both.
 */
#include <dlfcn.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>

#include "util/compiler.h"

#define CRYPTO(X)                                                                                  \
	X(EVP_sha256)                                                                              \
	X(EVP_MD_CTX_new)                                                                          \
	X(EVP_MD_CTX_free)                                                                         \
	X(EVP_DigestInit_ex)                                                                       \
	X(EVP_DigestUpdate)                                                                        \
	X(EVP_DigestFinal_ex)
#define SODIUM(X)                                                                                  \
	X(sodium_init)                                                                             \
	X(crypto_sign_ed25519_seed_keypair)                                                        \
	X(sodium_bin2base64)

#define MEMBER(name) __typeof__(name) *name;
#define FIND(name)                                                                                 \
	*(void **)&late.name = dlsym(library, #name);                                              \
	complete = complete && late.name;

static struct {
	CRYPTO(MEMBER)
	SODIUM(MEMBER)
	bool crypto, sodium;
} late;

static void load_crypto(void)
{
	void *library = dlopen("libcrypto.so." STRINGIFY(OPENSSL_SHLIB_VERSION), RTLD_NOW);
	bool complete = library != NULL;

	if (library) {
		CRYPTO(FIND)
	}
	late.crypto = complete;
}

static void load_sodium(void)
{
	void *library = dlopen(VENV_SODIUM, RTLD_NOW);
	bool complete = library != NULL;

	if (library) {
		SODIUM(FIND)
	}
	late.sodium = complete;
}

static bool crypto(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, load_crypto);
	return late.crypto;
}

static bool sodium(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, load_sodium);
	return late.sodium;
}

const EVP_MD *EVP_sha256(void)
{
	return crypto() ? late.EVP_sha256() : NULL;
}

EVP_MD_CTX *EVP_MD_CTX_new(void)
{
	return crypto() ? late.EVP_MD_CTX_new() : NULL;
}

void EVP_MD_CTX_free(EVP_MD_CTX *context)
{
	if (crypto())
		late.EVP_MD_CTX_free(context);
}

int EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *type, ENGINE *engine)
{
	return crypto() ? late.EVP_DigestInit_ex(context, type, engine) : 0;
}

int EVP_DigestUpdate(EVP_MD_CTX *context, const void *data, size_t length)
{
	return crypto() ? late.EVP_DigestUpdate(context, data, length) : 0;
}

int EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *ret, unsigned int *ret_length)
{
	return crypto() ? late.EVP_DigestFinal_ex(context, ret, ret_length) : 0;
}

int sodium_init(void)
{
	return sodium() ? late.sodium_init() : -1;
}

int crypto_sign_ed25519_seed_keypair(unsigned char *public_key, unsigned char *secret_key,
				     const unsigned char *seed)
{
	return sodium() ? late.crypto_sign_ed25519_seed_keypair(public_key, secret_key, seed) : -1;
}

char *sodium_bin2base64(char *ret, size_t size, const unsigned char *data, size_t length,
			int variant)
{
	return sodium() ? late.sodium_bin2base64(ret, size, data, length, variant) : NULL;
}
