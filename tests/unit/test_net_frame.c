/* SPDX-License-Identifier: Apache-2.0 */
/* Closed addresses, and what the uplink lets pass. */
#include "test.h"

#include <string.h>

#include "common/uplink.h"
#include "uplink/frame.h"

static void ranges_join(void **state)
{
	_cleanup_ranges_ struct ranges r = { 0 }, copy = { 0 };
	_cleanup_json_ json_t *json = NULL;

	(void)state;
	assert_int_equal(venv__ranges_add(&r, 30, 40), 0);
	assert_int_equal(venv__ranges_add(&r, 10, 20), 0);
	assert_int_equal(venv__ranges_add(&r, 21, 25), 0);
	assert_int_equal(venv__ranges_add(&r, 12, 13), 0);
	assert_int_equal(venv__ranges_add_prefix(&r, 0xffffff07, 24), 0);
	venv__ranges_settle(&r, 10);
	assert_int_equal(r.n, 3);
	assert_true(venv__ranges_have(&r, 25) && !venv__ranges_have(&r, 26));
	assert_true(venv__ranges_have(&r, 0xffffffff) && !venv__ranges_have(&r, 0xfffffeff));
	assert_true(venv__ranges_overlap(&r, 26, 30) && !venv__ranges_overlap(&r, 26, 29));
	json = venv__ranges_to_json(&r);
	assert_true(venv__ranges_from_json(json, &copy));
	assert_true(venv__ranges_equal(&r, &copy));
	venv__ranges_settle(&r, 2); /* rather too much than too little */
	assert_int_equal(r.n, 2);
	assert_true(venv__ranges_have(&r, 27));
}

static void bad_ranges_are_refused(void **state)
{
	static const char *const bad[] = { "{}", "[2,1]", "[-1,5]", "[1,4294967296]", "null" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *json = json_loads(bad[i], JSON_DECODE_ANY, NULL);
		struct ranges r = { 0 };

		assert_false(venv__ranges_from_json(json, &r));
	}
}

static size_t make_frame(uint8_t frame[64], uint32_t from, uint32_t to)
{
	memset(frame, 0, 64);
	frame[12] = 8;
	frame[14] = 0x45;
	for (int i = 0; i < 4; i++) {
		frame[26 + i] = (uint8_t)(from >> (24 - 8 * i));
		frame[30 + i] = (uint8_t)(to >> (24 - 8 * i));
	}
	return 34;
}

static void frames_are_judged(void **state)
{
	static const struct {
		uint32_t from, to;
		enum frame_way way;
	} cases[] = {
		{ UPLINK_ADDRESS, 0x08080808, FRAME_OUT },
		{ UPLINK_ADDRESS, 0x7f000001, FRAME_DROP },
		{ UPLINK_ADDRESS, 0x7fffffff, FRAME_DROP },
		{ UPLINK_ADDRESS, 0x00000000, FRAME_DROP },
		{ UPLINK_ADDRESS, 0xa9fea9fe, FRAME_DROP },
		{ UPLINK_ADDRESS, 0xe00000fb, FRAME_DROP },
		{ UPLINK_ADDRESS, 0xffffffff, FRAME_DROP },
		{ UPLINK_ADDRESS, 0xcb007101, FRAME_DROP }, /* the host's own */
		{ UPLINK_ADDRESS, UPLINK_ROUTER, FRAME_DROP },
		{ UPLINK_ADDRESS, ACCESS_HOST, FRAME_DROP },
		{ ACCESS_ADDRESS, ACCESS_HOST, FRAME_ACCESS },
		{ ACCESS_ADDRESS, 0x08080808, FRAME_DROP },
		{ 0x0a580002, 0x08080808, FRAME_DROP }, /* not masqueraded */
	};
	_cleanup_ranges_ struct ranges closed = { 0 };
	uint8_t frame[64];

	(void)state;
	assert_int_equal(venv__ranges_add_always(&closed), 0);
	assert_int_equal(venv__ranges_add_prefix(&closed, 0xcb007101, 32), 0);
	venv__ranges_settle(&closed, RANGES_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t length = make_frame(frame, cases[i].from, cases[i].to);

		assert_int_equal(venv__frame_judge(frame, length, &closed), cases[i].way);
		for (size_t n = 0; n < length; n++)
			assert_int_equal(venv__frame_judge(frame, n, &closed), FRAME_DROP);
	}
	(void)make_frame(frame, UPLINK_ADDRESS, 0x08080808);
	frame[12] = 0x86; /* IPv6 */
	frame[13] = 0xdd;
	assert_int_equal(venv__frame_judge(frame, sizeof(frame), &closed), FRAME_DROP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_join),
		cmocka_unit_test(bad_ranges_are_refused),
		cmocka_unit_test(frames_are_judged),
	};

	return cmocka_run_group_tests_name("net_frame", tests, NULL, NULL);
}
