/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of venv-unpack in this process: paths, attributes, limits of the writer. What needs a user
 * namespace is in tests/support/box_test.py. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "libvenv/box/unpack.h"
#include "libvenv/util/file.h"

struct place {
	char path[64];
	int fd;
};

static int setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	if (!place)
		return -1;
	(void)snprintf(place->path, sizeof(place->path), "/tmp/venv-test-untar.XXXXXX");
	if (!mkdtemp(place->path))
		return -1;
	place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = place;
	return place->fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct place *place = *state;

	(void)close(place->fd);
	(void)venv__tree_delete(AT_FDCWD, place->path, NULL);
	free(place);
	return 0;
}

static void paths_become_clean(void **state)
{
	static const struct {
		const char *path, *clean;
	} cases[] = {
		{ "a/b", "a/b" },          { "/a/b", "a/b" }, { "./a", "a" },
		{ "././/a//./b/", "a/b" }, { "/", "" },       { "./", "" },
		{ "..a/b..", "..a/b.." },  { "..", NULL },    { "a/..", NULL },
		{ "a/../b", NULL },        { "/../b", NULL }, { "1/2/3/4/5", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *clean = NULL;
		_cleanup_error_ venv_error *err = NULL;
		int r = venv__path_entry(cases[i].path, 4, &clean, &err);

		assert_int_equal(r, cases[i].clean ? 0 : VENV_ERR_BOX);
		if (cases[i].clean)
			assert_string_equal(clean, cases[i].clean);
	}
}

static void messages_are_utf8(void **state)
{
	static const struct {
		const char *path, *shown;
	} cases[] = {
		{ "a\303\251", "a\303\251" },
		{ "a\351", "a\\xe9" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },
		{ "\xc0\xaf", "\\xc0\\xaf" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "\xf5\x80", "\\xf5\\x80" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *shown = venv__path_show(cases[i].path);

		assert_string_equal(shown, cases[i].shown);
	}
}

static void attributes_are_chosen(void **state)
{
	(void)state;
	assert_true(venv__xattr_kept("user.x"));
	assert_true(venv__xattr_kept("security.capability"));
	assert_true(venv__xattr_kept("system.posix_acl_access"));
	assert_false(venv__xattr_kept("user.overlay.opaque"));
	assert_false(venv__xattr_kept("user.overlay.redirect"));
	assert_false(venv__xattr_kept("trusted.overlay.opaque"));
	assert_false(venv__xattr_kept("security.selinux"));
	assert_false(venv__xattr_kept("security.capability2"));
	assert_false(venv__xattr_kept("user"));
}

static void links_are_resolved_inside(void **state)
{
	const struct place *place = *state;
	static const struct {
		const char *path, *real;
		int result;
	} cases[] = {
		{ "d", "d", 0 },
		{ "up/d", "d", 0 },
		{ "abs", "d", 0 },
		{ "abs/../abs", "d", 0 },
		{ "loop", NULL, -ELOOP },
		{ "none", NULL, -ENOENT },
		{ "up/up/up", "", 0 },
		{ "../../d", "d", 0 },
		{ "file", NULL, -ENOTDIR },
		{ "file/x", NULL, -ENOTDIR },
	};

	assert_int_equal(mkdirat(place->fd, "d", 0755), 0);
	assert_int_equal(symlinkat("../../..", place->fd, "up"), 0);
	assert_int_equal(symlinkat("/d", place->fd, "abs"), 0);
	assert_int_equal(symlinkat("loop", place->fd, "loop"), 0);
	assert_true(close(openat(place->fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *real = NULL;

		assert_int_equal(venv__path_resolve(place->fd, cases[i].path, NULL, NULL, &real),
				 cases[i].result);
		if (cases[i].real)
			assert_string_equal(real, cases[i].real);
	}
}

static int add_file(struct writer *writer, const char *path, size_t size, venv_error **err)
{
	const struct tar_entry entry = {
		.path = path, .kind = ENTRY_FILE, .mode = 0644, .size = (int64_t)size
	};
	_cleanup_free_ char *data = calloc(1, size + 1);
	int r = venv__writer_begin(writer, &entry, err);

	if (r == 0)
		r = venv__writer_data(writer, data, size, 0, err);
	return r < 0 ? r : venv__writer_end(writer, &entry, err);
}

static void limits_hold(void **state)
{
	const struct place *place = *state;
	const struct limits limits = { .bytes = 1000, .entries = 5, .ratio = 10, .depth = 3 };
	struct writer *writer = venv__writer_new(place->fd, WRITER_PLAIN, &limits);
	_cleanup_error_ venv_error *bytes = NULL, *depth = NULL, *entries = NULL;

	assert_int_equal(add_file(writer, "a", 600, NULL), 0);
	assert_int_equal(add_file(writer, "b", 600, &bytes), VENV_ERR_BOX);
	assert_non_null(
		strstr(venv_error_message(bytes), "'b': the archive has more than 1000 bytes"));
	venv__writer_free(writer);
	writer = venv__writer_new(place->fd, WRITER_PLAIN, &limits);
	assert_int_equal(add_file(writer, "1/2/3/4", 1, &depth), VENV_ERR_BOX);
	assert_non_null(strstr(venv_error_message(depth), "directories deep"));
	assert_int_equal(add_file(writer, "1/2/f", 1, NULL), 0); /* and two directories */
	assert_int_equal(add_file(writer, "1/3/f", 1, &entries), VENV_ERR_BOX);
	assert_non_null(strstr(venv_error_message(entries), "more than 5 entries"));
	venv__writer_free(writer);
}

static void list_is_of_what_nobody_described(void **state)
{
	const struct place *place = *state;
	const struct limits limits = { .bytes = 1000, .entries = 50, .ratio = 10, .depth = 9 };
	struct writer *writer = venv__writer_new(place->fd, WRITER_PLAIN, &limits);
	const struct tar_entry late = { .path = "a/b/", .kind = ENTRY_DIR, .mode = 0755 };
	const struct tar_entry link = { .path = "z", .kind = ENTRY_HARDLINK, .target = "/q/r" };
	_cleanup_close_ int list = memfd_create("list", MFD_CLOEXEC);
	static const char expected[] = "L z\0T q/r\0D a\0D a/b/c\0D d";
	char text[128] = { 0 };

	assert_int_equal(add_file(writer, "a/b/c/f", 1, NULL), 0);
	assert_int_equal(add_file(writer, "d/f", 1, NULL), 0);
	assert_int_equal(venv__writer_begin(writer, &late, NULL), 0);
	assert_int_equal(venv__writer_begin(writer, &link, NULL), 0);
	assert_int_equal(venv__writer_finish(writer, list, NULL), 0);
	assert_int_equal(venv__writer_counts(writer)->implicit, 3);
	assert_int_equal(venv__writer_counts(writer)->pending, 1);
	venv__writer_free(writer);
	assert_int_equal(pread(list, text, sizeof(text), 0), sizeof(expected));
	assert_memory_equal(text, expected, sizeof(expected));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_become_clean),
		cmocka_unit_test(messages_are_utf8),
		cmocka_unit_test(attributes_are_chosen),
		cmocka_unit_test_setup_teardown(links_are_resolved_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(limits_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(list_is_of_what_nobody_described, setup, teardown),
	};

	return cmocka_run_group_tests_name("untar", tests, NULL, NULL);
}
