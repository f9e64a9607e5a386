/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests of images: OCI layouts and `docker save` archives (as directories). All of it is a
 * stranger's: sizes, depth and counts are limited, names of files are checked before they are opened,
 * and every blob's bytes must have the digest that named it.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "store.h"

enum { MANIFEST_MAX = 4 * 1024 * 1024, JSON_DEPTH_MAX = 32, LAYERS_MAX = 127, NESTING_MAX = 4 };

void venv__image_done(struct image *image)
{
	if (image->dir >= 0)
		(void)close(image->dir);
	free(image->name);
	free(image->version);
	free(image->architecture);
	json_decref(image->config);
	for (size_t i = 0; i < image->n_layers; i++) {
		free(image->layers[i].path);
		free(image->layers[i].digest);
		free(image->layers[i].diff_id);
	}
	free(image->layers);
	*image = (struct image){ .dir = -1 };
}

/* ---- Architectures ------------------------------------------------------------------------ */

static const struct {
	const char *name;    /* as images call it */
	const char *machine; /* as the kernel does */
	unsigned elf;
} architectures[] = {
	{ "amd64", "x86_64", 62 }, { "arm64", "aarch64", 183 },       { "386", "i686", 3 },
	{ "arm", "armv7l", 40 },   { "riscv64", "riscv64", 243 },     { "ppc64le", "ppc64le", 21 },
	{ "s390x", "s390x", 22 },  { "loong64", "loongarch64", 258 },
};

const char *venv__architecture_host(void)
{
	static const char unknown[] = "unknown";
	struct utsname name;

	if (uname(&name) < 0)
		return unknown;
	for (size_t i = 0; i < ARRAY_SIZE(architectures); i++)
		if (!strcmp(name.machine, architectures[i].machine))
			return architectures[i].name;
	return unknown;
}

const char *venv__architecture_of_elf(unsigned machine)
{
	for (size_t i = 0; i < ARRAY_SIZE(architectures); i++)
		if (machine == architectures[i].elf)
			return architectures[i].name;
	return NULL;
}

/* ---- Files of the image ------------------------------------------------------------------- */

static bool path_allowed(const char *path)
{
	const char *p = path;

	if (!*path || *path == '/' || strlen(path) > 1024)
		return false;
	while (*p) {
		size_t length = strcspn(p, "/");

		if (length == 2 && !strncmp(p, "..", 2))
			return false;
		p += length;
		p += strspn(p, "/");
	}
	return true;
}

int venv__image_open(const struct image *image, const char *path, venv_error **err)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (!path_allowed(path))
		return venv__fail(err, VENV_ERR_BOX,
				  "the image names a file '%s' outside of itself", path);
	if (image->inside) {
		fd = venv__open_in_root(image->dir, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
		errno = fd < 0 ? -fd : 0;
	} else {
		fd = openat(image->dir, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
	if (fd < 0 && errno == ENOENT)
		return venv__fail(err, VENV_ERR_BOX, "the image has no file '%s': it is incomplete",
				  path);
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open '%s' of the image", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return venv__fail(err, VENV_ERR_BOX, "'%s' of the image is no file", path);
	return take_fd(&fd);
}

static int read_bounded(int fd, const char *path, struct buf *text, venv_error **err)
{
	char chunk[16384];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
		venv__buf_add(text, chunk, (size_t)n);
		if (text->length > MANIFEST_MAX)
			return venv__fail(err, VENV_ERR_BOX,
					  "'%s' of the image is larger than 4 MiB", path);
	}
	if (n < 0)
		return venv__fail_errno(err, errno, "cannot read '%s' of the image", path);
	return text->failed || !text->data
		       ? venv__fail(err, VENV_ERR_BOX, "'%s' of the image is empty", path)
		       : 0;
}

static bool too_deep(const char *text, size_t length)
{
	int depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < length; i++) {
		if (quoted) {
			i += text[i] == '\\';
			quoted = i >= length || text[i] != '"' || text[i - 1] == '\\';
			continue;
		}
		quoted = text[i] == '"';
		if (text[i] == '{' || text[i] == '[')
			depth++;
		else if (text[i] == '}' || text[i] == ']')
			depth--;
		if (depth > JSON_DEPTH_MAX)
			return true;
	}
	return false;
}

/* A JSON file whose bytes must have this digest (hex; NULL: not known) and size (-1: not known). */
static int read_json(const struct image *image, const char *path, const char *digest, int64_t size,
		     json_t **ret, venv_error **err)
{
	_cleanup_close_ int fd = venv__image_open(image, path, err);
	_cleanup_buf_ struct buf text = { 0 };
	char hex[DIGEST_HEX_SIZE];
	int r;

	if (fd < 0)
		return fd;
	r = read_bounded(fd, path, &text, err);
	if (r < 0)
		return r;
	if (size >= 0 && (uint64_t)size != text.length)
		return venv__fail(err, VENV_ERR_BOX,
				  "'%s' of the image has %zu bytes instead of %lld", path,
				  text.length, (long long)size);
	if (venv__digest_of(text.data, text.length, hex) < 0)
		return venv__fail_nomem(err);
	if (digest && strcmp(hex, digest) != 0)
		return venv__hint(venv__fail(err, VENV_ERR_BOX,
					     "'%s' of the image has another digest (sha256:%s)",
					     path, hex),
				  err, "%s", VENV__IMAGE_DAMAGED);
	if (too_deep(text.data, text.length))
		return venv__fail(err, VENV_ERR_BOX, "'%s' of the image is nested too deep", path);
	if (venv__json_parse(text.data, text.length, ret, NULL) < 0)
		return venv__fail(err, VENV_ERR_BOX, "'%s' of the image is not valid JSON", path);
	return 0;
}

/* The hex digits of "sha256:…", or NULL with *err set. */
static const char *digest_hex(const char *digest, venv_error **err)
{
	if (digest && !strncmp(digest, "sha256:", 7) && strlen(digest) == 71 &&
	    strspn(digest + 7, "0123456789abcdef") == 64)
		return digest + 7;
	if (digest && !strncmp(digest, "sha512:", 7))
		(void)venv__fail(err, VENV_ERR_UNSUPPORTED,
				 "the image uses sha512, and only sha256 is "
				 "supported yet");
	else
		(void)venv__fail(err, VENV_ERR_BOX, "'%s' is no digest", digest ? digest : "");
	return NULL;
}

static int read_blob(const struct image *image, const json_t *descriptor, json_t **ret,
		     venv_error **err)
{
	const char *hex = digest_hex(venv__json_str(descriptor, "digest"), err);
	char path[128];

	if (!hex)
		return VENV_ERR_BOX;
	(void)snprintf(path, sizeof(path), "blobs/sha256/%s", hex);
	return read_json(image, path, hex, venv__json_int(descriptor, "size", -1), ret, err);
}

/* ---- Configuration ------------------------------------------------------------------------ */

static int check_platform(const json_t *config, venv_error **err)
{
	const char *os = venv__json_str(config, "os"),
		   *have = venv__json_str(config, "architecture");
	const char *host = venv__architecture_host();

	if (os && strcmp(os, "linux") != 0)
		return venv__fail(err, VENV_ERR_BOX, "the image is for %s, not for Linux", os);
	if (!have)
		return venv__fail(err, VENV_ERR_BOX,
				  "the image does not say for which architecture it is");
	if (strcmp(have, host) != 0)
		return venv__hint(venv__fail(err, VENV_ERR_UNSUPPORTED,
					     "the image is for %s, and this host is %s", have,
					     host),
				  err, "take the image's variant for %s", host);
	return 0;
}

/* Architecture, configuration and diff ids; the layers must be there already. */
static int take_config(struct image *image, const json_t *config, venv_error **err)
{
	const json_t *ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
	int r = check_platform(config, err);

	if (r < 0)
		return r;
	if (json_array_size(ids) != image->n_layers)
		return venv__fail(err, VENV_ERR_BOX,
				  "the image has %zu layers and %zu digests of them",
				  image->n_layers, json_array_size(ids));
	for (size_t i = 0; i < image->n_layers; i++) {
		const char *hex = digest_hex(json_string_value(json_array_get(ids, i)), err);

		if (!hex)
			return VENV_ERR_BOX;
		image->layers[i].diff_id = strdup(hex);
		if (!image->layers[i].diff_id)
			return venv__fail_nomem(err);
	}
	image->architecture = strdup(venv__json_str(config, "architecture"));
	image->config = venv__record_config(json_object_get(config, "config"));
	return image->architecture && image->config ? 0 : venv__fail_nomem(err);
}

static int new_layers(struct image *image, const json_t *list, venv_error **err)
{
	size_t n = json_array_size(list);

	if (n == 0 || n > LAYERS_MAX)
		return venv__fail(err, VENV_ERR_BOX, "the image has %zu layers instead of 1 to %d",
				  n, LAYERS_MAX);
	image->layers = calloc(n, sizeof(*image->layers));
	if (!image->layers)
		return venv__fail_nomem(err);
	image->n_layers = n;
	return 0;
}

/* ---- OCI ---------------------------------------------------------------------------------- */

static bool is_layer_type(const char *type)
{
	static const char *const types[] = {
		"application/vnd.oci.image.layer.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.docker.image.rootfs.diff.tar",
		"application/vnd.docker.image.rootfs.foreign.diff.tar",
	};

	for (size_t i = 0; type && i < ARRAY_SIZE(types); i++) {
		size_t n = strlen(types[i]);
		const char *rest = type + n;

		if (!strncmp(type, types[i], n) &&
		    (!*rest || !strcmp(rest, "+gzip") || !strcmp(rest, ".gzip") ||
		     !strcmp(rest, "+zstd") || !strcmp(rest, ".zstd")))
			return true;
	}
	return false;
}

static int take_manifest(struct image *image, const json_t *manifest, venv_error **err)
{
	const json_t *list = json_object_get(manifest, "layers");
	_cleanup_json_ json_t *config = NULL;
	int r;

	if (venv__json_int(manifest, "schemaVersion", 0) != 2)
		return venv__fail(err, VENV_ERR_BOX,
				  "the image's manifest has an unknown schema version");
	r = new_layers(image, list, err);
	for (size_t i = 0; r == 0 && i < image->n_layers; i++) {
		const json_t *item = json_array_get(list, i);
		const char *type = venv__json_str(item, "mediaType");
		const char *hex = digest_hex(venv__json_str(item, "digest"), err);
		struct image_layer *layer = &image->layers[i];

		if (!hex)
			return VENV_ERR_BOX;
		if (!is_layer_type(type))
			return venv__fail(err, VENV_ERR_BOX,
					  "layer %zu is of the unknown type '%s'", i + 1,
					  type ? type : "");
		layer->size = venv__json_int(item, "size", -1);
		layer->digest = strdup(hex);
		if (!layer->digest || asprintf(&layer->path, "blobs/sha256/%s", hex) < 0)
			r = venv__fail_nomem(err);
	}
	if (r == 0)
		r = read_blob(image, json_object_get(manifest, "config"), &config, err);
	return r < 0 ? r : take_config(image, config, err);
}

static const char *ref_name(const json_t *descriptor)
{
	return venv__json_str(json_object_get(descriptor, "annotations"),
			      "org.opencontainers.image.ref.name");
}

/* Does the descriptor's platform, if it has one, fit this host? */
static bool platform_fits(const json_t *descriptor)
{
	const json_t *platform = json_object_get(descriptor, "platform");
	const char *os = venv__json_str(platform, "os");
	const char *architecture = venv__json_str(platform, "architecture");

	return !platform || (os && architecture && !strcmp(os, "linux") &&
			     !strcmp(architecture, venv__architecture_host()));
}

static int none_fits(const json_t *list, const char *tag, venv_error **err)
{
	_cleanup_buf_ struct buf have = { 0 };
	int r;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *architecture =
			venv__json_str(json_object_get(item, "platform"), "architecture");
		const char *text = tag ? ref_name(item) : architecture;

		if (text && strcmp(text, "unknown") != 0)
			venv__buf_printf(&have, "%s%s", have.length ? ", " : "", text);
	}
	if (tag)
		r = venv__fail(err, VENV_ERR_NOT_FOUND, "the layout has no image '%s', only: %s",
			       tag, have.data ? have.data : "images without names");
	else
		r = venv__fail(
			err, VENV_ERR_UNSUPPORTED, "the image is for %s, and this host is %s",
			have.data ? have.data : "no architecture", venv__architecture_host());
	return r;
}

static int several(const char *one, const char *other, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_INVALID, "the layout has several images: '%s', '%s'…", one,
			   other);

	return venv__hint(r, err, "name one: 'oci:DIRECTORY:%s'", other);
}

/* The one descriptor of an index that we want. */
static int choose(const json_t *index, const char *tag, const json_t **ret, venv_error **err)
{
	const json_t *list = json_object_get(index, "manifests"), *chosen = NULL;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *name = ref_name(item);

		if (!platform_fits(item) || (tag && (!name || strcmp(name, tag) != 0)))
			continue;
		if (chosen && ref_name(chosen) && name && strcmp(name, ref_name(chosen)) != 0)
			return several(ref_name(chosen), name, err);
		if (!chosen)
			chosen = item;
	}
	if (!chosen)
		return none_fits(list, tag, err);
	*ret = chosen;
	return 0;
}

static int read_index(struct image *image, const char *tag, venv_error **err)
{
	_cleanup_json_ json_t *at = NULL;
	int r = read_json(image, "index.json", NULL, -1, &at, err);

	for (int depth = 0; r == 0; depth++) {
		_cleanup_json_ json_t *next = NULL;
		const json_t *descriptor = NULL;

		if (!json_is_array(json_object_get(at, "manifests")))
			return take_manifest(image, at, err);
		if (depth > NESTING_MAX)
			return venv__fail(err, VENV_ERR_BOX,
					  "the image's indexes are nested too deep");
		r = choose(at, depth == 0 ? tag : NULL, &descriptor, err);
		if (r == 0)
			r = read_blob(image, descriptor, &next, err);
		json_decref(at);
		at = take_ptr(next);
	}
	return r;
}

/* ---- docker save -------------------------------------------------------------------------- */

/* "localhost/x/y:1.2" is the box x/y, version 1.2. */
static void take_repo_tag(struct image *image, const char *tag)
{
	static const char *const hosts[] = { "docker.io/library/", "docker.io/", "localhost/" };
	const char *colon = tag ? strrchr(tag, ':') : NULL;

	if (!colon || strchr(colon, '/'))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		if (!strncmp(tag, hosts[i], strlen(hosts[i]))) {
			tag += strlen(hosts[i]);
			break;
		}
	image->name = strndup(tag, (size_t)(colon - tag));
	if (image->name && !venv__name_valid(image->name))
		free(take_ptr(image->name));
	if (image->name && venv__version_valid(colon + 1))
		image->version = strdup(colon + 1);
}

/* The digest in "<hex>.json" or "blobs/sha256/<hex>". */
static bool hex_in_name(const char *path, char ret[DIGEST_HEX_SIZE])
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

	if (strspn(name, "0123456789abcdef") != 64 || (name[64] && strcmp(name + 64, ".json") != 0))
		return false;
	memcpy(ret, name, 64);
	ret[64] = '\0';
	return true;
}

static int take_saved(struct image *image, const json_t *item, venv_error **err)
{
	const char *config_path = venv__json_str(item, "Config");
	const json_t *list = json_object_get(item, "Layers");
	_cleanup_json_ json_t *config = NULL;
	char hex[DIGEST_HEX_SIZE];
	int r = new_layers(image, list, err);

	for (size_t i = 0; r == 0 && i < image->n_layers; i++) {
		const char *path = json_string_value(json_array_get(list, i));

		image->layers[i].size = -1;
		image->layers[i].path = path ? strdup(path) : NULL;
		if (!image->layers[i].path)
			r = venv__fail(err, VENV_ERR_BOX,
				       "'manifest.json' of the image is damaged");
	}
	if (r < 0)
		return r;
	if (!config_path)
		return venv__fail(err, VENV_ERR_BOX,
				  "'manifest.json' of the image names no configuration");
	r = read_json(image, config_path, hex_in_name(config_path, hex) ? hex : NULL, -1, &config,
		      err);
	if (r < 0)
		return r;
	take_repo_tag(image,
		      json_string_value(json_array_get(json_object_get(item, "RepoTags"), 0)));
	return take_config(image, config, err);
}

static int read_saved(struct image *image, venv_error **err)
{
	_cleanup_json_ json_t *manifest = NULL;
	int r = read_json(image, "manifest.json", NULL, -1, &manifest, err);

	if (r < 0)
		return r;
	if (json_array_size(manifest) == 1)
		return take_saved(image, json_array_get(manifest, 0), err);
	r = venv__fail(err, VENV_ERR_BOX, "the archive has %zu images instead of one",
		       json_array_size(manifest));
	return venv__hint(r, err, "save one image at a time: 'docker save IMAGE -o FILE'");
}

int venv__image_read(int dir, bool inside, const char *tag, struct image *ret, venv_error **err)
{
	_cleanup_image_ struct image image = { .dir = dir, .inside = inside };
	int r;

	if (faccessat(dir, "index.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		r = read_index(&image, tag, err);
	else if (faccessat(dir, "manifest.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		r = read_saved(&image, err);
	else
		r = venv__fail(err, VENV_ERR_BOX,
			       "it is neither an OCI layout (index.json) nor made by "
			       "'docker save' (manifest.json)");
	if (r < 0)
		return r;
	*ret = image;
	image = (struct image){ .dir = -1 };
	return 0;
}
