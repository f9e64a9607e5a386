/* SPDX-License-Identifier: Apache-2.0 */
/* The status machine of virtio devices, without a transport. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/state.h"
#include "support/vmm_platform.h"

enum {
	MIB = 1 << 20,
	A = VIRTIO_ACKNOWLEDGE,
	D = VIRTIO_DRIVER,
	F = VIRTIO_FEATURES_OK,
	OK = VIRTIO_DRIVER_OK,
	ALL = A | D | F | OK,
	OWN_BIT = 5,
	QUEUES = 3,
};

/* A device that counts what is asked of it. */
struct toy {
	struct virtio_device device;
	struct vmm_platform *platform;
	unsigned activated, resets, notified, drained, queue_interrupts, config_interrupts,
		warnings;
	int activation; /* what activate() answers */
	pthread_t thread;
	struct virtq_chain chain;
};

static int on_activate(struct virtio_device *device)
{
	struct toy *toy = (struct toy *)device;

	toy->activated++;
	toy->thread = pthread_self();
	return toy->activation;
}

static void on_reset(struct virtio_device *device)
{
	((struct toy *)device)->resets++;
	assert_true(device->active);
}

static uint32_t take(struct virtio_device *device, struct virtq_chain *chain)
{
	(void)device;
	return chain->write_size;
}

static void on_notify(struct virtio_device *device, unsigned queue)
{
	struct toy *toy = (struct toy *)device;

	toy->notified++;
	virtio_each(device, queue, &toy->chain, 4, take);
}

static void on_drain(struct virtio_device *device)
{
	((struct toy *)device)->drained++;
}

static const struct virtio_ops toy_ops = {
	.name = "toy",
	.id = 63,
	.activate = on_activate,
	.reset = on_reset,
	.notify = on_notify,
	.drain = on_drain,
};

static void on_interrupt(void *transport, int queue)
{
	struct toy *toy = transport;

	if (queue < 0)
		toy->config_interrupts++;
	else
		toy->queue_interrupts++;
}

static void on_warn(void *user, const char *device, const char *why)
{
	assert_string_equal(device, "toy");
	assert_non_null(why);
	((struct toy *)user)->warnings++;
}

static int set_up(void **state)
{
	static const uint16_t sizes[QUEUES] = { 8, 16, 256 };
	struct toy *toy = calloc(1, sizeof(*toy));

	toy->platform = vmm_platform_new(8 * MIB, true);
	assert_int_equal(virtio_device_init(&toy->device, &toy_ops, &toy->platform->mem,
					    toy->platform->worker, 1ULL << OWN_BIT, sizes, QUEUES,
					    NULL),
			 0);
	toy->device.interrupt = on_interrupt;
	toy->device.transport = toy;
	toy->device.warn = on_warn;
	toy->device.warn_user = toy;
	*state = toy;
	return 0;
}

static int tear_down(void **state)
{
	struct toy *toy = *state;

	virtio_device_done(&toy->device);
	vmm_platform_free(toy->platform);
	free(toy);
	return 0;
}

/* Queue i at (i + 1) * 64 KiB. */
static void set_up_queue(struct toy *toy, unsigned i)
{
	struct virtq *queue;

	(void)pthread_mutex_lock(&toy->device.lock);
	queue = virtio_setup_queue(&toy->device, i);
	assert_non_null(queue);
	queue->desc = (i + 1) * 0x10000;
	queue->avail = (i + 1) * 0x10000 + 0x4000;
	queue->used = (i + 1) * 0x10000 + 0x8000;
	queue->enabled = true;
	(void)pthread_mutex_unlock(&toy->device.lock);
}

static void start(struct toy *toy)
{
	virtio_set_status(&toy->device, A | D);
	virtio_take(&toy->device, 1, 1);
	virtio_set_status(&toy->device, A | D | F);
	set_up_queue(toy, 0);
	set_up_queue(toy, 1);
	virtio_set_status(&toy->device, ALL);
	assert_int_equal(toy->device.status, ALL);
	vmm_settle(toy->platform, &toy->device);
}

static void offer(struct toy *toy, unsigned i, uint64_t address)
{
	uint64_t base = (i + 1) * 0x10000;
	uint16_t *avail = vmm_at(toy->platform, base + 0x4000, 64);
	uint64_t *desc = vmm_at(toy->platform, base, 16);

	desc[0] = address;
	desc[1] = 16 | 2ULL << 32; /* writable */
	__atomic_store_n(&avail[1], (uint16_t)(avail[1] + 1), __ATOMIC_RELEASE);
	virtio_again(&toy->device, i);
	vmm_settle(toy->platform, &toy->device);
}

static void status_only_grows_in_order(void **state)
{
	static const struct {
		uint8_t before, write, after;
	} cases[] = {
		{ 0, A, A },
		{ 0, D, 0 },
		{ 0, F, 0 },
		{ 0, OK, 0 },
		{ 0, A | D, A | D },
		{ 0, ALL, ALL },  /* in one write */
		{ 0, A | OK, A }, /* steps left out */
		{ A, A, A },
		{ A | D, A, A | D }, /* bits do not go away */
		{ A | D, OK, A | D },
		{ A | D, F, A | D | F },
		{ A | D | F, D, A | D | F },
		{ 0, VIRTIO_NEEDS_RESET, 0 }, /* the device's own */
		{ 0, 0x30, 0 },               /* unknown */
		{ A, VIRTIO_FAILED, A | VIRTIO_FAILED },
		{ A | D | F | VIRTIO_FAILED, ALL, A | D | F | VIRTIO_FAILED },
		{ ALL, 0, 0 },
	};
	struct toy *toy = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		virtio_set_status(&toy->device, 0);
		virtio_take(&toy->device, 1, 1);
		if (cases[i].before)
			virtio_set_status(&toy->device, cases[i].before);
		assert_int_equal(toy->device.status, cases[i].before);
		virtio_set_status(&toy->device, cases[i].write);
		assert_int_equal(toy->device.status, cases[i].after);
	}
}

static void features_are_what_was_offered(void **state)
{
	struct toy *toy = *state;

	assert_int_equal(virtio_offered(&toy->device, 0),
			 1U << OWN_BIT | 1U << VIRTIO_EVENT_IDX | 1U << VIRTIO_INDIRECT_DESC);
	assert_int_equal(virtio_offered(&toy->device, 1), 1);
	assert_int_equal(virtio_offered(&toy->device, 2), 0);
	assert_int_equal(virtio_offered(&toy->device, 0xffffffff), 0);
	virtio_take(&toy->device, 0, 0xffffffff);
	virtio_take(&toy->device, 1, 0xfffffffe);
	virtio_take(&toy->device, 2, 0xffffffff);
	assert_int_equal(toy->device.features, virtio_offered(&toy->device, 0));
	virtio_set_status(&toy->device, A | D | F);
	assert_int_equal(toy->device.status, A | D); /* not without VERSION_1 */
	virtio_take(&toy->device, 1, 1);
	virtio_set_status(&toy->device, A | D | F);
	assert_int_equal(toy->device.status, A | D | F);
	virtio_take(&toy->device, 0, 0); /* too late */
	assert_true(virtio_has(&toy->device, OWN_BIT));
}

static void queues_are_frozen(void **state)
{
	struct toy *toy = *state;
	struct virtio_device *device = &toy->device;

	(void)pthread_mutex_lock(&device->lock);
	assert_ptr_equal(virtio_setup_queue(device, 0), &device->queue[0]); /* SeaBIOS is early */
	assert_null(virtio_setup_queue(device, QUEUES));
	assert_null(virtio_setup_queue(device, 0xffff));
	(void)pthread_mutex_unlock(&device->lock);
	set_up_queue(toy, 0);
	(void)pthread_mutex_lock(&device->lock);
	assert_null(virtio_setup_queue(device, 0)); /* enabled once */
	(void)pthread_mutex_unlock(&device->lock);
	virtio_take(device, 1, 1);
	virtio_set_status(device, ALL);
	(void)pthread_mutex_lock(&device->lock);
	assert_null(virtio_setup_queue(device, 1)); /* never enabled, and now it is too late */
	(void)pthread_mutex_unlock(&device->lock);
	virtio_set_status(device, 0);
	(void)pthread_mutex_lock(&device->lock);
	assert_non_null(virtio_setup_queue(device, 0));
	assert_int_equal(device->queue[0].desc, 0); /* nothing is left of it */
	assert_int_equal(device->queue[2].size, 256);
	(void)pthread_mutex_unlock(&device->lock);
}

static void activation_is_on_the_worker(void **state)
{
	struct toy *toy = *state;

	start(toy);
	assert_int_equal(toy->activated, 1);
	assert_false(pthread_equal(toy->thread, pthread_self()));
	virtio_set_status(&toy->device, ALL); /* again: nothing */
	virtio_set_status(&toy->device, OK);
	assert_int_equal(toy->activated, 1);
	assert_int_equal(toy->resets, 0);
	virtio_set_status(&toy->device, 0);
	virtio_set_status(&toy->device, 0);
	assert_int_equal(toy->resets, 1);
	start(toy); /* and once more */
	assert_int_equal(toy->activated, 2);
}

static void requests_are_answered(void **state)
{
	struct toy *toy = *state;
	const uint16_t *used;

	start(toy);
	used = vmm_at(toy->platform, 0x18000, 64);
	offer(toy, 0, 0x100000);
	assert_int_equal(used[1], 1);
	assert_int_equal(toy->queue_interrupts, 1);
	virtio_again(&toy->device, 2); /* not enabled: nobody asks the device */
	toy->notified = 0;
	vmm_settle(toy->platform, &toy->device);
	assert_int_equal(toy->notified, 0);
}

static void a_broken_queue_needs_a_reset(void **state)
{
	struct toy *toy = *state;
	unsigned before;

	start(toy);
	offer(toy, 0, MEM_HOLE);
	assert_int_equal(toy->device.status, ALL | VIRTIO_NEEDS_RESET);
	assert_int_equal(toy->config_interrupts, 1);
	assert_int_equal(toy->warnings, 1);
	assert_non_null(toy->device.broken);
	before = toy->notified;
	offer(toy, 1, 0x100000); /* silence, on the other queue too */
	assert_int_equal(toy->notified, before);
	virtio_complete(&toy->device, 1, 0, 0, false);
	assert_int_equal(toy->queue_interrupts, 0);
	virtio_set_status(&toy->device, ALL);
	assert_int_equal(toy->device.status, ALL | VIRTIO_NEEDS_RESET);
	virtio_set_status(&toy->device, 0);
	assert_int_equal(toy->resets, 1);
	memset(vmm_at(toy->platform, 0x10000, 0x20000), 0, 0x20000);
	start(toy);
	offer(toy, 0, 0x100000);
	assert_int_equal(toy->queue_interrupts, 1);
}

static void warnings_do_not_flood(void **state)
{
	struct toy *toy = *state;

	for (unsigned i = 0; i < 100; i++) {
		memset(vmm_at(toy->platform, 0x10000, 0x20000), 0, 0x20000);
		start(toy);
		offer(toy, 0, MEM_HOLE);
		virtio_set_status(&toy->device, 0);
	}
	assert_true(toy->warnings > 0 && toy->warnings < 20);
}

static void rings_outside_of_memory(void **state)
{
	struct toy *toy = *state;

	virtio_take(&toy->device, 1, 1);
	set_up_queue(toy, 0);
	toy->device.queue[0].used = 0xfee00000;
	virtio_set_status(&toy->device, ALL);
	assert_int_equal(toy->device.status, ALL | VIRTIO_NEEDS_RESET);
	assert_int_equal(toy->activated, 0);
	assert_int_equal(toy->config_interrupts, 1);
	virtio_set_status(&toy->device, 0);
	assert_int_equal(toy->resets, 0); /* it was never active */
}

static void activation_may_fail(void **state)
{
	struct toy *toy = *state;

	toy->activation = -EIO;
	virtio_take(&toy->device, 1, 1);
	set_up_queue(toy, 0);
	virtio_set_status(&toy->device, ALL);
	assert_int_equal(toy->device.status, ALL | VIRTIO_NEEDS_RESET);
	assert_false(toy->device.active);
	virtio_set_status(&toy->device, 0);
	assert_int_equal(toy->resets, 0);
}

static void config_changes_are_told(void **state)
{
	struct toy *toy = *state;

	virtio_config_changed(&toy->device);
	assert_int_equal(toy->config_interrupts, 0); /* nobody listens yet */
	assert_int_equal(toy->device.config_generation, 1);
	start(toy);
	(void)pthread_mutex_lock(&toy->device.lock);
	virtio_config_changed(&toy->device);
	(void)pthread_mutex_unlock(&toy->device.lock);
	assert_int_equal(toy->config_interrupts, 1);
}

/* One vCPU starts the device over and over, another resets it, a third rings. */
struct abuser {
	struct toy *toy;
	unsigned kind;
};

static void *abuse(void *user)
{
	const struct abuser *abuser = user;
	struct virtio_device *device = &abuser->toy->device;

	for (unsigned i = 0; i < 3000; i++) {
		if (abuser->kind == 0) {
			virtio_take(device, 1, 1);
			(void)pthread_mutex_lock(&device->lock);
			if (virtio_setup_queue(device, 0)) {
				device->queue[0].desc = 0x10000;
				device->queue[0].avail = 0x14000;
				device->queue[0].used = 0x18000;
				device->queue[0].enabled = true;
			}
			(void)pthread_mutex_unlock(&device->lock);
			virtio_set_status(device, ALL);
		} else if (abuser->kind == 1) {
			virtio_set_status(device, 0);
		} else {
			virtio_again(device, i % QUEUES);
		}
	}
	return NULL;
}

static void status_from_many_sides(void **state)
{
	struct toy *toy = *state;
	struct abuser abusers[3];
	pthread_t threads[3];

	for (unsigned i = 0; i < 3; i++) {
		abusers[i] = (struct abuser){ toy, i };
		assert_int_equal(pthread_create(&threads[i], NULL, abuse, &abusers[i]), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	virtio_set_status(&toy->device, 0);
	assert_int_equal(toy->activated, toy->resets);
}

static void state_survives(void **state)
{
	struct toy *toy = *state;
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;
	unsigned notified;

	start(toy);
	offer(toy, 0, 0x100000);
	virtio_drain(&toy->device);
	worker_park(toy->platform->worker);
	state_writer_init(&writer, fd);
	assert_int_equal(virtio_save(&toy->device, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	worker_unpark(toy->platform->worker);
	assert_int_equal(toy->drained, 2);
	virtio_set_status(&toy->device, 0);
	notified = toy->notified;

	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(virtio_load(&toy->device, &reader), 0);
	state_reader_done(&reader);
	assert_int_equal(toy->device.status, ALL);
	assert_true(toy->device.active);
	assert_int_equal(toy->activated, 2);
	vmm_settle(toy->platform, &toy->device);
	assert_true(toy->notified > notified); /* rings may have been lost */
	offer(toy, 0, 0x100000);
	assert_int_equal(((uint16_t *)vmm_at(toy->platform, 0x18000, 64))[1], 2);
	(void)close(fd);
}

/* A device that was saved in a state that it cannot be in. */
static void state_is_checked(void **state)
{
	struct toy *toy = *state;

	for (unsigned i = 0; i < 3; i++) {
		int fd = memfd_create("state", MFD_CLOEXEC);
		struct state_writer writer;
		struct state_reader reader;

		start(toy);
		(void)pthread_mutex_lock(&toy->device.lock);
		if (i == 0)
			toy->device.status = A;
		else if (i == 1)
			toy->device.features |= 1ULL << 60;
		else
			toy->device.queue[0].desc = 4;
		(void)pthread_mutex_unlock(&toy->device.lock);
		state_writer_init(&writer, fd);
		assert_int_equal(virtio_save(&toy->device, &writer), 0);
		assert_int_equal(state_finish(&writer), 0);
		state_writer_done(&writer);
		virtio_set_status(&toy->device, 0);
		assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
		assert_int_equal(virtio_load(&toy->device, &reader), -EPROTO);
		state_reader_done(&reader);
		assert_int_equal(toy->device.status, 0);
		assert_false(toy->device.active);
		(void)close(fd);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(status_only_grows_in_order), TEST(features_are_what_was_offered),
		TEST(queues_are_frozen),          TEST(activation_is_on_the_worker),
		TEST(requests_are_answered),      TEST(a_broken_queue_needs_a_reset),
		TEST(warnings_do_not_flood),      TEST(rings_outside_of_memory),
		TEST(activation_may_fail),        TEST(config_changes_are_told),
		TEST(status_from_many_sides),     TEST(state_survives),
		TEST(state_is_checked),
	};

	return cmocka_run_group_tests_name("vmm_device", tests, NULL, NULL);
}
