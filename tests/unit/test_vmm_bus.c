/* SPDX-License-Identifier: Apache-2.0 */
/* Who answers an access, and the threads that devices work on. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "bus.h"
#include "util/sys.h"
#include "worker.h"

struct probe {
	struct bus *bus;
	unsigned reads, writes, written;
	uint64_t offset;
	size_t size;
	uint8_t data[8];
};

static void on_read(void *user, uint64_t offset, void *data, size_t size)
{
	struct probe *probe = user;

	probe->reads++;
	probe->offset = offset;
	probe->size = size;
	memset(data, 0x11, size);
}

static void on_write(void *user, uint64_t offset, const void *data, size_t size)
{
	struct probe *probe = user;

	probe->writes++;
	probe->offset = offset;
	probe->size = size;
	memcpy(probe->data, data, size);
}

/* May do what handlers must not: the window moves away. */
static void on_written(void *user)
{
	struct probe *probe = user;

	probe->written++;
	if (probe->bus)
		bus_remove(probe->bus, 0x1000);
}

static const struct bus_ops ops = { on_read, on_write, on_written };
static const struct bus_ops nothing_ops = { NULL, NULL, NULL };

static int set_up(void **state)
{
	struct bus *bus = calloc(1, sizeof(*bus));

	assert_int_equal(bus_init(bus), 0);
	*state = bus;
	return 0;
}

static int tear_down(void **state)
{
	bus_done(*state);
	free(*state);
	return 0;
}

static void accesses(void **state)
{
	static const struct {
		uint64_t address;
		size_t size;
		bool answered;
		uint64_t offset;
	} cases[] = {
		{ 0x1000, 1, true, 0 },      { 0x1000, 2, true, 0 },
		{ 0x1000, 4, true, 0 },      { 0x1000, 8, true, 0 },
		{ 0x1003, 4, true, 3 }, /* misaligned is the device's matter */
		{ 0x100f, 1, true, 15 },     { 0x100f, 2, false, 0 },
		{ 0x100c, 8, false, 0 }, /* over the end */
		{ 0xfff, 1, false, 0 },      { 0xfff, 2, false, 0 },
		{ 0x1010, 1, false, 0 },     { 0x1000, 3, false, 0 },
		{ 0x1000, 5, false, 0 },     { 0x1000, 0, false, 0 },
		{ UINT64_MAX, 8, false, 0 }, { UINT64_MAX - 7, 8, true, 0 },
	};
	struct bus *bus = *state;
	struct probe probe = { 0 };

	assert_int_equal(bus_add(bus, 0x1000, 16, &ops, &probe), 0);
	assert_int_equal(bus_add(bus, UINT64_MAX - 7, 8, &ops, &probe), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t data[8] = { 0 };

		probe = (struct probe){ 0 };
		bus_read(bus, cases[i].address, data, cases[i].size);
		bus_write(bus, cases[i].address, data, cases[i].size);
		assert_int_equal(probe.reads, cases[i].answered);
		assert_int_equal(probe.writes, cases[i].answered);
		assert_int_equal(probe.written, cases[i].answered);
		assert_int_equal(probe.offset, cases[i].offset);
		for (size_t k = 0; k < 8; k++)
			assert_int_equal(data[k], k >= cases[i].size  ? 0
						  : cases[i].answered ? 0x11
								      : 0xff);
	}
}

static void ranges_lie_apart(void **state)
{
	static const struct {
		uint64_t address, size;
		int result;
	} cases[] = {
		{ 0x2000, 0x1000, 0 },
		{ 0x2000, 0x1000, -EEXIST },
		{ 0x1fff, 1, 0 },
		{ 0x1fff, 2, -EEXIST },
		{ 0x2fff, 1, -EEXIST },
		{ 0x3000, 1, 0 },
		{ 0x1000, 0x3000, -EEXIST },
		{ 0x4000, 0, -EINVAL },
		{ UINT64_MAX, 2, -EINVAL },
		{ 0, UINT64_MAX, -EEXIST },
		{ 0, 0x1fff, 0 },
	};
	struct bus *bus = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(bus_is_free(bus, cases[i].address, cases[i].size),
				 cases[i].result == 0);
		assert_int_equal(bus_add(bus, cases[i].address, cases[i].size, &nothing_ops, NULL),
				 cases[i].result);
	}
	bus_remove(bus, 0x2001); /* nothing begins there */
	assert_false(bus_is_free(bus, 0x2000, 1));
	bus_remove(bus, 0x2000);
	assert_true(bus_is_free(bus, 0x2000, 0x1000));
	for (uint64_t i = bus->n_ranges; i < BUS_RANGES_MAX; i++)
		assert_int_equal(bus_add(bus, 0x10000 + 16 * i, 16, &nothing_ops, NULL), 0);
	assert_int_equal(bus_add(bus, 0x2000, 16, &nothing_ops, NULL), -ENOSPC);
}

static void a_range_without_handlers(void **state)
{
	struct bus *bus = *state;
	uint32_t value = 0;

	assert_int_equal(bus_add(bus, 0x1000, 16, &nothing_ops, NULL), 0);
	bus_write(bus, 0x1000, &value, 4);
	bus_read(bus, 0x1000, &value, 4);
	assert_int_equal(value, 0xffffffff);
}

static void written_may_change_the_bus(void **state)
{
	struct bus *bus = *state;
	struct probe probe = { .bus = bus };
	uint8_t byte = 1;

	assert_int_equal(bus_add(bus, 0x1000, 16, &ops, &probe), 0);
	bus_write(bus, 0x1000, &byte, 1);
	bus_write(bus, 0x1000, &byte, 1);
	assert_int_equal(probe.writes, 1);
}

/* ---- Workers ---- */

struct count {
	struct worker *worker;
	pthread_t thread;
	int value;
};

static void count_up(void *user)
{
	struct count *count = user;

	count->value++;
	count->thread = pthread_self();
}

static void count_nested(void *user)
{
	struct count *count = user;

	worker_call(count->worker, count_up, count); /* at once */
}

static void *call_often(void *user)
{
	for (int i = 0; i < 1000; i++)
		worker_call(((struct count *)user)->worker, count_up, user);
	return NULL;
}

static void calls_are_made_there(void **state)
{
	struct count count = { 0 };
	pthread_t threads[3];

	(void)state;
	assert_int_equal(worker_new("test", &count.worker, NULL), 0);
	worker_call(count.worker, count_nested, &count);
	assert_int_equal(count.value, 1);
	assert_false(pthread_equal(count.thread, pthread_self()));
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_often, &count), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(count.value, 3001);
	worker_free(count.worker);
}

static void meet(void *user)
{
	(void)pthread_barrier_wait(user);
}

/* Each waits for the other: they would wait for ever if one came after the other. */
static void calls_on_several_go_on_at_once(void **state)
{
	pthread_barrier_t barrier;
	struct worker *workers[2];
	struct worker_call calls[2];

	(void)state;
	assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(worker_new("test", &workers[i], NULL), 0);
		calls[i] = (struct worker_call){ .fn = meet, .user = &barrier };
		worker_begin(workers[i], &calls[i]);
	}
	for (size_t i = 0; i < 2; i++) {
		worker_finish(workers[i], &calls[i]);
		assert_true(calls[i].done);
		worker_free(workers[i]);
	}
	(void)pthread_barrier_destroy(&barrier);
}

static void tick(void *user, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	__atomic_add_fetch((int *)user, 1, __ATOMIC_RELAXED);
}

struct ticker {
	struct worker *worker;
	int ticks;
};

static void start_ticking(void *user)
{
	struct ticker *ticker = user;

	assert_non_null(venv__loop_timer(worker_loop(ticker->worker), 1, 1, tick, &ticker->ticks));
}

static void a_parked_worker_only_takes_calls(void **state)
{
	struct ticker ticker = { 0 };
	struct count count = { 0 };
	int before;

	(void)state;
	assert_int_equal(worker_new("test", &ticker.worker, NULL), 0);
	count.worker = ticker.worker;
	worker_call(ticker.worker, start_ticking, &ticker);
	worker_park(ticker.worker);
	before = __atomic_load_n(&ticker.ticks, __ATOMIC_RELAXED);
	worker_call(ticker.worker, count_up, &count);
	assert_int_equal(count.value, 1);
	for (uint64_t end = venv__now_us() + 20000; venv__now_us() < end;)
		worker_call(ticker.worker, count_up, &count);
	assert_int_equal(__atomic_load_n(&ticker.ticks, __ATOMIC_RELAXED), before);
	worker_unpark(ticker.worker);
	for (uint64_t end = venv__now_us() + 5000000; venv__now_us() < end;)
		if (__atomic_load_n(&ticker.ticks, __ATOMIC_RELAXED) > before)
			break;
	assert_true(__atomic_load_n(&ticker.ticks, __ATOMIC_RELAXED) > before);
	worker_park(ticker.worker);
	worker_free(ticker.worker);
}

static void an_adopted_worker_is_the_caller(void **state)
{
	struct loop *loop = venv__loop_new();
	struct count count = { 0 };

	(void)state;
	assert_int_equal(worker_adopt(loop, &count.worker, NULL), 0);
	worker_call(count.worker, count_up, &count);
	assert_int_equal(count.value, 1);
	assert_ptr_equal(worker_loop(count.worker), loop);
	worker_free(count.worker);
	worker_free(NULL);
	venv__loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(accesses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ranges_lie_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_range_without_handlers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(written_may_change_the_bus, set_up, tear_down),
		cmocka_unit_test(calls_are_made_there),
		cmocka_unit_test(calls_on_several_go_on_at_once),
		cmocka_unit_test(a_parked_worker_only_takes_calls),
		cmocka_unit_test(an_adopted_worker_is_the_caller),
	};

	return cmocka_run_group_tests_name("vmm_bus", tests, NULL, NULL);
}
