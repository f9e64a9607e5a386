/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container provider without core, on a box of busybox, as whoever runs it: root or an ordinary
 * user. Every test ends with destroy and with nothing left behind.
 */
#include "container_world.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cgroup/cgroup.h"
#include "providers/container/container.h"
#include "util/process.h"
#include "util/sys.h"

static const struct provider *const provider = &container_provider;

static void starts_runs_and_stops(void **state)
{
	struct world *world = *state;

	world_up(world);
	world_expect(world, "echo hello; id -u; hostname; cat /etc/box",
		     "hello\n0\nweb\nfrom-the-box\n");
	world_expect(world, "cat /proc/1/comm; pwd; echo $HOME $USER",
		     "venv-init\n/root\n/root root\n");
	world_down(world);
	assert_int_equal(provider->stop(&world->machine, STOP_GRACEFUL, NULL, NULL), 0);
}

static void passes_status_and_bytes(void **state)
{
	struct world *world = *state;
	struct output output;

	world_up(world);
	output = world_run(world, "exit 42");
	assert_int_equal(output.status, 42);
	free(output.text);
	output = world_run(world, "kill -9 $$");
	assert_int_equal(output.status, 128 + SIGKILL);
	free(output.text);
	output = world_run(world, "/does/not/exist");
	assert_int_equal(output.status, 127);
	free(output.text);
}

static void feeds_binary_input(void **state)
{
	struct world *world = *state;
	char cat[] = "/bin/cat", *argv[] = { cat, NULL };
	struct exec_spec spec = { .argv = argv, .fds = { -1, -1, -1 } };
	unsigned char bytes[65536], *text;
	struct output output;
	int pipe_fds[2];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7 + i / 256);
	world_up(world);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(write(pipe_fds[1], bytes, sizeof(bytes)), sizeof(bytes));
	(void)close(pipe_fds[1]);
	spec.fds[0] = pipe_fds[0];
	output = world_exec(world, &spec);
	(void)close(pipe_fds[0]);
	assert_int_equal(output.status, 0);
	text = (unsigned char *)output.text;
	assert_memory_equal(text, bytes, sizeof(bytes));
	free(output.text);
}

static struct output run_tty(struct world *world, const char *script)
{
	char sh[] = "/bin/sh", option[] = "-c";
	_cleanup_free_ char *text = strdup(script);
	char *argv[] = { sh, option, text, NULL };
	struct exec_spec spec = { .argv = argv,
				  .fds = { -1, -1, -1 },
				  .tty = true,
				  .rows = 33,
				  .columns = 77,
				  .term = "vt220" };

	return world_exec(world, &spec);
}

static void gives_a_terminal(void **state)
{
	struct world *world = *state;
	struct output output;

	world_up(world);
	output = run_tty(world, "tty; stty size; echo $TERM; ps -o pid,tty | grep -c pts");
	assert_string_equal(output.text, "/dev/pts/1\r\n33 77\r\nvt220\r\n0\r\n");
	assert_int_equal(output.status, 1);
	free(output.text);
	output = run_tty(world, "exit 3");
	assert_int_equal(output.status, 3);
	free(output.text);
}

static struct exec_handle begin(struct world *world, const char *script, bool tty)
{
	char sh[] = "/bin/sh", option[] = "-c";
	_cleanup_free_ char *text = strdup(script);
	char *argv[] = { sh, option, text, NULL };
	struct exec_spec spec = { .argv = argv, .fds = { -1, -1, -1 }, .tty = tty };
	struct exec_handle handle = { .control = -1, .tty = -1 };
	_cleanup_error_ venv_error *error = NULL;

	if (provider->exec(&world->machine, &spec, &handle, &error) < 0)
		print_error("%s\n", venv_error_message(error));
	assert_true(handle.control >= 0);
	return handle;
}

static json_t *end_of(struct exec_handle *handle)
{
	json_t *message = NULL;

	assert_int_equal(venv__msg_receive(handle->control, 60000, &message, NULL, NULL), 1);
	(void)close(handle->control);
	return message;
}

static void wait_for_file(struct world *world, const char *path)
{
	char script[256];
	struct output output;

	(void)snprintf(script, sizeof(script),
		       "for i in $(seq 400); do [ -e %s ] && exit 0; "
		       "usleep 10000; done; exit 1",
		       path);
	output = world_run(world, script);
	assert_int_equal(output.status, 0);
	free(output.text);
}

static void carries_signals_and_interrupts(void **state)
{
	struct world *world = *state;
	struct exec_handle handle;
	json_t *request = json_pack("{s:s, s:i}", "op", "signal", "signal", SIGUSR1), *end;

	world_up(world);
	handle = begin(world, "trap 'exit 7' USR1; touch /ready; while :; do usleep 5000; done",
		       false);
	wait_for_file(world, "/ready");
	assert_int_equal(venv__msg_send(handle.control, request, NULL, 0, NULL), 0);
	json_decref(request);
	end = end_of(&handle);
	assert_int_equal(venv__json_int(end, "exit", -1), 7);
	json_decref(end);

	handle = begin(world, "touch /ready2; sleep 100", true);
	wait_for_file(world, "/ready2");
	assert_int_equal(write(handle.tty, "\003", 1), 1);
	end = end_of(&handle);
	assert_int_equal(venv__json_int(end, "signal", -1), SIGINT);
	json_decref(end);
	(void)close(handle.tty);
}

static void hangs_up_when_the_client_goes(void **state)
{
	struct world *world = *state;
	struct exec_handle handle;

	world_up(world);
	handle = begin(world,
		       "trap 'touch /hup; exit' HUP; touch /ready; while :; do usleep 5000; done",
		       false);
	wait_for_file(world, "/ready");
	(void)close(handle.control);
	wait_for_file(world, "/hup");
}

#define NO_USER_HINT                                                                               \
	"hint: make that user in a provisioning step with 'as: root', or name one that the machine has\n"

static void becomes_the_user(void **state)
{
	static const struct {
		const char *user, *text;
		int status;
	} cases[] = {
		{ "dev", "1000 1000 1000 10 /home/dev dev /home/dev\n", 0 },
		{ "1000", "1000 1000 1000 10 /home/dev dev /home/dev\n", 0 },
		{ "dev:wheel", "1000 10 10 /home/dev dev /home/dev\n", 0 },
		{ "4242:4343", "4242 4343 4343 /  /\n", 0 },
		{ "nobody-here", "venv: the machine has no user 'nobody-here'\n" NO_USER_HINT,
		  125 },
		{ "70000", "venv: the machine has no user '70000'\n" NO_USER_HINT, 125 },
		{ "4294967295", "venv: the machine has no user '4294967295'\n" NO_USER_HINT, 125 },
	};
	struct world *world = *state;

	world_up(world);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct output output =
			world_run_as(world, cases[i].user,
				     "echo $(id -u) $(id -g) $(id -G) \"$HOME $USER\" $PWD");

		assert_string_equal(output.text, cases[i].text);
		assert_int_equal(output.status, cases[i].status);
		free(output.text);
	}
}

static void runs_the_login_shell(void **state)
{
	struct world *world = *state;
	struct exec_spec spec = { .fds = { -1, -1, -1 } };
	struct output output;
	int pipe_fds[2];

	world_up(world);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(write(pipe_fds[1], "echo $0 $SHELL\n", 15), 15);
	(void)close(pipe_fds[1]);
	spec.fds[0] = pipe_fds[0];
	output = world_exec(world, &spec);
	assert_string_equal(output.text, "-sh /bin/sh\n");
	(void)close(pipe_fds[0]);
	free(output.text);
}

static int64_t record_number(struct world *world, const char *key)
{
	_cleanup_json_ json_t *record = NULL;

	assert_int_equal(provider->info(&world->machine, &record, NULL), 0);
	return venv__json_int(record, key, -1);
}

static int ask_for_socket(struct world *world, int control, json_t *request, json_t **ret)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_error_ venv_error *error = NULL;
	int r = venv__msg_call(control, request, NULL, 0, 20000, ret, &fds, &error);

	(void)world;
	json_decref(request);
	return r < 0 ? r : venv__msg_fds_take(&fds, 0);
}

static void dials_and_listens_inside(void **state)
{
	struct world *world = *state;
	_cleanup_close_ int listener = -1, dialled = -1, accepted = -1, agent = -1;
	int control;
	json_t *reply = NULL;
	char text[8] = "", script[256];
	int64_t port;

	world_up(world);
	control = venv__alive_connect(&world->machine, NULL);
	assert_true(control >= 0);
	listener = ask_for_socket(
		world, control,
		json_pack("{s:s, s:s, s:i}", "op", "listen", "host", "127.0.0.1", "port", 0),
		&reply);
	assert_true(listener >= 0);
	port = venv__json_int(reply, "port", 0);
	assert_in_range(port, 1, 65535);
	json_decref(reply);
	dialled = ask_for_socket(world, control,
				 json_pack("{s:s, s:s, s:I}", "op", "dial", "host", "localhost",
					   "port", (json_int_t)port),
				 &reply);
	assert_true(dialled >= 0);
	json_decref(reply);
	accepted = accept(listener, NULL, NULL);
	assert_true(accepted >= 0);
	assert_int_equal(write(dialled, "hello", 5), 5);
	assert_int_equal(read(accepted, text, sizeof(text)), 5);
	assert_int_equal(ask_for_socket(world, control,
					json_pack("{s:s, s:s, s:i}", "op", "dial", "host",
						  "nowhere.invalid", "port", 1),
					&reply),
			 VENV_ERR_NOT_FOUND);
	agent = ask_for_socket(
		world, control,
		json_pack("{s:s, s:b, s:s}", "op", "listen", "agent", 1, "user", "dev"), &reply);
	assert_true(agent >= 0);
	(void)snprintf(script, sizeof(script), "stat -c '%%U %%a' %s; echo /tmp/venv-agent*/agent",
		       venv__json_str(reply, "path"));
	json_decref(reply);
	{
		struct output output = world_run(world, script);

		assert_memory_equal(output.text, "dev 600\n/tmp/venv-agent-", 24);
		free(output.text);
	}
	(void)close(control);
	world_expect(world,
		     "for i in $(seq 300); do [ -e /tmp/venv-agent* ] || break; usleep 10000; "
		     "done; ls /tmp",
		     "");
}

static void survives_the_death_of_its_keeper(void **state)
{
	struct world *world = *state;
	pid_t keeper, init;

	world_up(world);
	world_expect(world, "echo kept >/data; (sleep 1000 >/dev/null 2>&1 &)", "");
	keeper = (pid_t)record_number(world, "keeper");
	init = (pid_t)record_number(world, "pid");
	assert_true(keeper > 1 && init > 1);
	assert_int_equal(kill(keeper, SIGKILL), 0);
	world_wait(world, MACHINE_CRASHED);
	for (int i = 0; i < 2000 && kill(init, 0) == 0; i++)
		(void)poll(NULL, 0, 1);
	assert_int_equal(kill(init, 0), -1);
	world_up(world);
	world_expect(world, "cat /data; pidof sleep || echo none", "kept\nnone\n");
	world_down(world);
	world_up(world);
	world_expect(world, "cat /data", "kept\n");
	assert_int_equal(kill((pid_t)record_number(world, "keeper"), SIGKILL), 0);
	world_wait(world, MACHINE_CRASHED);
	assert_int_equal(provider->stop(&world->machine, STOP_GRACEFUL, NULL, NULL), 0);
	assert_int_equal(world_state(world), MACHINE_STOPPED);
}

static void refuses_a_second_keeper(void **state)
{
	struct world *world = *state;
	_cleanup_error_ venv_error *error = NULL;

	world_up(world);
	assert_int_equal(provider->start(&world->machine, NULL, &error), VENV_ERR_STATE);
	assert_string_equal(venv_error_message(error), "the machine is running already");
	world_expect(world, "echo still here", "still here\n");
}

static void reboots_and_powers_off_from_inside(void **state)
{
	struct world *world = *state;
	struct output output;
	int64_t before;

	world_up(world);
	before = record_number(world, "pid");
	output = world_run(world, "echo kept >/data; reboot -f");
	free(output.text);
	for (int i = 0; i < 3000; i++) {
		if (world_state(world) == MACHINE_RUNNING && record_number(world, "pid") != before)
			break;
		(void)poll(NULL, 0, 1);
	}
	world_expect(world, "cat /data", "kept\n");
	output = world_run(world, "poweroff -f");
	free(output.text);
	world_wait(world, MACHINE_STOPPED);
}

static bool can_limit(const char *controller)
{
	struct cgroup_host host;
	bool can;

	venv__cgroup_host_find(&host);
	can = venv__strv_has(host.controllers, controller);
	venv__cgroup_host_done(&host);
	return can;
}

static void pauses_and_resumes(void **state)
{
	struct world *world = *state;
	_cleanup_error_ venv_error *error = NULL;
	struct exec_handle handle;
	struct output first, second;
	int r;

	world_up(world);
	handle = begin(world, "while :; do echo x >>/ticks; usleep 2000; done", false);
	r = provider->pause(&world->machine, NULL, &error);
	if (geteuid() != 0 && r == VENV_ERR_HOST) {
		(void)close(handle.control);
		return; /* no control group for this user here */
	}
	if (r < 0)
		print_error("%s\n", venv_error_message(error));
	assert_int_equal(r, 0);
	assert_int_equal(world_state(world), MACHINE_PAUSED);
	assert_int_equal(provider->pause(&world->machine, NULL, NULL), 0);
	assert_int_equal(provider->exec(&world->machine,
					&(struct exec_spec){ .fds = { -1, -1, -1 } }, &handle,
					NULL),
			 VENV_ERR_STATE);
	(void)poll(NULL, 0, 30);
	assert_int_equal(provider->resume(&world->machine, NULL, NULL), 0);
	assert_int_equal(world_state(world), MACHINE_RUNNING);
	first = world_run(world, "wc -l </ticks");
	(void)poll(NULL, 0, 50);
	second = world_run(world, "wc -l </ticks");
	assert_true(strtol(second.text, NULL, 10) > strtol(first.text, NULL, 10));
	free(first.text);
	free(second.text);
	(void)close(handle.control);
	/* a paused machine is stopped without being asked to resume */
	assert_int_equal(provider->pause(&world->machine, NULL, NULL), 0);
	world_down(world);
}

static int64_t stat_number(struct world *world, const char *key)
{
	_cleanup_json_ json_t *stats = NULL;

	assert_int_equal(provider->stats(&world->machine, &stats, NULL), 0);
	return venv__json_int(stats, key, -1);
}

static void kills_what_exceeds_the_memory(void **state)
{
	struct world *world = *state;
	struct output output;

	if (!can_limit("memory"))
		skip();
	world->spec.memory = 48 * 1024 * 1024;
	world->spec.pids = 64;
	world->spec.cpus = 1.5;
	world->spec.cpu_weight = 50;
	world_up(world);
	assert_int_equal(stat_number(world, "memory_limit"), 48 * 1024 * 1024);
	output = world_run(world, "head -c 200000000 /dev/zero | tail | wc -c");
	free(output.text);
	for (int i = 0; i < 2000 && record_number(world, "oom_kills") < 1; i++)
		(void)poll(NULL, 0, 1);
	assert_true(record_number(world, "oom_kills") >= 1);
	assert_true(stat_number(world, "oom_kills") >= 1);
	assert_true(stat_number(world, "pids") >= 1);
	assert_true(stat_number(world, "cpu_us") > 0);
	output = world_run(world, "i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done");
	assert_true(strstr(output.text, "fork") != NULL);
	free(output.text);
}

static void freezes_when_told_and_goes_on(void **state)
{
	struct world *world = *state;
	_cleanup_json_ json_t *changed = json_pack("[{s:s}]", "key", "memory");
	struct exec_handle handle;
	json_t *end;

	if (!can_limit("memory"))
		skip();
	world->spec.memory = 32 * 1024 * 1024;
	world->spec.oom = OOM_FREEZE;
	world_up(world);
	handle = begin(world, "head -c 60000000 /dev/zero | tail | wc -c", false);
	world_wait(world, MACHINE_FROZEN);
	world->spec.memory = 256 * 1024 * 1024;
	assert_int_equal(provider->apply(&world->machine, changed, NULL, NULL), 0);
	world_wait(world, MACHINE_RUNNING);
	end = end_of(&handle);
	assert_int_equal(venv__json_int(end, "exit", -1), 0);
	json_decref(end);
	assert_int_equal(record_number(world, "oom_kills"), 0);
}

static void add_folder(struct world *world, char *guest, bool read_only)
{
	size_t n = world->machine.n_folders++;

	world->folders[n] = (struct machine_folder){
		.host = world->shared,
		.host_fd = open(world->shared, O_PATH | O_DIRECTORY | O_CLOEXEC),
		.guest = guest,
		.read_only = read_only,
		.hide_machines = true,
	};
	assert_true(world->folders[n].host_fd >= 0);
}

static struct stat stat_shared(struct world *world, const char *name)
{
	_cleanup_free_ char *path = venv__path_join(world->shared, name);
	struct stat st = { 0 };

	assert_int_equal(lstat(path, &st), 0);
	return st;
}

/* As root: a folder of an ordinary user's, whose files the login user's shall be. As a user: guest
 * root is the user. Either way what the login user writes is the owner's. */
static void shares_folders(void **state)
{
	static char work[] = "/workspace", fixed[] = "/srv/fixed/deep";
	struct world *world = *state;
	_cleanup_free_ char *secret = venv__path_join(world->shared, ".machines/web");
	uid_t owner = geteuid() == 0 ? 3456 : geteuid();
	struct output output;
	struct stat st;
	int fd;

	assert_int_equal(venv__dir_make(secret, &fd, NULL), 0);
	(void)close(fd);
	if (geteuid() == 0) {
		assert_int_equal(chown(world->shared, owner, owner), 0);
		world->machine.login = "dev";
	}
	add_folder(world, work, false);
	add_folder(world, fixed, true);
	world_up(world);
	output = world_run_as(world, world->machine.login,
			      "cd /workspace && mkdir d && echo x >d/file && stat -c %u:%g d/file; "
			      "ls -A .machines");
	assert_string_equal(output.text, geteuid() == 0 ? "1000:1000\n" : "0:0\n");
	free(output.text);
	st = stat_shared(world, "d/file");
	assert_int_equal(st.st_uid, owner);
	st = stat_shared(world, "d");
	assert_int_equal(st.st_uid, owner);
	output = world_run(world, "touch /srv/fixed/deep/x");
	assert_int_not_equal(output.status, 0);
	assert_true(strstr(output.text, "Read-only") != NULL);
	free(output.text);
	world_expect(world,
		     "cp /bin/busybox /workspace/suid; chmod 4755 /workspace/suid; "
		     "grep -c 'workspace .*nosuid,nodev' /proc/mounts",
		     "1\n");
}

static void restarts_with_folders_and_volumes(void **state)
{
	static char data[] = "/var/lib/data";
	struct world *world = *state;
	struct stat st;

	add_folder(world, data, false);
	world->folders[0].volume = true;
	assert_int_equal(chown(world->shared, world->ctx.map.uid, world->ctx.map.gid), 0);
	world_up(world);
	world_expect(world, "echo 1 >/var/lib/data/x; chown 5:6 /var/lib/data/x", "");
	world_down(world);
	world_up(world);
	world_expect(world, "stat -c %u:%g /var/lib/data/x", "5:6\n");
	st = stat_shared(world, "x");
	assert_int_equal(st.st_uid, venv__idmap_uid(&world->ctx.map, 5));
}

static void runs_the_image_command(void **state)
{
	/* its last words come before those of how it ended */
	static char sh[] = "/bin/sh", option[] = "-c",
		    script[] =
			    "echo service $(id -u) $PWD $MODE; seq 400; echo again >/dev/stderr; "
			    "exit 9",
		    *entrypoint[] = { sh, option, NULL }, *cmd[] = { script, NULL },
		    mode[] = "MODE=image", *env[] = { mode, NULL };
	static char user[] = "dev", workdir[] = "/var/tmp";
	struct world *world = *state;
	_cleanup_free_ char *log = NULL;

	world->spec.command = COMMAND_IMAGE;
	world->machine.image.entrypoint = entrypoint;
	world->machine.image.cmd = cmd;
	world->machine.image.env = env;
	world->machine.image.user = user;
	world->machine.image.workdir = workdir;
	world_up(world);
	for (int i = 0; i < 3000 && record_number(world, "command_status") < 0; i++)
		(void)poll(NULL, 0, 1);
	assert_int_equal(record_number(world, "command_status"), 9 << 8);
	world_down(world);
	assert_int_equal(
		venv__file_read(world->machine.dir_fd, "console.log", 65536, &log, NULL, NULL), 0);
	assert_non_null(strstr(log, "service 1000 /var/tmp image\r\n1\r\n2\r\n"));
	assert_non_null(strstr(log, "399\r\n400\r\nagain\r\n"
				    "venv: the image's command ended with status 9\n"));
}

static void runs_the_image_init(void **state)
{
	static char init[] = "/etc/myinit", *cmd[] = { init, NULL };
	struct world *world = *state;

	world_box_file(world, "etc/myinit",
		       "#!/bin/sh\ntrap 'echo bye >/stopped; exit' TERM\necho up >/dev/console\n"
		       "while :; do usleep 5000; done\n",
		       0755);
	world->spec.init = INIT_IMAGE;
	world->machine.image.cmd = cmd;
	world_up(world);
	world_expect(world, "cat /proc/1/comm", "myinit\n");
	world_down(world);
	world->spec.init = INIT_NONE;
	world_up(world);
	world_expect(world, "cat /stopped", "bye\n");
}

static void stops_stubborn_machines_by_force(void **state)
{
	struct world *world = *state;
	struct exec_handle handle;
	uint64_t begun;

	world->spec.stop_timeout_ms = 150;
	world_up(world);
	handle = begin(world, "trap '' TERM HUP; touch /ready; while :; do sleep 1; done", false);
	wait_for_file(world, "/ready");
	begun = venv__now_us();
	world_down(world);
	assert_in_range(venv__now_us() - begun, 100 * 1000, 2000 * 1000);
	(void)close(handle.control);
}

static void says_what_is_wrong(void **state)
{
	struct world *world = *state;
	static char missing[] = "/nowhere/layer", *cmd[] = { missing, NULL };
	_cleanup_error_ venv_error *error = NULL, *second = NULL;

	assert_int_equal(provider->create(&world->machine, NULL, NULL), 0);
	world->layers[0] = missing;
	assert_true(provider->start(&world->machine, NULL, &error) < 0);
	assert_non_null(strstr(venv_error_message(error), "/nowhere/layer"));
	assert_int_equal(world_state(world), MACHINE_STOPPED);
	world->layers[0] = world->layer;
	world->spec.init = INIT_IMAGE;
	world->machine.image.cmd = cmd;
	assert_true(provider->start(&world->machine, NULL, &second) < 0);
	assert_string_equal(venv_error_message(second),
			    "executing the first program: /nowhere/layer: "
			    "No such file or directory");
	assert_non_null(venv_error_hint(second));
	assert_int_equal(world_state(world), MACHINE_STOPPED);
	world->spec.init = INIT_NONE;
	world_up(world);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double milliseconds(uint64_t us)
{
	return (double)us / 1e3;
}

static void is_quick(void **state)
{
	enum { ROUNDS = 15 };
	struct world *world = *state;
	uint64_t up[ROUNDS], exec[ROUNDS], down[ROUNDS], begun;

	for (size_t i = 0; i < ROUNDS; i++) {
		begun = venv__now_us();
		world_up(world);
		up[i] = venv__now_us() - begun;
		begun = venv__now_us();
		world_expect(world, "true", "");
		exec[i] = venv__now_us() - begun;
		begun = venv__now_us();
		assert_int_equal(provider->destroy(&world->machine, NULL, NULL), 0);
		down[i] = venv__now_us() - begun;
	}
	qsort(up, ROUNDS, sizeof(up[0]), compare);
	qsort(exec, ROUNDS, sizeof(exec[0]), compare);
	qsort(down, ROUNDS, sizeof(down[0]), compare);
	print_message("create+start %.1f ms (min %.1f), exec sh -c true %.1f (%.1f), "
		      "destroy %.1f (%.1f)\n",
		      milliseconds(up[(size_t)ROUNDS / 2]), milliseconds(up[0]),
		      milliseconds(exec[(size_t)ROUNDS / 2]), milliseconds(exec[0]),
		      milliseconds(down[(size_t)ROUNDS / 2]), milliseconds(down[0]));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(starts_runs_and_stops),
		TEST(passes_status_and_bytes),
		TEST(feeds_binary_input),
		TEST(gives_a_terminal),
		TEST(carries_signals_and_interrupts),
		TEST(hangs_up_when_the_client_goes),
		TEST(becomes_the_user),
		TEST(runs_the_login_shell),
		TEST(dials_and_listens_inside),
		TEST(survives_the_death_of_its_keeper),
		TEST(refuses_a_second_keeper),
		TEST(reboots_and_powers_off_from_inside),
		TEST(pauses_and_resumes),
		TEST(kills_what_exceeds_the_memory),
		TEST(freezes_when_told_and_goes_on),
		TEST(shares_folders),
		TEST(restarts_with_folders_and_volumes),
		TEST(runs_the_image_command),
		TEST(runs_the_image_init),
		TEST(stops_stubborn_machines_by_force),
		TEST(says_what_is_wrong),
		TEST(is_quick),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("container", tests, NULL, NULL);
}
