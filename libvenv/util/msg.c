/* SPDX-License-Identifier: Apache-2.0 */
#include "msg.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "buf.h"
#include "sys.h"

void venv__msg_fds_done(struct msg_fds *fds)
{
	for (size_t i = 0; i < fds->count; i++)
		if (fds->fd[i] >= 0)
			(void)close(fds->fd[i]);
	fds->count = 0;
}

int venv__msg_fds_take(struct msg_fds *fds, size_t i)
{
	return i < fds->count ? take_fd(&fds->fd[i]) : -1;
}

static int wait_for(int socket, short events, int timeout_ms)
{
	uint64_t end = venv__now_us() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000;
	struct pollfd wait = { .fd = socket, .events = events };
	int left = timeout_ms, r;

	for (;;) {
		r = poll(&wait, 1, left);
		if (r > 0)
			return 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
		if (timeout_ms > 0) {
			uint64_t now = venv__now_us();

			left = now >= end ? 0 : (int)((end - now) / 1000);
		}
	}
}

static int send_packet(int socket, const json_t *message, const int *fds, size_t n_fds, bool wait,
		       venv_error **err)
{
	_cleanup_free_ char *text = venv__json_text(message, JSON_COMPACT);
	union {
		char bytes[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec body;
	struct msghdr packet = { .msg_iov = &body, .msg_iovlen = 1 };
	ssize_t n;

	if (!text)
		return venv__fail_nomem(err);
	body = (struct iovec){ .iov_base = text, .iov_len = strlen(text) };
	if (body.iov_len > MSG_MAX || n_fds > MSG_FDS_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "a message of %zu bytes is too large",
				  body.iov_len);
	if (n_fds) {
		packet.msg_control = control.bytes;
		packet.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
	}
	for (;;) {
		n = sendmsg(socket, &packet, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
		if (n >= 0)
			return 0;
		if (errno == EAGAIN && wait && wait_for(socket, POLLOUT, -1) == 0)
			continue;
		if (errno != EINTR)
			return venv__fail_errno(err, errno, "cannot send a message");
	}
}

int venv__msg_send(int socket, const json_t *message, const int *fds, size_t n_fds,
		   venv_error **err)
{
	return send_packet(socket, message, fds, n_fds, true, err);
}

int venv__msg_send_now(int socket, const json_t *message, const int *fds, size_t n_fds,
		       venv_error **err)
{
	return send_packet(socket, message, fds, n_fds, false, err);
}

static void take_descriptors(struct msghdr *packet, struct msg_fds *ret)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(packet); c; c = CMSG_NXTHDR(packet, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (ret->count < MSG_FDS_MAX)
				ret->fd[ret->count++] = fd;
			else
				(void)close(fd);
		}
	}
}

static ssize_t receive_packet(int socket, char *text, size_t size, struct msg_fds *fds, int *flags)
{
	union {
		char bytes[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec body = { .iov_base = text, .iov_len = size };
	struct msghdr packet = { .msg_iov = &body,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes) };
	ssize_t n;

	do
		n = recvmsg(socket, &packet, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		take_descriptors(&packet, fds);
	*flags = packet.msg_flags;
	return n;
}

int venv__msg_receive(int socket, int timeout_ms, json_t **ret, struct msg_fds *fds,
		      venv_error **err)
{
	_cleanup_msg_fds_ struct msg_fds received = MSG_FDS_INIT;
	_cleanup_free_ char *text = malloc(MSG_MAX + 1);
	_cleanup_json_ json_t *message = NULL;
	int flags = 0, r;
	ssize_t n;

	if (!text)
		return venv__fail_nomem(err);
	for (;;) {
		n = receive_packet(socket, text, MSG_MAX, &received, &flags);
		if (n >= 0)
			break;
		if (errno == ECONNRESET)
			return 0;
		if (errno != EAGAIN)
			return venv__fail_errno(err, errno, "cannot receive a message");
		r = timeout_ms == 0 ? -ETIMEDOUT : wait_for(socket, POLLIN, timeout_ms);
		if (r < 0)
			return venv__fail_errno(err, -r, "no answer within %d ms", timeout_ms);
	}
	if (n == 0)
		return 0;
	if (flags & (MSG_TRUNC | MSG_CTRUNC))
		return venv__fail(err, VENV_ERR_INVALID, "a message that is too large was refused");
	r = venv__json_parse(text, (size_t)n, &message, err);
	if (r < 0)
		return r;
	if (!json_is_object(message))
		return venv__fail(err, VENV_ERR_INVALID, "a message that is no object was refused");
	*ret = take_ptr(message);
	if (fds) {
		*fds = received;
		received.count = 0;
	}
	return 1;
}

int venv__msg_call(int socket, const json_t *request, const int *fds, size_t n_fds, int timeout_ms,
		   json_t **ret, struct msg_fds *ret_fds, venv_error **err)
{
	_cleanup_json_ json_t *reply = NULL;
	_cleanup_msg_fds_ struct msg_fds received = MSG_FDS_INIT;
	int r;

	r = venv__msg_send(socket, request, fds, n_fds, err);
	if (r < 0)
		return r;
	r = venv__msg_receive(socket, timeout_ms, &reply, &received, err);
	if (r < 0)
		return r;
	if (r == 0)
		return venv__fail(err, VENV_ERR_SYSTEM, "the process that was asked to '%s' ended",
				  venv__json_str(request, "op") ? venv__json_str(request, "op")
								: "?");
	r = venv__error_from_json(reply, err);
	if (r < 0)
		return r;
	if (ret)
		*ret = take_ptr(reply);
	if (ret_fds) {
		*ret_fds = received;
		received.count = 0;
	}
	return 0;
}

json_t *venv__error_to_json(const venv_error *error)
{
	json_t *inner = json_object();

	if (!inner)
		return NULL;
	(void)json_object_set_new(inner, "code", json_integer(venv_error_code(error)));
	(void)json_object_set_new(inner, "errno", json_integer(error ? error->sys_errno : 0));
	(void)venv__json_set_str(inner, "message", venv_error_message(error));
	(void)venv__json_set_str(inner, "hint", venv_error_hint(error));
	(void)venv__json_set_str(inner, "details", venv_error_details(error));
	return json_pack("{s:o}", "error", inner);
}

int venv__error_from_json(const json_t *reply, venv_error **err)
{
	const json_t *inner = json_object_get(reply, "error");
	const char *message = venv__json_str(inner, "message");
	const char *hint = venv__json_str(inner, "hint");
	int code = (int)venv__json_int(inner, "code", VENV_ERR_SYSTEM);

	if (!inner)
		return 0;
	if (code >= 0)
		code = VENV_ERR_SYSTEM;
	(void)venv__fail(err, code, "%s", message ? message : "it failed without a message");
	if (hint)
		(void)venv__hint(code, err, "%s", hint);
	return venv__error_set_details(code, err, venv__json_str(inner, "details"));
}

int venv__msg_send_error(int socket, const venv_error *error)
{
	_cleanup_json_ json_t *reply = venv__error_to_json(error);

	return reply ? venv__msg_send(socket, reply, NULL, 0, NULL) : VENV_ERR_NOMEM;
}

static int address_at(int dir_fd, const char *name, struct sockaddr_un *ret)
{
	int n;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
	return n < 0 || (size_t)n >= sizeof(ret->sun_path) ? -ENAMETOOLONG : 0;
}

int venv__msg_listen(int dir_fd, const char *name, venv_error **err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	int r;

	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot make a socket");
	r = address_at(dir_fd, name, &address);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot bind '%s'", name);
	(void)unlinkat(dir_fd, name, 0);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 128) < 0)
		return venv__fail_errno(err, errno, "cannot bind '%s'", name);
	return take_fd(&fd);
}

int venv__msg_connect(int dir_fd, const char *name, venv_error **err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	int r;

	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot make a socket");
	r = address_at(dir_fd, name, &address);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot connect to '%s'", name);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return venv__fail_errno(err, errno, "cannot connect to '%s'", name);
	if (!venv__msg_peer_ok(fd))
		return venv__fail(err, VENV_ERR_DENIED, "'%s' belongs to another user", name);
	return take_fd(&fd);
}

bool venv__msg_peer_ok(int socket)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return false;
	return peer.uid == geteuid() || peer.uid == 0;
}

int venv__msg_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (!venv__msg_peer_ok(fd)) {
		(void)close(fd);
		return -EACCES;
	}
	return fd;
}

int venv__msg_pair(int ret[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0 ? -errno : 0;
}
