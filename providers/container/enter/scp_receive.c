/* SPDX-License-Identifier: Apache-2.0 */
/* scp -t: files and directories that the other side sends. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scp_wire.h"

struct entry {
	mode_t mode;
	uint64_t size;
	bool timed;
	struct timespec times[2];
	const char *name;
};

struct level {
	size_t path_length; /* before its name was appended */
	bool made;          /* by us: its mode is set at the end */
	struct entry entry;
};

struct receive {
	struct scp *scp;
	struct level levels[SCP_DEPTH_MAX];
	size_t depth;
	bool target_is_dir;
	mode_t mask;
	struct entry next; /* times that came before it */
};

/* "C0644 123 name", "D0755 0 name" */
static bool parse_entry(const char *line, struct entry *entry)
{
	char *end;

	entry->mode = (mode_t)strtoul(line + 1, &end, 8) & 07777;
	if (end != line + 5 || *end != ' ' || end[1] < '0' || end[1] > '9')
		return false;
	errno = 0;
	entry->size = strtoull(end + 1, &end, 10);
	if (errno || *end != ' ' || entry->size > INT64_MAX)
		return false;
	entry->name = end + 1;
	return *entry->name && !strchr(entry->name, '/') && strcmp(entry->name, ".") != 0 &&
	       strcmp(entry->name, "..") != 0;
}

/* "T mtime 0 atime 0" */
static bool parse_times(const char *line, struct entry *entry)
{
	long long mtime, atime;
	unsigned long mus, aus;
	char rest;

	if (sscanf(line, "T%lld %lu %lld %lu%c", &mtime, &mus, &atime, &aus, &rest) != 4 ||
	    mus > 999999 || aus > 999999)
		return false;
	entry->timed = true;
	entry->times[0] = (struct timespec){ .tv_sec = atime, .tv_nsec = (long)aus * 1000 };
	entry->times[1] = (struct timespec){ .tv_sec = mtime, .tv_nsec = (long)mus * 1000 };
	return true;
}

static bool append_name(struct receive *receive, const char *name)
{
	if (receive->depth == 0 && !receive->target_is_dir)
		return true; /* the target is the name */
	return scp_push(receive->scp, name);
}

/* Take the bytes of a file, keeping the first error. */
static int take_data(struct scp *scp, int fd, uint64_t left)
{
	int failed = 0;

	while (left) {
		const char *data;
		size_t n = scp_get_some(scp, &data, left < SIZE_MAX ? (size_t)left : SIZE_MAX);

		if (!n)
			return failed ? failed : EPIPE;
		left -= n;
		while (n && !failed) {
			ssize_t w = write(fd, data, n);

			if (w < 0 && errno != EINTR)
				failed = errno;
			if (w > 0) {
				data += w;
				n -= (size_t)w;
			}
		}
	}
	return failed;
}

static int finish_file(const struct receive *receive, int fd, const struct entry *entry,
		       bool existed)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(fd, (off_t)entry->size) < 0)
		return errno;
	if ((receive->scp->times || (!existed && !(entry->mode & S_IWUSR))) &&
	    fchmod(fd, entry->mode) < 0)
		return errno;
	if (entry->timed && futimens(fd, entry->times) < 0)
		return errno;
	return 0;
}

static void take_file(struct receive *receive, const struct entry *entry)
{
	struct scp *scp = receive->scp;
	size_t length = scp->path_length;
	struct stat st;
	bool existed;
	int fd = -1, r;

	if (!append_name(receive, entry->name)) {
		scp_complain(scp, entry->name, ENAMETOOLONG);
		return;
	}
	existed = stat(scp->path, &st) == 0;
	fd = open(scp->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, entry->mode | S_IWUSR);
	if (fd < 0) {
		scp_complain(scp, scp->path, errno);
		scp_pop(scp, length);
		return;
	}
	scp_ok(scp);
	r = take_data(scp, fd, entry->size);
	if (!r)
		r = finish_file(receive, fd, entry, existed);
	if (close(fd) < 0 && !r)
		r = errno;
	(void)scp_answer(scp); /* could it read all of it? It wants an answer in either case */
	if (r)
		scp_complain(scp, scp->path, r);
	else
		scp_ok(scp);
	scp_pop(scp, length);
}

static void enter_directory(struct receive *receive, const struct entry *entry)
{
	struct level *level = &receive->levels[receive->depth];
	struct scp *scp = receive->scp;
	struct stat st;
	int r = 0;

	if (!scp->recursive || receive->depth == SCP_DEPTH_MAX) {
		scp_complain(scp, entry->name, scp->recursive ? ENAMETOOLONG : EINVAL);
		return;
	}
	*level = (struct level){ .path_length = scp->path_length, .entry = *entry };
	if (!append_name(receive, entry->name)) {
		scp_complain(scp, entry->name, ENAMETOOLONG);
		return;
	}
	if (stat(scp->path, &st) < 0) {
		level->made = true;
		if (mkdir(scp->path, entry->mode | S_IRWXU) < 0)
			r = errno;
	} else if (!S_ISDIR(st.st_mode)) {
		r = ENOTDIR;
	}
	if (r) {
		scp_complain(scp, scp->path, r);
		scp_pop(scp, level->path_length);
		return;
	}
	receive->depth++;
	scp_ok(scp);
}

static void leave_directory(struct receive *receive)
{
	struct level *level = &receive->levels[receive->depth - 1];
	struct scp *scp = receive->scp;
	int r = 0;

	if ((level->made || scp->times) && chmod(scp->path, level->entry.mode) < 0)
		r = errno;
	if (level->entry.timed && utimensat(AT_FDCWD, scp->path, level->entry.times, 0) < 0)
		r = errno;
	if (r)
		scp_complain(scp, scp->path, r);
	else
		scp_ok(scp);
	scp_pop(scp, level->path_length);
	receive->depth--;
}

static void take_entry(struct receive *receive, const char *line)
{
	struct entry entry = receive->next;

	receive->next.timed = false;
	if (!parse_entry(line, &entry)) {
		scp_complain(receive->scp, "unexpected message", EPROTO);
		receive->scp->gone = true;
		return;
	}
	if (!receive->scp->times)
		entry.mode &= ~receive->mask;
	if (*line == 'D')
		enter_directory(receive, &entry);
	else
		take_file(receive, &entry);
}

static void take_line(struct receive *receive, const char *line)
{
	switch (*line) {
	case 'C':
	case 'D':
		take_entry(receive, line);
		break;
	case 'E':
		if (receive->depth) {
			leave_directory(receive);
			break;
		}
		receive->scp->gone = true;
		break;
	case 'T':
		if (parse_times(line, &receive->next)) {
			scp_ok(receive->scp);
			break;
		}
		__attribute__((fallthrough));
	default:
		scp_complain(receive->scp, "unexpected message", EPROTO);
		receive->scp->gone = true;
		break;
	case 1:
	case 2: /* it could not send something */
		receive->scp->failed = true;
		break;
	}
}

void scp_receive(struct scp *scp, const char *target)
{
	static struct receive receive;
	char line[SCP_LINE_MAX];
	struct stat st;

	receive = (struct receive){ .scp = scp };
	receive.mask = umask(0);
	receive.target_is_dir = stat(target, &st) == 0 && S_ISDIR(st.st_mode);
	scp_pop(scp, 0);
	(void)scp_push(scp, target);
	if (scp->directory && !receive.target_is_dir) {
		scp_complain(scp, target, stat(target, &st) < 0 ? errno : ENOTDIR);
		return;
	}
	scp_ok(scp);
	while (!scp->gone && scp_get_line(scp, line))
		take_line(&receive, line);
}
