/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to venv-netns. It answers one after the other, so answers are matched by order; no more
 * than a few are under way at once, so that sending never blocks.
 */
#include <string.h>

#include "netd.h"

enum { UNDER_WAY_MAX = 32 };

struct question {
	struct question *next;
	json_t *request; /* NULL once sent */
	int fd;
	answer_fn fn; /* NULL: nobody waits any more */
	void *user;
};

struct helper {
	int socket;
	unsigned under_way;
	struct question *first, **last; /* sent ones first */
	struct question *unsent;
};

static void free_question(struct question *question)
{
	json_decref(question->request);
	if (question->fd >= 0)
		(void)close(question->fd);
	free(question);
}

static void send_more(struct netd *netd)
{
	struct helper *helper = netd->netns;

	while (helper->unsent && helper->under_way < UNDER_WAY_MAX) {
		struct question *question = helper->unsent;

		if (venv__msg_send(helper->socket, question->request, &question->fd,
				   question->fd >= 0 ? 1 : 0, NULL) < 0) {
			venv__netd_fail(netd, "cannot reach venv-netns");
			return;
		}
		json_decref(question->request);
		question->request = NULL;
		if (question->fd >= 0)
			(void)close(take_fd(&question->fd));
		helper->unsent = question->next;
		helper->under_way++;
	}
}

static void take_answer(struct helper *helper, const json_t *reply, struct msg_fds *fds)
{
	_cleanup_error_ venv_error *err = NULL;
	struct question *question = helper->first;

	if (!question || question->request)
		return; /* an answer to nothing */
	helper->first = question->next;
	if (!helper->first)
		helper->last = &helper->first;
	helper->under_way--;
	(void)venv__error_from_json(reply, &err);
	if (question->fn)
		question->fn(question->user, reply, fds, err);
	free_question(question);
}

static void on_answer(void *user, int fd, uint32_t events)
{
	struct netd *netd = user;
	_cleanup_json_ json_t *reply = NULL;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;

	(void)events;
	if (venv__msg_receive(fd, 0, &reply, &fds, NULL) <= 0) {
		venv__netd_fail(netd, "venv-netns ended");
		return;
	}
	take_answer(netd->netns, reply, &fds);
	send_more(netd);
}

struct helper *venv__helper_new(struct netd *netd, int socket)
{
	struct helper *helper = calloc(1, sizeof(*helper));

	if (!helper || !venv__loop_add(netd->loop, socket, EPOLLIN, on_answer, netd)) {
		free(helper);
		(void)close(socket);
		return NULL;
	}
	helper->socket = socket;
	helper->last = &helper->first;
	return helper;
}

void venv__helper_ask(struct netd *netd, json_t *request, int fd, answer_fn fn, void *user)
{
	struct helper *helper = netd->netns;
	struct question *question = calloc(1, sizeof(*question));

	if (!request || !question) {
		json_decref(request);
		free(question);
		if (fd >= 0)
			(void)close(fd);
		venv__netd_fail(netd, "out of memory");
		return;
	}
	*question = (struct question){ .request = request, .fd = fd, .fn = fn, .user = user };
	*helper->last = question;
	helper->last = &question->next;
	if (!helper->unsent)
		helper->unsent = question;
	send_more(netd);
}

void venv__helper_cancel(struct netd *netd, const void *user)
{
	for (struct question *q = netd->netns->first; q; q = q->next)
		if (q->user == user)
			q->fn = NULL;
}

void venv__helper_ask_socket(struct netd *netd, const struct machine *machine, bool udp,
			     answer_fn fn, void *user)
{
	json_t *request = json_pack("{s:s, s:s}", "op", "socket", "type", udp ? "udp" : "tcp");

	if (request && !machine->tap)
		(void)venv__json_set_str(request, "machine", machine->id);
	venv__helper_ask(netd, request, -1, fn, user);
}
