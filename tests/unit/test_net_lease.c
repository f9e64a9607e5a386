/* SPDX-License-Identifier: Apache-2.0 */
#include "net/common/lease.h"

#include "test.h"

static void names_lead_back(void **state)
{
	(void)state;
	for (enum net_lease lease = NET_LEASE_UNKNOWN; lease <= NET_LEASE_USED; lease++)
		assert_int_equal(venv__net_lease_of(venv__net_lease_name(lease)), lease);
	assert_null(venv__net_lease_name(NET_LEASE_UNKNOWN));
	assert_string_equal(venv__net_lease_name(NET_LEASE_ASKED), "asked");
}

static void what_is_no_name_is_unknown(void **state)
{
	(void)state;
	assert_int_equal(venv__net_lease_of(NULL), NET_LEASE_UNKNOWN);
	assert_int_equal(venv__net_lease_of("Used"), NET_LEASE_UNKNOWN);
	assert_int_equal(venv__net_lease_of(""), NET_LEASE_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_lead_back),
		cmocka_unit_test(what_is_no_name_is_unknown),
	};

	return cmocka_run_group_tests_name("net_lease", tests, NULL, NULL);
}
