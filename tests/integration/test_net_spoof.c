/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container machine that lies about itself: its root may do what it likes with its own interface, but
 * the port at our end lets nothing pass that speaks for somebody else. (Virtual machines: test_net_tap.c)
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../unit/test.h"
#include "test_net_world.h"

/* arp ADDRESS: tell everybody that this address is ours. mac MAC TO: three frames from another's MAC. */
static const char liar[] =
	"import socket,sys\n"
	"s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3));s.bind(('eth0',0))\n"
	"mac=s.getsockname()[4];every=b'\\xff'*6\n"
	"if sys.argv[1]=='arp':\n"
	" ip=socket.inet_aton(sys.argv[2])\n"
	" f=every+mac+b'\\x08\\x06\\0\\1\\x08\\0\\6\\4\\0\\2'+mac+ip+every+ip\n"
	"else:\n"
	" f=every+bytes.fromhex(sys.argv[2].replace(':',''))+b'\\x88\\xb5'+b'x'*46\n"
	"for i in range(3):s.send(f)\n";

struct scene {
	struct fixture *fixture;
	struct fake_machine web, db, evil;
};

static void scene_make(struct scene *scene, struct fixture *fixture)
{
	struct machine_spec web = { .name = TEXT("web"), ON_PROJECT };
	struct machine_spec db = { .name = TEXT("db"), ON_PROJECT };
	struct machine_spec evil = { .name = TEXT("evil"), ON_PROJECT };

	scene->fixture = fixture;
	assert_int_equal(venv__file_write(fixture->project.dir_fd, "liar.py", liar,
					  sizeof(liar) - 1, 0644, WRITE_VOLATILE, NULL),
			 0);
	machine_start(fixture, &scene->web, &web);
	machine_start(fixture, &scene->db, &db);
	machine_start(fixture, &scene->evil, &evil);
}

static void scene_end(struct scene *scene)
{
	machine_stop(&scene->evil);
	machine_stop(&scene->db);
	machine_stop(&scene->web);
}

static bool reaches(struct fake_machine *from, const struct fake_machine *to)
{
	return agent_run(&from->agent, NULL, "busybox ping -c 1 -W 1 %s", to->address) == 0;
}

static void lie(struct scene *scene, const char *what, const char *value)
{
	assert_int_equal(agent_run(&scene->evil.agent, NULL, "python3 %s/liar.py %s %s",
				   scene->fixture->dir, what, value),
			 0);
	(void)usleep(100000);
}

static bool believes(struct fake_machine *who, const char *address,
		     const struct fake_machine *whose)
{
	return agent_run(&who->agent, NULL, "ip neigh show %s | grep -qi %s", address,
			 whose->net.interfaces[0].mac) == 0;
}

static void set_address(struct fake_machine *machine, const char *from, const char *to)
{
	assert_int_equal(agent_run(&machine->agent, NULL,
				   "ip address del %s/24 dev eth0 && ip address add %s/24 dev eth0",
				   from, to),
			 0);
}

static void take_its_address(struct scene *scene, const char *address)
{
	struct fake_machine *evil = &scene->evil;

	set_address(evil, evil->address, address);
	assert_false(reaches(evil, &scene->web));
	set_address(evil, address, evil->address);
	assert_true(reaches(evil, &scene->web));
}

static void claim_its_address(struct scene *scene, const char *address)
{
	(void)agent_run(&scene->web.agent, NULL, "busybox ping -c 1 -W 2 %s", address);
	lie(scene, "arp", address);
	assert_false(believes(&scene->web, address, &scene->evil));
}

/* The bridge must not learn a false way. */
static void take_its_mac(struct scene *scene)
{
	struct fake_machine *evil = &scene->evil;

	lie(scene, "mac", scene->db.net.interfaces[0].mac);
	assert_true(reaches(&scene->web, &scene->db));
	assert_int_equal(agent_run(&evil->agent, NULL,
				   "ip link set eth0 address 02:00:00:00:00:07 && "
				   "ip neigh flush dev eth0"),
			 0);
	assert_false(reaches(evil, &scene->web));
	assert_int_equal(agent_run(&evil->agent, NULL, "ip link set eth0 address %s",
				   evil->net.interfaces[0].mac),
			 0);
	assert_true(reaches(evil, &scene->web));
}

static void every_lie(struct scene *scene)
{
	take_its_address(scene, scene->db.address);
	take_its_address(scene, scene->evil.net.interfaces[0].gateway);
	claim_its_address(scene, scene->db.address);
	claim_its_address(scene, scene->evil.net.interfaces[0].gateway);
	lie(scene, "arp", scene->evil.address);
	assert_true(believes(&scene->web, scene->evil.address, &scene->evil)); /* we would notice */
	take_its_mac(scene);
}

void container_cannot_spoof(void **state)
{
	struct scene scene;

	scene_make(&scene, *state);
	every_lie(&scene);
	scene_end(&scene);
}

static int lend(void *user, int *ret_userns_fd, int *ret_netns_fd)
{
	const struct fake_machine *machine = user;

	*ret_userns_fd = dup(machine->net.userns_fd);
	*ret_netns_fd = dup(machine->net.netns_fd);
	return *ret_userns_fd < 0 || *ret_netns_fd < 0 ? VENV_ERR_SYSTEM : 0;
}

static void plug_again(struct scene *scene, struct fake_machine *machine, const char *name)
{
	struct machine_spec spec = { .name = TEXT(name), ON_PROJECT };
	struct net_project *project = &scene->fixture->project;
	_cleanup_error_ venv_error *err = NULL;
	struct net_attachment net = { .socket = -1 };
	int socket = -1, adopted = 0;

	if (venv__net_connect(&scene->fixture->ctx, project, lend, machine, &socket, &adopted,
			      &err) < 0 ||
	    venv__net_attach(&socket, project, machine->id, &spec, false, &net, &err) < 0)
		fail_msg("%s", venv_error_message(err));
	venv__net_attachment_done(&machine->net);
	machine->net = net;
	machine->address = net.interfaces[0].address;
	assert_int_equal(machine_plug(machine), 0);
}

/* netd was killed: not while there is none either, nor while the next one takes up. */
void container_cannot_spoof_without_netd(void **state)
{
	struct scene scene;
	pid_t pid, netns;

	scene_make(&scene, *state);
	pid = netd_pid(scene.fixture);
	netns = child_pid(pid, "venv-netns");
	assert_int_equal(agent_run(&host, NULL, "kill -9 %d", pid), 0);
	wait_end(pid);
	wait_end(netns);
	every_lie(&scene);
	plug_again(&scene, &scene.web, "web");
	every_lie(&scene); /* evil's port has waited for nobody */
	plug_again(&scene, &scene.evil, "evil");
	plug_again(&scene, &scene.db, "db");
	every_lie(&scene);
	scene_end(&scene);
}
