/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/compiler.h"

enum { RECORD_MAGIC = 0x76657272 };

union control {
	char bytes[CMSG_SPACE(RECORD_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

const char *setup_stage_text(unsigned stage)
{
	static const char *const texts[] = {
#define SETUP_STAGE_TEXT(name, text) text,
		SETUP_STAGES(SETUP_STAGE_TEXT)
#undef SETUP_STAGE_TEXT
	};

	return stage < ARRAY_SIZE(texts) ? texts[stage] : "setting it up";
}

int setup_record_send(int socket, const struct record *record, const int *fds, size_t n_fds)
{
	struct record copy = *record;
	union control control;
	struct iovec body = { .iov_base = &copy, .iov_len = sizeof(copy) };
	struct msghdr packet = { .msg_iov = &body, .msg_iovlen = 1 };

	if (n_fds > RECORD_FDS_MAX)
		return -E2BIG;
	copy.magic = RECORD_MAGIC;
	if (n_fds) {
		memset(&control, 0, sizeof(control));
		packet.msg_control = control.bytes;
		packet.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
	}
	while (sendmsg(socket, &packet, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int setup_record_simple(int socket, enum record_kind kind, int64_t a, int64_t b)
{
	struct record record = { .kind = kind, .value = { a, b } };

	return setup_record_send(socket, &record, NULL, 0);
}

static void take(struct msghdr *packet, int *fds, size_t max, size_t *n_fds)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(packet); c; c = CMSG_NXTHDR(packet, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0;
		     c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*n_fds < max)
				fds[(*n_fds)++] = fd;
			else
				(void)close(fd);
		}
	}
}

int setup_record_receive(int socket, struct record *ret, int *fds, size_t max, size_t *n_fds)
{
	union control control;
	struct iovec body = { .iov_base = ret, .iov_len = sizeof(*ret) };
	struct msghdr packet = { .msg_iov = &body,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes) };
	size_t count = 0;
	ssize_t n;

	do
		n = recvmsg(socket, &packet, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	take(&packet, fds, max, &count);
	if (n_fds)
		*n_fds = count;
	if (n == 0)
		return 0;
	if ((size_t)n != sizeof(*ret) || ret->magic != RECORD_MAGIC)
		return -EBADMSG;
	ret->what[sizeof(ret->what) - 1] = '\0';
	return 1;
}
