/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/loop.h"

struct seen {
	struct loop *loop;
	struct loop_source *other;
	int count;
};

static void tick(void *user, int fd, uint32_t events)
{
	struct seen *seen = user;

	(void)fd;
	(void)events;
	if (++seen->count == 3)
		venv__loop_quit(seen->loop, 42);
}

static void timers_repeat(void **state)
{
	struct seen seen = { .loop = venv__loop_new() };

	(void)state;
	assert_non_null(venv__loop_timer(seen.loop, 0, 1, tick, &seen));
	assert_int_equal(venv__loop_run(seen.loop), 42);
	assert_int_equal(seen.count, 3);
	venv__loop_free(seen.loop);
}

static void remove_other(void *user, int fd, uint32_t events)
{
	struct seen *seen = user;

	(void)fd;
	(void)events;
	seen->count++;
	venv__loop_remove(seen->other);
	venv__loop_quit(seen->loop, 0);
}

static void never(void *user, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	((struct seen *)user)->count += 100;
}

/* Both are ready in one batch; whichever comes first may remove the other. */
static void a_removed_source_is_not_called(void **state)
{
	struct seen seen = { .loop = venv__loop_new() };
	struct loop_source *first;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	first = venv__loop_add(seen.loop, pair[0], EPOLLOUT, remove_other, &seen);
	seen.other = venv__loop_add(seen.loop, pair[1], EPOLLOUT, never, &seen);
	assert_non_null(first);
	assert_int_equal(venv__loop_run(seen.loop), 0);
	assert_int_equal(seen.count, 1);
	venv__loop_free(seen.loop);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_repeat),
		cmocka_unit_test(a_removed_source_is_not_called),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
