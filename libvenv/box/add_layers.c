/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each layer that the store lacks is unpacked into a staging directory of its own,
 * bottom first, fitted to those below if it leaves something to them, and all of them are then put
 * to disk by one syncfs() and renamed into layers/. Only after that the record is written, and the
 * name after the record. A crash leaves staging directories, which the next command removes, or
 * layers and records without a name, which `venv box prune` removes and the same add takes up.
 *
 * A layer's directory is named by its diff id when it stands for itself, else (it has directories that
 * no entry describes, or hard links into lower layers) by its chain id as OCI defines it.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "add.h"

void venv__adding_done(struct adding *a)
{
	for (size_t i = 0; i < a->n_parts; i++) {
		struct part *p = &a->parts[i];

		if (p->fs >= 0)
			(void)close(p->fs);
		if (p->list >= 0)
			(void)close(p->list);
		venv__stage_done(&p->stage);
		json_decref(p->counts);
	}
	free(a->parts);
}

/* ---- One layer ---------------------------------------------------------------------------- */

/* Room for one more; its stage must stay where it is, so all are allocated at once. */
struct part *venv__part_new(struct adding *a)
{
	struct part *p = &a->parts[a->n_parts++];

	*p = (struct part){ .stage = STAGE_INIT, .fs = -1, .list = -1 };
	return p;
}

int venv__adding_reserve(struct adding *a, size_t n, venv_error **err)
{
	a->parts = calloc(n, sizeof(*a->parts));
	a->capacity = n;
	return a->parts ? 0 : venv__fail_nomem(err);
}

int venv__part_stage(struct adding *a, struct part *p, venv_error **err)
{
	int r = venv__stage_new(a->store, &p->stage, err);

	if (r < 0)
		return r;
	r = venv__store_make_dir(a->store->ctx, p->stage.dir, "fs", 0, 0, 0755, err);
	if (r < 0)
		return r;
	p->fs = openat(p->stage.dir, "fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	p->list = openat(p->stage.dir, "list", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (p->fs < 0 || p->list < 0)
		return venv__fail_errno(err, errno, "cannot make a staging directory");
	p->fresh = true;
	return 0;
}

static int merge(struct adding *a, struct part *p, const char *what, venv_error **err)
{
	_cleanup_json_ json_t *request = NULL, *result = NULL;
	const int fds[2] = { p->fs, p->list };
	size_t n = (size_t)(p - a->parts);
	_cleanup_free_ int *lower = calloc(n + 1, sizeof(int));
	struct worker_task task = { .fds = fds,
				    .n_fds = 2,
				    .more = lower,
				    .n_more = n,
				    .op = a->op,
				    .lock = p->stage.lock,
				    .what = what,
				    .hash_fd = -1 };
	int r;

	for (size_t i = 0; lower && i < n; i++)
		lower[i] = a->parts[n - 1 - i].fs;
	request = json_pack("{s:s, s:I}", "op", "merge", "lower", (json_int_t)n);
	if (!lower || !request)
		return venv__fail_nomem(err);
	task.request = request;
	r = venv__worker_run(a->store->ctx, &task, &result, err);
	if (r == 0 && venv__json_int(json_object_get(result, "counts"), "moved", 0))
		venv__op_warning(
			a->op, NULL,
			"%s: directories that are links below (as bin -> usr/bin) were followed",
			what);
	return r;
}

static void warn_of(struct adding *a, const json_t *counts, const char *what)
{
	static const struct {
		const char *key, *text;
	} warnings[] = {
		{ "duplicates", "names occur again in the archive: the last one was taken" },
		{ "through_links", "entries lie below symbolic links of the archive" },
		{ "attributes", "extended attributes were refused by the file system" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(warnings); i++) {
		int64_t n = venv__json_int(counts, warnings[i].key, 0);

		if (n)
			venv__op_warning(a->op, NULL, "%s: %lld %s", what, (long long)n,
					 warnings[i].text);
	}
	if (venv__json_int(counts, "devices", 0))
		venv__debug(a->store->ctx, "%s: %lld device nodes were not made", what,
			    (long long)venv__json_int(counts, "devices", 0));
}

int64_t venv__adding_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_size;
}

int venv__part_unpack(struct adding *a, struct part *p, int fd, const char *as, const char *what,
		      char *ret_hash, json_t **ret, venv_error **err)
{
	_cleanup_json_ json_t *request = json_pack("{s:s, s:s}", "op", "unpack", "as", as);
	const int fds[3] = { fd, p->fs, p->list };
	struct worker_task task = { .request = request,
				    .fds = fds,
				    .n_fds = 3,
				    .lock = p->stage.lock,
				    .what = what,
				    .op = a->op,
				    .base = a->done,
				    .total = a->total,
				    .hash_fd = ret_hash ? fd : -1,
				    .ret_hash = ret_hash };
	int r;

	if (!request)
		return venv__fail_nomem(err);
	r = venv__worker_run(a->store->ctx, &task, ret, err);
	a->done += (uint64_t)venv__adding_size(fd);
	return r;
}

/* Layers of before roots were counted are taken as they were then. */
static void describe(struct part *p, const json_t *counts)
{
	p->ref.size = (uint64_t)venv__json_int(counts, "bytes", 0);
	p->ref.root = venv__json_int(counts, "roots", 1) != 0;
}

static bool stands_alone(const json_t *counts)
{
	return !venv__json_int(counts, "implicit", 0) && !venv__json_int(counts, "pending", 0);
}

int venv__part_take(struct adding *a, struct part *p, const json_t *result, const char *what,
		    venv_error **err)
{
	const char *digest = venv__json_str(result, "digest");
	bool bottom = p == a->parts;

	p->counts = json_incref(json_object_get(result, "counts"));
	if (!digest || strlen(digest) != DIGEST_HEX_SIZE - 1 || !p->counts)
		return venv__fail(err, VENV_ERR_SYSTEM, "venv-unpack gave a wrong answer");
	memcpy(p->ref.diff_id, digest, DIGEST_HEX_SIZE);
	describe(p, p->counts);
	p->synced = venv__json_bool(result, "synced", false);
	warn_of(a, p->counts, what);
	if (bottom && !venv__json_int(p->counts, "pending", 0)) {
		memcpy(p->ref.key, p->ref.diff_id, DIGEST_HEX_SIZE);
		return 0;
	}
	if (stands_alone(p->counts)) {
		memcpy(p->ref.key, p->ref.diff_id, DIGEST_HEX_SIZE);
		return 0;
	}
	memcpy(p->ref.key, p->chain, DIGEST_HEX_SIZE);
	p->synced = false;
	return merge(a, p, what, err);
}

static int chain_id(struct adding *a, struct part *p, const char *diff_id, venv_error **err)
{
	_cleanup_free_ char *text = NULL;

	if (p == a->parts) {
		memcpy(p->chain, diff_id, DIGEST_HEX_SIZE);
		return 0;
	}
	if (asprintf(&text, "sha256:%s sha256:%s", p[-1].chain, diff_id) < 0) {
		text = NULL;
		return venv__fail_nomem(err);
	}
	return venv__digest_of(text, strlen(text), p->chain) < 0 ? venv__fail_nomem(err) : 0;
}

/* Is the layer there under this key, and does it fit? Fills the part. */
static bool have_layer(struct adding *a, struct part *p, const char *key, const char *diff_id)
{
	_cleanup_close_ int dir = openat(a->store->layers, key, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_json_ json_t *meta = NULL;
	const json_t *counts;

	if (dir < 0 || venv__json_read(dir, "meta.json", &meta, NULL) < 0)
		return false;
	counts = json_object_get(meta, "counts");
	if (!venv__json_str(meta, "diff_id") ||
	    strcmp(venv__json_str(meta, "diff_id"), diff_id) != 0)
		return false;
	if (p != a->parts && !stands_alone(counts) && strcmp(key, p->chain) != 0)
		return false;
	p->fs = openat(dir, "fs", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	memcpy(p->ref.key, key, DIGEST_HEX_SIZE);
	memcpy(p->ref.diff_id, diff_id, DIGEST_HEX_SIZE);
	describe(p, counts);
	return p->fs >= 0;
}

static int wrong_digest(const char *what, const char *stated, const char *found, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_BOX,
			   "%s: its digest is sha256:%s, not sha256:%s as the image says", what,
			   found, stated);

	return venv__hint(r, err, "%s", VENV__IMAGE_DAMAGED);
}

int venv__part_add(struct adding *a, const struct image *image, size_t i, const char *source,
		   venv_error **err)
{
	const struct image_layer *layer = &image->layers[i];
	_cleanup_json_ json_t *result = NULL;
	_cleanup_free_ char *what = NULL;
	_cleanup_close_ int fd = -1;
	struct part *p = venv__part_new(a);
	char blob[DIGEST_HEX_SIZE];
	int r;

	if (asprintf(&what, "layer %zu of '%s'", i + 1, source) < 0)
		return venv__fail_nomem(err);
	r = chain_id(a, p, layer->diff_id, err);
	if (r < 0)
		return r;
	if (have_layer(a, p, layer->diff_id, layer->diff_id) ||
	    have_layer(a, p, p->chain, layer->diff_id))
		return 0;
	fd = venv__image_open(image, layer->path, err);
	if (fd < 0)
		return fd;
	if (layer->size >= 0 && layer->size != venv__adding_size(fd))
		return venv__hint(venv__fail(err, VENV_ERR_BOX, "%s has %lld bytes instead of %lld",
					     what, (long long)venv__adding_size(fd),
					     (long long)layer->size),
				  err, "%s", VENV__IMAGE_DAMAGED);
	r = venv__part_stage(a, p, err);
	if (r == 0)
		r = venv__part_unpack(a, p, fd, "layer", what, layer->digest ? blob : NULL, &result,
				      err);
	if (r < 0)
		return venv__wrap(r, err, "%s", what);
	if (layer->digest && strcmp(blob, layer->digest) != 0)
		return wrong_digest(what, layer->digest, blob, err);
	if (!venv__json_str(result, "digest") ||
	    strcmp(venv__json_str(result, "digest"), layer->diff_id) != 0)
		return wrong_digest(what, layer->diff_id, venv__json_str(result, "digest"), err);
	r = venv__part_take(a, p, result, what, err);
	return r < 0 ? venv__wrap(r, err, "%s", what) : 0;
}

/* ---- To the store ------------------------------------------------------------------------- */

static int write_meta(struct part *p, venv_error **err)
{
	_cleanup_json_ json_t *meta =
		json_pack("{s:i, s:s, s:s, s:O}", "format", 1, "diff_id", p->ref.diff_id, "key",
			  p->ref.key, "counts", p->counts);

	if (!meta)
		return venv__fail_nomem(err);
	(void)unlinkat(p->stage.dir, "list", 0);
	return venv__json_write(p->stage.dir, "meta.json", meta, WRITE_DURABLE, err);
}

int venv__adding_publish(struct adding *a, venv_error **err)
{
	bool synced = true;
	int r = venv__op_cancelled(a->op, err);

	for (size_t i = 0; i < a->n_parts; i++)
		synced = synced && (!a->parts[i].fresh || a->parts[i].synced);
	if (r == 0 && !synced && syncfs(a->store->dir) < 0)
		r = venv__fail_errno(err, errno, "cannot write the box to disk");
	for (size_t i = 0; r == 0 && i < a->n_parts; i++) {
		struct part *p = &a->parts[i];

		if (!p->fresh)
			continue;
		r = write_meta(p, err);
		if (r == 0)
			r = venv__stage_publish(&p->stage, p->ref.key, err);
		if (r == 1) /* somebody else was faster: ours goes with the stage */
			r = 0;
	}
	return r;
}
