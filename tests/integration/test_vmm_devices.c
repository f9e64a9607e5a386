/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of the whole program, driven by tests/guest/devices.c on the host's own /dev/kvm: doorbells and interrupts
 * by the kernel, work on threads that are in the jail.
 */
#include "vmm_world.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>

#include "disk/disk.h"
#include "util/file.h"

enum { FD_KERNEL = 1, FD_RAW, FD_RAW_READ, FD_OVERLAY, FDS };
enum {
	DISK_SIZE = 4 << 20,
	REQUESTS = 100,
	FIRST = 5 * 512,
	LENGTH = 4 * 512
}; /* as the guest has it */

static const char text[] = "written by a guest without an operating system. The end of it: .";

/* devices: with ' for " */
static void start_guest(struct world *world, json_t *machine, const char *devices)
{
	_cleanup_free_ char *json = strdup(devices);
	_cleanup_error_ venv_error *error = NULL;
	int fd[FDS] = { -1 }, r;
	json_t *list;

	for (char *c = json; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	list = json_loads(json, 0, NULL);
	assert_non_null(list);
	(void)json_object_set_new(machine, "devices", list);
	fd[FD_KERNEL] = world_open("VENV_GUESTS", "guest_virtio", O_RDONLY);
	fd[FD_RAW] = world_make_file(world, "raw", DISK_SIZE);
	fd[FD_RAW_READ] = world_reopen(world, "raw");
	fd[FD_OVERLAY] = world_make_overlay(world, "overlay", "raw");
	r = world_send(world, machine, fd + 1, FDS - 1, NULL, &error);
	for (size_t i = 1; i < FDS; i++)
		(void)close(fd[i]);
	if (r < 0)
		fail_msg("%s", venv_error_message(error));
	world->ctl = venv__msg_connect(world->dir_fd, "ctl", NULL);
}

/* The guest says that all is well and stays there; or what is not, and ends. */
static void wait_well(struct world *world)
{
	struct pollfd end = { .fd = world->pidfd, .events = POLLIN };
	_cleanup_free_ char *log = NULL;

	for (int i = 0; i < PATIENCE_MS && !world_log_has(world, "well\n"); i++)
		if (poll(&end, 1, 1) == 1)
			break;
	log = world_log(world);
	if (!strstr(log, "well\n"))
		fail_msg("the guest said '%s'", log);
}

static void end(struct world *world)
{
	assert_int_equal(world_ask(world, "kill"), 0);
	world_wait_end(world);
	(void)close(take_fd(&world->socket));
	(void)close(take_fd(&world->ctl));
	assert_int_equal(unlinkat(world->dir_fd, "console.log", 0), 0);
}

/* Of so many requests only the setting up has left the kernel. */
static void assert_doorbells(struct world *world)
{
	_cleanup_json_ json_t *stats = NULL;
	int64_t writes;

	assert_int_equal(world_call(world, json_pack("{s:s}", "op", "stats"), &stats, NULL), 0);
	writes = venv__json_int(json_object_get(stats, "exits"), "mmio_write", -1);
	assert_in_range(writes, 1, REQUESTS - 1);
}

/* The images that a disk lies on: only one can be meant. */
static int resolve(void *user, const char *by, const char *name, int *ret_fd, char **ret_name,
		   venv_error **err)
{
	struct world *world = user;

	(void)by;
	(void)err;
	assert_string_equal(name, "raw");
	*ret_fd = world_reopen(world, name);
	*ret_name = strdup(name);
	return 0;
}

static void assert_written(struct world *world, const char *image)
{
	const struct disk_options options = { .format = strcmp(image, "raw") == 0 ? DISK_RAW
										  : DISK_QCOW2,
					      .read_only = true,
					      .resolve = resolve,
					      .resolve_user = world };
	struct disk *disk = NULL;
	char data[LENGTH + 1] = "";
	const struct iovec iov = { data, sizeof(data) };

	assert_int_equal(venv__disk_open(world_reopen(world, image), image, &options, &disk, NULL),
			 0);
	assert_int_equal(venv__disk_readv(disk, FIRST, &iov, 1, NULL), 0);
	assert_int_equal(venv__disk_close(disk, NULL), 0);
	for (size_t i = 0; i < LENGTH; i++)
		assert_int_equal(data[i], text[i % strlen(text)]);
	assert_int_equal(data[LENGTH], 0); /* and no more than that */
}

static void a_guest_drives_devices(void **state)
{
	static const struct {
		const char *cmdline, *devices, *image;
	} cases[] = {
		{ "rng", "[{'kind':'rng','slot':1}]", NULL },
		{ "rng", "[{'kind':'balloon','slot':3},{'kind':'rng','slot':31}]", NULL },
		{ "blk",
		  "[{'kind':'blk','slot':2,'images':[{'file':2,'format':'raw','name':'raw'}]}]",
		  "raw" },
		{ "blk",
		  "[{'kind':'blk','slot':2,'threads':true,"
		  "'images':[{'file':2,'format':'raw','name':'raw'}]}]",
		  "raw" },
		{ "blk",
		  "[{'kind':'rng','slot':1},{'kind':'blk','slot':2,'images':["
		  "{'file':4,'format':'qcow2','name':'overlay'},{'file':3,'name':'raw'}]}]",
		  "overlay" },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		start_guest(world, world_machine(cases[i].cmdline), cases[i].devices);
		wait_well(world);
		assert_doorbells(world);
		assert_false(world_log_has(world, "venv: device"));
		end(world);
		if (cases[i].image)
			assert_written(world, cases[i].image);
	}
}

static unsigned count_log(struct world *world, const char *words)
{
	_cleanup_free_ char *log = world_log(world);
	unsigned n = 0;

	for (const char *line = log; (line = strstr(line, words)); line++)
		n++;
	return n;
}

/* The guest breaks the rules more often than the log says of one device, and looks at what comes of it. */
static void hostile_guests_break_their_devices_alone(void **state)
{
	enum { WARNINGS = 8 };
	struct world *world = *state;
	json_t *machine = world_machine("hostile");

	/* up to the hole, and a little behind it */
	(void)json_object_set_new(machine, "memory", json_integer((3LL << 30) + (2 << 20)));
	start_guest(world, machine,
		    "[{'kind':'rng','slot':1},{'kind':'balloon','slot':2},{'kind':'blk','slot':3,"
		    "'threads':true,'images':[{'file':2,'format':'raw','name':'raw'}]}]");
	wait_well(world);
	world_wait_log(world, "venv: device 'rng': a queue that breaks the rules\n");
	assert_int_equal(count_log(world, "venv: device 'blk': a queue that"), WARNINGS);
	assert_true(world_log_has(world, "venv: device 'blk': a queue that cannot be\n"));
	assert_true(world_log_has(world, "venv: device 'blk': a queue that breaks the rules\n"));
	world_assert_record(world, "\"running\"");
	end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_guest_drives_devices, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(hostile_guests_break_their_devices_alone,
						world_setup, world_teardown),
	};

	if (world_skips())
		return 77;
	return cmocka_run_group_tests_name("vmm_devices", tests, NULL, NULL);
}
