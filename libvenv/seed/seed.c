/* SPDX-License-Identifier: Apache-2.0 */
#include "seed.h"

#include <string.h>

#include "fat.h"

enum { FILES = 3 };

/* RFC 3629, section 4: first byte from … to, bytes that follow, what the first of them may be. */
static const struct form {
	unsigned char from, to, more, low, high;
} forms[] = {
	{ 0x01, 0x7f, 0, 0x00, 0x00 }, { 0xc2, 0xdf, 1, 0x80, 0xbf }, { 0xe0, 0xe0, 2, 0xa0, 0xbf },
	{ 0xe1, 0xec, 2, 0x80, 0xbf }, { 0xed, 0xed, 2, 0x80, 0x9f }, { 0xee, 0xef, 2, 0x80, 0xbf },
	{ 0xf0, 0xf0, 3, 0x90, 0xbf }, { 0xf1, 0xf3, 3, 0x80, 0xbf }, { 0xf4, 0xf4, 3, 0x80, 0x8f },
};

static const struct form *form_of(unsigned char first)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (first >= forms[i].from && first <= forms[i].to)
			return &forms[i];
	return NULL;
}

static bool is_utf8(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;

	while (*c) {
		const struct form *form = form_of(*c);

		if (!form || (form->more && (c[1] < form->low || c[1] > form->high)))
			return false;
		c++;
		for (unsigned i = 0; i < form->more; i++, c++)
			if ((*c & 0xc0) != 0x80)
				return false;
	}
	return true;
}

static int check_text(const char *what, const char *text, venv_error **err)
{
	if (!text || is_utf8(text))
		return 0;
	return venv__fail(err, VENV_ERR_INVALID, "the %s of a virtual machine must be UTF-8", what);
}

static int check(const struct seed *seed, venv_error **err)
{
	const struct {
		const char *what, *text;
	} texts[] = {
		{ "id", seed->instance },
		{ "host name", seed->hostname },
		{ "user", seed->user },
		{ "host key", seed->host_key },
		{ "host key", seed->host_public },
		{ "name server", seed->dns },
		{ "domain", seed->domain },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++)
		r = check_text(texts[i].what, texts[i].text, err);
	for (char *const *key = seed->keys; r == 0 && key && *key; key++)
		r = check_text("keys", *key, err);
	for (size_t i = 0; r == 0 && i < seed->n_mounts; i++) {
		r = check_text("folders", seed->mounts[i].path, err);
		if (r == 0)
			r = check_text("folders", seed->mounts[i].tag, err);
	}
	return r;
}

/* Two machines of one host have different ones. */
static uint32_t serial_of(const char *instance)
{
	uint32_t serial = 2166136261U;

	for (; *instance; instance++)
		serial = (serial ^ (unsigned char)*instance) * 16777619U;
	return serial;
}

int venv__seed_image(const struct seed *seed, unsigned char **ret, size_t *ret_size,
		     venv_error **err)
{
	_cleanup_buf_ struct buf meta = { 0 }, user = { 0 }, network = { 0 };
	struct fat_file files[FILES];
	int r = check(seed, err);

	if (r < 0)
		return r;
	venv__seed_meta_data(seed, &meta);
	venv__seed_user_data(seed, &user);
	venv__seed_network(seed, &network);
	if (meta.failed || user.failed || network.failed)
		return venv__fail_nomem(err);
	files[0] = (struct fat_file){ "meta-data", meta.data, meta.length };
	files[1] = (struct fat_file){ "user-data", user.data, user.length };
	files[2] = (struct fat_file){ "network-config", network.data, network.length };
	r = venv__fat_make("CIDATA", serial_of(seed->instance), files, FILES, ret, ret_size);
	if (r == -EFBIG)
		return venv__fail(err, VENV_ERR_INVALID,
				  "what the machine shall be told at its first start is too long");
	return r < 0 ? venv__fail_errno(err, -r, "cannot make the machine's first-start disk") : 0;
}
