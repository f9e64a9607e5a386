/* SPDX-License-Identifier: Apache-2.0 */
/* A resolver for the outside: small, and trusts its clients. */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "test_net_world.h"

enum { HEADER = 12, TYPE_A = 1, TYPE_AAAA = 28 };

static char own_address[INET_ADDRSTRLEN];

static size_t put_record(uint8_t *ret, uint8_t type, const char *address)
{
	const uint8_t head[] = { 0xc0, 12, 0, type, 0, 1, 0, 0, 0, 5, 0, type == TYPE_A ? 4 : 16 };

	memcpy(ret, head, sizeof(head));
	(void)inet_pton(type == TYPE_A ? AF_INET : AF_INET6, address, ret + sizeof(head));
	return sizeof(head) + head[11];
}

static size_t make_answer(const uint8_t *query, size_t length, bool stream, uint8_t *ret)
{
	const struct {
		const char *wire, *v4, *v6;
		bool large;
	} names[] = {
		{ "\7outside\4test", OUTSIDE_ADDRESS, "2001:db8::2", false },
		{ "\3big\4test", OUTSIDE_ADDRESS, NULL, true },
		{ "\6server\4test", own_address, NULL, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t end = HEADER + strlen(names[i].wire) + 1 + 4;
		bool cut = names[i].large && !stream;
		const char *address;

		if (length < end || memcmp(query + HEADER, names[i].wire, end - HEADER - 4) != 0)
			continue;
		memcpy(ret, query, end);
		ret[2] = cut ? 0x83 : 0x81;
		ret[3] = 0x80;
		memset(ret + 6, 0, 6);
		address = query[end - 3] == TYPE_A      ? names[i].v4
			  : query[end - 3] == TYPE_AAAA ? names[i].v6
							: NULL;
		if (cut || !address)
			return end;
		ret[7] = 1;
		return end + put_record(ret + end, query[end - 3], address);
	}
	memcpy(ret, query, length);
	ret[2] = 0x81;
	ret[3] = 0x83;
	memset(ret + 6, 0, 6);
	return length;
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
	(void)snprintf(own_address, sizeof(own_address), "%s", address);
	if (fork() == 0)
		serve(udp, tcp);
	return 0;
}
