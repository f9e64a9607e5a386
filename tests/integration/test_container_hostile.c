/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile box or machine tries, and how the machine is tied to its project: the container
 * provider without core, as whoever runs it.
 */
#include "container_world.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "providers/container/container.h"
#include "util/process.h"

static const struct provider *const provider = &container_provider;

static void leaves_nothing_open_and_no_rights(void **state)
{
	struct world *world = *state;

	world_up(world);
	/* ls has the directory itself open */
	world_expect(world, "ls /proc/self/fd | tr '\\n' ' '; ls /proc/1/fd | tr '\\n' ' '",
		     "0 1 2 3 0 1 2 ");
	world_expect(
		world,
		"grep -E 'CapInh|CapAmb|NoNewPrivs|Seccomp:' /proc/self/status | tr '\\t' ' '",
		"CapInh: 0000000000000000\nCapAmb: 0000000000000000\nNoNewPrivs: 0\nSeccomp: 2\n");
	world_expect(world, "cat /proc/self/cgroup | grep -v ':/$' | grep -c '^0:'  || true",
		     "0\n");
	world_expect(world, "readlink /proc/self/cwd; readlink /proc/self/root", "/root\n/\n");
	world_expect(world, "cat /proc/1/environ | tr '\\0' '\\n' | grep -c ^container=venv",
		     "1\n");
}

static void app_is_strict(void **state)
{
	struct world *world = *state;
	struct output output;

	world->spec.profile = PROFILE_APP;
	world_up(world);
	world_expect(
		world,
		"grep -E 'CapBnd|CapEff|NoNewPrivs|Seccomp:' /proc/self/status | tr '\\t' ' '",
		"CapEff: 00000000800405fb\nCapBnd: 00000000800405fb\nNoNewPrivs: 1\nSeccomp: 2\n");
	output = world_run(world, "mount -t tmpfs none /tmp");
	assert_int_not_equal(output.status, 0);
	free(output.text);
	output = world_run(world, "unshare -m true");
	assert_int_not_equal(output.status, 0);
	free(output.text);
	output = world_run(world, "echo 1 >/proc/sys/net/ipv4/ip_forward");
	assert_int_not_equal(output.status, 0);
	free(output.text);
	world_expect(world,
		     "ls -A /proc/acpi /sys/firmware 2>/dev/null; "
		     "head -c 1 /proc/kcore 2>/dev/null | wc -c",
		     "/proc/acpi:\n\n/sys/firmware:\n0\n");
	world_expect(world, "id -u; echo a | cat", "0\na\n");
}

/* The directory of the image is a descriptor of whoever enters: CVE-2024-21626. */
static void refuses_directories_outside(void **state)
{
	struct world *world = *state;
	char pwd[] = "/bin/pwd", *argv[] = { pwd, NULL };

	world_up(world);
	for (int fd = 3; fd < 40; fd++) {
		struct exec_spec spec = { .argv = argv, .fds = { -1, -1, -1 } };
		char path[64];
		struct output output;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		spec.directory = path;
		output = world_exec(world, &spec);
		if (output.status == 0)
			print_error("%s is %s", path, output.text);
		assert_int_equal(output.status, 125);
		free(output.text);
	}
}

/* Links in place of the directories that are mounted on, in the box and left by a machine. */
static void is_not_led_away_by_links(void **state)
{
	static char target[] = "/var/tmp/venv-test-led-away";
	static const char *const names[] = { "dev", "proc", "sys", "run" };
	struct world *world = *state;
	struct output output;

	assert_int_equal(mkdir(target, 0777), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128];

		(void)snprintf(path, sizeof(path), "../../../../../../..%s", target);
		world_box_link(world, names[i], path);
	}
	world_box_link(world, "etc/hosts", "../../../../../../../var/tmp/venv-test-led-away/hosts");
	world_box_link(world, "etc/hostname", "/proc/sysrq-trigger");
	world_up(world);
	world_expect(world,
		     "test -c /dev/null && test -d /proc/1 && test -d /sys/class && echo fine",
		     "fine\n");
	world_expect(world, "cat /etc/hostname", "web\n");
	output = world_run(world,
			   "umount -l /dev/pts /dev/shm; umount -l /dev /run; rm -rf /dev /run; "
			   "ln -s /var/tmp/venv-test-led-away /dev; "
			   "rm /etc/hosts; mkdir /etc/hosts 2>&1; ln -s /etc/passwd /run");
	free(output.text);
	world_down(world);
	{
		_cleanup_error_ venv_error *error = NULL;
		int r = provider->start(&world->machine, NULL, &error);

		if (r < 0)
			print_error("%s\n", venv_error_message(error));
		assert_int_equal(r, 0);
		world_expect(world, "test -c /dev/null && cat /etc/hostname", "web\n");
	}
	assert_int_equal(rmdir(target), 0); /* nothing was put there */
}

static void reads_hostile_user_lists(void **state)
{
	struct world *world = *state;
	struct output output;

	world_up(world);
	output = world_run(
		world,
		"rm /etc/passwd; mkfifo /etc/passwd; rm /etc/group; ln -s /dev/zero /etc/group");
	free(output.text);
	output = world_run_as(world, "1000", "grep Uid /proc/self/status");
	assert_string_equal(output.text, "Uid:\t1000\t1000\t1000\t1000\n");
	free(output.text);
	output = world_run_as(world, "0",
			      "rm /etc/passwd; ln -s /proc/self/mem /etc/passwd; rm /etc/group; "
			      "head -c 3000000 /dev/zero >/etc/group");
	free(output.text);
	output = world_run_as(world, "0:0", "grep Uid /proc/self/status");
	assert_string_equal(output.text, "Uid:\t0\t0\t0\t0\n");
	free(output.text);
}

static char *hash_of(const char *path)
{
	char sha[] = "/usr/bin/sha256sum", *name = strdup(path), *text = NULL;
	char *argv[] = { sha, name, NULL };

	assert_int_equal(venv__run(argv, &text, NULL), 0);
	free(name);
	return text;
}

/* CVE-2019-5736: whoever is entered must not be able to write our programs. */
static void keeps_its_programs(void **state)
{
	struct world *world = *state;
	_cleanup_free_ char *path = venv__path_join(world->ctx.libexec_dir, "venv-enter");
	_cleanup_free_ char *before = hash_of(path), *after = NULL;
	struct exec_spec spec = { .fds = { -1, -1, -1 } };
	struct output output;
	char self[] = "/proc/self/exe", *argv[] = { self, NULL };

	world_up(world);
	spec.argv = argv;
	output = world_exec(world, &spec);
	free(output.text);
	world_expect(world,
		     "(echo x >/proc/1/exe) 2>&1 | grep -c -i -E 'denied|busy|not permitted'",
		     "1\n");
	output = world_run(world,
			   "for i in $(seq 200); do for p in /proc/[0-9]*; do "
			   "(exec 3>$p/exe && echo owned >&3) 2>/dev/null; done; done & "
			   "for i in $(seq 20); do /proc/self/exe true; done 2>/dev/null; kill $!");
	free(output.text);
	after = hash_of(path);
	assert_string_equal(before, after);
}

static void stops_system_calls_that_lead_out(void **state)
{
	struct world *world = *state;
	struct output output;

	world_box_file(world, "bin/calls", "", 0755);
	{
		char cp[] = "/bin/cp", *argv[] = { cp, NULL, NULL, NULL };
		_cleanup_free_ char *from =
			venv__path_join(getenv("VENV_ATTACKS"), "container_attacks");
		_cleanup_free_ char *to = venv__path_join(world->layer, "bin/calls");

		argv[1] = from;
		argv[2] = to;
		assert_int_equal(venv__run(argv, NULL, NULL), 0);
	}
	world_up(world);
	output = world_run(world, "/bin/calls");
	if (output.status != 0)
		print_error("%s", output.text);
	assert_int_equal(output.status, 0);
	free(output.text);
	world_down(world);
	world->spec.profile = PROFILE_APP;
	world_up(world);
	output = world_run(world, "/bin/calls app");
	if (output.status != 0)
		print_error("%s", output.text);
	assert_int_equal(output.status, 0);
	free(output.text);
}

/* ---- netd's part, played here --------------------------------------------------------------- */

static _Noreturn void play_netd(int socket, const struct idmap *map, int report)
{
	struct msg_fds fds = MSG_FDS_INIT;
	json_t *request = NULL, *reply = json_pack("{}");
	int r = 1;

	(void)map;
	while (r > 0) {
		r = venv__msg_receive(socket, -1, &request, &fds, NULL);
		if (r <= 0)
			break;
		if (write(report, fds.count == 1 ? "p" : "?", 1) != 1)
			_exit(1);
		venv__msg_fds_done(&fds);
		json_decref(request);
		if (venv__msg_send(socket, reply, NULL, 0, NULL) < 0)
			_exit(1);
	}
	_exit(write(report, "e", 1) == 1 ? 0 : 1);
}

static void is_plugged_into_the_project(void **state)
{
	struct world *world = *state;
	struct net_attachment net = { .socket = -1, .userns_fd = -1, .netns_fd = -1 };
	static char dns[] = "10.88.0.1", eth[] = "eth0", address[] = "10.88.0.2";
	struct net_interface interface = { .name = eth, .address = address, .prefix = 24 };
	int pair[2], report[2], userns = -1, netns = -1;
	char said[4] = "";
	pid_t netd;

	net.userns_fd = venv__idmap_userns(&world->ctx.map, NULL);
	assert_true(net.userns_fd >= 0);
	net.netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(venv__msg_pair(pair), 0);
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	netd = fork();
	if (netd == 0) {
		(void)close(pair[0]);
		play_netd(pair[1], &world->ctx.map, report[1]);
	}
	(void)close(pair[1]);
	(void)close(report[1]);
	net.socket = pair[0];
	net.interfaces = &interface;
	net.n_interfaces = 1;
	net.dns = dns;
	world->machine.net = &net;
	world_up(world);
	(void)close(net.socket);
	assert_int_equal(read(report[0], said, 1), 1);
	assert_int_equal(said[0], 'p');
	world_expect(
		world,
		"cat /etc/resolv.conf; tail -n 1 /etc/hosts; cat /proc/self/uid_map | tr -s ' '",
		"nameserver 10.88.0.1\n10.88.0.2\tweb\n 0 0 1\n 1 1 65535\n");
	assert_int_equal(provider->lend_network(&world->machine, &userns, &netns, NULL), 0);
	assert_true(userns >= 0 && netns >= 0);
	(void)close(userns);
	(void)close(netns);
	world->machine.net = NULL;
	world_down(world);
	/* the attachment goes with the machine */
	assert_int_equal(read(report[0], said, 1), 1);
	assert_int_equal(said[0], 'e');
	assert_int_equal(waitpid(netd, NULL, 0), netd);
	(void)close(net.userns_fd);
	(void)close(net.netns_fd);
	(void)close(report[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(leaves_nothing_open_and_no_rights), TEST(app_is_strict),
		TEST(refuses_directories_outside),       TEST(is_not_led_away_by_links),
		TEST(reads_hostile_user_lists),          TEST(keeps_its_programs),
		TEST(stops_system_calls_that_lead_out),  TEST(is_plugged_into_the_project),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("container_hostile", tests, NULL, NULL);
}
