/* SPDX-License-Identifier: Apache-2.0 */
/* A resolver for the outside: small, and trusts its clients. */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "test_net_world.h"

static size_t make_answer(const uint8_t *query, size_t length, bool stream, uint8_t *ret)
{
	static const char known[] = "\7outside\4test", large[] = "\3big\4test";
	static const uint8_t record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4 };
	bool is_known =
		length >= 12 + sizeof(known) + 4 && memcmp(query + 12, known, sizeof(known)) == 0;
	bool is_large =
		length >= 12 + sizeof(large) + 4 && memcmp(query + 12, large, sizeof(large)) == 0;
	size_t end = 12 + (is_known ? sizeof(known) : is_large ? sizeof(large) : 0) + 4;
	bool is_a = (is_known || is_large) && query[end - 3] == 1;

	if (!is_known && !is_large)
		end = length;
	memcpy(ret, query, end);
	ret[2] = is_large && !stream ? 0x83 : 0x81; /* truncated? */
	ret[3] = is_known || is_large ? 0x80 : 0x83;
	memset(ret + 6, 0, 6);
	if (!is_a || (is_large && !stream))
		return end;
	ret[7] = 1;
	memcpy(ret + end, record, sizeof(record));
	(void)inet_pton(AF_INET, OUTSIDE_ADDRESS, ret + end + 12);
	return end + 16;
}

static void answer_stream(int listener)
{
	int fd = accept(listener, NULL, NULL);
	uint8_t query[2048], reply[4096];
	ssize_t n = recv(fd, query, sizeof(query), 0);
	size_t length;

	if (n > 2) {
		length = make_answer(query + 2, (size_t)n - 2, true, reply + 2);
		reply[0] = (uint8_t)(length >> 8);
		reply[1] = (uint8_t)length;
		(void)send(fd, reply, length + 2, MSG_NOSIGNAL);
	}
	(void)close(fd);
}

static void answer_datagram(int fd)
{
	struct sockaddr_in peer;
	socklen_t length = sizeof(peer);
	uint8_t query[2048], reply[4096];
	ssize_t n = recvfrom(fd, query, sizeof(query), 0, (struct sockaddr *)&peer, &length);

	if (n > 12)
		(void)sendto(fd, reply, make_answer(query, (size_t)n, false, reply), 0,
			     (struct sockaddr *)&peer, length);
}

static _Noreturn void serve(int udp, int tcp)
{
	struct pollfd wait[2] = { { .fd = udp, .events = POLLIN },
				  { .fd = tcp, .events = POLLIN } };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		if (poll(wait, 2, -1) < 0)
			_exit(1);
		if (wait[0].revents)
			answer_datagram(udp);
		if (wait[1].revents)
			answer_stream(tcp);
	}
}

int fake_resolver_start(const char *address)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(53) };
	int udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);

	(void)inet_pton(AF_INET, address, &local.sin_addr);
	if (bind(udp, (struct sockaddr *)&local, sizeof(local)) < 0 ||
	    bind(tcp, (struct sockaddr *)&local, sizeof(local)) < 0 || listen(tcp, 16) < 0)
		return -errno;
	if (fork() == 0)
		serve(udp, tcp);
	return 0;
}
