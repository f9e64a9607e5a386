/* SPDX-License-Identifier: Apache-2.0 */
/* Names: looked up, made, moved, removed; and what must not be reached by them. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
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

static ssize_t rename2(struct fs_client *c, uint64_t dir, const char *name, uint64_t to_dir,
		       const char *to, uint32_t flags)
{
	const struct fuse_rename2_in in = { .newdir = to_dir, .flags = flags };

	return fs_ask(c, FUSE_RENAME2, dir, PARTS(PART(in), TEXT(name), TEXT(to)), NULL, 0);
}

static ssize_t link_to(struct fs_client *c, uint64_t node, uint64_t dir, const char *name)
{
	const struct fuse_link_in in = { .oldnodeid = node };

	return fs_ask(c, FUSE_LINK, dir, PARTS(PART(in), TEXT(name)), NULL, 200);
}

static ssize_t mknod_as(struct fs_client *c, const char *name, uint32_t mode)
{
	const struct fuse_mknod_in in = { .mode = mode, .rdev = (uint32_t)makedev(1, 3) };

	return fs_ask(c, FUSE_MKNOD, ROOT, PARTS(PART(in), TEXT(name)), NULL, 200);
}

static ssize_t symlink_to(struct fs_client *c, const char *name, const char *target)
{
	return fs_ask(c, FUSE_SYMLINK, ROOT, PARTS(TEXT(name), TEXT(target)), NULL, 200);
}

static bool exists(const struct fs_client *c, const char *name)
{
	return faccessat(c->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Each operation that takes a name, with each name that is none. */
static void bad_names_are_refused_everywhere(void **state)
{
	static char long_name[257];
	const char *const names[] = {
		"", ".", "..", "a/b", "/", "../etc", "/etc/passwd", long_name
	};
	struct fs_client *c = *state;
	const struct fuse_mkdir_in dir_in = { .mode = 0755 };
	uint64_t node, fh;

	memset(long_name, 'n', sizeof(long_name) - 1);
	fs_host_file(c, "f", "x");
	assert_int_equal(mkdirat(c->dir, "a", 0755), 0);
	fs_host_file(c, "a/b", "x");
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *name = names[i];
		ssize_t bad = i == ARRAY_SIZE(names) - 1 ? -ENAMETOOLONG : -EINVAL;

		assert_int_equal(fs_lookup(c, ROOT, name, NULL), bad);
		assert_int_equal(fs_mkdir(c, ROOT, name, NULL), bad);
		assert_int_equal(
			fs_ask(c, FUSE_MKDIR, ROOT, PARTS(PART(dir_in), TEXT(name)), NULL, 200),
			bad);
		assert_int_equal(mknod_as(c, name, S_IFREG | 0600), bad);
		assert_int_equal(symlink_to(c, name, "x"), bad);
		assert_int_equal(link_to(c, node, ROOT, name), bad);
		assert_int_equal(fs_create(c, ROOT, name, O_RDWR, 0600, &node, &fh), bad);
		assert_int_equal(fs_ask(c, FUSE_UNLINK, ROOT, PARTS(TEXT(name)), NULL, 0), bad);
		assert_int_equal(fs_ask(c, FUSE_RMDIR, ROOT, PARTS(TEXT(name)), NULL, 0), bad);
		assert_int_equal(rename2(c, ROOT, name, ROOT, "x", 0), bad);
		assert_int_equal(rename2(c, ROOT, "f", ROOT, name, 0), bad);
		/* without its zero */
		assert_int_equal(fs_ask(c, FUSE_LOOKUP, ROOT, PARTS({ "f", 1 }), NULL, 200),
				 -EINVAL);
	}
	assert_true(exists(c, "f"));
}

static void names_are_made_moved_and_removed(void **state)
{
	struct fs_client *c = *state;
	uint64_t dir, node;

	assert_int_equal(fs_mkdir(c, ROOT, "d", &dir), 0);
	assert_int_equal(fs_mkdir(c, ROOT, "d", NULL), -EEXIST);
	assert_int_equal(mknod_as(c, "f", S_IFREG | 0640), 200 - 72);
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	assert_int_equal(link_to(c, node, dir, "h"), 128);
	assert_int_equal(link_to(c, node, dir, "h"), -EEXIST);
	assert_int_equal(link_to(c, dir, ROOT, "x"), -EPERM);
	assert_int_equal(link_to(c, 777, ROOT, "x"), -ENOENT);
	assert_int_equal(rename2(c, ROOT, "f", dir, "g", 0), 0);
	assert_true(exists(c, "d/g") && exists(c, "d/h") && !exists(c, "f"));
	assert_int_equal(rename2(c, dir, "g", dir, "h", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(rename2(c, ROOT, "d", dir, "inside", 0), -EINVAL);
	assert_int_equal(rename2(c, dir, "g", node, "x", 0), -ENOTDIR);
	assert_int_equal(rename2(c, dir, "g", 888, "x", 0), -ENOENT);
	assert_int_equal(fs_mkdir(c, dir, "e", NULL), 0);
	assert_int_equal(rename2(c, dir, "g", dir, "e", RENAME_EXCHANGE), 0);
	assert_int_equal(rename2(c, dir, "g", dir, "new", RENAME_WHITEOUT), -EINVAL);
	assert_int_equal(rename2(c, dir, "g", dir, "new", UINT32_MAX), -EINVAL);
	assert_int_equal(fs_ask(c, FUSE_RMDIR, ROOT, PARTS(TEXT("d")), NULL, 0), -ENOTEMPTY);
	assert_int_equal(fs_ask(c, FUSE_RMDIR, dir, PARTS(TEXT("g")), NULL, 0), 0);
	assert_int_equal(fs_ask(c, FUSE_UNLINK, dir, PARTS(TEXT("e")), NULL, 0), 0);
	assert_int_equal(fs_ask(c, FUSE_UNLINK, ROOT, PARTS(TEXT("d")), NULL, 0), -EISDIR);
	assert_int_equal(fs_ask(c, FUSE_UNLINK, dir, PARTS(TEXT("h")), NULL, 0), 0);
	assert_int_equal(fs_ask(c, FUSE_RMDIR, ROOT, PARTS(TEXT("d")), NULL, 0), 0);
}

static void renames_within_old_protocols_work(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_rename_in in = { .newdir = ROOT };

	fs_host_file(c, "f", "x");
	assert_int_equal(
		fs_ask(c, FUSE_RENAME, ROOT, PARTS(PART(in), TEXT("f"), TEXT("g")), NULL, 0), 0);
	assert_true(exists(c, "g"));
}

/* A guest knows a file by its number after it was renamed, however that came about. */
static void an_inode_follows_its_name(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_getattr_in in = { 0 };
	uint64_t node, again;

	fs_host_file(c, "f", "x");
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	assert_int_equal(rename2(c, ROOT, "f", ROOT, "g", 0), 0);
	assert_true(fs_ask(c, FUSE_GETATTR, node, PARTS(PART(in)), NULL, 200) > 0);
	assert_int_equal(renameat(c->dir, "g", c->dir, "h"), 0);
	assert_int_equal(fs_ask(c, FUSE_GETATTR, node, PARTS(PART(in)), NULL, 200), -ESTALE);
	assert_int_equal(fs_lookup(c, ROOT, "h", &again), 0);
	assert_int_equal(again, node);
	assert_true(fs_ask(c, FUSE_GETATTR, node, PARTS(PART(in)), NULL, 200) > 0);
}

static void links_are_the_guests_to_follow(void **state)
{
	struct fs_client *c = *state;
	char target[5000], read[5000];
	uint64_t node, fh;

	assert_int_equal(symlink_to(c, "l", "/etc/passwd"), 128);
	assert_int_equal(fs_lookup(c, ROOT, "l", &node), 0);
	assert_int_equal(fs_ask(c, FUSE_READLINK, node, NONE, read, sizeof(read)), 11);
	assert_memory_equal(read, "/etc/passwd", 11);
	assert_int_equal(fs_ask(c, FUSE_READLINK, node, NONE, read, 5), -ERANGE);
	assert_int_equal(fs_ask(c, FUSE_READLINK, ROOT, NONE, read, sizeof(read)), -EINVAL);
	assert_int_equal(fs_open(c, node, O_RDONLY, &fh), -ELOOP);
	assert_int_equal(fs_lookup(c, node, "x", NULL), -ENOTDIR);
	assert_int_equal(fs_create(c, ROOT, "l", O_RDWR, 0600, &node, &fh), -ELOOP);
	/* to a directory */
	assert_int_equal(symlink_to(c, "up", ".."), 128);
	assert_int_equal(fs_lookup(c, ROOT, "up", &node), 0);
	assert_int_equal(fs_open(c, node, O_DIRECTORY, &fh), -ENOTDIR);
	assert_int_equal(fs_lookup(c, node, "tmp", NULL), -ENOTDIR);
	memset(target, 't', sizeof(target) - 1);
	target[sizeof(target) - 1] = '\0';
	assert_int_equal(symlink_to(c, "long", target), -ENAMETOOLONG);
	target[4095] = '\0';
	assert_int_equal(symlink_to(c, "long", target), 128);
	assert_int_equal(symlink_to(c, "none", ""), -ENOENT);
	/* a hard link to the link itself */
	assert_int_equal(fs_lookup(c, ROOT, "l", &node), 0);
	assert_int_equal(link_to(c, node, ROOT, "l2"), 128);
	assert_int_equal(readlinkat(c->dir, "l2", read, sizeof(read)), 11);
}

static void devices_are_not_made_and_not_opened(void **state)
{
	static const uint32_t types[] = { S_IFCHR, S_IFBLK, S_IFDIR, S_IFLNK, 0 };
	struct fs_client *c = *state;
	uint64_t node, fh;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(mknod_as(c, "dev", types[i] | 0666), -EPERM);
	assert_int_equal(mknod_as(c, "fifo", S_IFIFO | 0666), 128);
	assert_int_equal(mknod_as(c, "socket", S_IFSOCK | 0666), 128);
	(void)mknodat(c->dir, "zero", S_IFCHR | 0666, makedev(1, 5));
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = { "fifo", "socket", "zero" };
		int expect = fs_lookup(c, ROOT, names[i], &node);

		if (i == 2 && expect == -ENOENT)
			break; /* not root */
		assert_int_equal(expect, 0);
		assert_int_equal(fs_open(c, node, O_RDONLY, &fh), -ENXIO);
		assert_int_equal(fs_open(c, node, O_RDWR, &fh), -ENXIO);
		assert_int_equal(fs_create(c, ROOT, names[i], O_RDWR, 0600, &node, &fh), -ENXIO);
	}
}

static void the_tools_state_does_not_exist(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_mkdir_in dir_in = { .mode = 0755 };
	uint64_t node, fh, dir;

	for (int there = 0; there < 2; there++) {
		if (there) {
			assert_int_equal(mkdirat(c->dir, ".machines", 0700), 0);
			fs_host_file(c, ".machines/secret", "x");
		}
		fs_host_file(c, "f", "x");
		assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
		assert_int_equal(fs_lookup(c, ROOT, ".machines", NULL), -ENOENT);
		assert_int_equal(fs_mkdir(c, ROOT, ".machines", NULL), -EPERM);
		assert_int_equal(fs_ask(c, FUSE_MKDIR, ROOT, PARTS(PART(dir_in), TEXT(".machines")),
					NULL, 200),
				 -EPERM);
		assert_int_equal(mknod_as(c, ".machines", S_IFREG | 0600), -EPERM);
		assert_int_equal(symlink_to(c, ".machines", "x"), -EPERM);
		assert_int_equal(link_to(c, node, ROOT, ".machines"), -EPERM);
		assert_int_equal(fs_create(c, ROOT, ".machines", O_RDWR, 0600, &node, &fh), -EPERM);
		assert_int_equal(fs_ask(c, FUSE_UNLINK, ROOT, PARTS(TEXT(".machines")), NULL, 0),
				 -ENOENT);
		assert_int_equal(fs_ask(c, FUSE_RMDIR, ROOT, PARTS(TEXT(".machines")), NULL, 0),
				 -ENOENT);
		assert_int_equal(rename2(c, ROOT, ".machines", ROOT, "x", 0), -ENOENT);
		assert_int_equal(rename2(c, ROOT, ".machines", ROOT, "f", RENAME_EXCHANGE),
				 -ENOENT);
		assert_int_equal(rename2(c, ROOT, "f", ROOT, ".machines", 0), -EPERM);
		assert_int_equal(rename2(c, ROOT, "f", ROOT, ".machines", RENAME_EXCHANGE), -EPERM);
	}
	/* elsewhere it is a name like any other */
	assert_int_equal(fs_mkdir(c, ROOT, "sub", &dir), 0);
	assert_int_equal(fs_mkdir(c, dir, ".machines", NULL), 0);
	assert_int_equal(rename2(c, dir, ".machines", ROOT, ".machines", 0), -EPERM);
	assert_int_equal(fs_mkdir(c, ROOT, ".machine", NULL), 0);
	assert_int_equal(fs_mkdir(c, ROOT, ".machinesx", NULL), 0);
	assert_true(exists(c, ".machines/secret"));
}

/* ---- races -------------------------------------------------------------------------------------- */

struct race {
	struct fs_client *c;
	bool stop;
};

/* The guest's other processor, or somebody on the host: a name is now this, now that. */
static void *exchange(void *user)
{
	struct race *race = user;

	while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED))
		(void)renameat2(race->c->dir, "a", race->c->dir, "b", RENAME_EXCHANGE);
	return NULL;
}

static void run_race(struct fs_client *c, void (*step)(struct fs_client *c), int steps)
{
	struct race race = { .c = c };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, exchange, &race), 0);
	for (int i = 0; i < steps; i++)
		step(c);
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	(void)pthread_join(thread, NULL);
}

/* Whatever "a" is at the time, nothing outside of the folder is seen. */
static void through_a_directory(struct fs_client *c)
{
	uint64_t node, inner, fh;
	char data[16];

	if (fs_lookup(c, ROOT, "a", &node) < 0)
		return;
	if (fs_lookup(c, node, "passwd", &inner) == 0) {
		if (fs_open(c, inner, O_RDONLY, &fh) == 0) {
			assert_int_equal(fs_read(c, inner, fh, 0, data, sizeof(data)), 6);
			assert_memory_equal(data, "inside", 6);
			assert_int_equal(fs_release(c, inner, fh), 0);
		}
		assert_int_equal(fs_forget(c, inner, 1), 0);
	}
	assert_int_equal(fs_forget(c, node, 1), 0);
}

static void links_in_the_way_are_not_followed(void **state)
{
	struct fs_client *c = *state;

	assert_int_equal(mkdirat(c->dir, "a", 0755), 0);
	fs_host_file(c, "a/passwd", "inside");
	assert_int_equal(symlinkat("/etc", c->dir, "b"), 0);
	run_race(c, through_a_directory, 20000);
}

static void to_a_file(struct fs_client *c)
{
	uint64_t node, fh;
	int r = fs_create(c, ROOT, "a", O_RDWR | O_TRUNC, 0600, &node, &fh);

	if (r == 0) {
		assert_true(fs_write(c, node, fh, 0, "x", 1) == 1);
		assert_int_equal(fs_release(c, node, fh), 0);
		assert_int_equal(fs_forget(c, node, 1), 0);
	} else {
		assert_true(r == -ELOOP || r == -ENXIO || r == -ESTALE || r == -EEXIST);
	}
}

static void files_are_not_written_through_links(void **state)
{
	struct fs_client *c = *state;
	char outside[] = "/tmp/venv-test-outside.XXXXXX";
	int fd = mkstemp(outside);
	struct stat st;

	assert_true(fd >= 0 && write(fd, "safe", 4) == 4);
	fs_host_file(c, "a", "inside");
	assert_int_equal(symlinkat(outside, c->dir, "b"), 0);
	run_race(c, to_a_file, 20000);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 4);
	(void)unlink(outside);
	(void)close(fd);
}

/* Opening a FIFO without a writer would hang here. */
static void pipes_in_the_way_are_not_opened(void **state)
{
	struct fs_client *c = *state;

	fs_host_file(c, "a", "inside");
	assert_int_equal(mkfifoat(c->dir, "b", 0600), 0);
	run_race(c, to_a_file, 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bad_names_are_refused_everywhere),
		TEST(names_are_made_moved_and_removed),
		TEST(renames_within_old_protocols_work),
		TEST(an_inode_follows_its_name),
		TEST(links_are_the_guests_to_follow),
		TEST(devices_are_not_made_and_not_opened),
		TEST(the_tools_state_does_not_exist),
		TEST(links_in_the_way_are_not_followed),
		TEST(files_are_not_written_through_links),
		TEST(pipes_in_the_way_are_not_opened),
	};
	return cmocka_run_group_tests_name("vmm_fs_node", tests, NULL, NULL);
}
