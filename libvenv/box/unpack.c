/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-unpack: does one piece of work on files, inside the store's id map, and ends.
 *
 * Started with a SOCK_SEQPACKET socket as descriptor 3 (util/msg.h) and, as descriptor 4, the lock of
 * the staging directory, which so stays held as long as somebody writes there. It makes a user
 * namespace and says {"ready": true}; the parent, outside, writes its id map and sends one request:
 *
 *   {"op": "unpack", "as": S, "limits": {…}}     fds: archive, directory, list; S: layer, box, auto
 *   {"op": "merge", "lower": N}                  fds: directory, list; then N in {"fds": true} packets
 *   {"op": "remove", "name": S}                  fds: directory
 *   {"op": "mkdir", "name": S, "uid": N, "gid": N, "mode": N}   fds: directory
 *   {"op": "vagrant"}                            fds: metadata.json, info.json if there is one
 *   {"op": "disk", "format": S, "name": S}       fds: image
 *   {"op": "mkdisk", "layers": N, "id": S, "bytes": N}   fds: directory; then N in {"fds": true} packets
 *
 * While it works it sends {"position": N} (bytes of the archive); at the end {"result": {…}} or
 * {"error": {…}}. The end of the stream before that means that it crashed or was killed.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "../util/file.h"
#include "../util/msg.h"
#include "../util/sys.h"
#include "unpack.h"

enum {
	SOCKET_FD = 3,
	TICK_US = 50000,
	LOWER_MAX = 512,
	SYNC_FILES_MAX = 64,
	METADATA_MAX = 256 * 1024
};

struct ticker {
	struct stream *stream;
	uint64_t last;
};

static void tick(void *user)
{
	struct ticker *ticker = user;
	uint64_t now = venv__now_us();
	_cleanup_json_ json_t *message = NULL;

	if (now - ticker->last < TICK_US)
		return;
	ticker->last = now;
	message = json_pack("{s:I}", "position", (json_int_t)venv__stream_position(ticker->stream));
	/* nobody listens: the command was killed, and its staging directory is to go */
	if (message && venv__msg_send(SOCKET_FD, message, NULL, 0, NULL) < 0)
		_exit(1);
}

static struct limits limits_of(const json_t *request)
{
	const json_t *given = json_object_get(request, "limits");

	return (struct limits){
		.bytes = (uint64_t)venv__json_int(given, "bytes", (int64_t)LIMIT_BYTES),
		.entries = (uint64_t)venv__json_int(given, "entries", (int64_t)LIMIT_ENTRIES),
		.ratio = (uint64_t)venv__json_int(given, "ratio", LIMIT_RATIO),
		.depth = (unsigned)venv__json_int(given, "depth", LIMIT_DEPTH),
	};
}

static json_t *counts_to_json(const struct counts *c)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "entries",
			 (json_int_t)c->entries, "files", (json_int_t)c->files, "directories",
			 (json_int_t)c->directories, "bytes", (json_int_t)c->bytes, "duplicates",
			 (json_int_t)c->duplicates, "through_links", (json_int_t)c->through_links,
			 "devices", (json_int_t)c->devices, "attributes", (json_int_t)c->attributes,
			 "implicit", (json_int_t)c->implicit, "pending", (json_int_t)c->pending,
			 "moved", (json_int_t)c->moved, "roots", (json_int_t)c->roots);
}

static int run_untar(struct untar *untar, struct stream *stream, json_t **ret, venv_error **err)
{
	char digest[DIGEST_HEX_SIZE];
	bool marked = false, synced;
	json_t *result;
	int r;

	r = venv__untar(untar, err);
	if (r == 0)
		r = venv__stream_finish(stream, digest, &marked, err);
	if (r < 0)
		return r;
	/* a small tree is written by its files; all else by one syncfs() of the parent's for all layers */
	synced = untar->counts.files <= SYNC_FILES_MAX && !untar->image && !untar->box;
	if (synced)
		r = venv__tree_sync(untar->root_fd, err);
	if (r < 0)
		return r;
	result =
		json_pack("{s:s, s:b, s:b, s:b, s:b, s:i, s:o}", "digest", digest, "marked", marked,
			  "image", untar->image, "box", untar->box, "synced", synced, "machine",
			  (int)untar->machine, "counts", counts_to_json(&untar->counts));
	if (!result)
		return venv__fail_nomem(err);
	*ret = result;
	return 0;
}

static enum untar_mode mode_of(const json_t *request)
{
	const char *as = venv__json_str(request, "as");

	if (as && !strcmp(as, "auto"))
		return UNTAR_AUTO;
	return as && !strcmp(as, "box") ? UNTAR_BOX : UNTAR_LAYER;
}

static int op_unpack(const json_t *request, const struct msg_fds *fds, json_t **ret,
		     venv_error **err)
{
	const struct limits limits = limits_of(request);
	struct ticker ticker = { .last = venv__now_us() };
	struct untar untar = { .root_fd = fds->fd[1],
			       .list_fd = fds->fd[2],
			       .limits = &limits,
			       .mode = mode_of(request),
			       .tick = tick,
			       .user = &ticker };
	int r;

	r = venv__sandbox_enter(&fds->fd[1], 1, NULL, 0, err);
	if (r < 0)
		return r;
	ticker.stream = venv__stream_new(fds->fd[0], &limits, err);
	if (!ticker.stream)
		return VENV_ERR_BOX;
	untar.source = venv__stream_source(ticker.stream);
	r = run_untar(&untar, ticker.stream, ret, err);
	venv__stream_free(ticker.stream);
	return r;
}

static int receive_lower(size_t n, int *lower, venv_error **err)
{
	size_t have = 0;

	while (have < n) {
		_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
		_cleanup_json_ json_t *message = NULL;
		int r = venv__msg_receive(SOCKET_FD, -1, &message, &fds, err);

		if (r <= 0)
			return r < 0 ? r
				     : venv__fail(err, VENV_ERR_SYSTEM,
						  "the request is incomplete");
		for (size_t i = 0; i < fds.count && have < n; i++)
			lower[have++] = venv__msg_fds_take(&fds, i);
	}
	return 0;
}

static int op_merge(const json_t *request, const struct msg_fds *fds, json_t **ret,
		    venv_error **err)
{
	static int lower[LOWER_MAX];
	struct merge merge = { .root_fd = fds->fd[0], .list_fd = fds->fd[1], .lower = lower };
	int64_t n = venv__json_int(request, "lower", 0);
	int r;

	if (n < 0 || n > LOWER_MAX)
		return venv__fail(err, VENV_ERR_BOX, "the box has more than %d layers", LOWER_MAX);
	merge.n_lower = (size_t)n;
	r = receive_lower(merge.n_lower, lower, err);
	if (r == 0)
		r = venv__sandbox_enter(&merge.root_fd, 1, lower, merge.n_lower, err);
	if (r == 0)
		r = venv__merge(&merge, err);
	if (r < 0)
		return r;
	*ret = json_pack("{s:o}", "counts", counts_to_json(&merge.counts));
	return *ret ? 0 : venv__fail_nomem(err);
}

static int op_mkdisk(const json_t *request, const struct msg_fds *fds, json_t **ret,
		     venv_error **err)
{
	static int layers[LOWER_MAX];
	int64_t n = venv__json_int(request, "layers", 0),
		bytes = venv__json_int(request, "bytes", 0),
		root = venv__json_int(request, "root", 0);
	struct mkdisk mkdisk = { .stage_fd = fds->fd[0],
				 .layers = layers,
				 .root = (size_t)root,
				 .id = venv__json_str(request, "id"),
				 .bytes = (uint64_t)bytes };
	int r;

	if (n < 1 || n > LOWER_MAX || bytes < 0 || root < 0 || root >= n || !mkdisk.id ||
	    strlen(mkdisk.id) != 64)
		return venv__fail(err, VENV_ERR_INVALID, "a disk of no layers");
	mkdisk.n_layers = (size_t)n;
	r = receive_lower(mkdisk.n_layers, layers, err);
	if (r == 0)
		r = venv__mkdisk(&mkdisk, err);
	if (r < 0)
		return r;
	*ret = json_pack("{s:I}", "bytes", (json_int_t)mkdisk.bytes);
	return *ret ? 0 : venv__fail_nomem(err);
}

static int op_remove(const json_t *request, const struct msg_fds *fds, json_t **ret,
		     venv_error **err)
{
	const char *name = venv__json_str(request, "name");
	int r = venv__sandbox_enter(&fds->fd[0], 1, NULL, 0, err);

	(void)ret;
	if (r < 0)
		return r;
	if (!name || strchr(name, '/') || !strcmp(name, "..") || !strcmp(name, "."))
		return venv__fail(err, VENV_ERR_INVALID, "not a name in a directory");
	return venv__tree_delete(fds->fd[0], name, err);
}

static int op_mkdir(const json_t *request, const struct msg_fds *fds, json_t **ret,
		    venv_error **err)
{
	const char *name = venv__json_str(request, "name");
	_cleanup_close_ int fd = -1;
	int r = venv__sandbox_enter(&fds->fd[0], 1, NULL, 0, err);

	(void)ret;
	if (r < 0)
		return r;
	if (!name || strchr(name, '/'))
		return venv__fail(err, VENV_ERR_INVALID, "not a name in a directory");
	r = venv__dir_make_at(fds->fd[0], name, 0700, &fd, err);
	if (r < 0)
		return r;
	if (fchown(fd, (uid_t)venv__json_int(request, "uid", 0),
		   (gid_t)venv__json_int(request, "gid", 0)) < 0 ||
	    fchmod(fd, (mode_t)venv__json_int(request, "mode", 0755)) < 0)
		return venv__fail_errno(err, errno, "cannot give away the directory '%s'", name);
	return 0;
}

static int op_vagrant(const json_t *request, const struct msg_fds *fds, json_t **ret,
		      venv_error **err)
{
	_cleanup_free_ char *text = NULL, *info = NULL;
	size_t length = 0, info_length = 0;
	int r = venv__sandbox_enter(NULL, 0, NULL, 0, err);

	(void)request;
	if (r == 0)
		r = venv__fd_read(fds->fd[0], "metadata.json", METADATA_MAX, &text, &length, err);
	if (r < 0)
		return r;
	/* for people only: one that cannot be read is none */
	if (fds->count > 1)
		(void)venv__fd_read(fds->fd[1], "info.json", METADATA_MAX, &info, &info_length,
				    NULL);
	return venv__vagrant_read(text, length, info, info_length, ret, err);
}

static int op_disk(const json_t *request, const struct msg_fds *fds, json_t **ret, venv_error **err)
{
	const char *format = venv__json_str(request, "format");
	const char *name = venv__json_str(request, "name");
	int r = venv__sandbox_enter(NULL, 0, NULL, 0, err);

	if (r == 0 && (!format || !name))
		r = venv__fail(err, VENV_ERR_INVALID, "a disk of no format");
	return r < 0 ? r : venv__image_check(fds->fd[0], name, format, ret, err);
}

static const struct {
	const char *name;
	size_t n_fds, n_fds_max;
	int (*run)(const json_t *request, const struct msg_fds *fds, json_t **ret,
		   venv_error **err);
} operations[] = {
	{ "unpack", 3, 3, op_unpack }, { "merge", 2, 2, op_merge },
	{ "remove", 1, 1, op_remove }, { "mkdir", 1, 1, op_mkdir },
	{ "mkdisk", 1, 1, op_mkdisk }, { "vagrant", 1, 2, op_vagrant },
	{ "disk", 1, 1, op_disk },
};

static int run(const json_t *request, const struct msg_fds *fds, json_t **ret, venv_error **err)
{
	const char *name = venv__json_str(request, "op");

	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		if (name && !strcmp(name, operations[i].name) &&
		    fds->count >= operations[i].n_fds && fds->count <= operations[i].n_fds_max)
			return operations[i].run(request, fds, ret, err);
	return venv__fail(err, VENV_ERR_UNSUPPORTED, "venv-unpack does not know this request");
}

static int enter_namespaces(venv_error **err)
{
	int r;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) == 0)
		return 0;
	r = venv__fail_errno(err, errno, "cannot make a user namespace");
	return venv__hint(r, err, "run 'venv doctor': it tells how to allow them on this host");
}

int main(void)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *request = NULL, *ready = json_pack("{s:b}", "ready", 1);
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_error_ venv_error *err = NULL;
	json_t *result = NULL;
	int r;

	r = enter_namespaces(&err);
	if (r == 0)
		r = ready ? venv__msg_send(SOCKET_FD, ready, NULL, 0, &err) : VENV_ERR_NOMEM;
	if (r == 0)
		r = venv__msg_receive(SOCKET_FD, -1, &request, &fds, &err) == 1 ? 0
										: VENV_ERR_SYSTEM;
	if (r == 0)
		r = run(request, &fds, &result, &err);
	if (r < 0)
		return err && venv__msg_send_error(SOCKET_FD, err) == 0 ? 1 : 2;
	answer = json_pack("{s:o}", "result", result ? result : json_object());
	return answer && venv__msg_send(SOCKET_FD, answer, NULL, 0, NULL) == 0 ? 0 : 2;
}
