/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a chain of images, and which files may be in it. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "layer.h"
#include "util/file.h"

int venv__disk_resolve_in_store(void *user, const char *by, const char *name, int *ret_fd,
				char **ret_name, venv_error **err)
{
	const struct disk_store *store = user;
	_cleanup_free_ char *joined = NULL, *clean = NULL;
	const char *slash = strrchr(by, '/');
	_cleanup_close_ int fd = -1;
	const char *rest = NULL;
	struct stat st;

	/* the store is "/" here, so that ".." ends at its top, as text and below in the kernel */
	if (name[0] == '/' && store->path && venv__path_below(name, store->path, &rest))
		joined = venv__path_join("/", rest + strspn(rest, "/"));
	else if (name[0] == '/')
		return venv__fail(err, VENV_ERR_DENIED, "backing file '%s' is outside of the store",
				  name);
	else if (asprintf(&joined, "/%.*s/%s", slash ? (int)(slash - by) : 0, by, name) < 0)
		joined = NULL;
	clean = joined ? venv__path_clean(joined) : NULL;
	if (!clean)
		return venv__fail_nomem(err);
	fd = venv__open_beneath(store->dir_fd, clean + 1, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd == -ELOOP || fd == -EXDEV)
		return venv__fail(err, VENV_ERR_DENIED, "backing file '%s' is a link", name);
	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot open backing file '%s'", name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return venv__fail(err, VENV_ERR_DENIED, "backing file '%s' is no file", name);
	*ret_name = strdup(clean + 1);
	if (!*ret_name)
		return venv__fail_nomem(err);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int lock_file(int fd, const char *name, bool exclusive, venv_error **err)
{
	int r = venv__lock_try(fd, exclusive);

	if (r == -EAGAIN || r == -EACCES)
		return venv__fail(err, VENV_ERR_BUSY, "disk '%s' is in use by another process",
				  name);
	return r < 0 ? venv__fail_errno(err, -r, "cannot lock disk '%s'", name) : 0;
}

struct below {
	char *name; /* as the image calls it; NULL: none */
	enum disk_format format;
};

/* fd stays the caller's on failure. */
static int open_layer(int fd, const char *name, const struct disk_options *options,
		      struct disk **ret, struct below *below, venv_error **err)
{
	int r = lock_file(fd, name, !options->read_only, err);

	below->name = NULL;
	if (r < 0)
		return r;
	switch (options->format) {
	case DISK_RAW:
		return venv__raw_open(fd, name, options, ret, err);
	case DISK_QCOW2:
		return venv__qcow2_open(fd, name, options, ret, &below->name, &below->format, err);
	default:
		return venv__fail(err, VENV_ERR_INVALID, "unknown format of disk '%s'", name);
	}
}

/* Open what `by` lies on; its own below, if any, takes the place of *below. */
static int open_below(struct disk *by, struct below *below, const struct disk_options *options,
		      venv_error **err)
{
	const struct disk_options lower = { .format = below->format, .read_only = true };
	_cleanup_free_ char *wanted = below->name, *name = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	below->name = NULL;
	if (!options->resolve)
		return venv__fail(err, VENV_ERR_DENIED,
				  "disk '%s' lies on '%s', which is not allowed here", by->name,
				  wanted);
	r = options->resolve(options->resolve_user, by->name, wanted, &fd, &name, err);
	if (r >= 0)
		r = open_layer(fd, name, &lower, &by->below, below, err);
	if (r < 0)
		return venv__wrap(r, err, "disk '%s'", by->name);
	(void)take_fd(&fd);
	return 0;
}

int venv__disk_open(int fd, const char *name, const struct disk_options *options, struct disk **ret,
		    venv_error **err)
{
	_cleanup_close_ int owned = fd;
	struct disk *top = NULL, *last;
	struct below below = { 0 };
	unsigned depth = 1;
	int r;

	r = open_layer(fd, name, options, &top, &below, err);
	if (r < 0)
		return r;
	(void)take_fd(&owned);
	for (last = top; r >= 0 && below.name; last = last->below, depth++) {
		if (depth == DISK_CHAIN_MAX)
			r = venv__fail(err, VENV_ERR_UNSUPPORTED,
				       "more than %d images lie over each other", DISK_CHAIN_MAX);
		else
			r = open_below(last, &below, options, err);
		if (r < 0)
			break;
	}
	if (r < 0) {
		free(below.name);
		(void)venv__disk_close(top, NULL);
		return r;
	}
	*ret = top;
	return 0;
}

int venv__disk_create(int fd, const struct disk_create *create, venv_error **err)
{
	struct disk_create whole = *create;

	if (create->length > INT64_MAX - 511)
		return venv__fail(err, VENV_ERR_INVALID, "too large for a disk");
	whole.length = (create->length + 511) & ~511ULL;
	if (create->format == DISK_QCOW2)
		return venv__qcow2_create(fd, &whole, err);
	if (create->backing)
		return venv__fail(err, VENV_ERR_INVALID, "a raw disk cannot lie on another");
	if (ftruncate(fd, (off_t)whole.length) < 0)
		return venv__fail_errno(err, errno, "cannot make a disk");
	return 0;
}

int venv__disk_info(int fd, const char *name, enum disk_format format, struct disk_info *ret,
		    venv_error **err)
{
	off_t end;

	if (format == DISK_QCOW2)
		return venv__qcow2_info(fd, name, ret, err);
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return venv__fail_errno(err, errno, "cannot find the length of disk '%s'", name);
	*ret = (struct disk_info){ .format = format, .length = (uint64_t)end };
	return 0;
}
