/* SPDX-License-Identifier: Apache-2.0 */
/* Raw images: a file, or a block device, as it is. */
#include <string.h>
#include <sys/stat.h>

#include "layer.h"

enum { PAGE = 4096 }; /* in which file systems give room */

static int find(struct disk *disk, uint64_t offset, uint64_t length, struct layer_run *ret,
		venv_error **err)
{
	(void)disk;
	(void)err;
	*ret = (struct layer_run){ LAYER_DATA, offset, length, true };
	return 0;
}

static int write_data(struct disk *disk, uint64_t offset, struct vec *vec, uint64_t length,
		      venv_error **err)
{
	int r = venv__vec_pwrite(vec, disk->fd, offset, length);

	return r < 0 ? venv__fail_errno(err, -r, "cannot write to disk '%s'", disk->name) : 0;
}

static int zero(struct disk *disk, uint64_t offset, uint64_t length, bool unmap, venv_error **err)
{
	int r = venv__zero_range(disk->fd, offset, length, !unmap);

	return r < 0 ? venv__fail_errno(err, -r, "cannot write zeroes to disk '%s'", disk->name)
		     : 0;
}

static int discard(struct disk *disk, uint64_t offset, uint64_t length, venv_error **err)
{
	(void)err;
	venv__punch(disk->fd, offset, length);
	return 0;
}

static int flush(struct disk *disk, venv_error **err)
{
	int r = venv__layer_sync(disk);

	return r < 0 ? venv__fail_errno(err, -r, "cannot flush disk '%s'", disk->name) : 0;
}

static bool is_flat(struct disk *disk)
{
	(void)disk;
	return true;
}

static int grow(struct disk *disk, uint64_t length, venv_error **err)
{
	if (ftruncate(disk->fd, (off_t)length) < 0)
		return venv__fail_errno(err, errno, "cannot grow disk '%s'", disk->name);
	disk->length = length;
	return 0;
}

static int check(struct disk *disk, struct disk_check *ret, venv_error **err)
{
	(void)disk;
	(void)err;
	*ret = (struct disk_check){ 0 };
	return 0;
}

static int close_raw(struct disk *disk, venv_error **err)
{
	int r = disk->read_only ? 0 : flush(disk, err);

	venv__layer_done(disk);
	free(disk);
	return r;
}

static const struct layer_ops raw_ops = {
	.find = find,
	.write = write_data,
	.zero = zero,
	.discard = discard,
	.flush = flush,
	.is_flat = is_flat,
	.grow = grow,
	.check = check,
	.close = close_raw,
};

int venv__raw_open(int fd, const char *name, const struct disk_options *options, struct disk **ret,
		   venv_error **err)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	off_t end = lseek(fd, 0, SEEK_END);
	int r;

	if (!disk)
		return venv__fail_nomem(err);
	if (end < 0) {
		free(disk);
		return venv__fail_errno(err, errno, "cannot find the length of disk '%s'", name);
	}
	r = venv__layer_init(disk, &raw_ops, fd, name, options->read_only, err);
	if (r < 0) {
		free(disk);
		return r;
	}
	disk->length = (uint64_t)end;
	disk->granularity = PAGE;
	*ret = disk;
	return 0;
}
