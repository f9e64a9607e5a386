/* SPDX-License-Identifier: Apache-2.0 */
/* Headers, sizes, sessions: what comes before any operation. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

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

/* One request from raw bytes, with so much room for the answer. */
static ssize_t raw(struct fs_client *c, const void *data, size_t size, size_t room)
{
	_cleanup_free_ char *in = malloc(size + 1), *out = malloc(room + 1);
	const struct iovec in_iov = { in, size }, out_iov = { out, room };
	const struct fs_request request = { .in = &in_iov, .n_in = 1, .out = &out_iov, .n_out = 1 };
	ssize_t n;

	memcpy(in, data, size);
	n = fs_serve(c->server, &request, true);
	return n == sizeof(struct fuse_out_header) ? ((struct fuse_out_header *)(void *)out)->error
						   : n;
}

static void a_request_without_a_header_is_none(void **state)
{
	const struct fuse_in_header header = { .len = sizeof(header),
					       .opcode = FUSE_STATFS,
					       .nodeid = ROOT };

	for (size_t size = 0; size < sizeof(header); size++)
		assert_int_equal(raw(*state, &header, size, 200), -EPROTO);
	assert_true(raw(*state, &header, sizeof(header), 200) > 0);
}

static void without_room_for_an_answer_there_is_none(void **state)
{
	const struct fuse_in_header header = { .len = sizeof(header),
					       .opcode = FUSE_STATFS,
					       .nodeid = ROOT };

	for (size_t room = 0; room < sizeof(struct fuse_out_header); room++)
		assert_int_equal(raw(*state, &header, sizeof(header), room), -EPROTO);
	/* room for the error, but not for the answer */
	for (size_t room = 16; room < 16 + sizeof(struct fuse_statfs_out); room++)
		assert_int_equal(raw(*state, &header, sizeof(header), room), -EINVAL);
}

static void the_length_in_the_header_must_be_there(void **state)
{
	static const uint32_t bad[] = { 0, 1, 39, 41, 100, 0x7fffffff, UINT32_MAX };
	struct fuse_in_header header = { .opcode = FUSE_STATFS, .nodeid = ROOT };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		header.len = bad[i];
		assert_int_equal(raw(*state, &header, sizeof(header), 200), -EINVAL);
	}
}

/* What lies behind the length is not looked at: a name that ends there has no end. */
static void the_length_in_the_header_is_the_end(void **state)
{
	struct fs_client *c = *state;

	fs_host_file(c, "file", "");
	c->len = sizeof(struct fuse_in_header) + 4;
	assert_int_equal(fs_lookup(c, ROOT, "file", NULL), -EINVAL);
	c->len++;
	assert_int_equal(fs_lookup(c, ROOT, "file", NULL), 0);
}

static void unknown_operations_are_said_to_be_so(void **state)
{
	static const uint32_t opcodes[] = { 0,
					    7,
					    19,
					    FUSE_BMAP,
					    FUSE_IOCTL,
					    FUSE_POLL,
					    FUSE_NOTIFY_REPLY,
					    FUSE_SETUPMAPPING,
					    FUSE_REMOVEMAPPING,
					    52,
					    4096,
					    UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++)
		assert_int_equal(fs_ask(*state, opcodes[i], ROOT, NONE, NULL, 100), -ENOSYS);
}

/* Every operation, with its arguments cut off at each length, on a directory, a file and nothing. */
static void truncated_requests_are_refused(void **state)
{
	static const char zeroes[256] = { 0 };
	struct fs_client *c = *state;
	uint64_t nodes[3] = { ROOT, 0, 999 };

	fs_host_file(c, "file", "text");
	for (uint32_t opcode = 0; opcode < 60; opcode++)
		for (size_t size = 0; size < 120; size++)
			for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
				if (i == 1)
					(void)fs_lookup(c, ROOT, "file", &nodes[i]);
				(void)fs_ask(c, opcode, nodes[i], PARTS({ zeroes, size }), NULL,
					     opcode == FUSE_READDIR ? 4096 : 256);
				if (opcode == FUSE_INIT || opcode == FUSE_DESTROY) {
					fs_client_close(c);
					assert_int_equal(fs_client_open(c, NULL), 0);
					fs_host_file(c, "file", "text");
				}
			}
	assert_int_equal(fs_lookup(c, ROOT, "file", NULL), 0);
}

static void requests_may_come_in_any_pieces(void **state)
{
	static const size_t sizes[] = { 1, 3, 7, 16, 39, 40, 41 };
	struct fs_client *c = *state;
	char data[64];
	uint64_t node, fh;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		c->piece = sizes[i];
		assert_int_equal(fs_create(c, ROOT, "f", O_RDWR, 0600, &node, &fh), 0);
		assert_int_equal(fs_write(c, node, fh, 3, "0123456789", 10), 10);
		assert_int_equal(fs_read(c, node, fh, 0, data, 64), 13);
		assert_memory_equal(data,
				    "\0\0\0"
				    "0123456789",
				    13);
		assert_int_equal(fs_release(c, node, fh), 0);
		assert_int_equal(fs_ask(c, FUSE_UNLINK, ROOT, PARTS(TEXT("f")), NULL, 0), 0);
	}
}

static void init_agrees_on_a_version(void **state)
{
	static const struct {
		uint32_t major, minor;
		ssize_t answer;
		uint32_t ret_minor;
	} cases[] = {
		{ 7, 38, sizeof(struct fuse_init_out), 38 },
		{ 7, 31, sizeof(struct fuse_init_out), 31 },
		{ 7, 99, sizeof(struct fuse_init_out), FUSE_KERNEL_MINOR_VERSION },
		{ 8, 0, sizeof(struct fuse_init_out), FUSE_KERNEL_MINOR_VERSION },
		{ 7, 30, -EPROTO, 0 },
		{ 6, 99, -EPROTO, 0 },
	};
	struct fuse_init_out out;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fuse_init_in in = { .major = cases[i].major,
					   .minor = cases[i].minor,
					   .max_readahead = UINT32_MAX,
					   .flags = UINT32_MAX };

		assert_int_equal(fs_ask(*state, FUSE_INIT, 0, PARTS(PART(in)), &out, sizeof(out)),
				 cases[i].answer);
		if (cases[i].answer < 0)
			continue;
		assert_int_equal(out.major, 7);
		assert_int_equal(out.minor, cases[i].ret_minor);
		assert_int_equal(out.flags & FUSE_WRITEBACK_CACHE, 0);
		assert_int_equal(out.flags & FUSE_EXPORT_SUPPORT, 0);
		assert_true(out.max_readahead <= FS_MAX_WRITE);
		/* never what was not offered */
		in.flags = FUSE_MAX_PAGES;
		assert_true(fs_ask(*state, FUSE_INIT, 0, PARTS(PART(in)), &out, sizeof(out)) > 0);
		assert_int_equal(out.flags & ~(uint32_t)FUSE_MAX_PAGES, 0);
	}
}

static void nothing_goes_without_init(void **state)
{
	struct fs_client *c = *state;
	uint64_t node, fh;

	fs_host_file(c, "f", "x");
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	assert_int_equal(fs_open(c, node, O_RDWR, &fh), 0);
	assert_int_equal(fs_ask(c, FUSE_DESTROY, 0, NONE, NULL, 0), 0);
	assert_int_equal(fs_lookup(c, ROOT, "f", NULL), -ENOTCONN);
	assert_int_equal(fs_ask(c, FUSE_DESTROY, 0, NONE, NULL, 0), -ENOTCONN);
}

static size_t open_descriptors(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* A guest that is started anew gets an empty table, and everything of its former life is closed. */
static void a_second_init_starts_anew(void **state)
{
	const struct fuse_init_in in = { .major = 7, .minor = 38 };
	struct fs_client *c = *state;
	struct fuse_init_out out;
	uint64_t node, dir, fh, dir_fh;
	size_t before = open_descriptors();
	const struct fuse_lk_in lock = { .owner = 1, .lk = { .type = F_WRLCK, .end = INT64_MAX } };

	assert_int_equal(fs_mkdir(c, ROOT, "d", &dir), 0);
	assert_int_equal(fs_create(c, dir, "f", O_RDWR, 0600, &node, &fh), 0);
	assert_int_equal(fs_open(c, dir, O_DIRECTORY, &dir_fh), 0);
	assert_int_equal(fs_ask(c, FUSE_SETLK, node, PARTS(PART(lock)), NULL, 0), 0);
	assert_true(open_descriptors() > before);
	assert_true(fs_ask(c, FUSE_INIT, 0, PARTS(PART(in)), &out, sizeof(out)) > 0);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(fs_lookup(c, dir, "f", NULL), -ENOENT);
	assert_int_equal(fs_release(c, node, fh), -ENOENT);
	assert_int_equal(fs_lookup(c, ROOT, "d", &dir), 0);
	fs_server_reset(c->server);
	assert_int_equal(open_descriptors(), before);
}

static void forgetting_storms_are_survived(void **state)
{
	static struct fuse_forget_one many[10000];
	struct fs_client *c = *state;
	struct fuse_batch_forget_in in = { .count = UINT32_MAX };
	uint64_t node;

	fs_host_file(c, "f", "x");
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct fuse_forget_one){ .nodeid = i % 5, .nlookup = UINT64_MAX - i };
	/* more are counted than are there */
	assert_int_equal(fs_ask(c, FUSE_BATCH_FORGET, 0, PARTS(PART(in), PART(many)), NULL, 0), 0);
	in.count = 0;
	assert_int_equal(fs_ask(c, FUSE_BATCH_FORGET, 0, PARTS(PART(in)), NULL, 0), 0);
	for (uint64_t i = 0; i < 10000; i++)
		assert_int_equal(fs_forget(c, i, UINT64_MAX), 0);
	assert_int_equal(fs_open(c, node, O_RDONLY, &node), -ENOENT);
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
}

static void operations_want_an_inode_of_their_kind(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_mkdir_in mkdir_in = { .mode = 0755 };
	uint64_t node, fh;

	fs_host_file(c, "f", "x");
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	assert_int_equal(fs_lookup(c, node, "f", NULL), -ENOTDIR);
	assert_int_equal(fs_ask(c, FUSE_MKDIR, node, PARTS(PART(mkdir_in), TEXT("d")), NULL, 200),
			 -ENOTDIR);
	assert_int_equal(fs_open(c, node, O_DIRECTORY, &fh), -ENOTDIR);
	assert_int_equal(fs_open(c, ROOT, O_RDONLY, &fh), -EISDIR);
	assert_int_equal(fs_lookup(c, 0, "f", NULL), -ENOENT);
	assert_int_equal(fs_lookup(c, 12345, "f", NULL), -ENOENT);
	assert_int_equal(fs_lookup(c, UINT64_MAX, "f", NULL), -ENOENT);
}

static void slow_operations_are_given_back(void **state)
{
	static const uint32_t slow[] = { FUSE_FSYNC, FUSE_FSYNCDIR, FUSE_FALLOCATE,
					 FUSE_COPY_FILE_RANGE, FUSE_SYNCFS };
	struct fs_client *c = *state;

	c->no_wait = true;
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++)
		assert_int_equal(fs_ask(c, slow[i], ROOT, NONE, NULL, 100), -1000 - EAGAIN);
	c->no_wait = false;
	assert_int_equal(fs_ask(c, FUSE_SYNCFS, ROOT, NONE, NULL, 0), 0);
	assert_true(fs_ask(c, FUSE_STATFS, ROOT, NONE, NULL, sizeof(struct fuse_statfs_out)) > 0);
}

static void a_read_only_folder_stays_as_it_is(void **state)
{
	static const struct {
		uint32_t opcode;
		size_t size;
	} changes[] = {
		{ FUSE_SETATTR, sizeof(struct fuse_setattr_in) },
		{ FUSE_SYMLINK, 10 },
		{ FUSE_MKNOD, 30 },
		{ FUSE_MKDIR, 30 },
		{ FUSE_UNLINK, 10 },
		{ FUSE_RMDIR, 10 },
		{ FUSE_RENAME, 30 },
		{ FUSE_RENAME2, 30 },
		{ FUSE_LINK, 30 },
		{ FUSE_WRITE, sizeof(struct fuse_write_in) },
		{ FUSE_SETXATTR, 60 },
		{ FUSE_REMOVEXATTR, 20 },
		{ FUSE_CREATE, 30 },
		{ FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in) },
		{ FUSE_COPY_FILE_RANGE, sizeof(struct fuse_copy_file_range_in) },
		{ FUSE_TMPFILE, 30 },
	};
	static const char zeroes[100] = { 0 };
	const struct fs_options options = { .read_only = true };
	struct fs_client *c = *state;
	char data[10];
	uint64_t node, fh;

	fs_client_close(c);
	assert_int_equal(fs_client_open(c, &options), 0);
	fs_host_file(c, "f", "text");
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		assert_int_equal(fs_ask(c, changes[i].opcode, ROOT,
					PARTS({ zeroes, changes[i].size }), NULL, 200),
				 -EROFS);
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	assert_int_equal(fs_open(c, node, O_WRONLY, &fh), -EROFS);
	assert_int_equal(fs_open(c, node, O_RDWR, &fh), -EROFS);
	assert_int_equal(fs_open(c, node, O_RDONLY | O_TRUNC, &fh), -EROFS);
	assert_int_equal(fs_open(c, node, O_RDONLY, &fh), 0);
	assert_int_equal(fs_read(c, node, fh, 0, data, sizeof(data)), 4);
}

static void open_files_are_bounded(void **state)
{
	const struct fs_options options = { .max_descriptors = 160 };
	struct fs_client *c = *state;
	uint64_t node, fh, first = 0;
	int r = 0, n = 0;

	fs_client_close(c);
	assert_int_equal(fs_client_open(c, &options), 0);
	fs_host_file(c, "f", "text");
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	while (r == 0 && n++ < 1000) {
		r = fs_open(c, node, O_RDONLY, &fh);
		first = first ? first : fh;
	}
	assert_int_equal(r, -ENFILE);
	assert_true(n < 100);
	assert_int_equal(fs_release(c, node, first), 0);
	assert_int_equal(fs_open(c, node, O_RDONLY, &fh), 0);
}

static void only_directories_are_shared(void **state)
{
	struct fs_client *c = *state;
	const struct fs_options options = { 0 };
	venv_error *err = NULL;
	struct fs_server *server;
	int fd;

	fs_host_file(c, "f", "x");
	fd = openat(c->dir, "f", O_RDONLY | O_CLOEXEC);
	assert_int_not_equal(fs_server_new(fd, -1, &options, &server, &err), 0);
	assert_non_null(strstr(venv_error_message(err), "cannot share"));
	venv_error_free(err);
	(void)close(fd);
	fs_server_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_without_a_header_is_none),
		TEST(without_room_for_an_answer_there_is_none),
		TEST(the_length_in_the_header_must_be_there),
		TEST(the_length_in_the_header_is_the_end),
		TEST(unknown_operations_are_said_to_be_so),
		TEST(truncated_requests_are_refused),
		TEST(requests_may_come_in_any_pieces),
		TEST(init_agrees_on_a_version),
		TEST(nothing_goes_without_init),
		TEST(a_second_init_starts_anew),
		TEST(forgetting_storms_are_survived),
		TEST(operations_want_an_inode_of_their_kind),
		TEST(slow_operations_are_given_back),
		TEST(a_read_only_folder_stays_as_it_is),
		TEST(open_files_are_bounded),
		TEST(only_directories_are_shared),
	};
	return cmocka_run_group_tests_name("vmm_fs_server", tests, NULL, NULL);
}
