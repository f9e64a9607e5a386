/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server of the old scp protocol, for "scp -O" and older clients, in machines that need not
 * have an scp of their own. Paths are shell patterns: what was quoted has a backslash before it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "enter.h"
#include "scp_wire.h"

enum { BUFFER_SIZE = 128 * 1024 };

static char buffer[BUFFER_SIZE];
static size_t buffer_start, buffer_length;

size_t scp_get_some(struct scp *scp, const char **ret, size_t size)
{
	size_t n;

	while (!buffer_length && !scp->gone) {
		ssize_t got = read(STDIN_FILENO, buffer, sizeof(buffer));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			scp->gone = true;
		else
			buffer_length = (size_t)got;
		buffer_start = 0;
	}
	n = size < buffer_length ? size : buffer_length;
	*ret = buffer + buffer_start;
	buffer_start += n;
	buffer_length -= n;
	return n;
}

bool scp_get(struct scp *scp, char *ret)
{
	const char *byte;

	if (!scp_get_some(scp, &byte, 1))
		return false;
	*ret = *byte;
	return true;
}

bool scp_get_line(struct scp *scp, char line[SCP_LINE_MAX])
{
	size_t n = 0;
	char c;

	while (scp_get(scp, &c)) {
		if (c == '\n') {
			line[n] = '\0';
			return true;
		}
		if (c == '\0' || n + 1 == SCP_LINE_MAX)
			break;
		line[n++] = c;
	}
	scp->gone = true; /* nothing that follows could be understood */
	return false;
}

bool scp_put(struct scp *scp, const void *data, size_t length)
{
	for (size_t done = 0; done < length && !scp->gone;) {
		ssize_t n = write(STDOUT_FILENO, (const char *)data + done, length - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			scp->gone = true;
	}
	return !scp->gone;
}

void scp_ok(struct scp *scp)
{
	(void)scp_put(scp, "", 1);
}

void scp_complain(struct scp *scp, const char *path, int number)
{
	char line[PATH_MAX + 128];
	int n = snprintf(line, sizeof(line) - 1, "\001scp: %s: %s", path, strerror(number));

	if (n < 0)
		return;
	n = n < (int)sizeof(line) - 1 ? n : (int)sizeof(line) - 2;
	for (int i = 1; i < n; i++)
		if (line[i] == '\n')
			line[i] = '?';
	line[n] = '\n';
	scp->failed = true;
	(void)scp_put(scp, line, (size_t)n + 1);
}

bool scp_answer(struct scp *scp)
{
	char line[SCP_LINE_MAX], c;

	if (!scp_get(scp, &c))
		return false;
	if (c == 0)
		return true;
	scp->failed = true;
	if (c == 1 || c == 2)
		(void)scp_get_line(scp, line); /* its user has seen it */
	if (c != 1)
		scp->gone = true;
	return false;
}

bool scp_push(struct scp *scp, const char *name)
{
	size_t n = strlen(name);
	bool slash = scp->path_length && scp->path[scp->path_length - 1] != '/';

	if (scp->path_length + slash + n >= PATH_MAX)
		return false;
	if (slash)
		scp->path[scp->path_length++] = '/';
	memcpy(scp->path + scp->path_length, name, n + 1);
	scp->path_length += n;
	return true;
}

void scp_pop(struct scp *scp, size_t length)
{
	scp->path_length = length;
	scp->path[length] = '\0';
}

static bool read_option(struct scp *scp, const char *letters)
{
	for (; *letters; letters++) {
		if (*letters == 'r')
			scp->recursive = true;
		else if (*letters == 'p')
			scp->times = true;
		else if (*letters == 'd')
			scp->directory = true;
		else if (*letters == 't')
			scp->to = true;
		else if (*letters == 'f')
			scp->from = true;
		else if (*letters != 'v' && *letters != 'q')
			return false;
	}
	return true;
}

int enter_scp(int argc, char **argv)
{
	static struct scp scp;
	char target[PATH_MAX];
	int i = 1;

	(void)signal(SIGPIPE, SIG_IGN);
	for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		if (!read_option(&scp, argv[i] + 1))
			return enter_complain("unknown option", argv[i], EINVAL);
	}
	if (scp.to == scp.from || i == argc || (scp.to && i + 1 != argc))
		return enter_complain("needs -t or -f and a path", "scp", EINVAL);
	if (scp.from)
		scp_send(&scp, (const char *const *)argv + i);
	else if (scp_literal(argv[i], target))
		scp_receive(&scp, target);
	else
		scp_complain(&scp, argv[i], ENAMETOOLONG);
	return scp.failed ? 1 : 0;
}
