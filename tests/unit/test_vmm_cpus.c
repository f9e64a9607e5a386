/* SPDX-License-Identifier: Apache-2.0 */
/* APIC ids of processors in sockets: unique, and the socket is what is above the core's bits. */
#include "tests/unit/test.h"

#include "machine/cpus.h"
#include "util/compiler.h"

static void ids_tell_socket_and_core(void **state)
{
	const struct {
		struct cpus cpus;
		unsigned bits, last_id;
	} cases[] = {
		{ { 1, 1 }, 0, 0 },   { { 4, 1 }, 2, 3 },    { { 3, 1 }, 2, 2 },
		{ { 2, 2 }, 0, 1 },   { { 6, 2 }, 2, 6 },    { { 32, 1 }, 5, 31 },
		{ { 30, 2 }, 4, 30 }, { { 30, 10 }, 2, 38 }, { { 32, 32 }, 0, 31 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct cpus cpus = cases[i].cpus;
		const unsigned per = cpus_per_socket(cpus);

		assert_int_equal(cpus_core_bits(cpus), cases[i].bits);
		assert_int_equal(cpus_apic_id(cpus, cpus.n - 1), cases[i].last_id);
		for (unsigned n = 0; n < cpus.n; n++) {
			unsigned id = cpus_apic_id(cpus, n);

			assert_int_equal(id >> cpus_core_bits(cpus), n / per);
			assert_int_equal(id - (n / per << cpus_core_bits(cpus)), n % per);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_tell_socket_and_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
