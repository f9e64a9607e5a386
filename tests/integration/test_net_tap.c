/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual machines on a project's network. The "guest" is a network namespace with a TAP of its own, and
 * a process that carries frames, headers and all, between that and the TAP that netd gave, as a monitor
 * does: so the guest has a real stack and real clients, and what it cannot do the filter has stopped.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "../unit/test.h"
#include "test_net_world.h"
#include "util/sys.h"

enum { HEADER_SIZE = 12, FRAME_SIZE = 65562, PATIENCE_MS = 5000 };

struct guest {
	struct agent agent;
	struct net_attachment net;
	int tap;
	char id[33];
	const char *address;
	const char *directory; /* of the project, for scripts */
};

/* ---- The guest ---- */

static _Noreturn void carry(int a, int b)
{
	static uint8_t frame[FRAME_SIZE];
	struct pollfd fds[] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (poll(fds, 2, -1) > 0)
		for (int i = 0; i < 2; i++) {
			ssize_t n = fds[i].revents ? read(fds[i].fd, frame, sizeof(frame)) : 0;

			if (n < 0 && errno != EAGAIN)
				_exit(0); /* unplugged */
			if (n > 0 && write(fds[!i].fd, frame, (size_t)n) < 0)
				continue; /* as on a wire: lost */
		}
	_exit(0);
}

static int own_tap(void)
{
	struct ifreq request = { .ifr_name = "eth0",
				 .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), size = HEADER_SIZE;

	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4)) < 0)
		return -errno;
	return fd;
}

static int set_mac(const char *text)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "eth0" };
	unsigned byte[6];

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4],
		   &byte[5]) != 6)
		return -EINVAL;
	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	for (int i = 0; i < 6; i++)
		request.ifr_hwaddr.sa_data[i] = (char)byte[i];
	return ioctl(fd, SIOCSIFHWADDR, &request) < 0 ? -errno : 0;
}

static int write_text(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int own_namespaces(void)
{
	char uids[32], gids[32];

	(void)snprintf(uids, sizeof(uids), "0 %u 1", geteuid());
	(void)snprintf(gids, sizeof(gids), "0 %u 1", getegid());
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0)
		return -errno;
	if (write_text("/proc/self/setgroups", "deny") < 0 ||
	    write_text("/proc/self/uid_map", uids) < 0 ||
	    write_text("/proc/self/gid_map", gids) < 0)
		return -EPERM;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

static int be_guest(void *user)
{
	const struct guest *guest = user;
	int tap = own_namespaces();

	if (tap == 0)
		tap = own_tap();
	if (tap >= 0 && set_mac(guest->net.interfaces[0].mac) < 0)
		tap = -EIO;
	if (tap < 0)
		return tap;
	if (fork() == 0)
		carry(tap, guest->tap);
	(void)close(tap);
	return 0;
}

static int ask_tap(int socket, bool held, int *ret_fd)
{
	_cleanup_json_ json_t *request =
		json_pack("{s:s, s:s, s:b}", "op", "tap", "interface", "eth0", "held", held);
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_error_ venv_error *err = NULL;
	int r = venv__msg_call(socket, request, NULL, 0, PATIENCE_MS, NULL, &fds, &err);

	if (r < 0)
		print_error("tap: %s\n", venv_error_message(err));
	if (r < 0 || held || !ret_fd)
		return r < 0 ? r : -(int)fds.count;
	*ret_fd = venv__msg_fds_take(&fds, 0);
	return *ret_fd < 0 ? -EBADF : 0;
}

static const char client_script[] =
	"#!/bin/sh\n"
	"[ $1 = bound ] || [ $1 = renew ] || exit 0\n"
	"ip address replace $ip/$mask dev eth0\n"
	"ip link set eth0 mtu ${mtu:-1500}\n"
	"[ -z \"$router\" ] || ip route replace default via $router\n"
	"{ echo nameserver $dns; echo search $domain; } >${0%/*}/resolv.$hostname\n"
	"env >${0%/*}/lease.$hostname\n"
	"mount --bind ${0%/*}/resolv.$hostname /etc/resolv.conf\n";

/* By a real DHCP client, as any system does it. */
static int configure(struct guest *guest)
{
	return agent_run(&guest->agent, NULL,
			 "cd '%s' && ip link set lo up && ip link set eth0 mtu 65520 up && "
			 "busybox udhcpc -i eth0 -n -q -f -t 4 -T 1 -x hostname:who -s ./client.sh",
			 guest->directory);
}

/* What is told of a machine that nobody reaches. */
static void lease_is(const struct fixture *fixture, const struct guest *guest,
		     enum net_lease expected)
{
	const struct machine machine = { .id = guest->id, .project_fd = fixture->project.dir_fd };

	assert_int_equal(venv__net_lease(&machine), expected);
}

static void guest_start(struct fixture *fixture, struct guest *guest,
			const struct machine_spec *spec, const char *id)
{
	_cleanup_error_ venv_error *err = NULL;

	*guest = (struct guest){ .tap = -1, .directory = fixture->dir };
	(void)chmod(fixture->dir, 01777);
	assert_int_equal(venv__file_write(fixture->project.dir_fd, "client.sh", client_script,
					  sizeof(client_script) - 1, 0755, WRITE_VOLATILE, NULL),
			 0);
	if (id)
		(void)snprintf(guest->id, sizeof(guest->id), "%s", id);
	else
		assert_int_equal(venv__random_id(guest->id), 0);
	if (try_attach(fixture, spec, guest->id, &guest->net, &err) < 0)
		fail_msg("attach: %s", venv_error_message(err));
	assert_int_equal(ask_tap(guest->net.socket, false, &guest->tap), 0);
	assert_int_equal(agent_start(&guest->agent, be_guest, guest), 0);
	lease_is(fixture, guest, NET_LEASE_NONE);
	guest->address = guest->net.interfaces[0].address;
	assert_int_equal(configure(guest), 0);
}

static void guest_stop(struct guest *guest)
{
	agent_stop(&guest->agent);
	if (guest->tap >= 0)
		(void)close(guest->tap);
	venv__net_attachment_done(&guest->net);
}

/* ---- What it has ---- */

static void lease_has(const struct guest *guest, const char *name, const char *line)
{
	_cleanup_free_ char *output = NULL;

	if (agent_run(&host, &output, "cat '%s/lease.%s'", guest->directory, name) ||
	    !strstr(output, line))
		fail_msg("no '%s' in: %s", line, output);
}

/* Address, names, ports, the way out: a virtual machine has what a container has. */
void tap_is_a_machine(void **state)
{
	const uint16_t number = next_port();
	struct port_spec ports[] = { { .host = number, .guest = 80 } };
	struct machine_spec a = { .name = TEXT("web"), ON_PROJECT };
	struct machine_spec b = {
		.name = TEXT("vm"), .hostname = TEXT("vmhost"), ON_PROJECT, PORTS(ports)
	};
	struct fake_machine web;
	struct guest vm;
	char line[64];

	machine_start(*state, &web, &a);
	guest_start(*state, &vm, &b, NULL);
	(void)snprintf(line, sizeof(line), "\nip=%s\n", vm.address);
	lease_has(&vm, "vmhost", line);
	lease_has(&vm, "vmhost", "\nmtu=65520\n");
	lease_has(&vm, "vmhost", "\ndomain=shop.venv\n");
	lease_is(*state, &vm, NET_LEASE_USED);
	assert_int_equal(agent_run(&vm.agent, NULL, "busybox ping -c 1 -W 2 web"), 0);
	assert_int_equal(agent_run(&web.agent, NULL, "busybox ping -c 1 -W 2 vm.shop.venv"), 0);
	assert_int_equal(agent_run(&vm.agent, NULL, "busybox ping -c 1 -W 2 -s 20000 web"), 0);
	assert_int_equal(agent_serve(&vm.agent, "echo", "tcp", "0.0.0.0", 80, "vm:"), 0);
	assert_int_equal(agent_serve(&web.agent, "echo", "udp", "0.0.0.0", 81, "web:"), 0);
	talks(&web.agent, "tcp", vm.address, 80, "vm:hello");
	talks(&vm.agent, "udp", web.address, 81, "web:hello");
	talks(&host, "tcp", "127.0.0.1", number, "vm:hello");
	talks(&vm.agent, "tcp", OUTSIDE_ADDRESS, 7000, "outside:hello");
	is_closed(&vm.agent, "tcp", HOST_ADDRESS, 9002);
	is_closed(&vm.agent, "tcp", METADATA_ADDRESS, 80);
	guest_stop(&vm);
	machine_stop(&web);
}

void tap_has_host_access(void **state)
{
	struct machine_spec a = { .name = TEXT("vm"), ON_PROJECT, .host_access = true };
	struct machine_spec b = { .name = TEXT("no"), ON_PROJECT };
	struct guest vm, no;

	guest_start(*state, &vm, &a, NULL);
	guest_start(*state, &no, &b, NULL);
	talks(&vm.agent, "tcp", "192.0.0.9", 9001, "host-loopback:hello");
	is_closed(&no.agent, "tcp", "192.0.0.9", 9001);
	guest_stop(&no);
	guest_stop(&vm);
}

/* ---- What it may not ---- */

static void reaches(struct guest *vm, const struct fake_machine *web, bool expected)
{
	int r = agent_run(&vm->agent, NULL, "busybox ping -c 1 -W 1 %s", web->address);

	assert_int_equal(r == 0, expected);
}

static void as_somebody_else(struct guest *vm, const struct fake_machine *web, const char *address)
{
	assert_int_equal(agent_run(&vm->agent, NULL,
				   "ip address flush dev eth0; ip address add %s/24 dev eth0 && "
				   "ip address show dev eth0 | grep -q %s",
				   address, address),
			 0);
	reaches(vm, web, false);
	assert_int_equal(agent_run(&vm->agent, NULL, "ip address flush dev eth0"), 0);
	assert_int_equal(configure(vm), 0);
	reaches(vm, web, true);
}

/* Tell everybody that an address is ours, with our own MAC. */
static void announce(const struct guest *vm, const char *address)
{
	uint8_t frame[HEADER_SIZE + 42] = { 0 }, *at = frame + HEADER_SIZE;
	static const uint8_t reply[] = { 8, 6, 0, 1, 8, 0, 6, 4, 0, 2 };
	unsigned byte[6];

	assert_int_equal(sscanf(vm->net.interfaces[0].mac, "%x:%x:%x:%x:%x:%x", &byte[0], &byte[1],
				&byte[2], &byte[3], &byte[4], &byte[5]),
			 6);
	memset(at, 0xff, 6);
	for (int i = 0; i < 6; i++)
		at[6 + i] = at[22 + i] = (uint8_t)byte[i];
	memcpy(at + 12, reply, sizeof(reply));
	assert_int_equal(inet_pton(AF_INET, address, at + 28), 1);
	memset(at + 32, 0xff, 6);
	assert_int_equal(inet_pton(AF_INET, address, at + 38), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(write(vm->tap, frame, sizeof(frame)), sizeof(frame));
}

static void knows(struct fake_machine *web, const char *address, const char *mac, bool expected)
{
	int r = agent_run(&web->agent, NULL, "ip neigh show %s | grep -qi %s", address, mac);

	assert_int_equal(r == 0, expected);
}

void tap_cannot_spoof(void **state)
{
	struct machine_spec a = { .name = TEXT("web"), ON_PROJECT };
	struct machine_spec b = { .name = TEXT("db"), ON_PROJECT };
	struct machine_spec c = { .name = TEXT("vm"), ON_PROJECT };
	struct fake_machine web, db;
	const char *gateway, *mac;
	struct guest vm;

	machine_start(*state, &web, &a);
	machine_start(*state, &db, &b);
	guest_start(*state, &vm, &c, NULL);
	gateway = vm.net.interfaces[0].gateway;
	mac = vm.net.interfaces[0].mac;
	reaches(&vm, &web, true);
	as_somebody_else(&vm, &web, db.address);
	as_somebody_else(&vm, &web, gateway);
	/* and with a true one, but somebody else's claimed */
	(void)agent_run(&web.agent, NULL, "busybox ping -c 1 -W 2 %s; busybox ping -c 1 -W 2 %s",
			db.address, gateway);
	announce(&vm, db.address);
	announce(&vm, gateway);
	announce(&vm, vm.address);
	(void)usleep(100000);
	knows(&web, db.address, mac, false);
	knows(&web, gateway, mac, false);
	knows(&web, vm.address, mac, true); /* the test would notice */
	assert_int_equal(agent_run(&vm.agent, NULL,
				   "ip link set eth0 address 02:00:00:00:00:07 && "
				   "ip neigh flush dev eth0"),
			 0);
	reaches(&vm, &web, false);
	assert_int_not_equal(configure(&vm), 0); /* nor does DHCP answer that */
	guest_stop(&vm);
	machine_stop(&db);
	machine_stop(&web);
}

/* ---- Its life ---- */

/* The device goes with the connection, whoever still has the descriptor; then there may be another. */
void tap_goes_with_its_connection(void **state)
{
	struct machine_spec a = { .name = TEXT("web"), ON_PROJECT };
	struct machine_spec b = { .name = TEXT("vm"), ON_PROJECT, .host_access = true };
	struct machine_spec c = { .name = TEXT("vm"), ON_PROJECT };
	uint8_t frame[100] = { 0 };
	struct fake_machine web;
	struct guest vm;
	int held;

	machine_start(*state, &web, &a); /* netd stays */
	guest_start(*state, &vm, &b, "77");
	talks(&vm.agent, "tcp", "192.0.0.9", 9001, "host-loopback:hello");
	held = dup(vm.tap);
	guest_stop(&vm);
	for (int i = 0; i < 100 && write(held, frame, sizeof(frame)) >= 0; i++)
		(void)usleep(20000);
	assert_int_equal(write(held, frame, sizeof(frame)), -1);
	guest_start(*state, &vm, &c, "77");
	reaches(&vm, &web, true);
	is_closed(&vm.agent, "tcp", "192.0.0.9",
		  9001); /* nothing is left of what the last one might */
	(void)close(held);
	guest_stop(&vm);
	machine_stop(&web);
}

static int lend(void *user, int *ret_userns_fd, int *ret_netns_fd)
{
	const struct guest *vm = user;

	*ret_userns_fd = fcntl(vm->net.userns_fd, F_DUPFD_CLOEXEC, 3);
	*ret_netns_fd = fcntl(vm->net.netns_fd, F_DUPFD_CLOEXEC, 3);
	return *ret_userns_fd < 0 || *ret_netns_fd < 0 ? VENV_ERR_SYSTEM : 0;
}

/* netd was killed: the next one connects the device again, whose descriptor stays where it is. */
void tap_survives_netd(void **state)
{
	const uint16_t number = next_port();
	struct port_spec ports[] = { { .host = number, .guest = 80 } };
	struct machine_spec a = { .name = TEXT("vm"), ON_PROJECT, PORTS(ports) };
	struct machine_spec b = { .name = TEXT("web"), ON_PROJECT };
	struct fixture *fixture = *state;
	_cleanup_error_ venv_error *err = NULL;
	struct net_attachment net;
	struct fake_machine web;
	int socket = -1, adopted = 0;
	struct guest vm;
	pid_t pid, netns;

	guest_start(fixture, &vm, &a, NULL);
	assert_int_equal(agent_serve(&vm.agent, "echo", "tcp", "0.0.0.0", 80, "vm:"), 0);
	pid = netd_pid(fixture);
	netns = child_pid(pid, "venv-netns");
	assert_int_equal(agent_run(&host, NULL, "kill -9 %d", pid), 0);
	wait_end(pid);
	wait_end(netns);
	if (venv__net_connect(&fixture->ctx, &fixture->project, lend, &vm, &socket, &adopted,
			      &err) < 0)
		fail_msg("%s", venv_error_message(err));
	assert_int_equal(adopted, 1);
	if (venv__net_attach(&socket, &fixture->project, vm.id, &a, false, &net, &err) < 0)
		fail_msg("%s", venv_error_message(err));
	venv__net_attachment_done(&vm.net);
	vm.net = net;
	vm.address = net.interfaces[0].address;
	assert_int_equal(ask_tap(vm.net.socket, true, NULL), 0);
	lease_is(fixture, &vm, NET_LEASE_UNKNOWN);
	talks(&host, "tcp", "127.0.0.1", number, "vm:hello");
	machine_start(fixture, &web, &b);
	reaches(&vm, &web, true);
	assert_int_equal(configure(&vm), 0);
	as_somebody_else(&vm, &web, "10.88.0.77");
	guest_stop(&vm);
	machine_stop(&web);
}
