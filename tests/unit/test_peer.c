/* SPDX-License-Identifier: Apache-2.0 */
/* Who is attached to a console: one at a time, never waited for, and heard to the end. */
#include "test.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/peer.h"
#include "util/sys.h"

struct world {
	struct loop *loop;
	struct peer peer;
	char taken[16384];
	size_t n_taken, appetite; /* how much is taken at a time */
};

static size_t take(void *user, const void *data, size_t size)
{
	struct world *w = user;
	size_t n = MIN(MIN(size, w->appetite), sizeof(w->taken) - w->n_taken);

	memcpy(w->taken + w->n_taken, data, n);
	w->n_taken += n;
	return n;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->loop = venv__loop_new();
	w->appetite = SIZE_MAX;
	venv__peer_init(&w->peer, w->loop);
	w->peer.take = take;
	w->peer.user = w;
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	venv__peer_let_go(&w->peer);
	venv__loop_free(w->loop);
	free(w);
	return 0;
}

static void on_end(void *user, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	venv__loop_quit(user, 0);
}

static void run(struct world *w, uint64_t ms)
{
	assert_non_null(venv__loop_timer(w->loop, ms, 0, on_end, w->loop));
	assert_int_equal(venv__loop_run(w->loop), 0);
}

static int connected(struct world *w)
{
	int fd = venv__peer_connect(&w->peer, NULL);

	assert_true(fd >= 0);
	return fd;
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void both_ways(void **state)
{
	struct world *w = *state;
	int fd = connected(w);
	char text[8] = "";

	venv__peer_show(&w->peer, "hello", 5);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	assert_int_equal(write(fd, "typed", 5), 5);
	run(w, 20);
	assert_int_equal(w->n_taken, 5);
	assert_memory_equal(w->taken, "typed", 5);
	(void)close(fd);
	run(w, 20);
	assert_int_equal(w->peer.fd, -1);
	venv__peer_show(&w->peer, "to nobody", 9);
}

static void who_comes_later_takes_over(void **state)
{
	struct world *w = *state;
	int first = connected(w), second = connected(w);

	assert_true(is_closed(first));
	venv__peer_show(&w->peer, "x", 1);
	assert_false(is_closed(second));
	(void)close(first);
	(void)close(second);
}

static void who_does_not_read_is_not_waited_for(void **state)
{
	static const char much[65536];
	struct world *w = *state;
	int fd = connected(w);

	for (int i = 0; i < 100; i++)
		venv__peer_show(&w->peer, much, sizeof(much));
	assert_true(w->peer.fd >= 0);
	(void)close(fd);
}

static void a_slow_machine_gets_all_of_it(void **state)
{
	struct world *w = *state;
	int fd = connected(w);
	char data[10000];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)i;
	w->appetite = 777;
	assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
	(void)close(fd); /* who has left is heard to the end */
	run(w, 300);
	assert_int_equal(w->n_taken, sizeof(data));
	assert_memory_equal(w->taken, data, sizeof(data));
	assert_int_equal(w->peer.fd, -1);
}

/* What is tried again stops, and what a successor types is his alone. */
static void one_that_takes_nothing(void **state)
{
	struct world *w = *state;
	int fd = connected(w);

	w->appetite = 0;
	assert_int_equal(write(fd, "left", 4), 4);
	run(w, 20);
	assert_non_null(w->peer.retry);
	(void)close(fd);
	w->peer.patience = 2; /* as if he had left long ago */
	run(w, 50);
	assert_null(w->peer.retry);
	assert_int_equal(w->peer.fd, -1);
	fd = connected(w);
	assert_int_equal(write(fd, "old", 3), 3);
	run(w, 20);
	(void)close(fd);
	fd = connected(w);
	w->appetite = SIZE_MAX;
	assert_int_equal(write(fd, "new", 3), 3);
	run(w, 20);
	assert_int_equal(w->n_taken, 3);
	assert_memory_equal(w->taken, "new", 3);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_ways, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_comes_later_takes_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_does_not_read_is_not_waited_for, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_slow_machine_gets_all_of_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_takes_nothing, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
