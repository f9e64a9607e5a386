/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include "util/idmap.h"

static void an_ordinary_user_is_guest_zero(void **state)
{
	const struct idmap map = { .uid = 1000, .gid = 1001, .sub_uid = 100000, .sub_gid = 200000 };

	(void)state;
	assert_int_equal(venv__idmap_uid(&map, 0), 1000);
	assert_int_equal(venv__idmap_uid(&map, 1), 100000);
	assert_int_equal(venv__idmap_gid(&map, 0), 1001);
	assert_int_equal(venv__idmap_gid(&map, 65535), 265534);
	assert_int_equal(venv__idmap_uid(&map, 65536), (uid_t)-1);
}

static void root_is_nobody_it_knows(void **state)
{
	const struct idmap map = {
		.root = true, .uid = 5000, .gid = 5000, .sub_uid = 5000, .sub_gid = 5000
	};

	(void)state;
	assert_int_equal(venv__idmap_uid(&map, 0), 5000);
	assert_int_equal(venv__idmap_uid(&map, 1), 5001);
}

static void maps_are_recorded(void **state)
{
	const struct idmap map = { .uid = 1, .gid = 2, .sub_uid = 3, .sub_gid = 4 };
	_cleanup_json_ json_t *json = venv__idmap_to_json(&map);
	struct idmap back;

	(void)state;
	assert_true(venv__idmap_from_json(json, &back));
	assert_int_equal(back.root, map.root);
	assert_int_equal(back.uid, map.uid);
	assert_int_equal(back.gid, map.gid);
	assert_int_equal(back.sub_uid, map.sub_uid);
	assert_int_equal(back.sub_gid, map.sub_gid);
	assert_false(venv__idmap_from_json(NULL, &back));
}

static void what_is_no_guests_id_is_nobodys(void **state)
{
	const struct idmap user = {
		.uid = 1000, .gid = 1001, .sub_uid = 100000, .sub_gid = 200000
	};
	const struct idmap root = { .root = true, .sub_uid = 300000, .sub_gid = 400000 };
	static const unsigned guests[] = { 0, 1, 33, 65535 }, nobodys[] = { 2, 99999, 500000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		assert_int_equal(venv__idmap_guest_uid(&user, venv__idmap_uid(&user, guests[i]), 7),
				 guests[i]);
		assert_int_equal(venv__idmap_guest_gid(&user, venv__idmap_gid(&user, guests[i]), 7),
				 guests[i]);
		assert_int_equal(venv__idmap_guest_uid(&root, venv__idmap_uid(&root, guests[i]), 7),
				 guests[i]);
		assert_int_equal(venv__idmap_guest_gid(&root, venv__idmap_gid(&root, guests[i]), 7),
				 guests[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(nobodys); i++) {
		assert_int_equal(venv__idmap_guest_uid(&user, nobodys[i], 7), 7);
		assert_int_equal(venv__idmap_guest_gid(&root, nobodys[i], 7), 7);
	}
	assert_int_equal(venv__idmap_guest_uid(&user, 100000 + 65535, 7), 7);
	assert_int_equal(venv__idmap_guest_uid(&root, 300000 + 65536, 7), 7);
	assert_int_equal(venv__idmap_guest_uid(&root, 0, 7), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ordinary_user_is_guest_zero),
		cmocka_unit_test(root_is_nobody_it_knows),
		cmocka_unit_test(maps_are_recorded),
		cmocka_unit_test(what_is_no_guests_id_is_nobodys),
	};

	return cmocka_run_group_tests_name("idmap", tests, NULL, NULL);
}
