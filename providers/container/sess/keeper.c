/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the keeper.
 *
 * Theory of operation: a connection to the keeper carries one request at a time, and an exec keeps
 * its connection for as long as the command runs. So the socket that venv-sess is started with is
 * used for one thing: {"op":"open"} is answered with a new connection. One is asked for at the
 * start, while keys are exchanged, so that the first command does not wait for it. Calls wait in
 * one list, in order: those with a connection have been asked, those without one wait for it. A
 * call that was answered or cancelled is only marked, and freed at the end of the turn: the poll
 * set of this turn may name it.
 */
#include <fcntl.h>
#include <string.h>

#include "sess.h"
#include "util/sys.h"

struct keeper_call {
	struct keeper_call *next;
	struct keeper *keeper;
	json_t *request;
	int fds[3];
	size_t n_fds;
	int connection; /* -1: waiting for one */
	bool dead;      /* answered or cancelled */
	keeper_fn fn;
	void *user;
};

static void call_end(struct keeper_call *call)
{
	for (size_t i = 0; i < call->n_fds; i++)
		(void)close(call->fds[i]);
	call->n_fds = 0;
	if (call->connection >= 0)
		(void)close(take_fd(&call->connection));
	call->dead = true;
}

void keeper_reap(struct keeper *keeper)
{
	struct keeper_call **p = &keeper->calls;

	while (*p) {
		struct keeper_call *call = *p;

		if (!call->dead) {
			p = &call->next;
			continue;
		}
		*p = call->next;
		json_decref(call->request);
		free(call);
	}
}

/* Hand the outcome over and forget the call. */
static void call_answer(struct keeper_call *call, struct keeper_reply *reply)
{
	struct keeper *keeper = call->keeper;

	reply->connection = take_fd(&call->connection);
	call_end(call);
	call->fn(call->user, reply);
	venv__msg_fds_done(&reply->fds);
	if (reply->connection >= 0 && !reply->error && keeper->n_spare < ARRAY_SIZE(keeper->spare))
		keeper->spare[keeper->n_spare++] = take_fd(&reply->connection);
	if (reply->connection >= 0)
		(void)close(reply->connection);
}

static void call_fail(struct keeper_call *call, const venv_error *error)
{
	struct keeper_reply reply = { .fds = MSG_FDS_INIT, .error = error, .connection = -1 };

	call_answer(call, &reply);
}

static int call_send(struct keeper_call *call, venv_error **err)
{
	int r = venv__msg_send(call->connection, call->request, call->fds, call->n_fds, err);

	for (size_t i = 0; i < call->n_fds; i++)
		(void)close(call->fds[i]);
	call->n_fds = 0;
	return r;
}

static void fail_all(struct keeper *keeper)
{
	_cleanup_error_ venv_error *error = NULL;

	if (keeper->fd >= 0)
		(void)close(take_fd(&keeper->fd));
	keeper->opening = 0;
	(void)venv__fail(&error, VENV_ERR_STATE, "the machine is stopping");
	for (struct keeper_call *call = keeper->calls; call; call = call->next)
		if (!call->dead && call->connection < 0)
			call_fail(call, error);
}

static bool ask_connection(struct keeper *keeper)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", "open");

	if (keeper->fd < 0 || !request || venv__msg_send(keeper->fd, request, NULL, 0, NULL) < 0)
		return false;
	keeper->opening++;
	return true;
}

/* A new connection: for the first call that waits, else for later. */
static void use_connection(struct keeper *keeper, int fd)
{
	for (struct keeper_call *call = keeper->calls; call; call = call->next) {
		_cleanup_error_ venv_error *error = NULL;

		if (call->dead || call->connection >= 0)
			continue;
		call->connection = fd;
		if (call_send(call, &error) < 0)
			call_fail(call, error);
		return;
	}
	if (keeper->n_spare < ARRAY_SIZE(keeper->spare))
		keeper->spare[keeper->n_spare++] = fd;
	else
		(void)close(fd);
}

static void on_keeper(void *user, short revents)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *reply = NULL;
	struct keeper *keeper = user;
	int r;

	(void)revents;
	if (keeper->fd < 0)
		return;
	r = venv__msg_receive(keeper->fd, 0, &reply, &fds, NULL);
	if (r == VENV_ERR_TIMEOUT)
		return;
	if (r <= 0 || fds.count != 1) {
		fail_all(keeper);
		return;
	}
	if (keeper->opening)
		keeper->opening--;
	use_connection(keeper, venv__msg_fds_take(&fds, 0));
}

static void on_answer(void *user, short revents)
{
	struct keeper_reply reply = { .fds = MSG_FDS_INIT, .connection = -1 };
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_json_ json_t *message = NULL;
	struct keeper_call *call = user;
	int r;

	(void)revents;
	if (call->dead)
		return;
	r = venv__msg_receive(call->connection, 0, &message, &reply.fds, &error);
	if (r == VENV_ERR_TIMEOUT)
		return;
	if (r == 0)
		r = venv__fail(&error, VENV_ERR_STATE, "the machine is stopping");
	else if (r > 0)
		r = venv__error_from_json(message, &error);
	reply.reply = message;
	reply.error = r < 0 ? error : NULL;
	call_answer(call, &reply);
}

int keeper_init(struct keeper *keeper, int fd)
{
	*keeper = (struct keeper){ .fd = fd };
	return ask_connection(keeper) ? 0 : -1;
}

void keeper_poll(struct keeper *keeper, struct poll_set *set)
{
	if (keeper->fd >= 0)
		sess_poll_add(set, keeper->fd, POLLIN, on_keeper, keeper);
	for (struct keeper_call *call = keeper->calls; call; call = call->next)
		if (!call->dead)
			sess_poll_add(set, call->connection, POLLIN, on_answer, call);
}

static struct keeper_call *call_new(struct keeper *keeper, json_t *request, const int *fds,
				    size_t n_fds)
{
	struct keeper_call *call = calloc(1, sizeof(*call));

	if (!call || !request) {
		for (size_t i = 0; i < n_fds; i++)
			(void)close(fds[i]);
		json_decref(request);
		free(call);
		return NULL;
	}
	*call = (struct keeper_call){
		.keeper = keeper, .request = request, .n_fds = n_fds, .connection = -1
	};
	for (size_t i = 0; i < n_fds; i++)
		call->fds[i] = fds[i];
	return call;
}

struct keeper_call *keeper_ask(struct keeper *keeper, json_t *request, const int *fds, size_t n_fds,
			       keeper_fn fn, void *user)
{
	struct keeper_call *call = call_new(keeper, request, fds, n_fds), **end = &keeper->calls;
	unsigned waiting = 1;
	bool sent;

	if (!call)
		return NULL;
	call->fn = fn;
	call->user = user;
	for (; *end; end = &(*end)->next)
		waiting += !(*end)->dead && (*end)->connection < 0;
	*end = call;
	if (keeper->n_spare) {
		call->connection = keeper->spare[--keeper->n_spare];
		sent = call_send(call, NULL) >= 0;
	} else {
		sent = keeper->fd >= 0 && (keeper->opening >= waiting || ask_connection(keeper));
	}
	if (sent)
		return call;
	call_end(call);
	return NULL;
}

void keeper_cancel(struct keeper_call *call)
{
	if (call)
		call_end(call);
}

void keeper_wait(struct keeper *keeper, const bool *finished, int ms)
{
	uint64_t end = venv__now_us() + (uint64_t)ms * 1000;

	while (!*finished && keeper->fd >= 0) {
		struct poll_set set = { 0 };
		uint64_t now = venv__now_us();

		keeper_poll(keeper, &set);
		if (now >= end || set.failed ||
		    poll(set.fds, (nfds_t)set.count, (int)((end - now + 999) / 1000)) <= 0) {
			free(set.fds);
			free(set.watches);
			return;
		}
		/* one at a time: a callback may free another's call */
		for (size_t i = 0; i < set.count; i++) {
			if (set.fds[i].revents) {
				set.watches[i].fn(set.watches[i].user, set.fds[i].revents);
				break;
			}
		}
		free(set.fds);
		free(set.watches);
	}
}
