/* SPDX-License-Identifier: Apache-2.0 */
/* Locks, waiting for them, and the pool. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "fs/pool.h"
#include "tests/support/fs_client.h"
#include "util/compiler.h"

static int setup(void **state)
{
	struct fs_client *c = malloc(sizeof(*c));

	*state = c;
	return fs_client_open(c, NULL);
}

static int teardown(void **state)
{
	fs_client_close(*state);
	free(*state);
	return 0;
}

#define ROOT FUSE_ROOT_ID
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

struct lock {
	uint64_t owner;
	uint64_t start, end;
	uint32_t type;
	uint32_t flags;
};

static ssize_t lock_op(struct fs_client *c, uint32_t opcode, uint64_t node, uint64_t fh,
		       const struct lock *lock, struct fuse_lk_out *ret)
{
	const struct fuse_lk_in in = {
		.fh = fh,
		.owner = lock->owner,
		.lk_flags = lock->flags,
		.lk = { .start = lock->start, .end = lock->end, .type = lock->type, .pid = 42 }
	};

	return fs_ask(c, opcode, node, PARTS(PART(in)), ret, ret ? sizeof(*ret) : 0);
}

static ssize_t set(struct fs_client *c, uint64_t node, uint64_t fh, struct lock lock)
{
	return lock_op(c, FUSE_SETLK, node, fh, &lock, NULL);
}

static ssize_t set_waiting(struct fs_client *c, uint64_t node, uint64_t fh, struct lock lock)
{
	return lock_op(c, FUSE_SETLKW, node, fh, &lock, NULL);
}

static uint64_t file(struct fs_client *c, uint64_t *ret_fh)
{
	uint64_t node;

	assert_int_equal(fs_create(c, ROOT, "f", O_RDWR, 0600, &node, ret_fh), 0);
	return node;
}

static ssize_t flush(struct fs_client *c, uint64_t node, uint64_t fh, uint64_t owner)
{
	const struct fuse_flush_in in = { .fh = fh, .lock_owner = owner };

	return fs_ask(c, FUSE_FLUSH, node, PARTS(PART(in)), NULL, 0);
}

static void owners_exclude_each_other(void **state)
{
	struct fs_client *c = *state;
	struct fuse_lk_out out;
	uint64_t fh, node = file(c, &fh);
	const struct lock other = { 2, 5, 20, F_WRLCK, 0 };

	assert_int_equal(set(c, node, fh, (struct lock){ 1, 10, 19, F_WRLCK, 0 }), 0);
	assert_int_equal(set(c, node, fh, (struct lock){ 1, 15, 29, F_RDLCK, 0 }), 0);
	assert_int_equal(set(c, node, fh, other), -EAGAIN);
	assert_int_equal(set(c, node, fh, (struct lock){ 2, 20, 25, F_RDLCK, 0 }), 0);
	assert_int_equal(set(c, node, fh, (struct lock){ 2, 30, INT64_MAX, F_WRLCK, 0 }), 0);
	assert_true(lock_op(c, FUSE_GETLK, node, fh, &other, &out) > 0);
	assert_int_equal(out.lk.type, F_WRLCK);
	assert_int_equal(out.lk.start, 10);
	assert_int_equal(out.lk.end, 14);
	assert_int_equal(out.lk.pid, 42);
	assert_int_equal(set(c, node, fh, (struct lock){ 1, 0, INT64_MAX, F_UNLCK, 0 }), 0);
	assert_int_equal(set(c, node, fh, other), 0);
	assert_true(lock_op(c, FUSE_GETLK, node, fh, &other, &out) > 0);
	assert_int_equal(out.lk.type, F_UNLCK);
	assert_int_equal(flush(c, node, fh, 2), 0);
	assert_int_equal(set(c, node, fh, (struct lock){ 3, 0, INT64_MAX, F_WRLCK, 0 }), 0);
}

static void the_host_sees_them(void **state)
{
	struct fs_client *c = *state;
	uint64_t fh, node = file(c, &fh);
	int fd = openat(c->dir, "f", O_RDWR | O_CLOEXEC);
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1 };
	const struct lock mine = { 1, 0, 9, F_RDLCK, 0 };
	struct fuse_lk_out out;

	assert_int_equal(set(c, node, fh, (struct lock){ 1, 0, 9, F_WRLCK, 0 }), 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &range), -1);
	assert_int_equal(set(c, node, fh, (struct lock){ 1, 0, 9, F_UNLCK, 0 }), 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &range), 0);
	assert_int_equal(set(c, node, fh, mine), -EAGAIN);
	assert_true(lock_op(c, FUSE_GETLK, node, fh, &mine, &out) > 0);
	assert_int_equal(out.lk.type, F_WRLCK);
	assert_int_equal(out.lk.pid, 0); /* nobody whom the guest knows */
	(void)close(fd);
	assert_int_equal(set(c, node, fh, mine), 0);
}

static void whole_files_are_locked_by_their_handle(void **state)
{
	struct fs_client *c = *state;
	uint64_t first, second, node = file(c, &first), dir_fh;
	const struct lock ex = { 1, 0, INT64_MAX, F_WRLCK, FUSE_LK_FLOCK };
	const struct lock un = { 1, 0, INT64_MAX, F_UNLCK, FUSE_LK_FLOCK };

	assert_int_equal(fs_open(c, node, O_RDONLY, &second), 0);
	assert_int_equal(set(c, node, first, ex), 0);
	assert_int_equal(set(c, node, second, ex), -EAGAIN);
	assert_int_equal(set(c, node, first, un), 0);
	assert_int_equal(set(c, node, second, ex), 0);
	assert_int_equal(set(c, node, first, ex), -EAGAIN);
	assert_int_equal(fs_release(c, node, second), 0);
	assert_int_equal(set(c, node, first, ex), 0);
	assert_int_equal(set(c, node, second, ex), -EBADF);
	assert_int_equal(fs_open(c, ROOT, O_DIRECTORY, &dir_fh), 0);
	assert_int_equal(set(c, ROOT, dir_fh, ex), 0);
}

/* An open file description that locks is an owner that no FUSE_FLUSH names. */
static void locks_end_with_the_handle_they_were_set_by(void **state)
{
	struct fs_client *c = *state;
	uint64_t first, second, node = file(c, &first);
	const struct lock of_first = { 1, 0, 9, F_WRLCK, 0 }, of_second = { 2, 0, 9, F_WRLCK, 0 };
	struct fuse_lk_out out;

	assert_int_equal(fs_open(c, node, O_RDWR, &second), 0);
	assert_int_equal(set(c, node, first, of_first), 0);
	assert_int_equal(set(c, node, second, of_second), -EAGAIN);
	assert_int_equal(flush(c, node, first, 77), 0); /* close() by a process of another owner */
	assert_int_equal(set(c, node, second, of_second), -EAGAIN);
	assert_int_equal(fs_release(c, node, first), 0);
	assert_int_equal(set(c, node, second, of_second), 0);
	assert_int_equal(fs_open(c, node, O_RDWR, &first), 0);
	assert_int_equal(fs_release(c, node, first), 0); /* of others */
	assert_true(lock_op(c, FUSE_GETLK, node, second, &of_first, &out) > 0);
	assert_int_equal(out.lk.type, F_WRLCK);
}

static void bad_ranges_are_refused(void **state)
{
	static const struct lock bad[] = {
		{ 1, 10, 9, F_WRLCK, 0 },
		{ 1, UINT64_MAX, UINT64_MAX, F_WRLCK, 0 },
		{ 1, INT64_MAX + 1ULL, UINT64_MAX, F_RDLCK, 0 },
		{ 1, 0, 9, 77, 0 },
		{ 1, 0, 9, UINT32_MAX, 0 },
		{ 1, 0, 9, 77, FUSE_LK_FLOCK },
	};
	struct fs_client *c = *state;
	struct fuse_lk_out out;
	uint64_t fh, node = file(c, &fh);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(set(c, node, fh, bad[i]), -EINVAL);
		if (!bad[i].flags)
			assert_int_equal(lock_op(c, FUSE_GETLK, node, fh, &bad[i], &out), -EINVAL);
	}
	assert_int_equal(set(c, node, fh, (struct lock){ 1, 0, UINT64_MAX, F_WRLCK, 0 }), 0);
}

/* Who asks again for a lock that is taken is told to wait again, until it is free or interrupted. */
static void waiting_ends_with_the_lock_or_an_interrupt(void **state)
{
	struct fs_client *c = *state;
	const struct lock first = { 1, 0, 9, F_WRLCK, 0 }, second = { 2, 0, 9, F_WRLCK, 0 };
	struct fuse_interrupt_in in;
	uint64_t fh, node = file(c, &fh), unique;

	assert_int_equal(set(c, node, fh, first), 0);
	unique = c->unique + 1;
	for (int i = 0; i < 3; i++) {
		c->unique = unique - 1;
		assert_int_equal(set_waiting(c, node, fh, second), -1000 - EAGAIN);
	}
	in.unique = unique;
	assert_int_equal(fs_ask(c, FUSE_INTERRUPT, 0, PARTS(PART(in)), NULL, 0), 0);
	c->unique = unique - 1;
	assert_int_equal(set_waiting(c, node, fh, second), -EINTR);
	c->unique = 1000; /* the interrupt is earlier than what it interrupts */
	in.unique = 2001;
	assert_int_equal(fs_ask(c, FUSE_INTERRUPT, 0, PARTS(PART(in)), NULL, 0), 0);
	c->unique = 2000;
	assert_int_equal(set_waiting(c, node, fh, second), -EINTR);
	c->unique = 3000;
	assert_int_equal(set_waiting(c, node, fh, second), -1000 - EAGAIN);
	assert_int_equal(flush(c, node, fh, 1), 0);
	c->unique = 3000;
	assert_int_equal(set_waiting(c, node, fh, second), 0);
}

static void who_waits_is_bounded(void **state)
{
	struct fs_client *c = *state;
	const struct lock first = { 1, 0, 9, F_WRLCK, 0 }, second = { 2, 0, 9, F_WRLCK, 0 };
	uint64_t fh, node = file(c, &fh);
	ssize_t r = -1000 - EAGAIN;
	int n = 0;

	assert_int_equal(set(c, node, fh, first), 0);
	while (r == -1000 - EAGAIN && n++ < 1000)
		r = set_waiting(c, node, fh, second);
	assert_int_equal(r, -ENOLCK);
	/* many more interrupts than are kept */
	for (uint64_t i = 0; i < 1000; i++) {
		const struct fuse_interrupt_in in = { .unique = i * 3 };

		assert_int_equal(fs_ask(c, FUSE_INTERRUPT, 0, PARTS(PART(in)), NULL, 0), 0);
	}
}

static void owners_are_bounded(void **state)
{
	const struct fs_options options = { .max_descriptors = 200 };
	struct fs_client *c = *state;
	uint64_t fh, node, owner = 0;
	ssize_t r = 0;

	fs_client_close(c);
	assert_int_equal(fs_client_open(c, &options), 0);
	node = file(c, &fh);
	while (r == 0 && owner++ < 1000)
		r = set(c, node, fh, (struct lock){ owner, owner, owner, F_WRLCK, 0 });
	assert_int_equal(r, -ENOLCK);
	assert_int_equal(flush(c, node, fh, 7), 0);
	assert_int_equal(set(c, node, fh, (struct lock){ owner, 0, 0, F_WRLCK, 0 }), 0);
	/* an inode that is forgotten with its locks held, and everything ends */
	assert_int_equal(fs_release(c, node, fh), 0);
	assert_int_equal(fs_forget(c, node, 1), 0);
}

/* ---- the pool ----------------------------------------------------------------------------------- */

struct asked {
	struct fs_job job;
	struct iovec in, out;
	char in_data[200], out_data[200];
	pthread_mutex_t *lock;
	pthread_cond_t *cond;
	bool done;
	ssize_t length;
};

struct world {
	struct fs_pool *pool;
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

static void job_done(struct fs_job *job, ssize_t length)
{
	struct asked *asked = (struct asked *)(void *)job;

	(void)pthread_mutex_lock(asked->lock);
	asked->length = length;
	asked->done = true;
	(void)pthread_cond_broadcast(asked->cond);
	(void)pthread_mutex_unlock(asked->lock);
}

static void submit(struct world *w, struct asked *asked, uint64_t node, uint64_t unique,
		   const struct fuse_lk_in *in)
{
	const struct fuse_in_header header = { .len = sizeof(header) + sizeof(*in),
					       .opcode = FUSE_SETLKW,
					       .unique = unique,
					       .nodeid = node };

	*asked = (struct asked){ .lock = &w->lock, .cond = &w->cond };
	memcpy(asked->in_data, &header, sizeof(header));
	memcpy(asked->in_data + sizeof(header), in, sizeof(*in));
	asked->in = (struct iovec){ asked->in_data, header.len };
	asked->out = (struct iovec){ asked->out_data, sizeof(asked->out_data) };
	asked->job.request = (struct fs_request){ &asked->in, &asked->out, 1, 1 };
	asked->job.done = job_done;
	fs_pool_submit(w->pool, &asked->job);
}

static int wait_for(struct world *w, struct asked *asked)
{
	struct fuse_out_header header;

	(void)pthread_mutex_lock(&w->lock);
	while (!asked->done)
		(void)pthread_cond_wait(&w->cond, &w->lock);
	(void)pthread_mutex_unlock(&w->lock);
	if (asked->length < (ssize_t)sizeof(header))
		return (int)asked->length;
	memcpy(&header, asked->out_data, sizeof(header));
	return header.error;
}

static bool is_done(struct asked *asked)
{
	bool done;

	(void)pthread_mutex_lock(asked->lock);
	done = asked->done;
	(void)pthread_mutex_unlock(asked->lock);
	return done;
}

static bool waiting(struct asked *asked, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_done(&asked[i]))
			return true;
	return false;
}

/* More waiters than threads, while the lock goes round; then an interrupt, and a reset. */
static void many_wait_on_few_threads(void **state)
{
	struct fs_client *c = *state;
	struct world w = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
	struct fs_options options = { .wake = fs_pool_wake };
	struct fuse_lk_in in = { .lk = { .end = 9, .type = F_WRLCK } };
	struct asked asked[20];
	struct fuse_interrupt_in interrupt = { .unique = 119 };
	uint64_t fh, node;
	int fd;

	fs_client_close(c);
	assert_int_equal(fs_pool_new(2, NULL, &w.pool, NULL), 0);
	options.user = w.pool;
	assert_int_equal(fs_client_open(c, &options), 0);
	fs_pool_serve(w.pool, c->server);
	node = file(c, &fh);
	assert_int_equal(set(c, node, fh, (struct lock){ 999, 0, 9, F_WRLCK, 0 }), 0);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		in.owner = i % 10; /* two requests each: the second is granted with the first */
		submit(&w, &asked[i], node, 100 + i, &in);
	}
	assert_int_equal(fs_ask(c, FUSE_INTERRUPT, 0, PARTS(PART(interrupt)), NULL, 0), 0);
	assert_int_equal(wait_for(&w, &asked[19]), -EINTR);
	assert_int_equal(flush(c, node, fh, 999), 0);
	while (waiting(asked, 19)) { /* whoever got it lets go */
		for (size_t i = 0; i < 19; i++)
			if (is_done(&asked[i]))
				assert_int_equal(flush(c, node, fh, i % 10), 0);
		(void)usleep(1000);
	}
	for (size_t i = 0; i < 19; i++) {
		assert_int_equal(wait_for(&w, &asked[i]), 0);
		assert_int_equal(flush(c, node, fh, i % 10), 0);
	}
	/* a lock of the host's: nobody tells, the tick finds it */
	fd = openat(c->dir, "f", O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &(struct flock){ .l_type = F_WRLCK }), 0);
	submit(&w, &asked[0], node, 500, &in);
	(void)usleep(10000);
	assert_false(is_done(&asked[0]));
	(void)close(fd);
	assert_int_equal(wait_for(&w, &asked[0]), 0);
	/* the device is reset */
	in.owner = 12345;
	submit(&w, &asked[1], node, 501, &in);
	submit(&w, &asked[2], node, 502, &in);
	fs_pool_cancel(w.pool);
	assert_int_equal(wait_for(&w, &asked[1]), -ECANCELED);
	assert_int_equal(wait_for(&w, &asked[2]), -ECANCELED);
	fs_server_reset(c->server);
	fs_pool_free(w.pool);
	c->unique = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(owners_exclude_each_other),
		TEST(the_host_sees_them),
		TEST(whole_files_are_locked_by_their_handle),
		TEST(locks_end_with_the_handle_they_were_set_by),
		TEST(bad_ranges_are_refused),
		TEST(waiting_ends_with_the_lock_or_an_interrupt),
		TEST(who_waits_is_bounded),
		TEST(owners_are_bounded),
		TEST(many_wait_on_few_threads),
	};
	return cmocka_run_group_tests_name("vmm_fs_lock", tests, NULL, NULL);
}
