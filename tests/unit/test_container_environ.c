/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "providers/container/enter/environ.h"
#include "util/file.h"

static void reads_lines(void **state)
{
	static const struct {
		const char *text, *first, *second;
	} cases[] = {
		{ "", NULL, NULL },
		{ "\n\n# LANG=x\n", NULL, NULL },
		{ "LANG=C.UTF-8\n", "LANG=C.UTF-8", NULL },
		{ "LANG=C.UTF-8", "LANG=C.UTF-8", NULL },
		{ "A=1\nB=2\n", "A=1", "B=2" },
		{ "  A=1 2  # why\r\n\tB=\n", "A=1 2", "B=" },
		{ "A=\"one two\"\nB='x'\n", "A=one two", "B=x" },
		{ "A=\"open\nB=in\"side\n", "A=open", "B=in\"side" },
		{ "A=\"\nB=\"\"\n", "A=", "B=" },
		{ "export A=1\nexport  B=$HOME\n", "A=1", "B=$HOME" },
		{ "A\n=1\n1A=1\nA-B=1\nA B=1\nA =1\nexport\nÄ=1\nLC_1=x\n", "LC_1=x", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = strdup(cases[i].text);
		const char *const expected[] = { cases[i].first, cases[i].second, NULL };
		char *rest = text;

		assert_non_null(text);
		for (size_t k = 0; k < ARRAY_SIZE(expected); k++) {
			char *found = enter_environ_next(&rest);

			if (!expected[k]) {
				assert_null(found);
				break;
			}
			assert_non_null(found);
			assert_string_equal(found, expected[k]);
		}
	}
}

struct root {
	char path[64];
	int fd;
};

static int set_up(void **state)
{
	struct root *root = calloc(1, sizeof(*root));

	assert_non_null(root);
	(void)snprintf(root->path, sizeof(root->path), "/tmp/venv-environ-XXXXXX");
	assert_non_null(mkdtemp(root->path));
	root->fd = open(root->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(root->fd, "etc", 0755), 0);
	assert_int_equal(mkdirat(root->fd, "etc/default", 0755), 0);
	assert_int_equal(clearenv(), 0);
	*state = root;
	return 0;
}

static int tear_down(void **state)
{
	struct root *root = *state;

	(void)venv__tree_delete(AT_FDCWD, root->path, NULL);
	(void)close(root->fd);
	free(root);
	return 0;
}

static void write_file(const struct root *root, const char *name, const char *text)
{
	_cleanup_close_ int fd =
		openat(root->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void later_and_higher_ones_win(void **state)
{
	const struct root *root = *state;

	write_file(root, "etc/environment", "A=first\nA=last\nLANG=environment\nPATH=/x\nB=file\n");
	write_file(root, "etc/default/locale", "LANG=locale\n");
	assert_int_equal(setenv("B", "mine", 1), 0);
	enter_environ_add(root->fd);
	assert_string_equal(getenv("A"), "last");
	assert_string_equal(getenv("LANG"), "locale");
	assert_string_equal(getenv("PATH"), "/x");
	assert_string_equal(getenv("B"), "mine");
}

static void does_without_what_is_no_file(void **state)
{
	const struct root *root = *state;
	_cleanup_free_ char *big = malloc(ENVIRON_FILE_MAX + 2);

	enter_environ_add(root->fd);
	assert_int_equal(mkfifoat(root->fd, "etc/environment", 0644), 0);
	assert_int_equal(symlinkat("/dev/zero", root->fd, "etc/default/locale"), 0);
	enter_environ_add(root->fd);
	assert_int_equal(unlinkat(root->fd, "etc/environment", 0), 0);
	assert_int_equal(unlinkat(root->fd, "etc/default/locale", 0), 0);
	assert_non_null(big);
	memset(big, 'x', ENVIRON_FILE_MAX + 1);
	memcpy(big, "A=1\n", 4);
	big[ENVIRON_FILE_MAX + 1] = '\0';
	write_file(root, "etc/environment", big);
	/* out of the root and back in: there is nothing of this name inside */
	assert_int_equal(
		symlinkat("/../../../../../../etc/environment", root->fd, "etc/default/locale"), 0);
	enter_environ_add(root->fd);
	assert_true(!environ || !environ[0]);
}

static void takes_a_bounded_number(void **state)
{
	_cleanup_free_ char *text = calloc(1, ENVIRON_FILE_MAX + 1);
	const struct root *root = *state;
	size_t n = 0, count = 0;

	assert_non_null(text);
	for (unsigned i = 0; n + 16 < ENVIRON_FILE_MAX; i++)
		n += (size_t)snprintf(text + n, ENVIRON_FILE_MAX - n, "V%u=\xff\x1b\n", i);
	write_file(root, "etc/environment", text);
	enter_environ_add(root->fd);
	while (environ[count])
		count++;
	assert_int_equal(count, ENVIRON_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_lines),
		cmocka_unit_test_setup_teardown(later_and_higher_ones_win, set_up, tear_down),
		cmocka_unit_test_setup_teardown(does_without_what_is_no_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(takes_a_bounded_number, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("container_environ", tests, NULL, NULL);
}
