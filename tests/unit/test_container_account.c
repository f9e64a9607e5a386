/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "providers/container/enter/account.h"
#include "util/file.h"

static const char passwd[] = "# a comment\n"
			     "root:x:0:0:root:/root:/bin/bash\n"
			     "short:x:5\n"
			     "bad:x:-1:0::/:/bin/sh\n"
			     "high:x:65536:0::/:/bin/sh\n"
			     "huge:x:4294967296:0::/:/bin/sh\n"
			     "dev:x:1000:1001:Dev,,,:/home/dev:\n"
			     "rel:x:1002:1002::home:sh\n"
			     "7:x:77:77::/seven:/bin/sh\n"
			     "last:x:9:9::/last:/bin/sh";
static const char group[] = "root:x:0:\nwheel:x:10:dev,last\ndev:x:1001:\nwide:x:70000:dev\n"
			    "video:x:44:dev\ndevx:x:45:devx\n";

static void finds_users(void **state)
{
	static const struct {
		const char *text;
		int r;
		unsigned uid, gid;
		const char *home, *shell;
	} cases[] = {
		{ "root", 0, 0, 0, "/root", "/bin/bash" },
		{ "dev", 0, 1000, 1001, "/home/dev", "/bin/sh" },
		{ "1000", 0, 1000, 1001, "/home/dev", "/bin/sh" },
		{ "dev:wheel", 0, 1000, 10, "/home/dev", "/bin/sh" },
		{ "dev:44", 0, 1000, 44, "/home/dev", "/bin/sh" },
		{ "rel", 0, 1002, 1002, "/", "/bin/sh" },
		{ "7", 0, 77, 77, "/seven", "/bin/sh" },
		{ "last", 0, 9, 9, "/last", "/bin/sh" },
		{ "4000", 0, 4000, 4000, "/", "/bin/sh" },
		{ "65535", 0, 65535, 65535, "/", "/bin/sh" },
		{ "65536", -ENOENT, 0, 0, NULL, NULL },
		{ "4294967295", -ENOENT, 0, 0, NULL, NULL },
		{ "-1", -ENOENT, 0, 0, NULL, NULL },
		{ "high", -ENOENT, 0, 0, NULL, NULL },
		{ "bad", -ENOENT, 0, 0, NULL, NULL },
		{ "short", -ENOENT, 0, 0, NULL, NULL },
		{ "dev:none", -ENOENT, 0, 0, NULL, NULL },
		{ "", -EINVAL, 0, 0, NULL, NULL },
		{ ":wheel", -EINVAL, 0, 0, NULL, NULL },
		{ "dev:", -EINVAL, 0, 0, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char users[sizeof(passwd)], groups[sizeof(group)];
		struct account account;

		memcpy(users, passwd, sizeof(passwd));
		memcpy(groups, group, sizeof(group));
		assert_int_equal(enter_account_parse(users, groups, cases[i].text, &account),
				 cases[i].r);
		if (cases[i].r < 0)
			continue;
		assert_int_equal(account.uid, cases[i].uid);
		assert_int_equal(account.gid, cases[i].gid);
		assert_string_equal(account.home, cases[i].home);
		assert_string_equal(account.shell, cases[i].shell);
	}
}

static void does_without_files(void **state)
{
	struct account account;

	(void)state;
	assert_int_equal(enter_account_parse(NULL, NULL, "root", &account), 0);
	assert_string_equal(account.name, "root");
	assert_string_equal(account.home, "/root");
	assert_int_equal(enter_account_parse(NULL, NULL, "12:34", &account), 0);
	assert_int_equal(account.gid, 34);
	assert_int_equal(enter_account_parse(NULL, NULL, "dev", &account), -ENOENT);
}

static int make_root(const char *users, const char *groups)
{
	char template[] = "/tmp/venv-account-XXXXXX";
	int root, etc;

	assert_non_null(mkdtemp(template));
	root = open(template, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(venv__dir_make_at(root, "etc", 0755, &etc, NULL), 0);
	if (users)
		assert_int_equal(venv__file_write(etc, "passwd", users, strlen(users), 0644,
						  WRITE_VOLATILE, NULL),
				 0);
	if (groups)
		assert_int_equal(venv__file_write(etc, "group", groups, strlen(groups), 0644,
						  WRITE_VOLATILE, NULL),
				 0);
	(void)close(etc);
	return root;
}

static void remove_root(int root)
{
	char path[64], target[256];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", root);
	n = readlink(path, target, sizeof(target) - 1);
	assert_true(n > 0);
	target[n] = '\0';
	(void)venv__tree_delete(AT_FDCWD, target, NULL);
	(void)close(root);
}

static void lists_groups(void **state)
{
	int root = make_root(passwd, group);
	gid_t groups[ACCOUNT_GROUPS_MAX];
	struct account account;

	(void)state;
	assert_int_equal(enter_account_find(root, "dev", &account), 0);
	assert_int_equal(enter_account_groups(root, &account, groups), 2);
	assert_int_equal(groups[0], 10);
	assert_int_equal(groups[1], 44);
	remove_root(root);
}

static void refuses_what_is_no_file(void **state)
{
	int root = make_root(NULL, NULL), etc = openat(root, "etc", O_RDONLY | O_DIRECTORY);
	struct account account;
	_cleanup_free_ char *big = calloc(1, ACCOUNT_FILE_MAX + 2);

	(void)state;
	assert_int_equal(mkfifoat(root, "etc/passwd", 0644), 0);
	assert_int_equal(enter_account_find(root, "dev", &account), -ENOENT);
	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
	assert_int_equal(symlinkat("/dev/zero", root, "etc/passwd"), 0);
	assert_int_equal(enter_account_find(root, "dev", &account), -ENOENT);
	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
	/* a link is followed, but inside the root only */
	assert_int_equal(symlinkat("/../../../../../etc/passwd", root, "etc/passwd"), 0);
	assert_int_equal(enter_account_find(root, "daemon", &account), -ENOENT);
	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
	assert_non_null(big);
	memset(big, 'x', ACCOUNT_FILE_MAX + 1);
	assert_int_equal(snprintf(big, 32, "dev:x:1:1::/:/bin/sh\n"), 21);
	big[21] = 'x';
	assert_int_equal(venv__file_write(etc, "passwd", big, ACCOUNT_FILE_MAX + 1, 0644,
					  WRITE_VOLATILE, NULL),
			 0);
	assert_int_equal(enter_account_find(root, "dev", &account), -ENOENT);
	(void)close(etc);
	remove_root(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_users),
		cmocka_unit_test(does_without_files),
		cmocka_unit_test(lists_groups),
		cmocka_unit_test(refuses_what_is_no_file),
	};

	return cmocka_run_group_tests_name("container_account", tests, NULL, NULL);
}
