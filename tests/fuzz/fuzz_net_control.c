/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages on netd's control socket. Lines of the input are messages; one that is "-" closes the
 * connection and opens another. venv-netns says yes to everything, and no port is bound for real.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "netd/netd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool ended;

void venv__netd_log(const char *format, ...)
{
	(void)format;
}

void venv__netd_fail(struct netd *netd, const char *why)
{
	(void)netd;
	(void)why;
	ended = true;
}

void venv__helper_ask(struct netd *netd, json_t *request, int fd, answer_fn fn, void *user)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *reply = json_object();

	(void)netd;
	json_decref(request);
	if (fd >= 0)
		(void)close(fd);
	for (int i = 0; i < 2; i++)
		fds.fd[fds.count++] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fn)
		fn(user, reply, &fds, NULL);
}

/* One that connects to nothing on this host. */
void venv__helper_ask_socket(struct netd *netd, const struct machine *machine, bool udp,
			     answer_fn fn, void *user)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;

	(void)netd;
	(void)machine;
	(void)udp;
	fds.fd[fds.count++] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fn(user, NULL, &fds, NULL);
}

void venv__helper_cancel(struct netd *netd, const void *user)
{
	(void)netd;
	(void)user;
}

int venv__port_open(struct port *port, const json_t *request, venv_error **err)
{
	(void)request;
	port->address.ss_family = AF_INET;
	return json_is_object(request) ? 0 : venv__fail(err, VENV_ERR_NETWORK, "no port");
}

void venv__port_start(struct port *port)
{
	(void)port;
}

void venv__port_done(struct port *port)
{
	(void)port;
}

void venv__tcp_close_all(struct machine *machine)
{
	(void)machine;
}

bool venv__host_routes(const struct netd *netd, uint32_t first, uint32_t last)
{
	(void)netd;
	(void)last;
	return first >> 8 == 0x0a5800;
}

void venv__resolver_udp(void *user, int fd, uint32_t events)
{
	(void)user;
	(void)fd;
	(void)events;
}

void venv__resolver_tcp(void *user, int fd, uint32_t events)
{
	(void)user;
	(void)fd;
	(void)events;
}

void venv__dhcp_receive(void *user, int fd, uint32_t events)
{
	(void)user;
	(void)fd;
	(void)events;
}

static void free_networks(struct netd *netd)
{
	while (netd->networks) {
		struct network *network = netd->networks;

		netd->networks = network->next;
		venv__loop_remove(network->udp);
		venv__loop_remove(network->tcp);
		venv__loop_remove(network->dhcp);
		(void)close(network->udp_fd);
		(void)close(network->tcp_fd);
		(void)close(network->dhcp_fd);
		venv_error_free(network->failed);
		free(network->name);
		free(network);
	}
}

static void one_message(struct netd *netd, int *peer, const char *text, size_t length)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *message = NULL;
	int pair[2];

	if (length == 1 && *text == '-') {
		(void)close(take_fd(peer));
		venv__control_sweep(netd, NULL);
		return;
	}
	if (venv__json_parse(text, length, &message, NULL) < 0)
		return;
	if (*peer < 0) {
		if (venv__msg_pair(pair) < 0 || !venv__control_add(netd, pair[0]))
			abort();
		*peer = pair[1];
	}
	fds.fd[fds.count++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	venv__control_dispatch(netd->clients, message, &fds);
	for (;;) { /* what it answers must be a message */
		_cleanup_json_ json_t *reply = NULL;

		if (venv__msg_receive(*peer, 0, &reply, NULL, NULL) != 1)
			break;
		if (!json_is_object(reply))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char project[] = "shop";
	struct netd netd = { .project = project, .userns_fd = 0, .netns_fd = 0 };
	int uplink[2], peer = -1;
	char dir[] = "/tmp/venv-fuzz-XXXXXX";

	if (!mkdtemp(dir) || venv__msg_pair(uplink) < 0)
		abort();
	netd.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	netd.loop = venv__loop_new();
	netd.uplink = uplink[0];
	venv__memory_load(&netd);
	while (size && !ended) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t length = end ? (size_t)(end - data) : size;

		one_message(&netd, &peer, (const char *)data, length);
		data += length + (end ? 1 : 0);
		size -= length + (end ? 1 : 0);
	}
	if (peer >= 0)
		(void)close(peer);
	venv__control_sweep(&netd, NULL);
	if (netd.clients || netd.machines)
		abort();
	ended = false;
	free_networks(&netd);
	json_decref(netd.memory);
	venv__loop_free(netd.loop);
	(void)close(uplink[0]);
	(void)close(uplink[1]);
	(void)close(netd.dir_fd);
	(void)venv__tree_delete(AT_FDCWD, dir, NULL);
	return 0;
}
