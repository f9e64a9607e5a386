/* SPDX-License-Identifier: Apache-2.0 */
/* Removing boxes, and what nothing needs any more. What a machine stands on is never removed. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "store.h"

static int check_unused(struct venv *ctx, const char *name, const char *hex, venv_error **err)
{
	_cleanup_strv_ char **users = NULL;
	_cleanup_free_ char *digest = NULL;
	_cleanup_buf_ struct buf text = { 0 };
	int r;

	if (asprintf(&digest, "sha256:%s", hex) < 0)
		return venv__fail_nomem(err);
	r = venv__machines_using(ctx, digest, &users, err);
	if (r < 0 || !users || !*users)
		return r < 0 ? r : 0;
	for (char **user = users; *user; user++)
		venv__buf_printf(&text, "%s'%s'", user == users ? "" : ", ", *user);
	r = venv__fail(err, VENV_ERR_BUSY, "box '%s' is in use by %s", name,
		       text.data ? text.data : "");
	return venv__hint(r, err,
			  "destroy what stands on it first ('venv destroy' in that project)");
}

/* Move a layer out of the store, then delete it: a crash leaves garbage in the stage. */
static int remove_layer(const struct store *store, const char *key, uint64_t *bytes,
			venv_error **err)
{
	_cleanup_stage_ struct stage stage = STAGE_INIT;
	_cleanup_close_ int dir = openat(store->layers, key, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_json_ json_t *meta = NULL;
	int r;

	if (dir >= 0 && venv__json_read(dir, "meta.json", &meta, NULL) == 0)
		*bytes += (uint64_t)venv__json_int(json_object_get(meta, "counts"), "bytes", 0);
	r = venv__stage_new(store, &stage, err);
	if (r < 0)
		return r;
	if (renameat(store->layers, key, stage.dir, "layer") < 0 && errno != ENOENT)
		return venv__fail_errno(err, errno, "cannot remove a layer");
	return 0;
}

/* Digests (hex) that some name has. */
static int named_digests(const struct store *store, char ***ret, venv_error **err)
{
	_cleanup_strv_ char **list = NULL;
	int r = venv__name_list(store, &list, err);

	for (char **name = list; r == 0 && *name; name++) {
		_cleanup_json_ json_t *names = NULL;
		const json_t *versions;

		r = venv__name_read(store, *name, &names, err);
		if (r < 0)
			return venv__hint(r, err, "run 'venv box remove %s'", *name);
		versions = json_object_get(names, "versions");
		for (size_t i = 0; i < json_array_size(versions); i++) {
			const char *hex = venv__json_str(json_array_get(versions, i), "digest");

			if (hex && venv__strv_add(ret, hex) < 0)
				return venv__fail_nomem(err);
		}
	}
	return r;
}

static int used_digests(const struct store *store, char ***ret, venv_error **err)
{
	_cleanup_strv_ char **machines = NULL;
	int r = venv__machines_digests(store->ctx, &machines, err);

	for (char **digest = machines; r == 0 && digest && *digest; digest++)
		if (venv__strv_add(ret, !strncmp(*digest, "sha256:", 7) ? *digest + 7 : *digest) <
		    0)
			r = venv__fail_nomem(err);
	return r;
}

/* What a sweep keeps, and what went. */
struct sweep {
	char **boxes;  /* digests */
	char **layers; /* keys */
	char **disks;  /* files */
	int64_t n_boxes, n_layers, n_disks;
	uint64_t bytes;
};

static void sweep_done(struct sweep *s)
{
	venv__strv_free(s->boxes);
	venv__strv_free(s->layers);
	venv__strv_free(s->disks);
}
#define _cleanup_sweep_ _cleanup_(sweep_done)

static int keep_parts(struct sweep *s, const struct record *record)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < record->n_layers; i++)
		r = venv__strv_add(&s->layers, record->layers[i].key);
	for (size_t i = 0; r == 0 && i < record->n_disks; i++)
		r = venv__strv_addf(&s->disks, "%s.%s", record->disks[i].hex, record->format);
	return r;
}

static int sweep_records(const struct store *store, struct sweep *s, venv_error **err)
{
	_cleanup_strv_ char **files = NULL;
	int r = venv__dir_list(store->records, &files, err);

	for (char **file = files; r == 0 && *file; file++) {
		_cleanup_record_ struct record record = { 0 };
		_cleanup_free_ char *hex = strndup(*file, strcspn(*file, "."));

		if (!hex)
			return venv__fail_nomem(err);
		if (!venv__strv_has(s->boxes, hex)) {
			if (unlinkat(store->records, *file, 0) == 0)
				s->n_boxes += **file != '.';
			continue;
		}
		r = venv__record_read(store, hex, &record, err);
		if (r == 0 && keep_parts(s, &record) < 0)
			r = venv__fail_nomem(err);
	}
	return r;
}

static int sweep_layers(const struct store *store, struct sweep *s, venv_error **err)
{
	_cleanup_strv_ char **present = NULL;
	int r = venv__dir_list(store->layers, &present, err);

	for (char **key = present; r == 0 && *key; key++) {
		if (venv__strv_has(s->layers, *key))
			continue;
		r = remove_layer(store, *key, &s->bytes, err);
		s->n_layers++;
	}
	return r;
}

static bool disk_kept(const struct sweep *s, const char *name)
{
	return venv__strv_has(s->disks, name);
}

/* A disk made from a box's layers is called by the box: kept as long as the box is. */
static bool made_kept(const struct sweep *s, const char *name)
{
	for (char **hex = s->boxes; hex && *hex; hex++)
		if (!strncmp(name, *hex, strlen(*hex)))
			return true;
	return false;
}

static int sweep_images(int dir, struct sweep *s, bool (*kept)(const struct sweep *, const char *),
			venv_error **err)
{
	_cleanup_strv_ char **present = NULL;
	int r = venv__dir_list(dir, &present, err);

	for (char **name = present; r == 0 && *name; name++) {
		struct stat st = { 0 };

		if (kept(s, *name))
			continue;
		(void)fstatat(dir, *name, &st, AT_SYMLINK_NOFOLLOW);
		if (unlinkat(dir, *name, 0) < 0 && errno != ENOENT)
			return venv__fail_errno(err, errno, "cannot remove a disk image");
		s->bytes += (uint64_t)st.st_blocks * 512;
		s->n_disks++;
	}
	return r;
}

/* With the store locked for us alone: remove what no name and no machine needs. */
static int sweep(const struct store *store, json_t **ret, venv_error **err)
{
	_cleanup_sweep_ struct sweep s = { 0 };
	int r;

	venv__stage_sweep(store);
	venv__file_sweep(store->names, NULL);
	r = named_digests(store, &s.boxes, err);
	if (r == 0)
		r = used_digests(store, &s.boxes, err);
	if (r == 0)
		r = sweep_records(store, &s, err);
	if (r == 0)
		r = sweep_layers(store, &s, err);
	if (r == 0)
		r = sweep_images(store->disks, &s, disk_kept, err);
	if (r == 0)
		r = sweep_images(store->made, &s, made_kept, err);
	if (r < 0 || !ret)
		return r;
	*ret = json_pack("{s:I, s:I, s:I, s:I}", "boxes", (json_int_t)s.n_boxes, "layers",
			 (json_int_t)s.n_layers, "disks", (json_int_t)s.n_disks, "bytes",
			 (json_int_t)s.bytes);
	return *ret ? 0 : venv__fail_nomem(err);
}

/* Take versions out of one name's file: all, or the one given. */
static int remove_versions(const struct store *store, const char *name, const char *version,
			   venv_error **err)
{
	_cleanup_free_ char *file = venv__name_file(name);
	_cleanup_json_ json_t *names = NULL;
	json_t *versions;
	int r = file ? venv__json_read(store->names, file, &names, err) : venv__fail_nomem(err);

	if (r < 0)
		return r;
	versions = json_object_get(names, "versions");
	for (size_t i = json_array_size(versions); i-- > 0;) {
		const char *have = venv__json_str(json_array_get(versions, i), "version");

		if (!version || !have || venv__version_compare(have, version) == 0)
			(void)json_array_remove(versions, i);
	}
	if (json_array_size(versions))
		return venv__json_write(store->names, file, names, WRITE_DURABLE, err);
	if (unlinkat(store->names, file, 0) < 0 && errno != ENOENT)
		return venv__fail_errno(err, errno, "cannot remove box '%s'", name);
	(void)fsync(store->names);
	return 0;
}

/* The name and its aliases have the canonical name inside. */
static int remove_name(const struct store *store, const char *canonical, const char *version,
		       venv_error **err)
{
	_cleanup_strv_ char **list = NULL;
	int r = venv__name_list(store, &list, err);

	for (char **name = list; r == 0 && *name; name++) {
		_cleanup_json_ json_t *names = NULL;
		const char *has;

		if (venv__name_read(store, *name, &names, NULL) < 0)
			continue;
		has = venv__json_str(names, "name");
		if (has && !strcmp(has, canonical))
			r = remove_versions(store, *name, version, err);
	}
	return r;
}

/* Does a name other than this one and its aliases have the digest? */
static bool has_other_name(const struct store *store, const char *canonical, const char *hex)
{
	_cleanup_strv_ char **list = NULL;
	bool found = false;

	if (venv__name_list(store, &list, NULL) < 0)
		return false;
	for (char **name = list; *name && !found; name++) {
		_cleanup_json_ json_t *names = NULL;
		const json_t *versions;
		const char *has;

		if (venv__name_read(store, *name, &names, NULL) < 0)
			continue;
		has = venv__json_str(names, "name");
		if (!has || strcmp(has, canonical) == 0)
			continue;
		versions = json_object_get(names, "versions");
		for (size_t i = 0; i < json_array_size(versions) && !found; i++) {
			const char *digest = venv__json_str(json_array_get(versions, i), "digest");

			found = digest && strcmp(digest, hex) == 0;
		}
	}
	return found;
}

/* What a machine stands on keeps a name, so that it can be seen and removed later. */
static int check_versions(const struct store *store, const json_t *names, const char *name,
			  const char *canonical, const char *version, venv_error **err)
{
	const json_t *versions = json_object_get(names, "versions");
	bool any = false;

	for (size_t i = 0; i < json_array_size(versions); i++) {
		const json_t *entry = json_array_get(versions, i);
		const char *have = venv__json_str(entry, "version"),
			   *hex = venv__json_str(entry, "digest");
		int r;

		if (!have || !hex || (version && venv__version_compare(have, version) != 0))
			continue;
		any = true;
		r = has_other_name(store, canonical, hex)
			    ? 0
			    : check_unused(store->ctx, name, hex, err);
		if (r < 0)
			return r;
	}
	if (any || !version)
		return 0;
	return venv__hint(
		venv__fail(err, VENV_ERR_NOT_FOUND, "box '%s' has no version '%s'", name, version),
		err, "'venv box list' shows what there is");
}

int venv__box_remove(struct venv *ctx, const char *reference, venv_error **err)
{
	_cleanup_store_ struct store store = STORE_INIT;
	_cleanup_free_ char *name = NULL, *version = NULL;
	_cleanup_json_ json_t *names = NULL;
	_cleanup_close_ int lock = -1;
	const char *canonical;
	int r;

	r = venv__name_split(reference, &name, &version, err);
	if (r == 0)
		r = venv__store_open(ctx, &store, err);
	if (r < 0)
		return r;
	lock = venv__store_lock(ctx, true, NULL, err);
	if (lock < 0)
		return lock;
	r = venv__name_read(&store, name, &names, NULL);
	if (r == VENV_ERR_NOT_FOUND)
		return venv__hint(venv__fail(err, r, "box '%s' is not in the store", name), err,
				  "'venv box list' shows what there is");
	if (r == VENV_ERR_CORRUPT) {
		_cleanup_free_ char *file = venv__name_file(name);

		if (file && unlinkat(store.names, file, 0) == 0)
			return sweep(&store, NULL, err);
	}
	canonical = r == 0 && venv__json_str(names, "name") ? venv__json_str(names, "name") : name;
	if (r == 0)
		r = check_versions(&store, names, name, canonical, version, err);
	if (r == 0)
		r = remove_name(&store, canonical, version, err);
	return r < 0 ? r : sweep(&store, NULL, err);
}

int venv__box_prune(struct venv *ctx, json_t **ret, venv_error **err)
{
	_cleanup_store_ struct store store = STORE_INIT;
	_cleanup_close_ int lock = -1;
	int r = venv__store_open(ctx, &store, err);

	if (r < 0)
		return r;
	lock = venv__store_lock(ctx, true, NULL, err);
	return lock < 0 ? lock : sweep(&store, ret, err);
}
