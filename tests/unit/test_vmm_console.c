/* SPDX-License-Identifier: Apache-2.0 */
/* A console between the guest and a socket: both ways, faster than allowed, with nobody at the other end. */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "machine/state.h"
#include "support/vmm_driver.h"
#include "util/sys.h"
#include "virtio/console.h"
#include "virtio/pci.h"

enum { MIB = 1 << 20, SLOT = 5, RX = 0, TX = 1 };

struct world {
	struct vmm_platform *platform;
	struct virtio_device *device;
	struct virtio_pci *transport;
	struct vmm_driver driver;
	int host; /* our end */
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	int pair[2];

	w->platform = vmm_platform_new(64 * MIB, true);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			 0);
	w->host = pair[0];
	assert_int_equal(virtio_console_new(&w->platform->mem, w->platform->worker, dup(pair[1]),
					    pair[1], &w->device, NULL),
			 0);
	assert_int_equal(virtio_pci_new(w->device, &w->platform->pci, SLOT, &w->platform->irq,
					&w->transport, NULL),
			 0);
	assert_int_equal(vmm_driver_open(&w->driver, w->platform, SLOT), 0);
	assert_int_equal(vmm_driver_start(&w->driver, 1ULL << VIRTIO_EVENT_IDX), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	virtio_pci_free(w->transport);
	w->device->ops->free(w->device);
	vmm_platform_free(w->platform);
	if (w->host >= 0)
		(void)close(w->host);
	free(w);
	return 0;
}

static struct vmm_buffer text_of(struct world *w, const char *text)
{
	uint32_t length = (uint32_t)strlen(text);
	uint64_t at = vmm_alloc(w->platform, length, 1);

	memcpy(vmm_at(w->platform, at, length), text, length);
	return (struct vmm_buffer){ at, length, false };
}

/* Until n bytes came or nothing more does. */
static size_t receive(struct world *w, char *data, size_t n, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = w->host, .events = POLLIN };
	size_t done = 0;

	while (done < n && poll(&poll_fd, 1, timeout_ms) == 1) {
		ssize_t r = read(w->host, data + done, n - done);

		if (r <= 0)
			break;
		done += (size_t)r;
	}
	return done;
}

static void output(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer parts[] = { text_of(w, "hello "), text_of(w, "host") };
	char text[16] = { 0 };

	assert_int_equal(w->driver.device_id, 0x1043);
	assert_int_equal(vmm_driver_call(&w->driver, TX, parts, 2), 0);
	assert_int_equal(receive(w, text, 10, 5000), 10);
	assert_string_equal(text, "hello host");
}

static void input(void **state)
{
	struct world *w = *state;
	uint64_t at = vmm_alloc(w->platform, 64, 1);
	const struct vmm_buffer buffer = { at, 4, true };
	uint32_t written;

	/* before there is room, and more than fits */
	assert_int_equal(write(w->host, "abcdefghij", 10), 10);
	vmm_settle(w->platform, w->device);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(vmm_driver_submit(&w->driver, RX, &buffer, 1) >= 0);
		assert_true(vmm_driver_wait(&w->driver, RX, &written) >= 0);
		assert_int_equal(written, i < 2 ? 4 : 2);
	}
	assert_memory_equal(vmm_at(w->platform, at, 4), "ijgh", 4);
	/* and after */
	assert_true(vmm_driver_submit(&w->driver, RX, &buffer, 1) >= 0);
	assert_int_equal(write(w->host, "x", 1), 1);
	assert_true(vmm_driver_wait(&w->driver, RX, &written) >= 0);
	assert_int_equal(written, 1);
}

static void empty_buffers_for_input(void **state)
{
	struct world *w = *state;
	uint64_t at = vmm_alloc(w->platform, 64, 1);
	const struct vmm_buffer empty = { at, 0, true }, readable = { at, 8, false };
	const struct vmm_buffer real = { at, 8, true };
	uint32_t written;

	assert_int_equal(write(w->host, "abc", 3), 3);
	for (unsigned i = 0; i < 30; i++) {
		assert_true(vmm_driver_submit(&w->driver, RX, i % 2 ? &empty : &readable, 1) >= 0);
		assert_true(vmm_driver_wait(&w->driver, RX, &written) >= 0);
		assert_int_equal(written, 0);
	}
	assert_true(vmm_driver_submit(&w->driver, RX, &real, 1) >= 0);
	assert_true(vmm_driver_wait(&w->driver, RX, &written) >= 0);
	assert_int_equal(written, 3);
}

static void *drain_host(void *user)
{
	static char scratch[65536];
	struct pollfd poll_fd = { .fd = *(int *)user, .events = POLLIN };
	size_t total = 0;

	while (poll(&poll_fd, 1, 5000) == 1) {
		ssize_t n = read(poll_fd.fd, scratch, sizeof(scratch));

		if (n <= 0)
			break;
		total += (size_t)n;
	}
	return (void *)total;
}

/* A guest that shouts is slowed down, and nothing of it is lost. */
static void a_flood_is_slowed_down(void **state)
{
	struct world *w = *state;
	const uint32_t total = CONSOLE_BURST + CONSOLE_RATE / 2;
	const struct vmm_buffer all = { 0x200000, total, false };
	uint64_t start = venv__now_us();
	pthread_t thread;
	void *read_there;

	assert_int_equal(pthread_create(&thread, NULL, drain_host, &w->host), 0);
	assert_int_equal(vmm_driver_call(&w->driver, TX, &all, 1), 0);
	assert_true(venv__now_us() - start > 350000);
	virtio_pci_free(w->transport);
	w->transport = NULL;
	w->device->ops->free(w->device);
	assert_int_equal(pthread_join(thread, &read_there), 0);
	assert_int_equal((size_t)read_there, total);
	/* for tear_down() */
	assert_int_equal(virtio_console_new(&w->platform->mem, w->platform->worker, -1, -1,
					    &w->device, NULL),
			 0);
}

/* Nobody reads: the guest waits for a moment, then goes on without its output being kept. */
static void nobody_reads(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer all = { 0x200000, CONSOLE_BURST, false };
	const struct vmm_buffer hello = text_of(w, "hello");
	uint64_t start = venv__now_us(), first;
	char *data = malloc(MIB);
	size_t n;

	assert_int_equal(vmm_driver_call(&w->driver, TX, &all, 1), 0);
	first = venv__now_us() - start;
	assert_true(first > (CONSOLE_PATIENCE_MS - 50) * 1000);
	for (unsigned i = 0; i < 100; i++) /* no more waiting */
		assert_int_equal(vmm_driver_call(&w->driver, TX, &hello, 1), 0);
	assert_true(venv__now_us() - start < first + 2000000);
	assert_true(virtio_console_dropped(w->device) > 500);
	/* somebody reads again */
	n = receive(w, data, MIB, 100);
	assert_true(n > 0 && n < CONSOLE_BURST);
	for (unsigned i = 0; i < 100 && n != 5; i++) {
		assert_int_equal(vmm_driver_call(&w->driver, TX, &hello, 1), 0);
		n = receive(w, data, 5, 50);
	}
	assert_memory_equal(data, "hello", 5);
	free(data);
}

static void the_host_is_gone(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer hello = text_of(w, "hello");
	const struct vmm_buffer room = { 0x200000, 16, true };

	assert_true(vmm_driver_submit(&w->driver, RX, &room, 1) >= 0);
	(void)close(w->host);
	w->host = -1;
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(vmm_driver_call(&w->driver, TX, &hello, 1), 0);
	vmm_driver_reset(&w->driver);
	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	assert_int_equal(vmm_driver_call(&w->driver, TX, &hello, 1), 0);
}

static void a_reset_while_output_waits(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer all = { 0x200000, 4 * CONSOLE_BURST, false };
	const struct vmm_buffer hello = text_of(w, "hello");

	assert_true(vmm_driver_submit(&w->driver, TX, &all, 1) >= 0);
	vmm_settle(w->platform, w->device);
	assert_int_equal(vmm_driver_poll(&w->driver, TX, NULL), -1);
	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	assert_int_equal(vmm_driver_call(&w->driver, TX, &hello, 1), 0);
}

static void its_size(void **state)
{
	struct world *w = *state;

	assert_int_equal(vmm_read16(w->platform, w->driver.config), 80);
	assert_int_equal(vmm_read16(w->platform, w->driver.config + 2), 25);
	virtio_console_resize(w->device, 132, 43);
	assert_true(vmm_interrupt(w->platform, w->driver.first_data + 2, VMM_WAIT_MS));
	assert_int_equal(vmm_read32(w->platform, w->driver.config), 43 << 16 | 132);
	assert_int_equal(vmm_read32(w->platform, w->driver.config + 4), 0xffffffff);
}

static void state_survives(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer all = { 0x200000, 2 * CONSOLE_BURST, false };
	const struct vmm_buffer room = { 0x100000 * 2, 16, true };
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;
	uint32_t written;

	/* input that has not been taken, output that waits */
	assert_int_equal(write(w->host, "abc", 3), 3);
	assert_true(vmm_driver_submit(&w->driver, TX, &all, 1) >= 0);
	for (unsigned i = 0; i < 20; i++)
		vmm_settle(w->platform, w->device);
	virtio_drain(w->device);
	worker_park(w->platform->worker);
	state_writer_init(&writer, fd);
	assert_int_equal(pci_save(&w->platform->pci, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	worker_unpark(w->platform->worker);
	assert_true(vmm_driver_poll(&w->driver, TX, NULL) >= 0); /* given back before the save */
	pci_reset(&w->platform->pci);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(pci_load(&w->platform->pci, &reader), 0);
	state_reader_done(&reader);
	assert_true(vmm_driver_submit(&w->driver, RX, &room, 1) >= 0);
	assert_true(vmm_driver_wait(&w->driver, RX, &written) >= 0);
	assert_int_equal(written, 3);
	assert_memory_equal(vmm_at(w->platform, 0x200000, 3), "abc", 3);
	(void)close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(output),
		TEST(input),
		TEST(empty_buffers_for_input),
		TEST(a_flood_is_slowed_down),
		TEST(nobody_reads),
		TEST(the_host_is_gone),
		TEST(a_reset_while_output_waits),
		TEST(its_size),
		TEST(state_survives),
	};

	return cmocka_run_group_tests_name("vmm_console", tests, NULL, NULL);
}
