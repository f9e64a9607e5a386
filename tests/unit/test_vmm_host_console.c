/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "console.h"

struct world {
	struct loop *loop;
	struct console *console;
	int log, old_log;
	char taken[64];
	size_t n_taken, room;
};

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	*state = world;
	world->loop = venv__loop_new();
	world->log = memfd_create("log", MFD_CLOEXEC);
	world->old_log = memfd_create("old", MFD_CLOEXEC);
	(void)fcntl(world->log, F_SETFL, O_APPEND);
	return console_new(world->loop, dup(world->log), dup(world->old_log), &world->console,
			   NULL);
}

static int teardown(void **state)
{
	struct world *world = *state;

	console_free(world->console);
	venv__loop_free(world->loop);
	(void)close(world->log);
	(void)close(world->old_log);
	free(world);
	return 0;
}

static void stop(void *user, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	venv__loop_quit(user, 0);
}

static void run(struct world *world, unsigned ms)
{
	assert_non_null(venv__loop_timer(world->loop, ms, 0, stop, world->loop));
	assert_int_equal(venv__loop_run(world->loop), 0);
}

static void assert_log(const struct world *world, const char *text)
{
	char data[4096] = "";

	assert_true(pread(world->log, data, sizeof(data) - 1, 0) >= 0);
	assert_string_equal(data, text);
}

static size_t take(void *user, const void *data, size_t size)
{
	struct world *world = user;
	size_t n = MIN(size, world->room);

	memcpy(world->taken + world->n_taken, data, n);
	world->n_taken += n;
	world->room -= n;
	return n;
}

static void output_reaches_the_log(void **state)
{
	struct world *world = *state;

	console_put(world->console, "one ", 4);
	console_put(world->console, "two", 3);
	assert_log(world, "");
	run(world, 20);
	assert_log(world, "one two");
	console_say(world->console, "said %d", 3);
	console_say(world->console, "again");
	assert_log(world, "one two\nvenv: said 3\nvenv: again\n");
}

static void who_is_attached_sees_and_types(void **state)
{
	struct world *world = *state;
	char data[16] = "";
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	console_peer(world->console)->take = take;
	console_peer(world->console)->user = world;
	world->room = 3;
	assert_int_equal(venv__peer_attach(console_peer(world->console), pair[1], NULL), 0);
	console_put(world->console, "login: ", 7);
	assert_int_equal(write(pair[0], "root\n", 5), 5);
	run(world, 20);
	assert_int_equal(read(pair[0], data, sizeof(data)), 7);
	assert_memory_equal(data, "login: ", 7);
	assert_int_equal(world->n_taken, 3); /* there was no room for more */
	world->room = 10;
	run(world, 20);
	assert_memory_equal(world->taken, "root\n", 5);
	(void)close(pair[0]);
	run(world, 20);
	console_put(world->console, "alone", 5);
	run(world, 20);
	assert_log(world, "login: alone");
}

static void who_does_not_read_holds_nobody_up(void **state)
{
	struct world *world = *state;
	static char chunk[8192];
	int pair[2];

	memset(chunk, 'x', sizeof(chunk));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(venv__peer_attach(console_peer(world->console), pair[1], NULL), 0);
	for (int i = 0; i < 100; i++) {
		console_put(world->console, chunk, sizeof(chunk));
		console_flush(world->console);
	}
	(void)close(pair[0]);
	run(world, 5);
}

/* 100 MiB in no time: the log stays small, and says that something is missing. */
static void floods_are_left_out(void **state)
{
	struct world *world = *state;
	static char chunk[65536];
	char *log;
	struct stat st, old;

	memset(chunk, 'x', sizeof(chunk));
	for (int i = 0; i < 1600; i++) {
		console_put(world->console, chunk, sizeof(chunk));
		console_put(world->console, chunk, 1); /* no room */
		console_flush(world->console);
	}
	run(world, 100);
	console_put(world->console, "quiet", 5);
	console_flush(world->console);
	assert_int_equal(fstat(world->log, &st), 0);
	assert_int_equal(fstat(world->old_log, &old), 0);
	assert_true(st.st_size + old.st_size < 2 * CONSOLE_LOG_MAX);
	log = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, world->log, 0);
	assert_non_null(memmem(log, (size_t)st.st_size, "left out", 8));
	(void)munmap(log, (size_t)st.st_size);
}

static void the_log_is_begun_anew(void **state)
{
	struct world *world = *state;
	struct stat st;

	assert_int_equal(ftruncate(world->log, CONSOLE_LOG_MAX + 1), 0);
	console_say(world->console, "new");
	assert_log(world, "venv: new\n");
	assert_int_equal(fstat(world->old_log, &st), 0);
	assert_int_equal(st.st_size, CONSOLE_LOG_MAX + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(output_reaches_the_log, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_attached_sees_and_types, setup, teardown),
		cmocka_unit_test_setup_teardown(who_does_not_read_holds_nobody_up, setup, teardown),
		cmocka_unit_test_setup_teardown(floods_are_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(the_log_is_begun_anew, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm_host_console", tests, NULL, NULL);
}
