/* SPDX-License-Identifier: Apache-2.0 */
/* DHCP: who is answered, with what, and which messages are none. */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netd/dhcp.h"
#include "netd/netd.h"

static char shop[] = "shop", web[] = "web", www[] = "www", db[] = "db";

enum { AT_OPTIONS = 240, ADDRESS = 0x0a580005, GATEWAY = 0x0a580001 };

struct world {
	struct netd netd;
	struct network project, other;
	struct interface web[1], db[1];
	struct machine machines[2];
	uint8_t message[600], reply[DHCP_REPLY_MAX];
	size_t length;
	struct sockaddr_in to;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->netd.project = shop;
	w->project = (struct network){ .netd = &w->netd,
				       .name = shop,
				       .nat = true,
				       .prefix = 24,
				       .subnet = 0x0a580000,
				       .gateway = GATEWAY };
	w->other = (struct network){ .netd = &w->netd, .name = db, .prefix = 29 };
	w->web[0] = (struct interface){ .network = &w->project,
					.address = ADDRESS,
					.default_route = true,
					.mac = "02:0a:bb:0c:dd:0e" };
	w->db[0] = (struct interface){ .network = &w->other,
				       .address = 0xc0a83803,
				       .mac = "02:00:00:00:00:01" };
	w->machines[0] = (struct machine){ .next = &w->machines[1],
					   .netd = &w->netd,
					   .name = web,
					   .hostname = www,
					   .interfaces = w->web,
					   .n_interfaces = 1 };
	w->machines[1] = (struct machine){
		.netd = &w->netd, .name = db, .hostname = db, .interfaces = w->db, .n_interfaces = 1
	};
	w->netd.machines = &w->machines[0];
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static void begin(struct world *w, uint8_t type)
{
	static const uint8_t mac[] = { 2, 0x0a, 0xbb, 0x0c, 0xdd, 0x0e };
	const uint8_t start[] = { 99, 130, 83, 99, 53, 1, type };

	memset(w->message, 0, sizeof(w->message));
	w->message[0] = 1;
	w->message[1] = 1;
	w->message[2] = 6;
	memcpy(w->message + 4, "\1\2\3\4", 4);
	memcpy(w->message + 28, mac, sizeof(mac));
	memcpy(w->message + 236, start, sizeof(start));
	w->length = 236 + sizeof(start);
}

static void add(struct world *w, uint8_t option, const void *value, uint8_t length)
{
	w->message[w->length++] = option;
	w->message[w->length++] = length;
	memcpy(w->message + w->length, value, length);
	w->length += length;
}

static void add_address(struct world *w, uint8_t option, uint32_t address)
{
	const uint32_t wire = htonl(address);

	add(w, option, &wire, 4);
}

/* Sent: the reply's type, or 0. */
static uint8_t ask(struct world *w)
{
	size_t n;

	w->web[0].dhcp_replies = 0;
	w->message[w->length++] = 255;
	n = venv__dhcp_serve(&w->project, w->message, w->length, w->reply, &w->to);
	if (!n)
		return 0;
	assert_true(n >= 300 && n <= DHCP_REPLY_MAX);
	assert_int_equal(w->reply[0], 2);
	assert_memory_equal(w->reply + 4, w->message + 4, 4);
	assert_memory_equal(w->reply + 28, w->message + 28, 16);
	assert_memory_equal(w->reply + 236, w->message + 236, 4);
	assert_int_equal(w->reply[AT_OPTIONS], 53);
	return w->reply[AT_OPTIONS + 2];
}

static const uint8_t *option(const struct world *w, uint8_t number, size_t *ret_length)
{
	const uint8_t *at = w->reply + AT_OPTIONS;

	while (*at != 255) {
		assert_true(at < w->reply + DHCP_REPLY_MAX);
		*ret_length = at[1];
		if (*at == number)
			return at + 2;
		at += 2 + at[1];
	}
	*ret_length = 0;
	return NULL;
}

static uint32_t number(const struct world *w, uint8_t which)
{
	size_t length;
	const uint8_t *at = option(w, which, &length);
	uint32_t value = 0;

	for (size_t i = 0; i < length && i < 4; i++)
		value = value << 8 | at[i];
	return value;
}

static uint32_t yiaddr(const struct world *w)
{
	uint32_t value;

	memcpy(&value, w->reply + 16, 4);
	return ntohl(value);
}

static void offers(void **state)
{
	static const uint8_t id[] = { 255, 1, 2, 3 };
	struct world *w = *state;
	size_t length;

	begin(w, DHCP_DISCOVER);
	add(w, 61, id, sizeof(id));
	add(w, 55, "\1\3\6", 3);
	assert_int_equal(ask(w), DHCP_OFFER);
	assert_int_equal(yiaddr(w), ADDRESS);
	assert_int_equal(number(w, 54), GATEWAY);
	assert_int_equal(number(w, 1), 0xffffff00);
	assert_int_equal(number(w, 3), GATEWAY);
	assert_int_equal(number(w, 6), GATEWAY);
	assert_int_equal(number(w, 28), 0x0a5800ff);
	assert_int_equal(number(w, 26), 65520);
	assert_int_equal(number(w, 51), DHCP_LEASE);
	assert_memory_equal(option(w, 12, &length), "www", 3);
	assert_memory_equal(option(w, 15, &length), "shop.venv", 9);
	assert_memory_equal(option(w, 61, &length), id, sizeof(id));
	assert_int_equal(w->to.sin_addr.s_addr, INADDR_BROADCAST);
	assert_int_equal(ntohs(w->to.sin_port), 68);
	w->web[0].default_route = false;
	begin(w, DHCP_DISCOVER);
	assert_int_equal(ask(w), DHCP_OFFER);
	assert_null(option(w, 3, &length));
	assert_null(option(w, 61, &length));
}

static void requests(void **state)
{
	static const struct {
		uint8_t type;
		uint32_t ciaddr, requested, server;
		uint8_t expected;
	} cases[] = {
		{ DHCP_REQUEST, 0, ADDRESS, GATEWAY, DHCP_ACK },
		{ DHCP_REQUEST, 0, ADDRESS, 0, DHCP_ACK }, /* after a reboot */
		{ DHCP_REQUEST, ADDRESS, 0, 0, DHCP_ACK }, /* renewing */
		{ DHCP_REQUEST, 0, ADDRESS, GATEWAY + 1, 0 },
		{ DHCP_REQUEST, 0, ADDRESS + 1, GATEWAY, DHCP_NAK },
		{ DHCP_REQUEST, 0, ADDRESS + 1, 0, DHCP_NAK },
		{ DHCP_REQUEST, ADDRESS + 1, 0, 0, DHCP_NAK },
		{ DHCP_REQUEST, 0, 0, 0, DHCP_NAK },
		{ DHCP_INFORM, ADDRESS, 0, 0, DHCP_ACK },
		{ DHCP_INFORM, ADDRESS + 1, 0, 0, 0 },
		{ 4, 0, ADDRESS, GATEWAY, 0 }, /* decline */
		{ 7, ADDRESS, 0, GATEWAY, 0 }, /* release */
		{ 0, 0, 0, 0, 0 },
		{ 200, 0, 0, 0, 0 },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint32_t ciaddr = htonl(cases[i].ciaddr);
		uint8_t type;
		size_t length;

		begin(w, cases[i].type);
		memcpy(w->message + 12, &ciaddr, 4);
		if (cases[i].requested)
			add_address(w, 50, cases[i].requested);
		if (cases[i].server)
			add_address(w, 54, cases[i].server);
		type = ask(w);
		assert_int_equal(type, cases[i].expected);
		if (type == DHCP_NAK)
			assert_true(!yiaddr(w) && !option(w, 51, &length));
		if (type == DHCP_ACK && cases[i].type == DHCP_REQUEST)
			assert_int_equal(yiaddr(w), ADDRESS);
		if (type == DHCP_ACK && cases[i].ciaddr)
			assert_int_equal(ntohl(w->to.sin_addr.s_addr), ADDRESS);
	}
}

static void nonsense_gets_no_answer(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} cases[] = {
		{ 0, 2 },   /* an answer */
		{ 1, 6 },   /* of another kind of network */
		{ 2, 16 },  /* a longer address */
		{ 24, 10 }, /* by a relay */
		{ 33, 0xff } /* not its MAC */,
		{ 236, 0 },  /* BOOTP */
		{ 241, 2 },  /* the type is two bytes */
		{ 240, 54 }, /* a server of one byte */
		{ 240, 0 },  /* other options, running over the end */
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(w, DHCP_DISCOVER);
		w->message[cases[i].at] = cases[i].value;
		assert_int_equal(ask(w), 0);
	}
	for (size_t n = 0; n < 244; n++) { /* cut off anywhere */
		begin(w, DHCP_DISCOVER);
		assert_int_equal(venv__dhcp_serve(&w->project, w->message, n, w->reply, &w->to), 0);
	}
	begin(w, DHCP_DISCOVER);
	add(w, 53, "\1", 1); /* twice */
	assert_int_equal(ask(w), 0);
	begin(w, DHCP_DISCOVER);
	memcpy(w->message + 28, "\2\0\0\0\0\1", 6); /* on another network */
	assert_int_equal(ask(w), 0);
}

static void long_names_are_left_out(void **state)
{
	static char longest[64], longer[256], id[200];
	struct world *w = *state;
	size_t length;

	memset(longest, 'a', 63);
	memset(longer, 'b', 255);
	w->machines[0].hostname = longest;
	w->netd.project = longer;
	begin(w, DHCP_DISCOVER);
	add(w, 61, id, 64);
	assert_int_equal(ask(w), DHCP_OFFER);
	assert_non_null(option(w, 12, &length));
	assert_int_equal(length, 63);
	assert_null(option(w, 15, &length));
	w->machines[0].hostname = longer;
	begin(w, DHCP_DISCOVER);
	add(w, 61, id, 65);
	assert_int_equal(ask(w), DHCP_OFFER);
	assert_null(option(w, 12, &length));
	assert_null(option(w, 61, &length));
}

static void floods_get_few_answers(void **state)
{
	struct world *w = *state;
	unsigned n = 0;

	begin(w, DHCP_DISCOVER);
	w->message[w->length++] = 255;
	for (unsigned i = 0; i < 1000; i++)
		n += venv__dhcp_serve(&w->project, w->message, w->length, w->reply, &w->to) > 0;
	assert_true(n >= 8 && n <= 32); /* should the machine be slow */
	(void)usleep(1100000);
	assert_true(venv__dhcp_serve(&w->project, w->message, w->length, w->reply, &w->to) > 0);
}

/* What netd tells of a machine that is not reached. */
static void it_is_remembered_who_asked(void **state)
{
	struct world *w = *state;
	struct interface *own = &w->web[0];

	own->lease = NET_LEASE_NONE;
	begin(w, DHCP_DISCOVER);
	memcpy(w->message + 28, "\2\0\0\0\0\1", 6); /* another's */
	assert_int_equal(ask(w), 0);
	assert_int_equal(own->lease, NET_LEASE_NONE);
	begin(w, DHCP_DISCOVER);
	assert_int_equal(ask(w), DHCP_OFFER);
	assert_int_equal(own->lease, NET_LEASE_ASKED);
	begin(w, DHCP_REQUEST);
	add_address(w, 50, own->address + 1);
	assert_int_equal(ask(w), DHCP_NAK);
	assert_int_equal(own->lease, NET_LEASE_ASKED);
	begin(w, DHCP_REQUEST);
	add_address(w, 50, own->address);
	assert_int_equal(ask(w), DHCP_ACK);
	assert_int_equal(own->lease, NET_LEASE_USED);
	begin(w, DHCP_DISCOVER);
	assert_int_equal(ask(w), DHCP_OFFER);
	assert_int_equal(own->lease, NET_LEASE_USED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(offers),
		TEST(requests),
		TEST(nonsense_gets_no_answer),
		TEST(long_names_are_left_out),
		TEST(floods_get_few_answers),
		TEST(it_is_remembered_who_asked),
	};

	return cmocka_run_group_tests_name("net_dhcp", tests, NULL, NULL);
}
