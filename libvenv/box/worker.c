/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side of venv-unpack. */
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "../util/msg.h"
#include "../util/process.h"
#include "../util/sys.h"
#include "store.h"

enum { READY_MS = 20000, HASH_CHUNK = 512 * 1024 };

struct worker {
	struct worker_task *task;
	int socket;
	int pidfd;
	pid_t pid;
	struct digest *digest; /* NULL: nothing (more) to hash */
	off_t hashed;
	unsigned char *chunk;
};

static void worker_done(struct worker *w)
{
	if (w->socket >= 0)
		(void)close(w->socket);
	if (w->pidfd >= 0) {
		(void)venv__pidfd_signal(w->pidfd, SIGKILL);
		(void)close(w->pidfd);
	}
	venv__digest_free(w->digest);
	free(w->chunk);
}
#define _cleanup_worker_ _cleanup_(worker_done)

static int start(struct venv *ctx, struct worker *w, venv_error **err)
{
	_cleanup_free_ char *path = venv__context_program(ctx, "venv-unpack");
	char name[] = "venv-unpack";
	char *argv[] = { name, NULL };
	char *envp[] = { NULL };
	_cleanup_close_ int theirs = -1;
	struct spawn spawn = { .path = path, .argv = argv, .envp = envp };
	int pair[2], r;

	if (!path)
		return venv__fail_nomem(err);
	r = venv__msg_pair(pair);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot start venv-unpack");
	w->socket = pair[0];
	theirs = pair[1];
	spawn.fds[0] = spawn.fds[1] = spawn.fds[2] = -1;
	spawn.fds[3] = theirs;
	spawn.fds[4] = w->task->lock;
	spawn.n_fds = 5;
	return venv__spawn(&spawn, &w->pid, &w->pidfd, err);
}

static int ended(const struct worker *w, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_SYSTEM, "%s: venv-unpack ended without an answer",
			   w->task->what);

	return venv__hint(r, err,
			  "it was killed or crashed: look into the system's log ('dmesg'), then "
			  "run the command again");
}

static int wait_ready(struct venv *ctx, struct worker *w, venv_error **err)
{
	_cleanup_json_ json_t *message = NULL;
	const struct idmap *map;
	int r;

	r = venv__context_map(ctx, &map, err);
	if (r < 0)
		return r;
	r = venv__msg_receive(w->socket, READY_MS, &message, NULL, err);
	if (r <= 0)
		return r < 0 ? r : ended(w, err);
	r = venv__error_from_json(message, err);
	return r < 0 ? r : venv__idmap_write(map, w->pid, err);
}

static int send_request(struct worker *w, venv_error **err)
{
	_cleanup_json_ json_t *more = json_pack("{s:b}", "fds", 1);
	const struct worker_task *task = w->task;
	int r = more ? venv__msg_send(w->socket, task->request, task->fds, task->n_fds, err)
		     : venv__fail_nomem(err);

	for (size_t i = 0; r == 0 && i < task->n_more; i += MSG_FDS_MAX)
		r = venv__msg_send(w->socket, more, task->more + i,
				   MIN(task->n_more - i, (size_t)MSG_FDS_MAX), err);
	return r;
}

static int begin_hash(struct worker *w, venv_error **err)
{
	if (w->task->hash_fd < 0)
		return 0;
	w->digest = venv__digest_new();
	w->chunk = malloc(HASH_CHUNK);
	return w->digest && w->chunk ? 0 : venv__fail_nomem(err);
}

static int hash_some(struct worker *w, venv_error **err)
{
	ssize_t n = pread(w->task->hash_fd, w->chunk, HASH_CHUNK, w->hashed);

	if (n < 0)
		return errno == EINTR
			       ? 0
			       : venv__fail_errno(err, errno, "%s: cannot read it", w->task->what);
	if (n > 0)
		venv__digest_add(w->digest, w->chunk, (size_t)n);
	else
		venv__digest_end(take_ptr(w->digest), w->task->ret_hash);
	w->hashed += n;
	if (w->task->tell_hash && w->task->total && n > 0)
		venv__op_progress(w->task->op, NULL, "unpack", w->task->base + (uint64_t)w->hashed,
				  w->task->total);
	return 0;
}

/* One message: 1 when it is the answer. */
static int receive(struct worker *w, json_t **ret, venv_error **err)
{
	_cleanup_json_ json_t *message = NULL;
	int64_t position;
	json_t *result;
	int r;

	r = venv__msg_receive(w->socket, -1, &message, NULL, err);
	if (r <= 0)
		return r < 0 ? r : ended(w, err);
	r = venv__error_from_json(message, err);
	if (r < 0)
		return r;
	result = json_object_get(message, "result");
	if (result) {
		*ret = json_incref(result);
		return 1;
	}
	position = venv__json_int(message, "position", -1);
	if (position >= 0 && w->task->total && !w->task->tell_hash)
		venv__op_progress(w->task->op, NULL, "unpack", w->task->base + (uint64_t)position,
				  w->task->total);
	return 0;
}

static int converse(struct worker *w, json_t **ret, venv_error **err)
{
	struct pollfd wait[2] = { { .fd = w->socket, .events = POLLIN },
				  { .fd = venv__op_cancel_fd(w->task->op), .events = POLLIN } };
	_cleanup_json_ json_t *result = NULL;
	int r = 0;

	while (!result || w->digest) {
		int n = poll(wait, 2, w->digest ? 0 : -1);

		if (n < 0 && errno != EINTR)
			return venv__fail_errno(err, errno, "cannot wait for venv-unpack");
		r = venv__op_cancelled(w->task->op, err);
		if (r == 0 && n > 0 && wait[0].revents) {
			r = receive(w, &result, err);
			if (r == 1)
				wait[0].fd = -1;
		}
		if (r >= 0 && w->digest)
			r = hash_some(w, err);
		if (r < 0)
			return r;
	}
	*ret = take_ptr(result);
	return 0;
}

int venv__worker_run(struct venv *ctx, struct worker_task *task, json_t **ret, venv_error **err)
{
	_cleanup_worker_ struct worker w = { .task = task, .socket = -1, .pidfd = -1 };
	_cleanup_json_ json_t *result = NULL;
	int r;

	r = start(ctx, &w, err);
	if (r == 0)
		r = wait_ready(ctx, &w, err);
	if (r == 0)
		r = begin_hash(&w, err);
	if (r == 0)
		r = send_request(&w, err);
	if (r == 0)
		r = converse(&w, &result, err);
	if (r == 0 && ret)
		*ret = take_ptr(result);
	return r;
}
