/* SPDX-License-Identifier: Apache-2.0 */
/* Copying an image: shared blocks where the file system has them, holes as holes. */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "disk_copy.h"
#include "store.h"

enum { COPY_CHUNK = 16 << 20, BUFFER_SIZE = 1 << 20 };

/* By reading and writing, where the kernel cannot do it alone. Bytes copied, 0 at the end, or -errno. */
static ssize_t copy_by_hand(int from, int to, off_t at, size_t length)
{
	_cleanup_free_ char *buffer = malloc(BUFFER_SIZE);
	ssize_t n, done = 0;

	if (!buffer)
		return -ENOMEM;
	n = pread(from, buffer, MIN(length, (size_t)BUFFER_SIZE), at);
	while (n > 0 && done < n) {
		ssize_t written = pwrite(to, buffer + done, (size_t)(n - done), at + done);

		if (written < 0 && errno != EINTR)
			return -errno;
		done += MAX(written, 0);
	}
	return n < 0 ? -errno : n;
}

static ssize_t copy_some(int from, int to, off_t at, size_t length)
{
	off_t in = at, out = at;
	ssize_t n = copy_file_range(from, &in, to, &out, length, 0);

	if (n > 0)
		return n;
	/* nothing: some file systems say so of what they cannot copy */
	if (n == 0 || errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS)
		return copy_by_hand(from, to, at, length);
	return errno == EINTR ? copy_by_hand(from, to, at, length) : -errno;
}

struct copy {
	int from, to;
	struct venv_op *op;
	const char *machine, *phase;
	off_t size;
};

/* Bytes from start to end, of which none is a hole. */
static int copy_data(const struct copy *copy, off_t start, off_t end, venv_error **err)
{
	while (start < end) {
		size_t length = (size_t)MIN(end - start, (off_t)COPY_CHUNK);
		ssize_t n = copy_some(copy->from, copy->to, start, length);
		int r = venv__op_cancelled(copy->op, err);

		if (r < 0)
			return r;
		if (n < 0)
			return venv__fail_errno(err, (int)-n, "cannot copy the disk image");
		if (n == 0)
			return venv__fail(err, VENV_ERR_BOX, "it became shorter while it was read");
		start += n;
		venv__op_progress(copy->op, copy->machine, copy->phase, (uint64_t)start,
				  (uint64_t)copy->size);
	}
	return 0;
}

int venv__disk_copy(int from, int to, struct venv_op *op, const char *machine, const char *phase,
		    venv_error **err)
{
	off_t size = lseek(from, 0, SEEK_END), data, hole = 0;
	const struct copy copy = { from, to, op, machine, phase, size };
	int r = 0;

	if (size < 0)
		return venv__fail_errno(err, errno, "cannot find its length");
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (ftruncate(to, size) < 0)
		return venv__fail_errno(err, errno, "cannot copy the disk image");
	while (r == 0 && hole < size) {
		data = lseek(from, hole, SEEK_DATA);
		if (data < 0 && errno == ENXIO) /* a hole to the end */
			break;
		data = data < 0 ? hole : data;
		hole = lseek(from, data, SEEK_HOLE);
		hole = hole < 0 || hole > size ? size : hole;
		r = copy_data(&copy, data, hole, err);
	}
	return r;
}
