/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSH's extensions to version 3 (PROTOCOL in its sources). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "sftp_wire.h"

enum { COPY_CHUNK = 1 << 20 };

static void status(struct sftp *sftp, const struct sftp_in *in, bool failed)
{
	sftp_reply_errno(sftp, in->id, failed ? errno : 0);
}

static void bad(struct sftp *sftp, const struct sftp_in *in)
{
	sftp_reply_status(sftp, in->id, SFTP_BAD_MESSAGE, "Bad message");
}

static void posix_rename(struct sftp *sftp, struct sftp_in *in)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (sftp_get_path(in, from) && sftp_get_path(in, to))
		status(sftp, in, rename(from, to) < 0);
	else
		bad(sftp, in);
}

static void hardlink(struct sftp *sftp, struct sftp_in *in)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (sftp_get_path(in, from) && sftp_get_path(in, to))
		status(sftp, in, link(from, to) < 0);
	else
		bad(sftp, in);
}

static void reply_statvfs(struct sftp *sftp, const struct sftp_in *in, const struct statvfs *fs)
{
	const uint64_t flags =
		(fs->f_flag & ST_RDONLY ? 1U : 0U) | (fs->f_flag & ST_NOSUID ? 2U : 0U);
	const uint64_t values[] = { fs->f_bsize,  fs->f_frsize, fs->f_blocks, fs->f_bfree,
				    fs->f_bavail, fs->f_files,  fs->f_ffree,  fs->f_favail,
				    fs->f_fsid,   flags,        fs->f_namemax };

	sftp_begin(sftp, SFTP_REPLY_EXTENDED, in->id);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		sftp_put_u64(sftp, values[i]);
	sftp_end(sftp);
}

static void statvfs_path(struct sftp *sftp, struct sftp_in *in)
{
	char path[PATH_MAX];
	struct statvfs fs;

	if (!sftp_get_path(in, path))
		bad(sftp, in);
	else if (statvfs(path, &fs) < 0)
		sftp_reply_errno(sftp, in->id, errno);
	else
		reply_statvfs(sftp, in, &fs);
}

static int handle_fd(struct sftp *sftp, struct sftp_in *in)
{
	const struct sftp_handle *handle = sftp_get_handle(sftp, in);

	if (!handle)
		return -1;
	return handle->dir ? dirfd(handle->dir) : handle->fd;
}

static void statvfs_handle(struct sftp *sftp, struct sftp_in *in)
{
	struct statvfs fs;

	if (fstatvfs(handle_fd(sftp, in), &fs) < 0)
		sftp_reply_errno(sftp, in->id, errno);
	else
		reply_statvfs(sftp, in, &fs);
}

static void sync_handle(struct sftp *sftp, struct sftp_in *in)
{
	status(sftp, in, fsync(handle_fd(sftp, in)) < 0);
}

static void lsetstat(struct sftp *sftp, struct sftp_in *in)
{
	char path[PATH_MAX];
	struct sftp_attrs attrs;

	if (!sftp_get_path(in, path)) {
		bad(sftp, in);
		return;
	}
	sftp_get_attrs(in, &attrs);
	if (in->bad || (attrs.flags & SFTP_ATTR_SIZE))
		bad(sftp, in);
	else
		sftp_reply_errno(sftp, in->id, sftp_apply(-1, path, &attrs, false));
}

static void limits(struct sftp *sftp, struct sftp_in *in)
{
	sftp_begin(sftp, SFTP_REPLY_EXTENDED, in->id);
	sftp_put_u64(sftp, SFTP_PACKET_MAX);
	sftp_put_u64(sftp, SFTP_DATA_MAX); /* read */
	sftp_put_u64(sftp, SFTP_DATA_MAX); /* write */
	sftp_put_u64(sftp, SFTP_HANDLES_MAX);
	sftp_end(sftp);
}

/* "~" and "~/x" are the home directory; other people's is not looked up. */
static void expand_path(struct sftp *sftp, struct sftp_in *in)
{
	char path[PATH_MAX], whole[PATH_MAX], found[PATH_MAX];
	const char *home = getenv("HOME");
	int r, n;

	if (!sftp_get_path(in, path)) {
		bad(sftp, in);
		return;
	}
	if (path[0] == '~' && (!path[1] || path[1] == '/'))
		n = snprintf(whole, sizeof(whole), "%s%s", home ? home : "/", path + 1);
	else
		n = snprintf(whole, sizeof(whole), "%s", path);
	r = n < 0 || (size_t)n >= sizeof(whole) ? ENAMETOOLONG : sftp_canonical(whole, found);
	if (r)
		sftp_reply_errno(sftp, in->id, r);
	else
		sftp_reply_name(sftp, in->id, found);
}

static int copy_range(int from, off_t from_at, int to, off_t to_at, uint64_t length)
{
	for (;;) {
		size_t n = length && length < COPY_CHUNK ? (size_t)length : COPY_CHUNK;
		ssize_t done = copy_file_range(from, &from_at, to, &to_at, n, 0);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno;
		if (done == 0)
			return 0;
		if (length && !(length -= (uint64_t)done))
			return 0;
	}
}

static void copy_data(struct sftp *sftp, struct sftp_in *in)
{
	int from = handle_fd(sftp, in), to;
	uint64_t from_at = sftp_get_u64(in), length = sftp_get_u64(in), to_at;

	to = handle_fd(sftp, in);
	to_at = sftp_get_u64(in);
	if (in->bad || from < 0 || to < 0 || from_at > INT64_MAX || to_at > INT64_MAX ||
	    length > INT64_MAX)
		bad(sftp, in);
	else
		sftp_reply_errno(sftp, in->id,
				 copy_range(from, (off_t)from_at, to, (off_t)to_at, length));
}

static const struct {
	const char *name, *version;
	void (*handle)(struct sftp *sftp, struct sftp_in *in);
} extensions[] = {
	{ "posix-rename@openssh.com", "1", posix_rename },
	{ "statvfs@openssh.com", "2", statvfs_path },
	{ "fstatvfs@openssh.com", "2", statvfs_handle },
	{ "hardlink@openssh.com", "1", hardlink },
	{ "fsync@openssh.com", "1", sync_handle },
	{ "lsetstat@openssh.com", "1", lsetstat },
	{ "limits@openssh.com", "1", limits },
	{ "expand-path@openssh.com", "1", expand_path },
	{ "copy-data", "1", copy_data },
};

void sftp_put_extensions(struct sftp *sftp)
{
	for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
		sftp_put_string(sftp, extensions[i].name, strlen(extensions[i].name));
		sftp_put_string(sftp, extensions[i].version, strlen(extensions[i].version));
	}
}

void sftp_extended(struct sftp *sftp, struct sftp_in *in)
{
	size_t length;
	const unsigned char *name = sftp_get_string(in, &length);

	for (size_t i = 0; name && i < sizeof(extensions) / sizeof(extensions[0]); i++) {
		if (length == strlen(extensions[i].name) &&
		    memcmp(name, extensions[i].name, length) == 0) {
			extensions[i].handle(sftp, in);
			return;
		}
	}
	sftp_reply_status(sftp, in->id, SFTP_OP_UNSUPPORTED, "Operation unsupported");
}
