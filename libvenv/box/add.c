/* SPDX-License-Identifier: Apache-2.0 */
/* Sources of boxes: what they are, how they are named; their layers are added by add_layers.c. */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "../util/sys.h"
#include "add.h"

/* ---- Names and records -------------------------------------------------------------------- */

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
	int r = venv__adding_reserve(a, image->n_layers, err);

	a->done = a->total = 0;
	for (size_t i = 0; r == 0 && i < image->n_layers; i++) {
		_cleanup_close_ int fd = venv__image_open(image, image->layers[i].path, NULL);

		a->total += fd >= 0 ? (uint64_t)venv__adding_size(fd) : 0;
	}
	for (size_t i = 0; r == 0 && i < image->n_layers; i++)
		r = venv__part_add(a, image, i, base_name(path), err);
	if (r == 0)
		r = venv__adding_publish(a, err);
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
	r = venv__part_take(a, a->parts, result, base_name(path), err);
	if (r < 0)
		return r;
	if (!venv__json_int(a->parts->counts, "entries", 0))
		return venv__fail(err, VENV_ERR_BOX, "the archive is empty");
	image.architecture = strdup(host);
	image.config = json_object();
	if (!image.architecture || !image.config)
		return venv__fail_nomem(err);
	r = venv__adding_publish(a, err);
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
	int r = venv__adding_reserve(a, 1, err);

	if (r < 0)
		return r;
	a->total = (uint64_t)venv__adding_size(fd);
	r = venv__part_stage(a, venv__part_new(a), err);
	if (r == 0)
		r = venv__part_unpack(a, a->parts, fd,
				      venv__disk_source_is_box(path) ? "box" : "auto",
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
