/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "resolver.h"

#define RESOLV_CONF "/etc/resolv.conf"

enum { DNS_PORT = 53 };

static void add_server(struct resolver *resolver, const char *text)
{
	struct server *server = &resolver->servers[resolver->n_servers];
	struct sockaddr_in *v4 = (struct sockaddr_in *)&server->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&server->address;

	if (resolver->n_servers == SERVERS_MAX)
		return;
	*server = (struct server){ 0 };
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(DNS_PORT);
		server->length = sizeof(*v4);
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(DNS_PORT);
		server->length = sizeof(*v6);
	} else {
		return;
	}
	resolver->n_servers++;
}

static void read_line(struct resolver *resolver, char *line)
{
	static const char word[] = "nameserver";
	char *text = line + sizeof(word) - 1;

	if (strncmp(line, word, sizeof(word) - 1) != 0 || !isblank((unsigned char)*text))
		return;
	text += strspn(text, " \t");
	text[strcspn(text, " \t\r\n#;")] = '\0';
	add_server(resolver, text);
}

void venv__servers_refresh(struct resolver *resolver)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_fclose_ FILE *file = NULL;
	size_t size = 0;
	struct stat now = { 0 };

	if (stat(RESOLV_CONF, &now) == 0 && resolver->n_servers &&
	    now.st_ino == resolver->seen.st_ino && now.st_dev == resolver->seen.st_dev &&
	    now.st_size == resolver->seen.st_size &&
	    now.st_mtim.tv_sec == resolver->seen.st_mtim.tv_sec &&
	    now.st_mtim.tv_nsec == resolver->seen.st_mtim.tv_nsec)
		return;
	resolver->seen = now;
	resolver->n_servers = 0;
	file = fopen(RESOLV_CONF, "re");
	while (file && getline(&line, &size, file) > 0)
		read_line(resolver, line);
	if (!resolver->n_servers)
		add_server(resolver, "127.0.0.1"); /* as libc does */
}

int venv__servers_connect(const struct resolver *resolver, unsigned n, int type)
{
	const struct server *server = &resolver->servers[n % resolver->n_servers];
	_cleanup_close_ int fd =
		socket(server->address.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&server->address, server->length) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return take_fd(&fd);
}
