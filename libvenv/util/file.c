/* SPDX-License-Identifier: Apache-2.0 */
#include "file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "buf.h"
#include "sys.h"

int venv__fd_read(int fd, const char *name, size_t max, char **ret, size_t *ret_length,
		  venv_error **err)
{
	_cleanup_buf_ struct buf text = { 0 };
	char chunk[16384];
	char *data;

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return venv__fail_errno(err, errno, "cannot read '%s'", name);
		if (n == 0)
			break;
		venv__buf_add(&text, chunk, (size_t)n);
		if (text.length > max)
			return venv__fail(err, VENV_ERR_INVALID, "'%s' is larger than %zu bytes",
					  name, max);
	}
	if (ret_length)
		*ret_length = text.length;
	data = venv__buf_steal(&text);
	if (!data)
		return venv__fail_nomem(err);
	*ret = data;
	return 0;
}

int venv__file_read(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_length,
		    venv_error **err)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open '%s'", name);
	return venv__fd_read(fd, name, max, ret, ret_length, err);
}

int venv__write_all(int fd, const void *data, size_t length)
{
	const char *p = data;

	while (length) {
		ssize_t n = write(fd, p, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		length -= (size_t)n;
	}
	return 0;
}

static int write_temporary(int dir_fd, const char *temporary, const void *data, size_t length,
			   mode_t mode, enum write_mode how)
{
	_cleanup_close_ int fd = openat(dir_fd, temporary,
					O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	int r;

	if (fd < 0)
		return -errno;
	r = venv__write_all(fd, data, length);
	if (r == 0 && how == WRITE_DURABLE && fsync(fd) < 0)
		r = -errno;
	return r;
}

int venv__file_write(int dir_fd, const char *name, const void *data, size_t length, mode_t mode,
		     enum write_mode how, venv_error **err)
{
	_cleanup_free_ char *temporary = NULL;
	char id[33];
	int r;

	if (venv__random_id(id) < 0 || asprintf(&temporary, ".%s.%.8s.tmp", name, id) < 0) {
		temporary = NULL;
		return venv__fail_nomem(err);
	}
	r = write_temporary(dir_fd, temporary, data, length, mode, how);
	if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dir_fd, temporary, 0);
		return venv__fail_errno(err, -r, "cannot write '%s'", name);
	}
	if (how == WRITE_DURABLE) {
		_cleanup_close_ int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 || fsync(fd) < 0)
			return venv__fail_errno(err, errno, "cannot write '%s' to disk", name);
	}
	return 0;
}

/* ".NAME.XXXXXXXX.tmp" */
static bool is_temporary(const char *entry, const char *name)
{
	static const char end[] = ".XXXXXXXX.tmp";
	size_t length = strlen(entry), least = strlen(end) + 1 + (name ? strlen(name) : 1);

	if (*entry != '.' || length < least || strcmp(entry + length - 4, ".tmp") != 0 ||
	    entry[length - strlen(end)] != '.' ||
	    strspn(entry + length - strlen(end) + 1, "0123456789abcdef") != 8)
		return false;
	return !name || (length == least && strncmp(entry + 1, name, strlen(name)) == 0);
}

void venv__file_sweep(int dir_fd, const char *name)
{
	_cleanup_strv_ char **entries = NULL;

	if (venv__dir_list(dir_fd, &entries, NULL) < 0)
		return;
	for (char **entry = entries; *entry; entry++)
		if (is_temporary(*entry, name))
			(void)unlinkat(dir_fd, *entry, 0);
}

static int make_parents(char *path)
{
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST) {
			int saved = errno;
			struct stat st;

			/* a read-only parent that is there answers EROFS, an automounted one EACCES */
			if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
				*p = '/';
				return -saved;
			}
		}
		*p = '/';
	}
	return 0;
}

int venv__dir_make(const char *path, int *ret_fd, venv_error **err)
{
	_cleanup_free_ char *copy = strdup(path);
	int r, fd;

	if (!copy)
		return venv__fail_nomem(err);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		r = make_parents(copy);
		if (r == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
			r = -errno;
		if (r < 0)
			return venv__fail_errno(err, -r, "cannot make the directory '%s'", path);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open the directory '%s'", path);
	*ret_fd = fd;
	return 0;
}

int venv__dir_make_at(int dir_fd, const char *name, mode_t mode, int *ret_fd, venv_error **err)
{
	int fd;

	if (mkdirat(dir_fd, name, mode) < 0 && errno != EEXIST)
		return venv__fail_errno(err, errno, "cannot make the directory '%s'", name);
	if (!ret_fd)
		return 0;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open the directory '%s'", name);
	*ret_fd = fd;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static DIR *open_directory(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir;

	if (fd < 0)
		return NULL;
	dir = fdopendir(fd);
	if (!dir)
		(void)close(fd);
	return dir;
}

static const struct dirent *next_entry(DIR *dir)
{
	const struct dirent *entry;

	do {
		errno = 0;
		entry = readdir(dir);
	} while (entry && (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")));
	return entry;
}

int venv__dir_list(int dir_fd, char ***ret, venv_error **err)
{
	_cleanup_closedir_ DIR *dir = open_directory(dir_fd, ".");
	_cleanup_strv_ char **names = calloc(1, sizeof(char *));
	const struct dirent *entry;
	size_t n = 0, capacity = 1;

	if (!dir)
		return venv__fail_errno(err, errno, "cannot list a directory");
	while (names && (entry = next_entry(dir))) {
		if (n + 1 >= capacity) {
			char **grown = realloc(names, capacity * 2 * sizeof(char *));

			if (!grown)
				return venv__fail_nomem(err);
			names = grown;
			capacity *= 2;
		}
		names[n] = strdup(entry->d_name);
		if (!names[n])
			return venv__fail_nomem(err);
		names[++n] = NULL;
	}
	if (!names)
		return venv__fail_nomem(err);
	qsort(names, n, sizeof(char *), compare_names);
	*ret = take_ptr(names);
	return 0;
}

/*
 * Theory of operation: the tree is flattened instead of descended into. Each directory's entries that
 * are directories themselves and not empty are moved up, next to the top, under names of our own; so
 * any depth needs one descriptor and no stack. Others may be removing the same tree (each `destroy`
 * empties the trash): what is gone already is as good as removed.
 */
static void make_writable(int dir_fd, const char *name)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && chmod(path, 0700) < 0)
		return; /* not ours: what follows fails by itself then */
}

static int delete_entry(int top_fd, int dir_fd, const char *name, unsigned *serial, bool *again)
{
	char moved[48];

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	*again = true;
	if (dir_fd == top_fd)
		return 0;
	/* moving a directory changes its "..": it must be writable to us */
	make_writable(dir_fd, name);
	do {
		(void)snprintf(moved, sizeof(moved), ".venv-delete.%u", (*serial)++);
		if (faccessat(top_fd, moved, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			errno = EEXIST;
		else if (renameat(dir_fd, name, top_fd, moved) == 0 || errno == ENOENT)
			return 0;
	} while (errno == EEXIST || errno == ENOTEMPTY);
	return -errno;
}

static int empty_directory(int top_fd, const char *name, unsigned *serial, bool *again)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;
	int r = 0;

	make_writable(top_fd, name);
	dir = open_directory(top_fd, name);
	if (!dir)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
	while (r == 0 && (entry = next_entry(dir)))
		r = delete_entry(top_fd, dirfd(dir), entry->d_name, serial, again);
	return r;
}

static int empty_top(int top_fd)
{
	unsigned serial = 0;
	bool again = true;

	while (again) {
		_cleanup_strv_ char **names = NULL;

		again = false;
		if (venv__dir_list(top_fd, &names, NULL) < 0)
			return -EIO;
		for (char **name = names; *name; name++) {
			bool full = false, more = false;
			int r = delete_entry(top_fd, top_fd, *name, &serial, &full);

			if (r == 0 && full) {
				r = empty_directory(top_fd, *name, &serial, &more);
				again = true;
			}
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int venv__tree_delete(int dir_fd, const char *name, venv_error **err)
{
	_cleanup_close_ int top_fd = -1;
	int r;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return venv__fail_errno(err, errno, "cannot remove '%s'", name);
	make_writable(dir_fd, name);
	top_fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top_fd < 0 && errno == ENOENT)
		return 0;
	if (top_fd < 0)
		return venv__fail_errno(err, errno, "cannot remove '%s'", name);
	do {
		r = empty_top(top_fd);
		if (r == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = -errno;
	} while (r == -ENOTEMPTY); /* somebody else who removes it moved something up meanwhile */
	return r < 0 ? venv__fail_errno(err, -r, "cannot remove '%s'", name) : 0;
}

static int lock(int fd, int command, short type)
{
	struct flock range = { .l_type = type, .l_whence = SEEK_SET };
	int r;

	do
		r = fcntl(fd, command, &range);
	while (r < 0 && errno == EINTR && command == F_OFD_SETLKW);
	if (r < 0)
		return errno == EACCES ? -EAGAIN : -errno;
	return 0;
}

int venv__lock_try(int fd, bool exclusive)
{
	return lock(fd, F_OFD_SETLK, exclusive ? F_WRLCK : F_RDLCK);
}

int venv__lock_wait(int fd, bool exclusive)
{
	return lock(fd, F_OFD_SETLKW, exclusive ? F_WRLCK : F_RDLCK);
}

void venv__unlock(int fd)
{
	(void)lock(fd, F_OFD_SETLK, F_UNLCK);
}

bool venv__lock_is_held(int fd)
{
	struct flock range = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type == F_WRLCK;
}
