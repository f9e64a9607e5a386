/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of strangers: a first byte that chooses operations, then the image. It is opened, read, written,
 * grown and checked; what was written must be read again as long as nothing is found wrong.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libvenv/disk/disk.h"

enum { PIECE = 3000, BELOW = 100000, IMAGE_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever file an image names lies below it; qcow2 is what a stranger's chain is made of, too. */
static int resolve(void *user, const char *by, const char *name, int *ret_fd, char **ret_name,
		   venv_error **err)
{
	int fd = memfd_create("below", MFD_CLOEXEC);

	(void)user;
	(void)by;
	if (fd < 0 || pwrite(fd, "below", 5, 4000) < 0 || ftruncate(fd, BELOW) < 0)
		return venv__fail_errno(err, errno, "below");
	*ret_fd = fd;
	*ret_name = strdup(name);
	return *ret_name ? 0 : venv__fail_nomem(err);
}

static struct disk *open_image(int fd, bool read_only)
{
	const struct disk_options options = { .format = DISK_QCOW2,
					      .read_only = read_only,
					      .resolve = resolve };
	struct disk *disk = NULL;

	return venv__disk_open(dup(fd), "disk", &options, &disk, NULL) < 0 ? NULL : disk;
}

static uint64_t place(const struct disk *disk, unsigned i)
{
	uint64_t length = venv__disk_length(disk);
	uint64_t at = i & 1 ? length / 7 * (i % 7) : (uint64_t)i * 1511;

	return MIN(at, length);
}

static void read_some(struct disk *disk)
{
	char piece[PIECE];

	for (unsigned i = 0; i < 12; i++) {
		uint64_t at = place(disk, i);
		size_t n = (size_t)MIN(venv__disk_length(disk) - at, sizeof(piece));

		(void)venv__disk_read(disk, at, piece, n, NULL);
	}
}

static void write_one(struct disk *disk, unsigned i, bool quiet)
{
	char mine[PIECE], again[PIECE];
	uint64_t at = place(disk, i);
	size_t n = (size_t)MIN(venv__disk_length(disk) - at, sizeof(mine));

	memset(mine, (int)i + 1, sizeof(mine));
	if (venv__disk_write(disk, at, mine, n, NULL) < 0 ||
	    venv__disk_read(disk, at, again, n, NULL) < 0 || !quiet)
		return;
	if (memcmp(mine, again, n) != 0)
		__builtin_trap();
}

static void change(struct disk *disk, unsigned how)
{
	/* an image whose clusters are used twice may overwrite itself, once it was changed otherwise */
	struct disk_check before = { 0 };
	bool sound = venv__disk_check(disk, &before, NULL) == 0 && !before.errors;

	for (unsigned i = 0; i < 10; i++) {
		uint64_t at = place(disk, i + how), left = venv__disk_length(disk) - at;

		switch ((how >> (i % 4)) % 5) {
		case 0:
			(void)venv__disk_discard(disk, at, MIN(left, 5000ULL), NULL);
			break;
		case 1:
			(void)venv__disk_write_zeroes(disk, at, MIN(left, 7000ULL), how & 1, NULL);
			break;
		case 2:
			(void)venv__disk_flush(disk, NULL);
			break;
		default:
			write_one(disk, i + how, sound);
		}
	}
	if (how & 128 && venv__disk_length(disk) < 1 << 26)
		(void)venv__disk_grow(disk, venv__disk_length(disk) + 200000, NULL);
	if (sound && venv__disk_flush(disk, NULL) == 0 &&
	    venv__disk_check(disk, &before, NULL) == 0 && before.errors)
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("image", MFD_CLOEXEC);
	struct disk_check check;
	struct disk *disk;

	if (size < 2 || size > IMAGE_MAX || fd < 0 || pwrite(fd, data + 1, size - 1, 0) < 0)
		return 0;
	disk = open_image(fd, true);
	if (disk) {
		read_some(disk);
		(void)venv__disk_check(disk, &check, NULL);
		(void)venv__disk_close(disk, NULL);
	}
	disk = open_image(fd, false);
	if (disk) {
		change(disk, data[0]);
		read_some(disk);
		(void)venv__disk_close(disk, NULL);
	}
	return 0;
}
