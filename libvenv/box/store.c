/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "../util/sys.h"
#include "store.h"

enum { WAIT_MS = 50 };

/* ---- Directories -------------------------------------------------------------------------- */

static int open_directories(struct store *s, int data, venv_error **err)
{
	const struct {
		const char *name;
		int *fd;
	} directories[] = { { "layers", &s->layers }, { "disks", &s->disks },
			    { "made", &s->made },     { "records", &s->records },
			    { "names", &s->names },   { "stage", &s->stage } };
	int r;

	/* 0700: setuid programs of images lie below, no other user of the host may reach them */
	r = venv__dir_make_at(data, "boxes", 0700, &s->dir, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(directories); i++)
		r = venv__dir_make_at(s->dir, directories[i].name, 0700, directories[i].fd, err);
	return r;
}

int venv__store_open(struct venv *ctx, struct store *ret, venv_error **err)
{
	struct store s = STORE_INIT;
	int data = venv__context_data(ctx, err), r;

	if (data < 0)
		return data;
	s.ctx = ctx;
	s.path = venv__path_join(ctx->data_dir, "boxes");
	r = s.path ? open_directories(&s, data, err) : venv__fail_nomem(err);
	if (r < 0) {
		venv__store_done(&s);
		return venv__wrap(r, err, "the box store in '%s'", ctx->data_dir);
	}
	*ret = s;
	return 0;
}

void venv__store_done(struct store *s)
{
	int *const fds[] = { &s->dir,     &s->layers, &s->disks, &s->made,
			     &s->records, &s->names,  &s->stage };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			(void)close(take_fd(fds[i]));
	free(take_ptr(s->path));
}

/* ---- Locks -------------------------------------------------------------------------------- */

int venv__store_wait(int fd, bool exclusive, const char *what, struct venv_op *op, venv_error **err)
{
	struct pollfd cancel = { .fd = venv__op_cancel_fd(op), .events = POLLIN };
	bool told = false;
	int r;

	for (;;) {
		r = venv__lock_try(fd, exclusive);
		if (r == 0)
			return 0;
		if (r != -EAGAIN)
			return venv__fail_errno(err, -r, "cannot lock %s", what);
		r = venv__op_cancelled(op, err);
		if (r < 0)
			return r;
		if (!told)
			venv__op_notice(op, NULL, "waiting for another venv command that uses %s",
					what);
		told = true;
		(void)poll(&cancel, 1, WAIT_MS);
	}
}

static int open_lock(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

int venv__store_lock(struct venv *ctx, bool exclusive, struct venv_op *op, venv_error **err)
{
	_cleanup_store_ struct store store = STORE_INIT;
	_cleanup_close_ int fd = -1;
	int r;

	r = venv__store_open(ctx, &store, err);
	if (r < 0)
		return r;
	fd = open_lock(store.dir, "lock");
	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot open the lock of the box store");
	r = venv__store_wait(fd, exclusive, "the box store", op, err);
	return r < 0 ? r : take_fd(&fd);
}

int venv__store_lock_name(const struct store *store, const char *name, struct venv_op *op,
			  venv_error **err)
{
	_cleanup_free_ char *what = NULL;
	_cleanup_close_ int fd = -1;
	char hex[DIGEST_HEX_SIZE], lock[DIGEST_HEX_SIZE + 16];
	int r;

	if (venv__digest_of(name, strlen(name), hex) < 0 || asprintf(&what, "box '%s'", name) < 0) {
		what = NULL;
		return venv__fail_nomem(err);
	}
	(void)snprintf(lock, sizeof(lock), "%.16s.making", hex);
	fd = open_lock(store->stage, lock);
	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot lock box '%s'", name);
	r = venv__store_wait(fd, true, what, op, err);
	return r < 0 ? r : take_fd(&fd);
}

/* ---- Staging ------------------------------------------------------------------------------ */

/* Theory of operation: the lock file comes first and goes last. Who has locked a file that has no name
 * any more (a sweep took it for garbage before it was locked) takes a new one. */
static int lock_new(const struct store *store, char **ret_id, int *ret_fd)
{
	for (int i = 0; i < 100; i++) {
		_cleanup_free_ char *name = NULL;
		_cleanup_close_ int fd = -1;
		struct stat st;
		char id[33];
		int r = venv__random_id(id);

		if (r < 0)
			return r;
		id[16] = '\0';
		if (asprintf(&name, "%s.lock", id) < 0)
			return -ENOMEM;
		fd = openat(store->stage, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST)
			return -errno;
		if (fd < 0 || venv__lock_try(fd, true) < 0 || fstat(fd, &st) < 0 ||
		    st.st_nlink == 0)
			continue;
		*ret_id = strdup(id);
		*ret_fd = take_fd(&fd);
		return *ret_id ? 0 : -ENOMEM;
	}
	return -EAGAIN;
}

int venv__stage_new(const struct store *store, struct stage *ret, venv_error **err)
{
	struct stage s = STAGE_INIT;
	int r;

	s.store = store;
	r = lock_new(store, &s.id, &s.lock);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a staging directory");
	r = venv__dir_make_at(store->stage, s.id, 0700, &s.dir, err);
	if (r < 0) {
		venv__stage_done(&s);
		return r;
	}
	*ret = s;
	return 0;
}

static void remove_stage(const struct store *store, const char *id)
{
	_cleanup_error_ venv_error *err = NULL;
	_cleanup_free_ char *lock = NULL;

	if (venv__store_remove_tree(store->ctx, store->stage, id, &err) < 0) {
		venv__debug(store->ctx, "a staging directory stays for now: %s",
			    venv_error_message(err));
		return; /* with its lock file, so that the next sweep tries again */
	}
	if (asprintf(&lock, "%s.lock", id) < 0)
		lock = NULL;
	else
		(void)unlinkat(store->stage, lock, 0);
}

void venv__stage_done(struct stage *s)
{
	if (s->dir >= 0)
		(void)close(take_fd(&s->dir));
	if (s->id)
		remove_stage(s->store, s->id);
	if (s->lock >= 0)
		(void)close(take_fd(&s->lock));
	free(take_ptr(s->id));
}

int venv__stage_publish(struct stage *s, const char *key, venv_error **err)
{
	if (fsync(s->dir) < 0)
		return venv__fail_errno(err, errno, "cannot write a layer to disk");
	if (renameat2(s->store->stage, s->id, s->store->layers, key, RENAME_NOREPLACE) < 0) {
		if (errno == EEXIST || errno == ENOTEMPTY)
			return 1;
		return venv__fail_errno(err, errno, "cannot put a layer into the store");
	}
	if (fsync(s->store->layers) < 0)
		return venv__fail_errno(err, errno, "cannot write a layer to disk");
	return 0;
}

static void sweep_one(const struct store *store, const char *id)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -1;

	if (asprintf(&name, "%s.lock", id) < 0) {
		name = NULL;
		return;
	}
	fd = open_lock(store->stage, name);
	if (fd >= 0 && venv__lock_try(fd, true) == 0)
		remove_stage(store, id);
}

void venv__stage_sweep(const struct store *store)
{
	_cleanup_strv_ char **names = NULL;

	if (venv__dir_list(store->stage, &names, NULL) < 0)
		return;
	for (char **name = names; *name; name++) {
		size_t length = strlen(*name);

		if (length > 5 && !strcmp(*name + length - 5, ".lock"))
			(*name)[length - 5] = '\0';
		if (strlen(*name) == 16 && strspn(*name, "0123456789abcdef") == 16)
			sweep_one(store, *name);
	}
}

/* ---- Trees of other ids ------------------------------------------------------------------- */

static int by_unpacker(struct venv *ctx, json_t *request, int dir_fd, venv_error **err)
{
	_cleanup_json_ json_t *owned = request;
	struct worker_task task = { .request = request,
				    .fds = &dir_fd,
				    .n_fds = 1,
				    .lock = -1,
				    .what = "a directory",
				    .hash_fd = -1 };

	return request ? venv__worker_run(ctx, &task, NULL, err) : venv__fail_nomem(err);
}

int venv__store_remove_tree(struct venv *ctx, int dir_fd, const char *name, venv_error **err)
{
	_cleanup_error_ venv_error *first = NULL;
	int r;

	/* without the helper where that is enough: as root, and of what has only files of the user */
	r = venv__tree_delete(dir_fd, name, &first);
	if (r == 0)
		return 0;
	if (geteuid() == 0 || r != VENV_ERR_DENIED)
		return venv__error_take(take_ptr(first), err);
	return by_unpacker(ctx, json_pack("{s:s, s:s}", "op", "remove", "name", name), dir_fd, err);
}

int venv__store_make_dir(struct venv *ctx, int dir_fd, const char *name, uid_t uid, gid_t gid,
			 mode_t mode, venv_error **err)
{
	const struct idmap *map;
	_cleanup_close_ int fd = -1;
	int r = venv__context_map(ctx, &map, err);

	if (r < 0)
		return r;
	if (!map->root && (uid || gid))
		return by_unpacker(ctx,
				   json_pack("{s:s, s:s, s:i, s:i, s:i}", "op", "mkdir", "name",
					     name, "uid", (int)uid, "gid", (int)gid, "mode",
					     (int)mode),
				   dir_fd, err);
	r = venv__dir_make_at(dir_fd, name, 0700, &fd, err);
	if (r < 0)
		return r;
	if (map->root && fchown(fd, venv__idmap_uid(map, uid), venv__idmap_gid(map, gid)) < 0)
		return venv__fail_errno(err, errno, "cannot give away the directory '%s'", name);
	if (fchmod(fd, mode) < 0)
		return venv__fail_errno(err, errno, "cannot set the mode of '%s'", name);
	return 0;
}
