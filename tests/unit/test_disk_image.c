/* SPDX-License-Identifier: Apache-2.0 */
/* Images as callers see them, in memory. What other programs think of them: tests/integration/test_disk.py */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libvenv/disk/disk.h"

enum { MB = 1 << 20 };

static int next_sync; /* the errno that the next fdatasync() fails with */

/* A disk that fails is one of the faults that a real one cannot be made to show; this one takes libc's place. */
int fdatasync(int fd)
{
	errno = next_sync;
	next_sync = 0;
	return errno ? -1 : fsync(fd);
}

static int new_image(const struct disk_create *create)
{
	_cleanup_error_ venv_error *err = NULL;
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	if (venv__disk_create(fd, create, &err) < 0)
		fail_msg("%s", venv_error_message(err));
	return fd;
}

/* A resolver that knows one file. */
struct one {
	const char *name;
	int fd;
};

static int resolve(void *user, const char *by, const char *name, int *ret_fd, char **ret_name,
		   venv_error **err)
{
	const struct one *one = user;
	char path[64];

	assert_string_equal(by, "top");
	if (strcmp(name, one->name) != 0)
		return venv__fail(err, VENV_ERR_DENIED, "no");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", one->fd);
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	*ret_name = strdup(name);
	return 0;
}

static struct disk *open_image(int fd, enum disk_format format, struct one *below)
{
	const struct disk_options options = { .format = format,
					      .resolve = below ? resolve : NULL,
					      .resolve_user = below };
	_cleanup_error_ venv_error *err = NULL;
	struct disk *disk = NULL;

	if (venv__disk_open(dup(fd), "top", &options, &disk, &err) < 0)
		fail_msg("%s", venv_error_message(err));
	return disk;
}

static void expect_bytes(struct disk *disk, uint64_t at, int byte, size_t n)
{
	_cleanup_free_ unsigned char *data = malloc(n);

	assert_non_null(data);
	memset(data, ~byte, n);
	assert_int_equal(venv__disk_read(disk, at, data, n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(data[i], byte);
}

static void fill(struct disk *disk, uint64_t at, int byte, size_t n)
{
	_cleanup_free_ void *data = malloc(n);

	assert_non_null(data);
	memset(data, byte, n);
	assert_int_equal(venv__disk_write(disk, at, data, n, NULL), 0);
}

static void written_is_read_again(void **state)
{
	static const struct disk_create kinds[] = {
		{ .format = DISK_RAW, .length = 8 * MB },
		{ .format = DISK_QCOW2, .length = 8 * MB },
		{ .format = DISK_QCOW2, .length = 8 * MB, .cluster_bits = 9 },
		{ .format = DISK_QCOW2, .length = 8 * MB, .cluster_bits = 21 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_close_ int fd = new_image(&kinds[i]);
		struct disk *disk = open_image(fd, kinds[i].format, NULL);

		assert_int_equal(venv__disk_length(disk), 8 * MB);
		expect_bytes(disk, 0, 0, 2 * MB);
		fill(disk, MB - 3, 0x11, MB + 7);
		fill(disk, 8 * MB - 1, 0x22, 1);
		assert_int_equal(venv__disk_write_zeroes(disk, MB + 100, 300000, true, NULL), 0);
		assert_int_equal(venv__disk_close(disk, NULL), 0);
		disk = open_image(fd, kinds[i].format, NULL);
		expect_bytes(disk, MB - 3, 0x11, 103);
		expect_bytes(disk, MB + 100, 0, 300000);
		expect_bytes(disk, MB + 300100, 0x11, MB - 300100 + 4);
		expect_bytes(disk, 8 * MB - 1, 0x22, 1);
		assert_int_equal(venv__disk_close(disk, NULL), 0);
	}
}

static void nothing_below_comes_to_light(void **state)
{
	_cleanup_close_ int base = memfd_create("base", MFD_CLOEXEC);
	const struct disk_create create = { .format = DISK_QCOW2,
					    .length = 3 * MB,
					    .backing = "base",
					    .backing_format = DISK_RAW };
	struct one one = { "base", base };
	_cleanup_close_ int fd = new_image(&create);
	struct disk *disk;

	(void)state;
	assert_int_equal(ftruncate(base, 4 * MB), 0);
	memset(mmap(NULL, 4 * MB, PROT_WRITE, MAP_SHARED, base, 0), 7, 4 * MB);
	disk = open_image(fd, DISK_QCOW2, &one);
	expect_bytes(disk, 0, 7, 3 * MB);
	assert_int_equal(venv__disk_discard(disk, MB, MB, NULL), 0);
	expect_bytes(disk, MB, 0, MB);
	fill(disk, 100, 1, 1);
	expect_bytes(disk, 101, 7, 100);
	assert_int_equal(venv__disk_discard(disk, 0, 65536, NULL), 0);
	expect_bytes(disk, 0, 0, 65536);
	assert_int_equal(venv__disk_grow(disk, 5 * MB - 1, NULL), 0);
	assert_int_equal(venv__disk_length(disk), 5 * MB);
	expect_bytes(disk, 3 * MB, 0, 2 * MB);
	assert_int_equal(venv__disk_close(disk, NULL), 0);
}

static void places_are_told(void **state)
{
	const struct disk_create create = { .format = DISK_QCOW2, .length = 8 * MB };
	_cleanup_close_ int fd = new_image(&create);
	struct disk *disk = open_image(fd, DISK_QCOW2, NULL);
	struct disk_extent extent;
	char byte;

	(void)state;
	assert_int_equal(venv__disk_map(disk, 5, MB, false, &extent, NULL), 0);
	assert_int_equal(extent.place, DISK_ZEROES);
	assert_int_equal(extent.length, MB);
	assert_int_equal(venv__disk_map(disk, 5, MB, true, &extent, NULL), 0);
	assert_int_equal(extent.place, DISK_CALL);
	assert_true(venv__disk_flush_fd(disk) >= 0);
	fill(disk, 65536, 9, 65536);
	assert_int_equal(venv__disk_flush_fd(disk), -1);
	for (int write = 0; write < 2; write++) {
		assert_int_equal(venv__disk_map(disk, 65540, MB, write, &extent, NULL), 0);
		assert_int_equal(extent.place, DISK_FILE);
		assert_int_equal(extent.length, 65532);
		assert_int_equal(pread(extent.fd, &byte, 1, (off_t)extent.offset), 1);
		assert_int_equal(byte, 9);
	}
	assert_int_equal(venv__disk_flush(disk, NULL), 0);
	assert_true(venv__disk_flush_fd(disk) >= 0);
	assert_int_equal(venv__disk_map(disk, 8 * MB, 1, false, &extent, NULL), VENV_ERR_INVALID);
	assert_int_equal(venv__disk_close(disk, NULL), 0);
}

static void bounds_are_kept(void **state)
{
	const struct disk_create create = { .format = DISK_QCOW2, .length = MB };
	_cleanup_close_ int fd = new_image(&create);
	struct disk *disk = open_image(fd, DISK_QCOW2, NULL);
	static const struct {
		uint64_t offset, length;
	} cases[] = { { MB, 1 },
		      { MB - 1, 2 },
		      { UINT64_MAX, 1 },
		      { UINT64_MAX, UINT64_MAX },
		      { 1, UINT64_MAX } };
	char data[2] = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t at = cases[i].offset, n = cases[i].length;

		assert_int_equal(venv__disk_discard(disk, at, n, NULL), VENV_ERR_INVALID);
		assert_int_equal(venv__disk_write_zeroes(disk, at, n, true, NULL),
				 VENV_ERR_INVALID);
		if (n > sizeof(data))
			continue;
		assert_int_equal(venv__disk_read(disk, at, data, n, NULL), VENV_ERR_INVALID);
		assert_int_equal(venv__disk_write(disk, at, data, n, NULL), VENV_ERR_INVALID);
	}
	assert_int_equal(venv__disk_write(disk, MB, data, 0, NULL), 0);
	assert_int_equal(venv__disk_grow(disk, 1, NULL), VENV_ERR_INVALID);
	assert_int_equal(venv__disk_grow(disk, UINT64_MAX, NULL), VENV_ERR_INVALID);
	assert_int_equal(venv__disk_close(disk, NULL), 0);
}

static void read_only_is_read_only(void **state)
{
	const struct disk_create create = { .format = DISK_QCOW2, .length = MB };
	const struct disk_options options = { .format = DISK_QCOW2, .read_only = true };
	int fd = new_image(&create);
	struct disk *disk = NULL;
	struct disk_extent extent;

	(void)state;
	assert_int_equal(venv__disk_open(fd, "disk", &options, &disk, NULL), 0);
	assert_int_equal(venv__disk_write(disk, 0, "x", 1, NULL), VENV_ERR_DENIED);
	assert_int_equal(venv__disk_discard(disk, 0, 1, NULL), VENV_ERR_DENIED);
	assert_int_equal(venv__disk_grow(disk, 2 * MB, NULL), VENV_ERR_DENIED);
	assert_int_equal(venv__disk_map(disk, 0, 1, true, &extent, NULL), VENV_ERR_DENIED);
	assert_int_equal(venv__disk_flush(disk, NULL), 0);
	assert_int_equal(venv__disk_close(disk, NULL), 0);
}

static void nonsense_is_not_created(void **state)
{
	static char long_name[1100];
	static const struct disk_create cases[] = {
		{ .format = DISK_QCOW2, .cluster_bits = 8 },
		{ .format = DISK_QCOW2, .cluster_bits = 22 },
		{ .format = DISK_QCOW2, .length = 1ULL << 62 },
		{ .format = DISK_QCOW2, .length = 1ULL << 40, .cluster_bits = 9 },
		{ .format = DISK_QCOW2, .length = UINT64_MAX },
		{ .format = DISK_RAW, .length = UINT64_MAX },
		{ .format = DISK_RAW, .backing = "x" },
		{ .format = DISK_QCOW2, .backing = "" },
		{ .format = DISK_QCOW2, .backing = long_name },
	};

	(void)state;
	memset(long_name, 'x', sizeof(long_name) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_close_ int fd = memfd_create("disk", MFD_CLOEXEC);

		assert_int_equal(venv__disk_create(fd, &cases[i], NULL), VENV_ERR_INVALID);
	}
}

static void images_tell_about_themselves(void **state)
{
	const struct disk_create create = { .format = DISK_QCOW2,
					    .length = 10 * MB,
					    .cluster_bits = 12,
					    .backing = "a/b",
					    .backing_format = DISK_QCOW2 };
	_cleanup_close_ int fd = new_image(&create);
	struct disk_info info;

	(void)state;
	assert_int_equal(venv__disk_info(fd, "x", DISK_QCOW2, &info, NULL), 0);
	assert_int_equal(info.length, 10 * MB);
	assert_int_equal(info.version, 3);
	assert_int_equal(info.cluster_bits, 12);
	assert_int_equal(info.refcount_bits, 16);
	assert_string_equal(info.backing, "a/b");
	assert_int_equal(info.backing_format, DISK_QCOW2);
	assert_int_equal(venv__disk_info(fd, "x", DISK_RAW, &info, NULL), 0);
	assert_int_equal(info.version, 0);
	assert_int_equal(info.length, lseek(fd, 0, SEEK_END));
}

static void checks_count(void **state)
{
	const struct disk_create create = { .format = DISK_QCOW2, .length = 8 * MB };
	_cleanup_close_ int fd = new_image(&create);
	struct disk *disk = open_image(fd, DISK_QCOW2, NULL);
	struct disk_check check;

	(void)state;
	fill(disk, 0, 1, 65536 * 3);
	assert_int_equal(venv__disk_check(disk, &check, NULL), 0);
	assert_int_equal(check.clusters, 4 + 1 + 3);
	assert_int_equal(check.leaks + check.errors, 0);
	/* the refcount of the last one */
	assert_int_equal(venv__disk_close(disk, NULL), 0);
	assert_int_equal(pwrite(fd, "\0\0", 2, 2 * 65536 + 7 * 2), 2);
	disk = open_image(fd, DISK_QCOW2, NULL);
	assert_int_equal(venv__disk_check(disk, &check, NULL), 0);
	assert_int_equal(check.errors, 1);
	assert_int_equal(venv__disk_close(disk, NULL), 0);
}

/* The kernel tells of data that it could not write once, and drops them: the second flush must not be good. */
static void a_failed_flush_is_not_forgotten(void **state)
{
	static const enum disk_format formats[] = { DISK_RAW, DISK_QCOW2 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct disk_create create = { .format = formats[i], .length = MB };
		int fd = new_image(&create);
		struct disk *disk = open_image(fd, formats[i], NULL);
		_cleanup_error_ venv_error *err = NULL;

		fill(disk, 0, 1, 4096);
		next_sync = EIO;
		assert_true(venv__disk_flush(disk, NULL) < 0);
		assert_true(venv__disk_flush(disk, &err) < 0);
		assert_non_null(
			strstr(venv_error_message(err), "an earlier flush of disk 'top' failed"));
		assert_int_equal(venv__disk_flush_fd(disk), -1);
		assert_true(venv__disk_close(disk, NULL) < 0);
		disk = open_image(fd, formats[i], NULL); /* as it is after a restart */
		fill(disk, 0, 2, 4096);
		assert_int_equal(venv__disk_flush(disk, NULL), 0);
		venv__disk_flush_failed(disk, ENOSPC); /* by somebody with a queue of his own */
		assert_true(venv__disk_flush(disk, NULL) < 0);
		assert_true(venv__disk_close(disk, NULL) < 0);
		(void)close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_is_read_again),
		cmocka_unit_test(nothing_below_comes_to_light),
		cmocka_unit_test(places_are_told),
		cmocka_unit_test(bounds_are_kept),
		cmocka_unit_test(read_only_is_read_only),
		cmocka_unit_test(nonsense_is_not_created),
		cmocka_unit_test(images_tell_about_themselves),
		cmocka_unit_test(checks_count),
		cmocka_unit_test(a_failed_flush_is_not_forgotten),
	};
	return cmocka_run_group_tests_name("disk_image", tests, NULL, NULL);
}
