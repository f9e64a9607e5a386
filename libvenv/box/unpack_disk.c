/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an image can be a box: a disk by itself, whole, of features that we have. The monitor that
 * serves it later believes none of this; it is checked here so that `venv box add` says it, and not a
 * machine that does not boot.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../disk/disk.h"
#include "unpack.h"

#define LENGTH_MAX (UINT64_C(64) << 40)

static int not_alone(const char *name, const char *below, venv_error **err)
{
	_cleanup_free_ char *shown = venv__path_show(below);

	return venv__hint(
		venv__fail(err, VENV_ERR_BOX,
			   "'%s' lies on another image, '%s': a box must stand for itself", name,
			   shown ? shown : "?"),
		err, "make one of both: 'qemu-img convert -O qcow2 %s NEW.qcow2'", name);
}

static int check_length(const char *name, uint64_t length, venv_error **err)
{
	if (!length)
		return venv__fail(err, VENV_ERR_BOX, "'%s' is an empty disk", name);
	if (length % 512)
		return venv__hint(venv__fail(err, VENV_ERR_BOX,
					     "'%s' is no disk: its %llu bytes are no whole sectors",
					     name, (unsigned long long)length),
				  err, "it may be cut short: make or download it again");
	if (length > LENGTH_MAX)
		return venv__fail(err, VENV_ERR_BOX, "'%s' is a disk of more than %llu TiB", name,
				  (unsigned long long)(LENGTH_MAX >> 40));
	return 0;
}

static int check_info(const char *name, const struct disk_info *info, venv_error **err)
{
	if (info->backing[0])
		return not_alone(name, info->backing, err);
	if (info->corrupt)
		return venv__fail(err, VENV_ERR_BOX, "'%s' says of itself that it is corrupt",
				  name);
	if (info->dirty)
		return venv__hint(
			venv__fail(err, VENV_ERR_BOX, "'%s' was not closed properly", name), err,
			"repair it: 'qemu-img check -r all %s'", name);
	return check_length(name, info->length, err);
}

/* All tables against the length of the file and against each other. */
static int check_tables(int fd, const char *name, const struct disk_info *info, venv_error **err)
{
	const struct disk_options options = { .format = info->format, .read_only = true };
	struct disk_check check = { 0 };
	_cleanup_disk_ struct disk *disk = NULL;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3), r;

	if (own < 0)
		return venv__fail_errno(err, errno, "cannot read '%s'", name);
	r = venv__disk_open(own, name, &options, &disk, err);
	if (r < 0)
		return r;
	r = venv__disk_check(disk, &check, err);
	if (r ==
	    VENV_ERR_UNSUPPORTED) { /* snapshots inside, or too large: that is no fault of it */
		if (err)
			venv__error_clear(err);
		return 0;
	}
	if (r == 0 && check.errors)
		r = venv__hint(venv__fail(err, VENV_ERR_BOX, "'%s' is damaged: %llu errors", name,
					  (unsigned long long)check.errors),
			       err, "see 'qemu-img check %s'", name);
	return r;
}

int venv__image_check(int fd, const char *name, const char *format, json_t **ret, venv_error **err)
{
	struct disk_info info = { 0 };
	int r = venv__disk_info(fd, name, strcmp(format, "raw") ? DISK_QCOW2 : DISK_RAW, &info,
				err);

	if (r == 0)
		r = check_info(name, &info, err);
	if (r == 0 && info.format == DISK_QCOW2)
		r = check_tables(fd, name, &info, err);
	if (r == VENV_ERR_CORRUPT && err &&
	    *err) /* it is a stranger's, not ours, that is damaged */
		r = (*err)->code = VENV_ERR_BOX;
	if (r == VENV_ERR_BOX)
		return venv__hint(r, err, "the image is damaged: make or download it again");
	if (r < 0)
		return r;
	*ret = json_pack("{s:I}", "length", (json_int_t)info.length);
	return *ret ? 0 : venv__fail_nomem(err);
}
