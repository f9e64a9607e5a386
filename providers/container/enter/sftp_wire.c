/* SPDX-License-Identifier: Apache-2.0 */
#include "sftp_wire.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- in ---- */

static const unsigned char *get_bytes(struct sftp_in *in, size_t length)
{
	const unsigned char *p = in->data;

	if (in->bad || length > in->left) {
		in->bad = true;
		return NULL;
	}
	in->data += length;
	in->left -= length;
	return p;
}

uint8_t sftp_get_u8(struct sftp_in *in)
{
	const unsigned char *p = get_bytes(in, 1);

	return p ? *p : 0;
}

uint32_t sftp_get_u32(struct sftp_in *in)
{
	const unsigned char *p = get_bytes(in, 4);
	uint32_t value = 0;

	if (p)
		memcpy(&value, p, sizeof(value));
	return be32toh(value);
}

uint64_t sftp_get_u64(struct sftp_in *in)
{
	const unsigned char *p = get_bytes(in, 8);
	uint64_t value = 0;

	if (p)
		memcpy(&value, p, sizeof(value));
	return be64toh(value);
}

const unsigned char *sftp_get_string(struct sftp_in *in, size_t *ret_length)
{
	*ret_length = sftp_get_u32(in);
	return get_bytes(in, *ret_length);
}

bool sftp_get_path(struct sftp_in *in, char ret[PATH_MAX])
{
	size_t length;
	const unsigned char *p = sftp_get_string(in, &length);

	if (!p || length >= PATH_MAX || memchr(p, '\0', length)) {
		in->bad = true;
		return false;
	}
	memcpy(ret, p, length);
	ret[length] = '\0';
	if (!length)
		memcpy(ret, ".", 2);
	return true;
}

void sftp_get_attrs(struct sftp_in *in, struct sftp_attrs *ret)
{
	size_t length;

	*ret = (struct sftp_attrs){ .flags = sftp_get_u32(in) };
	if (ret->flags & SFTP_ATTR_SIZE)
		ret->size = sftp_get_u64(in);
	if (ret->flags & SFTP_ATTR_IDS) {
		ret->uid = sftp_get_u32(in);
		ret->gid = sftp_get_u32(in);
	}
	if (ret->flags & SFTP_ATTR_MODE)
		ret->mode = sftp_get_u32(in);
	if (ret->flags & SFTP_ATTR_TIMES) {
		ret->atime = sftp_get_u32(in);
		ret->mtime = sftp_get_u32(in);
	}
	if (!(ret->flags & (uint32_t)SFTP_ATTR_EXTENDED))
		return;
	for (uint32_t n = sftp_get_u32(in); n && !in->bad; n--) {
		(void)sftp_get_string(in, &length);
		(void)sftp_get_string(in, &length);
	}
}

/* ---- out ---- */

int sftp_init(struct sftp *sftp, int out_fd)
{
	memset(sftp, 0, sizeof(*sftp));
	sftp->out_fd = out_fd;
	for (size_t i = 0; i < SFTP_HANDLES_MAX; i++)
		sftp->handles[i].fd = -1;
	sftp->out = malloc(SFTP_OUT_SIZE);
	return sftp->out ? 0 : -ENOMEM;
}

void sftp_done(struct sftp *sftp)
{
	for (size_t i = 0; i < SFTP_HANDLES_MAX; i++)
		(void)sftp_handle_close(&sftp->handles[i]);
	free(sftp->out);
	sftp->out = NULL;
}

/* Only whole answers are flushed. */
void sftp_flush(struct sftp *sftp)
{
	size_t done = 0;

	while (done < sftp->out_length && !sftp->broken) {
		ssize_t n = write(sftp->out_fd, sftp->out + done, sftp->out_length - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			sftp->broken = true;
	}
	sftp->out_length = 0;
}

unsigned char *sftp_reserve(struct sftp *sftp, size_t length)
{
	if (sftp->out_length + length > SFTP_OUT_SIZE)
		sftp_flush(sftp);
	return sftp->out + sftp->out_length;
}

static void put_bytes(struct sftp *sftp, const void *data, size_t length)
{
	memcpy(sftp->out + sftp->out_length, data, length);
	sftp->out_length += length;
}

/*
 * Every answer has at most SFTP_PACKET_MAX bytes; those that are longer (none) are cut by their
 * maker.
 */
void sftp_begin(struct sftp *sftp, enum sftp_type type, uint32_t id)
{
	unsigned char byte = (unsigned char)type;

	(void)sftp_reserve(sftp, SFTP_PACKET_MAX);
	sftp->reply_start = sftp->out_length;
	sftp_put_u32(sftp, 0);
	put_bytes(sftp, &byte, 1);
	sftp_put_u32(sftp, id);
}

void sftp_put_u32(struct sftp *sftp, uint32_t value)
{
	value = htobe32(value);
	put_bytes(sftp, &value, sizeof(value));
}

void sftp_put_u64(struct sftp *sftp, uint64_t value)
{
	value = htobe64(value);
	put_bytes(sftp, &value, sizeof(value));
}

void sftp_put_string(struct sftp *sftp, const void *data, size_t length)
{
	sftp_put_u32(sftp, (uint32_t)length);
	put_bytes(sftp, data, length);
}

void sftp_put_attrs(struct sftp *sftp, const struct stat *st)
{
	sftp_put_u32(sftp, SFTP_ATTR_SIZE | SFTP_ATTR_IDS | SFTP_ATTR_MODE | SFTP_ATTR_TIMES);
	sftp_put_u64(sftp, (uint64_t)st->st_size);
	sftp_put_u32(sftp, st->st_uid);
	sftp_put_u32(sftp, st->st_gid);
	sftp_put_u32(sftp, st->st_mode);
	sftp_put_u32(sftp, (uint32_t)st->st_atime);
	sftp_put_u32(sftp, (uint32_t)st->st_mtime);
}

void sftp_end(struct sftp *sftp)
{
	uint32_t length = htobe32((uint32_t)(sftp->out_length - sftp->reply_start - 4));

	memcpy(sftp->out + sftp->reply_start, &length, sizeof(length));
}

void sftp_reply_status(struct sftp *sftp, uint32_t id, enum sftp_status status, const char *message)
{
	sftp_begin(sftp, SFTP_REPLY_STATUS, id);
	sftp_put_u32(sftp, status);
	sftp_put_string(sftp, message, strlen(message));
	sftp_put_string(sftp, "", 0); /* language */
	sftp_end(sftp);
}

void sftp_reply_errno(struct sftp *sftp, uint32_t id, int number)
{
	enum sftp_status status = SFTP_FAILURE;

	switch (number) {
	case 0:
		status = SFTP_OK;
		break;
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case EBADF:
		status = SFTP_NO_SUCH_FILE;
		break;
	case EPERM:
	case EACCES:
		status = SFTP_PERMISSION_DENIED;
		break;
	case ENOSYS:
	case EOPNOTSUPP:
		status = SFTP_OP_UNSUPPORTED;
		break;
	default:
		break;
	}
	sftp_reply_status(sftp, id, status, number ? strerror(number) : "Success");
}

void sftp_reply_name(struct sftp *sftp, uint32_t id, const char *name)
{
	sftp_begin(sftp, SFTP_REPLY_NAME, id);
	sftp_put_u32(sftp, 1);
	sftp_put_string(sftp, name, strlen(name));
	sftp_put_string(sftp, name, strlen(name));
	sftp_put_u32(sftp, 0); /* no attributes */
	sftp_end(sftp);
}

/* ---- handles: index and generation, 4 bytes each ---- */

struct sftp_handle *sftp_handle_new(struct sftp *sftp, int fd, DIR *dir, uint32_t id)
{
	for (uint32_t i = 0; i < SFTP_HANDLES_MAX; i++) {
		struct sftp_handle *handle = &sftp->handles[i];

		if (handle->fd >= 0 || handle->dir)
			continue;
		handle->fd = fd;
		handle->dir = dir;
		handle->append = false;
		handle->generation++;
		sftp_begin(sftp, SFTP_REPLY_HANDLE, id);
		sftp_put_u32(sftp, 8);
		sftp_put_u32(sftp, i);
		sftp_put_u32(sftp, handle->generation);
		sftp_end(sftp);
		return handle;
	}
	return NULL;
}

struct sftp_handle *sftp_get_handle(struct sftp *sftp, struct sftp_in *in)
{
	uint32_t length = sftp_get_u32(in), i, generation;
	struct sftp_handle *handle;

	if (length != 8) {
		(void)get_bytes(in, length);
		return NULL;
	}
	i = sftp_get_u32(in);
	generation = sftp_get_u32(in);
	if (in->bad || i >= SFTP_HANDLES_MAX)
		return NULL;
	handle = &sftp->handles[i];
	return handle->generation == generation && (handle->fd >= 0 || handle->dir) ? handle : NULL;
}

int sftp_handle_close(struct sftp_handle *handle)
{
	int r = 0;

	if (handle->dir)
		r = closedir(handle->dir);
	else if (handle->fd >= 0)
		r = close(handle->fd);
	handle->dir = NULL;
	handle->fd = -1;
	return r < 0 ? errno : 0;
}
