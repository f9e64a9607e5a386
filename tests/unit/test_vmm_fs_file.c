/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, reading and writing. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/support/fs_client.h"
#include "util/compiler.h"

static int setup(void **state)
{
	struct fs_client *c = malloc(sizeof(*c));

	*state = c;
	return fs_client_open(c, NULL);
}

static int teardown(void **state)
{
	fs_client_close(*state);
	free(*state);
	return 0;
}

#define ROOT FUSE_ROOT_ID
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static uint64_t file(struct fs_client *c, const char *text)
{
	uint64_t node;

	fs_host_file(c, "f", text);
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	return node;
}

static off_t size_of(const struct fs_client *c, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_size;
}

static void what_is_written_is_read(void **state)
{
	struct fs_client *c = *state;
	uint64_t node, fh;
	char data[100];

	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR, 0640, &node, &fh), 0);
	assert_int_equal(fs_write(c, node, fh, 0, "hello", 5), 5);
	assert_int_equal(fs_write(c, node, fh, 10, "there", 5), 5);
	assert_int_equal(fs_write(c, node, fh, 0, "", 0), 0);
	assert_int_equal(fs_read(c, node, fh, 0, data, sizeof(data)), 15);
	assert_memory_equal(data, "hello\0\0\0\0\0there", 15);
	assert_int_equal(fs_read(c, node, fh, 12, data, 2), 2);
	assert_memory_equal(data, "er", 2);
	assert_int_equal(fs_read(c, node, fh, 15, data, 10), 0);
	assert_int_equal(fs_read(c, node, fh, INT64_MAX - FS_MAX_WRITE, data, 10), 0);
	assert_int_equal(fs_read(c, node, fh, INT64_MAX, data, 10), -EINVAL);
	assert_int_equal(fs_read(c, node, fh, UINT64_MAX, data, 10), -EINVAL);
	assert_int_equal(fs_write(c, node, fh, UINT64_MAX, "x", 1), -EINVAL);
	assert_int_equal(fs_read(c, node, fh + 1, 0, data, 10), -EBADF);
	assert_int_equal(fs_read(c, ROOT, fh, 0, data, 10), -EBADF);
	assert_int_equal(fs_release(c, node, fh), 0);
	assert_int_equal(fs_release(c, node, fh), -EBADF);
	assert_int_equal(fs_read(c, node, fh, 0, data, 10), -EBADF);
}

static void sizes_are_those_of_the_buffers(void **state)
{
	struct fs_client *c = *state;
	struct fuse_write_in in = { .size = 10 };
	struct fuse_read_in read_in = { .size = UINT32_MAX };
	static char large[FS_MAX_WRITE + 4096];
	struct fuse_write_out out;
	uint64_t node, fh;

	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR, 0640, &node, &fh), 0);
	in.fh = read_in.fh = fh;
	/* less is there than is said to be */
	assert_int_equal(
		fs_ask(c, FUSE_WRITE, node, PARTS(PART(in), { "123", 3 }), &out, sizeof(out)),
		-EINVAL);
	/* more is there: what is said counts */
	in.size = 2;
	assert_int_equal(
		fs_ask(c, FUSE_WRITE, node, PARTS(PART(in), { "123", 3 }), &out, sizeof(out)),
		sizeof(out));
	assert_int_equal(size_of(c, "f"), 2);
	in.size = FS_MAX_WRITE + 1;
	assert_int_equal(
		fs_ask(c, FUSE_WRITE, node, PARTS(PART(in), PART(large)), &out, sizeof(out)),
		-EINVAL);
	in.size = UINT32_MAX;
	assert_int_equal(
		fs_ask(c, FUSE_WRITE, node, PARTS(PART(in), PART(large)), &out, sizeof(out)),
		-EINVAL);
	assert_int_equal(fs_write(c, node, fh, 0, large, FS_MAX_WRITE), FS_MAX_WRITE);
	/* a read of 4 GiB gets what there is room for, and never more than it may */
	assert_int_equal(fs_ask(c, FUSE_READ, node, PARTS(PART(read_in)), large, 100), 100);
	assert_int_equal(fs_ask(c, FUSE_READ, node, PARTS(PART(read_in)), large, sizeof(large)),
			 FS_MAX_WRITE);
	assert_int_equal(fs_ask(c, FUSE_READ, node, PARTS(PART(read_in)), NULL, 0), 0);
}

/* As a guest's pages come: 256 pieces and more, none aligned with the data. */
static void large_transfers_come_in_many_pieces(void **state)
{
	struct fs_client *c = *state;
	char *data = malloc(FS_MAX_WRITE), *back = malloc(FS_MAX_WRITE);
	uint64_t node, fh;

	for (size_t i = 0; i < FS_MAX_WRITE; i++)
		data[i] = (char)(i * 7 + i / 251);
	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR, 0640, &node, &fh), 0);
	c->piece = 1031; /* 1017 of them */
	assert_int_equal(fs_write(c, node, fh, 5, data, FS_MAX_WRITE), FS_MAX_WRITE);
	assert_int_equal(fs_read(c, node, fh, 5, back, FS_MAX_WRITE), FS_MAX_WRITE);
	assert_memory_equal(data, back, FS_MAX_WRITE);
	c->no_wait = true; /* it is in the host's cache */
	memset(back, 0, FS_MAX_WRITE);
	assert_int_equal(fs_read(c, node, fh, 5, back, FS_MAX_WRITE), FS_MAX_WRITE);
	assert_memory_equal(data, back, FS_MAX_WRITE);
	assert_int_equal(fs_write(c, node, fh, 5, data, FS_MAX_WRITE), -1000 - EAGAIN);
	assert_int_equal(fs_write(c, node, fh, 5, data, 4096), 4096);
	free(data);
	free(back);
}

static void the_end_of_a_file_is_known_at_once(void **state)
{
	struct fs_client *c = *state;
	uint64_t node = file(c, "short"), fh;
	char data[100];

	assert_int_equal(fs_open(c, node, O_RDONLY, &fh), 0);
	assert_int_equal(fs_read(c, node, fh, 0, data, 100), 5); /* is in the cache now */
	c->no_wait = true;
	assert_int_equal(fs_read(c, node, fh, 0, data, 100), 5);
	assert_int_equal(fs_read(c, node, fh, 5, data, 100), 0);
}

static void access_is_what_was_asked_for(void **state)
{
	struct fs_client *c = *state;
	uint64_t node = file(c, "text"), fh;
	char data[10];

	assert_int_equal(fs_open(c, node, O_RDONLY, &fh), 0);
	assert_int_equal(fs_write(c, node, fh, 0, "x", 1), -EBADF);
	assert_int_equal(fs_release(c, node, fh), 0);
	assert_int_equal(fs_open(c, node, O_WRONLY, &fh), 0);
	assert_int_equal(fs_read(c, node, fh, 0, data, 10), -EBADF);
	assert_int_equal(fs_release(c, node, fh), 0);
	assert_int_equal(fs_open(c, node, O_ACCMODE, &fh), -EINVAL);
	assert_int_equal(fs_open(c, node, O_RDWR | O_TRUNC, &fh), 0);
	assert_int_equal(size_of(c, "f"), 0);
	/* flags that are not the guest's: no new file, no path, no device's */
	assert_int_equal(
		fs_open(c, node, O_RDONLY | O_CREAT | O_EXCL | O_PATH | O_DIRECT | O_NOATIME, &fh),
		0);
	assert_int_equal(fs_read(c, node, fh, 0, data, 10), 0);
}

/* Where the end is, is known on the host. But pages of a mapping have their place. */
static void appends_go_to_the_hosts_end(void **state)
{
	struct fs_client *c = *state;
	struct fuse_write_in in = { .size = 1, .flags = O_APPEND | O_WRONLY };
	struct fuse_write_out out;
	uint64_t node = file(c, "0123456789"), fh;
	char data[20];
	int fd;

	assert_int_equal(fs_open(c, node, O_RDWR | O_APPEND, &fh), 0);
	in.fh = fh;
	in.offset = 4;
	assert_true(fs_ask(c, FUSE_WRITE, node, PARTS(PART(in), TEXT("A")), &out, sizeof(out)) > 0);
	in.write_flags = FUSE_WRITE_CACHE;
	assert_true(fs_ask(c, FUSE_WRITE, node, PARTS(PART(in), TEXT("M")), &out, sizeof(out)) > 0);
	fd = openat(c->dir, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, data, sizeof(data)), 11);
	assert_memory_equal(data, "0123M56789A", 11);
	(void)close(fd);
}

static void creating_opens_what_is_there(void **state)
{
	struct fs_client *c = *state;
	uint64_t node = file(c, "text"), again, fh;

	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR | O_EXCL, 0600, &again, &fh), -EEXIST);
	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR, 0600, &again, &fh), 0);
	assert_int_equal(again, node);
	assert_int_equal(size_of(c, "f"), 4);
	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR | O_TRUNC, 0600, &again, &fh), 0);
	assert_int_equal(size_of(c, "f"), 0);
	assert_int_equal(mkdirat(c->dir, "d", 0700), 0);
	assert_int_equal(fs_create(c, ROOT, "d", O_RDWR, 0600, &again, &fh), -EISDIR);
	assert_int_equal(fs_create(c, ROOT, "new", O_ACCMODE, 0600, &again, &fh), -EINVAL);
	assert_int_equal(fs_create(c, ROOT, "new", O_WRONLY, 0444, &again, &fh), 0);
	assert_int_equal(fs_write(c, again, fh, 0, "x", 1), 1);
}

static uint32_t open_flags(struct fs_client *c, uint64_t node)
{
	const struct fuse_open_in in = { .flags = O_RDONLY };
	struct fuse_open_out out;

	assert_true(fs_ask(c, FUSE_OPEN, node, PARTS(PART(in)), &out, sizeof(out)) > 0);
	assert_int_equal(fs_release(c, node, out.fh), 0);
	return out.open_flags;
}

static void the_cache_is_kept_while_nothing_changes(void **state)
{
	struct fs_client *c = *state;
	uint64_t node = file(c, "text"), fh;

	assert_int_equal(open_flags(c, node), 0);
	assert_int_equal(open_flags(c, node), 0); /* changed too recently to be sure */
	(void)usleep(150000);
	assert_int_equal(open_flags(c, node), 0);
	assert_int_equal(open_flags(c, node), FOPEN_KEEP_CACHE);
	assert_int_equal(open_flags(c, node), FOPEN_KEEP_CACHE);
	fs_host_file(c, "f", "TEXT"); /* the same file, as large as before */
	assert_int_equal(open_flags(c, node), 0);
	(void)usleep(150000);
	assert_int_equal(open_flags(c, node), 0);
	assert_int_equal(open_flags(c, node), FOPEN_KEEP_CACHE);
	assert_int_equal(fs_open(c, node, O_RDWR, &fh), 0);
	assert_int_equal(fs_write(c, node, fh, 0, "x", 1), 1);
	assert_int_equal(open_flags(c, node), 0);
}

static void unlinked_files_are_used_on(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_getattr_in in = { 0 };
	uint64_t node, fh;
	char data[10];

	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR, 0600, &node, &fh), 0);
	assert_int_equal(fs_ask(c, FUSE_UNLINK, ROOT, PARTS(TEXT("f")), NULL, 0), 0);
	assert_int_equal(fs_write(c, node, fh, 0, "text", 4), 4);
	assert_int_equal(fs_read(c, node, fh, 0, data, 10), 4);
	assert_true(fs_ask(c, FUSE_GETATTR, node, PARTS(PART(in)), NULL, 200) > 0);
	assert_int_equal(fs_forget(c, node, 1), 0);
	assert_int_equal(fs_read(c, node, fh, 0, data, 10), -ENOENT);
}

static void files_without_a_name_get_one(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_create_in in = { .flags = O_RDWR | O_TMPFILE, .mode = 06644 };
	const struct fuse_getattr_in attr_in = { 0 };
	struct fuse_link_in link_in;
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	uint64_t node;

	if (fs_ask(c, FUSE_TMPFILE, ROOT, PARTS(PART(in), TEXT("/")), &out, sizeof(out)) ==
	    -EOPNOTSUPP)
		skip();
	node = out.entry.nodeid;
	assert_int_equal(out.entry.attr.nlink, 0);
	assert_int_equal(out.entry.attr.mode & 07777, 0644);
	assert_int_equal(fs_write(c, node, out.open.fh, 0, "text", 4), 4);
	assert_true(fs_ask(c, FUSE_GETATTR, node, PARTS(PART(attr_in)), NULL, 200) > 0);
	link_in.oldnodeid = node;
	assert_true(fs_ask(c, FUSE_LINK, ROOT, PARTS(PART(link_in), TEXT("named")), NULL, 200) > 0);
	assert_int_equal(size_of(c, "named"), 4);
}

static void space_is_reserved_within_reason(void **state)
{
	static const struct {
		uint32_t mode;
		uint64_t offset, length;
		int r;
	} cases[] = {
		{ 0, 0, 8192, 0 },
		{ FALLOC_FL_KEEP_SIZE, 100000, 4096, 0 },
		{ FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096, 0 },
		{ 0, 0, 1ULL << 60, -ENOSPC },
		{ FALLOC_FL_KEEP_SIZE, 0, INT64_MAX, -ENOSPC },
		{ 0, 0, UINT64_MAX, -EFBIG },
		{ 0, INT64_MAX, INT64_MAX, -EFBIG },
		{ 0, 0, 0, -EINVAL },
		{ 0x80, 0, 100, -EOPNOTSUPP },
		{ UINT32_MAX, 0, 100, -EOPNOTSUPP },
	};
	struct fs_client *c = *state;
	uint64_t node, fh;

	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR, 0600, &node, &fh), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fuse_fallocate_in in = { .fh = fh,
						      .mode = cases[i].mode,
						      .offset = cases[i].offset,
						      .length = cases[i].length };

		assert_int_equal(fs_ask(c, FUSE_FALLOCATE, node, PARTS(PART(in)), NULL, 0),
				 cases[i].r);
	}
	assert_int_equal(size_of(c, "f"), 8192);
}

static void holes_are_found(void **state)
{
	struct fs_client *c = *state;
	struct fuse_lseek_in in = { .whence = SEEK_DATA };
	struct fuse_lseek_out out;
	uint64_t node, fh;

	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR, 0600, &node, &fh), 0);
	assert_int_equal(fs_write(c, node, fh, 5ULL << 30, "x", 1), 1);
	in.fh = fh;
	assert_true(fs_ask(c, FUSE_LSEEK, node, PARTS(PART(in)), &out, sizeof(out)) > 0);
	assert_int_equal(out.offset, 5ULL << 30);
	in.whence = SEEK_HOLE;
	assert_true(fs_ask(c, FUSE_LSEEK, node, PARTS(PART(in)), &out, sizeof(out)) > 0);
	assert_int_equal(out.offset, 0);
	in.offset = UINT64_MAX;
	assert_int_equal(fs_ask(c, FUSE_LSEEK, node, PARTS(PART(in)), &out, sizeof(out)), -EINVAL);
	in = (struct fuse_lseek_in){ .fh = fh, .whence = SEEK_CUR };
	assert_int_equal(fs_ask(c, FUSE_LSEEK, node, PARTS(PART(in)), &out, sizeof(out)), -EINVAL);
}

static void ranges_are_copied_by_the_host(void **state)
{
	struct fs_client *c = *state;
	struct fuse_copy_file_range_in in = { .len = 4 };
	struct fuse_write_out out;
	uint64_t node = file(c, "0123456789"), to, to_fh;
	char data[10];

	assert_int_equal(fs_open(c, node, O_RDONLY, &in.fh_in), 0);
	assert_int_equal(fs_create(c, ROOT, "to", O_RDWR, 0600, &to, &to_fh), 0);
	in.fh_out = to_fh;
	in.nodeid_out = to;
	in.off_in = 2;
	assert_true(fs_ask(c, FUSE_COPY_FILE_RANGE, node, PARTS(PART(in)), &out, sizeof(out)) > 0);
	assert_int_equal(out.size, 4);
	assert_int_equal(fs_read(c, to, to_fh, 0, data, 10), 4);
	assert_memory_equal(data, "2345", 4);
	in.len = UINT64_MAX;
	in.off_in = 0;
	assert_true(fs_ask(c, FUSE_COPY_FILE_RANGE, node, PARTS(PART(in)), &out, sizeof(out)) > 0);
	assert_int_equal(out.size, 10);
	in.flags = 1;
	assert_int_equal(fs_ask(c, FUSE_COPY_FILE_RANGE, node, PARTS(PART(in)), &out, sizeof(out)),
			 -EINVAL);
	in.flags = 0;
	in.nodeid_out = node;
	assert_int_equal(fs_ask(c, FUSE_COPY_FILE_RANGE, node, PARTS(PART(in)), &out, sizeof(out)),
			 -EBADF);
	in.nodeid_out = 999;
	assert_int_equal(fs_ask(c, FUSE_COPY_FILE_RANGE, node, PARTS(PART(in)), &out, sizeof(out)),
			 -ENOENT);
}

static void synchronising_wants_an_open_file(void **state)
{
	struct fs_client *c = *state;
	struct fuse_fsync_in in = { .fsync_flags = FUSE_FSYNC_FDATASYNC };
	uint64_t node = file(c, "text"), fh;

	assert_int_equal(fs_open(c, node, O_RDWR, &fh), 0);
	assert_int_equal(fs_ask(c, FUSE_FSYNC, node, PARTS(PART(in)), NULL, 0),
			 fh == 0 ? 0 : -EBADF);
	in.fh = fh;
	assert_int_equal(fs_ask(c, FUSE_FSYNC, node, PARTS(PART(in)), NULL, 0), 0);
	in.fsync_flags = 0;
	assert_int_equal(fs_ask(c, FUSE_FSYNC, node, PARTS(PART(in)), NULL, 0), 0);
	assert_int_equal(fs_ask(c, FUSE_FSYNCDIR, ROOT, PARTS(PART(in)), NULL, 0), -EBADF);
	assert_int_equal(fs_open(c, ROOT, O_DIRECTORY, &in.fh), 0);
	assert_int_equal(fs_ask(c, FUSE_FSYNCDIR, ROOT, PARTS(PART(in)), NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_read),
		TEST(sizes_are_those_of_the_buffers),
		TEST(large_transfers_come_in_many_pieces),
		TEST(the_end_of_a_file_is_known_at_once),
		TEST(access_is_what_was_asked_for),
		TEST(appends_go_to_the_hosts_end),
		TEST(creating_opens_what_is_there),
		TEST(the_cache_is_kept_while_nothing_changes),
		TEST(unlinked_files_are_used_on),
		TEST(files_without_a_name_get_one),
		TEST(space_is_reserved_within_reason),
		TEST(holes_are_found),
		TEST(ranges_are_copied_by_the_host),
		TEST(synchronising_wants_an_open_file),
	};
	return cmocka_run_group_tests_name("vmm_fs_file", tests, NULL, NULL);
}
