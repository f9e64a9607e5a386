/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk boxes: an image by itself, or a Vagrant box (of its archive, unpacked into our stage, or of a
 * directory where Vagrant keeps it).
 *
 * Theory of operation: venv-unpack reads what the box says of itself (metadata.json, info.json). Each
 * image that it names is opened inside of the box's directory, without links; one that is not in our
 * stage is copied there first, so that nobody can change it any more. Then venv-unpack checks the image
 * from the descriptor that it is given, while it is hashed here, and the same descriptor is put into the
 * store. The record is written when all images are there, the name after the record. What a crash
 * leaves is in the stage, or an image that no record names, which `venv box prune` removes.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "../util/sys.h"
#include "disk_copy.h"
#include "provider.h"
#include "store.h"

struct disk_adding {
	struct store *store;
	struct venv_op *op;
	const struct disk_source *source;
	struct record record;
};

static void adding_done(struct disk_adding *a)
{
	venv__record_done(&a->record);
}
#define _cleanup_adding_ _cleanup_(adding_done)

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* ---- Files of the box --------------------------------------------------------------------- */

/* A file of the box's directory; -ENOENT when there is none, else a code. */
static int open_file(int dir, const char *path, venv_error **err)
{
	_cleanup_close_ int fd = venv__open_beneath(dir, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd == -ENOENT)
		return fd;
	if (fd == -ELOOP || fd == -EXDEV)
		return venv__fail(err, VENV_ERR_BOX,
				  "'%s' of the box is, or lies behind, a symbolic link", path);
	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot open '%s' of the box", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return venv__fail(err, VENV_ERR_BOX, "'%s' of the box is no file", path);
	return take_fd(&fd);
}

static int no_metadata(int dir, venv_error **err)
{
	int r;

	if (faccessat(dir, "box.ovf", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return venv__hint(venv__fail(err, VENV_ERR_UNSUPPORTED,
					     "the box is for VirtualBox (it has a 'box.ovf')"),
				  err, "take the box's variant for libvirt");
	r = venv__fail(err, VENV_ERR_BOX, "it has no 'metadata.json', so it is no Vagrant box");
	return venv__hint(r, err,
			  "an archive of a root file system must not be called '.box': rename it");
}

/* What venv-unpack reads in metadata.json and info.json. */
static int read_metadata(struct disk_adding *a, json_t **ret, venv_error **err)
{
	_cleanup_close_ int metadata = -1, info = -1;
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", "vagrant");
	int fds[2], dir = a->source->fd, r;
	struct worker_task task = { .request = request,
				    .fds = fds,
				    .lock = -1,
				    .what = base_name(a->source->path),
				    .op = a->op,
				    .hash_fd = -1 };

	if (!request)
		return venv__fail_nomem(err);
	metadata = open_file(dir, "metadata.json", err);
	if (metadata < 0)
		return metadata == -ENOENT ? no_metadata(dir, err) : metadata;
	info = open_file(dir, "info.json", err);
	if (info < 0 && info != -ENOENT)
		return info;
	fds[0] = metadata;
	fds[1] = info;
	task.n_fds = info < 0 ? 1 : 2;
	r = venv__worker_run(a->store->ctx, &task, ret, err);
	if (r == 0 && (!venv__json_str(*ret, "format") || !venv__json_str(*ret, "architecture") ||
		       !venv__disk_format_known(venv__json_str(*ret, "format"))))
		r = venv__fail(err, VENV_ERR_SYSTEM, "venv-unpack gave a wrong answer");
	return r;
}

/* ---- One image ---------------------------------------------------------------------------- */

static int copy_to_stage(struct disk_adding *a, struct stage *stage, int fd, int *ret,
			 venv_error **err)
{
	_cleanup_close_ int copy = -1;
	int r = venv__stage_new(a->store, stage, err);

	if (r < 0)
		return r;
	copy = openat(stage->dir, "disk", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (copy < 0)
		return venv__fail_errno(err, errno, "cannot make a staging directory");
	r = venv__disk_copy(fd, copy, a->op, NULL, "unpack", err);
	if (r == 0)
		*ret = take_fd(&copy);
	return r;
}

/* Let venv-unpack look at the image while it is hashed here. */
static int check_image(struct disk_adding *a, int fd, const char *name, struct disk_ref *ref,
		       venv_error **err)
{
	_cleanup_json_ json_t *result = NULL,
			      *request = json_pack("{s:s, s:s, s:s}", "op", "disk", "format",
						   a->record.format, "name", name);
	struct worker_task task = { .request = request,
				    .fds = &fd,
				    .n_fds = 1,
				    .lock = -1,
				    .what = name,
				    .op = a->op,
				    .hash_fd = fd,
				    .tell_hash = true,
				    .ret_hash = ref->hex };
	struct stat st;
	int r;

	if (!request)
		return venv__fail_nomem(err);
	if (fstat(fd, &st) < 0)
		return venv__fail_errno(err, errno, "cannot read '%s'", name);
	task.total = (uint64_t)st.st_size;
	r = venv__worker_run(a->store->ctx, &task, &result, err);
	if (r < 0)
		return r;
	ref->size = (uint64_t)st.st_blocks * 512;
	ref->length = (uint64_t)venv__json_int(result, "length", 0);
	return ref->length ? 0
			   : venv__fail(err, VENV_ERR_SYSTEM, "venv-unpack gave a wrong answer");
}

/* What the metadata says of the disk's size must be true: Vagrant makes machines by it. */
static int check_stated(struct disk_adding *a, const char *name, uint64_t stated,
			const struct disk_ref *ref, venv_error **err)
{
	const uint64_t gib = UINT64_C(1) << 30;
	unsigned long long is = (ref->length + gib - 1) / gib, said = stated / gib;

	if (!stated || is == said || stated == ref->length)
		return 0;
	if (stated < ref->length / gib * gib)
		return venv__fail(
			err, VENV_ERR_BOX,
			"metadata.json says that the disk has %llu GiB, and '%s' has %llu", said,
			name, is);
	venv__op_warning(a->op, NULL,
			 "%s: metadata.json says that the disk has %llu GiB, and '%s' has %llu; "
			 "'disk:' in venv.yml makes it larger",
			 base_name(a->source->path), said, name, is);
	return 0;
}

static int add_image(struct disk_adding *a, int fd, bool ours, const char *name, uint64_t stated,
		     venv_error **err)
{
	_cleanup_stage_ struct stage stage = STAGE_INIT;
	struct disk_ref *ref = &a->record.disks[a->record.n_disks++];
	_cleanup_close_ int copy = -1;
	int r = ours ? 0 : copy_to_stage(a, &stage, fd, &copy, err);

	if (r == 0)
		r = check_image(a, ours ? fd : copy, name, ref, err);
	if (r == 0)
		r = check_stated(a, name, stated, ref, err);
	if (r == 0)
		r = venv__op_cancelled(a->op, err);
	return r < 0 ? r
		     : venv__disk_publish(a->store, ours ? fd : copy, ref->hex, a->record.format,
					  err);
}

/* ---- Sources ------------------------------------------------------------------------------ */

static int reserve(struct disk_adding *a, size_t n, const char *format, const char *architecture,
		   venv_error **err)
{
	const char *host = venv__architecture_host();

	if (n == 0 || n > BOX_DISKS_MAX)
		return venv__fail(err, VENV_ERR_SYSTEM, "venv-unpack gave a wrong answer");
	if (strcmp(architecture, host) != 0)
		return venv__hint(venv__fail(err, VENV_ERR_UNSUPPORTED,
					     "the box is for %s, and this host is %s", architecture,
					     host),
				  err, "take the box's variant for %s", host);
	a->record.kind = BOX_DISK;
	a->record.format = strdup(format);
	a->record.architecture = strdup(architecture);
	a->record.disks = calloc(n, sizeof(*a->record.disks));
	return a->record.format && a->record.architecture && a->record.disks
		       ? 0
		       : venv__fail_nomem(err);
}

static int add_one(struct disk_adding *a, const json_t *item, venv_error **err)
{
	const char *path = venv__json_str(item, "path"), *name = venv__json_str(item, "name");
	_cleanup_close_ int fd = -1;
	int r;

	if (!path)
		return venv__fail(err, VENV_ERR_SYSTEM, "venv-unpack gave a wrong answer");
	fd = open_file(a->source->fd, path, err);
	if (fd == -ENOENT)
		return venv__fail(err, VENV_ERR_BOX, "the box has no file '%s': it is incomplete",
				  path);
	if (fd < 0)
		return fd;
	r = add_image(a, fd, a->source->ours, path,
		      (uint64_t)venv__json_int(item, "virtual_size", 0), err);
	if (r < 0 || !name)
		return r;
	a->record.disks[a->record.n_disks - 1].name = strdup(name);
	return a->record.disks[a->record.n_disks - 1].name ? 0 : venv__fail_nomem(err);
}

/* The first person in a Vagrant box is `vagrant`, who lets in whoever has the well-known key. */
static int configure_vagrant(struct disk_adding *a, json_t *metadata, venv_error **err)
{
	bool file = faccessat(a->source->fd, "Vagrantfile", F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	a->record.config = venv__json_pack("{s:s, s:b, s:{s:b, s:O*}}", "user", "vagrant",
					   "insecure_key", 1, "vagrant", "vagrantfile", file,
					   "info", json_object_get(metadata, "info"));
	if (!a->record.config)
		return venv__fail_nomem(err);
	if (file)
		venv__op_notice(a->op, NULL,
				"%s: its Vagrantfile is not read; what it sets belongs into "
				"venv.yml",
				base_name(a->source->path));
	return 0;
}

static int add_vagrant(struct disk_adding *a, venv_error **err)
{
	_cleanup_json_ json_t *metadata = NULL;
	const json_t *disks;
	int r = read_metadata(a, &metadata, err);

	if (r < 0)
		return r;
	disks = json_object_get(metadata, "disks");
	r = reserve(a, json_array_size(disks), venv__json_str(metadata, "format"),
		    venv__json_str(metadata, "architecture"), err);
	for (size_t i = 0; r == 0 && i < json_array_size(disks); i++)
		r = add_one(a, json_array_get(disks, i), err);
	return r < 0 ? r : configure_vagrant(a, metadata, err);
}

/* A bare image does not say what it is for; nearly all are for this. */
static int add_bare(struct disk_adding *a, venv_error **err)
{
	int r = reserve(a, 1, a->source->format, "amd64", err);

	if (r < 0)
		return r;
	a->record.config = json_object();
	if (!a->record.config)
		return venv__fail_nomem(err);
	return add_image(a, a->source->fd, false, base_name(a->source->path), 0, err);
}

int venv__add_disk(struct store *store, const struct disk_source *source,
		   const struct addition *how, struct venv_op *op, struct box *ret,
		   venv_error **err)
{
	_cleanup_adding_ struct disk_adding a = { .store = store, .op = op, .source = source };
	_cleanup_free_ char *name = NULL, *version = NULL;
	int r = venv__add_name(how, NULL, NULL, source->path, &name, &version, err);

	if (r == 0)
		r = source->format ? add_bare(&a, err) : add_vagrant(&a, err);
	if (r < 0)
		return r;
	a.record.added = venv__wall_seconds();
	a.record.source = strdup(how->source ? how->source : source->path);
	if (!a.record.source)
		return venv__fail_nomem(err);
	return venv__add_record(store, &a.record, how, name, version, ret, err);
}
