/* SPDX-License-Identifier: Apache-2.0 */
#include "iov.h"

#include <string.h>

#include "util/compiler.h"

void fs_iov_init(struct fs_iov *v, const struct iovec *iov, size_t n)
{
	*v = (struct fs_iov){ .iov = iov, .n = n };
	for (size_t i = 0; i < n; i++)
		v->left += iov[i].iov_len;
}

void fs_iov_limit(struct fs_iov *v, size_t size)
{
	v->left = MIN(v->left, size);
}

/* The next piece of at most size bytes; NULL and 0 at the end. Moves on. */
static char *next_piece(struct fs_iov *v, size_t size, size_t *ret)
{
	char *piece = NULL;

	size = MIN(size, v->left);
	while (size && v->n && v->at == v->iov->iov_len) {
		v->iov++;
		v->n--;
		v->at = 0;
	}
	*ret = size && v->n ? MIN(size, v->iov->iov_len - v->at) : 0;
	if (*ret)
		piece = (char *)v->iov->iov_base + v->at;
	v->at += *ret;
	v->left -= *ret;
	return piece;
}

size_t fs_iov_take(struct fs_iov *v, void *data, size_t size)
{
	size_t done = 0, n;
	const char *piece;

	while ((piece = next_piece(v, size - done, &n))) {
		memcpy((char *)data + done, piece, n);
		done += n;
	}
	return done;
}

size_t fs_iov_put(struct fs_iov *v, const void *data, size_t size)
{
	size_t done = 0, n;
	char *piece;

	while ((piece = next_piece(v, size - done, &n))) {
		memcpy(piece, (const char *)data + done, n);
		done += n;
	}
	return done;
}

void fs_iov_skip(struct fs_iov *v, size_t size)
{
	size_t n;

	while (next_piece(v, size, &n))
		size -= n;
}

size_t fs_iov_slice(const struct fs_iov *v, size_t size, struct iovec *ret, size_t max)
{
	struct fs_iov at = *v;
	size_t count = 0, n;
	char *piece;

	while (count < max && (piece = next_piece(&at, size, &n))) {
		ret[count++] = (struct iovec){ .iov_base = piece, .iov_len = n };
		size -= n;
	}
	return count;
}
