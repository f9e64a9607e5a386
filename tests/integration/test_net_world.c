/* SPDX-License-Identifier: Apache-2.0 */
#include "test_net_world.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "../unit/test.h"
#include "util/process.h"
#include "util/sys.h"

struct agent outside, host;

static int leave(void *user)
{
	(void)user;
	return unshare(CLONE_NEWNET) < 0 ? -errno : 0;
}

static struct agent names;
static char resolv_conf[] = "/tmp/venv-test-host-resolv-XXXXXX";

/* Into the outside, which has a resolver. */
static int serve_names(void *user)
{
	_cleanup_close_ int netns = -1;
	char path[64];

	(void)user;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", outside.pid);
	netns = open(path, O_RDONLY | O_CLOEXEC);
	if (netns < 0 || setns(netns, CLONE_NEWNET) < 0)
		return -errno;
	return fake_resolver_start(OUTSIDE_ADDRESS) | fake_resolver_start(SECOND_ADDRESS);
}

static int set_up_host(void)
{
	int status;

	status = agent_run(&host, NULL,
			   "ip link set lo up && ip link add h0 type veth peer name o0 netns %d && "
			   "ip address add %s/24 dev h0 && ip link set h0 up && "
			   "ip route add default via %s",
			   outside.pid, HOST_ADDRESS, OUTSIDE_ADDRESS);
	if (status)
		return -EIO;
	status = agent_run(
		&outside, NULL,
		"ip link set lo up && ip address add %s/24 dev o0 && ip link set o0 up && "
		"ip address add %s/32 dev o0 && ip address add %s/32 dev o0",
		OUTSIDE_ADDRESS, METADATA_ADDRESS, SECOND_ADDRESS);
	return status ? -EIO : 0;
}

/* Everybody may make TAP devices, as udev has it on most hosts; the real device stays as it is. */
static int set_tun(void)
{
	if (mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755") < 0 ||
	    mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)) < 0 ||
	    chmod("/dev/net/tun", 0666) < 0)
		return -errno;
	return 0;
}

static int set_resolv_conf(void)
{
	static const char text[] = "nameserver " OUTSIDE_ADDRESS "\n";
	_cleanup_close_ int fd = mkstemp(resolv_conf);

	/* stays until the end: nothing can be mounted over a file without a name */
	if (fd < 0 || venv__write_all(fd, text, sizeof(text) - 1) < 0 || fchmod(fd, 0644) < 0 ||
	    mount(resolv_conf, "/etc/resolv.conf", NULL, MS_BIND, NULL) < 0)
		return -errno;
	return 0;
}

static int start_services(void)
{
	int r = 0;

	r |= agent_serve(&host, "echo", "tcp", "127.0.0.1", 9001, "host-loopback:");
	r |= agent_serve(&host, "echo", "udp", "127.0.0.1", 9001, "host-loopback:");
	r |= agent_serve(&host, "echo", "tcp", "0.0.0.0", 9002, "host-any:");
	r |= agent_serve(&host, "echo", "udp", "0.0.0.0", 9002, "host-any:");
	r |= agent_serve(&outside, "echo", "tcp", OUTSIDE_ADDRESS, 7000, "outside:");
	r |= agent_serve(&outside, "echo", "udp", OUTSIDE_ADDRESS, 7000, "outside:");
	r |= agent_serve(&outside, "echo", "tcp", METADATA_ADDRESS, 80, "metadata:");
	return r ? -EIO : 0;
}

int world_make(void)
{
	int r;

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	r = set_resolv_conf();
	if (r == 0)
		r = set_tun();
	if (r == 0)
		r = agent_start(&host, NULL, NULL);
	if (r == 0)
		r = agent_start(&outside, leave, NULL);
	if (r == 0)
		r = set_up_host();
	if (r == 0)
		r = start_services();
	if (r == 0)
		r = agent_start(&names, serve_names, NULL);
	return r;
}

void world_end(void)
{
	agent_stop(&names);
	agent_stop(&outside);
	agent_stop(&host);
	(void)unlink(resolv_conf);
}

static int as_directory(struct fixture *fixture)
{
	(void)snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/venv-test-net-XXXXXX");
	/* guests of the tests may read scripts there; a real project's directory is 0700 */
	if (!mkdtemp(fixture->dir) || chmod(fixture->dir, 0755) < 0)
		return -errno;
	fixture->project.dir_fd = open(fixture->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fixture->project.dir_fd < 0 ? -errno : 0;
}

int fixture_make(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	const char *libexec = getenv("VENV_LIBEXEC");

	if (!fixture || !libexec || as_directory(fixture) < 0)
		return -1;
	fixture->ctx.libexec_dir = strdup(libexec);
	fixture->ctx.data_fd = -1;
	fixture->project.uuid = "0123";
	fixture->project.name = "shop";
	fixture->project.spec = &fixture->spec;
	*state = fixture;
	return 0;
}

/* What a sanitizer had to say about one of the three. */
static bool log_is_clean(const struct fixture *fixture)
{
	_cleanup_free_ char *log = NULL;

	if (venv__file_read(fixture->project.dir_fd, "netd.log", 1 << 20, &log, NULL, NULL) < 0)
		return true;
	if (!strstr(log, "Sanitizer") && !strstr(log, "runtime error"))
		return true;
	print_error("%s\n", log);
	return false;
}

int fixture_end(void **state)
{
	struct fixture *fixture = *state;
	bool gone = netd_gone(fixture), clean = log_is_clean(fixture);

	if (!gone)
		(void)fprintf(stderr, "netd is still there\n");
	(void)close(fixture->project.dir_fd);
	if (getenv("VENV_TEST_KEEP"))
		(void)fprintf(stderr, "kept %s\n", fixture->dir);
	else
		(void)venv__tree_delete(AT_FDCWD, fixture->dir, NULL);
	free(fixture->ctx.libexec_dir);
	free(fixture);
	return gone && clean ? 0 : -1;
}

int try_attach(struct fixture *fixture, const struct machine_spec *spec, const char *id,
	       struct net_attachment *ret, venv_error **err)
{
	_cleanup_close_ int socket = -1;
	int r;

	r = venv__net_connect(&fixture->ctx, &fixture->project, NULL, NULL, &socket, NULL, err);
	return r < 0 ? r : venv__net_attach(&socket, &fixture->project, id, spec, false, ret, err);
}

/* ---- Fake machines: namespaces below the project's, as the container provider makes them. ---- */

struct birth {
	const struct net_attachment *net;
	int to_parent, from_parent; /* pipes of the one who writes the map */
};

static int write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* In the project's user namespace: writes the machine's map when it says that it is there. */
static _Noreturn void write_maps(pid_t pid, int from, int to)
{
	static const char *const files[] = { "uid_map", "gid_map" };
	char path[64], byte = 0;

	if (read(from, &byte, 1) != 1)
		_exit(1);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, files[i]);
		if (write_file(path, "0 0 1\n1 1 65535\n") < 0) /* two extents of the parent */
			_exit(1);
	}
	_exit(write(to, &byte, 1) != 1);
}

static int set_own_resolv_conf(const char *dns)
{
	char path[] = "/tmp/venv-test-resolv-XXXXXX", text[64];
	_cleanup_close_ int fd = -1;
	int r = 0;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	fd = mkstemp(path);
	(void)snprintf(text, sizeof(text), "nameserver %s\noptions timeout:2 attempts:1\n", dns);
	if (fd < 0 || venv__write_all(fd, text, strlen(text)) < 0 || fchmod(fd, 0644) < 0 ||
	    mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) < 0)
		r = -errno;
	(void)unlink(path);
	return r;
}

static int become_root_here(void)
{
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return -errno;
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return 0;
}

static int be_born(void *user)
{
	const struct net_attachment *net = user;
	int up[2], down[2];
	pid_t self = getpid();
	char byte = 0;

	if (pipe(up) < 0 || pipe(down) < 0 || setns(net->userns_fd, CLONE_NEWUSER) < 0)
		return -errno;
	if (become_root_here() < 0)
		return -errno;
	if (fork() == 0)
		write_maps(self, up[0], down[1]);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0)
		return -errno;
	(void)close(down[1]);
	if (write(up[1], &byte, 1) != 1 || read(down[0], &byte, 1) != 1 || become_root_here() < 0)
		return -EPERM;
	(void)wait(NULL);
	return net->dns ? set_own_resolv_conf(net->dns) : 0;
}

int machine_plug(struct fake_machine *machine)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", "plug");
	_cleanup_error_ venv_error *err = NULL;
	int r;

	r = venv__msg_call(machine->net.socket, request, &machine->netns_fd, 1, 10000, NULL, NULL,
			   &err);
	if (r < 0)
		print_error("plug: %s\n", venv_error_message(err));
	return r;
}

void machine_enter(struct fake_machine *machine)
{
	char path[64];

	assert_int_equal(agent_start(&machine->agent, be_born, &machine->net), 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", machine->agent.pid);
	machine->netns_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(machine->netns_fd >= 0);
}

void machine_start_as(struct fixture *fixture, struct fake_machine *machine,
		      const struct machine_spec *spec, const char *id)
{
	_cleanup_error_ venv_error *err = NULL;

	*machine = (struct fake_machine){ .netns_fd = -1 };
	(void)snprintf(machine->id, sizeof(machine->id), "%s", id);
	if (try_attach(fixture, spec, machine->id, &machine->net, &err) < 0)
		fail_msg("attach: %s", venv_error_message(err));
	machine_enter(machine);
	assert_int_equal(machine_plug(machine), 0);
	machine->address = machine->net.n_interfaces ? machine->net.interfaces[0].address : NULL;
}

void machine_start(struct fixture *fixture, struct fake_machine *machine,
		   const struct machine_spec *spec)
{
	char id[33];

	assert_int_equal(venv__random_id(id), 0);
	machine_start_as(fixture, machine, spec, id);
}

/* netd hears of the end when it comes to that; by then the ports are closed. */
static void leave_network(int socket)
{
	struct pollfd wait = { .fd = socket };

	if (socket >= 0 && shutdown(socket, SHUT_WR) == 0)
		(void)poll(&wait, 1, 5000);
}

void machine_stop(struct fake_machine *machine)
{
	agent_stop(&machine->agent);
	leave_network(machine->net.socket);
	if (machine->netns_fd >= 0)
		(void)close(machine->netns_fd);
	machine->netns_fd = -1;
	venv__net_attachment_done(&machine->net);
}

/* ---- What tests say. ---- */

uint16_t next_port(void)
{
	static uint16_t port = 18000;

	return port++;
}

void talks(struct agent *agent, const char *type, const char *address, int port,
	   const char *expected)
{
	_cleanup_free_ char *received = NULL;
	int r = agent_talk(agent, type, address, port, "hello", &received);

	if (r)
		fail_msg("%s %s:%d: %s", type, address, port, strerror(r));
	assert_string_equal(received, expected);
}

void is_closed(struct agent *agent, const char *type, const char *address, int port)
{
	_cleanup_free_ char *received = NULL;

	if (agent_talk(agent, type, address, port, "hello", &received) == 0)
		fail_msg("%s %s:%d answered: %s", type, address, port, received);
}

/* ---- Looking at processes. ---- */

static bool has_argument(pid_t pid, const char *text)
{
	_cleanup_free_ char *line = NULL;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	return venv__file_read(AT_FDCWD, path, 65536, &line, NULL, NULL) == 0 &&
	       strcmp(line, text) == 0;
}

static pid_t parent_of(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	const char *after;
	char path[64];
	pid_t parent = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (venv__file_read(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
		return -1;
	after = strrchr(text, ')');
	if (!after || sscanf(after + 1, " %*c %d", &parent) != 1)
		return -1;
	return parent;
}

pid_t child_pid(pid_t parent, const char *name)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	pid_t found = -1;

	for (const struct dirent *entry; (entry = readdir(proc));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 0 && has_argument(pid, name) && parent_of(pid) == parent)
			found = pid;
	}
	return found;
}

/* Of netd only root sees the descriptors. */
pid_t netd_pid(const struct fixture *fixture)
{
	_cleanup_free_ char *output = NULL;

	if (agent_run(&host, &output,
		      "for p in $(grep -lx venv-netd /proc/[0-9]*/comm 2>/dev/null); do "
		      "test \"$(readlink ${p%%comm}fd/4)\" = '%s' && echo ${p#/proc/}; done; true",
		      fixture->dir) ||
	    !output || !*output)
		return -1;
	return (pid_t)strtol(output, NULL, 10);
}

size_t count_descriptors(pid_t pid)
{
	_cleanup_free_ char *output = NULL;

	assert_int_equal(agent_run(&host, &output, "ls /proc/%d/fd | wc -l", pid), 0);
	return strtoul(output, NULL, 10);
}

void wait_end(pid_t pid)
{
	for (int i = 0; i < 300 && kill(pid, 0) == 0; i++)
		(void)usleep(10000);
	assert_int_not_equal(kill(pid, 0), 0);
}

bool netd_gone(const struct fixture *fixture)
{
	for (int waited = 0; waited < 300; waited++) {
		/* connecting to find out would keep it */
		if (faccessat(fixture->project.dir_fd, "net", F_OK, 0) < 0)
			return netd_pid(fixture) < 0 || usleep(50000) < 0 || netd_pid(fixture) < 0;
		(void)usleep(10000);
	}
	return false;
}
