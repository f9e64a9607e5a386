/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's session with a shared folder that goes on with another server. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/state.h"
#include "tests/support/fs_client.h"
#include "util/cleanup.h"

#define ROOT FUSE_ROOT_ID
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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

static int save(struct fs_client *c)
{
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;

	state_writer_init(&writer, fd);
	assert_int_equal(fs_server_save(c->server, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	return fd;
}

static int load(struct fs_client *c, int fd)
{
	struct state_reader reader;
	int r;

	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	r = fs_server_load(c->server, &reader);
	state_reader_done(&reader);
	return r;
}

/* As if the process had ended; what happens meanwhile happens in between(). */
static void suspend(struct fs_client *c, void (*between)(const struct fs_client *c))
{
	const struct fs_options options = { .guest_uid = 1000, .guest_gid = 1000 };
	_cleanup_close_ int fd = save(c);

	fs_server_free(c->server);
	if (between)
		between(c);
	assert_int_equal(fs_server_new(c->dir, -1, &options, &c->server, NULL), 0);
	assert_int_equal(load(c, fd), 0);
}

static void open_files_go_on(void **state)
{
	struct fs_client *c = *state;
	uint64_t dir, file, fh, other, other_fh;
	char data[8] = "";

	assert_int_equal(fs_mkdir(c, ROOT, "d", &dir), 0);
	assert_int_equal(fs_create(c, dir, "f", O_RDWR, 0644, &file, &fh), 0);
	assert_int_equal(fs_write(c, file, fh, 0, "abc", 3), 3);
	suspend(c, NULL);
	assert_int_equal(fs_write(c, file, fh, 3, "def", 3), 3);
	assert_int_equal(fs_read(c, file, fh, 0, data, 6), 6);
	assert_string_equal(data, "abcdef");
	/* numbers are not given again, neither of inodes nor of handles */
	assert_int_equal(fs_create(c, dir, "g", O_RDWR, 0644, &other, &other_fh), 0);
	assert_true(other > file && other_fh != fh);
	assert_int_equal(fs_release(c, file, fh), 0);
	assert_int_equal(fs_release(c, file, fh), -EBADF);
	assert_int_equal(fs_create(c, dir, "h", O_RDWR, 0644, &other, &other_fh), 0);
	assert_true(other_fh != fh);
	/* and the same name is still the same number */
	assert_int_equal(fs_lookup(c, dir, "f", &other), 0);
	assert_int_equal(other, file);
}

static void open_directories_go_on(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_open_in in = { 0 };
	struct fuse_read_in read = { .size = 4096 };
	struct fuse_open_out out;
	char data[4096];

	fs_host_file(c, "one", "1");
	assert_int_equal(fs_ask(c, FUSE_OPENDIR, ROOT, PARTS(PART(in)), &out, sizeof(out)),
			 sizeof(out));
	suspend(c, NULL);
	read.fh = out.fh;
	assert_true(fs_ask(c, FUSE_READDIR, ROOT, PARTS(PART(read)), data, sizeof(data)) > 0);
}

static void lose_things(const struct fs_client *c)
{
	assert_int_equal(unlinkat(c->dir, "gone", 0), 0);
	assert_int_equal(renameat(c->dir, "fresh", c->dir, "other"), 0);
}

static void what_is_gone_is_stale(void **state)
{
	struct fs_client *c = *state;
	uint64_t gone, gone_fh, other, other_fh;
	char data[4];

	assert_int_equal(fs_create(c, ROOT, "gone", O_RDWR, 0644, &gone, &gone_fh), 0);
	assert_int_equal(fs_create(c, ROOT, "other", O_RDWR, 0644, &other, &other_fh), 0);
	fs_host_file(c, "fresh", "new");
	suspend(c, lose_things);
	assert_int_equal(fs_read(c, gone, gone_fh, 0, data, 1), -ESTALE);
	assert_int_equal(fs_read(c, other, other_fh, 0, data, 1), -ESTALE);
	assert_int_equal(fs_open(c, other, O_RDONLY, &other_fh), -ESTALE);
	assert_int_equal(fs_release(c, gone, gone_fh), 0);
	assert_int_equal(fs_lookup(c, ROOT, "other", &other), 0);
	assert_int_equal(fs_open(c, other, O_RDONLY, &other_fh), 0);
	assert_int_equal(fs_read(c, other, other_fh, 0, data, 3), 3);
}

static void what_the_guest_forgot_is_forgotten(void **state)
{
	struct fs_client *c = *state;
	uint64_t dir, file, fh, again;

	assert_int_equal(fs_mkdir(c, ROOT, "d", &dir), 0);
	assert_int_equal(fs_create(c, dir, "f", O_RDWR, 0644, &file, &fh), 0);
	assert_int_equal(fs_forget(c, dir, 1), 0); /* stays, for its file's sake */
	suspend(c, NULL);
	assert_int_equal(fs_release(c, file, fh), 0);
	assert_int_equal(fs_forget(c, file, 1), 0);
	assert_int_equal(fs_open(c, file, O_RDONLY, &fh), -ENOENT);
	assert_int_equal(fs_lookup(c, ROOT, "d", &again), 0);
	assert_true(again > file);
}

/* ---- states that cannot have been ----------------------------------------------------------------- */

struct inode {
	uint64_t id;
	uint32_t type;
};

struct name {
	uint64_t id, parent;
	const char *name;
};

static void put_inodes(struct state_writer *writer, const struct inode *inodes)
{
	state_begin(writer, STATE_TAG('F', 'S', 'I', 'N'), 1);
	for (; inodes->id; inodes++) {
		state_put_u64(writer, inodes->id);
		state_put_u64(writer, inodes->id); /* of the host */
		for (int i = 0; i < 2; i++)
			state_put_u32(writer, 0);
		state_put_u32(writer, inodes->type);
		for (int i = 0; i < 3; i++)
			state_put_u64(writer, 1);
	}
	assert_int_equal(state_end(writer), 0);
}

static void put_names(struct state_writer *writer, const struct name *names)
{
	state_begin(writer, STATE_TAG('F', 'S', 'N', 'A'), 1);
	for (; names->id; names++) {
		state_put_u64(writer, names->id);
		state_put_u64(writer, names->parent);
		state_put_u8(writer, (uint8_t)strlen(names->name));
		state_put(writer, names->name, strlen(names->name));
	}
	assert_int_equal(state_end(writer), 0);
}

static void put_handles(struct state_writer *writer, uint32_t n, uint32_t slot, uint64_t id)
{
	state_begin(writer, STATE_TAG('F', 'S', 'H', 'A'), 1);
	state_put_u32(writer, n);
	for (uint32_t i = 0; i < 2; i++)
		state_put_u32(writer, i); /* the first was never used */
	if (id) {
		state_put_u32(writer, slot);
		state_put_u64(writer, id);
		state_put_u32(writer, O_RDONLY);
	}
	assert_int_equal(state_end(writer), 0);
}

static void impossible_sessions_are_refused(void **state)
{
	static const struct {
		uint64_t next_id;
		struct inode inodes[4];
		struct name names[4];
		uint32_t slots, slot;
		uint64_t handle;
		int r;
	} cases[] = {
		{ 9, { { 2, S_IFDIR } }, { { 2, 1, "d" } }, 2, 1, 2, 0 },
		{ 9, { { 2, S_IFDIR } }, { { 2, 1, "d" } }, 2, 0, 2, -EPROTO },
		{ 9, { { 2, S_IFDIR } }, { { 2, 1, "d" } }, 2, 2, 2, -EPROTO },
		{ 9, { { 2, S_IFDIR } }, { { 2, 1, "d" } }, 9, 0, 0, -EPROTO },
		{ 0, { { 0 } }, { { 0 } }, 2, 0, 0, -EPROTO },
		{ UINT64_MAX, { { 0 } }, { { 0 } }, 2, 0, 0, -EPROTO },
		{ 9, { { 9, S_IFREG } }, { { 0 } }, 2, 0, 0, -EPROTO },
		{ 9, { { 1, S_IFDIR } }, { { 0 } }, 2, 0, 0, -EPROTO },
		{ 9, { { 2, 0 } }, { { 0 } }, 2, 0, 0, -EPROTO },
		{ 9, { { 2, S_IFREG }, { 2, S_IFREG } }, { { 0 } }, 2, 0, 0, -EPROTO },
		{ 9, { { 2, S_IFDIR } }, { { 2, 2, "d" } }, 2, 0, 0, -EPROTO },
		{ 9, { { 2, S_IFREG } }, { { 2, 1, ".." } }, 2, 0, 0, -EPROTO },
		{ 9, { { 2, S_IFREG } }, { { 2, 1, "a/b" } }, 2, 0, 0, -EPROTO },
		{ 9, { { 2, S_IFREG } }, { { 3, 1, "f" } }, 2, 0, 0, -EPROTO },
		{ 9, { { 2, S_IFREG } }, { { 1, 2, "f" } }, 2, 0, 0, -EPROTO },
		{ 9, { { 2, S_IFREG }, { 3, S_IFREG } }, { { 2, 3, "f" } }, 2, 0, 0, -EPROTO },
		{ 9, { { 2, S_IFREG } }, { { 2, 1, "f" }, { 2, 1, "g" } }, 2, 0, 0, -EPROTO },
		{ 9,
		  { { 2, S_IFDIR }, { 3, S_IFDIR } },
		  { { 2, 3, "a" }, { 3, 2, "b" } },
		  2,
		  0,
		  0,
		  -EPROTO },
	};
	struct fs_client *c = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_close_ int fd = memfd_create("state", MFD_CLOEXEC);
		struct state_writer writer;
		int r;

		state_writer_init(&writer, fd);
		state_begin(&writer, STATE_TAG('F', 'S', 'S', 'E'), 1);
		state_put_u8(&writer, 1);
		state_put_u64(&writer, cases[i].next_id);
		assert_int_equal(state_end(&writer), 0);
		put_inodes(&writer, cases[i].inodes);
		put_names(&writer, cases[i].names);
		put_handles(&writer, cases[i].slots, cases[i].slot, cases[i].handle);
		assert_int_equal(state_finish(&writer), 0);
		state_writer_done(&writer);
		r = load(c, fd);
		if (r != cases[i].r)
			fail_msg("case %zu: %d", i, r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(open_files_go_on),
		TEST(open_directories_go_on),
		TEST(what_is_gone_is_stale),
		TEST(what_the_guest_forgot_is_forgotten),
		TEST(impossible_sessions_are_refused),
	};

	return cmocka_run_group_tests_name("fs_state", tests, NULL, NULL);
}
