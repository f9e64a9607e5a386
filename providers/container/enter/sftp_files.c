/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of the sftp protocol itself, each by the system call that it names. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sftp_wire.h"

enum { MODE_BITS = 07777, NAMES_PER_REPLY = 128, LONG_MAX_SIZE = 512 };

static int errno_if(bool failed)
{
	return failed ? errno : 0;
}

/* ---- attributes ---- */

/* By descriptor when fd >= 0, else by path. */
int sftp_apply(int fd, const char *path, const struct sftp_attrs *attrs, bool follow)
{
	int at = follow ? 0 : AT_SYMLINK_NOFOLLOW, r = 0;
	mode_t mode = attrs->mode & MODE_BITS;
	struct timespec times[2] = { { .tv_sec = attrs->atime }, { .tv_sec = attrs->mtime } };

	if (attrs->flags & SFTP_ATTR_SIZE)
		r = errno_if((fd >= 0 ? ftruncate(fd, (off_t)attrs->size)
				      : truncate(path, (off_t)attrs->size)) < 0);
	if (!r && (attrs->flags & SFTP_ATTR_IDS))
		r = errno_if((fd >= 0 ? fchown(fd, attrs->uid, attrs->gid)
				      : fchownat(AT_FDCWD, path, attrs->uid, attrs->gid, at)) < 0);
	/* after the owner, whose change drops set-id bits */
	if (!r && (attrs->flags & SFTP_ATTR_MODE))
		r = errno_if((fd >= 0 ? fchmod(fd, mode) : fchmodat(AT_FDCWD, path, mode, at)) < 0);
	if (!r && (attrs->flags & SFTP_ATTR_TIMES))
		r = errno_if(
			(fd >= 0 ? futimens(fd, times) : utimensat(AT_FDCWD, path, times, at)) < 0);
	return r;
}

static void reply_attrs(struct sftp *sftp, uint32_t id, int r, const struct stat *st)
{
	if (r) {
		sftp_reply_errno(sftp, id, r);
		return;
	}
	sftp_begin(sftp, SFTP_REPLY_ATTRS, id);
	sftp_put_attrs(sftp, st);
	sftp_end(sftp);
}

static void request_stat(struct sftp *sftp, struct sftp_in *in, const char *path, int flags)
{
	struct stat st;

	reply_attrs(sftp, in->id, errno_if(fstatat(AT_FDCWD, path, &st, flags) < 0), &st);
}

/* ---- files ---- */

static int open_flags(uint32_t flags)
{
	int ret = O_CLOEXEC | O_NOCTTY;

	if ((flags & SFTP_OPEN_READ) && (flags & SFTP_OPEN_WRITE))
		ret |= O_RDWR;
	else
		ret |= flags & SFTP_OPEN_WRITE ? O_WRONLY : O_RDONLY;
	ret |= flags & SFTP_OPEN_APPEND ? O_APPEND : 0;
	ret |= flags & SFTP_OPEN_CREATE ? O_CREAT : 0;
	ret |= flags & SFTP_OPEN_TRUNCATE ? O_TRUNC : 0;
	ret |= flags & SFTP_OPEN_EXCLUSIVE ? O_EXCL : 0;
	return ret;
}

static void request_open(struct sftp *sftp, struct sftp_in *in, const char *path)
{
	uint32_t flags = sftp_get_u32(in);
	struct sftp_handle *handle;
	struct sftp_attrs attrs;
	mode_t mode = 0666;
	int fd;

	sftp_get_attrs(in, &attrs);
	if (in->bad) {
		sftp_reply_status(sftp, in->id, SFTP_BAD_MESSAGE, "Bad message");
		return;
	}
	if (attrs.flags & SFTP_ATTR_MODE)
		mode = attrs.mode & MODE_BITS;
	fd = open(path, open_flags(flags), mode);
	if (fd < 0) {
		sftp_reply_errno(sftp, in->id, errno);
		return;
	}
	handle = sftp_handle_new(sftp, fd, NULL, in->id);
	if (!handle) {
		(void)close(fd);
		sftp_reply_errno(sftp, in->id, EMFILE);
		return;
	}
	handle->append = (flags & SFTP_OPEN_APPEND) != 0;
}

static void request_read(struct sftp *sftp, struct sftp_in *in, const struct sftp_handle *handle)
{
	uint64_t offset = sftp_get_u64(in);
	size_t length = sftp_get_u32(in), header = 4 + 1 + 4 + 4;
	unsigned char *space;
	ssize_t n;

	if (in->bad || !handle || handle->fd < 0 || offset > INT64_MAX) {
		sftp_reply_status(sftp, in->id, SFTP_FAILURE, "Bad handle or offset");
		return;
	}
	length = length < SFTP_DATA_MAX ? length : SFTP_DATA_MAX;
	space = sftp_reserve(sftp, SFTP_PACKET_MAX);
	do
		n = pread(handle->fd, space + header, length, (off_t)offset);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == ESPIPE) /* a pipe or a terminal: as it comes */
		n = read(handle->fd, space + header, length);
	if (n < 0) {
		sftp_reply_errno(sftp, in->id, errno);
	} else if (n == 0 && length) {
		sftp_reply_status(sftp, in->id, SFTP_EOF, "End of file");
	} else {
		sftp_begin(sftp, SFTP_REPLY_DATA, in->id);
		sftp_put_u32(sftp, (uint32_t)n);
		sftp->out_length += (size_t)n; /* they are there already */
		sftp_end(sftp);
	}
}

static int write_all(const struct sftp_handle *handle, const unsigned char *data, size_t length,
		     off_t offset)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = handle->append ? write(handle->fd, data + done, length - done)
					   : pwrite(handle->fd, data + done, length - done,
						    offset + (off_t)done);

		if (n < 0 && errno == ESPIPE)
			n = write(handle->fd, data + done, length - done);
		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			return errno;
	}
	return 0;
}

static void request_write(struct sftp *sftp, struct sftp_in *in, const struct sftp_handle *handle)
{
	uint64_t offset = sftp_get_u64(in);
	size_t length;
	const unsigned char *data = sftp_get_string(in, &length);

	if (!data || !handle || handle->fd < 0 || offset > INT64_MAX - SFTP_PACKET_MAX)
		sftp_reply_status(sftp, in->id, SFTP_FAILURE, "Bad handle, offset or length");
	else
		sftp_reply_errno(sftp, in->id, write_all(handle, data, length, (off_t)offset));
}

/* ---- directories ---- */

static void request_opendir(struct sftp *sftp, const struct sftp_in *in, const char *path)
{
	DIR *dir = opendir(path);

	if (!dir) {
		sftp_reply_errno(sftp, in->id, errno);
	} else if (!sftp_handle_new(sftp, -1, dir, in->id)) {
		(void)closedir(dir);
		sftp_reply_errno(sftp, in->id, EMFILE);
	}
}

/* A line as of ls -l; clients show it as it is. Owners are numbers: there is no NSS in here. */
static void long_name(char ret[LONG_MAX_SIZE], const char *name, const struct stat *st)
{
	static const char types[16] = "?pc?d?b?-?l?s???";
	static const char letters[] = "rwxrwxrwx";
	char mode[11], when[32] = "";
	time_t changed = st->st_mtime;
	struct tm tm;

	mode[0] = types[(st->st_mode >> 12) & 15];
	for (int i = 0; i < 9; i++)
		mode[i + 1] = st->st_mode & (0400U >> i) ? letters[i] : '-';
	mode[10] = '\0';
	if (st->st_mode & S_ISUID)
		mode[3] = mode[3] == 'x' ? 's' : 'S';
	if (st->st_mode & S_ISGID)
		mode[6] = mode[6] == 'x' ? 's' : 'S';
	if (st->st_mode & S_ISVTX)
		mode[9] = mode[9] == 'x' ? 't' : 'T';
	if (gmtime_r(&changed, &tm))
		(void)strftime(when, sizeof(when),
			       time(NULL) - changed < 180L * 86400 ? "%b %e %H:%M" : "%b %e  %Y",
			       &tm);
	(void)snprintf(ret, LONG_MAX_SIZE, "%s %3lu %-8u %-8u %8lld %s %s", mode,
		       (unsigned long)st->st_nlink, st->st_uid, st->st_gid, (long long)st->st_size,
		       when, name);
}

static void request_readdir(struct sftp *sftp, const struct sftp_in *in,
			    const struct sftp_handle *handle)
{
	char line[LONG_MAX_SIZE];
	uint32_t count = 0;
	size_t where;

	if (!handle || !handle->dir) {
		sftp_reply_status(sftp, in->id, SFTP_FAILURE, "Bad handle");
		return;
	}
	sftp_begin(sftp, SFTP_REPLY_NAME, in->id);
	where = sftp->out_length;
	sftp_put_u32(sftp, 0);
	while (count < NAMES_PER_REPLY) {
		const struct dirent *entry = readdir(handle->dir);
		struct stat st;

		if (!entry)
			break;
		if (fstatat(dirfd(handle->dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		long_name(line, entry->d_name, &st);
		sftp_put_string(sftp, entry->d_name, strlen(entry->d_name));
		sftp_put_string(sftp, line, strlen(line));
		sftp_put_attrs(sftp, &st);
		count++;
	}
	if (!count) {
		sftp->out_length = sftp->reply_start; /* take the answer back */
		sftp_reply_status(sftp, in->id, SFTP_EOF, "End of file");
		return;
	}
	sftp->out[where] = 0;
	sftp->out[where + 3] = (unsigned char)count;
	sftp_end(sftp);
}

static void request_mkdir(struct sftp *sftp, struct sftp_in *in, const char *path)
{
	struct sftp_attrs attrs;

	sftp_get_attrs(in, &attrs);
	if (in->bad)
		sftp_reply_status(sftp, in->id, SFTP_BAD_MESSAGE, "Bad message");
	else
		sftp_reply_errno(
			sftp, in->id,
			errno_if(mkdir(path, attrs.flags & SFTP_ATTR_MODE ? attrs.mode & MODE_BITS
									  : 0777) < 0));
}

/* ---- names ---- */

/* Absolute, without links; the last part need not exist. */
int sftp_canonical(const char *path, char ret[PATH_MAX])
{
	char copy[PATH_MAX], above[PATH_MAX];
	const char *dir = ".", *last = copy;
	char *slash;
	size_t n;

	if (realpath(path, ret))
		return 0;
	if (errno != ENOENT)
		return errno;
	n = strlen(path);
	memcpy(copy, path, n + 1);
	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	slash = strrchr(copy, '/');
	if (slash) {
		last = slash + 1;
		dir = slash == copy ? "/" : copy;
		*slash = '\0';
	}
	if (strcmp(last, "..") == 0 || !realpath(dir, above))
		return ENOENT;
	if (snprintf(ret, PATH_MAX, "%s%s%s", above, above[1] ? "/" : "", last) >= PATH_MAX)
		return ENAMETOOLONG;
	return 0;
}

static void request_realpath(struct sftp *sftp, const struct sftp_in *in, const char *path)
{
	char found[PATH_MAX];
	int r = sftp_canonical(path, found);

	if (r)
		sftp_reply_errno(sftp, in->id, r);
	else
		sftp_reply_name(sftp, in->id, found);
}

static void request_readlink(struct sftp *sftp, const struct sftp_in *in, const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0) {
		sftp_reply_errno(sftp, in->id, errno);
		return;
	}
	target[n] = '\0';
	sftp_reply_name(sftp, in->id, target);
}

/* Version 3: the new name must not exist. */
static int rename_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return errno;
	if (faccessat(AT_FDCWD, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return EEXIST;
	return errno_if(rename(from, to) < 0);
}

static void request_two(struct sftp *sftp, enum sftp_type type, struct sftp_in *in,
			const char *first)
{
	char second[PATH_MAX];

	if (!sftp_get_path(in, second))
		sftp_reply_status(sftp, in->id, SFTP_BAD_MESSAGE, "Bad message");
	else if (type == SFTP_RENAME)
		sftp_reply_errno(sftp, in->id, rename_new(first, second));
	else /* the order of OpenSSH, not of the draft: what it says, where it is */
		sftp_reply_errno(sftp, in->id, errno_if(symlink(first, second) < 0));
}

static void path_request(struct sftp *sftp, enum sftp_type type, struct sftp_in *in,
			 const char *path)
{
	struct sftp_attrs attrs;

	switch (type) {
	case SFTP_OPEN:
		request_open(sftp, in, path);
		break;
	case SFTP_STAT:
		request_stat(sftp, in, path, 0);
		break;
	case SFTP_LSTAT:
		request_stat(sftp, in, path, AT_SYMLINK_NOFOLLOW);
		break;
	case SFTP_SETSTAT:
		sftp_get_attrs(in, &attrs);
		sftp_reply_errno(sftp, in->id,
				 in->bad ? EINVAL : sftp_apply(-1, path, &attrs, true));
		break;
	case SFTP_OPENDIR:
		request_opendir(sftp, in, path);
		break;
	case SFTP_REMOVE:
		sftp_reply_errno(sftp, in->id, errno_if(unlink(path) < 0));
		break;
	case SFTP_MKDIR:
		request_mkdir(sftp, in, path);
		break;
	case SFTP_RMDIR:
		sftp_reply_errno(sftp, in->id, errno_if(rmdir(path) < 0));
		break;
	case SFTP_REALPATH:
		request_realpath(sftp, in, path);
		break;
	case SFTP_READLINK:
		request_readlink(sftp, in, path);
		break;
	default:
		request_two(sftp, type, in, path);
		break;
	}
}

static void handle_request(struct sftp *sftp, enum sftp_type type, struct sftp_in *in)
{
	struct sftp_handle *handle = sftp_get_handle(sftp, in);
	int fd = !handle ? -1 : handle->dir ? dirfd(handle->dir) : handle->fd;
	struct sftp_attrs attrs;
	struct stat st;

	switch (type) {
	case SFTP_CLOSE:
		sftp_reply_errno(sftp, in->id, handle ? sftp_handle_close(handle) : EBADF);
		break;
	case SFTP_READ:
		request_read(sftp, in, handle);
		break;
	case SFTP_WRITE:
		request_write(sftp, in, handle);
		break;
	case SFTP_FSTAT:
		reply_attrs(sftp, in->id, errno_if(fstat(fd, &st) < 0), &st);
		break;
	case SFTP_FSETSTAT:
		sftp_get_attrs(in, &attrs);
		sftp_reply_errno(sftp, in->id,
				 in->bad || fd < 0 ? EBADF : sftp_apply(fd, NULL, &attrs, true));
		break;
	default:
		request_readdir(sftp, in, handle);
		break;
	}
}

void sftp_file_request(struct sftp *sftp, enum sftp_type type, struct sftp_in *in)
{
	char path[PATH_MAX];

	switch (type) {
	case SFTP_CLOSE:
	case SFTP_READ:
	case SFTP_WRITE:
	case SFTP_FSTAT:
	case SFTP_FSETSTAT:
	case SFTP_READDIR:
		handle_request(sftp, type, in);
		break;
	case SFTP_OPEN:
	case SFTP_LSTAT:
	case SFTP_SETSTAT:
	case SFTP_OPENDIR:
	case SFTP_REMOVE:
	case SFTP_MKDIR:
	case SFTP_RMDIR:
	case SFTP_REALPATH:
	case SFTP_STAT:
	case SFTP_RENAME:
	case SFTP_READLINK:
	case SFTP_SYMLINK:
		if (sftp_get_path(in, path))
			path_request(sftp, type, in, path);
		else
			sftp_reply_status(sftp, in->id, SFTP_BAD_MESSAGE, "Bad message");
		break;
	default:
		sftp_reply_status(sftp, in->id, SFTP_OP_UNSUPPORTED, "Operation unsupported");
		break;
	}
}
