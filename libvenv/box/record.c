/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records/<digest>.json says what a box is; its digest is that of the canonical text of "content", so
 * the same layers with the same configuration are the same box whatever their source.
 * names/<name>.json points from a name and version to records.
 */
#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#include "../util/sys.h"
#include "store.h"

/* 2: disk boxes, which what knows only 1 would take for boxes without layers */
enum {
	FORMAT_ROOTFS = 1,
	FORMAT_DISK = 2,
	FORMAT = FORMAT_ROOTFS,
	NAME_LENGTH_MAX = 128,
	TEXT_MAX = 32768,
	LIST_MAX = 4096
};

void venv__record_done(struct record *record)
{
	free(record->architecture);
	free(record->source);
	json_decref(record->config);
	free(record->layers);
	free(record->format);
	for (size_t i = 0; i < record->n_disks; i++)
		free(record->disks[i].name);
	free(record->disks);
	*record = (struct record){ 0 };
}

void venv__box_done(struct box *box)
{
	free(box->name);
	free(box->version);
	free(box->digest);
	free(box->architecture);
	free(box->source);
	venv__strv_free(box->layers);
	venv__strv_free(box->disks);
	free(box->format);
	json_decref(box->vagrant);
	venv__strv_free(box->env);
	venv__strv_free(box->entrypoint);
	venv__strv_free(box->cmd);
	free(box->user);
	free(box->workdir);
	free(box->stop_signal);
	venv__strv_free(box->volumes);
	venv__strv_free(box->exposed);
	*box = (struct box){ 0 };
}

/* ---- Configuration ------------------------------------------------------------------------ */

static const struct {
	const char *image; /* in the image's configuration */
	const char *ours;
	enum { TEXT, LIST, KEYS } kind;
} keys[] = {
	{ "Env", "env", LIST },
	{ "Entrypoint", "entrypoint", LIST },
	{ "Cmd", "cmd", LIST },
	{ "User", "user", TEXT },
	{ "WorkingDir", "workdir", TEXT },
	{ "StopSignal", "stop_signal", TEXT },
	{ "Volumes", "volumes", KEYS },
	{ "ExposedPorts", "exposed", KEYS },
};

static json_t *short_text(const json_t *value)
{
	const char *text = json_string_value(value);

	return text && *text && strlen(text) <= TEXT_MAX ? json_string(text) : NULL;
}

static json_t *list_of(const json_t *value)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < MIN(json_array_size(value), (size_t)LIST_MAX); i++) {
		const char *text = json_string_value(json_array_get(value, i));

		if (text && strlen(text) <= TEXT_MAX)
			(void)json_array_append_new(list, json_string(text));
	}
	return list;
}

static json_t *keys_of(json_t *value)
{
	json_t *list = json_array();
	const char *key;
	json_t *ignored;

	json_object_foreach(value, key, ignored) if (list && json_array_size(list) < LIST_MAX &&
						     strlen(key) <= TEXT_MAX)(void)
		json_array_append_new(list, json_string(key));
	return list;
}

json_t *venv__record_config(const json_t *config)
{
	json_t *ret = json_object();

	for (size_t i = 0; ret && i < ARRAY_SIZE(keys); i++) {
		json_t *value = json_object_get(config, keys[i].image), *taken = NULL;

		if (keys[i].kind == TEXT)
			taken = short_text(value);
		else if (keys[i].kind == LIST && json_is_array(value))
			taken = list_of(value);
		else if (keys[i].kind == KEYS && json_object_size(value))
			taken = keys_of(value);
		if (taken)
			(void)json_object_set_new(ret, keys[i].ours, taken);
	}
	return ret;
}

/* ---- Records ------------------------------------------------------------------------------ */

const char *venv__box_kind_name(enum box_kind kind)
{
	static const char *const names[] = {
		[BOX_ROOTFS] = "rootfs", [BOX_DISK] = "disk", [BOX_KERNEL] = "kernel"
	};

	return names[kind];
}

static json_t *content_of(const struct record *record)
{
	json_t *ids;

	if (record->kind == BOX_DISK)
		return json_pack("{s:s, s:s, s:O, s:s, s:o}", "kind", "disk", "architecture",
				 record->architecture, "config", record->config, "format",
				 record->format, "disks", venv__disk_refs_content(record));
	ids = json_array();
	for (size_t i = 0; ids && i < record->n_layers; i++)
		(void)json_array_append_new(ids,
					    json_sprintf("sha256:%s", record->layers[i].diff_id));
	return json_pack("{s:s, s:s, s:O, s:o}", "kind", venv__box_kind_name(record->kind),
			 "architecture", record->architecture, "config", record->config, "layers",
			 ids);
}

int venv__record_seal(struct record *record, venv_error **err)
{
	_cleanup_json_ json_t *content = content_of(record);
	_cleanup_free_ char *text =
		content ? venv__json_text(content, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	if (!text || venv__digest_of(text, strlen(text), record->digest) < 0)
		return venv__fail_nomem(err);
	return 0;
}

int venv__record_write(const struct store *store, const struct record *record, venv_error **err)
{
	_cleanup_json_ json_t *json = NULL;
	bool disk = record->kind == BOX_DISK;
	json_t *parts = disk ? venv__disk_refs_to_json(record) : json_array();
	char name[DIGEST_HEX_SIZE + 8];

	for (size_t i = 0; parts && !disk && i < record->n_layers; i++) {
		const struct layer_ref *layer = &record->layers[i];

		(void)json_array_append_new(parts, json_pack("{s:s, s:s, s:I, s:b}", "key",
							     layer->key, "diff_id", layer->diff_id,
							     "size", (json_int_t)layer->size,
							     "root", layer->root));
	}
	json = json_pack("{s:i, s:s, s:o, s:o, s:I, s:s}", "format",
			 disk ? FORMAT_DISK : FORMAT_ROOTFS, "digest", record->digest, "content",
			 content_of(record), disk ? "disks" : "layers", parts, "added",
			 (json_int_t)record->added, "source", record->source ? record->source : "");
	if (!json)
		return venv__fail_nomem(err);
	(void)snprintf(name, sizeof(name), "%s.json", record->digest);
	return venv__json_write(store->records, name, json, WRITE_DURABLE, err);
}

static bool hex_digest(const char *text)
{
	return text && strlen(text) == DIGEST_HEX_SIZE - 1 &&
	       strspn(text, "0123456789abcdef") == DIGEST_HEX_SIZE - 1;
}

static bool read_layers(const json_t *list, struct record *record)
{
	size_t n = json_array_size(list);

	record->layers = calloc(n ? n : 1, sizeof(*record->layers));
	if (!record->layers)
		return false;
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(list, i);
		const char *key = venv__json_str(item, "key"),
			   *id = venv__json_str(item, "diff_id");

		if (!hex_digest(key) || !hex_digest(id))
			return false;
		memcpy(record->layers[i].key, key, DIGEST_HEX_SIZE);
		memcpy(record->layers[i].diff_id, id, DIGEST_HEX_SIZE);
		record->layers[i].size = (uint64_t)venv__json_int(item, "size", 0);
		record->layers[i].root = venv__json_bool(item, "root", true);
	}
	record->n_layers = n;
	return true;
}

static bool read_parts(const json_t *json, const json_t *content, struct record *record)
{
	const char *kind = venv__json_str(content, "kind"),
		   *format = venv__json_str(content, "format");

	if (kind && strcmp(kind, "kernel") == 0)
		record->kind = BOX_KERNEL;
	if (!kind || strcmp(kind, "disk") != 0)
		return read_layers(json_object_get(json, "layers"), record);
	record->kind = BOX_DISK;
	record->format = format && venv__disk_format_known(format) ? strdup(format) : NULL;
	return record->format && venv__disk_refs_read(json_object_get(json, "disks"), record);
}

static bool read_record(const json_t *json, const char *hex, struct record *record)
{
	const json_t *content = json_object_get(json, "content");
	const char *architecture = venv__json_str(content, "architecture");
	const char *source = venv__json_str(json, "source");

	if (!architecture || !read_parts(json, content, record))
		return false;
	memcpy(record->digest, hex, DIGEST_HEX_SIZE);
	record->architecture = strdup(architecture);
	record->source = strdup(source ? source : "");
	record->config = json_incref(json_object_get(content, "config"));
	record->added = venv__json_int(json, "added", 0);
	return record->architecture && record->source && json_is_object(record->config);
}

int venv__record_read(const struct store *store, const char *hex, struct record *ret,
		      venv_error **err)
{
	_cleanup_record_ struct record record = { 0 };
	_cleanup_json_ json_t *json = NULL;
	char name[DIGEST_HEX_SIZE + 8];
	int r;

	if (!hex_digest(hex))
		return venv__fail(err, VENV_ERR_INVALID, "'%s' is no digest of a box", hex);
	(void)snprintf(name, sizeof(name), "%s.json", hex);
	r = venv__json_read(store->records, name, &json, err);
	if (r < 0)
		return r;
	if (venv__json_int(json, "format", 0) > FORMAT_DISK)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "box sha256:%s was added by a newer venv", hex);
	errno = 0;
	if (!read_record(json, hex, &record))
		return errno == ENOMEM
			       ? venv__fail_nomem(err)
			       : venv__hint(venv__fail(err, VENV_ERR_CORRUPT,
						       "the record of box sha256:%s is damaged",
						       hex),
					    err, "add the box again");
	*ret = record;
	record = (struct record){ 0 };
	return 0;
}

static int fill_config(struct box *box, const json_t *config)
{
	const struct {
		const char *key;
		char **text;
		char ***list;
	} members[] = {
		{ "env", NULL, &box->env },         { "entrypoint", NULL, &box->entrypoint },
		{ "cmd", NULL, &box->cmd },         { "user", &box->user, NULL },
		{ "workdir", &box->workdir, NULL }, { "stop_signal", &box->stop_signal, NULL },
		{ "volumes", NULL, &box->volumes }, { "exposed", NULL, &box->exposed },
	};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *text = venv__json_str(config, members[i].key);

		if (members[i].list)
			*members[i].list = venv__json_strv(config, members[i].key);
		else if (text)
			*members[i].text = strdup(text);
		if (members[i].text && text && !*members[i].text)
			return -ENOMEM;
		if (members[i].list && !*members[i].list &&
		    json_is_array(json_object_get(config, members[i].key)))
			return -ENOMEM;
	}
	return 0;
}

/* Images repeat a layer (often an empty one): overlayfs wants it once, and the topmost decides. */
static bool repeated(const struct record *record, size_t i)
{
	for (size_t j = i + 1; j < record->n_layers; j++)
		if (!strcmp(record->layers[i].key, record->layers[j].key))
			return true;
	return false;
}

static int fill_layers(struct box *box, const struct store *store, const struct record *record,
		       venv_error **err)
{
	bool root = false;
	size_t n = 0;

	for (size_t i = record->n_layers; i-- > 0;) {
		const struct layer_ref *layer = &record->layers[i];
		int r;

		if (repeated(record, i))
			continue;
		if (faccessat(store->layers, layer->key, F_OK, 0) < 0) {
			r = venv__fail(err, VENV_ERR_CORRUPT, "its layer %.12s is not in the store",
				       layer->key);
			return venv__hint(r, err, "add or build the box again");
		}
		box->size += layer->size;
		if (venv__strv_addf(&box->layers, "%s/layers/%s/fs", store->path, layer->key) < 0)
			return venv__fail_nomem(err);
		if (layer->root && !root)
			box->root = n;
		root = root || layer->root;
		n++;
	}
	return 0;
}

int venv__record_to_box(const struct store *store, const struct record *record, const char *name,
			const char *version, struct box *ret, venv_error **err)
{
	_cleanup_box_ struct box box = { .kind = record->kind };
	int r;

	box.name = name ? strdup(name) : NULL; /* for want of memory */
	box.version = strdup(version ? version : "");
	box.architecture = strdup(record->architecture);
	box.source = strdup(record->source);
	if (asprintf(&box.digest, "sha256:%s", record->digest) < 0)
		box.digest = NULL;
	if (!box.name || !box.version || !box.architecture || !box.source || !box.digest ||
	    fill_config(&box, record->config) < 0)
		return venv__fail_nomem(err);
	r = box.kind == BOX_DISK ? venv__disk_refs_to_box(store, record, &box, err)
				 : fill_layers(&box, store, record, err);
	if (r < 0)
		return r;
	*ret = box;
	box = (struct box){ 0 };
	return 0;
}

/* ---- Names -------------------------------------------------------------------------------- */

bool venv__name_valid(const char *name)
{
	if (!isalnum((unsigned char)*name) || strlen(name) > NAME_LENGTH_MAX)
		return false;
	for (const char *p = name; *p; p++) {
		if (isalnum((unsigned char)*p) || strchr("_-.", *p))
			continue;
		if (*p != '/' || !p[1] || p[1] == '/' || p[1] == '.')
			return false;
	}
	return true;
}

int venv__name_split(const char *reference, char **ret_name, char **ret_version, venv_error **err)
{
	const char *at = strchr(reference, '@');
	_cleanup_free_ char *name =
		strndup(reference, at ? (size_t)(at - reference) : strlen(reference));
	_cleanup_free_ char *version = at ? strdup(at + 1) : NULL;
	int r;

	if (!name || (at && !version))
		return venv__fail_nomem(err);
	if (!venv__name_valid(name)) {
		r = venv__fail(err, VENV_ERR_INVALID, "'%s' is no name of a box", reference);
		return venv__hint(r, err,
				  "use letters, digits, '.', '_', '-' and single '/', as in "
				  "'debian/12' or 'debian/12@1.0'");
	}
	if (version && !venv__version_valid(version))
		return venv__fail(err, VENV_ERR_INVALID, "'%s' is no version of a box", version);
	*ret_name = take_ptr(name);
	*ret_version = take_ptr(version);
	return 0;
}

char *venv__name_file(const char *name)
{
	struct buf file = { 0 };

	for (; *name; name++)
		if (*name == '/')
			venv__buf_puts(&file, "%2F");
		else
			venv__buf_add(&file, name, 1);
	venv__buf_puts(&file, ".json");
	return venv__buf_steal(&file);
}

int venv__name_read(const struct store *store, const char *name, json_t **ret, venv_error **err)
{
	_cleanup_free_ char *file = venv__name_file(name);

	return file ? venv__json_read(store->names, file, ret, err) : venv__fail_nomem(err);
}

static int point_at(json_t *names, const char *version, const struct record *record)
{
	json_t *versions = json_object_get(names, "versions");
	json_t *entry = json_pack("{s:s, s:s, s:I, s:s}", "version", version, "digest",
				  record->digest, "added", (json_int_t)record->added, "source",
				  record->source ? record->source : "");

	for (size_t i = 0; entry && i < json_array_size(versions); i++) {
		const char *have = venv__json_str(json_array_get(versions, i), "version");

		if (have && !strcmp(have, version))
			return json_array_set_new(versions, i, entry);
	}
	return entry ? json_array_append_new(versions, entry) : -1;
}

static int set_one(const struct store *store, const char *file_name, const char *name,
		   const char *version, const struct record *record, venv_error **err)
{
	_cleanup_free_ char *file = venv__name_file(file_name);
	_cleanup_json_ json_t *names = NULL;
	int r;

	if (!file)
		return venv__fail_nomem(err);
	r = venv__json_read(store->names, file, &names, NULL);
	if (r < 0 && r != VENV_ERR_NOT_FOUND && r != VENV_ERR_CORRUPT)
		return venv__fail(err, r, "cannot read the names of box '%s'", file_name);
	/* a name that was another box's alias becomes this box's */
	if (r < 0 || !json_is_array(json_object_get(names, "versions")) ||
	    !venv__json_str(names, "name") || strcmp(venv__json_str(names, "name"), name) != 0) {
		json_decref(names);
		names = json_pack("{s:i, s:s, s:[]}", "format", FORMAT, "name", name, "versions");
	}
	if (!names || point_at(names, version, record) < 0)
		return venv__fail_nomem(err);
	return venv__json_write(store->names, file, names, WRITE_DURABLE, err);
}

int venv__name_set(const struct store *store, const char *name, char *const *aliases,
		   const char *version, const struct record *record, venv_error **err)
{
	_cleanup_close_ int lock =
		openat(store->dir, "names.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int r;

	/* read, change, write: short, so without asking for cancellation */
	if (lock < 0 || venv__lock_wait(lock, true) < 0)
		return venv__fail_errno(err, errno, "cannot lock the names of the boxes");
	r = set_one(store, name, name, version, record, err);
	for (; r == 0 && aliases && *aliases; aliases++)
		r = set_one(store, *aliases, name, version, record, err);
	return r;
}

int venv__name_list(const struct store *store, char ***ret, venv_error **err)
{
	_cleanup_strv_ char **files = NULL, **names = NULL;
	int r = venv__dir_list(store->names, &files, err);

	if (r < 0)
		return r;
	for (char **file = files; *file; file++) {
		_cleanup_buf_ struct buf name = { 0 };
		size_t length = strlen(*file);

		if (**file == '.' || length <= 5 || strcmp(*file + length - 5, ".json") != 0)
			continue;
		for (const char *p = *file; p < *file + length - 5; p++) {
			bool slash = !strncmp(p, "%2F", 3);

			venv__buf_add(&name, slash ? "/" : p, 1);
			p += slash ? 2 : 0;
		}
		if (name.failed || (name.data && venv__strv_add(&names, name.data) < 0))
			return venv__fail_nomem(err);
	}
	if (!names && !(names = calloc(1, sizeof(char *))))
		return venv__fail_nomem(err);
	*ret = take_ptr(names);
	return 0;
}
