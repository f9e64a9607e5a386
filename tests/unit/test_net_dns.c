/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "netd/resolver.h"

static char shop[] = "Shop", web[] = "web", www[] = "www", db[] = "db", back[] = "back";

struct world {
	struct netd netd;
	struct network project, backend;
	struct interface web[2], db[1], back[1];
	struct machine machines[3];
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->netd.project = shop;
	w->project = (struct network){ .netd = &w->netd,
				       .name = shop,
				       .nat = true,
				       .prefix = 24,
				       .subnet = 0x0a580000,
				       .gateway = 0x0a580001,
				       .next = &w->backend };
	w->backend = (struct network){ .netd = &w->netd,
				       .name = back,
				       .prefix = 24,
				       .subnet = 0xc0a83800,
				       .gateway = 0xc0a83801 };
	w->web[0] = (struct interface){ .network = &w->project, .address = 0x0a580005 };
	w->web[1] = (struct interface){ .network = &w->backend, .address = 0xc0a83805 };
	w->db[0] = (struct interface){ .network = &w->project, .address = 0x0a580006 };
	w->back[0] = (struct interface){ .network = &w->backend, .address = 0xc0a83807 };
	w->machines[0] = (struct machine){ .next = &w->machines[1],
					   .netd = &w->netd,
					   .name = web,
					   .hostname = www,
					   .host_access = true,
					   .interfaces = w->web,
					   .n_interfaces = 2 };
	w->machines[1] = (struct machine){ .next = &w->machines[2],
					   .netd = &w->netd,
					   .name = db,
					   .hostname = db,
					   .interfaces = w->db,
					   .n_interfaces = 1 };
	w->machines[2] = (struct machine){ .netd = &w->netd,
					   .name = back,
					   .hostname = back,
					   .interfaces = w->back,
					   .n_interfaces = 1 };
	w->netd.networks = &w->project;
	w->netd.machines = &w->machines[0];
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

/* A query as a stub resolver writes it. */
static size_t make_query(uint8_t *query, const char *name, uint16_t type)
{
	static const uint8_t head[] = { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
	size_t at = sizeof(head);

	memcpy(query, head, sizeof(head));
	while (*name) {
		size_t length = strcspn(name, ".");

		query[at++] = (uint8_t)length;
		memcpy(query + at, name, length);
		at += length;
		name += length + (name[length] == '.');
	}
	query[at++] = 0;
	query[at++] = (uint8_t)(type >> 8);
	query[at++] = (uint8_t)type;
	query[at++] = 0;
	query[at++] = 1;
	return at;
}

static void answers_own_names(void **state)
{
	enum { FOREIGN = -1 };
	static const struct {
		const char *name;
		int type, from, code; /* code FOREIGN: not ours */
		uint32_t address;     /* 0: no record */
	} cases[] = {
		{ "web", DNS_TYPE_A, 6, DNS_OK, 0x0a580005 },
		{ "WEB", DNS_TYPE_A, 6, DNS_OK, 0x0a580005 },
		{ "www", DNS_TYPE_A, 6, DNS_OK, 0x0a580005 },
		{ "web.shop.venv", DNS_TYPE_A, 6, DNS_OK, 0x0a580005 },
		{ "web.Shop.VENV", DNS_TYPE_ANY, 6, DNS_OK, 0x0a580005 },
		{ "web", DNS_TYPE_AAAA, 6, DNS_OK, 0 },
		{ "www.example.org", DNS_TYPE_AAAA, 6, DNS_OK, 0 },
		{ "host.venv.internal", DNS_TYPE_AAAA, 5, DNS_OK, 0 },
		{ "nobody.shop.venv", DNS_TYPE_AAAA, 6, DNS_NO_NAME, 0 },
		{ "web.other.venv", DNS_TYPE_A, 6, DNS_NO_NAME, 0 },
		{ "nobody.shop.venv", DNS_TYPE_A, 6, DNS_NO_NAME, 0 },
		{ "nobody", DNS_TYPE_A, 6, FOREIGN, 0 },
		{ "xweb", DNS_TYPE_A, 6, FOREIGN, 0 },
		{ "a.web", DNS_TYPE_A, 6, FOREIGN, 0 },
		{ "web.example.org", DNS_TYPE_A, 6, FOREIGN, 0 },
		{ "host.venv.internal", DNS_TYPE_A, 5, DNS_OK, 0xc0000009 },
		{ "host.venv.internal", DNS_TYPE_A, 6, DNS_NO_NAME, 0 },
		{ "other.venv.internal", DNS_TYPE_A, 5, DNS_NO_NAME, 0 },
		{ "back", DNS_TYPE_A, 5, DNS_OK, 0xc0a83807 }, /* web shares a network with it */
		{ "back", DNS_TYPE_A, 6, FOREIGN, 0 },         /* db does not */
		{ "5.0.88.10.in-addr.arpa", DNS_TYPE_PTR, 6, DNS_OK, 1 },
		{ "9.0.88.10.in-addr.arpa", DNS_TYPE_PTR, 6, DNS_NO_NAME, 0 },
		{ "8.8.8.8.in-addr.arpa", DNS_TYPE_PTR, 6, FOREIGN, 0 },
		{ "5.0.88.10.in-addr.arpa.x", DNS_TYPE_PTR, 6, FOREIGN, 0 },
		{ "", DNS_TYPE_A, 6, FOREIGN, 0 },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t query[300], reply[DNS_REPLY_MAX];
		size_t length = make_query(query, cases[i].name, (uint16_t)cases[i].type);
		int r = venv__names_answer(&w->project, 0x0a580000 + (uint32_t)cases[i].from, query,
					   length, reply);

		if (cases[i].code == FOREIGN) {
			assert_int_equal(r, -1);
			continue;
		}
		assert_true(r > 0);
		assert_true(venv__dns_matches(query, length, reply, (size_t)r));
		assert_int_equal(reply[3] & 15, cases[i].code);
		assert_int_equal(reply[7], cases[i].address ? 1 : 0);
		if (cases[i].type == DNS_TYPE_PTR || !cases[i].address)
			continue;
		assert_int_equal((size_t)r, length + 16);
		assert_int_equal((uint32_t)reply[r - 4] << 24 | (uint32_t)reply[r - 3] << 16 |
					 (uint32_t)reply[r - 2] << 8 | reply[r - 1],
				 cases[i].address);
	}
}

static void internal_network_asks_nobody(void **state)
{
	struct world *w = *state;
	uint8_t query[300], reply[DNS_REPLY_MAX];
	size_t length = make_query(query, "secret.example.org", DNS_TYPE_A);

	assert_true(venv__names_answer(&w->backend, 0xc0a83807, query, length, reply) > 0);
	assert_int_equal(reply[3] & 15, DNS_REFUSED);
	length = make_query(query, "web", DNS_TYPE_A);
	assert_true(venv__names_answer(&w->backend, 0xc0a83807, query, length, reply) > 0);
	assert_int_equal(reply[3] & 15, DNS_OK);
}

/* Who asks for proofs gets what the server has: an empty answer of ours would be a forgery to it. */
static void proofs_are_not_withheld(void **state)
{
	static const uint8_t option[] = { 0, 0, 41, 4, 0, 0, 0, 0x80, 0, 0, 0 };
	struct world *w = *state;
	uint8_t query[300], reply[DNS_REPLY_MAX];
	size_t length = make_query(query, "www.example.org", DNS_TYPE_AAAA);

	memcpy(query + length, option, sizeof(option));
	query[11] = 1;
	assert_int_equal(
		venv__names_answer(&w->project, 0x0a580006, query, length + sizeof(option), reply),
		-1);
	query[length + 7] = 0;
	assert_true(venv__names_answer(&w->project, 0x0a580006, query, length + sizeof(option),
				       reply) > 0);
	assert_true(venv__names_answer(&w->project, 0x0a580006, query, length + 7, reply) > 0);
}

static void refuses_malformed(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
		int code;
	} cases[] = {
		{ "\x12\x34\1\0\0\1\0\0\0\0\0", 11, -1 },                    /* no header */
		{ "\x12\x34\x81\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1", 21, -1 }, /* an answer */
		{ "\x12\x34\1\0\0\0\0\0\0\0\0\0", 12, DNS_FORMAT_ERROR },    /* no question */
		{ "\x12\x34\1\0\0\2\0\0\0\0\0\0\3web\0\0\1\0\1", 21, DNS_FORMAT_ERROR }, /* two */
		{ "\x12\x34\1\0\0\1\0\0\0\0\0\0\3web\0\0\1\0", 20, DNS_FORMAT_ERROR },   /* cut */
		{ "\x12\x34\1\0\0\1\0\0\0\0\0\0\4web", 16, DNS_FORMAT_ERROR },
		{ "\x12\x34\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", 18,
		  DNS_FORMAT_ERROR }, /* a loop */
		{ "\x12\x34\x29\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1", 21, DNS_NOT_IMPLEMENTED },
	};
	struct dns_question question;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(venv__dns_parse((const uint8_t *)cases[i].bytes, cases[i].length,
						 &question),
				 cases[i].code);
}

static void longest_name_fits(void **state)
{
	uint8_t query[600] = { 0x12, 0x34, 1, 0, 0, 1 }, reply[DNS_REPLY_MAX];
	struct dns_question question;
	size_t at = 12;
	char *name;

	(void)state;
	for (int i = 0; i < 4; i++) {
		size_t length = i < 3 ? 63 : 61;

		query[at++] = (uint8_t)length;
		memset(query + at, 'a', length);
		at += length;
	}
	at++; /* 255 bytes with the root */
	assert_int_equal(venv__dns_parse(query, at + 4, &question), DNS_OK);
	assert_int_equal(strlen(question.name), 253);
	name = malloc(1001);
	memset(name, 'b', 1000);
	name[1000] = '\0';
	for (size_t i = 50; i < 1000; i += 50)
		name[i] = '.';
	assert_in_range(venv__dns_reply(reply, query, &question, DNS_OK, 0, name), 1,
			DNS_REPLY_MAX);
	free(name);
	query[12 + 64 * 3]++; /* one more is one too many */
	assert_int_equal(venv__dns_parse(query, at + 5, &question), DNS_FORMAT_ERROR);
}

static void matches_only_its_answer(void **state)
{
	uint8_t query[64], answer[64];
	size_t length = make_query(query, "a.example", DNS_TYPE_A);

	(void)state;
	memcpy(answer, query, length);
	assert_false(venv__dns_matches(query, length, answer, length)); /* an echo */
	answer[2] |= 0x80;
	assert_true(venv__dns_matches(query, length, answer, length));
	answer[13] = 'A';
	assert_true(venv__dns_matches(query, length, answer, length));
	answer[13] = 'b';
	assert_false(venv__dns_matches(query, length, answer, length));
	answer[13] = 'a';
	assert_false(venv__dns_matches(query, length, answer, length - 1));
	answer[0]++;
	assert_false(venv__dns_matches(query, length, answer, length));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers_own_names, setup, teardown),
		cmocka_unit_test_setup_teardown(internal_network_asks_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(proofs_are_not_withheld, setup, teardown),
		cmocka_unit_test(refuses_malformed),
		cmocka_unit_test(longest_name_fits),
		cmocka_unit_test(matches_only_its_answer),
	};

	return cmocka_run_group_tests_name("net_dns", tests, NULL, NULL);
}
