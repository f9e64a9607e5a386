/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

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

enum { ROOM = 4096 };

struct listing {
	size_t n, requests, plus_nodes;
	bool dots[2];
	bool seen[3000];
	bool other;
	uint64_t last_offset;
};

/* One entry of an answer; names that are numbers are noted. @return its length */
static size_t note(struct listing *l, const char *data, bool plus)
{
	struct fuse_entry_out entry = { 0 };
	size_t before = plus ? sizeof(entry) : 0;
	struct fuse_dirent d;
	char name[256], *end;
	unsigned long number;

	if (plus)
		memcpy(&entry, data, sizeof(entry));
	memcpy(&d, data + before, FUSE_NAME_OFFSET);
	assert_true(d.namelen > 0 && d.namelen < sizeof(name));
	memcpy(name, data + before + FUSE_NAME_OFFSET, d.namelen);
	name[d.namelen] = '\0';
	l->n++;
	l->last_offset = d.off;
	l->plus_nodes += entry.nodeid != 0;
	number = strtoul(name, &end, 10);
	if (*name == '.' && d.namelen <= 2)
		l->dots[d.namelen - 1] = true;
	else if (*end || number >= ARRAY_SIZE(l->seen) || l->seen[number])
		l->other = true;
	else
		l->seen[number] = true;
	return before + FUSE_DIRENT_SIZE(&d);
}

/* Read on from *offset with so much room. @return bytes, or the error */
static ssize_t read_some(struct fs_client *c, uint64_t dir, uint64_t fh, uint64_t *offset,
			 size_t room, bool plus, struct listing *l)
{
	const struct fuse_read_in in = { .fh = fh, .offset = *offset, .size = (uint32_t)room };
	char data[ROOM + 100];
	ssize_t n = fs_ask(c, plus ? FUSE_READDIRPLUS : FUSE_READDIR, dir, PARTS(PART(in)), data,
			   sizeof(data));

	assert_true(n <= (ssize_t)room);
	for (ssize_t at = 0; at < n;)
		at += (ssize_t)note(l, data + at, plus);
	*offset = l->last_offset;
	l->requests++;
	return n;
}

static void read_all(struct fs_client *c, uint64_t dir, size_t room, bool plus, struct listing *l)
{
	uint64_t fh, offset = 0;
	const struct fuse_release_in in = { 0 };
	struct fuse_release_in release = in;

	memset(l, 0, sizeof(*l));
	assert_int_equal(fs_open(c, dir, O_DIRECTORY, &fh), 0);
	while (read_some(c, dir, fh, &offset, room, plus, l) > 0)
		;
	release.fh = fh;
	assert_int_equal(fs_ask(c, FUSE_RELEASEDIR, dir, PARTS(PART(release)), NULL, 0), 0);
	assert_int_equal(fs_ask(c, FUSE_RELEASEDIR, dir, PARTS(PART(release)), NULL, 0), -EBADF);
}

static void fill(struct fs_client *c, unsigned n)
{
	char name[16];

	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		fs_host_file(c, name, "");
	}
}

static void everything_is_listed_once(void **state)
{
	static const size_t rooms[] = { 200, 1000, 4096 };
	static struct listing l;
	struct fs_client *c = *state;

	fill(c, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(rooms) * 2; i++) {
		bool plus = i & 1;

		read_all(c, ROOT, rooms[i / 2], plus, &l);
		assert_int_equal(l.n, 1002);
		assert_true(l.dots[0] && l.dots[1] && !l.other);
		assert_int_equal(l.plus_nodes, plus ? 1000 : 0);
	}
}

/* What does not fit is not looked up: as many may be forgotten as were told. */
static void lookups_are_counted_as_told(void **state)
{
	static struct listing l;
	struct fs_client *c = *state;
	uint64_t node;

	fs_host_file(c, "0", "");
	read_all(c, ROOT, 4096, true, &l);
	read_all(c, ROOT, 200, true, &l);
	assert_int_equal(fs_lookup(c, ROOT, "0", &node), 0);
	assert_int_equal(fs_forget(c, node, 2), 0);
	assert_int_equal(
		fs_ask(c, FUSE_GETATTR, node, PARTS({ "0123456789abcdef", 16 }), NULL, 200), 104);
	assert_int_equal(fs_forget(c, node, 1), 0);
	assert_int_equal(
		fs_ask(c, FUSE_GETATTR, node, PARTS({ "0123456789abcdef", 16 }), NULL, 200),
		-ENOENT);
}

static void the_tools_state_is_not_listed(void **state)
{
	static struct listing l;
	struct fs_client *c = *state;
	uint64_t dir;

	assert_int_equal(mkdirat(c->dir, ".machines", 0700), 0);
	assert_int_equal(mkdirat(c->dir, "0", 0700), 0);
	assert_int_equal(mkdirat(c->dir, "0/.machines", 0700), 0);
	for (int plus = 0; plus < 2; plus++) {
		read_all(c, ROOT, 4096, plus, &l);
		assert_int_equal(l.n, 3);
		assert_false(l.other);
	}
	assert_int_equal(fs_lookup(c, ROOT, "0", &dir), 0);
	read_all(c, dir, 4096, false, &l);
	assert_true(l.other);
}

static void too_little_room_is_an_error_not_the_end(void **state)
{
	static struct listing l;
	struct fs_client *c = *state;
	uint64_t fh, offset = 0;

	fill(c, 3);
	assert_int_equal(fs_open(c, ROOT, O_DIRECTORY, &fh), 0);
	assert_int_equal(read_some(c, ROOT, fh, &offset, 0, false, &l), -EINVAL);
	assert_int_equal(read_some(c, ROOT, fh, &offset, 20, false, &l), -EINVAL);
	assert_int_equal(read_some(c, ROOT, fh, &offset, 100, true, &l), -EINVAL);
	assert_int_equal(read_some(c, ROOT, fh, &offset, 32, false, &l), 32);
}

static void any_offset_is_survived(void **state)
{
	static const uint64_t offsets[] = {
		1, 2, 77, 1ULL << 31, 1ULL << 32, INT64_MAX, INT64_MAX + 1ULL, UINT64_MAX
	};
	static struct listing l;
	struct fs_client *c = *state;
	uint64_t fh;

	fill(c, 10);
	assert_int_equal(fs_open(c, ROOT, O_DIRECTORY, &fh), 0);
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		uint64_t offset = offsets[i];
		ssize_t n;

		memset(&l, 0, sizeof(l));
		n = read_some(c, ROOT, fh, &offset, 4096, true, &l);
		assert_true(n >= 0 || (n == -EINVAL));
		assert_true(l.n <= 12);
	}
}

/* Files vanish while their directory is read: what stays is listed once, what goes at most once. */
static void offsets_stay_while_names_go(void **state)
{
	static struct listing l;
	struct fs_client *c = *state;
	uint64_t fh, offset = 0;
	char name[16];

	fill(c, 2000);
	memset(&l, 0, sizeof(l));
	assert_int_equal(fs_open(c, ROOT, O_DIRECTORY, &fh), 0);
	while (read_some(c, ROOT, fh, &offset, 600, l.requests & 1, &l) > 0)
		for (unsigned i = 0; i < 2000; i++) {
			if (!l.seen[i] || i % 3 == 0)
				continue;
			(void)snprintf(name, sizeof(name), "%u", i);
			(void)fs_ask(c, FUSE_UNLINK, ROOT, PARTS(TEXT(name)), NULL, 0);
		}
	assert_false(l.other);
	for (unsigned i = 0; i < 2000; i++)
		assert_true(l.seen[i]);
}

static void handles_of_files_are_not_directories(void **state)
{
	static struct listing l;
	struct fs_client *c = *state;
	uint64_t node, fh, dir_fh, offset = 0;

	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR, 0600, &node, &fh), 0);
	assert_int_equal(fs_open(c, ROOT, O_DIRECTORY, &dir_fh), 0);
	assert_int_equal(read_some(c, node, fh, &offset, 4096, false, &l), -ENOTDIR);
	assert_int_equal(read_some(c, ROOT, fh, &offset, 4096, false, &l), -EBADF);
	assert_int_equal(fs_write(c, ROOT, dir_fh, 0, "x", 1), -EBADF);
	assert_int_equal(fs_release(c, ROOT, dir_fh), -EBADF);
}

static void what_is_above_is_not_told(void **state)
{
	struct fs_client *c = *state;
	struct fuse_read_in in = { .size = 100 };
	char data[100];
	struct fuse_dirent first, second;

	assert_int_equal(fs_open(c, ROOT, O_DIRECTORY, &in.fh), 0);
	assert_int_equal(fs_ask(c, FUSE_READDIR, ROOT, PARTS(PART(in)), data, sizeof(data)), 64);
	memcpy(&first, data, FUSE_NAME_OFFSET);
	memcpy(&second, data + 32, FUSE_NAME_OFFSET);
	assert_int_equal(first.ino, second.ino);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everything_is_listed_once),
		TEST(lookups_are_counted_as_told),
		TEST(the_tools_state_is_not_listed),
		TEST(too_little_room_is_an_error_not_the_end),
		TEST(any_offset_is_survived),
		TEST(offsets_stay_while_names_go),
		TEST(handles_of_files_are_not_directories),
		TEST(what_is_above_is_not_told),
	};
	return cmocka_run_group_tests_name("vmm_fs_dir", tests, NULL, NULL);
}
