/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets made inside the machine for ssh's forwardings, handed out over descriptor 3. */
#include "enter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../setup/report.h"
#include "names.h"
#include "util/cleanup.h"

static int answer(int number, int fd, int64_t value, const char *what)
{
	struct record record = { .kind = number ? RECORD_ERROR : RECORD_READY,
				 .number = number,
				 .value = { value, 0 } };

	(void)snprintf(record.what, sizeof(record.what), "%s", what);
	if (setup_record_send(ENTER_SOCKET_FD, &record, &fd, fd >= 0 ? 1 : 0) < 0)
		return ENTER_FAILED;
	return number ? ENTER_FAILED : 0;
}

static socklen_t address_length(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					      : sizeof(struct sockaddr_in);
}

static bool parse_port(const char *text, uint16_t *ret)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || value > 65535)
		return false;
	*ret = (uint16_t)value;
	return true;
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)address)->sin_port = htons(port);
}

/* both families have it at the same place */
static uint16_t port_of(const struct sockaddr_storage *address)
{
	struct sockaddr_in in;

	memcpy(&in, address, sizeof(in));
	return ntohs(in.sin_port);
}

int enter_dial(const char *host, const char *port_text)
{
	struct sockaddr_storage addresses[NAMES_MAX];
	int number = EADDRNOTAVAIL;
	uint16_t port;
	size_t n;

	if (!parse_port(port_text, &port))
		return answer(EINVAL, -1, 0, "port");
	n = enter_names_find(host, addresses);
	if (!n)
		return answer(ENOENT, -1, 0, host);
	for (size_t i = 0; i < n; i++) {
		_cleanup_close_ int fd =
			socket(addresses[i].ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

		set_port(&addresses[i], port);
		if (fd >= 0 && connect(fd, (const struct sockaddr *)&addresses[i],
				       address_length(&addresses[i])) == 0)
			return answer(0, fd, 0, "");
		number = errno;
	}
	return answer(number, -1, 0, host);
}

static int unix_address(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (path[0] != '/' || strlen(path) >= sizeof(ret->sun_path))
		return -EINVAL;
	memcpy(ret->sun_path, path, strlen(path) + 1);
	return 0;
}

int enter_dial_path(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	int r = unix_address(path, &address);

	if (r == 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		r = -errno;
	return r < 0 ? answer(-r, -1, 0, path) : answer(0, fd, 0, "");
}

/* "" and "*" listen on every address of the machine, as ssh's -R says it. */
static size_t listen_addresses(const char *host, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT };

	if (*host && strcmp(host, "*") != 0)
		return enter_names_find(host, ret);
	memset(&ret[0], 0, sizeof(ret[0]));
	memcpy(&ret[0], &any, sizeof(any));
	memset(&ret[1], 0, sizeof(ret[1]));
	ret[1].ss_family = AF_INET;
	return 2;
}

int enter_listen(const char *host, const char *port_text)
{
	struct sockaddr_storage addresses[NAMES_MAX];
	int number = EADDRNOTAVAIL, yes = 1;
	uint16_t port;
	size_t n;

	if (!parse_port(port_text, &port))
		return answer(EINVAL, -1, 0, "port");
	n = listen_addresses(host, addresses);
	if (!n)
		return answer(ENOENT, -1, 0, host);
	for (size_t i = 0; i < n; i++) {
		_cleanup_close_ int fd =
			socket(addresses[i].ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct sockaddr_storage bound = { 0 };
		socklen_t length = sizeof(bound);

		set_port(&addresses[i], port);
		if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
		    bind(fd, (const struct sockaddr *)&addresses[i],
			 address_length(&addresses[i])) == 0 &&
		    listen(fd, 64) == 0 && getsockname(fd, (struct sockaddr *)&bound, &length) == 0)
			return answer(0, fd, port_of(&bound), "");
		number = errno;
	}
	return answer(number, -1, 0, host);
}

static const char agent_prefix[] = "/tmp/venv-agent-";

/* Its user may have put a link in the directory's place. */
int enter_unlisten_agent(const char *path)
{
	const char *end = strrchr(path, '/');
	_cleanup_free_ char *directory = NULL;
	_cleanup_close_ int fd = -1;

	if (strncmp(path, agent_prefix, sizeof(agent_prefix) - 1) != 0 || strstr(path, "..") ||
	    !end)
		return ENTER_FAILED;
	directory = strndup(path, (size_t)(end - path));
	fd = directory ? open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (fd < 0 || unlinkat(fd, end + 1, 0) < 0)
		return ENTER_FAILED;
	return rmdir(directory) < 0 ? ENTER_FAILED : 0;
}

/* Runs as guest root; the directory and the socket are given to the user, and to nobody else. */
int enter_listen_agent(const struct account *account)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char directory[] = "/tmp/venv-agent-XXXXXX", path[64];
	struct sockaddr_un address;

	if (fd < 0 || !mkdtemp(directory))
		return answer(errno, -1, 0, "/tmp");
	(void)snprintf(path, sizeof(path), "%s/agent", directory);
	if (unix_address(path, &address) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		return answer(errno, -1, 0, path);
	if (lchown(path, account->uid, account->gid) < 0 || chmod(path, 0600) < 0 ||
	    lchown(directory, account->uid, account->gid) < 0)
		return answer(errno, -1, 0, path);
	return answer(0, fd, 0, path);
}
