/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "providers/container/enter/names.h"
#include "util/compiler.h"

static const char *text_of(const struct sockaddr_storage *address, char *buffer)
{
	const void *bytes =
		address->ss_family == AF_INET
			? (const void *)&((const struct sockaddr_in *)address)->sin_addr
			: (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;

	return inet_ntop(address->ss_family, bytes, buffer, INET6_ADDRSTRLEN);
}

static void reads_hosts(void **state)
{
	static const char text[] = "127.0.0.1 localhost # me\n\n#10.0.0.9 db\n"
				   "10.0.0.2\tdb db.project\n::5 DB\nnonsense db\n10.0.0.3 other\n";
	char copy[sizeof(text)], buffer[INET6_ADDRSTRLEN];
	struct sockaddr_storage found[NAMES_MAX];

	(void)state;
	memcpy(copy, text, sizeof(text));
	assert_int_equal(enter_names_in_hosts(copy, "db", found), 2);
	assert_string_equal(text_of(&found[0], buffer), "10.0.0.2");
	assert_string_equal(text_of(&found[1], buffer), "::5");
	memcpy(copy, text, sizeof(text));
	assert_int_equal(enter_names_in_hosts(copy, "project", found), 0);
}

static void takes_numbers(void **state)
{
	struct sockaddr_storage found[NAMES_MAX];

	(void)state;
	assert_int_equal(enter_names_find("192.0.2.7", found), 1);
	assert_int_equal(found[0].ss_family, AF_INET);
	assert_int_equal(enter_names_find("::1", found), 1);
	assert_int_equal(found[0].ss_family, AF_INET6);
}

static void writes_queries(void **state)
{
	static const unsigned char wanted[] = { 0x12, 0x34, 1,   0, 0,   1,   0, 0, 0, 0, 0, 0,
						2,    'd',  'b', 2, 'p', 'q', 0, 0, 1, 0, 1 };
	unsigned char packet[DNS_MAX];
	char longest[300];

	(void)state;
	assert_int_equal(enter_names_query("db.pq", 1, 0x1234, packet), sizeof(wanted));
	assert_memory_equal(packet, wanted, sizeof(wanted));
	assert_int_equal(enter_names_query("db.pq.", 1, 0x1234, packet), sizeof(wanted));
	assert_int_equal(enter_names_query("", 1, 1, packet), 0);
	assert_int_equal(enter_names_query("a..b", 1, 1, packet), 0);
	memset(longest, 'a', sizeof(longest));
	longest[64] = '\0';
	assert_int_equal(enter_names_query(longest, 1, 1, packet), 0);
	longest[64] = 'a';
	longest[299] = '\0';
	assert_int_equal(enter_names_query(longest, 1, 1, packet), 0);
}

/* db -> CNAME, then A 10.0.0.2 */
static const unsigned char answer[] = {
	0x12, 0x34, 0x81, 0x80, 0,  1, 0, 2, 0, 0, 0, 0, 2,  'd', 'b', 0,    0,
	1,    0,    1,    0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 5,  0,   2,   0xc0, 12,
	0xc0, 12,   0,    1,    0,  1, 0, 0, 0, 5, 0, 4, 10, 0,   0,   2,
};

static void reads_answers(void **state)
{
	struct sockaddr_storage found[NAMES_MAX];
	char buffer[INET6_ADDRSTRLEN];

	(void)state;
	assert_int_equal(enter_names_answer(answer, sizeof(answer), 0x1234, found, NAMES_MAX), 1);
	assert_string_equal(text_of(&found[0], buffer), "10.0.0.2");
	assert_int_equal(enter_names_answer(answer, sizeof(answer), 0x1235, found, NAMES_MAX), 0);
	assert_int_equal(enter_names_answer(answer, sizeof(answer), 0x1234, found, 0), 0);
}

/* Every cut, and every byte changed to the extremes: no read outside (the sanitizers look). */
static void survives_damage(void **state)
{
	static const unsigned char values[] = { 0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff };
	struct sockaddr_storage found[NAMES_MAX];

	(void)state;
	for (size_t length = 0; length < sizeof(answer); length++) {
		unsigned char *copy = malloc(length ? length : 1);

		assert_non_null(copy);
		memcpy(copy, answer, length);
		assert_in_range(enter_names_answer(copy, length, 0x1234, found, NAMES_MAX), 0, 1);
		free(copy);
	}
	for (size_t at = 0; at < sizeof(answer); at++) {
		for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
			unsigned char copy[sizeof(answer)];

			memcpy(copy, answer, sizeof(answer));
			copy[at] = values[i];
			assert_in_range(
				enter_names_answer(copy, sizeof(copy), 0x1234, found, NAMES_MAX), 0,
				NAMES_MAX);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_hosts),     cmocka_unit_test(takes_numbers),
		cmocka_unit_test(writes_queries),  cmocka_unit_test(reads_answers),
		cmocka_unit_test(survives_damage),
	};

	return cmocka_run_group_tests_name("container_names", tests, NULL, NULL);
}
