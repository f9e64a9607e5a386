/* SPDX-License-Identifier: Apache-2.0 */
/* Paths: the only place of the library with openat2, and path arithmetic by text. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "buf.h"
#include "file.h"

static int open_how(int root_fd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = (flags & (O_CREAT | O_TMPFILE)) ? mode : 0,
		.resolve = resolve,
	};
	long fd;

	do
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

int venv__open_in_root(int root_fd, const char *path, int flags, mode_t mode)
{
	return open_how(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int venv__open_beneath(int root_fd, const char *path, int flags, mode_t mode)
{
	while (*path == '/')
		path++;
	return open_how(root_fd, *path ? path : ".", flags, mode,
			RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

int venv__open_under(int root_fd, const char *path, int flags)
{
	return open_how(root_fd, *path ? path : ".", flags, 0,
			RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int venv__open_inside(const char *dir, const char *path, int flags)
{
	_cleanup_close_ int dir_fd = -1;
	const char *rest;
	int fd;

	if (!venv__path_below(path, dir, &rest)) {
		fd = open(path, flags | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	return venv__open_under(dir_fd, rest, flags);
}

/* Open one directory component below dir_fd, which lies in root_fd; make it when it is missing. */
static int step_into(int root_fd, const char *path, size_t length, mode_t mode)
{
	_cleanup_free_ char *prefix = strndup(path, length);
	_cleanup_free_ char *parent = NULL;
	_cleanup_close_ int parent_fd = -1;
	char *slash;
	int fd;

	if (!prefix)
		return -ENOMEM;
	fd = venv__open_in_root(root_fd, prefix, O_PATH | O_DIRECTORY, 0);
	if (fd != -ENOENT)
		return fd;
	slash = strrchr(prefix, '/');
	parent = slash ? strndup(prefix, (size_t)(slash - prefix)) : NULL;
	parent_fd = venv__open_in_root(root_fd, parent && *parent ? parent : "/",
				       O_PATH | O_DIRECTORY, 0);
	if (parent_fd < 0)
		return parent_fd;
	if (mkdirat(parent_fd, slash ? slash + 1 : prefix, mode) < 0 && errno != EEXIST)
		return -errno;
	return venv__open_beneath(parent_fd, slash ? slash + 1 : prefix, O_PATH | O_DIRECTORY, 0);
}

int venv__mkdir_in_root(int root_fd, const char *path, mode_t mode)
{
	_cleanup_close_ int fd = -1;
	size_t i = 0;

	while (path[i]) {
		size_t end;

		i += strspn(path + i, "/");
		if (!path[i])
			break;
		end = i + strcspn(path + i, "/");
		if (fd >= 0)
			(void)close(fd);
		fd = step_into(root_fd, path, end, mode);
		if (fd < 0)
			return fd;
		i = end;
	}
	if (fd < 0)
		return venv__open_in_root(root_fd, "/", O_PATH | O_DIRECTORY, 0);
	return take_fd(&fd);
}

char *venv__path_join(const char *dir, const char *name)
{
	char *ret = NULL;

	if (*name == '/')
		return strdup(name);
	if (asprintf(&ret, "%s%s%s", dir, *dir && dir[strlen(dir) - 1] == '/' ? "" : "/", name) < 0)
		return NULL;
	return ret;
}

static const char *home(void)
{
	const char *dir = getenv("HOME");
	const struct passwd *user;

	if (dir && *dir == '/')
		return dir;
	user = getpwuid(getuid());
	return user && user->pw_dir ? user->pw_dir : "/";
}

char *venv__path_home(const char *path)
{
	if (path[0] != '~' || (path[1] && path[1] != '/'))
		return strdup(path);
	if (!path[1])
		return strdup(home());
	return venv__path_join(home(), path + 2);
}

char *venv__path_clean(const char *path)
{
	char *out = malloc(strlen(path) + 2);
	size_t n = 0;

	if (!out)
		return NULL;
	while (*path) {
		size_t length;

		path += strspn(path, "/");
		length = strcspn(path, "/");
		if (!length)
			break;
		if (length == 2 && path[0] == '.' && path[1] == '.') {
			while (n && out[n - 1] != '/')
				n--;
			n -= n ? 1 : 0;
		} else if (length != 1 || path[0] != '.') {
			out[n++] = '/';
			memcpy(out + n, path, length);
			n += length;
		}
		path += length;
	}
	if (!n)
		out[n++] = '/';
	out[n] = '\0';
	return out;
}

bool venv__path_below(const char *path, const char *dir, const char **rest)
{
	size_t n = strcmp(dir, "/") == 0 ? 0 : strlen(dir);

	if (strncmp(path, dir, n) != 0 || (path[n] && path[n] != '/'))
		return false;
	if (rest)
		*rest = path + n + strspn(path + n, "/");
	return true;
}
