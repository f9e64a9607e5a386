/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <threads.h>

#include "util/buf.h"
#include "util/file.h"
#include "util/usage.h"

struct fixture {
	char path[64];
	int fd;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->path, sizeof(f->path), "/tmp/venv-test-file.XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)close(f->fd);
	(void)venv__tree_delete(AT_FDCWD, f->path, NULL);
	free(f);
	return 0;
}

static void writes_replace_whole_files(void **state)
{
	const struct fixture *f = *state;
	_cleanup_free_ char *text = NULL;
	_cleanup_strv_ char **names = NULL;
	struct stat st;
	size_t n;

	assert_int_equal(venv__file_write(f->fd, "a", "old", 3, 0600, WRITE_DURABLE, NULL), 0);
	assert_int_equal(venv__file_write(f->fd, "a", "newer", 5, 0640, WRITE_VOLATILE, NULL), 0);
	assert_int_equal(venv__file_read(f->fd, "a", 100, &text, &n, NULL), 0);
	assert_string_equal(text, "newer");
	assert_int_equal(n, 5);
	assert_int_equal(fstatat(f->fd, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(venv__dir_list(f->fd, &names, NULL), 0);
	assert_int_equal(venv__strv_count(names), 1);
}

static void touch(int dir_fd, const char *name)
{
	assert_int_equal(venv__file_write(dir_fd, name, "", 0, 0600, WRITE_VOLATILE, NULL), 0);
}

/* And nothing else: names that only look alike are of others. */
static void killed_writes_are_swept(void **state)
{
	static const char *const stay[] = { "a",
					    ".a.tmp",
					    ".a.0123456.tmp",
					    ".a.0123456g.tmp",
					    "a.01234567.tmp",
					    ".a.01234567.tmpx",
					    "..01234567.tmp" };
	const struct fixture *f = *state;
	_cleanup_strv_ char **names = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(stay); i++)
		touch(f->fd, stay[i]);
	touch(f->fd, ".a.01234567.tmp");
	touch(f->fd, ".a.b.89abcdef.tmp");
	venv__file_sweep(f->fd, "a");
	assert_int_not_equal(faccessat(f->fd, ".a.01234567.tmp", F_OK, 0), 0);
	assert_int_equal(faccessat(f->fd, ".a.b.89abcdef.tmp", F_OK, 0), 0);
	venv__file_sweep(f->fd, NULL);
	assert_int_equal(venv__dir_list(f->fd, &names, NULL), 0);
	assert_int_equal(venv__strv_count(names), ARRAY_SIZE(stay));
}

static void a_planted_link_is_replaced_not_followed(void **state)
{
	const struct fixture *f = *state;
	_cleanup_free_ char *text = NULL;

	assert_int_equal(venv__file_write(f->fd, "victim", "v", 1, 0600, WRITE_VOLATILE, NULL), 0);
	assert_int_equal(symlinkat("victim", f->fd, "a"), 0);
	assert_int_equal(venv__file_write(f->fd, "a", "x", 1, 0600, WRITE_VOLATILE, NULL), 0);
	assert_int_equal(venv__file_read(f->fd, "victim", 100, &text, NULL, NULL), 0);
	assert_string_equal(text, "v");
}

static void large_files_are_refused(void **state)
{
	const struct fixture *f = *state;
	char *text = NULL;

	assert_int_equal(venv__file_write(f->fd, "a", "12345", 5, 0600, WRITE_VOLATILE, NULL), 0);
	assert_int_equal(venv__file_read(f->fd, "a", 4, &text, NULL, NULL), VENV_ERR_INVALID);
	assert_null(text);
}

static void deep_trees_go(void **state)
{
	const struct fixture *f = *state;
	int fd = openat(f->fd, ".", O_RDONLY | O_DIRECTORY);

	for (int i = 0; i < 2000; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "d", 0700), 0);
		assert_int_equal(mkdirat(fd, "e", 0500), 0);
		next = openat(fd, "d", O_RDONLY | O_DIRECTORY);
		assert_true(next >= 0);
		(void)close(fd);
		fd = next;
	}
	(void)close(fd);
	assert_int_equal(venv__tree_delete(f->fd, "d", NULL), 0);
	assert_int_equal(faccessat(f->fd, "d", F_OK, 0), -1);
	assert_int_equal(venv__tree_delete(f->fd, "d", NULL), 0);
}

static int delete_in_thread(void *user)
{
	return venv__tree_delete(*(const int *)user, "shared", NULL);
}

/* as two `destroy` that both empty the trash */
static void two_may_delete_one_tree(void **state)
{
	const struct fixture *f = *state;
	int fd = f->fd;

	for (int round = 0; round < 8; round++) {
		thrd_t others[2];
		char name[64];

		assert_int_equal(mkdirat(fd, "shared", 0700), 0);
		for (int i = 0; i < 40; i++) {
			(void)snprintf(name, sizeof(name), "shared/%d", i);
			assert_int_equal(mkdirat(fd, name, 0700), 0);
			(void)snprintf(name, sizeof(name), "shared/%d/a", i);
			assert_int_equal(mkdirat(fd, name, 0700), 0);
			(void)snprintf(name, sizeof(name), "shared/%d/a/b", i);
			assert_int_equal(mkdirat(fd, name, 0700), 0);
		}
		for (size_t i = 0; i < ARRAY_SIZE(others); i++)
			assert_int_equal(thrd_create(&others[i], delete_in_thread, &fd),
					 thrd_success);
		assert_int_equal(venv__tree_delete(fd, "shared", NULL), 0);
		for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
			int r = -1;

			assert_int_equal(thrd_join(others[i], &r), thrd_success);
			assert_int_equal(r, 0);
		}
		assert_int_equal(faccessat(fd, "shared", F_OK, 0), -1);
	}
}

static void deleting_does_not_follow_links(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(mkdirat(f->fd, "keep", 0700), 0);
	assert_int_equal(mkdirat(f->fd, "keep/x", 0700), 0);
	assert_int_equal(mkdirat(f->fd, "t", 0700), 0);
	assert_int_equal(symlinkat("../keep", f->fd, "t/link"), 0);
	assert_int_equal(venv__tree_delete(f->fd, "t", NULL), 0);
	assert_int_equal(faccessat(f->fd, "keep/x", F_OK, 0), 0);
	assert_int_equal(symlinkat("keep", f->fd, "top"), 0);
	assert_int_equal(venv__tree_delete(f->fd, "top", NULL), 0);
	assert_int_equal(faccessat(f->fd, "keep/x", F_OK, 0), 0);
}

static void locks_exclude(void **state)
{
	const struct fixture *f = *state;
	_cleanup_close_ int a = openat(f->fd, "lock", O_RDWR | O_CREAT, 0600);
	_cleanup_close_ int b = openat(f->fd, "lock", O_RDWR);

	assert_int_equal(venv__lock_try(a, true), 0);
	assert_true(venv__lock_is_held(b));
	assert_int_equal(venv__lock_try(b, true), -EAGAIN);
	assert_int_equal(venv__lock_try(b, false), -EAGAIN);
	venv__unlock(a);
	assert_false(venv__lock_is_held(b));
	assert_int_equal(venv__lock_try(b, false), 0);
	assert_int_equal(venv__lock_try(a, false), 0);
}

static void roots_hold(void **state)
{
	const struct fixture *f = *state;
	int fd;

	assert_int_equal(mkdirat(f->fd, "in", 0700), 0);
	assert_int_equal(symlinkat("/etc", f->fd, "etc"), 0);
	assert_int_equal(symlinkat("in", f->fd, "inside"), 0);
	assert_int_equal(symlinkat("/usr", f->fd, "outside"), 0);
	assert_int_equal(venv__open_in_root(f->fd, "/outside/bin", O_RDONLY, 0), -ENOENT);
	assert_int_equal(venv__open_in_root(f->fd, "/etc/passwd", O_RDONLY, 0), -ELOOP);
	assert_int_equal(venv__open_beneath(f->fd, "etc", O_RDONLY, 0), -ELOOP);
	assert_int_equal(venv__open_beneath(f->fd, "../x", O_RDONLY, 0), -EXDEV);
	assert_int_equal(venv__open_under(f->fd, "etc", O_PATH), -EXDEV);
	fd = venv__open_under(f->fd, "inside", O_PATH | O_DIRECTORY);
	assert_true(fd >= 0);
	(void)close(fd);
	fd = venv__mkdir_in_root(f->fd, "/x/y/../y/z", 0755);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(faccessat(f->fd, "x/y/z", F_OK, 0), 0);
}

static uint64_t usage_of(const struct fixture *f, const char *name)
{
	struct tree_usage usage;

	venv__tree_usage(f->fd, name, 60000, &usage);
	assert_false(usage.partial);
	return usage.bytes;
}

static void trees_are_counted(void **state)
{
	static const char data[100000] = "x";
	const struct fixture *f = *state;
	struct tree_usage usage;
	uint64_t empty, one;
	int deep = -1;

	assert_int_equal(venv__dir_make_at(f->fd, "t", 0755, NULL, NULL), 0);
	assert_int_equal(mkdirat(f->fd, "t/a", 0755), 0);
	assert_int_equal(mkdirat(f->fd, "t/a/b", 0755), 0);
	empty = usage_of(f, "t");
	deep = openat(f->fd, "t/a/b", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(
		venv__file_write(deep, "file", data, sizeof(data), 0600, WRITE_DURABLE, NULL), 0);
	one = usage_of(f, "t");
	assert_true(one >= empty + sizeof(data) && one < empty + 2 * sizeof(data));
	/* once, whatever its names */
	assert_int_equal(linkat(deep, "file", f->fd, "t/again", 0), 0);
	assert_true(usage_of(f, "t") < empty + 2 * sizeof(data));
	/* nothing of what links lead to */
	assert_int_equal(symlinkat("/usr", deep, "usr"), 0);
	assert_true(usage_of(f, "t") < empty + 2 * sizeof(data));
	(void)close(deep);
	venv__tree_usage(f->fd, "t", 0, &usage);
	assert_true(usage.partial && !usage.denied);
	venv__tree_usage(f->fd, "missing", 1000, &usage);
	assert_true(usage.partial && !usage.bytes);
}

static void paths_by_text(void **state)
{
	static const struct {
		const char *path, *clean;
	} cases[] = {
		{ "/", "/" },
		{ "//a//b/", "/a/b" },
		{ "/a/./b/../c", "/a/c" },
		{ "/../../a", "/a" },
		{ "/a/..", "/" },
		{ "/a/b/../../..", "/" },
		{ "/a.b/..c/...", "/a.b/..c/..." },
	};
	const char *rest;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *clean = venv__path_clean(cases[i].path);

		assert_string_equal(clean, cases[i].clean);
	}
	assert_true(venv__path_below("/a/b/c", "/a/b", &rest));
	assert_string_equal(rest, "c");
	assert_true(venv__path_below("/a/b", "/a/b", &rest));
	assert_string_equal(rest, "");
	assert_false(venv__path_below("/a/bc", "/a/b", &rest));
	assert_true(venv__path_below("/a", "/", &rest));
	assert_string_equal(rest, "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(writes_replace_whole_files, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_writes_are_swept, setup, teardown),
		cmocka_unit_test_setup_teardown(a_planted_link_is_replaced_not_followed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(large_files_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(deep_trees_go, setup, teardown),
		cmocka_unit_test_setup_teardown(two_may_delete_one_tree, setup, teardown),
		cmocka_unit_test_setup_teardown(deleting_does_not_follow_links, setup, teardown),
		cmocka_unit_test_setup_teardown(locks_exclude, setup, teardown),
		cmocka_unit_test_setup_teardown(roots_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(trees_are_counted, setup, teardown),
		cmocka_unit_test(paths_by_text),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
