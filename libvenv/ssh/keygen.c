/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key pairs in OpenSSH's own format (PROTOCOL.key in its sources): "openssh-key-v1", not encrypted.
 *
 * Theory of operation: the public file is written before the private one, so a private file that is
 * there and whole means that both are.
 */
#include <sodium.h>
#include <string.h>
#include <sys/random.h>

#include "ssh.h"
#include "util/buf.h"
#include "util/file.h"

enum { KEY_SIZE = 32, COLUMNS = 70, FILE_MAX = 16384 };

#define KEY_TYPE "ssh-ed25519"
#define BEGIN "-----BEGIN OPENSSH PRIVATE KEY-----\n"
#define END "-----END OPENSSH PRIVATE KEY-----\n"
#define MAGIC "openssh-key-v1" /* with its zero */

struct pair {
	unsigned char public[KEY_SIZE];
	unsigned char
		secret[2 * KEY_SIZE]; /* the seed and the public key, as OpenSSH writes it too */
};

static int make_pair(struct pair *ret, venv_error **err)
{
	unsigned char seed[KEY_SIZE];
	bool ok;

	if (sodium_init() < 0)
		return venv__hint(
			venv__fail(err, VENV_ERR_HOST, "libsodium is missing or does not start"),
			err, "install it: Debian's package is 'libsodium23'");
	if (getrandom(seed, KEY_SIZE, 0) != KEY_SIZE)
		return venv__fail_errno(err, errno, "no random bytes for a key");
	ok = crypto_sign_ed25519_seed_keypair(ret->public, ret->secret, seed) == 0;
	explicit_bzero(seed, sizeof(seed));
	return ok ? 0 : venv__fail(err, VENV_ERR_SYSTEM, "libsodium cannot make an ed25519 key");
}

static void put_u32(struct buf *buf, size_t value)
{
	const unsigned char bytes[4] = { (unsigned char)(value >> 24), (unsigned char)(value >> 16),
					 (unsigned char)(value >> 8), (unsigned char)value };

	venv__buf_add(buf, bytes, sizeof(bytes));
}

static void put_string(struct buf *buf, const void *data, size_t length)
{
	put_u32(buf, length);
	venv__buf_add(buf, data, length);
}

static void put_public(struct buf *buf, const struct pair *pair)
{
	put_string(buf, KEY_TYPE, strlen(KEY_TYPE));
	put_string(buf, pair->public, KEY_SIZE);
}

static int put_private(struct buf *buf, const struct pair *pair, const char *comment)
{
	size_t check;

	if (getrandom(&check, sizeof(check), 0) != (ssize_t)sizeof(check))
		return -1;
	put_u32(buf, check); /* twice: tells whether decryption worked */
	put_u32(buf, check);
	put_public(buf, pair);
	put_string(buf, pair->secret, sizeof(pair->secret));
	put_string(buf, comment, strlen(comment));
	for (char pad = 1; !buf->failed && buf->length % 8; pad++)
		venv__buf_add(buf, &pad, 1);
	return 0;
}

static char *base64(const struct buf *buf)
{
	size_t size = sodium_base64_ENCODED_LEN(buf->length, sodium_base64_VARIANT_ORIGINAL);
	char *text = malloc(size);

	if (text)
		(void)sodium_bin2base64(text, size, (const unsigned char *)buf->data, buf->length,
					sodium_base64_VARIANT_ORIGINAL);
	return text;
}

static void scrub(struct buf *buf)
{
	if (buf->data)
		explicit_bzero(buf->data, buf->capacity);
	venv__buf_done(buf);
}

static char *public_line(const struct buf *blob, const char *comment)
{
	_cleanup_free_ char *text = base64(blob);
	char *line;

	if (!text || asprintf(&line, KEY_TYPE " %s%s%s\n", text, *comment ? " " : "", comment) < 0)
		return NULL;
	return line;
}

static char *private_text(const struct pair *pair, const char *comment)
{
	struct buf blob = { 0 }, body = { 0 }, text = { 0 };
	_cleanup_free_ char *encoded = NULL;
	char *ret = NULL;

	venv__buf_add(&blob, MAGIC, sizeof(MAGIC));
	put_string(&blob, "none", 4); /* cipher */
	put_string(&blob, "none", 4); /* key derivation */
	put_string(&blob, "", 0);
	put_u32(&blob, 1);
	put_public(&body, pair);
	put_string(&blob, body.data, body.length);
	body.length = 0;
	if (put_private(&body, pair, comment) == 0) {
		put_string(&blob, body.data, body.length);
		encoded = body.failed || blob.failed ? NULL : base64(&blob);
	}
	venv__buf_puts(&text, BEGIN);
	for (size_t i = 0, n = encoded ? strlen(encoded) : 0; i < n; i += COLUMNS)
		venv__buf_printf(&text, "%.*s\n", COLUMNS, encoded + i);
	venv__buf_puts(&text, END);
	if (encoded) {
		ret = venv__buf_steal(&text);
		explicit_bzero(encoded, strlen(encoded));
	}
	scrub(&blob);
	scrub(&body);
	scrub(&text);
	return ret;
}

static int write_pair(int dir_fd, const char *name, const char *public_name, const char *comment,
		      venv_error **err)
{
	_cleanup_free_ char *line = NULL, *text = NULL;
	_cleanup_buf_ struct buf blob = { 0 };
	struct pair pair;
	int r = make_pair(&pair, err);

	if (r < 0)
		return r;
	put_public(&blob, &pair);
	line = blob.failed ? NULL : public_line(&blob, comment);
	text = private_text(&pair, comment);
	explicit_bzero(&pair, sizeof(pair));
	if (!line || !text)
		return venv__fail_nomem(err);
	r = venv__file_write(dir_fd, public_name, line, strlen(line), 0644, WRITE_VOLATILE, err);
	if (r >= 0)
		r = venv__file_write(dir_fd, name, text, strlen(text), 0600, WRITE_VOLATILE, err);
	explicit_bzero(text, strlen(text));
	return r;
}

/* Whole, as far as can be seen without parsing it. */
static bool is_private(int dir_fd, const char *name)
{
	_cleanup_free_ char *text = NULL;
	bool whole;
	size_t n;

	if (venv__file_read(dir_fd, name, FILE_MAX, &text, &n, NULL) < 0)
		return false;
	whole = n > strlen(BEGIN END) && strncmp(text, BEGIN, strlen(BEGIN)) == 0 &&
		strcmp(text + n - strlen(END), END) == 0;
	explicit_bzero(text, n);
	return whole;
}

int venv__ssh_keygen(int dir_fd, const char *name, const char *comment, venv_error **err)
{
	_cleanup_free_ char *public_name = NULL;

	if (strpbrk(comment, "\r\n"))
		return venv__fail(err, VENV_ERR_INVALID, "a key's comment is one line");
	if (asprintf(&public_name, "%s.pub", name) < 0) {
		public_name = NULL;
		return venv__fail_nomem(err);
	}
	if (faccessat(dir_fd, public_name, R_OK, 0) == 0 && is_private(dir_fd, name))
		return 0;
	return venv__wrap(write_pair(dir_fd, name, public_name, comment, err), err, "key '%s'",
			  name);
}
