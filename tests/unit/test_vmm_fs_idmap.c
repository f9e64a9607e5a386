/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>

#include "fs/idmap.h"
#include "util/compiler.h"

static const struct fs_idmap map = {
	.host_uid = 501, .guest_uid = 1000, .host_gid = 502, .guest_gid = 1001
};

static void the_user_is_the_user_and_others_nobody(void **state)
{
	(void)state;
	assert_int_equal(fs_idmap_uid(&map, 501), 1000);
	assert_int_equal(fs_idmap_gid(&map, 502), 1001);
	assert_int_equal(fs_idmap_uid(&map, 0), FS_NOBODY);
	assert_int_equal(fs_idmap_uid(&map, 1000), FS_NOBODY);
	assert_int_equal(fs_idmap_gid(&map, 0), FS_NOBODY);
}

static void owners_change_in_name_only(void **state)
{
	static const uid_t same = (uid_t)-1;
	const struct {
		uid_t host_uid, host_gid, uid, gid;
		bool ok;
	} cases[] = {
		{ 501, 502, 1000, 1001, true },    { 501, 502, same, same, true },
		{ 501, 502, 0, 0, true },          { 501, 502, 1002, same, false },
		{ 501, 502, same, 4, false },      { 0, 0, 1000, same, false },
		{ 0, 0, 0, same, false },          { 0, 0, FS_NOBODY, FS_NOBODY, true },
		{ 501, 0, same, FS_NOBODY, true }, { 501, 0, same, 1001, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(fs_idmap_may_own(&map, cases[i].host_uid, cases[i].host_gid,
						  cases[i].uid, cases[i].gid),
				 cases[i].ok);
}

static void the_user_may_be_found_out_later(void **state)
{
	struct fs_idmap own = map;

	(void)state;
	fs_idmap_set(&own, 7, 8);
	assert_int_equal(fs_idmap_uid(&own, 501), 7);
	assert_int_equal(fs_idmap_gid(&own, 502), 8);
	assert_int_equal(fs_idmap_uid(&own, 1000), FS_NOBODY);
}

static void a_volume_keeps_owners(void **state)
{
	const struct fs_idmap volume = {
		.host_uid = 501,
		.volume = true,
		.ids = { .uid = 501, .gid = 502, .sub_uid = 100000, .sub_gid = 200000 },
	};
	uid_t uid = 999;
	gid_t gid = 0;

	(void)state;
	assert_int_equal(fs_idmap_uid(&volume, 501), 0);
	assert_int_equal(fs_idmap_gid(&volume, 200041), 42);
	assert_int_equal(fs_idmap_uid(&volume, 0), FS_NOBODY);
	assert_int_equal(fs_idmap_host(&volume, &uid, &gid), 0);
	assert_int_equal(uid, 100998);
	assert_int_equal(gid, 502);
	uid = (uid_t)-1;
	gid = 5;
	assert_int_equal(fs_idmap_host(&volume, &uid, &gid), 0);
	assert_int_equal(uid, (uid_t)-1);
	assert_int_equal(gid, 200004);
	uid = 65536;
	assert_int_equal(fs_idmap_host(&volume, &uid, &gid), -EOVERFLOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_user_is_the_user_and_others_nobody),
		cmocka_unit_test(owners_change_in_name_only),
		cmocka_unit_test(the_user_may_be_found_out_later),
		cmocka_unit_test(a_volume_keeps_owners),
	};
	return cmocka_run_group_tests_name("vmm_fs_idmap", tests, NULL, NULL);
}
