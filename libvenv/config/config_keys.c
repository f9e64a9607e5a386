/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of venv.yml. To add one: a member in spec.h and a row here; reading, defaults, --set,
 * the schema, `venv config keys`, venv.yml(5), suggestions, spec.json and `venv plan` follow from
 * it.
 */
#include "forms.h"

/*
 * key, type, struct and member that it fills, default as in venv.yml, example, since, what it
 * means
 */
#define KEY(name_, type_, struct_, member_, default_, example_, since_, doc_, ...)                 \
	{                                                                                          \
		.name = name_, .type = &venv__type_##type_,                                        \
		.offset = offsetof(struct struct_, member_), .otherwise = default_,                \
		.example = example_, .since = since_, .doc = doc_, __VA_ARGS__                     \
	}
/* A key that load.c reads by itself. */
#define DOCUMENTED(name_, type_, since_, doc_, ...)                                                \
	{                                                                                          \
		.name = name_, .type = &venv__type_##type_, .since = since_, .doc = doc_,          \
		__VA_ARGS__                                                                        \
	}
/* The words of a choice, in the order of its enum. */
#define WORDS(...) ((const struct choice[]){ __VA_ARGS__, { 0 } })
#define WORD(name_)                                                                                \
	{                                                                                          \
		name_, false                                                                       \
	}
#define LATER(name_)                                                                               \
	{                                                                                          \
		name_, true                                                                        \
	}
#define SECTION(name_, keys_, struct_, example_, doc_)                                             \
	.name = name_, .doc = doc_, .keys = keys_, .size = sizeof(struct struct_),                 \
	.example = example_

static const struct section section_folder, section_volume, section_port, section_nic,
	section_ready, section_step, section_trigger, section_ssh, section_kvm, section_libvirt;

static const struct key project_keys[] = {
	KEY("name", text, project_spec, name, NULL, "shop", "0.1",
	    "name of the project; default: the directory's name", .check = venv__check_name),
	DOCUMENTED("machines", machines, "0.1",
		   "the machines by name; without it, the keys of one machine, called 'default', "
		   "stand at the top of the file; beside it, they are defaults for all machines",
		   .section = &venv__section_machine),
	DOCUMENTED("networks", networks, "0.1",
		   "networks of the project by name, beside 'project', which is always there",
		   .section = &venv__section_network),
	DOCUMENTED("volumes", volume_names, "0.1",
		   "names of the volumes; where this is given, machines may use no others"),
	{ 0 },
};

static const struct key machine_keys[] = {
	KEY("box", text, machine_spec, box, NULL, "debian/12", "0.1",
	    "what the machine starts from: a name (debian/12, debian/12@1), a path "
	    "beginning with '/', './', '../' or '~/'; docker://HOST/REPOSITORY:TAG is not "
	    "supported yet",
	    .place = offsetof(struct machine_spec, box_place), .flags = KEY_MADE),
	KEY("version", text, machine_spec, version, NULL, "\"~> 12.5\"", "0.1",
	    "versions of the box that will do, as RubyGems writes them",
	    .check = venv__check_constraint, .place = offsetof(struct machine_spec, version_place),
	    .flags = KEY_MADE),
	KEY("architecture", choice_text, machine_spec, architecture, "auto", "amd64", "0.1",
	    "architecture of the box; auto: this host's",
	    .choices = WORDS(WORD("auto"), WORD("amd64"), WORD("arm64"), WORD("i386"),
			     WORD("armhf"), WORD("ppc64el"), WORD("riscv64"), WORD("s390x")),
	    .place = offsetof(struct machine_spec, architecture_place), .flags = KEY_MADE),
	KEY("provider", choice_text, machine_spec, provider, "auto", "container", "0.1",
	    "what runs the machine: a container, or a virtual machine (kvm); auto: the first that "
	    "accepts box and host; libvirt is not supported yet",
	    .choices = WORDS(WORD("auto"), WORD("container"), WORD("kvm"), LATER("libvirt")),
	    .place = offsetof(struct machine_spec, provider_place), .flags = KEY_MADE),
	KEY("command", choice, machine_spec, command, "none", "image", "0.1",
	    "image: start the image's own entrypoint as a service beside the ssh access",
	    .choices = WORDS(WORD("none"), WORD("image"))),
	KEY("primary", boolean, machine_spec, primary, "false", "true", "0.1",
	    "the machine that commands without a name mean; default: the only one, or "
	    "'default'",
	    .place = offsetof(struct machine_spec, primary_place), .flags = KEY_LIVE),
	KEY("autostart", boolean, machine_spec, autostart, "true", "false", "0.1",
	    "false: 'venv up' starts it only when it is named or needed", .flags = KEY_LIVE),
	KEY("hostname", text, machine_spec, hostname, NULL, "web", "0.1",
	    "host name in the machine; default: the machine's name", .check = venv__check_hostname),
	KEY("cpus", decimal, machine_spec, cpus, NULL, "2", "0.1",
	    "processors that it may use, also a part of one; virtual machine: how many it has, 32 at "
	    "most; default: all",
	    .max = 4096, .place = offsetof(struct machine_spec, cpus_place), .flags = KEY_LIVE),
	KEY("memory", size, machine_spec, memory, NULL, "2G", "0.1",
	    "virtual machine: its memory (default 2G); container: hard limit (default none)",
	    .flags = KEY_LIVE),
	KEY("memory_low", size, machine_spec, memory_low, NULL, "512M", "0.1",
	    "memory that is protected when the host runs short", .flags = KEY_LIVE),
	KEY("cpu_weight", count, machine_spec, cpu_weight, NULL, "100", "0.1",
	    "share of processor time against others (100 is usual)", .min = 1, .max = 10000,
	    .flags = KEY_LIVE),
	KEY("cpuset", text, machine_spec, cpuset, NULL, "0-1", "0.1",
	    "the host's processors that it may use", .check = venv__check_cpuset,
	    .flags = KEY_LIVE),
	KEY("io_weight", count, machine_spec, io_weight, NULL, "100", "0.1",
	    "share of disk bandwidth against others (100 is usual)", .min = 1, .max = 10000,
	    .flags = KEY_LIVE),
	KEY("pids", count, machine_spec, pids, NULL, "4096", "0.1",
	    "processes and threads that it may have; default: no limit of its own", .min = 1,
	    .max = 4194304, .flags = KEY_LIVE),
	KEY("oom", choice, machine_spec, oom, "kill", "freeze", "0.1",
	    "when memory runs out: kill a process, or freeze the machine until the limit "
	    "is raised",
	    .choices = WORDS(WORD("kill"), WORD("freeze")), .flags = KEY_LIVE),
	KEY("disk", size, machine_spec, disk, NULL, "20G", "0.1",
	    "grow the root disk and its file system to this; not for containers",
	    .place = offsetof(struct machine_spec, disk_place)),
	KEY("init", choice, machine_spec, init, "auto", "systemd", "0.1",
	    "what runs as its first process: systemd, the image's entrypoint, or none "
	    "but venv's own; auto: what the image starts when that is an init",
	    .choices = WORDS(WORD("auto"), WORD("systemd"), WORD("image"), WORD("none"))),
	KEY("profile", choice, machine_spec, profile, "dev", "app", "0.1",
	    "container: dev is a whole system, app is strict",
	    .choices = WORDS(WORD("dev"), WORD("app"))),
	KEY("nested", boolean, machine_spec, nested, "false", "false", "0.1",
	    "container: it may run containers itself", .flags = KEY_UNSUPPORTED),
	KEY("devices", texts, machine_spec, devices, NULL, "[/dev/kvm, gpu]", "0.1",
	    "devices of the host that it may use", .flags = KEY_UNSUPPORTED | KEY_HOST),
	KEY("user", text, machine_spec, user, NULL, "vagrant", "0.1",
	    "who logs in; default: the box's user, else root; a step may make this user, see "
	    "Provisioning",
	    .check = venv__check_user),
	KEY("folders", list, machine_spec, folders, "[.:/workspace]", "[.:/workspace]", "0.1",
	    "directories of the host that it shares; [] for none; outside the project: "
	    "wants approval",
	    .count = offsetof(struct machine_spec, n_folders), .section = &section_folder,
	    .flags = KEY_HOST),
	KEY("volumes", list, machine_spec, volumes, NULL, "[data:/var/lib/data]", "0.1",
	    "named volumes, which survive 'venv destroy'",
	    .count = offsetof(struct machine_spec, n_volumes), .section = &section_volume),
	KEY("ports", list, machine_spec, ports, NULL, "[8080:80]", "0.1",
	    "ports of the host that lead to ports of the machine; beyond loopback: wants "
	    "approval",
	    .count = offsetof(struct machine_spec, n_ports), .section = &section_port,
	    .flags = KEY_HOST),
	KEY("networks", list, machine_spec, networks, "[project]",
	    "[project, { name: backend, address: 192.168.56.10 }]", "0.1",
	    "networks that it is in; 'project' is always one of them; [] for no network at "
	    "all",
	    .count = offsetof(struct machine_spec, n_networks), .section = &section_nic),
	KEY("host_access", boolean, machine_spec, host_access, "false", "true", "0.1",
	    "it may reach the host's loopback as host.venv.internal; wants approval",
	    .place = offsetof(struct machine_spec, host_access_place), .flags = KEY_HOST),
	KEY("needs", needs, machine_spec, needs, NULL, "{ db: ready }", "0.1",
	    "machines that must be up before this one, and how far",
	    .choices = WORDS(WORD("started"), WORD("ready"), WORD("provisioned")),
	    .flags = KEY_LIVE),
	KEY("ready", object, machine_spec, ready, NULL, "{ tcp: 5432 }", "0.1",
	    "how to tell that it is ready", .section = &section_ready, .flags = KEY_LIVE),
	KEY("env", env, machine_spec, env, NULL, "{ APP_ENV: dev }", "0.1",
	    "environment of its processes, steps and sessions"),
	KEY("env_file", env_file, machine_spec, env_file, NULL, ".env", "0.1",
	    "file of NAME=value lines; 'env' wins; outside the project: wants approval",
	    .place = offsetof(struct machine_spec, env_file_place), .flags = KEY_HOST),
	KEY("provision", list, machine_spec, steps, NULL, "[{ run: apt-get update }]", "0.1",
	    "steps that make the machine what it shall be, in order; files from outside "
	    "the project want approval",
	    .count = offsetof(struct machine_spec, n_steps), .section = &section_step,
	    .flags = KEY_LIVE | KEY_HOST),
	KEY("triggers", list, machine_spec, triggers, NULL, "[{ before: halt, run: ./dump.sh }]",
	    "0.1", "commands before and after venv's own; where: host wants approval",
	    .count = offsetof(struct machine_spec, n_triggers), .section = &section_trigger,
	    .flags = KEY_LIVE | KEY_HOST | KEY_UNSUPPORTED),
	KEY("ssh", object, machine_spec, ssh, NULL, "{ forward_agent: true }", "0.1",
	    "how ssh reaches it; forward_agent wants approval", .section = &section_ssh,
	    .flags = KEY_HOST),
	KEY("boot_timeout", time, machine_spec, boot_timeout_ms, "5m", "5m", "0.1",
	    "how long a start may take", .flags = KEY_LIVE),
	KEY("stop_timeout", time, machine_spec, stop_timeout_ms, "60s", "60s", "0.1",
	    "how long a clean stop may take before it is stopped by force", .flags = KEY_LIVE),
	KEY("kvm", object, machine_spec, kvm, NULL, "{ firmware: auto }", "0.1",
	    "only for provider kvm: what it boots; files outside the project want approval",
	    .section = &section_kvm, .flags = KEY_HOST),
	KEY("libvirt", object, machine_spec, libvirt, NULL, "{ uri: auto }", "0.1",
	    "only for provider libvirt", .section = &section_libvirt,
	    .flags = KEY_UNSUPPORTED | KEY_HOST),
	{ 0 },
};

static const struct key folder_keys[] = {
	KEY("host", host_path, folder_spec, host, NULL, "./data", "0.1",
	    "directory on the host, relative to the file, with ~ for your home",
	    .flags = KEY_REQUIRED),
	KEY("guest", text, folder_spec, guest, NULL, "/srv/data", "0.1",
	    "absolute path in the machine", .check = venv__check_guest_path, .flags = KEY_REQUIRED),
	KEY("mode", choice, folder_spec, mode, "rw", "ro", "0.1",
	    "rw or ro; overlay (writes stay aside) and copy are not supported yet",
	    .choices = WORDS(WORD("rw"), WORD("ro"), LATER("overlay"), LATER("copy"))),
	KEY("owner", text, folder_spec, owner, NULL, "root", "0.1",
	    "user in the machine whose files are yours on the host; default: who logs in",
	    .check = venv__check_user),
	{ 0 },
};
static const struct section section_folder = {
	SECTION("folder", folder_keys, folder_spec, "{ host: ./data, guest: /srv/data }",
		"A directory of the host in the machine."),
	.place = offsetof(struct folder_spec, place),
	.expand = venv__folder_expand,
	.short_doc = "HOST:GUEST[:MODE]",
	.finish = venv__folder_finish,
};

static const struct key volume_keys[] = {
	KEY("name", text, volume_spec, name, NULL, "data", "0.1", "name of the volume",
	    .check = venv__check_name, .flags = KEY_REQUIRED),
	KEY("guest", text, volume_spec, guest, NULL, "/var/lib/data", "0.1",
	    "absolute path in the machine", .check = venv__check_guest_path, .flags = KEY_REQUIRED),
	{ 0 },
};
static const struct section section_volume = {
	SECTION("volume", volume_keys, volume_spec, "data:/var/lib/data",
		"A directory that survives the machine."),
	.place = offsetof(struct volume_spec, place),
	.expand = venv__volume_expand,
	.short_doc = "NAME:GUEST",
	.finish = venv__volume_finish,
};

static const struct key port_keys[] = {
	KEY("address", text, port_spec, address, "127.0.0.1", "127.0.0.1", "0.1",
	    "address of the host; beyond loopback: wants approval", .check = venv__check_address),
	KEY("host", port, port_spec, host, NULL, "8080", "0.1",
	    "port of the host; auto: a free one", .flags = KEY_REQUIRED),
	KEY("guest", port, port_spec, guest, NULL, "80", "0.1", "port of the machine", .min = 1,
	    .flags = KEY_REQUIRED),
	KEY("protocol", choice, port_spec, protocol, "tcp", "udp", "0.1", "tcp or udp",
	    .choices = WORDS(WORD("tcp"), WORD("udp"))),
	KEY("if_taken", choice, port_spec, if_taken, "fail", "next", "0.1",
	    "when the host's port is taken: fail, or take the next free one",
	    .choices = WORDS(WORD("fail"), WORD("next"))),
	KEY("name", text, port_spec, name, NULL, "debug", "0.1", "what 'venv port' calls it",
	    .check = venv__check_name),
	{ 0 },
};
static const struct section section_port = {
	SECTION("port", port_keys, port_spec, "{ host: 8080, guest: 80 }", "A forwarded port."),
	.place = offsetof(struct port_spec, place),
	.expand = venv__port_expand,
	.short_doc = "[ADDRESS:]HOST:GUEST[/PROTOCOL]",
};

static const struct key nic_keys[] = {
	KEY("name", text, net_use, name, NULL, "backend", "0.1",
	    "'project', or one of the project's networks", .check = venv__check_name,
	    .flags = KEY_REQUIRED),
	KEY("address", text, net_use, address, NULL, "192.168.56.10", "0.1",
	    "address in the network's subnet; default: a free one", .check = venv__check_ipv4),
	{ 0 },
};
static const struct section section_nic = {
	SECTION("nic", nic_keys, net_use, "{ name: backend, address: 192.168.56.10 }",
		"A network that the machine is in."),
	.place = offsetof(struct net_use, place),
	.expand = venv__nic_expand,
	.short_doc = "NAME",
};

static const struct key ready_keys[] = {
	KEY("run", text, ready_spec, run, NULL, "curl -fs localhost", "0.1",
	    "shell command in the machine: it is ready when this succeeds"),
	KEY("tcp", port, ready_spec, tcp, NULL, "5432", "0.1",
	    "port of the machine: it is ready when this accepts connections", .min = 1),
	KEY("every", time, ready_spec, every_ms, "1s", "1s", "0.1", "time between two attempts"),
	KEY("within", time, ready_spec, within_ms, "60s", "60s", "0.1", "give up after this"),
	{ 0 },
};
static const struct section section_ready = {
	SECTION("ready", ready_keys, ready_spec, "ready: { tcp: 5432, every: 1s, within: 60s }",
		"How to tell that a machine is ready: one of 'run' and 'tcp'."),
	.place = offsetof(struct ready_spec, place),
	.finish = venv__ready_finish,
};

static const struct key step_keys[] = {
	KEY("name", text, step_spec, name, NULL, "packages", "0.1", "what messages call the step"),
	KEY("run", text, step_spec, run, NULL, "apt-get update", "0.1",
	    "shell text to run in the machine"),
	KEY("script", host_path, step_spec, script, NULL, "setup.sh", "0.1",
	    "file on the host to run in the machine"),
	KEY("args", texts, step_spec, args, NULL, "[--fast]", "0.1", "arguments of the script"),
	KEY("copy", host_path, step_spec, copy_from, NULL, "site.conf, to: /etc/site.conf", "0.1",
	    "file or directory on the host to copy"),
	KEY("to", text, step_spec, copy_to, NULL, "/etc/site.conf", "0.1",
	    "absolute path in the machine to copy to", .check = venv__check_guest_path),
	KEY("mode", text, step_spec, mode, NULL, "\"0644\"", "0.1", "mode of the copied file",
	    .check = venv__check_mode),
	KEY("owner", text, step_spec, owner, NULL, "root", "0.1", "owner of the copied file",
	    .check = venv__check_user),
	KEY("ansible", host_path, step_spec, ansible, NULL, "site.yml", "0.1",
	    "playbook on the host to run", .flags = KEY_UNSUPPORTED),
	KEY("reboot", boolean, step_spec, reboot, NULL, "true", "0.1",
	    "true: start the machine again, then go on"),
	KEY("as", text, step_spec, as, NULL, "web", "0.1",
	    "user in the machine who runs it; default: root", .check = venv__check_user),
	KEY("when", choice, step_spec, when, "once", "always", "0.1",
	    "once: until it has succeeded with this content; always: at every 'venv up'; "
	    "never: not by itself",
	    .choices = WORDS(WORD("once"), WORD("always"), WORD("never"))),
	{ 0 },
};
static const struct section section_step = {
	SECTION("step", step_keys, step_spec, "{ name: packages, run: apt-get install -y nginx }",
		"A provisioning step: one of 'run', 'script', 'copy', 'ansible', 'reboot'."),
	.place = offsetof(struct step_spec, place),
	.finish = venv__step_finish,
};

static const struct key trigger_keys[] = {
	KEY("before", text, trigger_spec, before, NULL, "halt", "0.1",
	    "the command of venv before which it runs"),
	KEY("after", text, trigger_spec, after, NULL, "up", "0.1",
	    "the command of venv after which it runs"),
	KEY("run", text, trigger_spec, run, NULL, "./dump.sh", "0.1", "shell text",
	    .flags = KEY_REQUIRED),
	KEY("where", choice, trigger_spec, where, "machine", "host", "0.1",
	    "where it runs; host wants approval", .choices = WORDS(WORD("machine"), WORD("host")),
	    .flags = KEY_HOST),
	KEY("if_fails", choice, trigger_spec, if_fails, "stop", "stop", "0.1",
	    "stop the command, or go on", .choices = WORDS(WORD("stop"), WORD("continue"))),
	{ 0 },
};
static const struct section section_trigger = {
	SECTION("trigger", trigger_keys, trigger_spec, "{ before: halt, run: ./dump.sh }",
		"A command before or after one of venv's."),
	.place = offsetof(struct trigger_spec, place),
	.finish = venv__trigger_finish,
};

static const struct key ssh_keys[] = {
	KEY("forward_agent", boolean, ssh_spec, forward_agent, "false", "true", "0.1",
	    "let the machine use your ssh agent; wants approval",
	    .place = offsetof(struct ssh_spec, forward_agent_place), .flags = KEY_HOST),
	KEY("port", port, ssh_spec, port, "auto", "2222", "0.1",
	    "port of the host's loopback; auto: a free one"),
	KEY("extra_keys", host_paths, ssh_spec, extra_keys, NULL, "[~/.ssh/id_ed25519.pub]", "0.1",
	    "files of public keys that may log in as well",
	    .place = offsetof(struct ssh_spec, extra_keys_place)),
	{ 0 },
};
static const struct section section_ssh = {
	SECTION("ssh", ssh_keys, ssh_spec, "ssh: { forward_agent: true }",
		"How ssh reaches the machine."),
	.place = offsetof(struct ssh_spec, place),
};

static const struct key kvm_keys[] = {
	KEY("kernel", host_path_or_auto, kvm_spec, kernel, "auto", "./vmlinuz", "0.1",
	    "file of a kernel to boot directly; auto: what the disk's boot loader "
	    "starts; for a box of a root file system, that of the box kernel/debian-12",
	    .place = offsetof(struct kvm_spec, kernel_place), .flags = KEY_HOST),
	KEY("initrd", host_path, kvm_spec, initrd, NULL, "./initrd.img", "0.1",
	    "file of the initial file system for kernel",
	    .place = offsetof(struct kvm_spec, initrd_place), .flags = KEY_HOST),
	KEY("cmdline", text, kvm_spec, cmdline, NULL, "root=/dev/vda2 quiet", "0.1",
	    "added to the command line of kernel; without root= there, the root file system is the "
	    "disk or its first partition"),
	KEY("firmware", host_path_or_auto, kvm_spec, firmware, "auto", "auto", "0.1",
	    "file of the firmware for the disk's boot loader; auto: the host's SeaBIOS",
	    .place = offsetof(struct kvm_spec, firmware_place), .flags = KEY_HOST),
	KEY("sockets", count, kvm_spec, sockets, NULL, "1", "0.1",
	    "processor sockets that the machine sees, with its cpus shared out evenly", .min = 1,
	    .max = 32),
	{ 0 },
};
static const struct section section_kvm = {
	SECTION("kvm", kvm_keys, kvm_spec, "kvm: { firmware: auto }", "Only for provider kvm."),
	.place = offsetof(struct kvm_spec, place),
	.finish = venv__kvm_finish,
};

static const struct key libvirt_keys[] = {
	KEY("uri", text, libvirt_spec, uri, NULL, "auto", "0.1", "libvirt connection"),
	KEY("type", text, libvirt_spec, type, NULL, "auto", "0.1", "domain type"),
	KEY("machine", text, libvirt_spec, machine, NULL, "q35", "0.1", "machine type"),
	KEY("xml", host_path, libvirt_spec, xml, NULL, "extra.xml", "0.1",
	    "XML to merge into the domain's; wants approval", .flags = KEY_HOST),
	{ 0 },
};
static const struct section section_libvirt = {
	SECTION("libvirt", libvirt_keys, libvirt_spec, "libvirt: { uri: auto }",
		"Only for provider libvirt."),
};

static const struct key network_keys[] = {
	KEY("subnet", text, network_spec, subnet, NULL, "192.168.56.0/24", "0.1",
	    "IPv4 subnet; default: a free one", .check = venv__check_subnet),
	KEY("mode", choice, network_spec, mode, "nat", "internal", "0.1",
	    "nat: reaches the outside; internal: only machines; hostonly (machines and this "
	    "host) and bridged (on a bridge of the host) are not supported yet",
	    .choices = WORDS(WORD("nat"), WORD("internal"), LATER("hostonly"), LATER("bridged"))),
	KEY("bridge", text, network_spec, bridge, NULL, "br0", "0.1",
	    "bridge of the host, for mode bridged"),
	{ 0 },
};
const struct section venv__section_network = {
	SECTION("network", network_keys, network_spec, "backend: { subnet: 192.168.56.0/24 }",
		"A network of the project."),
	.place = offsetof(struct network_spec, place),
	.finish = venv__network_finish,
};

const struct section venv__section_machine = {
	SECTION("machine", machine_keys, machine_spec, "web: { box: debian/12 }", "A machine."),
	.place = offsetof(struct machine_spec, place),
	.finish = venv__machine_finish,
};
const struct section venv__section_project = {
	SECTION("project", project_keys, project_spec, "box: debian/12", "The file."),
};

const struct section *const venv__sections[] = {
	&venv__section_project, &venv__section_machine,
	&section_folder,        &section_volume,
	&section_port,          &section_nic,
	&section_ready,         &section_step,
	&section_trigger,       &section_ssh,
	&section_kvm,           &section_libvirt,
	&venv__section_network, NULL,
};
