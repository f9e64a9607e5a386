/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "util/cleanup.h"

enum { TYPE_A = 1, TYPE_AAAA = 28, FILE_MAX = 65536, WAIT_MS = 3000, TRIES = 2 };

static void put4(struct sockaddr_storage *to, const void *address)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	memcpy(&in.sin_addr, address, sizeof(in.sin_addr));
	memset(to, 0, sizeof(*to));
	memcpy(to, &in, sizeof(in));
}

static void put6(struct sockaddr_storage *to, const void *address)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	memcpy(&in6.sin6_addr, address, sizeof(in6.sin6_addr));
	memset(to, 0, sizeof(*to));
	memcpy(to, &in6, sizeof(in6));
}

static bool put_number(struct sockaddr_storage *to, const char *text)
{
	unsigned char bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		put4(to, bytes);
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		put6(to, bytes);
	else
		return false;
	return true;
}

size_t enter_names_in_hosts(char *text, const char *host, struct sockaddr_storage ret[NAMES_MAX])
{
	char *line, *save = NULL;
	size_t n = 0;

	for (line = strtok_r(text, "\n", &save); line && n < NAMES_MAX;
	     line = strtok_r(NULL, "\n", &save)) {
		char *word, *inner = NULL, *address;

		line[strcspn(line, "#")] = '\0';
		address = strtok_r(line, " \t\r", &inner);
		while (address && (word = strtok_r(NULL, " \t\r", &inner))) {
			if (strcasecmp(word, host) == 0 && put_number(&ret[n], address)) {
				n++;
				break;
			}
		}
	}
	return n;
}

/* The file of the machine as text, at most FILE_MAX bytes of it. */
static char *read_text(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char *text = fd < 0 ? NULL : malloc(FILE_MAX + 1);
	ssize_t n = text ? read(fd, text, FILE_MAX) : 0;

	if (text)
		text[n > 0 ? n : 0] = '\0';
	return text;
}

size_t enter_names_query(const char *host, unsigned type, unsigned id, unsigned char ret[DNS_MAX])
{
	static const unsigned char rest[] = { 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 }; /* one question */
	size_t n = 0, length = strlen(host);

	if (!length || length > 253)
		return 0;
	ret[n++] = (unsigned char)(id >> 8);
	ret[n++] = (unsigned char)id;
	memcpy(ret + n, rest, sizeof(rest));
	n += sizeof(rest);
	while (*host) {
		size_t label = strcspn(host, ".");

		if (!label || label > 63)
			return 0;
		ret[n++] = (unsigned char)label;
		memcpy(ret + n, host, label);
		n += label;
		host += label + (host[label] == '.');
	}
	ret[n++] = 0;
	ret[n++] = 0;
	ret[n++] = (unsigned char)type;
	ret[n++] = 0;
	ret[n++] = 1;
	return n;
}

/* Behind a name; 0 when it leaves the packet. Pointers end a name, they are not followed. */
static size_t skip_name(const unsigned char *packet, size_t length, size_t at)
{
	while (at < length) {
		unsigned char c = packet[at];

		if (c == 0)
			return at + 1;
		if ((c & 0xc0) == 0xc0)
			return at + 2 <= length ? at + 2 : 0;
		if (c & 0xc0)
			return 0;
		at += 1U + c;
	}
	return 0;
}

static unsigned get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

size_t enter_names_answer(const unsigned char *packet, size_t length, unsigned id,
			  struct sockaddr_storage *ret, size_t max)
{
	size_t at = 12, n = 0;
	unsigned answers;

	if (length < 12 || get16(packet) != id || !(packet[2] & 0x80) || (packet[3] & 0x0f) ||
	    get16(packet + 4) != 1)
		return 0;
	answers = get16(packet + 6);
	at = skip_name(packet, length, at);
	if (!at || at + 4 > length)
		return 0;
	at += 4;
	while (answers-- && n < max) {
		unsigned type, size;

		at = skip_name(packet, length, at);
		if (!at || at + 10 > length)
			return n;
		type = get16(packet + at);
		size = get16(packet + at + 8);
		at += 10;
		if (at + size > length)
			return n;
		if (type == TYPE_A && size == 4)
			put4(&ret[n++], packet + at);
		else if (type == TYPE_AAAA && size == 16)
			put6(&ret[n++], packet + at);
		at += size;
	}
	return n;
}

static size_t ask(const struct sockaddr_storage *server, const char *host, unsigned type,
		  struct sockaddr_storage *ret, size_t max)
{
	socklen_t size = server->ss_family == AF_INET ? sizeof(struct sockaddr_in)
						      : sizeof(struct sockaddr_in6);
	_cleanup_close_ int fd = socket(server->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned char packet[DNS_MAX];
	uint16_t id = 0;
	size_t length;

	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return 0;
	length = enter_names_query(host, type, id, packet);
	if (!length || fd < 0 || connect(fd, (const struct sockaddr *)server, size) < 0)
		return 0;
	for (int i = 0; i < TRIES; i++) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (send(fd, packet, length, MSG_NOSIGNAL) < 0 || poll(&wait, 1, WAIT_MS) <= 0)
			continue;
		n = recv(fd, packet, sizeof(packet), 0);
		return n > 0 ? enter_names_answer(packet, (size_t)n, id, ret, max) : 0;
	}
	return 0;
}

static size_t ask_server(const char *host, struct sockaddr_storage ret[NAMES_MAX])
{
	_cleanup_free_ char *text = read_text("/etc/resolv.conf");
	struct sockaddr_storage server;
	char *line, *save = NULL;
	size_t n;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *inner = NULL, *word = strtok_r(line, " \t", &inner);
		const char *address = strtok_r(NULL, " \t\r", &inner);

		if (!word || strcmp(word, "nameserver") != 0 || !address ||
		    !put_number(&server, address))
			continue;
		if (server.ss_family == AF_INET)
			((struct sockaddr_in *)&server)->sin_port = htons(53);
		else
			((struct sockaddr_in6 *)&server)->sin6_port = htons(53);
		n = ask(&server, host, TYPE_A, ret, NAMES_MAX);
		n += ask(&server, host, TYPE_AAAA, ret + n, NAMES_MAX - n);
		if (n)
			return n;
	}
	return 0;
}

size_t enter_names_find(const char *host, struct sockaddr_storage ret[NAMES_MAX])
{
	_cleanup_free_ char *hosts = NULL;
	size_t n;

	if (put_number(&ret[0], host))
		return 1;
	hosts = read_text("/etc/hosts");
	n = hosts ? enter_names_in_hosts(hosts, host, ret) : 0;
	if (n)
		return n;
	if (strcasecmp(host, "localhost") == 0)
		return (size_t)put_number(&ret[0], "127.0.0.1") +
		       (size_t)put_number(&ret[1], "::1");
	return ask_server(host, ret);
}
