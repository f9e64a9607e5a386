/* SPDX-License-Identifier: Apache-2.0 */
/* The rows' little language: a table of operations, each of which gives a text. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "posix_files.h"

enum { WORDS = 6, TICK_NS = 15000000, TEXT = POSIX_TEXT_MAX };

struct step {
	char *word[WORDS]; /* [0] is the operation; missing ones are "" */
	char text[TEXT];   /* what it gives, if not "ok" */
	struct stat *marked;
};

/* 0, or -1 with errno */
typedef int (*step_fn)(struct step *s);

static int number_of(const char *word, int base)
{
	return (int)strtol(word, NULL, base);
}

static int tell(struct step *s, const char *format, long long value)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void)snprintf(s->text, sizeof(s->text), format, value);
#pragma GCC diagnostic pop
	return 0;
}

/* ---- files --------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int flag;
} flags[] = {
	{ "r", O_RDONLY },          { "w", O_WRONLY },          { "rw", O_RDWR },
	{ "creat", O_CREAT },       { "excl", O_EXCL },         { "trunc", O_TRUNC },
	{ "append", O_APPEND },     { "nofollow", O_NOFOLLOW }, { "directory", O_DIRECTORY },
	{ "nonblock", O_NONBLOCK }, { "path", O_PATH },         { "sync", O_SYNC },
	{ "noatime", O_NOATIME },   { "tmpfile", O_TMPFILE },
};

static int flags_of(char *words)
{
	int all = O_CLOEXEC;
	char *rest;

	for (char *word = strtok_r(words, "|", &rest); word; word = strtok_r(NULL, "|", &rest))
		for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
			if (strcmp(flags[i].name, word) == 0)
				all |= flags[i].flag;
	return all;
}

static int done_with(int fd)
{
	return fd < 0 ? -1 : close(fd);
}

static int do_open(struct step *s)
{
	mode_t mode = *s->word[3] ? (mode_t)number_of(s->word[3], 8) : 0644;

	return done_with(open(s->word[1], flags_of(s->word[2]), mode));
}

static int do_touch(struct step *s)
{
	mode_t mode = *s->word[2] ? (mode_t)number_of(s->word[2], 8) : 0644;

	return done_with(open(s->word[1], O_WRONLY | O_CREAT | O_CLOEXEC, mode));
}

static int put(struct step *s, int how)
{
	int fd = open(s->word[1], O_WRONLY | O_CLOEXEC | how);
	size_t length = strlen(s->word[2]);
	int r;

	if (fd < 0)
		return -1;
	r = write(fd, s->word[2], length) == (ssize_t)length ? 0 : -1;
	return close(fd) < 0 ? -1 : r;
}

static int do_write(struct step *s)
{
	return put(s, 0);
}

static int do_append(struct step *s)
{
	return put(s, O_APPEND);
}

static int do_read(struct step *s)
{
	int fd = open(s->word[1], O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, s->text, sizeof(s->text) - 1);
	if (n >= 0)
		s->text[n] = '\0';
	for (ssize_t i = 0; i < n; i++) /* zeroes are shown */
		if (!s->text[i])
			s->text[i] = '0';
	(void)close(fd);
	return n < 0 ? -1 : 0;
}

static int do_truncate(struct step *s)
{
	return truncate(s->word[1], strtoll(s->word[2], NULL, 0));
}

/* ftruncate FILE SIZE FLAGS */
static int do_ftruncate(struct step *s)
{
	int fd = open(s->word[1], flags_of(s->word[3])), r, number;

	if (fd < 0)
		return -1;
	r = ftruncate(fd, strtoll(s->word[2], NULL, 0));
	number = errno;
	(void)close(fd);
	errno = number;
	return r;
}

static int do_allocate(struct step *s)
{
	int fd = open(s->word[1], O_WRONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -1;
	r = fallocate(fd, 0, strtoll(s->word[2], NULL, 0), strtoll(s->word[3], NULL, 0));
	return close(fd) < 0 ? -1 : r;
}

/* ---- names --------------------------------------------------------------------------------------- */

static int do_mkdir(struct step *s)
{
	return mkdir(s->word[1], *s->word[2] ? (mode_t)number_of(s->word[2], 8) : 0755);
}

static int do_rmdir(struct step *s)
{
	return rmdir(s->word[1]);
}

static int do_unlink(struct step *s)
{
	return unlink(s->word[1]);
}

static int do_rename(struct step *s)
{
	return rename(s->word[1], s->word[2]);
}

static int do_noreplace(struct step *s)
{
	return renameat2(AT_FDCWD, s->word[1], AT_FDCWD, s->word[2], RENAME_NOREPLACE);
}

static int do_exchange(struct step *s)
{
	return renameat2(AT_FDCWD, s->word[1], AT_FDCWD, s->word[2], RENAME_EXCHANGE);
}

static int do_link(struct step *s)
{
	return link(s->word[1], s->word[2]);
}

static int do_symlink(struct step *s)
{
	return symlink(s->word[1], s->word[2]);
}

static int do_readlink(struct step *s)
{
	ssize_t n = readlink(s->word[1], s->text, sizeof(s->text) - 1);

	if (n >= 0)
		s->text[n] = '\0';
	return n < 0 ? -1 : 0;
}

static int name_filter(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int do_list(struct step *s)
{
	struct dirent **entries;
	int n = scandir(s->word[1], &entries, name_filter, alphasort);
	size_t at = 0;

	if (n < 0)
		return -1;
	(void)tell(s, n ? "" : "none", 0);
	for (int i = 0; i < n; i++) {
		at += (size_t)snprintf(s->text + at, at < TEXT ? TEXT - at : 0, "%s%s",
				       i ? "," : "", entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return 0;
}

static int do_mkfifo(struct step *s)
{
	return mkfifo(s->word[1], *s->word[2] ? (mode_t)number_of(s->word[2], 8) : 0644);
}

static int do_mkdev(struct step *s)
{
	mode_t type = strcmp(s->word[2], "block") == 0 ? S_IFBLK : S_IFCHR;

	return mknod(s->word[1], type | 0666, makedev(1, 3));
}

static int do_bind(struct step *s)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -1;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", s->word[1]);
	r = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	return close(fd) < 0 ? -1 : r;
}

/* ---- attributes ---------------------------------------------------------------------------------- */

static int do_chmod(struct step *s)
{
	return chmod(s->word[1], (mode_t)number_of(s->word[2], 8));
}

static int do_chown(struct step *s)
{
	return chown(s->word[1], (uid_t)number_of(s->word[2], 10),
		     (gid_t)number_of(s->word[3], 10));
}

static int do_lchown(struct step *s)
{
	return lchown(s->word[1], (uid_t)number_of(s->word[2], 10),
		      (gid_t)number_of(s->word[3], 10));
}

static struct timespec time_of(const char *word)
{
	struct timespec t = { 0 };
	char *dot;

	if (strcmp(word, "now") == 0)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (strcmp(word, "omit") == 0)
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	t.tv_sec = strtoll(word, &dot, 10);
	if (*dot == '.')
		t.tv_nsec = strtol(dot + 1, NULL, 10);
	return t;
}

static int do_times(struct step *s)
{
	struct timespec times[2] = { time_of(s->word[2]), time_of(s->word[3]) };

	return utimensat(AT_FDCWD, s->word[1], times, AT_SYMLINK_NOFOLLOW);
}

static const char *type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "link";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	default:
		return "device";
	}
}

/* type, mode, size, links, uid, gid, mtime, atime, rdev: of what a name is, links not followed */
static int do_attribute(struct step *s)
{
	const char *what = s->word[0];
	struct stat st;

	if (lstat(s->word[1], &st) < 0)
		return -1;
	if (strcmp(what, "type") == 0)
		return snprintf(s->text, TEXT, "%s", type_of(st.st_mode)) < 0;
	if (strcmp(what, "mode") == 0)
		return tell(s, "%llo", st.st_mode & 07777);
	if (strcmp(what, "mtime") == 0)
		return snprintf(s->text, TEXT, "%lld.%09ld", (long long)st.st_mtim.tv_sec,
				st.st_mtim.tv_nsec) < 0;
	if (strcmp(what, "atime") == 0)
		return snprintf(s->text, TEXT, "%lld.%09ld", (long long)st.st_atim.tv_sec,
				st.st_atim.tv_nsec) < 0;
	return tell(s, "%lld",
		    strcmp(what, "size") == 0    ? st.st_size
		    : strcmp(what, "links") == 0 ? (long long)st.st_nlink
		    : strcmp(what, "uid") == 0   ? (long long)st.st_uid
						 : (long long)st.st_gid);
}

static int do_stat(struct step *s)
{
	struct stat st;

	return stat(s->word[1], &st);
}

static int do_access(struct step *s)
{
	int mode = (strchr(s->word[2], 'r') ? R_OK : 0) | (strchr(s->word[2], 'w') ? W_OK : 0) |
		   (strchr(s->word[2], 'x') ? X_OK : 0);

	return access(s->word[1], mode);
}

/* Are two names the same file? */
static int do_same(struct step *s)
{
	struct stat a, b;

	if (lstat(s->word[1], &a) < 0 || lstat(s->word[2], &b) < 0)
		return -1;
	return tell(s, a.st_ino == b.st_ino && a.st_dev == b.st_dev ? "yes" : "no", 0);
}

/* Remember a file's times, and let the clock of files go on. */
static int do_mark(struct step *s)
{
	const struct timespec tick = { .tv_nsec = TICK_NS };

	if (lstat(s->word[1], s->marked) < 0)
		return -1;
	return nanosleep(&tick, NULL);
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/* Which of its times are later than then: "m", "c", "mc" or "none". */
static int do_changed(struct step *s)
{
	struct stat st;
	bool m, c;

	if (lstat(s->word[1], &st) < 0)
		return -1;
	m = is_later(&st.st_mtim, &s->marked->st_mtim);
	c = is_later(&st.st_ctim, &s->marked->st_ctim);
	return tell(s, m && c ? "mc" : m ? "m" : c ? "c" : "none", 0);
}

/* ---- extended attributes ------------------------------------------------------------------------- */

static int do_setxattr(struct step *s)
{
	int how = strcmp(s->word[4], "create") == 0    ? XATTR_CREATE
		  : strcmp(s->word[4], "replace") == 0 ? XATTR_REPLACE
						       : 0;

	return lsetxattr(s->word[1], s->word[2], s->word[3], strlen(s->word[3]), how);
}

static int do_getxattr(struct step *s)
{
	ssize_t n = lgetxattr(s->word[1], s->word[2], s->text, TEXT - 1);

	if (n >= 0)
		s->text[n] = '\0';
	return n < 0 ? -1 : 0;
}

static int do_removexattr(struct step *s)
{
	return lremovexattr(s->word[1], s->word[2]);
}

/* ---- running ------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	step_fn fn;
} ops[] = {
	{ "access", do_access },
	{ "allocate", do_allocate },
	{ "append", do_append },
	{ "atime", do_attribute },
	{ "bind", do_bind },
	{ "changed", do_changed },
	{ "chmod", do_chmod },
	{ "chown", do_chown },
	{ "exchange", do_exchange },
	{ "ftruncate", do_ftruncate },
	{ "getxattr", do_getxattr },
	{ "gid", do_attribute },
	{ "lchown", do_lchown },
	{ "link", do_link },
	{ "links", do_attribute },
	{ "list", do_list },
	{ "mark", do_mark },
	{ "mkdev", do_mkdev },
	{ "mkdir", do_mkdir },
	{ "mkfifo", do_mkfifo },
	{ "mode", do_attribute },
	{ "mtime", do_attribute },
	{ "noreplace", do_noreplace },
	{ "open", do_open },
	{ "read", do_read },
	{ "readlink", do_readlink },
	{ "removexattr", do_removexattr },
	{ "rename", do_rename },
	{ "rmdir", do_rmdir },
	{ "same", do_same },
	{ "setxattr", do_setxattr },
	{ "size", do_attribute },
	{ "stat", do_stat },
	{ "symlink", do_symlink },
	{ "times", do_times },
	{ "touch", do_touch },
	{ "truncate", do_truncate },
	{ "type", do_attribute },
	{ "uid", do_attribute },
	{ "unlink", do_unlink },
	{ "write", do_write },
};

static void act(struct step *s)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (strcmp(ops[i].name, s->word[0]) == 0) {
			(void)snprintf(s->text, TEXT, "ok");
			if (ops[i].fn(s) < 0)
				(void)snprintf(s->text, TEXT, "%s", strerrorname_np(errno));
			return;
		}
	(void)snprintf(s->text, TEXT, "no such operation");
}

/* By another user: in a child, which writes what it gave into a pipe. */
static void act_as_other(struct step *s)
{
	int ends[2], status;
	ssize_t n;
	pid_t pid;

	(void)snprintf(s->text, TEXT, "no child");
	if (pipe(ends) < 0 || (pid = fork()) < 0)
		return;
	if (pid == 0) {
		if (setgroups(0, NULL) == 0 && setgid(POSIX_OTHER) == 0 && setuid(POSIX_OTHER) == 0)
			act(s);
		_exit(write(ends[1], s->text, strlen(s->text)) < 0);
	}
	(void)close(ends[1]);
	n = read(ends[0], s->text, TEXT - 1);
	s->text[n < 0 ? 0 : n] = '\0';
	(void)close(ends[0]);
	(void)waitpid(pid, &status, 0);
}

/* {N}: N letters. */
static void expand(const char *from, char *to, size_t size)
{
	size_t at = 0;

	while (*from && at + 1 < size) {
		size_t n = 1;
		char c = *from++;
		char *end;

		if (c == '{') {
			n = strtoul(from, &end, 10);
			from = end + 1;
			c = 'n';
		}
		while (n-- && at + 1 < size)
			to[at++] = c;
	}
	to[at] = '\0';
}

static bool run_step(char *line, struct stat *marked, char *text, size_t size)
{
	static char none[] = "";
	struct step s = { .marked = marked };
	char *result = strstr(line, " = "), *rest, *word;
	const char *expected = result ? result + 3 : "ok";
	bool other = *line == '@';

	if (result)
		*result = '\0';
	for (size_t i = 0; i < WORDS; i++)
		s.word[i] = none;
	word = strtok_r(line + other, " ", &rest);
	for (size_t i = 0; i < WORDS && word; i++, word = strtok_r(NULL, " ", &rest))
		s.word[i] = strcmp(word, "''") == 0 ? none : word;
	if (other)
		act_as_other(&s);
	else
		act(&s);
	if (strcmp(s.text, strcmp(expected, "''") == 0 ? "" : expected) == 0)
		return true;
	(void)snprintf(text, size, "%s%s %.40s %.40s: %.80s, expected %.80s", other ? "@" : "",
		       s.word[0], s.word[1], s.word[2], s.text, expected);
	return false;
}

int posix_steps_run(const char *steps, char *text, size_t size)
{
	char all[4 * TEXT], *line = all, *next;
	struct stat marked = { 0 };

	expand(steps, all, sizeof(all));
	while (line) {
		next = strstr(line, "; ");
		if (next) {
			*next = '\0';
			next += 2;
		}
		if (!run_step(line, &marked, text, size))
			return 0;
		line = next;
	}
	return 1;
}
