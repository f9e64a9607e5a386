/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What venv-sess and venv-ssh may still do once they talk to somebody: use the descriptors that
 * they have, take ones that they are sent, make pipes and socket pairs, get memory. No file, no
 * program, no socket of another kind, no look at another process.
 */
#ifndef VENV_SSH_CONFINE_H
#define VENV_SSH_CONFINE_H

enum confine_flags { CONFINE_CONNECT_UNIX = 1 /* the client with a forwarded agent */ };

/*
 * For OPENSSL_init_crypto(): no configuration file, no tables of names, no texts of errors. libssh
 * needs none of them, and they take 3 ms (measured: 3.5 to 0.6 ms up to the first key).
 */
#define CRYPTO_QUICK_START                                                                         \
	(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ADD_ALL_CIPHERS |                           \
	 OPENSSL_INIT_NO_ADD_ALL_DIGESTS | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS)

/*
 * 0 or -errno. What a kernel lacks (Landlock) is left out; the system call filter is not optional.
 */
int venv__confine(unsigned flags);

#endif
