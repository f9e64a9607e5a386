/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of venv.yml. To add one: a member in spec.h and a row here; reading, defaults, --set, the
 * schema, `venv config keys`, venv.yml(5), suggestions, spec.json and `venv plan` follow from it.
 */
#include "forms.h"

#define MEMBER(struct_, member) .offset = offsetof(struct struct_, member)
#define LIST(struct_, list, section_)                                                              \
	.type = &venv__type_list, .offset = offsetof(struct struct_, list),                        \
	.count = offsetof(struct struct_, n_##list), .section = &section_
#define TEXT .type = &venv__type_text
#define CHOICE(...)                                                                                \
	.type = &venv__type_choice, .choices = (const struct choice[])                             \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			NULL, false                                                                \
		}                                                                                  \
	}
#define CHOICE_TEXT(...)                                                                           \
	.type = &venv__type_choice_text, .choices = (const struct choice[])                        \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			NULL, false                                                                \
		}                                                                                  \
	}
#define SINCE_0_1 .since = "0.1"

static const struct section section_folder, section_volume, section_port, section_nic,
	section_ready, section_step, section_trigger, section_ssh, section_kvm, section_libvirt;

static const struct key project_keys[] = {
	{ .name = "name", TEXT, MEMBER(project_spec, name), .check = venv__check_name,
	  .example = "shop", .doc = "name of the project; default: the directory's name", SINCE_0_1 },
	{ .name = "machines", .type = &venv__type_machines, .section = &venv__section_machine,
	  .doc = "the machines by name; without it, the keys of one machine, called 'default', stand "
		 "at the top of the file; beside it, they are defaults for all machines",
	  SINCE_0_1 },
	{ .name = "networks", .type = &venv__type_networks, .section = &venv__section_network,
	  .doc = "networks of the project by name, beside 'project', which is always there",
	  SINCE_0_1 },
	{ .name = "volumes", .type = &venv__type_volume_names,
	  .doc = "names of the volumes; where this is given, machines may use no others", SINCE_0_1 },
	{ 0 },
};

static const struct key machine_keys[] = {
	{ .name = "box", TEXT, MEMBER(machine_spec, box), .place = offsetof(struct machine_spec, box_place),
	  .example = "debian/12",
	  .doc = "what the machine starts from: a name (debian/12, debian/12@1), a path beginning with "
		 "'/', './', '../' or '~/', or docker://HOST/REPOSITORY:TAG",
	  SINCE_0_1 },
	{ .name = "version", TEXT, MEMBER(machine_spec, version), .check = venv__check_constraint,
	  .example = "\"~> 12.5\"", .doc = "versions of the box that will do, as RubyGems writes them",
	  SINCE_0_1 },
	{ .name = "architecture",
	  CHOICE_TEXT({ "auto", false }, { "amd64", false }, { "arm64", false }, { "i386", false },
		      { "armhf", false }, { "ppc64el", false }, { "riscv64", false },
		      { "s390x", false }),
	  MEMBER(machine_spec, architecture), .otherwise = "auto", .example = "amd64",
	  .doc = "architecture of the box; auto: this host's", SINCE_0_1 },
	{ .name = "provider",
	  CHOICE_TEXT({ "auto", false }, { "kvm", false }, { "container", false },
		      { "libvirt", false }),
	  MEMBER(machine_spec, provider), .place = offsetof(struct machine_spec, provider_place),
	  .otherwise = "auto", .example = "container",
	  .doc = "what runs the machine; auto: the first that accepts box and host", SINCE_0_1 },
	{ .name = "command", CHOICE({ "none", false }, { "image", false }),
	  MEMBER(machine_spec, command), .otherwise = "none", .example = "image",
	  .doc = "image: start the image's own entrypoint as a service beside the ssh access",
	  SINCE_0_1 },
	{ .name = "primary", .type = &venv__type_boolean, MEMBER(machine_spec, primary),
	  .place = offsetof(struct machine_spec, primary_place),
	  .otherwise = "false", .example = "true", .flags = KEY_LIVE,
	  .doc = "the machine that commands without a name mean; default: the only one, or 'default'",
	  SINCE_0_1 },
	{ .name = "autostart", .type = &venv__type_boolean, MEMBER(machine_spec, autostart),
	  .otherwise = "true", .example = "false", .flags = KEY_LIVE,
	  .doc = "false: 'venv up' starts it only when it is named or needed", SINCE_0_1 },
	{ .name = "hostname", TEXT, MEMBER(machine_spec, hostname), .check = venv__check_hostname,
	  .example = "web", .doc = "host name in the machine; default: the machine's name",
	  SINCE_0_1 },
	{ .name = "cpus", .type = &venv__type_decimal, MEMBER(machine_spec, cpus), .max = 4096,
	  .example = "2", .flags = KEY_LIVE,
	  .doc = "processors that it may use; a container may have a fraction; default: all",
	  SINCE_0_1 },
	{ .name = "memory", .type = &venv__type_size, MEMBER(machine_spec, memory), .example = "2G",
	  .flags = KEY_LIVE,
	  .doc = "virtual machine: its memory (default 2G); container: hard limit (default none)",
	  SINCE_0_1 },
	{ .name = "memory_low", .type = &venv__type_size, MEMBER(machine_spec, memory_low),
	  .example = "512M", .flags = KEY_LIVE,
	  .doc = "memory that is protected when the host runs short", SINCE_0_1 },
	{ .name = "cpu_weight", .type = &venv__type_count, MEMBER(machine_spec, cpu_weight), .min = 1,
	  .max = 10000, .example = "100", .flags = KEY_LIVE,
	  .doc = "share of processor time against others (100 is usual)", SINCE_0_1 },
	{ .name = "cpuset", TEXT, MEMBER(machine_spec, cpuset), .check = venv__check_cpuset,
	  .example = "0-1", .flags = KEY_LIVE, .doc = "the host's processors that it may use",
	  SINCE_0_1 },
	{ .name = "io_weight", .type = &venv__type_count, MEMBER(machine_spec, io_weight), .min = 1,
	  .max = 10000, .example = "100", .flags = KEY_LIVE,
	  .doc = "share of disk bandwidth against others (100 is usual)", SINCE_0_1 },
	{ .name = "pids", .type = &venv__type_count, MEMBER(machine_spec, pids), .min = 1,
	  .max = 4194304, .example = "4096", .flags = KEY_LIVE,
	  .doc = "processes and threads that it may have; default: no limit of its own", SINCE_0_1 },
	{ .name = "oom", CHOICE({ "kill", false }, { "freeze", false }), MEMBER(machine_spec, oom),
	  .otherwise = "kill", .example = "freeze", .flags = KEY_LIVE,
	  .doc = "when memory runs out: kill a process, or freeze the machine until the limit is raised",
	  SINCE_0_1 },
	{ .name = "disk", .type = &venv__type_size, MEMBER(machine_spec, disk), .example = "20G",
	  .doc = "grow the root disk and its file system to this", SINCE_0_1 },
	{ .name = "init",
	  CHOICE({ "auto", false }, { "systemd", false }, { "image", false }, { "none", false }),
	  MEMBER(machine_spec, init), .otherwise = "auto", .example = "systemd",
	  .doc = "container: what runs as its first process", SINCE_0_1 },
	{ .name = "profile", CHOICE({ "dev", false }, { "app", false }), MEMBER(machine_spec, profile),
	  .otherwise = "dev", .example = "app",
	  .doc = "container: dev is a whole system, app is strict", SINCE_0_1 },
	{ .name = "nested", .type = &venv__type_boolean, MEMBER(machine_spec, nested),
	  .otherwise = "false", .example = "false", .flags = KEY_UNSUPPORTED,
	  .doc = "container: it may run containers itself", SINCE_0_1 },
	{ .name = "devices", .type = &venv__type_texts, MEMBER(machine_spec, devices),
	  .example = "[/dev/kvm, gpu]", .flags = KEY_UNSUPPORTED | KEY_HOST,
	  .doc = "devices of the host that it may use", SINCE_0_1 },
	{ .name = "user", TEXT, MEMBER(machine_spec, user), .check = venv__check_user,
	  .example = "vagrant", .doc = "who logs in; default: the box's user, else root", SINCE_0_1 },
	{ .name = "folders", LIST(machine_spec, folders, section_folder), .otherwise = "[.:/workspace]",
	  .example = "[.:/workspace]", .flags = KEY_HOST,
	  .doc = "directories of the host that it shares; [] for none; outside the project: wants "
		 "approval",
	  SINCE_0_1 },
	{ .name = "volumes", LIST(machine_spec, volumes, section_volume),
	  .example = "[data:/var/lib/data]",
	  .doc = "named volumes, which survive 'venv destroy'", SINCE_0_1 },
	{ .name = "ports", LIST(machine_spec, ports, section_port), .example = "[8080:80]",
	  .flags = KEY_HOST,
	  .doc = "ports of the host that lead to ports of the machine; beyond loopback: wants approval",
	  SINCE_0_1 },
	{ .name = "networks", LIST(machine_spec, networks, section_nic),
	  .otherwise = "[project]", .example = "[project, { name: backend, address: 192.168.56.10 }]",
	  .doc = "networks that it is in; 'project' is always one of them; [] for no network at all",
	  SINCE_0_1 },
	{ .name = "host_access", .type = &venv__type_boolean, MEMBER(machine_spec, host_access),
	  .otherwise = "false", .example = "true", .flags = KEY_HOST,
	  .doc = "it may reach the host's loopback as host.venv.internal; wants approval", SINCE_0_1 },
	{ .name = "needs", .type = &venv__type_needs, MEMBER(machine_spec, needs), .example = "{ db: ready }",
	  .choices = (const struct choice[]){ { "started", false }, { "ready", false },
					      { "provisioned", false }, { NULL, false } },
	  .flags = KEY_LIVE, .doc = "machines that must be up before this one, and how far",
	  SINCE_0_1 },
	{ .name = "ready", .type = &venv__type_object, MEMBER(machine_spec, ready),
	  .section = &section_ready, .example = "{ tcp: 5432 }", .flags = KEY_LIVE,
	  .doc = "how to tell that it is ready", SINCE_0_1 },
	{ .name = "env", .type = &venv__type_env, MEMBER(machine_spec, env), .example = "{ APP_ENV: dev }",
	  .doc = "environment of its processes, steps and sessions", SINCE_0_1 },
	{ .name = "env_file", .type = &venv__type_env_file, MEMBER(machine_spec, env_file),
	  .example = ".env", .flags = KEY_HOST,
	  .doc = "file of NAME=value lines; 'env' wins; outside the project: wants approval",
	  SINCE_0_1 },
	{ .name = "provision", .type = &venv__type_list, MEMBER(machine_spec, steps),
	  .count = offsetof(struct machine_spec, n_steps), .section = &section_step,
	  .example = "[{ run: apt-get update }]", .flags = KEY_LIVE | KEY_HOST,
	  .doc = "steps that make the machine what it shall be, in order; files from outside the "
		 "project want approval",
	  SINCE_0_1 },
	{ .name = "triggers", LIST(machine_spec, triggers, section_trigger),
	  .example = "[{ before: halt, run: ./dump.sh }]",
	  .flags = KEY_LIVE | KEY_HOST | KEY_UNSUPPORTED,
	  .doc = "commands before and after venv's own; where: host wants approval", SINCE_0_1 },
	{ .name = "ssh", .type = &venv__type_object, MEMBER(machine_spec, ssh), .section = &section_ssh,
	  .example = "{ forward_agent: true }", .doc = "how ssh reaches it", SINCE_0_1 },
	{ .name = "boot_timeout", .type = &venv__type_time, MEMBER(machine_spec, boot_timeout_ms),
	  .otherwise = "5m", .example = "5m", .flags = KEY_LIVE, .doc = "how long a start may take",
	  SINCE_0_1 },
	{ .name = "stop_timeout", .type = &venv__type_time, MEMBER(machine_spec, stop_timeout_ms),
	  .otherwise = "60s", .example = "60s", .flags = KEY_LIVE,
	  .doc = "how long a clean stop may take before it is stopped by force", SINCE_0_1 },
	{ .name = "kvm", .type = &venv__type_object, MEMBER(machine_spec, kvm), .section = &section_kvm,
	  .example = "{ firmware: auto }", .flags = KEY_UNSUPPORTED, .doc = "only for provider kvm",
	  SINCE_0_1 },
	{ .name = "libvirt", .type = &venv__type_object, MEMBER(machine_spec, libvirt),
	  .section = &section_libvirt, .example = "{ uri: auto }", .flags = KEY_UNSUPPORTED | KEY_HOST,
	  .doc = "only for provider libvirt", SINCE_0_1 },
	{ 0 },
};

static const struct key folder_keys[] = {
	{ .name = "host", .type = &venv__type_host_path, MEMBER(folder_spec, host), .example = "./data",
	  .flags = KEY_REQUIRED,
	  .doc = "directory on the host, relative to the file, with ~ for your home", SINCE_0_1 },
	{ .name = "guest", TEXT, MEMBER(folder_spec, guest), .check = venv__check_guest_path,
	  .example = "/srv/data", .flags = KEY_REQUIRED, .doc = "absolute path in the machine",
	  SINCE_0_1 },
	{ .name = "mode",
	  CHOICE({ "rw", false }, { "ro", false }, { "overlay", true }, { "copy", true }),
	  MEMBER(folder_spec, mode), .otherwise = "rw", .example = "ro",
	  .doc = "rw, ro, overlay (writes stay aside) or copy", SINCE_0_1 },
	{ .name = "owner", TEXT, MEMBER(folder_spec, owner), .check = venv__check_user,
	  .example = "root",
	  .doc = "user in the machine whose files are yours on the host; default: who logs in",
	  SINCE_0_1 },
	{ 0 },
};
static const struct section section_folder = {
	.name = "folder", .doc = "A directory of the host in the machine.", .keys = folder_keys,
	.size = sizeof(struct folder_spec), .place = offsetof(struct folder_spec, place),
	.example = "{ host: ./data, guest: /srv/data }", .expand = venv__folder_expand,
	.short_doc = "HOST:GUEST[:MODE]", .finish = venv__folder_finish,
};

static const struct key volume_keys[] = {
	{ .name = "name", TEXT, MEMBER(volume_spec, name), .check = venv__check_name,
	  .example = "data", .flags = KEY_REQUIRED, .doc = "name of the volume", SINCE_0_1 },
	{ .name = "guest", TEXT, MEMBER(volume_spec, guest), .check = venv__check_guest_path,
	  .example = "/var/lib/data", .flags = KEY_REQUIRED, .doc = "absolute path in the machine",
	  SINCE_0_1 },
	{ 0 },
};
static const struct section section_volume = {
	.name = "volume", .doc = "A directory that survives the machine.", .keys = volume_keys,
	.size = sizeof(struct volume_spec), .place = offsetof(struct volume_spec, place),
	.example = "data:/var/lib/data", .expand = venv__volume_expand, .short_doc = "NAME:GUEST",
	.finish = venv__volume_finish,
};

static const struct key port_keys[] = {
	{ .name = "address", TEXT, MEMBER(port_spec, address), .check = venv__check_address,
	  .otherwise = "127.0.0.1", .example = "127.0.0.1",
	  .doc = "address of the host; beyond loopback: wants approval", SINCE_0_1 },
	{ .name = "host", .type = &venv__type_port, MEMBER(port_spec, host), .example = "8080",
	  .flags = KEY_REQUIRED, .doc = "port of the host; auto: a free one", SINCE_0_1 },
	{ .name = "guest", .type = &venv__type_port, MEMBER(port_spec, guest), .min = 1,
	  .example = "80", .flags = KEY_REQUIRED, .doc = "port of the machine", SINCE_0_1 },
	{ .name = "protocol", CHOICE({ "tcp", false }, { "udp", false }), MEMBER(port_spec, protocol),
	  .otherwise = "tcp", .example = "udp", .doc = "tcp or udp", SINCE_0_1 },
	{ .name = "if_taken", CHOICE({ "fail", false }, { "next", false }),
	  MEMBER(port_spec, if_taken), .otherwise = "fail", .example = "next",
	  .doc = "when the host's port is taken: fail, or take the next free one", SINCE_0_1 },
	{ .name = "name", TEXT, MEMBER(port_spec, name), .check = venv__check_name,
	  .example = "debug", .doc = "what 'venv port' calls it", SINCE_0_1 },
	{ 0 },
};
static const struct section section_port = {
	.name = "port", .doc = "A forwarded port.", .keys = port_keys, .size = sizeof(struct port_spec),
	.place = offsetof(struct port_spec, place), .example = "{ host: 8080, guest: 80 }",
	.expand = venv__port_expand, .short_doc = "[ADDRESS:]HOST:GUEST[/PROTOCOL]",
};

static const struct key nic_keys[] = {
	{ .name = "name", TEXT, MEMBER(net_use, name), .check = venv__check_name, .example = "backend",
	  .flags = KEY_REQUIRED, .doc = "'project', or one of the project's networks", SINCE_0_1 },
	{ .name = "address", TEXT, MEMBER(net_use, address), .check = venv__check_ipv4,
	  .example = "192.168.56.10", .doc = "address in the network's subnet; default: a free one",
	  SINCE_0_1 },
	{ 0 },
};
static const struct section section_nic = {
	.name = "nic", .doc = "A network that the machine is in.",
	.keys = nic_keys, .size = sizeof(struct net_use),
	.place = offsetof(struct net_use, place), .example = "{ name: backend, address: 192.168.56.10 }",
	.expand = venv__nic_expand, .short_doc = "NAME",
};

static const struct key ready_keys[] = {
	{ .name = "run", TEXT, MEMBER(ready_spec, run), .example = "curl -fs localhost",
	  .doc = "shell command in the machine: it is ready when this succeeds", SINCE_0_1 },
	{ .name = "tcp", .type = &venv__type_port, MEMBER(ready_spec, tcp), .min = 1,
	  .example = "5432", .doc = "port of the machine: it is ready when this accepts connections",
	  SINCE_0_1 },
	{ .name = "every", .type = &venv__type_time, MEMBER(ready_spec, every_ms), .otherwise = "1s",
	  .example = "1s", .doc = "time between two attempts", SINCE_0_1 },
	{ .name = "within", .type = &venv__type_time, MEMBER(ready_spec, within_ms),
	  .otherwise = "60s", .example = "60s", .doc = "give up after this", SINCE_0_1 },
	{ 0 },
};
static const struct section section_ready = {
	.name = "ready", .doc = "How to tell that a machine is ready: one of 'run' and 'tcp'.",
	.keys = ready_keys, .size = sizeof(struct ready_spec),
	.place = offsetof(struct ready_spec, place),
	.example = "ready: { tcp: 5432, every: 1s, within: 60s }", .finish = venv__ready_finish,
};

static const struct key step_keys[] = {
	{ .name = "name", TEXT, MEMBER(step_spec, name), .example = "packages",
	  .doc = "what messages call the step", SINCE_0_1 },
	{ .name = "run", TEXT, MEMBER(step_spec, run), .example = "apt-get update",
	  .doc = "shell text to run in the machine", SINCE_0_1 },
	{ .name = "script", .type = &venv__type_host_path, MEMBER(step_spec, script),
	  .example = "setup.sh", .doc = "file on the host to run in the machine", SINCE_0_1 },
	{ .name = "args", .type = &venv__type_texts, MEMBER(step_spec, args), .example = "[--fast]",
	  .doc = "arguments of the script", SINCE_0_1 },
	{ .name = "copy", .type = &venv__type_host_path, MEMBER(step_spec, copy_from),
	  .example = "site.conf", .doc = "file or directory on the host to copy", SINCE_0_1 },
	{ .name = "to", TEXT, MEMBER(step_spec, copy_to), .check = venv__check_guest_path,
	  .example = "/etc/site.conf", .doc = "absolute path in the machine to copy to", SINCE_0_1 },
	{ .name = "mode", TEXT, MEMBER(step_spec, mode), .check = venv__check_mode,
	  .example = "\"0644\"", .doc = "mode of the copied file", SINCE_0_1 },
	{ .name = "owner", TEXT, MEMBER(step_spec, owner), .check = venv__check_user,
	  .example = "root", .doc = "owner of the copied file", SINCE_0_1 },
	{ .name = "ansible", .type = &venv__type_host_path, MEMBER(step_spec, ansible),
	  .example = "site.yml", .flags = KEY_UNSUPPORTED, .doc = "playbook on the host to run",
	  SINCE_0_1 },
	{ .name = "reboot", .type = &venv__type_boolean, MEMBER(step_spec, reboot), .example = "true",
	  .doc = "true: start the machine again, then go on", SINCE_0_1 },
	{ .name = "as", TEXT, MEMBER(step_spec, as), .check = venv__check_user, .example = "web",
	  .doc = "user in the machine who runs it; default: root", SINCE_0_1 },
	{ .name = "when", CHOICE({ "once", false }, { "always", false }, { "never", false }),
	  MEMBER(step_spec, when), .otherwise = "once", .example = "always",
	  .doc = "once: until it has succeeded with this content; always: at every 'venv up'; never: "
		 "not by itself",
	  SINCE_0_1 },
	{ 0 },
};
static const struct section section_step = {
	.name = "step", .doc = "A provisioning step: one of 'run', 'script', 'copy', 'ansible', 'reboot'.",
	.keys = step_keys, .size = sizeof(struct step_spec), .place = offsetof(struct step_spec, place),
	.example = "{ name: packages, run: apt-get install -y nginx }", .finish = venv__step_finish,
};

static const struct key trigger_keys[] = {
	{ .name = "before", TEXT, MEMBER(trigger_spec, before), .example = "halt",
	  .doc = "the command of venv before which it runs", SINCE_0_1 },
	{ .name = "after", TEXT, MEMBER(trigger_spec, after), .example = "up",
	  .doc = "the command of venv after which it runs", SINCE_0_1 },
	{ .name = "run", TEXT, MEMBER(trigger_spec, run), .example = "./dump.sh",
	  .flags = KEY_REQUIRED, .doc = "shell text", SINCE_0_1 },
	{ .name = "where", CHOICE({ "machine", false }, { "host", false }),
	  MEMBER(trigger_spec, where), .otherwise = "machine", .example = "host", .flags = KEY_HOST,
	  .doc = "where it runs; host wants approval", SINCE_0_1 },
	{ .name = "if_fails", CHOICE({ "stop", false }, { "continue", false }),
	  MEMBER(trigger_spec, if_fails), .otherwise = "stop", .example = "stop",
	  .doc = "stop the command, or go on", SINCE_0_1 },
	{ 0 },
};
static const struct section section_trigger = {
	.name = "trigger", .doc = "A command before or after one of venv's.", .keys = trigger_keys,
	.size = sizeof(struct trigger_spec), .place = offsetof(struct trigger_spec, place),
	.example = "{ before: halt, run: ./dump.sh }", .finish = venv__trigger_finish,
};

static const struct key ssh_keys[] = {
	{ .name = "forward_agent", .type = &venv__type_boolean, MEMBER(ssh_spec, forward_agent),
	  .otherwise = "false", .example = "true", .doc = "let the machine use your ssh agent",
	  SINCE_0_1 },
	{ .name = "port", .type = &venv__type_port, MEMBER(ssh_spec, port), .otherwise = "auto",
	  .example = "2222", .doc = "port of the host's loopback; auto: a free one", SINCE_0_1 },
	{ .name = "extra_keys", .type = &venv__type_host_paths, MEMBER(ssh_spec, extra_keys),
	  .example = "[~/.ssh/id_ed25519.pub]", .doc = "files of public keys that may log in as well",
	  SINCE_0_1 },
	{ 0 },
};
static const struct section section_ssh = {
	.name = "ssh", .doc = "How ssh reaches the machine.", .keys = ssh_keys,
	.size = sizeof(struct ssh_spec), .place = offsetof(struct ssh_spec, place),
	.example = "ssh: { forward_agent: true }",
};

static const struct key kvm_keys[] = {
	{ .name = "kernel", TEXT, MEMBER(kvm_spec, kernel), .example = "auto",
	  .doc = "kernel to boot; auto: the box's", SINCE_0_1 },
	{ .name = "cmdline", TEXT, MEMBER(kvm_spec, cmdline), .example = "\"\"",
	  .doc = "added to the kernel's command line", SINCE_0_1 },
	{ .name = "firmware", TEXT, MEMBER(kvm_spec, firmware), .example = "auto",
	  .doc = "firmware to boot with; auto: what the box needs", SINCE_0_1 },
	{ .name = "sockets", .type = &venv__type_count, MEMBER(kvm_spec, sockets), .min = 1, .max = 64,
	  .example = "1", .doc = "processor sockets that the machine sees", SINCE_0_1 },
	{ 0 },
};
static const struct section section_kvm = {
	.name = "kvm", .doc = "Only for provider kvm.", .keys = kvm_keys,
	.size = sizeof(struct kvm_spec), .example = "kvm: { firmware: auto }",
};

static const struct key libvirt_keys[] = {
	{ .name = "uri", TEXT, MEMBER(libvirt_spec, uri), .example = "auto",
	  .doc = "libvirt connection", SINCE_0_1 },
	{ .name = "type", TEXT, MEMBER(libvirt_spec, type), .example = "auto", .doc = "domain type",
	  SINCE_0_1 },
	{ .name = "machine", TEXT, MEMBER(libvirt_spec, machine), .example = "q35",
	  .doc = "machine type", SINCE_0_1 },
	{ .name = "xml", .type = &venv__type_host_path, MEMBER(libvirt_spec, xml),
	  .example = "extra.xml", .flags = KEY_HOST,
	  .doc = "XML to merge into the domain's; wants approval", SINCE_0_1 },
	{ 0 },
};
static const struct section section_libvirt = {
	.name = "libvirt", .doc = "Only for provider libvirt.", .keys = libvirt_keys,
	.size = sizeof(struct libvirt_spec), .example = "libvirt: { uri: auto }",
};

static const struct key network_keys[] = {
	{ .name = "subnet", TEXT, MEMBER(network_spec, subnet), .check = venv__check_subnet,
	  .example = "192.168.56.0/24", .doc = "IPv4 subnet; default: a free one", SINCE_0_1 },
	{ .name = "mode",
	  CHOICE({ "nat", false }, { "internal", false }, { "hostonly", true }, { "bridged", true }),
	  MEMBER(network_spec, mode), .otherwise = "nat", .example = "internal",
	  .doc = "nat: reaches the outside; internal: only machines; hostonly: machines and this host; "
		 "bridged: on a bridge of the host",
	  SINCE_0_1 },
	{ .name = "bridge", TEXT, MEMBER(network_spec, bridge), .example = "br0",
	  .doc = "bridge of the host, for mode bridged", SINCE_0_1 },
	{ 0 },
};
const struct section venv__section_network = {
	.name = "network", .doc = "A network of the project.", .keys = network_keys,
	.size = sizeof(struct network_spec), .place = offsetof(struct network_spec, place),
	.example = "backend: { subnet: 192.168.56.0/24 }", .finish = venv__network_finish,
};

const struct section venv__section_machine = {
	.name = "machine", .doc = "A machine.", .keys = machine_keys,
	.size = sizeof(struct machine_spec), .place = offsetof(struct machine_spec, place),
	.example = "web: { box: debian/12 }", .finish = venv__machine_finish,
};
const struct section venv__section_project = {
	.name = "project", .doc = "The file.", .keys = project_keys,
	.size = sizeof(struct project_spec), .example = "box: debian/12",
};

const struct section *const venv__sections[] = {
	&venv__section_project, &venv__section_machine, &section_folder, &section_volume,
	&section_port,		&section_nic,	&section_ready,	 &section_step,
	&section_trigger,	&section_ssh,		&section_kvm,	 &section_libvirt,
	&venv__section_network,	NULL,
};
