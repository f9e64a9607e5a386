/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

#include "../util/buf.h"
#include "unpack.h"

enum { LINKS_MAX = 40 };

/* The length of a valid UTF-8 sequence, or 0. */
static size_t sequence_length(const unsigned char *p)
{
	size_t n = p[0] < 0x80                   ? 1
		   : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
		   : (p[0] & 0xf0) == 0xe0       ? 3
		   : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
						 : 0;

	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return n;
}

char *venv__path_show(const char *path)
{
	const unsigned char *p = (const unsigned char *)path;
	struct buf text = { 0 };

	while (*p && text.length < 512) {
		size_t n = sequence_length(p);

		if (n)
			venv__buf_add(&text, p, n);
		else
			venv__buf_printf(&text, "\\x%02x", *p);
		p += n ? n : 1;
	}
	if (*p)
		venv__buf_puts(&text, "…");
	return venv__buf_steal(&text);
}

int venv__entry_fail(venv_error **err, int code, int number, const char *path, const char *format,
		     ...)
{
	_cleanup_free_ char *shown = venv__path_show(path);
	_cleanup_free_ char *message = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&message, format, args);
	va_end(args);
	if (n < 0 || !shown) {
		message = NULL;
		return venv__fail_nomem(err);
	}
	if (number)
		return venv__fail_errno(err, number, "'%s': %s", shown, message);
	return venv__fail(err, code, "'%s': %s", shown, message);
}

static int add_component(struct buf *clean, const char *start, size_t length, const char *path,
			 venv_error **err)
{
	if (length == 2 && !memcmp(start, "..", 2))
		return venv__entry_fail(err, VENV_ERR_BOX, 0, path,
					"a name with '..' is not allowed");
	if (length > NAME_MAX)
		return venv__entry_fail(err, VENV_ERR_BOX, 0, path,
					"a name is longer than %d bytes", NAME_MAX);
	if (clean->length)
		venv__buf_puts(clean, "/");
	venv__buf_add(clean, start, length);
	return 0;
}

int venv__path_entry(const char *path, unsigned depth, char **ret, venv_error **err)
{
	_cleanup_buf_ struct buf clean = { 0 };
	const char *p = path;
	unsigned n = 0;
	int r;

	if (strnlen(path, PATH_MAX + 1) > PATH_MAX)
		return venv__entry_fail(err, VENV_ERR_BOX, 0, path,
					"the name is longer than %d bytes", PATH_MAX);
	while (*p) {
		size_t length = strcspn(p, "/");

		if (length && !(length == 1 && *p == '.')) {
			if (++n > depth)
				return venv__entry_fail(err, VENV_ERR_BOX, 0, path,
							"more than %u directories deep", depth);
			r = add_component(&clean, p, length, path, err);
			if (r < 0)
				return r;
		}
		p += length;
		p += strspn(p, "/");
	}
	*ret = venv__buf_steal(&clean);
	return *ret ? 0 : venv__fail_nomem(err);
}

int venv__open_strict(int root_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Theory of operation: `done` is a path without links that was seen to be a directory; `rest` is what
 * is still to be followed. A link's target is put before the rest; ".." cuts the path done by text,
 * which is right because it has no links. */
struct resolve {
	int root_fd;
	char *done;
	char *rest;
	unsigned links;
	made_fn made;
	void *user;
};

static int replace_text(char **text, const char *format, const char *a, const char *b)
{
	char *joined;

	if (strlen(a) + strlen(b) > 2UL * PATH_MAX)
		return -ENAMETOOLONG;
		/* both formats are literals of this file */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	if (asprintf(&joined, format, a, b) < 0)
		return -ENOMEM;
#pragma GCC diagnostic pop
	free(*text);
	*text = joined;
	return 0;
}

static int follow(struct resolve *s, int dir_fd, const char *name)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir_fd, name, target, sizeof(target) - 1);
	int r;

	if (n < 0)
		return -errno;
	if (++s->links > LINKS_MAX)
		return -ELOOP;
	target[n] = '\0';
	r = replace_text(&s->rest, "%s/%s", target, s->rest);
	if (r == 0 && target[0] == '/')
		s->done[0] = '\0';
	return r;
}

static int step(struct resolve *s, const char *name)
{
	_cleanup_close_ int dir_fd = venv__open_strict(s->root_fd, s->done, O_PATH | O_DIRECTORY);
	_cleanup_free_ char *path = NULL;
	struct stat st;
	int r;

	if (dir_fd < 0)
		return dir_fd;
	r = replace_text(&path, *s->done ? "%s/%s" : "%s%s", s->done, name);
	if (r < 0)
		return r;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT || !s->made)
			return -errno;
		if (mkdirat(dir_fd, name, 0755) < 0)
			return -errno;
		r = s->made(s->user, path);
		if (r < 0)
			return r;
	} else if (S_ISLNK(st.st_mode)) {
		return follow(s, dir_fd, name);
	} else if (!S_ISDIR(st.st_mode)) {
		return -ENOTDIR;
	}
	free(s->done);
	s->done = take_ptr(path);
	return 0;
}

static int next_step(struct resolve *s)
{
	_cleanup_free_ char *name = NULL;
	size_t skip = strspn(s->rest, "/"), length = strcspn(s->rest + skip, "/");
	char *cut;

	name = strndup(s->rest + skip, length);
	if (!name)
		return -ENOMEM;
	memmove(s->rest, s->rest + skip + length, strlen(s->rest + skip + length) + 1);
	if (!*name || !strcmp(name, "."))
		return 0;
	if (strcmp(name, "..") != 0)
		return step(s, name);
	cut = strrchr(s->done, '/');
	*(cut ? cut : s->done) = '\0';
	return 0;
}

int venv__path_resolve(int root_fd, const char *path, made_fn made, void *user, char **ret)
{
	struct resolve s = { .root_fd = root_fd,
			     .done = strdup(""),
			     .rest = strdup(path),
			     .made = made,
			     .user = user };
	int r = s.done && s.rest ? 0 : -ENOMEM;

	while (r == 0 && *s.rest)
		r = next_step(&s);
	if (r == 0)
		*ret = take_ptr(s.done);
	free(s.done);
	free(s.rest);
	return r;
}
