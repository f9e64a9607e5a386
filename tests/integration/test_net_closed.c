/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest must not reach, and the one way in that host_access opens. */
#include <string.h>

#include "../unit/test.h"
#include "test_net_world.h"

void host_is_closed(void **state)
{
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };
	struct fake_machine web;

	machine_start(*state, &web, &spec);
	is_closed(&web.agent, "tcp", "127.0.0.1", 9001);
	is_closed(&web.agent, "tcp", "0.0.0.0", 9002);
	is_closed(&web.agent, "tcp", HOST_ADDRESS, 9002);
	is_closed(&web.agent, "udp", HOST_ADDRESS, 9002);
	is_closed(&web.agent, "tcp", METADATA_ADDRESS, 80);
	is_closed(&web.agent, "tcp", "192.0.0.1", 9001);
	is_closed(&web.agent, "tcp", "192.0.0.9", 9001);
	is_closed(&web.agent, "tcp", web.net.interfaces[0].gateway, 9002);
	/* and the test would notice if it were open */
	talks(&host, "tcp", "127.0.0.1", 9001, "host-loopback:hello");
	talks(&host, "tcp", METADATA_ADDRESS, 80, "metadata:hello");
	talks(&web.agent, "tcp", OUTSIDE_ADDRESS, 7000, "outside:hello");
	machine_stop(&web);
}

/* Guest root that gives up its own loopback address and sends the host's over the gateway. */
void guest_routes_loopback_out(void **state)
{
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };
	struct fake_machine web;

	machine_start(*state, &web, &spec);
	assert_int_equal(agent_run(&web.agent, NULL,
				   "ip address del 127.0.0.1/8 dev lo; "
				   "ip route add 127.0.0.0/8 via %s dev eth0; "
				   "ip route add 169.254.169.254 via %s dev eth0; "
				   "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; "
				   "ip route get 127.0.0.1 | grep -q eth0",
				   web.net.interfaces[0].gateway, web.net.interfaces[0].gateway),
			 0);
	is_closed(&web.agent, "tcp", "127.0.0.1", 9001);
	is_closed(&web.agent, "udp", "127.0.0.1", 9001);
	is_closed(&web.agent, "tcp", "127.0.0.5", 9002);
	is_closed(&web.agent, "tcp", METADATA_ADDRESS, 80);
	machine_stop(&web);
}

/* One frame with a TCP SYN, or a UDP datagram, from eth0 to whatever address: does anything come back? */
static const char raw_frame[] =
	"import socket,struct,sys,time\n"
	"gw_mac=bytes.fromhex(sys.argv[1].replace(':',''));dst=sys.argv[2];src=sys.argv[3]\n"
	"port=int(sys.argv[4])\n"
	"s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3));s.bind(('eth0',0))\n"
	"mac=s.getsockname()[4]\n"
	"def cks(b):\n"
	" b+=b'\\0'*(len(b)%2);t=sum(struct.unpack('!%dH'%(len(b)//2),b))\n"
	" while t>>16:t=(t&65535)+(t>>16)\n"
	" return ~t&65535\n"
	"a=socket.inet_aton(src);d=socket.inet_aton(dst)\n"
	"tcp=struct.pack('!HHIIBBHHH',40000,port,1,0,80,2,65535,0,0)\n"
	"c=cks(a+d+struct.pack('!BBH',0,6,len(tcp))+tcp);tcp=tcp[:16]+struct.pack('!H',c)+tcp[18:]\n"
	"ip=struct.pack('!BBHHHBBH4s4s',69,0,20+len(tcp),1,0,64,6,0,a,d)\n"
	"ip=ip[:10]+struct.pack('!H',cks(ip))+ip[12:]\n"
	"for i in range(3):s.send(gw_mac+mac+b'\\x08\\0'+ip+tcp)\n"
	"end=time.time()+1;s.settimeout(.2)\n"
	"while time.time()<end:\n"
	" try:f=s.recv(65535)\n"
	" except OSError:continue\n"
	" if f[12:14]==b'\\x08\\0' and f[23]==6 and f[34:36]==struct.pack('!H',port):\n"
	"  print('flags',f[47]);sys.exit(3 if f[47]&0x12==0x12 else 4)\n"
	"sys.exit(0)\n";

static int send_raw(struct fake_machine *machine, const char *script, const char *to,
		    const char *from, int port)
{
	_cleanup_free_ char *mac = NULL, *output = NULL;
	int r;

	(void)agent_run(&machine->agent, NULL, "busybox ping -c 1 -W 1 %s",
			machine->net.interfaces[0].gateway);
	(void)agent_run(&machine->agent, &mac, "ip neigh show %s | sed 's/.*lladdr //; s/ .*//'",
			machine->net.interfaces[0].gateway);
	mac[strcspn(mac, "\n")] = '\0';
	r = agent_run(&machine->agent, &output, "python3 %s %s %s %s %d", script, mac, to, from,
		      port);
	if (r != 0 && r != 3)
		print_error("%s: %s\n", mac, output);
	return r;
}

void raw_frames_are_dropped(void **state)
{
	static const struct {
		const char *to, *from;
		int port;
	} frames[] = {
		{ "127.0.0.1", NULL, 9001 },        { "0.0.0.0", NULL, 9002 },
		{ HOST_ADDRESS, NULL, 9002 },       { METADATA_ADDRESS, NULL, 80 },
		{ "127.0.0.1", "127.0.0.1", 9001 }, { "192.0.0.9", "192.0.0.10", 9001 },
		{ "192.0.0.1", "192.0.0.2", 9001 }, { "255.255.255.255", NULL, 9002 },
	};
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };
	struct fixture *fixture = *state;
	struct fake_machine web;
	char script[128];

	(void)snprintf(script, sizeof(script), "%s/raw.py", fixture->dir);
	assert_int_equal(venv__file_write(fixture->project.dir_fd, "raw.py", raw_frame,
					  sizeof(raw_frame) - 1, 0644, WRITE_VOLATILE, NULL),
			 0);
	machine_start(fixture, &web, &spec);
	/* the guest's own stack must not answer what comes back with a reset before we see it */
	assert_int_equal(send_raw(&web, script, OUTSIDE_ADDRESS, web.address, 7000), 3);
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		if (send_raw(&web, script, frames[i].to,
			     frames[i].from ? frames[i].from : web.address, frames[i].port) != 0)
			fail_msg("a frame to %s was answered", frames[i].to);
	machine_stop(&web);
}

void new_host_address_is_closed(void **state)
{
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };
	struct fake_machine web;

	machine_start(*state, &web, &spec);
	assert_int_equal(agent_run(&host, NULL, "ip address add 198.51.100.7/32 dev lo"), 0);
	(void)usleep(200000);
	talks(&host, "tcp", "198.51.100.7", 9002, "host-any:hello");
	is_closed(&web.agent, "tcp", "198.51.100.7", 9002);
	assert_int_equal(agent_run(&host, NULL, "ip address del 198.51.100.7/32 dev lo"), 0);
	machine_stop(&web);
}

void host_access_opens_one(void **state)
{
	struct machine_spec a = { .name = TEXT("web"), ON_PROJECT, .host_access = true };
	struct machine_spec b = { .name = TEXT("db"), ON_PROJECT };
	struct fake_machine web, db;
	_cleanup_free_ char *output = NULL;
	char id[33];

	machine_start(*state, &db, &b);
	machine_start(*state, &web, &a);
	assert_int_equal(agent_run(&web.agent, &output, "getent hosts host.venv.internal"), 0);
	assert_memory_equal(output, "192.0.0.9 ", 10);
	talks(&web.agent, "tcp", "192.0.0.9", 9001, "host-loopback:hello");
	talks(&web.agent, "udp", "192.0.0.9", 9001, "host-loopback:hello");
	talks(&web.agent, "tcp", OUTSIDE_ADDRESS, 7000, "outside:hello");
	is_closed(&web.agent, "tcp", HOST_ADDRESS, 9002);
	is_closed(&web.agent, "tcp", METADATA_ADDRESS, 80);
	is_closed(&db.agent, "tcp", "192.0.0.9", 9001);
	assert_int_not_equal(agent_run(&db.agent, NULL, "getent hosts host.venv.internal"), 0);
	/* nor with the other's address stolen */
	assert_int_equal(
		agent_run(&db.agent, NULL,
			  "ip address del %s/24 dev eth0; ip address add %s/24 dev eth0; "
			  "ip route add default via %s; ip address show dev eth0 | grep -q '%s/'",
			  db.address, web.address, db.net.interfaces[0].gateway, web.address),
		0);
	is_closed(&db.agent, "tcp", "192.0.0.9", 9001);
	/* nor when it was taken away from the one that had it */
	memcpy(id, web.id, sizeof(id));
	machine_stop(&web);
	a.host_access = false;
	machine_start_as(*state, &web, &a, id);
	is_closed(&web.agent, "tcp", "192.0.0.9", 9001);
	machine_stop(&web);
	machine_stop(&db);
}
