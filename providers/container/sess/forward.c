/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forwarded connections: -L, -D and -W (direct-tcpip), -R (tcpip-forward), agents.
 *
 * Theory of operation: libssh wants the answer to a direct-tcpip request before its callback
 * returns. So the keeper is asked to dial and is waited for briefly, long enough for everything
 * inside the machine: success and refusal are then told as they are. Whatever takes longer (another
 * host) is accepted, and closed again when it fails. Listeners are few and made at once. What
 * connects to one becomes a channel that is `opening` until the client has agreed.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "sess.h"

enum { DIAL_LOCAL_MS = 100, DIAL_OTHER_MS = 10 };

/* ---- connections that the client opens ---- */

static int use_socket(struct chan *chan, int fd)
{
	int second = fcntl(fd, F_DUPFD_CLOEXEC, 0), one = 1;

	if (second < 0) {
		(void)close(fd);
		return -1;
	}
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	chan->in.is_socket = true;
	chan->in.shut = true;
	venv__sink_open(&chan->in, fd);
	chan->out.fd = second;
	return 0;
}

static void on_dialled(void *user, struct keeper_reply *reply)
{
	struct chan *chan = user;
	int fd = reply->error ? -1 : venv__msg_fds_take(&reply->fds, 0);

	chan->call = NULL;
	chan->answered = true;
	if (fd < 0 || use_socket(chan, fd) < 0)
		chan->refused = true;
}

static bool is_local(const char *host)
{
	return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
	       strncmp(host, "127.", 4) == 0;
}

static int open_direct(struct sess *sess, ssh_message message)
{
	const char *host = ssh_message_channel_request_open_destination(message);
	int port = ssh_message_channel_request_open_destination_port(message);
	struct chan *chan = chan_new(sess, CHAN_TCP, NULL);

	if (!chan)
		return 1;
	chan->call = keeper_ask(
		&sess->keeper, json_pack("{s:s,s:s,s:i}", "op", "dial", "host", host, "port", port),
		NULL, 0, on_dialled, chan);
	if (chan->call)
		keeper_wait(&sess->keeper, &chan->answered,
			    is_local(host) ? DIAL_LOCAL_MS : DIAL_OTHER_MS);
	if ((chan->call || chan->answered) && !chan->refused)
		chan->channel = ssh_message_channel_request_open_reply_accept(message);
	if (!chan->channel || chan_attach(chan) < 0) {
		int refuse = chan->channel ? 0 : 1;

		chan_free(chan);
		return refuse;
	}
	return 0;
}

/* 0: answered, 1: libssh shall refuse it */
int forward_message(ssh_session session, ssh_message message, void *user)
{
	struct sess *sess = user;

	(void)session;
	if (ssh_message_type(message) == SSH_REQUEST_AUTH)
		sess->attempts++;
	if (ssh_message_type(message) != SSH_REQUEST_CHANNEL_OPEN ||
	    ssh_message_subtype(message) != SSH_CHANNEL_DIRECT_TCPIP || !sess->authenticated ||
	    sess->n_channels >= CHANNELS_MAX)
		return 1;
	return open_direct(sess, message);
}

/* ---- listeners ---- */

struct listening {
	struct listener *listener;
	bool answered;
	char *path;
};

static void on_listening(void *user, struct keeper_reply *reply)
{
	struct listening *wait = user;
	const char *path = venv__json_str(reply->reply, "path");

	wait->answered = true;
	if (reply->error)
		return;
	wait->listener->fd = venv__msg_fds_take(&reply->fds, 0);
	wait->listener->port = (int)venv__json_int(reply->reply, "port", wait->listener->port);
	wait->listener->connection = take_fd(&reply->connection);
	if (path)
		wait->path = strdup(path);
}

static void listener_free(struct listener *listener)
{
	if (listener->fd >= 0)
		(void)close(listener->fd);
	if (listener->connection >= 0)
		(void)close(listener->connection);
	free(listener->address);
	free(listener);
}

/* Ask and wait; the listener is in the list then. ret_path may be NULL. */
static struct listener *listener_make(struct sess *sess, json_t *request, char **ret_path)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	struct listening wait = { .listener = listener };
	struct keeper_call *call;

	if (!listener || sess->n_listeners >= LISTENERS_MAX) {
		free(listener);
		json_decref(request);
		return NULL;
	}
	*listener = (struct listener){ .sess = sess, .fd = -1, .connection = -1 };
	call = keeper_ask(&sess->keeper, request, NULL, 0, on_listening, &wait);
	if (call)
		keeper_wait(&sess->keeper, &wait.answered, SYNC_MS);
	if (call && !wait.answered)
		keeper_cancel(call);
	if (listener->fd < 0) {
		free(wait.path);
		listener_free(listener);
		return NULL;
	}
	(void)fcntl(listener->fd, F_SETFL, fcntl(listener->fd, F_GETFL) | O_NONBLOCK);
	listener->next = sess->listeners;
	sess->listeners = listener;
	sess->n_listeners++;
	if (ret_path)
		*ret_path = take_ptr(wait.path);
	free(wait.path);
	return listener;
}

static void start_forward(struct sess *sess, ssh_message message)
{
	const char *address = ssh_message_global_request_address(message);
	int port = ssh_message_global_request_port(message);
	struct listener *listener;

	if (port < 0 || port > 65535) {
		(void)ssh_message_reply_default(message);
		return;
	}
	listener = listener_make(
		sess, json_pack("{s:s,s:s,s:i}", "op", "listen", "host", address, "port", port),
		NULL);
	if (listener)
		listener->address = strdup(address);
	if (listener && listener->address && (listener->port || !port))
		(void)ssh_message_global_request_reply_success(message, (uint16_t)listener->port);
	else
		(void)ssh_message_reply_default(message);
	if (listener && !listener->address)
		listener->closed = true;
}

static void cancel_forward(const struct sess *sess, ssh_message message)
{
	const char *address = ssh_message_global_request_address(message);
	int port = ssh_message_global_request_port(message);

	for (struct listener *listener = sess->listeners; listener; listener = listener->next) {
		if (listener->agent || listener->closed || listener->port != port ||
		    strcmp(listener->address, address) != 0)
			continue;
		listener->closed = true;
		(void)ssh_message_global_request_reply_success(message, 0);
		return;
	}
	(void)ssh_message_reply_default(message);
}

void forward_global(ssh_session session, ssh_message message, void *user)
{
	struct sess *sess = user;

	(void)session;
	if (sess->authenticated && ssh_message_subtype(message) == SSH_GLOBAL_REQUEST_TCPIP_FORWARD)
		start_forward(sess, message);
	else if (sess->authenticated &&
		 ssh_message_subtype(message) == SSH_GLOBAL_REQUEST_CANCEL_TCPIP_FORWARD)
		cancel_forward(sess, message);
	else
		(void)ssh_message_reply_default(
			message); /* an answer: that is all a keepalive wants */
}

/* One agent socket for the connection, made when it is first asked for. */
void forward_agent(struct sess *sess)
{
	struct listener *listener;
	json_t *request;

	if (sess->agent_path)
		return;
	request = json_pack("{s:s,s:b,s:s}", "op", "listen", "agent", 1, "user", sess->user);
	listener = listener_make(sess, request, &sess->agent_path);
	if (listener)
		listener->agent = true;
	if (listener && !sess->agent_path)
		listener->closed = true;
}

/* ---- connections that the machine opens ---- */

static void name_origin(struct chan *chan, int fd)
{
	struct sockaddr_storage peer = { 0 };
	socklen_t length = sizeof(peer);
	char text[INET6_ADDRSTRLEN] = "127.0.0.1";

	if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer;

		(void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
		chan->origin_port = ntohs(v4->sin_port);
	} else if (peer.ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer;

		(void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		chan->origin_port = ntohs(v6->sin6_port);
	}
	chan->origin = strdup(text);
}

static void on_connection(void *user, short revents)
{
	struct listener *listener = user;
	struct sess *sess = listener->sess;
	_cleanup_close_ int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct chan *chan;

	(void)revents;
	if (fd < 0 || sess->n_channels >= CHANNELS_MAX)
		return;
	chan = chan_new(sess, listener->agent ? CHAN_AGENT : CHAN_TCP, NULL);
	if (!chan)
		return;
	chan->channel = ssh_channel_new(sess->session);
	chan->opening = true;
	chan->port = listener->port;
	if (listener->address)
		chan->address = strdup(listener->address);
	name_origin(chan, fd);
	if (!chan->channel || !chan->origin || (!listener->agent && !chan->address) ||
	    use_socket(chan, take_fd(&fd)) < 0 || chan_attach(chan) < 0) {
		chan_free(chan);
		return;
	}
	forward_run(chan);
}

static void go_on_opening(struct chan *chan)
{
	int r;

	if (chan->kind == CHAN_AGENT)
		r = ssh_channel_open_auth_agent(chan->channel);
	else
		r = ssh_channel_open_reverse_forward(chan->channel, chan->address, chan->port,
						     chan->origin, chan->origin_port);
	if (r == SSH_OK)
		chan->opening = false;
	else if (r != SSH_AGAIN)
		chan->finished = true; /* refused */
}

void forward_run(struct chan *chan)
{
	bool out_ended = chan->out.fd < 0 && !chan->out.length;

	if (chan->opening) {
		go_on_opening(chan);
		return;
	}
	if (chan->refused) {
		chan_finish(chan);
		return;
	}
	if (chan->call || !out_ended)
		return;
	if (!chan->eof_sent) {
		(void)ssh_channel_send_eof(chan->channel);
		chan->eof_sent = true;
	}
	if (chan->in.fd < 0)
		chan_finish(chan);
}

void forward_poll(struct sess *sess, struct poll_set *set)
{
	for (struct listener *listener = sess->listeners; listener; listener = listener->next)
		sess_poll_add(set, listener->fd, POLLIN, on_connection, listener);
}

void forward_reap(struct sess *sess, bool all)
{
	struct listener **p = &sess->listeners;

	while (*p) {
		struct listener *listener = *p;

		if (!listener->closed && !all) {
			p = &listener->next;
			continue;
		}
		*p = listener->next;
		sess->n_listeners--;
		listener_free(listener);
	}
}
