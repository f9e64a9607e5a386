/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "dial": a connection to a machine's port for the library, which is not in the project's namespace. The
 * socket is made where the machine is reached from, connected here, and handed over.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "netd.h"

enum { DIAL_MS = 5000, SYN_COUNT = 2 };

struct dial {
	struct client *client;
	struct sockaddr_in target;
	int fd;
	struct loop_source *source, *timer;
};

static void free_dial(struct dial *dial)
{
	if (!dial)
		return;
	dial->client->dial = NULL;
	venv__helper_cancel(dial->client->netd, dial);
	venv__loop_remove(dial->source);
	venv__loop_remove(dial->timer);
	if (dial->fd >= 0)
		(void)close(dial->fd);
	free(dial);
}

void venv__dial_cancel(struct client *client)
{
	free_dial(client->dial);
}

static void answered(const struct dial *dial)
{
	venv__interface_used(dial->client->netd, ntohl(dial->target.sin_addr.s_addr));
}

static void fail(struct dial *dial, int number)
{
	struct client *client = dial->client;
	_cleanup_error_ venv_error *err = NULL;
	unsigned port = ntohs(dial->target.sin_port);

	if (number == ECONNREFUSED)
		answered(dial);
	free_dial(dial);
	(void)venv__fail(&err, VENV_ERR_NETWORK, "nobody answers on its port %u: %s", port,
			 strerror(number));
	venv__control_error(client, err, NULL, 0);
}

static void finish(struct dial *dial)
{
	_cleanup_json_ json_t *reply = json_object();

	answered(dial);
	venv__control_reply(dial->client, reply, &dial->fd, 1);
	free_dial(dial);
}

static void on_time(void *user, int fd, uint32_t events)
{
	struct dial *dial = user;

	(void)fd;
	(void)events;
	dial->timer = NULL;
	fail(dial, ETIMEDOUT);
}

static void on_connect(void *user, int fd, uint32_t events)
{
	socklen_t length = sizeof(int);
	int number = 0;

	(void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length) < 0)
		number = errno;
	if (number)
		fail(user, number);
	else
		finish(user);
}

static void on_socket(void *user, const json_t *answer, struct msg_fds *fds, const venv_error *err)
{
	struct dial *dial = user;
	int count = SYN_COUNT;

	(void)answer;
	dial->fd = err ? -1 : venv__msg_fds_take(fds, 0);
	if (dial->fd < 0) {
		fail(dial, EHOSTUNREACH);
		return;
	}
	(void)setsockopt(dial->fd, IPPROTO_TCP, TCP_SYNCNT, &count, sizeof(count));
	if (connect(dial->fd, (const struct sockaddr *)&dial->target, sizeof(dial->target)) == 0) {
		finish(dial);
		return;
	}
	if (errno != EINPROGRESS) {
		fail(dial, errno);
		return;
	}
	dial->source =
		venv__loop_add(dial->client->netd->loop, dial->fd, EPOLLOUT, on_connect, dial);
	if (!dial->source)
		fail(dial, ENOMEM);
}

/* By its first address. */
static struct machine *find_machine(struct client *client, const json_t *request, venv_error **err)
{
	const char *id = venv__json_str(request, "machine");
	int64_t port = venv__json_int(request, "port", 0);
	struct machine *machine = id ? venv__machine_find(client->netd, id) : NULL;

	if (client->dial)
		(void)venv__fail(err, VENV_ERR_STATE, "this connection is dialling already");
	else if (!machine || !machine->n_interfaces || !machine->plugged)
		(void)venv__fail(err, VENV_ERR_NETWORK, "it is not attached to its network");
	else if (port < 1 || port > UINT16_MAX)
		(void)venv__fail(err, VENV_ERR_INVALID, "bad port");
	else
		return machine;
	return NULL;
}

void venv__dial_begin(struct client *client, const json_t *request, venv_error **err)
{
	struct machine *machine = find_machine(client, request, err);
	struct dial *dial;

	if (!machine)
		return;
	dial = calloc(1, sizeof(*dial));
	if (!dial) {
		(void)venv__fail_nomem(err);
		return;
	}
	*dial = (struct dial){
		.client = client,
		.target = { .sin_family = AF_INET,
			    .sin_port = htons((uint16_t)venv__json_int(request, "port", 0)),
			    .sin_addr.s_addr = htonl(machine->interfaces[0].address) },
		.fd = -1,
	};
	client->dial = dial;
	dial->timer = venv__loop_timer(client->netd->loop, DIAL_MS, 0, on_time, dial);
	venv__helper_ask_socket(client->netd, machine, false, on_socket, dial);
}
