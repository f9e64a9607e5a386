/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks from end to end: the library's side, the three processes, fake machines, a fake outside. Run
 * by root it makes the world and runs every test twice, as root and as an ordinary user that has
 * sub-ids ($VENV_TEST_USER, else the first of /etc/subuid).
 */
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "../unit/test.h"
#include "net/dial.h"
#include "test_net_world.h"
#include "util/sys.h"

static void machines_reach_each_other(void **state)
{
	struct machine_spec a = { .name = TEXT("web"), ON_PROJECT },
			    b = { .name = TEXT("db"), ON_PROJECT };
	struct fake_machine web, db;
	_cleanup_free_ char *output = NULL;

	machine_start(*state, &web, &a);
	machine_start(*state, &db, &b);
	assert_int_equal(agent_run(&web.agent, NULL, "busybox ping -c 1 -W 2 %s", db.address), 0);
	if (agent_run(&web.agent, &output, "busybox ping -c 1 -W 2 db 2>&1"))
		fail_msg("%s", output);
	assert_int_equal(agent_run(&web.agent, NULL, "busybox ping -c 1 -W 2 db.shop.venv"), 0);
	assert_int_equal(agent_run(&db.agent, NULL, "busybox ping -c 1 -W 2 web"), 0);
	assert_int_not_equal(agent_run(&db.agent, NULL, "busybox ping -c 1 -W 2 nobody"), 0);
	assert_int_equal(agent_serve(&db.agent, "echo", "tcp", "0.0.0.0", 5432, "db:"), 0);
	talks(&web.agent, "tcp", db.address, 5432, "db:hello");
	machine_stop(&web);
	machine_stop(&db);
}

static void goes_out(void **state)
{
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };
	struct fake_machine web;

	machine_start(*state, &web, &spec);
	talks(&web.agent, "tcp", OUTSIDE_ADDRESS, 7000, "outside:hello");
	talks(&web.agent, "udp", OUTSIDE_ADDRESS, 7000, "outside:hello");
	machine_stop(&web);
}

static void ports_lead_in(void **state)
{
	uint16_t first = next_port(), second = next_port(), third = next_port();
	struct port_spec ports[] = {
		{ .host = first, .guest = 80 },
		{ .host = second, .guest = 81 },
		{ .host = third, .guest = 53, .protocol = PROTOCOL_UDP },
		{ .host = first, .guest = 54, .protocol = PROTOCOL_UDP },
		{ .host = 0, .guest = 82 },
	};
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT, PORTS(ports) };
	struct fake_machine web;
	json_int_t given;

	machine_start(*state, &web, &spec);
	assert_int_equal(agent_serve(&web.agent, "echo", "tcp", "0.0.0.0", 80, "any:"), 0);
	assert_int_equal(agent_serve(&web.agent, "echo", "tcp", "127.0.0.1", 81, "loopback:"), 0);
	assert_int_equal(agent_serve(&web.agent, "echo", "udp", "0.0.0.0", 53, "any:"), 0);
	assert_int_equal(agent_serve(&web.agent, "echo", "udp", "127.0.0.1", 54, "loopback:"), 0);
	assert_int_equal(agent_serve(&web.agent, "count", "tcp", web.address, 82, ""), 0);
	talks(&host, "tcp", "127.0.0.1", first, "any:hello");
	talks(&host, "tcp", "127.0.0.1", first, "any:hello");
	talks(&host, "tcp", "127.0.0.1", second, "loopback:hello");
	talks(&host, "tcp", "127.0.0.1", second, "loopback:hello");
	talks(&host, "udp", "127.0.0.1", third, "any:hello");
	talks(&host, "udp", "127.0.0.1", first, "loopback:hello");
	given = venv__json_int(json_array_get(web.net.ports, 4), "host", 0);
	assert_true(given > 0);
	talks(&host, "tcp", "127.0.0.1", (int)given, "5"); /* half-closed, then an answer */
	is_closed(&host, "tcp", HOST_ADDRESS, first);      /* 127.0.0.1 means it */
	machine_stop(&web);
	is_closed(&host, "tcp", "127.0.0.1", first);
}

static int dial(const struct fixture *fixture, const char *id, uint16_t port, venv_error **err)
{
	const struct machine machine = { .id = id,
					 .name = "web",
					 .project_fd = fixture->project.dir_fd };
	int fd = -1, r = venv__net_dial(&machine, port, &fd, err);

	return r < 0 ? r : fd;
}

static enum net_lease lease(const struct fixture *fixture, const char *id)
{
	const struct machine machine = { .id = id, .project_fd = fixture->project.dir_fd };

	return venv__net_lease(&machine);
}

/* Who answers has its address, whatever the answer is. */
static void who_answers_has_its_address(void **state)
{
	static const uint16_t ports[] = { 22, 23 };
	struct fixture *fixture = *state;
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };

	assert_int_equal(lease(fixture, "0"), NET_LEASE_UNKNOWN);
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		_cleanup_close_ int fd = -1;
		struct fake_machine web;

		machine_start(fixture, &web, &spec);
		assert_int_equal(agent_serve(&web.agent, "echo", "tcp", "0.0.0.0", 22, "sshd:"), 0);
		assert_int_equal(lease(fixture, web.id), NET_LEASE_NONE);
		assert_int_equal(lease(fixture, "0"), NET_LEASE_UNKNOWN);
		fd = dial(fixture, web.id, ports[i], NULL);
		assert_int_equal(fd >= 0, ports[i] == 22);
		assert_int_equal(lease(fixture, web.id), NET_LEASE_USED);
		machine_stop(&web);
	}
}

static void a_port_is_dialled(void **state)
{
	struct fixture *fixture = *state;
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };
	_cleanup_error_ venv_error *closed = NULL, *stranger = NULL, *down = NULL;
	struct fake_machine web;
	char text[16] = "";

	assert_int_equal(dial(fixture, "0", 22, &down), VENV_ERR_NETWORK);
	assert_non_null(strstr(venv_error_message(down), "network is down"));
	machine_start(fixture, &web, &spec);
	assert_int_equal(agent_serve(&web.agent, "echo", "tcp", "0.0.0.0", 22, "sshd:"), 0);
	{
		_cleanup_close_ int fd = dial(fixture, web.id, 22, NULL);

		assert_true(fd >= 0);
		assert_int_equal(recv(fd, text, 5, MSG_WAITALL), 5);
		assert_string_equal(text, "sshd:");
	}
	assert_int_equal(dial(fixture, web.id, 23, &closed), VENV_ERR_NETWORK);
	assert_non_null(strstr(venv_error_message(closed), "nobody answers on its port 23"));
	assert_int_equal(dial(fixture, "0", 22, &stranger), VENV_ERR_NETWORK);
	machine_stop(&web);
}

/* A port of the host that a service of the test's has; an automatic one of before may still be held. */
static uint16_t take_port(const char *greeting)
{
	for (int i = 0; i < 10; i++) {
		uint16_t number = next_port();

		if (agent_serve(&host, "echo", "tcp", "127.0.0.1", number, greeting) == 0)
			return number;
	}
	fail_msg("no port is free");
	return 0;
}

static void taken_port_is_named(void **state)
{
	uint16_t number = take_port("first:");
	struct port_spec ports[] = {
		{ .host = number, .guest = 80, .place = { "venv.yml", 7, 9 } }
	};
	struct port_spec next[] = { { .host = number, .guest = 80, .if_taken = TAKEN_NEXT } };
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT, PORTS(ports) };
	struct machine_spec yielding = { .name = TEXT("web"), ON_PROJECT, PORTS(next) };
	struct machine_spec rival = { .name = TEXT("rival"), ON_PROJECT, PORTS(ports) };
	_cleanup_error_ venv_error *err = NULL, *other = NULL;
	struct net_attachment net;
	struct fake_machine web;
	char expected[64];

	assert_int_equal(try_attach(*state, &spec, "11", &net, &err), VENV_ERR_NETWORK);
	(void)snprintf(expected, sizeof(expected), "port %u on 127.0.0.1 is taken by ", number);
	assert_memory_equal(venv_error_message(err), expected, strlen(expected));
	assert_string_equal(venv_error_file(err), "venv.yml");
	assert_int_equal(venv_error_line(err), 7);
	assert_int_equal(venv_error_column(err), 9);
	assert_non_null(venv_error_hint(err));
	if (geteuid() == 0)
		assert_non_null(strstr(venv_error_message(err), "test_net (pid "));

	machine_start(*state, &web, &yielding);
	assert_true(venv__json_int(json_array_get(web.net.ports, 0), "host", 0) > number);
	ports[0].host = (uint16_t)venv__json_int(json_array_get(web.net.ports, 0), "host", 0);
	assert_int_equal(try_attach(*state, &rival, "22", &net, &other), VENV_ERR_NETWORK);
	assert_non_null(strstr(venv_error_message(other), "is taken by machine 'web'"));
	machine_stop(&web);
}

static void internal_network_is_apart(void **state)
{
	static char backend[] = "backend", other[] = "other", subnet[] = "192.168.56.0/24",
		    fixed[] = "192.168.56.10";
	struct network_spec networks[] = {
		{ .name = backend, .subnet = subnet, .mode = NETWORK_INTERNAL }, { .name = other }
	};
	struct net_use web_uses[] = { { .name = TEXT("project") },
				      { .name = backend, .address = fixed } };
	struct net_use db_uses[] = { { .name = backend } }, lone_uses[] = { { .name = other } };
	struct machine_spec a = { .name = TEXT("web"), .networks = web_uses, .n_networks = 2 };
	struct machine_spec b = { .name = TEXT("db"), .networks = db_uses, .n_networks = 1 };
	struct machine_spec c = { .name = TEXT("lone"), .networks = lone_uses, .n_networks = 1 };
	struct fixture *fixture = *state;
	struct fake_machine web, db, lone;

	fixture->spec.networks = networks;
	fixture->spec.n_networks = 2;
	machine_start(fixture, &web, &a);
	machine_start(fixture, &db, &b);
	machine_start(fixture, &lone, &c);
	assert_string_equal(web.net.interfaces[1].address, fixed);
	assert_string_equal(web.net.interfaces[1].name, "eth1");
	assert_null(db.net.interfaces[0].gateway);
	assert_int_equal(agent_run(&db.agent, NULL, "busybox ping -c 1 -W 2 %s", fixed), 0);
	assert_int_equal(agent_run(&db.agent, NULL, "busybox ping -c 1 -W 2 web"), 0);
	assert_int_equal(agent_run(&web.agent, NULL, "busybox ping -c 1 -W 2 db"), 0);
	/* no way out, also not for one who makes a route or asks the resolver */
	assert_int_equal(agent_run(&db.agent, NULL, "ip route add default via 192.168.56.1"), 0);
	is_closed(&db.agent, "tcp", OUTSIDE_ADDRESS, 7000);
	assert_int_not_equal(agent_run(&db.agent, NULL, "getent hosts outside.test"), 0);
	/* nor into another network of the project */
	is_closed(&db.agent, "tcp", web.address, 22);
	assert_int_not_equal(agent_run(&db.agent, NULL, "busybox ping -c 1 -W 1 %s", web.address),
			     0);
	assert_int_not_equal(agent_run(&lone.agent, NULL, "busybox ping -c 1 -W 1 %s", web.address),
			     0);
	assert_int_not_equal(agent_run(&lone.agent, NULL, "busybox ping -c 1 -W 1 %s", fixed), 0);
	talks(&lone.agent, "tcp", OUTSIDE_ADDRESS, 7000, "outside:hello");
	machine_stop(&web);
	machine_stop(&db);
	machine_stop(&lone);
}

static void bad_addresses_have_a_place(void **state)
{
	static char backend[] = "backend", subnet[] = "192.168.56.0/24";
	static const char *const bad[] = { "10.0.0.1", "192.168.56.1", "192.168.56.255",
					   "192.168.56.0" };
	struct network_spec network = { .name = backend, .subnet = subnet };
	struct fixture *fixture = *state;

	fixture->spec.networks = &network;
	fixture->spec.n_networks = 1;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_error_ venv_error *err = NULL;
		struct net_use use = { .name = backend,
				       .address = TEXT(bad[i]),
				       .place = { "venv.yml", 3, 4 } };
		struct machine_spec spec = { .name = TEXT("web"),
					     .networks = &use,
					     .n_networks = 1 };
		struct net_attachment net;

		assert_int_equal(try_attach(fixture, &spec, "11", &net, &err), VENV_ERR_NETWORK);
		assert_int_equal(venv_error_line(err), 3);
	}
}

static int lend(void *user, int *ret_userns_fd, int *ret_netns_fd)
{
	const struct fake_machine *machine = user;

	*ret_userns_fd = fcntl(machine->net.userns_fd, F_DUPFD_CLOEXEC, 3);
	*ret_netns_fd = fcntl(machine->net.netns_fd, F_DUPFD_CLOEXEC, 3);
	return 0;
}

/* Kill one of the three: all go; the next connection takes the namespaces up, the machine goes on. */
static void killed_is_adopted(struct fixture *fixture, const char *victim)
{
	uint16_t number = next_port();
	struct port_spec ports[] = { { .host = number, .guest = 80 } };
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT, PORTS(ports) };
	struct machine_spec second = { .name = TEXT("db"), ON_PROJECT };
	_cleanup_error_ venv_error *err = NULL;
	struct fake_machine web, db;
	struct net_attachment net;
	char address[32];
	int socket = -1, adopted = 0;
	pid_t netd, netns, uplink;

	machine_start(fixture, &web, &spec);
	assert_int_equal(agent_serve(&web.agent, "echo", "tcp", "0.0.0.0", 80, "web:"), 0);
	(void)snprintf(address, sizeof(address), "%s", web.address);
	netd = netd_pid(fixture);
	netns = child_pid(netd, "venv-netns");
	uplink = child_pid(netd, "venv-uplink");
	assert_true(netd > 0 && netns > 0 && uplink > 0);
	/* of the machine's user or a sub-id: root of the test may, the user's signal goes to what is its own */
	assert_int_equal(agent_run(&host, NULL, "kill -9 %d",
				   strcmp(victim, "netd") == 0    ? netd
				   : strcmp(victim, "netns") == 0 ? netns
								  : uplink),
			 0);
	wait_end(netd);
	wait_end(netns);
	wait_end(uplink);
	if (venv__net_connect(&fixture->ctx, &fixture->project, lend, &web, &socket, &adopted,
			      &err) < 0)
		fail_msg("%s", venv_error_message(err));
	assert_int_equal(adopted, 1);
	if (venv__net_attach(&socket, &fixture->project, web.id, &spec, false, &net, &err) < 0)
		fail_msg("%s", venv_error_message(err));
	venv__net_attachment_done(&web.net);
	web.net = net;
	web.address = net.interfaces[0].address;
	assert_string_equal(web.address, address);
	assert_int_equal(machine_plug(&web), 0);
	talks(&host, "tcp", "127.0.0.1", number, "web:hello");
	talks(&web.agent, "tcp", OUTSIDE_ADDRESS, 7000, "outside:hello");
	machine_start(fixture, &db, &second);
	assert_int_equal(agent_run(&db.agent, NULL, "busybox ping -c 1 -W 2 web"), 0);
	is_closed(&web.agent, "tcp", HOST_ADDRESS, 9002);
	machine_stop(&web);
	machine_stop(&db);
}

static void killed_netd_is_adopted(void **state)
{
	killed_is_adopted(*state, "netd");
}

static void killed_netns_is_adopted(void **state)
{
	killed_is_adopted(*state, "netns");
}

static void killed_uplink_is_adopted(void **state)
{
	killed_is_adopted(*state, "uplink");
}

/* Two `up` at once start one netd. */
static void one_netd_for_two(void **state)
{
	struct fixture *fixture = *state;
	pid_t children[4];
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		if (children[i] == 0) {
			int socket = -1;

			status = venv__net_connect(&fixture->ctx, &fixture->project, NULL, NULL,
						   &socket, NULL, NULL);
			(void)usleep(300000);
			_exit(status < 0);
		}
	}
	(void)usleep(200000);
	assert_int_equal(agent_run(&host, NULL,
				   "test $(ls -l /proc/*/fd/4 2>/dev/null | grep -c '%s$') = 1",
				   fixture->dir),
			 0);
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
}

static void many_connections(void **state)
{
	uint16_t number = next_port();
	struct port_spec ports[] = { { .host = number, .guest = 80 } };
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT, PORTS(ports) };
	struct fake_machine web;
	size_t before, during;
	pid_t netd;

	machine_start(*state, &web, &spec);
	assert_int_equal(agent_serve(&web.agent, "count", "tcp", "0.0.0.0", 80, ""), 0);
	netd = netd_pid(*state);
	before = count_descriptors(netd);
	assert_int_equal(
		agent_run(&host, NULL,
			  "python3 -c \"\n"
			  "import socket,resource\n"
			  "resource.setrlimit(resource.RLIMIT_NOFILE,(4096,4096))\n"
			  "s=[socket.create_connection(('127.0.0.1',%u)) for i in range(1000)]\n"
			  "for i,c in enumerate(s): c.sendall(b'x'*(i*100)); c.shutdown(1)\n"
			  "for i,c in enumerate(s): assert c.recv(100)==str(i*100).encode(), i\n"
			  "\"",
			  number),
		0);
	during = count_descriptors(netd);
	for (int i = 0; i < 100 && during > before + 24; i++) {
		(void)usleep(10000);
		during = count_descriptors(netd);
	}
	assert_true(during <= before + 24); /* only some empty pipes are kept */
	machine_stop(&web);
}

/* A receiver that does not read must not stop the others, nor lose a byte when it reads at last. */
static void backpressure(void **state)
{
	uint16_t number = next_port();
	struct port_spec ports[] = { { .host = number, .guest = 80 } };
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT, PORTS(ports) };
	struct fake_machine web;
	_cleanup_free_ char *output = NULL;

	machine_start(*state, &web, &spec);
	assert_int_equal(agent_serve(&web.agent, "echo", "tcp", "0.0.0.0", 80, ""), 0);
	if (agent_run(
		    &host, &output,
		    "python3 -c \"\n"
		    "import socket,threading,hashlib,os,time\n"
		    "def talk(n,wait):\n"
		    "  c=socket.create_connection(('127.0.0.1',%u)); d=os.urandom(1<<20)*n\n"
		    "  def send():\n"
		    "    c.sendall(d); c.shutdown(1)\n"
		    "  t=threading.Thread(target=send); t.start(); time.sleep(wait)\n"
		    "  h=hashlib.sha256(); k=0\n"
		    "  while True:\n"
		    "    b=c.recv(1<<20)\n"
		    "    if not b: break\n"
		    "    h.update(b); k+=len(b)\n"
		    "  t.join(); assert k==len(d),(k,len(d)); assert h.digest()==hashlib.sha256(d).digest()\n"
		    "slow=threading.Thread(target=talk,args=(64,1.0)); slow.start()\n"
		    "time.sleep(.3); a=time.time(); talk(1,0); assert time.time()-a<.5\n"
		    "slow.join()\n"
		    "\" 2>&1",
		    number))
		fail_msg("%s", output);
	machine_stop(&web);
}

static void queries(void **state)
{
	uint16_t number = next_port();
	static char name[] = "http";
	struct port_spec ports[] = { { .host = number, .guest = 80, .name = name } };
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT, PORTS(ports) };
	_cleanup_json_ json_t *none = NULL, *some = NULL, *list = NULL;
	struct fixture *fixture = *state;
	struct fake_machine web;
	const json_t *port, *machine;

	assert_int_equal(venv__net_query(&fixture->project, "ports", &none, NULL), 0);
	assert_int_equal(json_array_size(json_object_get(none, "ports")), 0);
	machine_start(fixture, &web, &spec);
	assert_int_equal(venv__net_query(&fixture->project, "ports", &some, NULL), 0);
	port = json_array_get(json_object_get(some, "ports"), 0);
	assert_string_equal(venv__json_str(port, "machine"), "web");
	assert_string_equal(venv__json_str(port, "name"), "http");
	assert_int_equal(venv__json_int(port, "host", 0), number);
	assert_int_equal(venv__net_query(&fixture->project, "list", &list, NULL), 0);
	machine = json_array_get(json_object_get(list, "machines"), 0);
	assert_string_equal(venv__json_str(machine, "machine"), web.id);
	machine_stop(&web);
}

/* The address stays from one start to the next. */
static void addresses_are_stable(void **state)
{
	struct machine_spec a = { .name = TEXT("web"), ON_PROJECT },
			    b = { .name = TEXT("db"), ON_PROJECT };
	struct fake_machine web, db;
	char address[32];

	machine_start(*state, &db, &b);
	machine_start(*state, &web, &a);
	(void)snprintf(address, sizeof(address), "%s", web.address);
	machine_stop(&web);
	machine_stop(&db);
	assert_true(netd_gone(*state));
	machine_start(*state, &web, &a);
	assert_string_equal(web.address, address);
	machine_stop(&web);
}

static int run_group(const char *name)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_make, fixture_end)
	const struct CMUnitTest tests[] = {
		TEST(machines_reach_each_other),
		TEST(goes_out),
		TEST(resolves),
		TEST(follows_the_host),
		TEST(ipv6_costs_no_time),
		TEST(ports_lead_in),
		TEST(a_port_is_dialled),
		TEST(who_answers_has_its_address),
		TEST(taken_port_is_named),
		TEST(host_is_closed),
		TEST(guest_routes_loopback_out),
		TEST(raw_frames_are_dropped),
		TEST(new_host_address_is_closed),
		TEST(host_access_opens_one),
		TEST(internal_network_is_apart),
		TEST(bad_addresses_have_a_place),
		TEST(killed_netd_is_adopted),
		TEST(killed_netns_is_adopted),
		TEST(killed_uplink_is_adopted),
		TEST(one_netd_for_two),
		TEST(many_connections),
		TEST(backpressure),
		TEST(queries),
		TEST(addresses_are_stable),
		TEST(container_cannot_spoof),
		TEST(container_cannot_spoof_without_netd),
		TEST(tap_is_a_machine),
		TEST(tap_has_host_access),
		TEST(tap_cannot_spoof),
		TEST(tap_goes_with_its_connection),
		TEST(tap_survives_netd),
		TEST(helpers_are_confined),
		TEST(figures),
	};
	const char *pattern = getenv("VENV_TEST_ONLY");

	if (pattern)
		cmocka_set_test_filter(pattern);
	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static const struct passwd *test_user(void)
{
	_cleanup_fclose_ FILE *file = fopen("/etc/subuid", "re");
	const char *name = getenv("VENV_TEST_USER");
	const struct passwd *user = name ? getpwnam(name) : NULL;
	char line[256];

	while (!user && file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, ":\n")] = '\0';
		user = getpwnam(line);
		if (user && user->pw_uid == 0)
			user = NULL;
	}
	return user;
}

/* In a child, so that the agents of the world stay root's. */
static int run_as(const struct passwd *user)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (user && (setgroups(0, NULL) < 0 ||
			     setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
			     setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0))
			_exit(99);
		(void)setenv("HOME", user ? user->pw_dir : "/root", 1);
		exit(run_group(user ? "net (user)" : "net (root)"));
	}
	(void)waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(void)
{
	const struct passwd *user;
	const char *only = getenv("VENV_TEST_AS"); /* "root" or "user" */
	int failed = 0, r;

	if (geteuid() != 0) {
		(void)printf("skipped: it needs root to make a world of namespaces\n");
		return 77;
	}
	r = world_make();
	if (r < 0) {
		(void)printf("skipped: cannot make namespaces: %s\n", strerror(-r));
		return 77;
	}
	user = test_user();
	if (!only || strcmp(only, "root") == 0)
		failed += run_as(NULL);
	if (user && (!only || strcmp(only, "user") == 0))
		failed += run_as(user);
	else if (!user)
		(void)printf("no ordinary user with sub-ids: tested as root only\n");
	world_end();
	return failed != 0;
}
