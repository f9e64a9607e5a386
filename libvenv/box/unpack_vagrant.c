/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Vagrant box for libvirt says of itself. There are two forms:
 *
 *   {"provider": "libvirt", "format": "qcow2", "virtual_size": 40}                  and box.img
 *   {"provider": "libvirt", "format": "qcow2", "disks": [{"path": "a.img", "name": "root"}, …]}
 *
 * The first disk is the one to boot from. Sizes are GiB, rounded up. Whatever else stands there is of no
 * use to us. The answer has the paths as they are: who opens them looks at where they lead.
 */
#include <math.h>
#include <string.h>

#include "../util/buf.h"
#include "unpack.h"

enum {
	DISKS_MAX = 32,
	TEXT_MAX = 255,
	INFO_KEYS_MAX = 64,
	INFO_BYTES_MAX = 8192,
	SIZE_MAX_GIB = 65536,
};

static int bad(venv_error **err, const char *what)
{
	return venv__fail(err, VENV_ERR_BOX, "metadata.json: %s", what);
}

/* Say a word of the box's in a message. */
static int bad_word(venv_error **err, int code, const char *format, const char *word)
{
	_cleanup_free_ char *shown = venv__path_show(word);

	/* the formats are literals of this file */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	return shown ? venv__fail(err, code, format, shown) : venv__fail_nomem(err);
#pragma GCC diagnostic pop
}

/* ---- Of the whole box --------------------------------------------------------------------- */

static int check_provider(const json_t *metadata, venv_error **err)
{
	static const char *const known[] = { "libvirt", "kvm", "qemu" };
	const char *provider = venv__json_str(metadata, "provider");

	if (!provider)
		return bad(err, "it does not say for which 'provider' the box is");
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(provider, known[i]))
			return 0;
	return venv__hint(bad_word(err, VENV_ERR_UNSUPPORTED,
				   "the box is for '%s', and boxes for libvirt are supported",
				   provider),
			  err, "take the box's variant for libvirt");
}

static int read_format(const json_t *metadata, bool v2, const char **ret, venv_error **err)
{
	static const char *const known[] = { "qcow2", "raw" };
	const char *format = venv__json_str(metadata, "format");

	if (!format && !v2)
		return bad(err, "it does not say the 'format' of the disk");
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(format ? format : known[0], known[i])) {
			*ret = known[i];
			return 0;
		}
	return bad_word(err, VENV_ERR_UNSUPPORTED,
			"metadata.json: a disk of format '%s' is not supported", format);
}

static int read_architecture(const json_t *metadata, const char **ret, venv_error **err)
{
	static const struct {
		const char *says, *is;
	} names[] = {
		{ "amd64", "amd64" },     { "x86_64", "amd64" },  { "unknown", "amd64" },
		{ "arm64", "arm64" },     { "aarch64", "arm64" }, { "i386", "386" },
		{ "ppc64le", "ppc64le" }, { "s390x", "s390x" },   { "riscv64", "riscv64" },
	};
	const char *says = venv__json_str(metadata, "architecture");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(says ? says : "amd64", names[i].says)) {
			*ret = names[i].is;
			return 0;
		}
	return bad_word(err, VENV_ERR_UNSUPPORTED, "metadata.json: unknown architecture '%s'",
			says);
}

/* ---- Disks -------------------------------------------------------------------------------- */

static int read_size(const json_t *metadata, uint64_t *ret, venv_error **err)
{
	const json_t *value = json_object_get(metadata, "virtual_size");
	double gib = json_number_value(value);

	*ret = 0;
	if (!value || json_is_null(value)) /* the image says it as well */
		return 0;
	if (!json_is_number(value) || !(gib > 0) || gib > SIZE_MAX_GIB)
		return bad(err, "'virtual_size' is no size of a disk in GiB");
	*ret = (uint64_t)ceil(gib) << 30;
	return 0;
}

static int check_path(const char *path, venv_error **err)
{
	_cleanup_free_ char *clean = NULL;
	int r;

	if (!path || !*path || strlen(path) > TEXT_MAX)
		return bad(err, "a disk has no proper 'path'");
	if (path[0] == '/')
		return bad_word(err, VENV_ERR_BOX,
				"metadata.json: the path '%s' of a disk leads out of the box",
				path);
	r = venv__path_entry(path, LIMIT_DEPTH, &clean, err);
	return r < 0 ? venv__wrap(r, err, "metadata.json: path of a disk") : 0;
}

/* Two disks of one name would be one disk to Vagrant. */
static int add_name(json_t *names, const char *name, venv_error **err)
{
	if (json_object_get(names, name))
		return bad_word(err, VENV_ERR_BOX, "metadata.json: two disks have the name '%s'",
				name);
	return json_object_set_new(names, name, json_true()) < 0 ? venv__fail_nomem(err) : 0;
}

/* Without a name of its own a disk is called as its file, without the ending. */
static char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/'), *leaf = slash ? slash + 1 : path;
	const char *dot = strrchr(leaf, '.');

	return strndup(path, dot && dot != leaf ? (size_t)(dot - path) : strlen(path));
}

static int add_disk(json_t *list, json_t *names, const json_t *disk, venv_error **err)
{
	const char *path = venv__json_str(disk, "path"), *said = venv__json_str(disk, "name");
	_cleanup_free_ char *name = NULL;
	int r = check_path(path, err);

	if (r < 0)
		return r;
	name = said && *said ? strdup(said) : name_of(path);
	if (!name)
		return venv__fail_nomem(err);
	if (strlen(name) > TEXT_MAX)
		return bad(err, "the name of a disk is too long");
	r = add_name(names, name, err);
	if (r == 0 &&
	    json_array_append_new(list, json_pack("{s:s, s:s}", "path", path, "name", name)) < 0)
		r = venv__fail_nomem(err);
	return r;
}

static int read_disks(const json_t *metadata, json_t *list, venv_error **err)
{
	const json_t *disks = json_object_get(metadata, "disks");
	_cleanup_json_ json_t *names = json_object();
	size_t n = json_array_size(disks);
	uint64_t size;
	int r = read_size(metadata, &size, err);

	if (r < 0)
		return r;
	if (!disks) {
		r = json_array_append_new(list, json_pack("{s:s, s:I}", "path", "box.img",
							  "virtual_size", (json_int_t)size));
		return r < 0 ? venv__fail_nomem(err) : 0;
	}
	if (!json_is_array(disks) || n == 0 || n > DISKS_MAX)
		return venv__fail(err, VENV_ERR_BOX,
				  "metadata.json: the box has %zu disks instead of 1 to %d", n,
				  DISKS_MAX);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_disk(list, names, json_array_get(disks, i), err);
	return r;
}

/* ---- info.json: strings for people ---------------------------------------------------------- */

static json_t *read_info(const char *text, size_t length)
{
	_cleanup_json_ json_t *info = NULL;
	json_t *ret = json_object(), *value;
	size_t bytes = 0;
	const char *key;

	if (!text || venv__json_parse(text, length, &info, NULL) < 0)
		return ret;
	json_object_foreach(info, key, value)
	{
		const char *string = json_string_value(value);

		bytes += strlen(key) + (string ? strlen(string) : 0);
		if (string && bytes <= INFO_BYTES_MAX && json_object_size(ret) < INFO_KEYS_MAX)
			(void)json_object_set(ret, key, value);
	}
	return ret;
}

int venv__vagrant_read(const char *text, size_t length, const char *info, size_t info_length,
		       json_t **ret, venv_error **err)
{
	_cleanup_json_ json_t *metadata = NULL, *disks = json_array();
	const char *format = NULL, *architecture = NULL;
	int r;

	if (!disks)
		return venv__fail_nomem(err);
	if (venv__json_parse(text, length, &metadata, NULL) < 0 || !json_is_object(metadata))
		return bad(err, "it is not valid JSON");
	r = check_provider(metadata, err);
	if (r == 0)
		r = read_format(metadata, json_object_get(metadata, "disks"), &format, err);
	if (r == 0)
		r = read_architecture(metadata, &architecture, err);
	if (r == 0)
		r = read_disks(metadata, disks, err);
	if (r < 0)
		return r;
	*ret = json_pack("{s:s, s:s, s:O, s:o}", "format", format, "architecture", architecture,
			 "disks", disks, "info", read_info(info, info_length));
	return *ret ? 0 : venv__fail_nomem(err);
}
