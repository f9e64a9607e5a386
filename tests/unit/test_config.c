/* SPDX-License-Identifier: Apache-2.0 */
/* Every key of venv.yml, good and bad. */
#include "config_support.h"

static void smallest_file_has_all_defaults(void **state)
{
	_cleanup_spec_ struct project_spec *spec = parse_good("box: debian/12\n");
	const struct machine_spec *machine = &spec->machines[0];

	(void)state;
	assert_int_equal(spec->n_machines, 1);
	assert_string_equal(spec->name, "shop");
	assert_string_equal(spec->dir, DIR_OF_PROJECT);
	assert_string_equal(spec->file, DIR_OF_PROJECT "/venv.yml");
	assert_int_equal(json_array_size(spec->approve), 0);
	assert_non_null(spec->volumes);
	assert_string_equal(machine->name, "default");
	assert_string_equal(machine->hostname, "default");
	assert_string_equal(machine->box, "debian/12");
	assert_int_equal(machine->box_place.line, 1);
	assert_int_equal(machine->box_place.column, 6);
	assert_string_equal(machine->provider, "auto");
	assert_string_equal(machine->architecture, "auto");
	assert_true(machine->autostart);
	assert_false(machine->primary);
	assert_int_equal(machine->memory, 0);
	assert_int_equal(machine->n_folders, 1);
	assert_string_equal(machine->folders[0].host, DIR_OF_PROJECT);
	assert_string_equal(machine->folders[0].guest, "/workspace");
	assert_int_equal(machine->folders[0].mode, FOLDER_RW);
	assert_false(machine->folders[0].outside);
	assert_int_equal(machine->n_networks, 1);
	assert_string_equal(machine->networks[0].name, "project");
	assert_int_equal(machine->boot_timeout_ms, 300000);
	assert_int_equal(machine->stop_timeout_ms, 60000);
	assert_ptr_equal(venv__spec_primary(spec), machine);
}

static void limits_are_read(void **state)
{
	_cleanup_spec_ struct project_spec *spec =
		parse_good("box: a\ncpus: 0.5\nmemory: 1.5G\nmemory_low: 512M\ncpu_weight: 200\n"
			   "cpuset: 0-1,3\nio_weight: 50\npids: 100\noom: freeze\ndisk: 20G\n"
			   "boot_timeout: 1h\nstop_timeout: 500ms\n");
	const struct machine_spec *machine = &spec->machines[0];

	(void)state;
	assert_true(machine->cpus > 0.499 && machine->cpus < 0.501);
	assert_int_equal(machine->memory, 1536ull << 20);
	assert_int_equal(machine->memory_low, 512ull << 20);
	assert_int_equal(machine->cpu_weight, 200);
	assert_string_equal(machine->cpuset, "0-1,3");
	assert_int_equal(machine->io_weight, 50);
	assert_int_equal(machine->pids, 100);
	assert_int_equal(machine->oom, OOM_FREEZE);
	assert_int_equal(machine->disk, 20ull << 30);
	assert_int_equal(machine->boot_timeout_ms, 3600000);
	assert_int_equal(machine->stop_timeout_ms, 500);
}

static void bad_values_name_their_place(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nmemory: 2X\n", 2, 9, "unknown size suffix 'X' in '2X'", "write 2G" },
		{ "box: a\nmemory: 2g\n", 2, 9, "unknown size suffix 'g' in '2g'", "write 2G" },
		{ "box: a\nmemory: 2048\n", 2, 9, "size '2048' has no unit", "2048M" },
		{ "box: a\nmemory: lots\n", 2, 9, "'lots' is not a size", "512M" },
		{ "box: a\nmemory: -1G\n", 2, 9, "'-1G' is not a size", NULL },
		{ "box: a\nmemory: 0\n", 2, 9, "size '0' is too small", "leave the key away" },
		{ "box: a\nmemory: 0G\n", 2, 9, "size '0G' is too small", "1K" },
		{ "box: a\nmemory: 99999999999999999999G\n", 2, 9,
		  "size '99999999999999999999G' is too large", "less" },
		{ "box: a\nmemory: [2G]\n", 2, 9, "'memory' wants a size, not a list",
		  "memory: 2G" },
		{ "box: a\nmemory:\n", 2, 8, "'memory' has no value", "memory: 2G" },
		{ "box: a\nmemory: 1G\nmemory_low: 2G\n", 3, 13,
		  "'memory_low' is more than 'memory'", NULL },
		{ "box: a\nboot_timeout: 5\n", 2, 15, "time '5' has no unit", "5s" },
		{ "box: a\nboot_timeout: 5x\n", 2, 15, "unknown time suffix 'x' in '5x'", "5s" },
		{ "box: a\nboot_timeout: soon\n", 2, 15, "'soon' is not a time", "30s" },
		{ "box: a\nboot_timeout: 9999h\n", 2, 15, "time '9999h' is too long", NULL },
		{ "box: a\nboot_timeout: 0s\n", 2, 15, "time '0s' is no time at all", NULL },
		{ "box: a\ncpus: two\n", 2, 7, "'two' is not a number", NULL },
		{ "box: a\ncpus: 0\n", 2, 7, "0 is out of range", "0.01 to 4096" },
		{ "box: a\npids: -1\n", 2, 7, "'-1' is not a whole number", NULL },
		{ "box: a\npids: 99999999999999999999\n", 2, 7,
		  "99999999999999999999 is out of range", NULL },
		{ "box: a\ncpu_weight: 10001\n", 2, 13, "10001 is out of range", "1 to 10000" },
		{ "box: a\ncpuset: 3-1\n", 2, 12, "invalid set of processors '3-1'", "0-1,4" },
		{ "box: a\ncpuset: 0,\n", 2, 11, "invalid set of processors '0,'", NULL },
		{ "box: a\nautostart: yes\n", 2, 12, "'autostart' cannot be 'yes'", "write true" },
		{ "box: a\nautostart: maybe\n", 2, 12, "'autostart' cannot be 'maybe'",
		  "true or false" },
		{ "box: a\nprovider: docker\n", 2, 11, "'provider' cannot be 'docker'",
		  "auto, container or kvm" },
		{ "box: a\nkvm: {sockets: 33}\n", 2, 16, "33 is out of range", NULL },
		{ "box: a\nkvm: {initrd: ./i}\n", 2, 6,
		  "'initrd' is for a kernel that is booted directly", "'kernel: ./vmlinuz'" },
		{ "box: a\nkvm: {cmdline: quiet}\n", 2, 6,
		  "'cmdline' is for a kernel that is booted directly", NULL },
		{ "box: a\nkvm: {kernel: ./k, firmware: ./f}\n", 2, 6,
		  "a kernel of its own needs no firmware", "'kernel' or 'firmware'" },
		{ "box: a\noom: frezee\n", 2, 6, "'oom' cannot be 'frezee'", "'freeze'" },
		{ "box: a\nversion: \"~> x\"\n", 2, 14, "invalid version constraint '~> x'", NULL },
		{ "box: a\nversion: 1..2\n", 2, 10, "invalid version constraint '1..2'", NULL },
		{ "box: a\nhostname: -a\n", 2, 11, "invalid host name '-a'", NULL },
		{ "box: a\nhostname: a..b\n", 2, 11, "invalid host name 'a..b'", NULL },
		{ "box: a\nuser: a b\n", 2, 7, "invalid user name 'a b'", NULL },
		{ "box: a\nname: My Shop\n", 2, 7, "invalid name 'My Shop'", NULL },
		{ "box: a b\n", 1, 6, "'a b' is not a box", NULL },
		{ "box: \"\"\n", 1, 6, "'' is not a box", NULL },
		{ "box:\n", 1, 5, "'box' has no value", "debian/12" },
		{ "memory: 2G\n", 1, 1, "there is no 'box'", "add 'box: debian/12'" },
	};

	(void)state;
	check_all_bad(cases);
}

static void unknown_keys_get_a_suggestion(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nmemroy: 2G\n", 2, 1, "unknown key 'memroy'", "did you mean 'memory'?" },
		{ "image: a\n", 1, 1, "unknown key 'image'", "'box'" },
		{ "box: a\ndepends_on: [db]\n", 2, 1, "unknown key 'depends_on'", "'needs'" },
		{ "box: a\nsubnet: 1\n", 2, 1, "unknown key 'subnet'", "for 'network'" },
		{ "box: a\nxyzzy: 1\n", 2, 1, "unknown key 'xyzzy'", "venv.yml(5)" },
		{ "box: a\n<<: {cpus: 1}\n", 2, 1, "unknown key '<<'", "top of the file" },
		{ "box: a\nready: {tpc: 1}\n", 2, 9, "unknown key 'tpc'", "'tcp'" },
		{ "box: a\nports: [{host: 1, gest: 2}]\n", 2, 19, "unknown key 'gest'", "'guest'" },
	};

	(void)state;
	check_all_bad(cases);
}

static void what_is_not_supported_yet_is_refused_by_name(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nnested: true\n", 2, 1, "'nested' is not supported yet", NULL },
		{ "box: a\ndevices: [gpu]\n", 2, 1, "'devices' is not supported yet", NULL },
		{ "box: a\ntriggers: [{before: halt, run: x}]\n", 2, 1,
		  "'triggers' is not supported yet", NULL },
		{ "box: a\nlibvirt: {uri: auto}\n", 2, 1, "'libvirt' is not supported yet", NULL },
		{ "box: a\nprovider: libvirt\n", 2, 11, "provider 'libvirt' is not supported yet",
		  "auto, container or kvm" },
		{ "box: a\nlibvirt: {}\n", 2, 1, "'libvirt' is not supported yet", NULL },
		{ "box: a\nmachines: {w: {libvirt: {}}}\n", 2, 16, "'libvirt' is not supported yet",
		  NULL },
		{ "box: a\nfolders: [.:/x:overlay]\n", 2, 16, "mode 'overlay' is not supported yet",
		  "rw or ro" },
		{ "box: a\nfolders: [{host: ., guest: /x, mode: copy}]\n", 2, 38,
		  "mode 'copy' is not supported yet", "rw or ro" },
		{ "box: a\nprovision: [{ansible: site.yml}]\n", 2, 14,
		  "'ansible' is not supported yet", NULL },
		{ "box: a\nnetworks: {b: {mode: hostonly}}\n", 2, 22,
		  "mode 'hostonly' is not supported yet", "nat or internal" },
		{ "box: a\nnetworks: {b: {mode: bridged, bridge: br0}}\n", 2, 22,
		  "mode 'bridged' is not supported yet", "nat or internal" },
		/* but what is wrong with them is said first */
		{ "box: a\nlibvirt: {urii: x}\n", 2, 11, "unknown key 'urii'", "'uri'" },
		{ "box: a\ntriggers: [{run: x}]\n", 2, 12,
		  "a trigger has neither 'before' nor 'after'", NULL },
	};

	(void)state;
	check_all_bad(cases);
	venv__spec_free(parse_good("box: a\nnested: false\ndevices: []\ntriggers: []\n"));
}

static void what_a_virtual_machine_boots_is_read(void **state)
{
	_cleanup_spec_ struct project_spec *spec =
		parse_good("box: a\nkvm: {kernel: k, initrd: /boot/i, cmdline: quiet}\n");
	const struct kvm_spec *kvm = &spec->machines[0].kvm;

	(void)state;
	assert_string_equal(kvm->kernel, DIR_OF_PROJECT "/k");
	assert_string_equal(kvm->initrd, "/boot/i");
	assert_string_equal(kvm->cmdline, "quiet");
	assert_string_equal(kvm->firmware, "auto");
	assert_int_equal(kvm->place.line, 2);
	/* of the two, the one outside the project */
	assert_int_equal(json_array_size(spec->approve), 1);
}

static void folders_are_read(void **state)
{
	_cleanup_spec_ struct project_spec *spec =
		parse_good("box: a\nfolders:\n  - ./data/:/srv/./data/\n  - /etc/x:y:/x:ro\n"
			   "  - { host: ../other, guest: /other, owner: web }\n");
	const struct folder_spec *folders = spec->machines[0].folders;

	(void)state;
	assert_int_equal(spec->machines[0].n_folders, 3);
	assert_string_equal(folders[0].host, DIR_OF_PROJECT "/data");
	assert_string_equal(folders[0].guest, "/srv/data");
	assert_false(folders[0].outside);
	assert_int_equal(folders[0].place.line, 3);
	assert_int_equal(folders[0].place.column, 5);
	assert_string_equal(folders[1].host, "/etc/x:y");
	assert_int_equal(folders[1].mode, FOLDER_RO);
	assert_true(folders[1].outside);
	assert_string_equal(folders[2].host, "/home/someone/other");
	assert_string_equal(folders[2].owner, "web");
	assert_true(folders[2].outside);
	assert_int_equal(json_array_size(spec->approve), 2);
}

static void bad_folders_and_volumes(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nfolders: .:/x\n", 2, 10, "'folders' wants a list, not text", NULL },
		{ "box: a\nfolders:\n", 2, 9, "'folders' has no value", NULL },
		{ "box: a\nfolders: [.]\n", 2, 11, "folder '.' does not say where in the machine",
		  "'.:/srv/data'" },
		{ "box: a\nfolders: [.:workspace]\n", 2, 13,
		  "path 'workspace' in the machine is not absolute", NULL },
		{ "box: a\nfolders: [.:/]\n", 2, 13, "'/' would hide the whole machine", NULL },
		{ "box: a\nfolders: [.:/a/..]\n", 2, 13, "'/' would hide the whole machine", NULL },
		{ "box: a\nfolders: [.:/proc/x]\n", 2, 13, "/proc belongs to the machine's kernel",
		  NULL },
		{ "box: a\nfolders: [.:/a, b:/a/]\n", 2, 17, "/a in the machine is used twice",
		  "line 2" },
		{ "box: a\nfolders: [':/a']\n", 2, 12, "'host' has no value", NULL },
		{ "box: a\nfolders: [~joe:/a]\n", 2, 11, "cannot tell where '~joe' is", NULL },
		{ "box: a\nfolders: [.:/x:rx]\n", 2, 16, "'mode' cannot be 'rx'", "'rw'" },
		{ "box: a\nfolders: [{guest: /x}]\n", 2, 11, "this folder has no 'host'", NULL },
		{ "box: a\nfolders: [{host: x}]\n", 2, 11, "this folder has no 'guest'", NULL },
		{ "box: a\nfolders: [[x]]\n", 2, 11,
		  "a folder is a map or HOST:GUEST[:MODE], not a list", NULL },
		{ "box: a\nvolumes: [x:/workspace]\n", 2, 11,
		  "/workspace in the machine is used twice", "usual folder" },
		{ "box: a\nvolumes: [./x:/y]\n", 2, 11, "'./x' is not the name of a volume",
		  "'folders'" },
		{ "box: a\nvolumes: [x]\n", 2, 11, "volume 'x' does not say where in the machine",
		  NULL },
		{ "box: a\nvolumes: [X:/y]\n", 2, 11, "invalid name 'X'", NULL },
		{ "box: a\nvolumes: {x: {size: 1G}}\n", 2, 15, "unknown key 'size'", NULL },
		{ "box: a\nmachines: {a: {volumes: [pgdta:/x]}}\nvolumes: {pgdata: }\n", 2, 26,
		  "there is no volume 'pgdta'", "'pgdata'" },
	};

	(void)state;
	check_all_bad(cases);
}

static void volumes_are_declared_or_implied(void **state)
{
	_cleanup_spec_ struct project_spec *implied =
		parse_good("box: a\nvolumes: [x:/x, y:/y/]\n");
	_cleanup_spec_ struct project_spec *declared =
		parse_good("box: a\nmachines: {a: {volumes: [x:/x]}}\nvolumes: {x: {}, z: }\n");

	(void)state;
	assert_int_equal(venv__strv_count(implied->volumes), 2);
	assert_string_equal(implied->machines[0].volumes[1].guest, "/y");
	assert_int_equal(venv__strv_count(declared->volumes), 2);
	assert_true(venv__strv_has(declared->volumes, "z"));
}

static void ports_are_read(void **state)
{
	_cleanup_spec_ struct project_spec *spec = parse_good(
		"box: a\nports:\n  - 2222:22\n  - 127.0.0.2:5000:5001\n  - \"[::1]:80:81\"\n"
		"  - 53:53/udp\n  - auto:90\n"
		"  - { host: 5353, guest: 53, protocol: udp, if_taken: next, name: dns }\n"
		"  - 0.0.0.0:8080:80\n");
	const struct port_spec *ports = spec->machines[0].ports;

	(void)state;
	assert_int_equal(spec->machines[0].n_ports, 7);
	assert_string_equal(ports[0].address, "127.0.0.1");
	assert_int_equal(ports[0].host, 2222);
	assert_int_equal(ports[0].guest, 22);
	assert_string_equal(ports[1].address, "127.0.0.2");
	assert_int_equal(ports[1].guest, 5001);
	assert_string_equal(ports[2].address, "::1");
	assert_int_equal(ports[2].host, 80);
	assert_int_equal(ports[3].protocol, PROTOCOL_UDP);
	assert_int_equal(ports[4].host, 0);
	assert_int_equal(ports[5].if_taken, TAKEN_NEXT);
	assert_string_equal(ports[5].name, "dns");
	assert_int_equal(json_array_size(spec->approve), 1); /* beyond loopback */
	assert_string_equal(venv__json_str(json_array_get(spec->approve, 0), "value"),
			    "0.0.0.0:8080:80/tcp");
}

static void bad_ports(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nports: 8080:80\n", 2, 8, "'ports' wants a list, not text", "[8080:80]" },
		{ "box: a\nports: [80]\n", 2, 9, "'80' is not a forwarded port", "8080:80" },
		{ "box: a\nports: [1:2:3:4]\n", 2, 9, "'1:2:3:4' is not a forwarded port", NULL },
		{ "box: a\nports: ['[::1:80:80']\n", 2, 9, "'[::1:80:80' is not a forwarded port",
		  NULL },
		{ "box: a\nports:\n  - 8080:99999\n", 3, 10, "'99999' is not a port", "65535" },
		{ "box: a\nports:\n  - 0:80\n", 3, 5, "'0' is not a port", "65535" },
		{ "box: a\nports:\n  - \"8080:\"\n", 3, 11, "'guest' has no value", NULL },
		{ "box: a\nports:\n  - \"8080:8x\"\n", 3, 11, "'8x' is not a port", NULL },
		{ "box: a\nports: [{host: 1, guest: auto}]\n", 2, 26, "'auto' is not a port",
		  NULL },
		{ "box: a\nports: [localhost:80:80]\n", 2, 9, "'localhost' is not an address",
		  "127.0.0.1" },
		{ "box: a\nports: [80:80/sctp]\n", 2, 15, "'protocol' cannot be 'sctp'",
		  "tcp or udp" },
		{ "box: a\nports: [{guest: 80}]\n", 2, 9, "this port has no 'host'", NULL },
		{ "box: a\nports: [8080:80, 8080:81]\n", 2, 18,
		  "port 8080 of the host is given to 'default' and, in line 2, to 'default'",
		  NULL },
		{ "box: a\nports: [8080:80]\nssh: {port: 8080}\n", 3, 6,
		  "port 8080 of the host is given to 'default' and, in line 2, to 'default'",
		  NULL },
		{ "machines:\n  web: {box: a, ports: [8080:80]}\n"
		  "  db: {box: a, ports: [0.0.0.0:8080:5432]}\n",
		  3, 24, "port 8080 of the host is given to 'db' and, in line 2, to 'web'",
		  "auto" },
		{ "box: a\nnetworks: []\nports: [8080:80]\n", 3, 9,
		  "a machine without a network cannot have ports", NULL },
		{ "box: a\nports: [{host: 1, guest: 1, name: x}, {host: 2, guest: 2, name: x}]\n",
		  2, 39, "two ports are called 'x'", NULL },
		{ "box: a\nports: [8080:80]\nmachines: {web: {}, db: {}}\n", 2, 1,
		  "'ports' cannot be a default for 2 machines: a port of the host leads to one of "
		  "them",
		  NULL },
	};

	(void)state;
	check_all_bad(cases);
	venv__spec_free(parse_good("box: a\nports: [53:53, 53:53/udp, 127.0.0.2:53:53]\n"));
	venv__spec_free(parse_good("box: a\nports: [8080:80, {host: 8080, guest: 81, "
				   "if_taken: next}]\n"));
	venv__spec_free(parse_good("box: a\nports: [8080:80]\nmachines: {web: {}}\n"));
}

static void networks_are_read(void **state)
{
	_cleanup_spec_ struct project_spec *spec = parse_good(
		"box: a\nmachines:\n  a:\n    networks: [{ name: backend, address: 192.168.56.10 }]\n"
		"  b:\n    networks: []\n"
		"networks:\n  backend: { subnet: 192.168.56.0/24, mode: internal }\n  other:\n");
	const struct machine_spec *machine = venv__spec_machine(spec, "a");

	(void)state;
	assert_int_equal(machine->n_networks, 2);
	assert_string_equal(machine->networks[0].name, "project");
	assert_string_equal(machine->networks[1].name, "backend");
	assert_string_equal(machine->networks[1].address, "192.168.56.10");
	assert_int_equal(venv__spec_machine(spec, "b")->n_networks, 0);
	assert_int_equal(spec->n_networks, 2);
	assert_int_equal(venv__spec_network(spec, "backend")->mode, NETWORK_INTERNAL);
	assert_string_equal(venv__spec_network(spec, "backend")->subnet, "192.168.56.0/24");
	assert_int_equal(venv__spec_network(spec, "other")->mode, NETWORK_NAT);
	assert_null(venv__spec_network(spec, "nope"));
}

static void bad_networks(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nnetworks: [backend]\n", 2, 12, "there is no network 'backend'", NULL },
		{ "box: a\nmachines: {a: {networks: [bakcend]}}\nnetworks: {backend: {}}\n", 2, 27,
		  "there is no network 'bakcend'", "'backend'" },
		{ "box: a\nmachines: {a: {networks: [{name: b, address: 10.0.0.1}]}}\n"
		  "networks: {b: {subnet: 192.168.56.0/24}}\n",
		  2, 27, "10.0.0.1 is not in 192.168.56.0/24, network 'b'", NULL },
		{ "box: a\nmachines: {a: {networks: [{name: b, address: 10.0.0.9}]}}\n"
		  "networks: {b: {}}\n",
		  2, 27, "network 'b' has no subnet to take 10.0.0.9 from", "subnet" },
		{ "box: a\nnetworks: [{name: project, address: 10.0.0.9}]\n", 2, 12,
		  "network 'project' has no subnet to take 10.0.0.9 from", "subnet" },
		{ "box: a\nmachines: {a: {networks: [{name: b, address: 192.168.56.1}]}}\n"
		  "networks: {b: {subnet: 192.168.56.0/24}}\n",
		  2, 27, "192.168.56.1 is the gateway of network 'b'", NULL },
		{ "box: a\nmachines: {a: {networks: [{name: b, address: 192.168.56.255}]}}\n"
		  "networks: {b: {subnet: 192.168.56.0/24}}\n",
		  2, 27, "192.168.56.255 is the broadcast address of network 'b'", NULL },
		{ "box: a\nmachines:\n  a: {networks: [{name: b, address: 10.1.0.9}]}\n"
		  "  b: {networks: [{name: b, address: 10.1.0.9}]}\n"
		  "networks: {b: {subnet: 10.1.0.0/16}}\n",
		  4, 18, "address 10.1.0.9 is given to 'b' and, in line 3, to 'a'", NULL },
		{ "box: a\nnetworks: [{name: project, address: 300.1.1.1}]\n", 2, 37,
		  "'300.1.1.1' is not an IPv4 address", NULL },
		{ "box: a\nnetworks: [project, project]\n", 2, 21,
		  "network 'project' is named twice", NULL },
		{ "box: a\nnetworks: {b: {subnet: 192.168.56.1/24}}\n", 2, 24,
		  "'192.168.56.1/24' is an address within a subnet", "write 192.168.56.0/24" },
		{ "box: a\nnetworks: {b: {subnet: 192.168.56.0}}\n", 2, 24,
		  "'192.168.56.0' is not a subnet", NULL },
		{ "box: a\nnetworks: {b: {subnet: 10.0.0.0/31}}\n", 2, 24,
		  "a subnet with prefix /31 is too small", NULL },
		{ "box: a\nnetworks: {b: {subnet: 0.0.0.0/0}}\n", 2, 24,
		  "a subnet with prefix /0 is too large", NULL },
		{ "box: a\nnetworks: {b: {subnet: 127.0.0.0/8}}\n", 2, 24,
		  "subnet '127.0.0.0/8' is this host's own", NULL },
		{ "box: a\nnetworks: {b: {subnet: 10.0.0.0/8}, c: {subnet: 10.1.0.0/16}}\n", 2, 37,
		  "network 'c' overlaps 'b'", NULL },
		{ "box: a\nnetworks: {b: {bridge: br0}}\n", 2, 24,
		  "'bridge' goes with 'mode: bridged'", NULL },
		{ "box: a\nnetworks: {B: {}}\n", 2, 12, "invalid network name 'B'", NULL },
		{ "box: a\nnetworks: backend\n", 2, 11, "'networks' wants a map, not text", NULL },
	};

	(void)state;
	check_all_bad(cases);
}

static void steps_are_read(void **state)
{
	_cleanup_spec_ struct project_spec *spec = parse_good(
		"box: a\nprovision:\n  - name: packages\n    run: |\n      one\n      two\n"
		"  - { script: setup.sh, args: [--fast, 'a b'], as: web, when: always }\n"
		"  - { copy: site.conf, to: /etc/site.conf, mode: \"0644\", owner: root }\n"
		"  - { copy: ~/.ssh/id_rsa, to: /root/key }\n"
		"  - { reboot: true }\n");
	const struct step_spec *steps = spec->machines[0].steps;

	(void)state;
	assert_int_equal(spec->machines[0].n_steps, 5);
	assert_int_equal(steps[0].kind, STEP_RUN);
	assert_string_equal(steps[0].name, "packages");
	assert_string_equal(steps[0].run, "one\ntwo\n");
	assert_int_equal(steps[0].when, WHEN_ONCE);
	assert_int_equal(steps[1].kind, STEP_SCRIPT);
	assert_string_equal(steps[1].script, DIR_OF_PROJECT "/setup.sh");
	assert_string_equal(steps[1].args[1], "a b");
	assert_string_equal(steps[1].as, "web");
	assert_int_equal(steps[1].when, WHEN_ALWAYS);
	assert_int_equal(steps[2].kind, STEP_COPY);
	assert_string_equal(steps[2].copy_from, DIR_OF_PROJECT "/site.conf");
	assert_string_equal(steps[2].copy_to, "/etc/site.conf");
	assert_string_equal(steps[2].mode, "0644");
	assert_false(steps[2].outside);
	assert_true(steps[3].outside); /* it would carry a file of the host into the machine */
	assert_int_equal(json_array_size(spec->approve), 1);
	assert_int_equal(steps[4].kind, STEP_REBOOT);
}

static void bad_steps_and_conditions(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nprovision: [apt-get update]\n", 2, 13, "a step is a map, not text",
		  "run:" },
		{ "box: a\nprovision: [{name: x}]\n", 2, 13, "a step does nothing", NULL },
		{ "box: a\nprovision: [{run: x, script: y}]\n", 2, 22,
		  "a step has both 'run' and 'script'", NULL },
		{ "box: a\nprovision: [{run: x, to: /y}]\n", 2, 22, "'to' does not go with 'run'",
		  NULL },
		{ "box: a\nprovision: [{copy: x}]\n", 2, 13, "'copy' does not say where to",
		  "'to'" },
		{ "box: a\nprovision: [{copy: x, to: y}]\n", 2, 27,
		  "path 'y' in the machine is not absolute", NULL },
		{ "box: a\nprovision: [{copy: x, to: /y, mode: 999}]\n", 2, 37,
		  "'999' is not a file mode", "0644" },
		{ "box: a\nprovision: [{script: x, args: --fast}]\n", 2, 31,
		  "'args' wants a list, not text", NULL },
		{ "box: a\nprovision: [{script: x, args: [[1]]}]\n", 2, 32,
		  "an item of 'args' is text, not a list", NULL },
		{ "box: a\nprovision: [{reboot: false}]\n", 2, 22, "'reboot: false' does nothing",
		  NULL },
		{ "box: a\nprovision: [{run: x, when: sometimes}]\n", 2, 28,
		  "'when' cannot be 'sometimes'", "once, always or never" },
		{ "box: a\nready: {}\n", 2, 8, "'ready' has neither 'run' nor 'tcp'", NULL },
		{ "box: a\nready: {run: a, tcp: 5}\n", 2, 8, "'ready' has both 'run' and 'tcp'",
		  NULL },
		{ "box: a\nready: {tcp: 0}\n", 2, 14, "'0' is not a port", NULL },
		{ "box: a\nready: {tcp: 5, every: 5}\n", 2, 24, "time '5' has no unit", "5s" },
		{ "box: a\nready: {tcp: 5, every: 5m}\n", 2, 8, "'every' is longer than 'within'",
		  NULL },
		{ "box: a\nready: true\n", 2, 8, "a ready is a map, not text", NULL },
	};

	(void)state;
	check_all_bad(cases);
}

static void environment_is_read(void **state)
{
	_cleanup_spec_ struct project_spec *spec =
		parse_good("box: a\nenv: { A: b c, EMPTY: , _X1: \"true\" }\n");
	static const struct bad cases[] = {
		{ "box: a\nenv: [A=1]\n", 2, 6, "'env' wants a map, not a list",
		  "{ APP_ENV: dev }" },
		{ "box: a\nenv: {1A: 2}\n", 2, 7, "invalid variable name '1A'", NULL },
		{ "box: a\nenv: {A-B: 2}\n", 2, 7, "invalid variable name 'A-B'", NULL },
		{ "box: a\nenv: {A: [1]}\n", 2, 10, "variable 'A' is text, not a list", NULL },
		{ "box: a\nenv_file: nope\n", 2, 11,
		  "cannot read '" DIR_OF_PROJECT "/nope': No such file or directory", NULL },
		{ "box: a\nenv_file: /dev/zero\n", 2, 11, "'/dev/zero' is not a file", NULL },
	};

	(void)state;
	assert_string_equal(venv__env_get(spec->machines[0].env, "A"), "b c");
	assert_string_equal(venv__env_get(spec->machines[0].env, "EMPTY"), "");
	assert_string_equal(venv__env_get(spec->machines[0].env, "_X1"), "true");
	check_all_bad(cases);
}

static void what_reaches_the_host_is_collected(void **state)
{
	static const struct {
		const char *key, *value;
		int line;
	} expected[] = {
		{ "folders", "/etc:/x:ro", 4 },
		{ "ports", "[::]:80:80/tcp", 5 },
		{ "host_access", "true", 6 },
		{ "provision", "/etc/passwd", 7 },
	};
	_cleanup_spec_ struct project_spec *spec =
		parse_good("box: a\nmachines:\n  web:\n    folders: [/etc:/x:ro, ./y:/y]\n"
			   "    ports: [\"[::]:80:80\", 81:81]\n    host_access: true\n"
			   "    provision: [{script: /etc/passwd}, {script: x}]\n"
			   "    ssh: {extra_keys: [~/.ssh/id.pub]}\n");

	(void)state;
	assert_int_equal(json_array_size(spec->approve), ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const json_t *entry = json_array_get(spec->approve, i);

		assert_string_equal(venv__json_str(entry, "machine"), "web");
		assert_string_equal(venv__json_str(entry, "key"), expected[i].key);
		assert_string_equal(venv__json_str(entry, "value"), expected[i].value);
		assert_int_equal(venv__json_int(entry, "line", 0), expected[i].line);
	}
}

static void variables_and_the_agent_are_collected(void **state)
{
	static const struct {
		const char *machine, *key;
		int line, column;
	} expected[] = {
		{ NULL, "${VENV_TEST_A}", 1, 8 },     { "web", "${VENV_TEST_A}", 2, 17 },
		{ "web", "${VENV_TEST_B}", 5, 19 },   { "db", "${VENV_TEST_A}", 2, 17 },
		{ "db", "ssh.forward_agent", 6, 33 },
	};
	static const char *const set[] = { "ssh.forward_agent=true", "env.X=${VENV_TEST_B}", NULL };
	_cleanup_spec_ struct project_spec *spec = NULL, *other = NULL;
	_cleanup_free_ char *all = NULL;

	(void)state;
	assert_int_equal(setenv("VENV_TEST_A", "sesame", 1) | setenv("VENV_TEST_B", "sesame", 1) |
				 setenv("VENV_TEST_EMPTY", "", 1) | unsetenv("VENV_TEST_NONE"),
			 0);
	spec = parse_good("name: x${VENV_TEST_A}\n"
			  "env: { A: \"1    ${VENV_TEST_A} ${VENV_TEST_A}\" }\n"
			  "box: a\nmachines:\n"
			  "  web: { env: {B: \"${VENV_TEST_B}${VENV_TEST_EMPTY:-x}\"} }\n"
			  "  db: { ssh: { forward_agent:   true } }\n");
	assert_int_equal(json_array_size(spec->approve), ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const json_t *entry = json_array_get(spec->approve, i);
		const char *machine = venv__json_str(entry, "machine");

		assert_string_equal(machine ? machine : "-",
				    expected[i].machine ? expected[i].machine : "-");
		assert_string_equal(venv__json_str(entry, "key"), expected[i].key);
		assert_int_equal(venv__json_int(entry, "line", 0), expected[i].line);
		assert_int_equal(venv__json_int(entry, "column", 0), expected[i].column);
	}
	all = json_dumps(spec->approve, 0);
	assert_null(strstr(all, "sesame"));
	/* the command line is the user's own word */
	assert_int_equal(parse_text("box: a\n", set, &other, NULL), 0);
	assert_true(other->machines[0].ssh.forward_agent);
	assert_int_equal(json_array_size(other->approve), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(smallest_file_has_all_defaults),
		cmocka_unit_test(limits_are_read),
		cmocka_unit_test(bad_values_name_their_place),
		cmocka_unit_test(unknown_keys_get_a_suggestion),
		cmocka_unit_test(what_is_not_supported_yet_is_refused_by_name),
		cmocka_unit_test(what_a_virtual_machine_boots_is_read),
		cmocka_unit_test(what_a_virtual_machine_boots_is_read),
		cmocka_unit_test(folders_are_read),
		cmocka_unit_test(bad_folders_and_volumes),
		cmocka_unit_test(volumes_are_declared_or_implied),
		cmocka_unit_test(ports_are_read),
		cmocka_unit_test(bad_ports),
		cmocka_unit_test(networks_are_read),
		cmocka_unit_test(bad_networks),
		cmocka_unit_test(steps_are_read),
		cmocka_unit_test(bad_steps_and_conditions),
		cmocka_unit_test(environment_is_read),
		cmocka_unit_test(what_reaches_the_host_is_collected),
		cmocka_unit_test(variables_and_the_agent_are_collected),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
