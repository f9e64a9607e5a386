/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes, through all of the transport. */
#include "test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "support/vmm_driver.h"
#include "virtio/pci.h"
#include "virtio/rng.h"

enum { SLOT = 3, MIB = 1 << 20 };

struct world {
	struct vmm_platform *platform;
	struct virtio_device *device;
	struct virtio_pci *transport;
	struct vmm_driver driver;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->platform = vmm_platform_new(64 * MIB, true);
	assert_int_equal(virtio_rng_new(&w->platform->mem, w->platform->worker, &w->device, NULL),
			 0);
	assert_int_equal(virtio_pci_new(w->device, &w->platform->pci, SLOT, &w->platform->irq,
					&w->transport, NULL),
			 0);
	assert_int_equal(vmm_driver_open(&w->driver, w->platform, SLOT), 0);
	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	virtio_pci_free(w->transport);
	w->device->ops->free(w->device);
	vmm_platform_free(w->platform);
	free(w);
	return 0;
}

static size_t zeroes(const uint8_t *data, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++)
		n += data[i] == 0;
	return n;
}

static void bytes_are_random(void **state)
{
	struct world *w = *state;
	uint64_t at = vmm_alloc(w->platform, 1024, 1);
	const struct vmm_buffer buffers[] = { { at, 100, true }, { at + 100, 412, true } };
	const uint8_t *data = vmm_at(w->platform, at, 1024);

	assert_int_equal(w->driver.device_id, 0x1044);
	assert_int_equal(vmm_driver_call(&w->driver, 0, buffers, 2), 512);
	assert_true(zeroes(data, 512) < 40);
	assert_int_equal(zeroes(data + 512, 512), 512);
}

static void a_request_is_bounded(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer all = { 0x200000, 32 * MIB, true };
	const struct vmm_buffer none = { 0x200000, 4096, false };

	assert_int_equal(vmm_driver_call(&w->driver, 0, &all, 1), RNG_REQUEST_MAX);
	assert_int_equal(zeroes(vmm_at(w->platform, 0x200000 + RNG_REQUEST_MAX, MIB), MIB), MIB);
	assert_int_equal(vmm_driver_call(&w->driver, 0, &none, 1), 0);
}

static void many_requests_at_once(void **state)
{
	struct world *w = *state;
	uint64_t at = vmm_alloc(w->platform, 64 * 16, 1);

	assert_int_equal(vmm_driver_start(&w->driver, 1ULL << VIRTIO_EVENT_IDX), 0);
	for (unsigned round = 0; round < 50; round++) {
		unsigned n = 1 + round % 64;

		for (unsigned i = 0; i < n; i++) {
			const struct vmm_buffer buffer = { at + 16 * i, 16, true };

			assert_true(vmm_driver_add(&w->driver, 0, &buffer, 1) >= 0);
		}
		vmm_driver_ring(&w->driver, 0);
		for (unsigned i = 0; i < n; i++)
			assert_true(vmm_driver_wait(&w->driver, 0, NULL) >= 0);
	}
}

/* ---- A second vCPU that writes to the rings while the device reads them ---- */

struct flipper {
	struct vmm_queue *queue;
	bool stop;
};

static void *flip(void *user)
{
	struct flipper *f = user;
	uint64_t random = 1;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		struct vmm_desc *desc;

		random = random * 6364136223846793005 + 1442695040888963407;
		desc = &f->queue->desc[random >> 60];
		__atomic_store_n(&desc->address, random >> 38, __ATOMIC_RELAXED);
		__atomic_store_n(&desc->length, (uint32_t)(random >> 48), __ATOMIC_RELAXED);
		__atomic_store_n(&desc->flags, (uint16_t)(random >> 32 & 3), __ATOMIC_RELAXED);
		__atomic_store_n(&desc->next, (uint16_t)(random >> 36 & 63), __ATOMIC_RELAXED);
	}
	return NULL;
}

static void rings_that_change_meanwhile(void **state)
{
	struct world *w = *state;
	struct flipper flipper = { .queue = &w->driver.queue[0] };
	const struct vmm_buffer good = { 0x200000, 16, true };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, flip, &flipper), 0);
	for (unsigned round = 0; round < 300; round++) {
		for (uint16_t i = 0; i < 16; i++)
			vmm_driver_offer(&w->driver, 0, i);
		vmm_driver_ring(&w->driver, 0);
		vmm_settle(w->platform, w->device);
		/* broken or not, it can be started again; the rings stay where they are flipped */
		w->platform->next = 0x100000;
		vmm_driver_reset(&w->driver);
		assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	}
	__atomic_store_n(&flipper.stop, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	assert_int_equal(vmm_driver_call(&w->driver, 0, &good, 1), 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_are_random, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_request_is_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_requests_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(rings_that_change_meanwhile, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("vmm_rng", tests, NULL, NULL);
}
