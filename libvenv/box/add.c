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
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "../util/sys.h"
#include "store.h"

struct part { /* one layer */
	struct stage stage;
	int fs; /* its directory */
	int list;
	bool fresh; /* in the stage, to be published */
	bool synced;
	char chain[DIGEST_HEX_SIZE];
	struct layer_ref ref;
	json_t *counts;
};

struct adding {
	struct store *store;
	struct venv_op *op;
	struct part *parts;
	size_t n_parts, capacity;
	uint64_t done, total; /* bytes of sources */
};

static void adding_done(struct adding *a)
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
#define _cleanup_adding_ _cleanup_(adding_done)

/* ---- One layer ---------------------------------------------------------------------------- */

/* Room for one more; its stage must stay where it is, so all are allocated at once. */
static struct part *new_part(struct adding *a)
{
	struct part *p = &a->parts[a->n_parts++];

	*p = (struct part){ .stage = STAGE_INIT, .fs = -1, .list = -1 };
	return p;
}

static int reserve(struct adding *a, size_t n, venv_error **err)
{
	a->parts = calloc(n, sizeof(*a->parts));
	a->capacity = n;
	return a->parts ? 0 : venv__fail_nomem(err);
}

/* stage/<id>/fs, owned by the guest's root, and the list for the merge. */
static int prepare_stage(struct adding *a, struct part *p, venv_error **err)
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

static int64_t file_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_size;
}

/* Unpack fd into the part's stage, as a "layer", a "box", or what it turns out to be ("auto"). ret_hash: of the file as it is, or NULL. */
static int unpack(struct adding *a, struct part *p, int fd, const char *as, const char *what,
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
	a->done += (uint64_t)file_size(fd);
	return r;
}

static bool stands_alone(const json_t *counts)
{
	return !venv__json_int(counts, "implicit", 0) && !venv__json_int(counts, "pending", 0);
}

/* What the unpacker said of a layer becomes the part's. */
static int take_result(struct adding *a, struct part *p, const json_t *result, const char *what,
		       venv_error **err)
{
	const char *digest = venv__json_str(result, "digest");
	bool bottom = p == a->parts;

	p->counts = json_incref(json_object_get(result, "counts"));
	if (!digest || strlen(digest) != DIGEST_HEX_SIZE - 1 || !p->counts)
		return venv__fail(err, VENV_ERR_SYSTEM, "venv-unpack gave a wrong answer");
	memcpy(p->ref.diff_id, digest, DIGEST_HEX_SIZE);
	p->ref.size = (uint64_t)venv__json_int(p->counts, "bytes", 0);
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
	p->ref.size = (uint64_t)venv__json_int(counts, "bytes", 0);
	return p->fs >= 0;
}

static int wrong_digest(const char *what, const char *stated, const char *found, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_BOX,
			   "%s: its digest is sha256:%s, not sha256:%s as the image says", what,
			   found, stated);

	return venv__hint(r, err, "%s", VENV__IMAGE_DAMAGED);
}

static int add_layer(struct adding *a, const struct image *image, size_t i, const char *source,
		     venv_error **err)
{
	const struct image_layer *layer = &image->layers[i];
	_cleanup_json_ json_t *result = NULL;
	_cleanup_free_ char *what = NULL;
	_cleanup_close_ int fd = -1;
	struct part *p = new_part(a);
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
	if (layer->size >= 0 && layer->size != file_size(fd))
		return venv__hint(venv__fail(err, VENV_ERR_BOX, "%s has %lld bytes instead of %lld",
					     what, (long long)file_size(fd),
					     (long long)layer->size),
				  err, "%s", VENV__IMAGE_DAMAGED);
	r = prepare_stage(a, p, err);
	if (r == 0)
		r = unpack(a, p, fd, "layer", what, layer->digest ? blob : NULL, &result, err);
	if (r < 0)
		return venv__wrap(r, err, "%s", what);
	if (layer->digest && strcmp(blob, layer->digest) != 0)
		return wrong_digest(what, layer->digest, blob, err);
	if (!venv__json_str(result, "digest") ||
	    strcmp(venv__json_str(result, "digest"), layer->diff_id) != 0)
		return wrong_digest(what, layer->diff_id, venv__json_str(result, "digest"), err);
	r = take_result(a, p, result, what, err);
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

static int publish(struct adding *a, venv_error **err)
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

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* "alpine.tar.gz" is the box alpine. */
static char *name_of_path(const char *path)
{
	static const char *const suffixes[] = { ".gz",   ".xz",    ".zst", ".tgz",    ".txz",
						".tzst", ".tar",   ".oci", ".docker", ".rootfs",
						".box",  ".qcow2", ".img", ".raw" };
	char *name = strdup(base_name(path));

	for (bool again = true; name && again;) {
		size_t length = strlen(name);

		again = false;
		for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
			size_t n = strlen(suffixes[i]);

			if (length > n && !strcmp(name + length - n, suffixes[i])) {
				name[length - n] = '\0';
				again = true;
				break;
			}
		}
	}
	return name;
}

int venv__add_name(const struct addition *how, const char *image_name, const char *image_version,
		   const char *path, char **ret_name, char **ret_version, venv_error **err)
{
	_cleanup_free_ char *name = NULL, *version = NULL;
	int r;

	if (how->name) {
		r = venv__name_split(how->name, &name, &version, err);
		if (r < 0)
			return r;
	} else {
		name = image_name ? strdup(image_name) : name_of_path(path);
	}
	if (name && !venv__name_valid(name))
		return venv__hint(
			venv__fail(err, VENV_ERR_INVALID, "'%s' is no name for a box", name), err,
			"give it a name: 'venv box add --name NAME %s'", path);
	if (!version)
		version = strdup(how->version                  ? how->version
				 : !how->name && image_version ? image_version
							       : "0");
	if (!name || !version)
		return venv__fail_nomem(err);
	*ret_name = take_ptr(name);
	*ret_version = take_ptr(version);
	return 0;
}

int venv__add_record(const struct store *store, struct record *record, const struct addition *how,
		     const char *name, const char *version, struct box *ret, venv_error **err)
{
	int r = venv__record_seal(record, err);

	if (r == 0)
		r = venv__record_write(store, record, err);
	if (r == 0)
		r = venv__name_set(store, name, how->aliases, version, record, err);
	return r < 0 ? r : venv__record_to_box(store, record, name, version, ret, err);
}

static int write_record(struct adding *a, const struct image *image, const struct addition *how,
			const char *path, struct box *ret, venv_error **err)
{
	_cleanup_free_ char *name = NULL, *version = NULL;
	_cleanup_record_ struct record record = { .added = venv__wall_seconds() };
	int r;

	r = venv__add_name(how, image->name, image->version, path, &name, &version, err);
	if (r < 0)
		return r;
	record.kind = how->kernel ? BOX_KERNEL : BOX_ROOTFS;
	record.architecture = strdup(image->architecture);
	record.source = strdup(how->source ? how->source : path);
	record.config = json_incref(image->config);
	record.layers = calloc(a->n_parts, sizeof(*record.layers));
	if (!record.architecture || !record.source || !record.layers)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < a->n_parts; i++)
		record.layers[record.n_layers++] = a->parts[i].ref;
	return venv__add_record(a->store, &record, how, name, version, ret, err);
}

/* ---- Sources ------------------------------------------------------------------------------ */

static int add_image(struct adding *a, const struct image *image, const struct addition *how,
		     const char *path, struct box *ret, venv_error **err)
{
	int r = reserve(a, image->n_layers, err);

	a->done = a->total = 0;
	for (size_t i = 0; r == 0 && i < image->n_layers; i++) {
		_cleanup_close_ int fd = venv__image_open(image, image->layers[i].path, NULL);

		a->total += fd >= 0 ? (uint64_t)file_size(fd) : 0;
	}
	for (size_t i = 0; r == 0 && i < image->n_layers; i++)
		r = add_layer(a, image, i, base_name(path), err);
	if (r == 0)
		r = publish(a, err);
	return r < 0 ? r : write_record(a, image, how, path, ret, err);
}

/* The plain file system: the one part is unpacked already. */
static int check_marked(const json_t *result, venv_error **err)
{
	if (venv__json_bool(result, "marked", false))
		return 0;
	return venv__hint(
		venv__fail(err, VENV_ERR_BOX, "the archive is cut short: its end is missing"), err,
		"make or download it again");
}

static int add_rootfs(struct adding *a, const json_t *result, const struct addition *how,
		      const char *path, struct box *ret, venv_error **err)
{
	const char *architecture =
		venv__architecture_of_elf((unsigned)venv__json_int(result, "machine", 0));
	const char *host = venv__architecture_host();
	_cleanup_image_ struct image image = { .dir = -1 };
	int r = check_marked(result, err);

	if (r < 0)
		return r;
	if (architecture && strcmp(architecture, host) != 0)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "its programs are for %s, and this host is %s", architecture,
				  host);
	r = take_result(a, a->parts, result, base_name(path), err);
	if (r < 0)
		return r;
	if (!venv__json_int(a->parts->counts, "entries", 0))
		return venv__fail(err, VENV_ERR_BOX, "the archive is empty");
	image.architecture = strdup(host);
	image.config = json_object();
	if (!image.architecture || !image.config)
		return venv__fail_nomem(err);
	r = publish(a, err);
	return r < 0 ? r : write_record(a, &image, how, path, ret, err);
}

static int add_unpacked_image(struct adding *a, const struct addition *how, const char *path,
			      struct box *ret, venv_error **err)
{
	_cleanup_adding_ struct adding layers = { .store = a->store, .op = a->op };
	_cleanup_image_ struct image image = { .dir = -1 };
	int dir = fcntl(a->parts->fs, F_DUPFD_CLOEXEC, 3), r;

	if (dir < 0)
		return venv__fail_errno(err, errno, "cannot read the image");
	r = venv__image_read(dir, true, NULL, &image, err);
	return r < 0 ? r : add_image(&layers, &image, how, path, ret, err);
}

/* The archive was a Vagrant box. */
static int add_unpacked_box(struct adding *a, const json_t *result, const struct addition *how,
			    const char *path, struct box *ret, venv_error **err)
{
	const struct disk_source source = { .path = path, .fd = a->parts->fs, .ours = true };
	int r = check_marked(result, err);

	return r < 0 ? r : venv__add_disk(a->store, &source, how, a->op, ret, err);
}

static int add_file(struct adding *a, int fd, const struct addition *how, const char *path,
		    struct box *ret, venv_error **err)
{
	_cleanup_json_ json_t *result = NULL;
	int r = reserve(a, 1, err);

	if (r < 0)
		return r;
	a->total = (uint64_t)file_size(fd);
	r = prepare_stage(a, new_part(a), err);
	if (r == 0)
		r = unpack(a, a->parts, fd, venv__disk_source_is_box(path) ? "box" : "auto",
			   base_name(path), NULL, &result, err);
	if (r < 0)
		return r;
	if (venv__json_bool(result, "box", false))
		return add_unpacked_box(a, result, how, path, ret, err);
	if (venv__json_bool(result, "image", false))
		return add_unpacked_image(a, how, path, ret, err);
	return add_rootfs(a, result, how, path, ret, err);
}

static int add_directory(struct adding *a, int fd, const char *tag, const struct addition *how,
			 const char *path, struct box *ret, venv_error **err)
{
	_cleanup_image_ struct image image = { .dir = -1 };
	int dir = fcntl(fd, F_DUPFD_CLOEXEC, 3), r;

	if (dir < 0)
		return venv__fail_errno(err, errno, "cannot read the image");
	r = venv__image_read(dir, false, tag, &image, err);
	if (r == VENV_ERR_BOX && (faccessat(fd, "index.json", F_OK, 0) == 0 ||
				  faccessat(fd, "manifest.json", F_OK, 0) == 0))
		(void)venv__hint(
			r, err,
			"the image is damaged or made in a way that venv does not know: make "
			"it again, as by 'skopeo copy docker://NAME oci:DIR'");
	else if (r == VENV_ERR_BOX)
		(void)venv__hint(r, err,
				 "a directory of files becomes a box by way of an archive: "
				 "'tar -C %s -cf rootfs.tar . && venv box add rootfs.tar'",
				 path);
	return r < 0 ? r : add_image(a, &image, how, path, ret, err);
}

static int add_opened(struct store *store, int fd, const char *path, const char *tag,
		      const struct addition *how, struct venv_op *op, struct box *ret,
		      venv_error **err)
{
	_cleanup_adding_ struct adding a = { .store = store, .op = op };
	struct disk_source disk = { .path = path, .fd = fd };
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return venv__fail_errno(err, errno, "cannot read it");
	/* a Vagrant box as Vagrant unpacked it */
	if (S_ISDIR(st.st_mode) && !tag && faccessat(fd, "metadata.json", F_OK, 0) == 0)
		return venv__add_disk(store, &disk, how, op, ret, err);
	if (S_ISDIR(st.st_mode))
		return add_directory(&a, fd, tag, how, path, ret, err);
	if (!S_ISREG(st.st_mode))
		return venv__fail(err, VENV_ERR_INVALID, "it is neither a file nor a directory");
	r = venv__disk_source_format(fd, path, how->format, &disk.format, err);
	if (r < 0)
		return r;
	return disk.format ? venv__add_disk(store, &disk, how, op, ret, err)
			   : add_file(&a, fd, how, path, ret, err);
}

static int add_tagged(struct store *store, const char *path, const char *tag,
		      const struct addition *how, struct venv_op *op, struct box *ret,
		      venv_error **err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), lock = -1;
	_cleanup_free_ char *absolute = realpath(path, NULL);
	int r;

	if (fd < 0 || !absolute) {
		r = venv__fail_errno(err, errno, "cannot open '%s'", path);
		return venv__hint(r, err, "give a file or a directory that holds a box");
	}
	lock = venv__store_lock(store->ctx, false, op, err);
	if (lock < 0)
		return lock;
	venv__stage_sweep(store);
	venv__op_begin(op, NULL, "unpack", "unpacking %s", base_name(absolute));
	r = add_opened(store, fd, absolute, tag, how, op, ret, err);
	if (r == VENV_ERR_BOX)
		(void)venv__hint(
			r, err,
			"give a tar archive of a root file system (plain, or compressed by "
			"gzip, xz or zstd), an OCI layout, or what 'docker save' wrote");
	if (r < 0)
		return venv__wrap(r, err, "box source '%s'", path);
	venv__op_end(op, NULL, "unpack");
	return 0;
}

int venv__add_path(struct store *store, const char *path, const struct addition *how,
		   struct venv_op *op, struct box *ret, venv_error **err)
{
	return add_tagged(store, path, NULL, how, op, ret, err);
}

static int not_supported(const char *source, venv_error **err)
{
	int r;

	if (!strncmp(source, "docker://", 9)) {
		r = venv__fail(err, VENV_ERR_UNSUPPORTED, "registries are not supported yet");
		return venv__hint(r, err, "run 'skopeo copy %s oci:DIR' and 'venv box add DIR'",
				  source);
	}
	r = venv__fail(err, VENV_ERR_UNSUPPORTED, "box sources with '%.*s' are not supported yet",
		       (int)strcspn(source, ":"), source);
	return venv__hint(r, err, "download the file, then run 'venv box add FILE'");
}

int venv__box_add(struct venv *ctx, const char *name, const char *source, struct venv_op *op,
		  struct box *ret, venv_error **err)
{
	static const struct {
		const char *text, *format;
	} prefixes[] = { { "oci-archive:", NULL }, { "docker-archive:", NULL },
			 { "oci:", NULL },         { "file://", NULL },
			 { "raw:", "raw" },        { "qcow2:", "qcow2" } };
	_cleanup_store_ struct store store = STORE_INIT;
	_cleanup_free_ char *path = NULL;
	_cleanup_box_ struct box box = { 0 };
	_cleanup_close_ int lock = -1;
	struct addition how = { .name = name };
	const char *start = source;
	char *tag = NULL;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(source, prefixes[i].text, strlen(prefixes[i].text))) {
			start = source + strlen(prefixes[i].text);
			how.format = prefixes[i].format;
		}
	if (start == source && strstr(source, "://"))
		return not_supported(source, err);
	path = venv__path_home(start);
	if (!path)
		return venv__fail_nomem(err);
	if (start != source && access(path, F_OK) < 0 && strrchr(path, ':')) {
		tag = strrchr(path, ':');
		*tag++ = '\0';
	}
	r = venv__store_open(ctx, &store, err);
	if (r < 0)
		return r;
	lock = venv__store_lock_name(&store, name ? name : base_name(path), op, err);
	if (lock < 0)
		return lock;
	return add_tagged(&store, path, tag, &how, op, ret ? ret : &box, err);
}
