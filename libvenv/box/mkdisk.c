/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks made from the layers of rootfs boxes, so that these run in virtual machines. made/<box>-<bytes>.raw
 * is called by the box's digest and by how large a disk was asked for; it goes with the box. venv-unpack
 * makes it (unpack_mkdisk.c).
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "store.h"

struct making {
	struct store *store;
	const struct box *box;
	const char *hex; /* of the box */
	uint64_t bytes;
	struct venv_op *op;
	int *layers;
	size_t n_layers;
};

static void making_done(struct making *m)
{
	for (size_t i = 0; i < m->n_layers; i++)
		(void)close(m->layers[i]);
	free(m->layers);
}
#define _cleanup_making_ _cleanup_(making_done)

static int open_layers(struct making *m, venv_error **err)
{
	char **layers = m->box->layers;

	m->layers = calloc(venv__strv_count(layers) + 1, sizeof(int));
	if (!m->layers)
		return venv__fail_nomem(err);
	for (; layers && *layers; layers++) {
		/* a layer's top may be closed to us who are not its guest */
		int fd = open(*layers, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0)
			return venv__fail_errno(err, errno, "cannot open layer '%s'", *layers);
		m->layers[m->n_layers++] = fd;
	}
	return m->n_layers ? 0 : venv__fail(err, VENV_ERR_INVALID, "the box has no layers");
}

static int run_unpacker(struct making *m, struct stage *stage, int dir, venv_error **err)
{
	_cleanup_json_ json_t *request = json_pack(
		"{s:s, s:I, s:I, s:s, s:I}", "op", "mkdisk", "layers", (json_int_t)m->n_layers,
		"root", (json_int_t)m->box->root, "id", m->hex, "bytes", (json_int_t)m->bytes);
	struct worker_task task = { .request = request,
				    .fds = &dir,
				    .n_fds = 1,
				    .more = m->layers,
				    .n_more = m->n_layers,
				    .lock = stage->lock,
				    .what = m->box->name,
				    .op = m->op,
				    .hash_fd = -1 };

	return request ? venv__worker_run(m->store->ctx, &task, NULL, err) : venv__fail_nomem(err);
}

static int make(struct making *m, const char *name, venv_error **err)
{
	_cleanup_stage_ struct stage stage = STAGE_INIT;
	_cleanup_close_ int dir = -1, fd = -1;
	int r = open_layers(m, err);

	if (r == 0)
		r = venv__stage_new(m->store, &stage, err);
	if (r == 0)
		r = venv__store_make_dir(m->store->ctx, stage.dir, "fs", 0, 0, 0755, err);
	if (r < 0)
		return r;
	dir = openat(stage.dir, "fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return venv__fail_errno(err, errno, "cannot make a staging directory");
	r = run_unpacker(m, &stage, dir, err);
	if (r < 0)
		return r;
	fd = venv__open_beneath(dir, "disk", O_RDONLY, 0);
	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot open the disk that was made");
	r = venv__disk_keep(fd, m->store->made, name, err);
	return r < 0 ? r : 0;
}

/* With the lock of this name: it may have been made meanwhile. */
static int make_once(struct making *m, const char *name, venv_error **err)
{
	_cleanup_close_ int lock = -1;
	int r;

	if (faccessat(m->store->made, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	lock = venv__store_lock_name(m->store, name, m->op, err);
	if (lock < 0)
		return lock;
	if (faccessat(m->store->made, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	venv__op_begin(m->op, NULL, "build", "making a disk of box %s", m->box->name);
	r = make(m, name, err);
	if (r < 0)
		return venv__wrap(r, err, "disk of box '%s'", m->box->name);
	venv__op_end(m->op, NULL, "build");
	return 0;
}

int venv__box_make_disk(struct venv *ctx, const struct box *box, uint64_t bytes, struct venv_op *op,
			char **ret_path, venv_error **err)
{
	_cleanup_store_ struct store store = STORE_INIT;
	_cleanup_making_ struct making m = {
		.store = &store, .box = box, .bytes = bytes, .op = op
	};
	_cleanup_close_ int lock = -1;
	_cleanup_free_ char *name = NULL;
	int r;

	if (box->kind != BOX_ROOTFS || strncmp(box->digest, "sha256:", 7) != 0)
		return venv__fail(err, VENV_ERR_INVALID, "box '%s' is a disk already", box->name);
	m.hex = box->digest + 7;
	if (asprintf(&name, "%s-%llu.raw", m.hex, (unsigned long long)bytes) < 0) {
		name = NULL;
		return venv__fail_nomem(err);
	}
	r = venv__store_open(ctx, &store, err);
	if (r < 0)
		return r;
	lock = venv__store_lock(ctx, false, op, err);
	if (lock < 0)
		return lock;
	r = make_once(&m, name, err);
	if (r == 0 && asprintf(ret_path, "%s/made/%s", store.path, name) < 0)
		r = venv__fail_nomem(err);
	return r;
}
