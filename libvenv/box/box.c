/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes in the store: find, list, describe, remove. */
#include "store.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

enum { PREFIX_MIN = 12 };

json_t *venv__box_to_json(const struct box *box)
{
	bool disk = box->kind == BOX_DISK;
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "name", box->name, "version",
		box->version, "digest", box->digest, "architecture", box->architecture, "source",
		box->source, "kind", venv__box_kind_name(box->kind), "size", (json_int_t)box->size,
		disk ? "disks" : "layers", venv__json_from_strv(disk ? box->disks : box->layers));

	if (!json)
		return NULL;
	if (disk)
		(void)json_object_set_new(json, "virtual_size",
					  json_integer((json_int_t)box->virtual_size));
	if (box->insecure_key)
		(void)json_object_set_new(json, "insecure_key", json_true());
	if (box->vagrant)
		(void)json_object_set(json, "vagrant", box->vagrant);
	(void)venv__json_set_str(json, "format", box->format);
	if (box->env)
		(void)json_object_set_new(json, "env", venv__json_from_strv(box->env));
	if (box->entrypoint)
		(void)json_object_set_new(json, "entrypoint",
					  venv__json_from_strv(box->entrypoint));
	if (box->cmd)
		(void)json_object_set_new(json, "cmd", venv__json_from_strv(box->cmd));
	if (box->volumes)
		(void)json_object_set_new(json, "volumes", venv__json_from_strv(box->volumes));
	if (box->exposed)
		(void)json_object_set_new(json, "exposed", venv__json_from_strv(box->exposed));
	(void)venv__json_set_str(json, "user", box->user);
	(void)venv__json_set_str(json, "workdir", box->workdir);
	(void)venv__json_set_str(json, "stop_signal", box->stop_signal);
	return json;
}

/* ---- Find --------------------------------------------------------------------------------- */

static int check_architecture(const struct record *record, const char *wanted, const char *name,
			      venv_error **err)
{
	const char *host = venv__architecture_host();
	int r;

	if (!wanted || !strcmp(wanted, "auto"))
		wanted = host;
	if (!strcmp(record->architecture, wanted))
		return 0;
	r = venv__fail(err, VENV_ERR_UNSUPPORTED, "box '%s' is for %s, and %s is wanted", name,
		       record->architecture, wanted);
	return venv__hint(r, err, "add a box for %s under this name, or set 'architecture: %s'",
			  wanted, record->architecture);
}

/* source: where this name came from, of which there may be several for a record; NULL: the record's */
static int open_record(const struct store *store, const char *hex, const char *name,
		       const char *version, const char *source, const char *architecture,
		       struct box *ret, venv_error **err)
{
	_cleanup_record_ struct record record = { 0 };
	int r = venv__record_read(store, hex, &record, err);

	if (r == VENV_ERR_NOT_FOUND && err) {
		venv__error_clear(err);
		r = venv__fail(err, VENV_ERR_CORRUPT, "box '%s' has lost its record", name);
		return venv__hint(r, err, "add or build it again");
	}
	if (r == 0)
		r = check_architecture(&record, architecture, name, err);
	if (r < 0)
		return r;
	if (source) {
		free(record.source);
		record.source = strdup(source);
		if (!record.source)
			return venv__fail_nomem(err);
	}
	r = venv__record_to_box(store, &record, name, version, ret, err);
	return r < 0 ? venv__wrap(r, err, "box '%s'", name) : 0;
}

static int not_found(struct venv *ctx, const char *name, venv_error **err)
{
	_cleanup_free_ char *similar = NULL;
	int r = venv__fail(err, VENV_ERR_NOT_FOUND, "box '%s' is not in the store", name);

	if (venv__box_has_recipe(ctx, name))
		return venv__hint(r, err, "build it: 'venv box build %s'", name);
	similar = venv__box_suggest(ctx, name);
	if (similar && strcmp(similar, name) != 0)
		return venv__hint(r, err, "did you mean '%s'? 'venv box list' shows what there is",
				  similar);
	return venv__hint(r, err,
			  "add it from a file ('venv box add --name %s FILE'), or take one of "
			  "'venv box list'",
			  name);
}

/* The best entry of a name's versions; NULL when none fits, *ret_failed < 0 for a bad constraint. */
static const json_t *best_version(const json_t *names, const char *version, const char *constraint,
				  int *ret_failed, venv_error **err)
{
	const json_t *versions = json_object_get(names, "versions"), *best = NULL;

	for (size_t i = 0; i < json_array_size(versions); i++) {
		const json_t *entry = json_array_get(versions, i);
		const char *have = venv__json_str(entry, "version");
		int fits = have != NULL;

		if (have && version)
			fits = venv__version_compare(have, version) == 0;
		if (have && constraint && fits)
			fits = venv__version_matches(have, constraint, err);
		if (fits < 0) {
			*ret_failed = fits;
			return NULL;
		}
		if (fits &&
		    (!best || venv__version_compare(have, venv__json_str(best, "version")) > 0))
			best = entry;
	}
	return best;
}

static int no_version(const json_t *names, const char *name, const char *version,
		      const char *constraint, venv_error **err)
{
	const json_t *versions = json_object_get(names, "versions");
	_cleanup_buf_ struct buf have = { 0 };
	int r;

	for (size_t i = 0; i < json_array_size(versions); i++)
		venv__buf_printf(&have, "%s%s", i ? ", " : "",
				 venv__json_str(json_array_get(versions, i), "version"));
	r = venv__fail(err, VENV_ERR_NOT_FOUND, "box '%s' has no version '%s', only: %s", name,
		       version ? version : constraint, have.data ? have.data : "none");
	return venv__hint(r, err, "ask for one of these, or add the version that is missing");
}

static int open_name(const struct store *store, const char *reference, const char *constraint,
		     const char *architecture, struct box *ret, venv_error **err)
{
	_cleanup_free_ char *name = NULL, *version = NULL;
	_cleanup_json_ json_t *names = NULL;
	const json_t *entry;
	const char *digest, *canonical;
	int r, failed = 0;

	r = venv__name_split(reference, &name, &version, err);
	if (r < 0)
		return r;
	r = venv__name_read(store, name, &names, NULL);
	if (r == VENV_ERR_NOT_FOUND)
		return not_found(store->ctx, name, err);
	if (r == VENV_ERR_NOMEM)
		return venv__fail_nomem(err);
	if (r < 0)
		return venv__hint(venv__fail(err, VENV_ERR_CORRUPT,
					     "the record of box '%s' is damaged", name),
				  err, "add or build the box again");
	entry = best_version(names, version, constraint, &failed, err);
	if (failed < 0)
		return failed;
	if (!entry)
		return no_version(names, name, version, constraint, err);
	digest = venv__json_str(entry, "digest");
	canonical = venv__json_str(names, "name");
	return open_record(store, digest ? digest : "", canonical ? canonical : name,
			   venv__json_str(entry, "version"), venv__json_str(entry, "source"),
			   architecture, ret, err);
}

/* What a walk over all names looks for, and what it found. */
struct search {
	const char *digest; /* hex or its beginning */
	const char *source;
	char *name, *version, *found_source, *hex;
	int64_t added;
};

static void search_done(struct search *s)
{
	free(s->name);
	free(s->version);
	free(s->found_source);
	free(s->hex);
}
#define _cleanup_search_ _cleanup_(search_done)

static void consider(struct search *s, const json_t *names, const json_t *entry)
{
	const char *digest = venv__json_str(entry, "digest"),
		   *source = venv__json_str(entry, "source");
	const char *name = venv__json_str(names, "name"),
		   *version = venv__json_str(entry, "version");
	int64_t added = venv__json_int(entry, "added", 0);

	if (!digest || !name || !version || (s->hex && added < s->added) ||
	    (s->digest && strncmp(digest, s->digest, strlen(s->digest)) != 0) ||
	    (s->source && (!source || strcmp(source, s->source) != 0)))
		return;
	search_done(s);
	s->name = strdup(name);
	s->version = strdup(version);
	s->found_source = source ? strdup(source) : NULL;
	s->hex = strdup(digest);
	s->added = added;
}

static int search(const struct store *store, struct search *s, venv_error **err)
{
	_cleanup_strv_ char **list = NULL;
	int r = venv__name_list(store, &list, err);

	for (char **name = list; r == 0 && *name; name++) {
		_cleanup_json_ json_t *names = NULL;
		const json_t *versions;

		if (venv__name_read(store, *name, &names, NULL) < 0)
			continue;
		versions = json_object_get(names, "versions");
		for (size_t i = 0; i < json_array_size(versions); i++)
			consider(s, names, json_array_get(versions, i));
	}
	return r;
}

static int open_path(const struct store *store, const char *path, const char *architecture,
		     struct box *ret, venv_error **err)
{
	_cleanup_free_ char *home = venv__path_home(path), *absolute = NULL;
	_cleanup_search_ struct search s = { 0 };
	int r;

	absolute = home ? realpath(home, NULL) : NULL;
	s.source = absolute ? absolute : path;
	r = search(store, &s, err);
	if (r < 0)
		return r;
	if (s.hex)
		return open_record(store, s.hex, s.name, s.version, s.found_source, architecture,
				   ret, err);
	r = venv__fail(err, VENV_ERR_NOT_FOUND, "no box was added from '%s'", path);
	if (!absolute)
		return venv__hint(r, err,
				  "there is no such file: put it there, or correct the path");
	return venv__hint(r, err, "add it: 'venv box add %s'", path);
}

static int open_digest(const struct store *store, const char *hex, const char *constraint,
		       const char *architecture, struct box *ret, venv_error **err)
{
	_cleanup_search_ struct search s = { .digest = hex };
	_cleanup_record_ struct record record = { 0 };
	int r;

	if (strlen(hex) < PREFIX_MIN || strspn(hex, "0123456789abcdef") != strlen(hex) ||
	    strlen(hex) > 64)
		return venv__fail(err, VENV_ERR_INVALID, "'sha256:%s' is no digest of a box", hex);
	r = search(store, &s, err);
	if (r < 0)
		return r;
	if (s.hex && constraint && s.version) {
		r = venv__version_matches(s.version, constraint, err);
		if (r == 0)
			r = venv__fail(err, VENV_ERR_NOT_FOUND, "box '%s' is version %s, not '%s'",
				       s.name, s.version, constraint);
		if (r < 0)
			return r;
	}
	if (s.hex)
		return open_record(store, s.hex, s.name, s.version, s.found_source, architecture,
				   ret, err);
	/* a machine or a lock file may pin what has lost its name */
	if (strlen(hex) == 64 && venv__record_read(store, hex, &record, NULL) == 0)
		return open_record(store, hex, hex, "0", NULL, architecture, ret, err);
	r = venv__fail(err, VENV_ERR_NOT_FOUND, "box 'sha256:%s' is not in the store", hex);
	return venv__hint(r, err, "add or build that box again");
}

int venv__box_open(struct venv *ctx, const char *reference, const char *constraint,
		   const char *architecture, struct box *ret, venv_error **err)
{
	_cleanup_store_ struct store store = STORE_INIT;
	int r;

	if (strstr(reference, "://")) {
		struct box unused = { 0 };

		return venv__box_add(ctx, NULL, reference, NULL, &unused, err);
	}
	r = venv__store_open(ctx, &store, err);
	if (r < 0)
		return r;
	if (!strncmp(reference, "sha256:", 7))
		return open_digest(&store, reference + 7, constraint, architecture, ret, err);
	if (*reference == '/' || *reference == '.' || *reference == '~')
		return open_path(&store, reference, architecture, ret, err);
	return open_name(&store, reference, constraint, architecture, ret, err);
}

/* ---- List and describe -------------------------------------------------------------------- */

static int append_versions(const struct store *store, const json_t *names, json_t *list,
			   venv_error **err)
{
	const json_t *versions = json_object_get(names, "versions");
	const char *name = venv__json_str(names, "name");

	for (size_t i = 0; i < json_array_size(versions); i++) {
		const json_t *entry = json_array_get(versions, i);
		const char *hex = venv__json_str(entry, "digest");
		const char *version = venv__json_str(entry, "version");
		const char *source = venv__json_str(entry, "source");
		_cleanup_record_ struct record record = { 0 };
		uint64_t size = 0;
		json_t *item;
		int r = hex && version ? venv__record_read(store, hex, &record, NULL)
				       : VENV_ERR_CORRUPT;
		bool disk;

		if (r == VENV_ERR_NOMEM)
			return venv__fail_nomem(err);
		if (r < 0) {
			venv__warn(store->ctx, "a version of box '%s' has lost its record", name);
			continue;
		}
		for (size_t j = 0; j < record.n_layers; j++)
			size += record.layers[j].size;
		for (size_t j = 0; j < record.n_disks; j++)
			size += record.disks[j].size;
		disk = record.kind == BOX_DISK;
		item = json_pack("{s:s, s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:s}", "name", name,
				 "version", version, "digest", json_sprintf("sha256:%s", hex),
				 "kind", venv__box_kind_name(record.kind), "architecture",
				 record.architecture, "size", (json_int_t)size,
				 disk ? "disks" : "layers",
				 (json_int_t)(disk ? record.n_disks : record.n_layers), "added",
				 (json_int_t)venv__json_int(entry, "added", 0), "source",
				 source ? source : record.source);
		if (!item || json_array_append_new(list, item) < 0)
			return venv__fail_nomem(err);
	}
	return 0;
}

int venv__box_list(struct venv *ctx, json_t **ret, venv_error **err)
{
	_cleanup_store_ struct store store = STORE_INIT;
	_cleanup_strv_ char **names = NULL;
	_cleanup_json_ json_t *list = json_array();
	int r = venv__store_open(ctx, &store, err);

	if (r == 0)
		r = venv__name_list(&store, &names, err);
	for (char **name = names; r == 0 && *name; name++) {
		_cleanup_json_ json_t *json = NULL;
		const char *canonical;

		r = venv__name_read(&store, *name, &json, NULL);
		if (r == VENV_ERR_NOMEM)
			return venv__fail_nomem(err);
		if (r < 0) {
			r = 0;
			continue;
		}
		canonical = venv__json_str(json, "name");
		if (canonical && !strcmp(canonical, *name)) /* else an alias */
			r = append_versions(&store, json, list, err);
	}
	if (r == 0)
		*ret = take_ptr(list);
	return r;
}

int venv__box_info(struct venv *ctx, const char *name, json_t **ret, venv_error **err)
{
	_cleanup_box_ struct box box = { 0 };
	_cleanup_json_ json_t *json = NULL;
	_cleanup_strv_ char **users = NULL;
	int r = venv__box_open(ctx, name, NULL, NULL, &box, err);

	if (r < 0)
		return r;
	json = venv__box_to_json(&box);
	r = venv__machines_using(ctx, box.digest, &users, err);
	if (r < 0)
		return r;
	if (!json || json_object_set_new(json, "machines", venv__json_from_strv(users)) < 0)
		return venv__fail_nomem(err);
	*ret = take_ptr(json);
	return 0;
}
