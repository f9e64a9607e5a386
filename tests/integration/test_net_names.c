/* SPDX-License-Identifier: Apache-2.0 */
/* Names as a machine sees them, also when the host's own network becomes another. */
#include <string.h>

#include "../unit/test.h"
#include "test_net_world.h"
#include "util/sys.h"

void resolves(void **state)
{
	struct machine_spec spec = { .name = TEXT("web"), .hostname = TEXT("www"), ON_PROJECT };
	struct fixture *fixture = *state;
	struct fake_machine web;
	_cleanup_free_ char *output = NULL, *reverse = NULL;

	machine_start(fixture, &web, &spec);
	assert_int_equal(agent_run(&web.agent, &output, "busybox nslookup -type=a outside.test"),
			 0);
	assert_non_null(strstr(output, OUTSIDE_ADDRESS));
	assert_int_equal(agent_run(&web.agent, NULL, "getent hosts WWW.Shop.venv"), 0);
	assert_int_equal(agent_run(&web.agent, NULL, "getent ahostsv4 big.test"), 0); /* by TCP */
	assert_int_not_equal(agent_run(&web.agent, NULL, "getent hosts other.venv"), 0);
	assert_int_not_equal(agent_run(&web.agent, NULL, "getent hosts host.venv.internal"), 0);
	assert_int_equal(agent_run(&web.agent, &reverse, "getent hosts %s", web.address), 0);
	assert_non_null(strstr(reverse, "web.shop.venv"));
	machine_stop(&web);
}

static void resolver_is(struct fake_machine *web, const char *address)
{
	_cleanup_free_ char *output = NULL;

	assert_int_equal(agent_run(&web->agent, &output, "getent ahostsv4 server.test"), 0);
	assert_memory_equal(output, address, strlen(address));
}

static void set_resolv_conf(const char *text)
{
	assert_int_equal(agent_run(&host, NULL, "printf '%s' > /etc/resolv.conf", text), 0);
}

/* Another server, another address, as after a walk to another wireless network. */
void follows_the_host(void **state)
{
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };
	struct fake_machine web;

	machine_start(*state, &web, &spec);
	resolver_is(&web, OUTSIDE_ADDRESS);
	set_resolv_conf("search lan\\nnameserver " SECOND_ADDRESS "\\n");
	resolver_is(&web, SECOND_ADDRESS);
	assert_int_equal(agent_run(&web.agent, NULL, "getent ahostsv4 big.test"), 0); /* by TCP */
	assert_int_equal(agent_run(&host, NULL,
				   "ip address add 203.0.113.77/24 dev h0 && "
				   "ip address del %s/24 dev h0 && "
				   "ip address add 203.0.113.77/24 dev h0; "
				   "ip route replace default via %s",
				   HOST_ADDRESS, OUTSIDE_ADDRESS),
			 0);
	resolver_is(&web, SECOND_ADDRESS);
	talks(&web.agent, "tcp", OUTSIDE_ADDRESS, 7000, "outside:hello");
	is_closed(&web.agent, "tcp", "203.0.113.77", 9002);
	set_resolv_conf(""); /* between two networks */
	assert_int_not_equal(agent_run(&web.agent, NULL, "getent ahostsv4 server.test"), 0);
	set_resolv_conf("nameserver " OUTSIDE_ADDRESS "\\n");
	resolver_is(&web, OUTSIDE_ADDRESS);
	assert_int_equal(agent_run(&host, NULL,
				   "ip address flush dev h0 && ip address add %s/24 dev h0 && "
				   "ip route replace default via %s",
				   HOST_ADDRESS, OUTSIDE_ADDRESS),
			 0);
	machine_stop(&web);
}

/* Networks have no IPv6: names have no such address, and one that is known all the same fails at once. */
void ipv6_costs_no_time(void **state)
{
	static const char *const names[] = { "outside.test", "web", "web.shop.venv" };
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };
	struct fake_machine web;
	_cleanup_free_ char *output = NULL;
	uint64_t begin;

	machine_start(*state, &web, &spec);
	begin = venv__now_us();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *answer = NULL, *addresses = NULL;

		if (agent_run(&web.agent, &answer, "busybox nslookup -type=aaaa %s 2>&1", names[i]))
			fail_msg("%s", answer);
		assert_null(strstr(answer, "2001:db8"));
		assert_null(strstr(answer, "NXDOMAIN"));
		assert_int_equal(agent_run(&web.agent, &addresses, "getent ahosts %s", names[i]),
				 0);
		assert_null(strstr(addresses, "2001:db8"));
	}
	if (agent_run(&web.agent, &output,
		      "python3 -c \"\n"
		      "import socket\n"
		      "c = socket.create_connection(('outside.test', 7000), 5)\n"
		      "s = socket.socket(socket.AF_INET6)\n"
		      "try: s.connect(('2001:db8::2', 7000))\n"
		      "except OSError as e: print(e.strerror)\n"
		      "\" 2>&1"))
		fail_msg("%s", output);
	assert_string_equal(output, "Network is unreachable\n");
	assert_true(venv__now_us() - begin < 2 * 1000 * 1000);
	machine_stop(&web);
}
