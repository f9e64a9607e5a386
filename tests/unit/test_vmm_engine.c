/* SPDX-License-Identifier: Apache-2.0 */
/* Both engines: transfers of all shapes, errors, more than fit at once. */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/engine.h"

enum { FILE_SIZE = 100000 };

struct world {
	struct engine *engine;
	int fd;
	unsigned n_done;
	int result;
};

struct op {
	struct engine_op op;
	struct world *world;
};

static int set_up(void **state, enum engine_kind kind)
{
	static struct world worlds[3];
	struct world *w = &worlds[kind];

	*w = (struct world){ .fd = memfd_create("test", MFD_CLOEXEC) };
	if (engine_new(kind, NULL, &w->engine, NULL) < 0) {
		(void)close(w->fd);
		w->engine = NULL;
		return kind == ENGINE_URING ? 0 : -1;
	}
	for (uint32_t i = 0; i < FILE_SIZE; i += 4)
		assert_int_equal(pwrite(w->fd, &i, 4, i), 4);
	*state = w;
	return 0;
}

static int set_up_uring(void **state)
{
	return set_up(state, ENGINE_URING);
}

static int set_up_threads(void **state)
{
	return set_up(state, ENGINE_THREADS);
}

static int tear_down(void **state)
{
	struct world *w = *state;

	if (!w)
		return 0;
	engine_free(w->engine);
	(void)close(w->fd);
	return 0;
}

static struct world *world_of(void **state)
{
	if (!*state)
		skip(); /* the host has no io_uring */
	return *state;
}

static void done(struct engine_op *op, int result)
{
	struct world *w = ((struct op *)op)->world;

	w->n_done++;
	w->result = result;
}

static struct op make(struct world *w, enum engine_what what, uint64_t offset, struct iovec *iov,
		      unsigned n)
{
	return (struct op){ { .what = what,
			      .fd = w->fd,
			      .offset = offset,
			      .iov = iov,
			      .n_iov = n,
			      .done = done },
			    w };
}

static int run(struct world *w, struct op *op)
{
	unsigned before = w->n_done;

	engine_add(w->engine, &op->op);
	engine_start(w->engine);
	while (w->n_done == before) {
		struct pollfd p = { .fd = engine_fd(w->engine), .events = POLLIN };

		assert_int_equal(poll(&p, 1, 5000), 1);
		engine_poll(w->engine);
	}
	return w->result;
}

static void bytes_come_and_go(void **state)
{
	struct world *w = world_of(state);
	uint32_t a[2] = { 1, 2 }, b[1] = { 3 };
	struct iovec iov[] = { { a, 8 }, { b, 4 } };
	struct op op = make(w, ENGINE_READ, 1000, iov, 2);

	assert_int_equal(run(w, &op), 0);
	assert_int_equal(a[0], 1000);
	assert_int_equal(b[0], 1008);
	iov[0] = (struct iovec){ a, 8 };
	iov[1] = (struct iovec){ b, 4 };
	op = make(w, ENGINE_WRITE, 5000, iov, 2);
	assert_int_equal(run(w, &op), 0);
	assert_int_equal(pread(w->fd, a, 8, 5004), 8);
	assert_int_equal(a[0], 1004);
	assert_int_equal(a[1], 1008);
	op = make(w, ENGINE_FLUSH, 0, NULL, 0);
	assert_int_equal(run(w, &op), 0);
}

static void files_end_in_zeroes(void **state)
{
	struct world *w = world_of(state);
	char data[30];
	struct iovec iov[] = { { data, 10 }, { data + 10, 10 }, { data + 20, 10 } };
	struct op op = make(w, ENGINE_READ, FILE_SIZE - 15, iov, 3);

	memset(data, 9, sizeof(data));
	assert_int_equal(run(w, &op), 0);
	for (int i = 15; i < 30; i++)
		assert_int_equal(data[i], 0);
	assert_int_not_equal(data[12], 9);
}

static void errors_are_told(void **state)
{
	struct world *w = world_of(state);
	char data[4096];
	struct iovec iov = { data, sizeof(data) };
	struct op op = make(w, ENGINE_READ, 0, &iov, 1);

	op.op.fd = -1;
	assert_int_equal(run(w, &op), -EBADF);
	iov = (struct iovec){ (void *)16, 4096 };
	op = make(w, ENGINE_READ, 0, &iov, 1);
	assert_int_equal(run(w, &op), -EFAULT);
}

static void many_wait_their_turn(void **state)
{
	enum { MANY = 1000 };
	struct world *w = world_of(state);
	static struct op ops[MANY];
	static struct iovec iov[MANY];
	static uint32_t data[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		iov[i] = (struct iovec){ &data[i], 4 };
		ops[i] = make(w, ENGINE_READ, i * 4, &iov[i], 1);
		engine_add(w->engine, &ops[i].op);
	}
	engine_drain(w->engine);
	assert_int_equal(w->n_done, MANY);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(data[i], i * 4);
	engine_drain(w->engine);
}

int main(void)
{
#define BOTH(test)                                                                                 \
	cmocka_unit_test_setup_teardown(test, set_up_uring, tear_down),                            \
		cmocka_unit_test_setup_teardown(test, set_up_threads, tear_down)
	const struct CMUnitTest tests[] = {
		BOTH(bytes_come_and_go),
		BOTH(files_end_in_zeroes),
		BOTH(errors_are_told),
		BOTH(many_wait_their_turn),
	};

	return cmocka_run_group_tests_name("vmm_engine", tests, NULL, NULL);
}
