/* SPDX-License-Identifier: Apache-2.0 */
/* scp -f: send what the patterns name. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scp_wire.h"

enum { CHUNK = 128 * 1024 };

/* ---- patterns ---- */

static bool has_wildcard(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\\')
			i++;
		else if (strchr("*?[", text[i]))
			return true;
	}
	return false;
}

/* Without the backslashes. */
static void unquote(const char *text, size_t length, char *ret)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\\' && i + 1 < length)
			i++;
		*ret++ = text[i];
	}
	*ret = '\0';
}

/* "~" and "~/x": where the rest begins; NULL: no tilde. */
static const char *after_tilde(const char *pattern)
{
	return pattern[0] == '~' && (!pattern[1] || pattern[1] == '/') ? pattern + 1 : NULL;
}

static const char *home(void)
{
	const char *dir = getenv("HOME");

	return dir && *dir ? dir : "/";
}

bool scp_literal(const char *pattern, char ret[PATH_MAX])
{
	const char *rest = after_tilde(pattern);
	size_t n = rest ? strlen(home()) : 0;

	if (n + strlen(pattern) >= PATH_MAX)
		return false;
	memcpy(ret, home(), n);
	unquote(rest ? rest : pattern, strlen(rest ? rest : pattern), ret + n);
	if (!*ret)
		memcpy(ret, ".", 2);
	return true;
}

static size_t expand_part(struct scp *scp, const char *pattern, unsigned depth,
			  void (*fn)(struct scp *scp));

static size_t expand_names(struct scp *scp, const char *part, const char *rest, unsigned depth,
			   void (*fn)(struct scp *scp))
{
	size_t length = scp->path_length, found = 0;
	DIR *dir = opendir(length ? scp->path : ".");
	const struct dirent *entry;

	while (dir && !scp->gone && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fnmatch(part, entry->d_name, FNM_PERIOD) != 0)
			continue;
		if (scp_push(scp, entry->d_name))
			found += expand_part(scp, rest, depth + 1, fn);
		scp_pop(scp, length);
	}
	if (dir)
		(void)closedir(dir);
	return found;
}

/* The path holds what was resolved so far. */
static size_t expand_part(struct scp *scp, const char *pattern, unsigned depth,
			  void (*fn)(struct scp *scp))
{
	char part[PATH_MAX];
	size_t length, n, found;
	struct stat st;

	while (*pattern == '/')
		pattern++;
	if (!*pattern) {
		if (lstat(scp->path, &st) < 0)
			return 0;
		fn(scp);
		return 1;
	}
	n = strcspn(pattern, "/");
	if (depth >= SCP_DEPTH_MAX || n >= sizeof(part))
		return 0;
	if (has_wildcard(pattern, n)) {
		memcpy(part, pattern, n);
		part[n] = '\0';
		return expand_names(scp, part, pattern + n, depth, fn);
	}
	unquote(pattern, n, part);
	length = scp->path_length;
	found = scp_push(scp, part) ? expand_part(scp, pattern + n, depth + 1, fn) : 0;
	scp_pop(scp, length);
	return found;
}

size_t scp_expand(struct scp *scp, const char *pattern, void (*fn)(struct scp *scp))
{
	const char *rest = after_tilde(pattern);

	if (strlen(pattern) >= PATH_MAX)
		return 0;
	scp_pop(scp, 0);
	if (rest)
		(void)scp_push(scp, home());
	else if (*pattern == '/')
		(void)scp_push(scp, "/");
	return expand_part(scp, rest ? rest : pattern, 0, fn);
}

/* ---- sending ---- */

static bool send_line(struct scp *scp, char kind, unsigned mode, long long size)
{
	char line[SCP_LINE_MAX];
	const char *name = strrchr(scp->path, '/');
	int n = snprintf(line, sizeof(line), "%c%04o %lld %s\n", kind, mode, size,
			 name && name[1] ? name + 1 : scp->path);

	for (int i = 0; i < n - 1; i++)
		if (line[i] == '\n') { /* would end the line: such a name cannot be sent */
			scp_complain(scp, scp->path, EINVAL);
			return false;
		}
	return scp_put(scp, line, (size_t)n) && scp_answer(scp);
}

static bool send_times(struct scp *scp, const struct stat *st)
{
	char line[128];
	int n;

	if (!scp->times)
		return true;
	n = snprintf(line, sizeof(line), "T%lld 0 %lld 0\n", (long long)st->st_mtime,
		     (long long)st->st_atime);
	return scp_put(scp, line, (size_t)n) && scp_answer(scp);
}

/* The promised number of bytes, whatever becomes of the file meanwhile. */
static int send_data(struct scp *scp, int fd, off_t left)
{
	static char chunk[CHUNK];
	int failed = 0;

	while (left > 0 && !scp->gone) {
		size_t n = left < CHUNK ? (size_t)left : CHUNK;
		ssize_t got = failed ? 0 : read(fd, chunk, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			failed = failed ? failed : got < 0 ? errno : EIO;
			memset(chunk, 0, n);
			got = (ssize_t)n;
		}
		(void)scp_put(scp, chunk, (size_t)got);
		left -= got;
	}
	return failed;
}

static void send_file(struct scp *scp, int fd, const struct stat *st)
{
	int r;

	if (!send_times(scp, st) ||
	    !send_line(scp, 'C', st->st_mode & 07777, (long long)st->st_size))
		return;
	r = send_data(scp, fd, st->st_size);
	if (r)
		scp_complain(scp, scp->path, r);
	else
		scp_ok(scp);
	(void)scp_answer(scp);
}

static void send_path(struct scp *scp, unsigned depth);

static void send_directory(struct scp *scp, const struct stat *st, unsigned depth)
{
	size_t length = scp->path_length;
	const struct dirent *entry;
	DIR *dir;

	if (!scp->recursive || depth >= SCP_DEPTH_MAX) {
		scp_complain(scp, scp->path, scp->recursive ? ENAMETOOLONG : EISDIR);
		return;
	}
	dir = opendir(scp->path);
	if (!dir) {
		scp_complain(scp, scp->path, errno);
		return;
	}
	if (send_times(scp, st) && send_line(scp, 'D', st->st_mode & 07777, 0)) {
		while (!scp->gone && (entry = readdir(dir))) {
			if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
				continue;
			if (scp_push(scp, entry->d_name))
				send_path(scp, depth + 1);
			else
				scp_complain(scp, entry->d_name, ENAMETOOLONG);
			scp_pop(scp, length);
		}
		if (scp_put(scp, "E\n", 2))
			(void)scp_answer(scp);
	}
	(void)closedir(dir);
}

static void send_path(struct scp *scp, unsigned depth)
{
	int fd = open(scp->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		scp_complain(scp, scp->path, errno);
	} else if (S_ISREG(st.st_mode)) {
		send_file(scp, fd, &st);
	} else if (S_ISDIR(st.st_mode)) {
		(void)close(fd); /* one descriptor a level is enough */
		fd = -1;
		send_directory(scp, &st, depth);
	} else {
		scp_complain(scp, scp->path, EINVAL);
	}
	if (fd >= 0)
		(void)close(fd);
}

static void send_match(struct scp *scp)
{
	send_path(scp, 0);
}

void scp_send(struct scp *scp, const char *const *patterns)
{
	char path[PATH_MAX];

	if (!scp_answer(scp))
		return;
	for (; *patterns && !scp->gone; patterns++) {
		if (scp_expand(scp, *patterns, send_match))
			continue;
		if (scp_literal(*patterns, path))
			scp_complain(scp, path, ENOENT);
		else
			scp_complain(scp, "path", ENAMETOOLONG);
	}
}
