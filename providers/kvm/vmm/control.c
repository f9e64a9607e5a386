/* SPDX-License-Identifier: Apache-2.0 */
/* The socket "ctl" in the machine's directory, and the ops of protocol.h. */
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/socket.h>

#include "util/serve.h"
#include "virtio/balloon.h"
#include "virtio/fs.h"
#include "vmm.h"

struct client {
	struct client *next;
	struct vmm *vmm;
	int fd;
	struct loop_source *source;
	bool waits; /* for the machine's end */
};

/* reply: NULL is {}; fd: to be sent along and closed, or -1; lent: to be sent and kept. */
struct answer {
	json_t *reply;
	int fd;
	const int *lent;
	size_t n_lent;
	bool later;
};

struct op {
	const char *name;
	int (*run)(struct client *client, const json_t *request, struct msg_fds *fds,
		   struct answer *ret, venv_error **err);
};

static int op_state(struct client *client, const json_t *request, struct msg_fds *fds,
		    struct answer *ret, venv_error **err)
{
	(void)request;
	(void)fds;
	(void)err;
	ret->reply = vmm_record_json(client->vmm);
	return 0;
}

static int op_stats(struct client *client, const json_t *request, struct msg_fds *fds,
		    struct answer *ret, venv_error **err)
{
	(void)request;
	(void)fds;
	(void)err;
	ret->reply = vmm_record_stats(client->vmm);
	return 0;
}

static int op_pause(struct client *client, const json_t *request, struct msg_fds *fds,
		    struct answer *ret, venv_error **err)
{
	bool pause = strcmp(venv__json_str(request, "op"), "pause") == 0;

	(void)fds;
	(void)ret;
	return vmm_pause(client->vmm, pause, err);
}

static int op_stop(struct client *client, const json_t *request, struct msg_fds *fds,
		   struct answer *ret, venv_error **err)
{
	struct vmm *vmm = client->vmm;
	int64_t timeout = venv__json_int(request, "timeout_ms", vmm->config.stop_timeout_ms);

	(void)fds;
	(void)err;
	client->waits = ret->later = true;
	vmm_stop(vmm, timeout > 0 && timeout < UINT32_MAX ? (unsigned)timeout : 0);
	return 0;
}

static int op_kill(struct client *client, const json_t *request, struct msg_fds *fds,
		   struct answer *ret, venv_error **err)
{
	(void)request;
	(void)fds;
	(void)err;
	client->waits = ret->later = true;
	vmm_kill(client->vmm);
	return 0;
}

static int op_save(struct client *client, const json_t *request, struct msg_fds *fds,
		   struct answer *ret, venv_error **err)
{
	_cleanup_close_ int state_fd = venv__msg_fds_take(fds, 0);
	_cleanup_close_ int memory_fd = venv__msg_fds_take(fds, 1);

	(void)request;
	(void)ret;
	if (state_fd < 0 || memory_fd < 0)
		return venv__fail(err, VENV_ERR_INVALID, "saving needs two files");
	return vmm_save(client->vmm, state_fd, memory_fd, err);
}

static int op_console(struct client *client, const json_t *request, struct msg_fds *fds,
		      struct answer *ret, venv_error **err)
{
	(void)request;
	(void)fds;
	ret->fd = venv__peer_connect(console_peer(client->vmm->console), err);
	return MIN(ret->fd, 0);
}

static int op_balloon(struct client *client, const json_t *request, struct msg_fds *fds,
		      struct answer *ret, venv_error **err)
{
	struct virtio_device *balloon = client->vmm->devices.balloon;
	int64_t bytes = venv__json_int(request, "bytes", -1);

	(void)fds;
	if (!balloon || bytes < 0)
		return venv__fail(err, VENV_ERR_INVALID, "the machine has no balloon of that size");
	virtio_balloon_ask(balloon, (uint64_t)bytes);
	ret->reply = json_pack("{s:I}", "bytes", (json_int_t)virtio_balloon_size(balloon));
	return 0;
}

static int op_own(struct client *client, const json_t *request, struct msg_fds *fds,
		  struct answer *ret, venv_error **err)
{
	struct virtio_device *folder = devices_find(
		&client->vmm->devices, venv__json_int(request, "slot", 0), VIRTIO_ID_FS);
	int64_t uid = venv__json_int(request, "uid", -1), gid = venv__json_int(request, "gid", -1);

	(void)fds;
	(void)ret;
	if (!folder || uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "no folder, or nobody to own it");
	virtio_fs_own(folder, (uid_t)uid, (gid_t)gid);
	return 0;
}

static int op_lend(struct client *client, const json_t *request, struct msg_fds *fds,
		   struct answer *ret, venv_error **err)
{
	const struct vmm_network *network = &client->vmm->network;

	(void)request;
	(void)fds;
	if (network->namespaces[0] < 0 || network->namespaces[1] < 0)
		return venv__fail(err, VENV_ERR_STATE, "the machine has no network");
	ret->lent = network->namespaces;
	ret->n_lent = ARRAY_SIZE(network->namespaces);
	return 0;
}

/* Nothing is said on the connection by us: it is held, and with it what hangs on it. */
static int op_plug(struct client *client, const json_t *request, struct msg_fds *fds,
		   struct answer *ret, venv_error **err)
{
	struct vmm_network *network = &client->vmm->network;
	int socket = venv__msg_fds_take(fds, 0);

	(void)request;
	(void)ret;
	if (socket < 0)
		return venv__fail(err, VENV_ERR_INVALID, "no connection to keep");
	if (network->socket >= 0)
		(void)close(network->socket);
	network->socket = socket;
	return 0;
}

static const struct op ops[] = {
	{ "state", op_state },  { "stats", op_stats },     { "pause", op_pause },
	{ "resume", op_pause }, { "stop", op_stop },       { "kill", op_kill },
	{ "save", op_save },    { "console", op_console }, { "balloon", op_balloon },
	{ "lend", op_lend },    { "plug", op_plug },       { "own", op_own },
};

static int run_request(struct client *client, const json_t *request, struct msg_fds *fds,
		       struct answer *ret, venv_error **err)
{
	const char *name = venv__json_str(request, "op");

	for (size_t i = 0; name && i < ARRAY_SIZE(ops); i++)
		if (strcmp(ops[i].name, name) == 0)
			return ops[i].run(client, request, fds, ret, err);
	return venv__fail(err, VENV_ERR_UNSUPPORTED, "venv-vmm does not know '%s'",
			  name ? name : "");
}

static void reply(const struct client *client, struct answer *answer)
{
	_cleanup_close_ int fd = answer->fd;
	const int *fds = answer->lent ? answer->lent : &fd;

	venv__serve_reply(client->fd, answer->reply, fds, answer->lent ? answer->n_lent : fd >= 0);
}

static void close_client(struct client *client)
{
	struct client **link = &client->vmm->clients;

	while (*link && *link != client)
		link = &(*link)->next;
	if (*link)
		*link = client->next;
	venv__loop_remove(client->source);
	(void)close(client->fd);
	free(client);
}

static void on_message(void *user, int fd, uint32_t events)
{
	struct client *client = user;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *request = NULL;
	_cleanup_error_ venv_error *error = NULL;
	struct answer answer = { .fd = -1 };
	int r = venv__serve_receive(fd, &request, &fds);

	(void)events;
	if (r < 0)
		close_client(client);
	if (r <= 0)
		return;
	r = run_request(client, request, &fds, &answer, &error);
	if (r < 0)
		venv__serve_refuse(fd, error);
	else if (!answer.later)
		reply(client, &answer);
}

static void on_connection(void *user, int fd, uint32_t events)
{
	_cleanup_close_ int connection = venv__msg_accept(fd);
	struct vmm *vmm = user;
	struct client *client;

	(void)events;
	client = connection >= 0 ? calloc(1, sizeof(*client)) : NULL;
	if (!client)
		return;
	*client = (struct client){ .next = vmm->clients, .vmm = vmm, .fd = connection };
	client->source = venv__loop_add(vmm->loop, connection, EPOLLIN, on_message, client);
	if (!client->source) {
		free(client);
		return;
	}
	vmm->clients = client;
	(void)take_fd(&connection);
}

int vmm_control_open(struct vmm *vmm, venv_error **err)
{
	vmm->ctl_fd = venv__msg_listen(vmm->machine_fd, "ctl", err);
	if (vmm->ctl_fd < 0)
		return vmm->ctl_fd;
	if (!venv__loop_add(vmm->loop, vmm->ctl_fd, EPOLLIN, on_connection, vmm))
		return venv__fail_errno(err, errno, "cannot listen on 'ctl'");
	return 0;
}

void vmm_control_end(struct vmm *vmm)
{
	while (vmm->clients) {
		struct answer answer = { .fd = -1 };

		if (vmm->clients->waits)
			reply(vmm->clients, &answer);
		close_client(vmm->clients);
	}
}
