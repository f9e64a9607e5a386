/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
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

static int set(struct fs_client *c, uint64_t node, const struct fuse_setattr_in *in,
	       struct fuse_attr *ret)
{
	struct fuse_attr_out out;
	ssize_t n = fs_ask(c, FUSE_SETATTR, node, PARTS({ in, sizeof(*in) }), &out, sizeof(out));

	if (n > 0 && ret)
		*ret = out.attr;
	return n < 0 ? (int)n : 0;
}

static struct fuse_attr get(struct fs_client *c, uint64_t node)
{
	const struct fuse_getattr_in in = { 0 };
	struct fuse_attr_out out;

	assert_true(fs_ask(c, FUSE_GETATTR, node, PARTS(PART(in)), &out, sizeof(out)) > 0);
	assert_int_equal(out.attr_valid, 1);
	return out.attr;
}

static uint64_t file(struct fs_client *c, const char *name)
{
	uint64_t node;

	fs_host_file(c, name, "text");
	assert_int_equal(fs_lookup(c, ROOT, name, &node), 0);
	return node;
}

static void attributes_are_the_hosts(void **state)
{
	struct fs_client *c = *state;
	struct fuse_attr attr = get(c, file(c, "f"));
	struct stat st;

	assert_int_equal(fstatat(c->dir, "f", &st, 0), 0);
	assert_int_equal(attr.ino, st.st_ino);
	assert_int_equal(attr.size, 4);
	assert_int_equal(attr.mode, st.st_mode);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(attr.uid, 1000);
	assert_int_equal(attr.gid, 1000);
	assert_int_equal(attr.mtime, st.st_mtim.tv_sec);
	assert_int_equal(attr.mtimensec, st.st_mtim.tv_nsec);
	assert_int_equal(S_ISDIR(get(c, ROOT).mode), 1);
}

static void files_of_others_are_nobodys(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_setattr_in in = { .valid = FATTR_UID, .uid = 1000 };
	struct fuse_attr attr = { 0 };
	uint64_t node;

	if (geteuid() != 0)
		skip();
	fs_host_file(c, "f", "x");
	assert_int_equal(fchownat(c->dir, "f", 12345, 12346, 0), 0);
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	attr = get(c, node);
	assert_int_equal(attr.uid, 65534);
	assert_int_equal(attr.gid, 65534);
	assert_int_equal(set(c, node, &in, NULL), -EPERM);
}

static void owners_are_granted_not_changed(void **state)
{
	static const struct {
		uint32_t valid, uid, gid;
		int r;
	} cases[] = {
		{ FATTR_UID | FATTR_GID, 1000, 1000, 0 },
		{ FATTR_UID, 0, 77, 0 },
		{ FATTR_GID, 77, 0, 0 },
		{ FATTR_UID, 1001, 0, -EPERM },
		{ FATTR_GID, 0, 4, -EPERM },
	};
	struct fs_client *c = *state;
	uint64_t node = file(c, "f");
	struct fuse_attr attr = { 0 };
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fuse_setattr_in in = { .valid = cases[i].valid,
						    .uid = cases[i].uid,
						    .gid = cases[i].gid };

		assert_int_equal(set(c, node, &in, &attr), cases[i].r);
	}
	assert_int_equal(get(c, node).uid, 1000);
	assert_int_equal(fstatat(c->dir, "f", &st, 0), 0);
	assert_int_equal(st.st_uid, geteuid());
}

static void set_id_bits_never_reach_the_host(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = 07755 };
	const struct fuse_mkdir_in dir_in = { .mode = 07777 };
	const struct fuse_mknod_in node_in = { .mode = S_IFREG | 06755 };
	uint64_t node, fh, of = file(c, "f");
	struct fuse_attr attr = { 0 };
	struct stat st;

	assert_int_equal(set(c, of, &in, &attr), 0);
	assert_int_equal(attr.mode & 07777, 01755);
	assert_true(fs_ask(c, FUSE_MKDIR, ROOT, PARTS(PART(dir_in), TEXT("d")), NULL, 200) > 0);
	assert_true(fs_ask(c, FUSE_MKNOD, ROOT, PARTS(PART(node_in), TEXT("n")), NULL, 200) > 0);
	assert_int_equal(fs_create(c, ROOT, "c", O_RDWR, 06755, &node, &fh), 0);
	for (const char *name = "dncf"; *name; name++) {
		assert_int_equal(fstatat(c->dir, (char[]){ *name, 0 }, &st, 0), 0);
		assert_int_equal(st.st_mode & 06000, 0);
	}
}

/* A program of the host's that a guest writes to is no longer set-id, whatever the guest says. */
static void a_change_takes_set_id_bits_away(void **state)
{
	struct fs_client *c = *state;
	static const struct {
		uint32_t open_flags;
		bool writes, sizes, kill;
	} cases[] = {
		{ .open_flags = O_RDWR, .writes = true },
		{ .open_flags = O_RDWR | O_TRUNC },
		{ .open_flags = O_RDONLY, .sizes = true },
		{ .open_flags = O_RDONLY, .kill = true },
	};
	const struct fuse_setattr_in size_in = { .valid = FATTR_SIZE, .size = 2 };
	const struct fuse_setattr_in kill_in = { .valid = FATTR_KILL_SUIDGID };
	uint64_t node = file(c, "f"), fh;
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(fchmodat(c->dir, "f", 06755, 0), 0);
		assert_int_equal(fs_open(c, node, cases[i].open_flags, &fh), 0);
		if (cases[i].writes)
			assert_int_equal(fs_write(c, node, fh, 0, "x", 1), 1);
		if (cases[i].sizes)
			assert_int_equal(set(c, node, &size_in, NULL), 0);
		if (cases[i].kill)
			assert_int_equal(set(c, node, &kill_in, NULL), 0);
		assert_int_equal(fstatat(c->dir, "f", &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 0755);
		assert_int_equal(fs_release(c, node, fh), 0);
	}
}

static void times_and_sizes_are_set(void **state)
{
	struct fs_client *c = *state;
	struct fuse_setattr_in in = { .valid = FATTR_ATIME | FATTR_MTIME,
				      .atime = 1000000000,
				      .atimensec = 5,
				      .mtime = (uint64_t)-5,
				      .mtimensec = 7 };
	uint64_t node = file(c, "f"), fh;
	struct fuse_attr attr = { 0 };

	assert_int_equal(set(c, node, &in, &attr), 0);
	assert_int_equal(attr.atime, 1000000000);
	assert_int_equal(attr.atimensec, 5);
	assert_int_equal(attr.mtime, (uint64_t)-5);
	in = (struct fuse_setattr_in){ .valid = FATTR_MTIME | FATTR_MTIME_NOW, .mtime = 5 };
	assert_int_equal(set(c, node, &in, &attr), 0);
	assert_true(attr.mtime > 1700000000);
	assert_int_equal(attr.atime, 1000000000);
	in = (struct fuse_setattr_in){ .valid = FATTR_ATIME, .atime = 7, .atimensec = UTIME_OMIT };
	assert_int_equal(set(c, node, &in, &attr), 0);
	assert_int_equal(attr.atime, 7);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 1000 };
	assert_int_equal(set(c, node, &in, &attr), 0);
	assert_int_equal(attr.size, 1000);
	in.size = UINT64_MAX;
	assert_int_equal(set(c, node, &in, &attr), -EINVAL);
	assert_int_equal(fs_open(c, node, O_RDWR, &fh), 0);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE | FATTR_FH, .size = 3, .fh = fh };
	assert_int_equal(set(c, node, &in, &attr), 0);
	assert_int_equal(attr.size, 3);
	in.fh++;
	assert_int_equal(set(c, node, &in, &attr), -EBADF);
	assert_int_equal(set(c, ROOT, &in, &attr), -EBADF);
	in.valid = FATTR_SIZE;
	assert_int_equal(set(c, ROOT, &in, &attr), -EISDIR);
}

static void a_link_itself_is_changed(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_setattr_in times = { .valid = FATTR_MTIME, .mtime = 99 };
	const struct fuse_setattr_in mode = { .valid = FATTR_MODE, .mode = 0 };
	const struct fuse_setattr_in size = { .valid = FATTR_SIZE };
	struct stat st;
	uint64_t node;

	fs_host_file(c, "f", "text");
	assert_int_equal(symlinkat("f", c->dir, "l"), 0);
	assert_int_equal(fs_lookup(c, ROOT, "l", &node), 0);
	assert_int_equal(set(c, node, &times, NULL), 0);
	assert_int_equal(set(c, node, &size, NULL), -ELOOP);
	(void)set(c, node, &mode, NULL);
	assert_int_equal(fstatat(c->dir, "f", &st, 0), 0);
	assert_true(st.st_mtime > 99);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(fstatat(c->dir, "l", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mtime, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(attributes_are_the_hosts),        TEST(files_of_others_are_nobodys),
		TEST(owners_are_granted_not_changed),  TEST(set_id_bits_never_reach_the_host),
		TEST(a_change_takes_set_id_bits_away), TEST(times_and_sizes_are_set),
		TEST(a_link_itself_is_changed),
	};
	return cmocka_run_group_tests_name("vmm_fs_attr", tests, NULL, NULL);
}
