/* SPDX-License-Identifier: Apache-2.0 */
#include "vec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#include "util/compiler.h"

enum { IOV_BATCH = 64, ZEROES = 64 * 1024 };

uint64_t venv__iov_length(const struct iovec *iov, size_t n)
{
	uint64_t length = 0;

	for (size_t i = 0; i < n; i++)
		length += iov[i].iov_len;
	return length;
}

static void advance(struct vec *vec, size_t length)
{
	vec->done += length;
	if (vec->done == vec->iov->iov_len) {
		vec->iov++;
		vec->n--;
		vec->done = 0;
	}
}

size_t venv__vec_take(struct vec *vec, uint64_t length, struct iovec *iov, size_t max,
		      uint64_t *ret_length)
{
	size_t n = 0;

	*ret_length = 0;
	while (*ret_length < length && n < max && vec->n) {
		size_t here = (size_t)MIN(vec->iov->iov_len - vec->done, length - *ret_length);

		iov[n].iov_base = (char *)vec->iov->iov_base + vec->done;
		iov[n].iov_len = here;
		n += here > 0;
		*ret_length += here;
		advance(vec, here);
	}
	return n;
}

void venv__vec_put(struct vec *vec, const void *data, uint64_t length)
{
	const char *from = data;
	struct iovec iov;
	uint64_t here;

	for (; length && venv__vec_take(vec, length, &iov, 1, &here); length -= here) {
		memcpy(iov.iov_base, from, iov.iov_len);
		from += here;
	}
}

void venv__vec_zero(struct vec *vec, uint64_t length)
{
	struct iovec iov;
	uint64_t here;

	for (; length && venv__vec_take(vec, length, &iov, 1, &here); length -= here)
		memset(iov.iov_base, 0, iov.iov_len);
}

/* What is left of iov after length bytes of it were worked off. */
static size_t drop(struct iovec *iov, size_t n, size_t length)
{
	size_t first = 0;

	for (; first < n && length >= iov[first].iov_len; first++)
		length -= iov[first].iov_len;
	if (first < n) {
		iov[first].iov_base = (char *)iov[first].iov_base + length;
		iov[first].iov_len -= length;
	}
	memmove(iov, iov + first, (n - first) * sizeof(*iov));
	return n - first;
}

typedef ssize_t (*transfer_fn)(int fd, const struct iovec *iov, int n, off_t offset);

/* @return bytes; fewer than there are only at the end of the file */
static int64_t transfer(transfer_fn fn, int fd, struct iovec *iov, size_t n, uint64_t offset)
{
	uint64_t done = 0;

	while (n) {
		ssize_t here = fn(fd, iov, (int)n, (off_t)(offset + done));

		if (here < 0 && errno == EINTR)
			continue;
		if (here < 0)
			return -errno;
		if (here == 0)
			break;
		done += (uint64_t)here;
		n = drop(iov, n, (size_t)here);
	}
	return (int64_t)done;
}

static void zero_rest(const struct iovec *iov, size_t n, uint64_t done)
{
	for (size_t i = 0; i < n; i++) {
		size_t filled = (size_t)MIN(done, iov[i].iov_len);

		memset((char *)iov[i].iov_base + filled, 0, iov[i].iov_len - filled);
		done -= filled;
	}
}

int venv__vec_pread(struct vec *vec, int fd, uint64_t offset, uint64_t length)
{
	struct iovec iov[IOV_BATCH], rest[IOV_BATCH];
	uint64_t here;

	for (; length; length -= here, offset += here) {
		size_t n = venv__vec_take(vec, length, iov, IOV_BATCH, &here);
		int64_t done;

		if (!n)
			return -EINVAL;
		memcpy(rest, iov, n * sizeof(*iov));
		done = transfer(preadv, fd, rest, n, offset);
		if (done < 0)
			return (int)done;
		zero_rest(iov, n, (uint64_t)done);
	}
	return 0;
}

int venv__vec_pwrite(struct vec *vec, int fd, uint64_t offset, uint64_t length)
{
	struct iovec iov[IOV_BATCH];
	uint64_t here;

	for (; length; length -= here, offset += here) {
		size_t n = venv__vec_take(vec, length, iov, IOV_BATCH, &here);
		int64_t done;

		if (!n)
			return -EINVAL;
		done = transfer(pwritev, fd, iov, n, offset);
		if (done < 0)
			return (int)done;
		if ((uint64_t)done < here)
			return -EIO;
	}
	return 0;
}

int venv__pread_all(int fd, void *data, size_t length, uint64_t offset)
{
	struct iovec iov = { data, length };
	struct vec vec = { .iov = &iov, .n = 1 };

	return venv__vec_pread(&vec, fd, offset, length);
}

int venv__pwrite_all(int fd, const void *data, size_t length, uint64_t offset)
{
	struct iovec iov = { (void *)(uintptr_t)data, length };
	struct vec vec = { .iov = &iov, .n = 1 };

	return venv__vec_pwrite(&vec, fd, offset, length);
}

int venv__pwrite_zeroes(int fd, uint64_t length, uint64_t offset)
{
	static const char zeroes[ZEROES];

	while (length) {
		size_t here = (size_t)MIN(length, sizeof(zeroes));
		int r = venv__pwrite_all(fd, zeroes, here, offset);

		if (r < 0)
			return r;
		length -= here;
		offset += here;
	}
	return 0;
}

int venv__zero_range(int fd, uint64_t offset, uint64_t length, bool keep)
{
	int mode = keep ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;

	if (!length)
		return 0;
	if (fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
		return -errno;
	return venv__pwrite_zeroes(fd, length, offset);
}

void venv__punch(int fd, uint64_t offset, uint64_t length)
{
	(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			(off_t)length);
}
