/* SPDX-License-Identifier: Apache-2.0 */
/* The program venv-vmm as the library drives it: messages, files, rights, ends. Guests of tests/guest/. */
#include "vmm_world.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "cgroup/cgroup.h"
#include "util/file.h"
#include "util/msg.h"
#include "util/sys.h"

static void it_runs_to_its_end(void **state)
{
	struct world *world = *state;

	world_start(world, world_machine("hello"));
	world_wait_end(world);
	assert_true(world_log_has(world, "hello from long mode\n"));
	world_assert_record(world, "\"stopped\"");
}

static void ends_have_names(void **state)
{
	static const struct {
		const char *cmdline, *record;
	} cases[] = {
		{ "fault", "triple fault" },
		{ "timer", "\"debug_exit\":0" },
		{ "unknown", "\"debug_exit\":255" },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		world_start(world, world_machine(cases[i].cmdline));
		world_wait_end(world);
		world_assert_record(world, cases[i].record);
		(void)close(take_fd(&world->socket));
		if (world->ctl >= 0)
			(void)close(take_fd(&world->ctl));
	}
	assert_true(world_log_has(world, "venv: the guest's processor met a triple fault\n"));
}

static void it_answers(void **state)
{
	struct world *world = *state;
	_cleanup_json_ json_t *stats = NULL, *more = NULL;
	const json_t *timing;

	world_start(world, world_machine("spin"));
	world_wait_log(world, "ready");
	assert_int_equal(world_ask(world, "state"), 0);
	world_assert_record(world, "\"running\"");
	assert_int_equal(world_ask(world, "pause"), 0);
	assert_int_equal(world_ask(world, "pause"), 0);
	world_assert_record(world, "\"paused\"");
	assert_int_equal(world_ask(world, "resume"), 0);
	assert_int_equal(world_ask(world, "nonsense"), VENV_ERR_UNSUPPORTED);
	assert_int_equal(world_ask(world, "save"), VENV_ERR_INVALID); /* no files */
	assert_int_equal(world_call(world, json_pack("{s:s}", "op", "stats"), &stats, NULL), 0);
	timing = json_object_get(stats, "timing_us");
	print_message(
		"spawn to configured %lld, made %lld, loaded %lld, jailed %lld, first KVM_RUN "
		"%lld us\n",
		(long long)venv__json_int(timing, "configured", -1),
		(long long)venv__json_int(timing, "made", -1),
		(long long)venv__json_int(timing, "loaded", -1),
		(long long)venv__json_int(timing, "jailed", -1),
		(long long)venv__json_int(timing, "first_run", -1));
	assert_true(venv__json_int(timing, "first_run", -1) > 0);
	assert_int_equal(venv__json_int(json_object_get(stats, "exits"), "io_out", 0), 6);
	/* it does not know the button: force, after a moment */
	assert_int_equal(world_call(world, json_pack("{s:s, s:i}", "op", "stop", "timeout_ms", 50),
				    &more, NULL),
			 0);
	world_wait_end(world);
	world_assert_record(world, "\"stopped\"");
	assert_true(world_log_has(world, "stopped by force"));
}

static void the_button_works_also_when_paused(void **state)
{
	struct world *world = *state;

	world_start(world, world_machine("button"));
	world_wait_log(world, "ready");
	assert_int_equal(world_ask(world, "pause"), 0);
	assert_int_equal(world_ask(world, "stop"), 0);
	world_wait_end(world);
	assert_false(world_log_has(world, "force"));
}

static void resets_stay_in_the_process(void **state)
{
	struct world *world = *state;

	world_start(world, world_machine("reset"));
	world_wait_end(world);
	world_assert_record(world, "\"debug_exit\":0");
	assert_true(world_log_has(world, "again\nvenv: the guest restarted the machine\nagain\n"));
}

enum { FD_KERNEL = 1, FD_RAW, FD_RAW_READ, FD_OVERLAY, FD_TAP, FD_SOCKET, FDS };

/* Descriptors as devices are given them: what is said of them is in device_cases. fd[0]: not sent. */
static void open_device_files(struct world *world, int fd[FDS])
{
	int tap[2];

	fd[0] = -1;
	fd[FD_KERNEL] = world_open("VENV_GUESTS", "guest_long", O_RDONLY);
	fd[FD_RAW] = world_make_file(world, "raw", 1 << 20);
	fd[FD_RAW_READ] = world_reopen(world, "raw");
	fd[FD_OVERLAY] = world_make_overlay(world, "overlay", "raw");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, tap), 0);
	fd[FD_TAP] = tap[0];
	(void)close(tap[1]);
	fd[FD_SOCKET] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int start_devices(struct world *world, const char *devices, venv_error **err)
{
	json_t *machine = world_machine("spin"), *list = json_loads(devices, 0, NULL);
	int fd[FDS], r;

	assert_non_null(list);
	(void)json_object_set_new(machine, "devices", list);
	open_device_files(world, fd);
	r = world_send(world, machine, fd + 1, FDS - 1, NULL, err);
	for (size_t i = 1; i < FDS; i++)
		(void)close(fd[i]);
	return r;
}

static const char all_devices[] =
	"[{\"kind\":\"rng\",\"slot\":1},{\"kind\":\"balloon\",\"slot\":2},"
	"{\"kind\":\"blk\",\"slot\":3,\"serial\":\"root\",\"images\":["
	"{\"file\":4,\"format\":\"qcow2\",\"name\":\"overlay\"},{\"file\":3,\"name\":\"raw\"}]},"
	"{\"kind\":\"blk\",\"slot\":4,\"threads\":true,\"read_only\":true,"
	"\"images\":[{\"file\":3,\"format\":\"raw\",\"name\":\"seed\"}]},"
	"{\"kind\":\"net\",\"slot\":5,\"tap\":5,\"mac\":\"02:00:00:00:0a:01\",\"mtu\":1500},"
	"{\"kind\":\"fs\",\"slot\":12,\"tag\":\"home\",\"directory\":0,\"uid\":1000,\"gid\":1000},"
	"{\"kind\":\"vsock\",\"slot\":30,\"cid\":3,\"listener\":6,\"directory\":0}]";

static void devices_are_as_described(void **state)
{
	static const struct {
		const char *device, *message;
	} cases[] = {
		{ "'kind':'gpu'", "no device" },
		{ "'kind':'blk'", "no format" },
		{ "'kind':'blk','images':[]", "no format" },
		{ "'kind':'blk','images':[{'file':2,'name':'a','format':'vmdk'}]", "'vmdk'" },
		{ "'kind':'blk','images':[{'file':2,'format':'raw'}]", "no image 0" },
		{ "'kind':'blk','images':[{'file':9,'name':'a','format':'raw'}]", "'file'" },
		{ "'kind':'blk','images':[{'file':2,'name':'a','format':'qcow2'}]", "'a'" },
		/* what lies below is not there, is another, could be written */
		{ "'kind':'blk','images':[{'file':4,'name':'a','format':'qcow2'}]", "no image 1" },
		{ "'kind':'blk','images':[{'file':4,'name':'a','format':'qcow2'},"
		  "{'file':3,'name':'b'}]",
		  "lies on 'raw', not on 'b'" },
		{ "'kind':'blk','images':[{'file':4,'name':'a','format':'qcow2'},"
		  "{'file':2,'name':'raw'}]",
		  "could be written" },
		{ "'kind':'net','tap':5,'mtu':1500", "address" },
		{ "'kind':'net','tap':5,'mtu':1500,'mac':'02:00:00:00:00:0'", "address" },
		{ "'kind':'net','tap':5,'mtu':1500,'mac':'02:00:00:00:00:0x'", "address" },
		{ "'kind':'net','tap':5,'mtu':1500,'mac':'02:00:00:00-00:00'", "address" },
		{ "'kind':'net','tap':5,'mtu':1500,'mac':'03:00:00:00:00:00'", "address" },
		{ "'kind':'net','tap':5,'mac':'02:00:00:00:00:01'", "'mtu'" },
		{ "'kind':'net','tap':5,'mac':'02:00:00:00:00:01','mtu':1500,'address':'10.1'",
		  "no address" },
		{ "'kind':'net','tap':5,'mac':'02:00:00:00:00:01','mtu':67", "'mtu'" },
		{ "'kind':'net','mac':'02:00:00:00:00:01','mtu':1500", "'tap'" },
		{ "'kind':'fs','directory':0,'uid':0,'gid':0", "tag" },
		{ "'kind':'fs','tag':'','directory':0,'uid':0,'gid':0", "tag" },
		{ "'kind':'fs','tag':'a','directory':1,'uid':0,'gid':0", "" },
		{ "'kind':'fs','tag':'a','uid':0,'gid':0", "descriptor" },
		{ "'kind':'fs','tag':'a','directory':0,'uid':-1,'gid':0", "'uid'" },
		{ "'kind':'fs','tag':'a','directory':0,'uid':0,'gid':4294967295", "'gid'" },
		{ "'kind':'vsock'", "'cid'" },
		{ "'kind':'vsock','cid':2", "'cid'" },
		{ "'kind':'vsock','cid':4294967295", "'cid'" },
		{ "'kind':'vsock','cid':3,'listener':77", "'listener'" },
		{ "'kind':'vsock','cid':3,'directory':77", "'directory'" },
		{ "'kind':'console'", "'socket'" },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_error_ venv_error *error = NULL;
		_cleanup_free_ char *text = NULL;

		assert_true(asprintf(&text, "[{'slot':1,%s}]", cases[i].device) > 0);
		for (char *c = text; *c; c++)
			*c = *c == '\'' ? '"' : *c;
		assert_true(start_devices(world, text, &error) < 0);
		if (!strstr(venv_error_message(error), cases[i].message))
			fail_msg("%s: %s", text, venv_error_message(error));
		world_wait_end(world);
		(void)close(take_fd(&world->socket));
	}
}

/* One line of a thread's status. */
static void assert_status(pid_t pid, const char *line)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_strv_ char **threads = NULL;
	_cleanup_close_ int tasks = -1;

	assert_true(asprintf(&path, "/proc/%d/task", (int)pid) > 0);
	tasks = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(venv__dir_list(tasks, &threads, NULL), 0);
	assert_true(venv__strv_count(threads) >= 16);
	for (size_t i = 0; threads[i]; i++) {
		_cleanup_free_ char *name = NULL, *text = NULL;

		assert_true(asprintf(&name, "%s/status", threads[i]) > 0);
		assert_int_equal(venv__file_read(tasks, name, 65536, &text, NULL, NULL), 0);
		if (!strstr(text, line))
			fail_msg("thread %s has no '%s'", threads[i], line);
	}
}

static void every_thread_is_in_the_jail(void **state)
{
	struct world *world = *state;
	_cleanup_error_ venv_error *error = NULL;

	if (start_devices(world, all_devices, &error) < 0)
		fail_msg("%s", venv_error_message(error));
	world->ctl = venv__msg_connect(world->dir_fd, "ctl", NULL);
	world_wait_log(world, "ready");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_status(world->pid, "\nSeccomp:\t2\n");
#endif
	assert_status(world->pid, "\nNoNewPrivs:\t1\n");
	assert_status(world->pid, geteuid() == 0 ? "\nCapEff:\t000000000000001e\n"
						 : "\nCapEff:\t0000000000000000\n");
	assert_int_equal(world_ask(world, "kill"), 0);
	world_wait_end(world);
}

static void the_console_is_shared(void **state)
{
	struct world *world = *state;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	char data[256];

	world_start(world, world_machine("count"));
	assert_int_equal(world_call(world, json_pack("{s:s}", "op", "console"), NULL, &fds), 0);
	assert_int_equal(fds.count, 1);
	assert_int_equal(write(fds.fd[0], "typed", 5), 5);
	assert_int_equal(recv(fds.fd[0], data, sizeof(data), MSG_WAITALL), sizeof(data));
	for (size_t i = 1; i < sizeof(data); i++)
		assert_int_equal(data[i], data[i - 1] == '9' ? '0' : data[i - 1] + 1);
	assert_int_equal(world_ask(world, "kill"), 0);
	world_wait_end(world);
}

static json_t *with_devices(json_t *machine)
{
	(void)json_object_set_new(machine, "devices",
				  json_pack("[{s:s, s:i}, {s:s, s:i}]", "kind", "rng", "slot", 1,
					    "kind", "balloon", "slot", 2));
	return machine;
}

static void it_is_suspended_and_goes_on(void **state)
{
	struct world *world = *state;
	_cleanup_close_ int kernel = world_open("VENV_GUESTS", "guest_long", O_RDONLY);
	_cleanup_close_ int state_fd = memfd_create("state", MFD_CLOEXEC);
	_cleanup_close_ int memory_fd = memfd_create("memory", MFD_CLOEXEC);
	_cleanup_json_ json_t *save = json_pack("{s:s}", "op", "save"), *ready = NULL;
	const int files[] = { state_fd, memory_fd }, all[] = { kernel, state_fd, memory_fd };
	json_t *machine = with_devices(world_machine("button"));

	world_start(world, with_devices(world_machine("button")));
	world_wait_log(world, "ready");
	assert_int_equal(venv__msg_call(world->ctl, save, files, 2, PATIENCE_MS, NULL, NULL, NULL),
			 0);
	world_assert_record(world, "\"paused\"");
	assert_int_equal(world_ask(world, "resume"), 0); /* a snapshot: it goes on here as well */
	world_assert_record(world, "\"running\"");
	assert_int_equal(ftruncate(state_fd, 0), 0);
	assert_int_equal(lseek(state_fd, 0, SEEK_SET), 0);
	assert_int_equal(venv__msg_call(world->ctl, save, files, 2, PATIENCE_MS, NULL, NULL, NULL),
			 0);
	assert_int_equal(world_ask(world, "kill"), 0);
	world_wait_end(world);
	(void)close(take_fd(&world->socket));
	(void)close(take_fd(&world->ctl));
	(void)json_object_set_new(machine, "state", json_integer(2));
	(void)json_object_set_new(machine, "memory_file", json_integer(3));
	(void)json_object_set_new(machine, "paused", json_true());
	assert_int_equal(world_send(world, machine, all, 3, &ready, NULL), 0);
	world->ctl = venv__msg_connect(world->dir_fd, "ctl", NULL);
	world_assert_record(world, "\"paused\"");
	assert_int_equal(world_ask(world, "resume"), 0);
	world_assert_record(world, "\"running\"");
	assert_int_equal(world_ask(world, "stop"), 0); /* its guest is waiting for the button */
	world_wait_end(world);
	assert_false(world_log_has(world, "force"));
}

/* Memory that was saved must not find disks which its guest wrote when it shut down after all. */
static void one_that_is_saved_ends_at_once_by_a_signal(void **state)
{
	struct world *world = *state;
	_cleanup_close_ int state_fd = memfd_create("state", MFD_CLOEXEC);
	_cleanup_close_ int memory_fd = memfd_create("memory", MFD_CLOEXEC);
	_cleanup_json_ json_t *save = json_pack("{s:s}", "op", "save");
	const int files[] = { state_fd, memory_fd };

	world_start(world, with_devices(world_machine("spin")));
	world_wait_log(world, "ready");
	assert_int_equal(venv__msg_call(world->ctl, save, files, 2, PATIENCE_MS, NULL, NULL, NULL),
			 0);
	assert_int_equal(venv__pidfd_signal(world->pidfd, SIGTERM), 0);
	world_wait_end(world);
	assert_false(
		world_log_has(world, "force")); /* it was never asked, so it was not waited for */
}

/* It ends between our question and its standing still as likely as not. */
static void one_that_restarts_on_and_on_is_paused(void **state)
{
	struct world *world = *state;
	int paused = 0;

	world_start(world, world_machine("again"));
	for (int i = 0; i < 100; i++) {
		int r = world_ask(world, "pause");

		assert_true(r == 0 || r == VENV_ERR_STATE);
		if (r < 0)
			continue;
		paused++;
		assert_int_equal(world_ask(world, "resume"), 0);
	}
	print_message("stood still %d times of 100\n", paused);
	assert_int_equal(world_ask(world, "kill"), 0);
	world_wait_end(world);
}

static void bad_machines_are_refused(void **state)
{
	static const struct {
		const char *change; /* merged into a good one */
		int code;
	} cases[] = {
		{ "{\"memory\":0}", VENV_ERR_INVALID },
		{ "{\"memory\":1048577}", VENV_ERR_INVALID },
		{ "{\"cpus\":33}", VENV_ERR_INVALID },
		{ "{\"kernel\":7}", VENV_ERR_INVALID },
		{ "{\"kernel\":\"x\"}", VENV_ERR_INVALID },
		{ "{\"kernel\":0}", VENV_ERR_INVALID }, /* a directory */
		{ "{\"firmware\":1}", VENV_ERR_INVALID },
		{ "{\"initrd\":9}", VENV_ERR_INVALID },
		{ "{\"state\":1}", VENV_ERR_INVALID },
		{ "{\"state\":1,\"memory_file\":1}", VENV_ERR_CORRUPT },
		{ "{\"devices\":[{\"kind\":\"gpu\",\"slot\":1}]}", VENV_ERR_INVALID },
		{ "{\"devices\":[{\"kind\":\"rng\",\"slot\":0}]}", VENV_ERR_INVALID },
		{ "{\"devices\":[{\"kind\":\"rng\",\"slot\":1},{\"kind\":\"rng\",\"slot\":1}]}",
		  VENV_ERR_EXISTS },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_close_ int kernel = world_open("VENV_GUESTS", "guest_long", O_RDONLY);
		_cleanup_json_ json_t *change = json_loads(cases[i].change, 0, NULL);
		_cleanup_error_ venv_error *error = NULL;
		json_t *machine = world_machine("spin");
		int r;

		assert_int_equal(json_object_update(machine, change), 0);
		r = world_send(world, machine, &kernel, 1, NULL, &error);
		if (r != cases[i].code)
			fail_msg("%s: %d, %s", cases[i].change, r,
				 error ? venv_error_message(error) : "");
		world_wait_end(world);
		(void)close(take_fd(&world->socket));
	}
}

static void two_do_not_share_a_directory(void **state)
{
	struct world *world = *state;
	_cleanup_close_ int kernel = world_open("VENV_GUESTS", "guest_long", O_RDONLY);
	struct world second = *world;

	world_start(world, world_machine("spin"));
	assert_int_equal(world_send(&second, world_machine("spin"), &kernel, 1, NULL, NULL),
			 VENV_ERR_STATE);
	world_wait_end(&second);
	(void)close(second.socket);
	assert_int_equal(world_ask(world, "kill"), 0);
	world_wait_end(world);
}

/* ---- Control groups ------------------------------------------------------------------------ */

static const char id[] = "0123456789abcdef0123456789abcdef";

static json_t *limited_machine(json_t *limits)
{
	json_t *machine = world_machine("spin");

	assert_int_equal(json_object_set_new(machine, "id", json_string(id)), 0);
	assert_int_equal(json_object_set_new(machine, "limits", limits), 0);
	return machine;
}

/* The groups that "alive" names. */
static char **groups_of(struct world *world)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *record = NULL;
	size_t length;

	assert_int_equal(venv__file_read(world->dir_fd, "alive", 4096, &text, &length, NULL), 0);
	assert_int_equal(venv__json_parse(text, length, &record, NULL), 0);
	return venv__json_strv(record, "groups");
}

static void assert_limit(char *const *groups, const char *file, long long value)
{
	for (; groups && *groups; groups++) {
		_cleanup_close_ int dir = open(*groups, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int64_t is = venv__cgroup_read_number(dir, file, -1);

		if (is >= 0) {
			assert_int_equal(is, value);
			return;
		}
	}
	fail_msg("no group has %s", file);
}

/* In each group there is it, or its payload's. */
static void assert_inside(const struct world *world, const char *group)
{
	_cleanup_free_ char *procs = NULL, *path = NULL, *line = NULL;
	_cleanup_close_ int dir = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC), payload = -1;

	assert_true(dir >= 0);
	payload = openat(dir, "payload", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	procs = venv__cgroup_read(payload < 0 ? dir : payload, "cgroup.procs");
	assert_true(asprintf(&line, "%d\n", world->pid) > 0);
	assert_string_equal(procs, line);
}

static void its_process_is_limited(void **state)
{
	struct world *world = *state;
	_cleanup_strv_ char **groups = NULL;
	struct cgroup_host host;
	bool have;

	venv__cgroup_host_find(&host);
	have = (host.layout == CGROUP_V2 || host.layout == CGROUP_HYBRID) &&
	       venv__strv_has(host.controllers, "memory");
	world_start(world, limited_machine(json_pack("{s:I, s:I}", "memory", (json_int_t)64 << 20,
						     "cpu_weight", (json_int_t)200)));
	groups = groups_of(world);
	assert_int_equal(groups != NULL, host.layout == CGROUP_V2 || host.layout == CGROUP_HYBRID);
	if (have)
		assert_limit(groups,
			     host.layout == CGROUP_HYBRID ? "memory.limit_in_bytes" : "memory.max",
			     64LL << 20);
	for (char **group = groups; group && *group; group++)
		assert_inside(world, *group);
	venv__cgroup_host_done(&host);
	assert_int_equal(world_ask(world, "kill"), 0);
	world_wait_end(world);
	/* what it says at last names them as well: who starts it again removes them */
	venv__strv_free(groups);
	groups = groups_of(world);
	venv__cgroup_clean(groups, id);
	for (char **group = groups; group && *group; group++)
		assert_int_equal(access(*group, F_OK), -1);
}

/* Groups of a machine that does not start are to be removed as well. */
static void a_failed_start_tells_of_its_groups(void **state)
{
	struct world *world = *state;
	_cleanup_close_ int nothing = world_open("VENV_GUESTS", ".", O_RDONLY);
	_cleanup_strv_ char **groups = NULL;
	struct cgroup_host host;

	venv__cgroup_host_find(&host);
	assert_true(world_send(world, limited_machine(json_object()), &nothing, 1, NULL, NULL) < 0);
	world_wait_end(world);
	if (host.layout == CGROUP_V2 || host.layout == CGROUP_HYBRID) {
		groups = groups_of(world);
		assert_non_null(groups);
		assert_int_equal(access(groups[0], F_OK), 0);
	}
	venv__cgroup_host_done(&host);
	venv__cgroup_clean(groups, id);
	for (char **group = groups; group && *group; group++)
		assert_int_equal(access(*group, F_OK), -1);
}

/* The machine is refused, and nothing of it is left. */
static void a_limit_that_cannot_be_is_an_error(void **state)
{
	struct world *world = *state;
	_cleanup_close_ int kernel = world_open("VENV_GUESTS", "guest_long", O_RDONLY);
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_strv_ char **groups = NULL;
	struct cgroup_host host;
	bool have;

	venv__cgroup_host_find(&host);
	have = host.layout != CGROUP_NONE && venv__strv_has(host.controllers, "cpuset");
	venv__cgroup_host_done(&host);
	if (!have)
		skip();
	assert_true(world_send(world, limited_machine(json_pack("{s:s}", "cpuset", "4000")),
			       &kernel, 1, NULL, &error) < 0);
	assert_non_null(strstr(venv_error_message(error), "cannot set the limit 'cpuset'"));
	world_wait_end(world);
	groups = groups_of(world);
	assert_null(groups);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_runs_to_its_end, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(ends_have_names, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(it_answers, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(the_button_works_also_when_paused, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(resets_stay_in_the_process, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(devices_are_as_described, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(every_thread_is_in_the_jail, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(the_console_is_shared, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(it_is_suspended_and_goes_on, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(one_that_is_saved_ends_at_once_by_a_signal,
						world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(one_that_restarts_on_and_on_is_paused, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(bad_machines_are_refused, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(two_do_not_share_a_directory, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(its_process_is_limited, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(a_failed_start_tells_of_its_groups, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(a_limit_that_cannot_be_is_an_error, world_setup,
						world_teardown),
	};

	if (world_skips())
		return 77;
	return cmocka_run_group_tests_name("vmm_program", tests, NULL, NULL);
}
