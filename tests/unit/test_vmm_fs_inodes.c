/* SPDX-License-Identifier: Apache-2.0 */
/* The table of inodes and the one of handles. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>

#include "fs/handles.h"
#include "fs/inodes.h"
#include "util/file.h"

struct fixture {
	char path[64];
	int dir;
	struct fs_inodes t;
};

enum { MAX_INODES = 3000, MAX_OPEN = 64 };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->path, sizeof(f->path), "/tmp/venv-test-inodes.XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return fs_inodes_init(&f->t, open(f->path, O_PATH | O_CLOEXEC), MAX_INODES, MAX_OPEN);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fs_inodes_done(&f->t);
	(void)close(f->dir);
	(void)venv__tree_delete(AT_FDCWD, f->path, NULL);
	free(f);
	return 0;
}

static void make_file(const struct fixture *f, const char *name)
{
	int fd = openat(f->dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	(void)close(fd);
}

/* Look a name up and be done with it. */
static uint64_t look(struct fixture *f, struct fs_inode *dir, const char *name)
{
	struct fs_inode *inode;
	struct statx stat;
	uint64_t id;

	assert_int_equal(fs_inode_lookup(&f->t, dir, name, &inode, &stat), 0);
	id = inode->id;
	fs_inode_put(&f->t, inode);
	return id;
}

static struct fs_inode *get(struct fixture *f, uint64_t id)
{
	struct fs_inode *inode;

	return fs_inode_get(&f->t, id, &inode) == 0 ? inode : NULL;
}

static void one_file_is_one_inode(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	make_file(f, "a");
	make_file(f, "b");
	assert_int_equal(linkat(f->dir, "a", f->dir, "c", 0), 0);
	a = look(f, f->t.root, "a");
	assert_int_not_equal(look(f, f->t.root, "b"), a);
	assert_int_equal(look(f, f->t.root, "c"), a);
	assert_int_equal(f->t.n, 3);
	fs_inode_forget(&f->t, a, 1);
	assert_int_equal(look(f, f->t.root, "a"), a);
	fs_inode_forget(&f->t, a, 2);
	assert_null(get(f, a));
	assert_int_not_equal(look(f, f->t.root, "a"), a); /* a number is given once */
}

static void state_is_hidden_in_one_directory(void **state)
{
	struct fixture *f = *state;
	struct fs_inode *below;
	int fd;

	assert_int_equal(mkdirat(f->dir, "shop", 0700), 0);
	below = get(f, look(f, f->t.root, "shop"));
	assert_true(fs_inode_hidden(&f->t, f->t.root, ".machines"));
	assert_false(fs_inode_hidden(&f->t, f->t.root, "machines"));
	assert_false(fs_inode_hidden(&f->t, below, ".machines"));
	fd = openat(f->dir, "shop", O_PATH | O_CLOEXEC);
	assert_int_equal(fs_inodes_hide(&f->t, fd), 0);
	(void)close(fd);
	assert_false(fs_inode_hidden(&f->t, f->t.root, ".machines"));
	assert_true(fs_inode_hidden(&f->t, below, ".machines"));
	fs_inode_put(&f->t, below);
}

static void more_cannot_be_forgotten_than_there_is(void **state)
{
	struct fixture *f = *state;
	uint64_t a;
	struct fs_inode *inode;

	make_file(f, "a");
	a = look(f, f->t.root, "a");
	inode = get(f, a);
	fs_inode_forget(&f->t, a, UINT64_MAX);
	fs_inode_forget(&f->t, a, UINT64_MAX);
	assert_null(get(f, a)); /* forgotten, though still in use */
	assert_int_equal(inode->lookups, 0);
	fs_inode_put(&f->t, inode);
	assert_int_equal(f->t.n, 1);
	fs_inode_forget(&f->t, FUSE_ROOT_ID, 100);
	fs_inode_forget(&f->t, 0, 1);
	fs_inode_forget(&f->t, UINT64_MAX, 1);
	assert_non_null(get(f, FUSE_ROOT_ID));
	fs_inode_put(&f->t, f->t.root);
}

static void directories_stay_while_their_files_are_known(void **state)
{
	struct fixture *f = *state;
	uint64_t d, a;
	struct fs_inode *dir;
	struct statx stat;

	assert_int_equal(mkdirat(f->dir, "d", 0700), 0);
	make_file(f, "d/a");
	d = look(f, f->t.root, "d");
	dir = get(f, d);
	a = look(f, dir, "a");
	fs_inode_put(&f->t, dir);
	fs_inode_forget(&f->t, d, 1);
	assert_null(get(f, d));
	dir = get(f, a);
	assert_non_null(dir);
	assert_int_equal(fs_inode_stat(&f->t, dir, &stat), 0);
	assert_int_equal(fs_inode_open(&f->t, dir), 0);
	fs_inode_put(&f->t, dir);
	fs_inode_forget(&f->t, a, 1);
	assert_int_equal(f->t.n, 1);
	assert_int_equal(f->t.n_open, 1);
}

static void another_file_at_the_name_is_stale(void **state)
{
	struct fixture *f = *state;
	struct fs_inode *inode, *dir;
	struct statx stat;
	uint64_t a;

	make_file(f, "a");
	a = look(f, f->t.root, "a");
	make_file(f, "b");
	assert_int_equal(renameat(f->dir, "b", f->dir, "a"), 0);
	inode = get(f, a);
	assert_int_equal(fs_inode_stat(&f->t, inode, &stat), -ESTALE);
	assert_int_equal(fs_inode_open(&f->t, inode), -ESTALE);
	assert_int_not_equal(look(f, f->t.root, "a"), a);
	assert_int_equal(unlinkat(f->dir, "a", 0), 0);
	assert_int_equal(fs_inode_stat(&f->t, inode, &stat), -ESTALE);
	fs_inode_put(&f->t, inode);
	/* a directory keeps its descriptor: it may be moved and removed */
	assert_int_equal(mkdirat(f->dir, "d", 0700), 0);
	dir = get(f, look(f, f->t.root, "d"));
	assert_int_equal(renameat(f->dir, "d", f->dir, "e"), 0);
	assert_int_equal(fs_inode_stat(&f->t, dir, &stat), 0);
	assert_int_equal(unlinkat(f->dir, "e", AT_REMOVEDIR), 0);
	assert_int_equal(fs_inode_stat(&f->t, dir, &stat), 0);
	assert_int_equal(stat.stx_nlink, 0);
	fs_inode_put(&f->t, dir);
}

static void an_open_file_survives_its_name(void **state)
{
	struct fixture *f = *state;
	struct fs_inode *inode;
	struct statx stat;

	make_file(f, "a");
	inode = get(f, look(f, f->t.root, "a"));
	assert_int_equal(fs_inode_open(&f->t, inode), 0);
	assert_int_equal(unlinkat(f->dir, "a", 0), 0);
	assert_int_equal(fs_inode_stat(&f->t, inode, &stat), 0);
	fs_inode_put(&f->t, inode);
}

/* A chain of directories that is deeper than descriptors are allowed. */
static void descriptors_are_closed_and_opened_again(void **state)
{
	struct fixture *f = *state;
	uint64_t id[200];
	struct fs_inode *dir = get(f, FUSE_ROOT_ID);
	int at = dup(f->dir);

	for (size_t i = 0; i < ARRAY_SIZE(id); i++) {
		int next;

		assert_int_equal(mkdirat(at, "d", 0700), 0);
		next = openat(at, "d", O_RDONLY | O_CLOEXEC);
		(void)close(at);
		at = next;
		id[i] = look(f, dir, "d");
		fs_inode_put(&f->t, dir);
		dir = get(f, id[i]);
		assert_int_equal(fs_inode_open(&f->t, dir), 0);
	}
	(void)close(at);
	fs_inode_put(&f->t, dir);
	assert_true(f->t.n_open <= MAX_OPEN + MAX_OPEN / 2);
	for (size_t i = ARRAY_SIZE(id) - 1; i-- > 0;) {
		dir = get(f, id[i]);
		assert_int_equal(fs_inode_open(&f->t, dir), 0);
		assert_int_equal(look(f, dir, "d"), id[i + 1]);
		fs_inode_put(&f->t, dir);
	}
}

static void closed_directories_open_from_the_top(void **state)
{
	struct fixture *f = *state;
	struct fs_inode *dir;
	uint64_t deep, wide[150];
	char name[16];

	assert_int_equal(mkdirat(f->dir, "a", 0700), 0);
	assert_int_equal(mkdirat(f->dir, "a/b", 0700), 0);
	assert_int_equal(mkdirat(f->dir, "a/b/c", 0700), 0);
	dir = get(f, look(f, f->t.root, "a"));
	deep = look(f, dir, "b");
	fs_inode_put(&f->t, dir);
	dir = get(f, deep);
	deep = look(f, dir, "c");
	fs_inode_put(&f->t, dir);
	for (size_t i = 0; i < ARRAY_SIZE(wide); i++) {
		(void)snprintf(name, sizeof(name), "%zu", i);
		assert_int_equal(mkdirat(f->dir, name, 0700), 0);
		wide[i] = look(f, f->t.root, name);
	}
	dir = get(f, deep);
	assert_int_equal(dir->fd, -1);
	assert_int_equal(dir->parent->fd, -1);
	assert_int_equal(fs_inode_open(&f->t, dir), 0);
	fs_inode_put(&f->t, dir);
	/* moved on the host while closed: not found where it was */
	assert_int_equal(renameat(f->dir, "0", f->dir, "zero"), 0);
	dir = get(f, wide[0]);
	if (dir->fd < 0)
		assert_int_equal(fs_inode_open(&f->t, dir), -ESTALE);
	fs_inode_put(&f->t, dir);
	assert_int_equal(look(f, f->t.root, "zero"), wide[0]);
}

/* What cannot be closed is limited as well: removed directories that the guest remembers. */
static void hostile_descriptors_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct fs_inode *inode;
	struct statx stat;
	size_t n = 0;
	int r = 0;

	while (r == 0 && n++ < 1000) {
		assert_int_equal(mkdirat(f->dir, "d", 0700), 0);
		r = fs_inode_lookup(&f->t, f->t.root, "d", &inode, &stat);
		if (r == 0)
			fs_inode_put(&f->t, inode);
		assert_int_equal(unlinkat(f->dir, "d", AT_REMOVEDIR), 0);
	}
	assert_int_equal(r, -ENFILE);
	assert_true(f->t.n_open <= MAX_OPEN * 2);
}

/* A file has a second name; the directories where it was seen first are gone and forgotten. */
static void forgotten_directories_hold_no_descriptors(void **state)
{
	struct fixture *f = *state;
	struct fs_inode *dir;
	char name[32];

	for (int i = 0; i < 500; i++) {
		assert_int_equal(mkdirat(f->dir, "d", 0700), 0);
		make_file(f, "d/f");
		(void)snprintf(name, sizeof(name), "second%d", i);
		assert_int_equal(linkat(f->dir, "d/f", f->dir, name, 0), 0);
		dir = get(f, look(f, f->t.root, "d"));
		(void)look(f, dir, "f");
		fs_inode_forget(&f->t, dir->id, 1);
		fs_inode_put(&f->t, dir);
		assert_int_equal(unlinkat(f->dir, "d/f", 0), 0);
		assert_int_equal(unlinkat(f->dir, "d", AT_REMOVEDIR), 0);
	}
	assert_true(f->t.n_open <= MAX_OPEN);
}

static void inodes_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct fs_inode *inode;
	struct statx stat;
	char name[16];
	int r = 0;

	for (int i = 0; i < MAX_INODES && r == 0; i++) {
		(void)snprintf(name, sizeof(name), "%d", i);
		make_file(f, name);
		r = fs_inode_lookup(&f->t, f->t.root, name, &inode, &stat);
		if (r == 0)
			fs_inode_put(&f->t, inode);
	}
	assert_int_equal(r, -ENFILE);
	assert_int_equal(f->t.n, MAX_INODES);
	fs_inodes_reset(&f->t);
	assert_int_equal(f->t.n, 1);
	assert_int_equal(f->t.n_open, 1);
	(void)look(f, f->t.root, "0");
}

/* The host turns a/b into b/a: nobody's directory may become its own. */
static void directories_never_go_in_circles(void **state)
{
	struct fixture *f = *state;
	struct fs_inode *a, *b, *up;
	int steps = 0;

	assert_int_equal(mkdirat(f->dir, "a", 0700), 0);
	assert_int_equal(mkdirat(f->dir, "a/b", 0700), 0);
	a = get(f, look(f, f->t.root, "a"));
	b = get(f, look(f, a, "b"));
	assert_int_equal(renameat(f->dir, "a/b", f->dir, "b"), 0);
	assert_int_equal(renameat(f->dir, "a", f->dir, "b/a"), 0);
	(void)look(f, b, "a");
	for (up = a; up && steps < 10; steps++)
		up = up->parent;
	assert_true(steps < 10);
	fs_inode_put(&f->t, a);
	fs_inode_put(&f->t, b);
}

static void handle_numbers_are_checked(void **state)
{
	struct fs_inode a = { 0 }, b = { 0 };
	struct fs_handles t;
	struct fs_handle *handle, *again, *taken;
	uint64_t id;

	(void)state;
	fs_handles_init(&t, 3);
	assert_int_equal(fs_handle_new(&t, &a, dup(0), O_RDONLY, false, &handle), 0);
	id = handle->id;
	assert_int_equal(fs_handle_get(&t, id, &b, false, &again), -EBADF);
	assert_int_equal(fs_handle_get(&t, id, &a, true, &again), -EBADF);
	assert_int_equal(fs_handle_get(&t, id + 1, &a, false, &again), -EBADF);
	assert_int_equal(fs_handle_get(&t, id + (1ULL << 32), &a, false, &again), -EBADF);
	assert_int_equal(fs_handle_get(&t, UINT64_MAX, &a, false, &again), -EBADF);
	assert_int_equal(fs_handle_get(&t, id, &a, false, &again), 0);
	assert_ptr_equal(again, handle);
	assert_int_equal(fs_handle_remove(&t, id, &a, true, &taken), -EBADF);
	assert_int_equal(fs_handle_remove(&t, id, &a, false, &taken), 0);
	assert_ptr_equal(taken, handle);
	assert_int_equal(fs_handle_remove(&t, id, &a, false, &taken), -EBADF);
	assert_null(fs_handle_put(&t, again)); /* still in use by us */
	assert_null(fs_handle_put(&t, taken));
	assert_ptr_equal(fs_handle_put(&t, handle), &a);
	assert_int_equal(t.open, 0);
	fs_handles_done(&t);
}

static void let_go(void *user, struct fs_inode *inode)
{
	assert_non_null(inode);
	++*(int *)user;
}

static void handles_are_bounded(void **state)
{
	struct fs_inode a = { 0 };
	struct fs_handles t;
	struct fs_handle *handle;
	int let = 0, fd;

	(void)state;
	fs_handles_init(&t, 100);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(fs_handle_new(&t, &a, dup(0), O_RDONLY, false, &handle), 0);
		assert_null(fs_handle_put(&t, handle));
	}
	fd = dup(0);
	assert_int_equal(fs_handle_new(&t, &a, fd, O_RDONLY, false, &handle), -ENFILE);
	(void)close(fd);
	fs_handles_reset(&t, let_go, &let);
	assert_int_equal(let, 100);
	assert_int_equal(fs_handle_new(&t, &a, dup(0), O_RDONLY, false, &handle), 0);
	assert_null(fs_handle_put(&t, handle));
	fs_handles_reset(&t, let_go, &let);
	fs_handles_done(&t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(state_is_hidden_in_one_directory),
		TEST(one_file_is_one_inode),
		TEST(more_cannot_be_forgotten_than_there_is),
		TEST(directories_stay_while_their_files_are_known),
		TEST(another_file_at_the_name_is_stale),
		TEST(an_open_file_survives_its_name),
		TEST(descriptors_are_closed_and_opened_again),
		TEST(closed_directories_open_from_the_top),
		TEST(hostile_descriptors_are_bounded),
		TEST(forgotten_directories_hold_no_descriptors),
		TEST(inodes_are_bounded),
		TEST(directories_never_go_in_circles),
		cmocka_unit_test(handle_numbers_are_checked),
		cmocka_unit_test(handles_are_bounded),
	};
	return cmocka_run_group_tests_name("vmm_fs_inodes", tests, NULL, NULL);
}
