/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

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

static ssize_t set(struct fs_client *c, uint64_t node, const char *name, const void *value,
		   uint32_t size)
{
	const uint32_t in[2] = { size, 0 };

	return fs_ask(c, FUSE_SETXATTR, node, PARTS(PART(in), TEXT(name), { value, size }), NULL,
		      0);
}

static ssize_t get(struct fs_client *c, uint64_t node, const char *name, void *value, uint32_t size)
{
	const struct fuse_getxattr_in in = { .size = size };
	struct fuse_getxattr_out out;
	ssize_t n = fs_ask(c, FUSE_GETXATTR, node, PARTS(PART(in), TEXT(name)), size ? value : &out,
			   size ? size : sizeof(out));

	return size || n < 0 ? n : (ssize_t)out.size;
}

static ssize_t list(struct fs_client *c, uint64_t node, void *value, uint32_t size)
{
	const struct fuse_getxattr_in in = { .size = size };
	struct fuse_getxattr_out out;
	ssize_t n = fs_ask(c, FUSE_LISTXATTR, node, PARTS(PART(in)), size ? value : &out,
			   size ? size : sizeof(out));

	return size || n < 0 ? n : (ssize_t)out.size;
}

static uint64_t file(struct fs_client *c)
{
	uint64_t node;

	fs_host_file(c, "f", "text");
	assert_int_equal(fs_lookup(c, ROOT, "f", &node), 0);
	return node;
}

static void users_attributes_come_and_go(void **state)
{
	struct fs_client *c = *state;
	uint64_t nodes[] = { file(c), ROOT };
	char value[100];

	if (fsetxattr(c->dir, "user.probe", "", 0, 0) < 0)
		skip();
	assert_int_equal(fremovexattr(c->dir, "user.probe"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		assert_int_equal(set(c, nodes[i], "user.a", "value", 5), 0);
		assert_int_equal(set(c, nodes[i], "user.b", "", 0), 0);
		assert_int_equal(get(c, nodes[i], "user.a", NULL, 0), 5);
		assert_int_equal(get(c, nodes[i], "user.a", value, 100), 5);
		assert_memory_equal(value, "value", 5);
		assert_int_equal(get(c, nodes[i], "user.a", value, 4), -ERANGE);
		assert_int_equal(get(c, nodes[i], "user.b", value, 4), 0);
		assert_int_equal(get(c, nodes[i], "user.c", value, 4), -ENODATA);
		assert_int_equal(list(c, nodes[i], NULL, 0), 14);
		assert_int_equal(list(c, nodes[i], value, 13), -ERANGE);
		assert_int_equal(list(c, nodes[i], value, 100), 14);
		assert_int_equal(
			fs_ask(c, FUSE_REMOVEXATTR, nodes[i], PARTS(TEXT("user.a")), NULL, 0), 0);
		assert_int_equal(list(c, nodes[i], value, 100), 7);
		assert_string_equal(value, "user.b");
	}
}

static void what_gives_rights_does_not_pass(void **state)
{
	static const char *const names[] = { "security.capability",
					     "security.selinux",
					     "system.posix_acl_access",
					     "trusted.overlay.opaque",
					     "user",
					     "",
					     "User.a",
					     "security.user." };
	struct fs_client *c = *state;
	uint64_t node = file(c);
	char value[100];

	(void)setxattr(c->path, "trusted.venv", "x", 1, 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(set(c, node, names[i], "x", 1), -EOPNOTSUPP);
		assert_int_equal(get(c, node, names[i], value, sizeof(value)), -EOPNOTSUPP);
		assert_int_equal(fs_ask(c, FUSE_REMOVEXATTR, node, PARTS(TEXT(names[i])), NULL, 0),
				 -EOPNOTSUPP);
	}
	assert_int_equal(list(c, ROOT, value, sizeof(value)), 0);
}

static void sizes_are_bounded(void **state)
{
	struct fs_client *c = *state;
	const struct fuse_getxattr_in huge = { .size = UINT32_MAX };
	uint64_t node = file(c);
	char name[300] = "user.", data[100];
	uint32_t in[2] = { XATTR_SIZE_MAX + 1, 0 };
	const char name_end[] = "user.x";

	assert_int_equal(fs_ask(c, FUSE_SETXATTR, node, PARTS(PART(in), TEXT(name_end)), NULL, 0),
			 -E2BIG);
	in[0] = UINT32_MAX;
	assert_int_equal(fs_ask(c, FUSE_SETXATTR, node, PARTS(PART(in), TEXT(name_end)), NULL, 0),
			 -E2BIG);
	in[0] = 10; /* more than is there */
	assert_int_equal(fs_ask(c, FUSE_SETXATTR, node,
				PARTS(PART(in), TEXT(name_end), { "123", 3 }), NULL, 0),
			 -EINVAL);
	memset(name + 5, 'n', sizeof(name) - 6);
	name[299] = '\0';
	assert_int_equal(set(c, node, name, "x", 1), -ENAMETOOLONG);
	/* more room is said to be there than is */
	assert_int_equal(fs_ask(c, FUSE_LISTXATTR, node, PARTS(PART(huge)), data, 2), 0);
	if (set(c, node, "user.a", "0123456789", 10) == 0) {
		assert_int_equal(fs_ask(c, FUSE_LISTXATTR, node, PARTS(PART(huge)), data, 2),
				 -ERANGE);
		assert_int_equal(
			fs_ask(c, FUSE_GETXATTR, node, PARTS(PART(huge), TEXT("user.a")), data, 2),
			-ERANGE);
	}
}

static void links_and_pipes_have_none(void **state)
{
	struct fs_client *c = *state;
	char value[100];
	uint64_t node;

	assert_int_equal(symlinkat("f", c->dir, "l"), 0);
	assert_int_equal(mkfifoat(c->dir, "p", 0600), 0);
	for (const char *name = "lp"; *name; name++) {
		assert_int_equal(fs_lookup(c, ROOT, (char[]){ *name, 0 }, &node), 0);
		assert_int_equal(list(c, node, value, sizeof(value)), 0);
		assert_int_equal(get(c, node, "user.a", value, sizeof(value)), -EOPNOTSUPP);
		assert_int_equal(set(c, node, "user.a", "x", 1), -EOPNOTSUPP);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(users_attributes_come_and_go),
		TEST(what_gives_rights_does_not_pass),
		TEST(sizes_are_bounded),
		TEST(links_and_pipes_have_none),
	};
	return cmocka_run_group_tests_name("vmm_fs_xattr", tests, NULL, NULL);
}
