/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a network asks of vhost-net, and when: a kernel that is played by this test, because few hosts let tests have
 * the real one (with_a_real_tap in test_vmm_net.c uses it where they do, and so do machines in the nested host).
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "machine/state.h"
#include "support/vmm_driver.h"
#include "virtio/net.h"
#include "virtio/net_header.h"
#include "virtio/pci.h"

enum { MIB = 1 << 20, SLOT = 2, RX = 0, TX = 1, MTU = 1500, OUT = 0x400000, FRAME = 60 };

#define BIT(name) (1ULL << VIRTIO_NET_F_##name)
#define MERGED (BIT(MRG_RXBUF) | 1ULL << VIRTIO_EVENT_IDX | 1ULL << VIRTIO_INDIRECT_DESC)

static const uint8_t own_mac[NET_MAC] = { 2, 0x11, 0x22, 0x33, 0x44, 0x55 };

/* ---- The kernel ---- */

struct fake_queue {
	struct vhost_vring_addr rings;
	uint32_t size, base;
	int call, kick, error, backend;
};

static struct fake {
	int fd;
	unsigned n, fail_at; /* requests; which of them fails, 0: none */
	uint64_t offered, features;
	unsigned owners, n_regions;
	struct vhost_memory_region region[2];
	struct fake_queue queue[2];
} fake;

static int set_memory(const struct vhost_memory *memory)
{
	assert_int_equal(fake.owners, 1);
	assert_in_range(memory->nregions, 1, 2);
	fake.n_regions = memory->nregions;
	memcpy(fake.region, memory->regions, memory->nregions * sizeof(fake.region[0]));
	return 0;
}

static int set_file(unsigned long request, const struct vhost_vring_file *file)
{
	struct fake_queue *queue = &fake.queue[file->index];

	assert_in_range(file->index, 0, 1);
	switch (request) {
	case VHOST_SET_VRING_KICK:
		queue->kick = file->fd;
		return 0;
	case VHOST_SET_VRING_CALL:
		queue->call = file->fd;
		return 0;
	case VHOST_SET_VRING_ERR:
		queue->error = file->fd;
		return 0;
	case VHOST_NET_SET_BACKEND:
		queue->backend = file->fd;
		return 0;
	default:
		fail_msg("an ioctl that nobody knows: %#lx", request);
		return -1;
	}
}

/* As the kernel: not while there is a backend. */
static int set_queue(unsigned long request, void *value)
{
	struct vhost_vring_state *state =
		value; /* and struct vhost_vring_addr: index comes first */
	struct fake_queue *queue = &fake.queue[state->index];

	assert_in_range(state->index, 0, 1);
	assert_int_equal(queue->backend, -1);
	switch (request) {
	case VHOST_SET_VRING_NUM:
		queue->size = state->num;
		return 0;
	case VHOST_SET_VRING_BASE:
		queue->base = state->num;
		return 0;
	case VHOST_SET_VRING_ADDR:
		memcpy(&queue->rings, value, sizeof(queue->rings));
		return 0;
	default:
		state->num = queue->base;
		return 0;
	}
}

static int answer(unsigned long request, void *value)
{
	if (++fake.n == fake.fail_at) {
		errno = EBUSY;
		return -1;
	}
	switch (request) {
	case VHOST_GET_FEATURES:
		memcpy(value, &fake.offered, sizeof(fake.offered));
		return 0;
	case VHOST_SET_FEATURES:
		memcpy(&fake.features, value, sizeof(fake.features));
		return 0;
	case VHOST_SET_OWNER:
		fake.owners++;
		return 0;
	case VHOST_SET_MEM_TABLE:
		return set_memory(value);
	case VHOST_SET_VRING_NUM:
	case VHOST_SET_VRING_BASE:
	case VHOST_GET_VRING_BASE:
	case VHOST_SET_VRING_ADDR:
		return set_queue(request, value);
	default:
		return set_file(request, value);
	}
}

/* The linker puts it in ioctl()'s place. NOLINTBEGIN(bugprone-reserved-identifier,cert-*) */
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *value;

	va_start(arguments, request);
	value = va_arg(arguments, void *);
	va_end(arguments);
	return fd == fake.fd ? answer(request, value) : __real_ioctl(fd, request, value);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-*) */

/* Work off what is in a ring, as a device that writes nothing. */
static unsigned work_off(unsigned i)
{
	struct fake_queue *queue = &fake.queue[i];
	const struct vmm_avail *avail =
		(const struct vmm_avail *)(uintptr_t)queue->rings.avail_user_addr;
	struct vmm_used *used = (struct vmm_used *)(uintptr_t)queue->rings.used_user_addr;
	unsigned n = 0;

	for (; (uint16_t)queue->base != avail->idx; n++) {
		uint16_t head = avail->ring[queue->base % queue->size];

		used->ring[used->idx % queue->size] = (struct vmm_used_entry){ head, 0 };
		used->idx++;
		queue->base = (uint16_t)(queue->base + 1);
	}
	if (n && queue->call >= 0)
		assert_int_equal(eventfd_write(queue->call, 1), 0);
	return n;
}

/* ---- The machine ---- */

struct world {
	struct vmm_platform *platform;
	struct virtio_device *device;
	struct virtio_pci *transport;
	struct vmm_driver driver;
	int tap, host; /* its two ends */
};

/* What is ready is done, and what that makes ready: a doorbell that is lent stays rung, so nobody waits for it. */
static void on_quit(void *user, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	venv__loop_quit(user, 0);
}

static void settle(const struct world *w)
{
	for (int i = 0; i < 4; i++) {
		assert_non_null(
			venv__loop_timer(w->platform->loop, 0, 0, on_quit, w->platform->loop));
		assert_int_equal(venv__loop_run(w->platform->loop), 0);
	}
}

static void reset_fake(int fd)
{
	fake = (struct fake){ .fd = fd,
			      .offered = MERGED | 1ULL << VIRTIO_VERSION_1 | 1ULL << 26,
			      .queue = { { .backend = -1 }, { .backend = -1 } } };
}

/* vhost: a descriptor that is the fake's, or -1. */
static struct world *world_new(int vhost)
{
	struct virtio_net_options options = { .vhost = vhost, .mtu = MTU };
	struct world *w = calloc(1, sizeof(*w));
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	w->tap = options.tap = pair[1];
	w->host = pair[0];
	memcpy(options.mac, own_mac, NET_MAC);
	w->platform = vmm_platform_new(64 * MIB, false);
	assert_int_equal(
		virtio_net_new(&w->platform->mem, w->platform->worker, &options, &w->device, NULL),
		0);
	assert_int_equal(virtio_pci_new(w->device, &w->platform->pci, SLOT, &w->platform->irq,
					&w->transport, NULL),
			 0);
	assert_int_equal(vmm_driver_open(&w->driver, w->platform, SLOT), 0);
	return w;
}

static void world_free(struct world *w)
{
	virtio_pci_free(w->transport);
	w->device->ops->free(w->device);
	vmm_platform_free(w->platform);
	if (w->host >= 0)
		(void)close(w->host);
	free(w);
	fake.fd = -1;
}

static void start(struct world *w, uint64_t features)
{
	assert_int_equal(vmm_driver_start(&w->driver, features), 0);
	settle(w);
}

static int set_up(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC); /* whatever it is: it is the fake's */

	reset_fake(fd);
	*state = world_new(fd);
	return 0;
}

static int tear_down(void **state)
{
	world_free(*state);
	return 0;
}

static bool is_lent(const struct world *w)
{
	assert_int_equal(fake.queue[RX].backend, fake.queue[TX].backend);
	assert_true(fake.queue[RX].backend == -1 || fake.queue[RX].backend == w->tap);
	return fake.queue[RX].backend == w->tap;
}

static void submit(struct world *w)
{
	const struct vmm_buffer buffer = { OUT, NET_HEADER + FRAME, false };

	memcpy(vmm_at(w->platform, OUT + NET_HEADER + 6, NET_MAC), own_mac, NET_MAC);
	assert_true(vmm_driver_submit(&w->driver, TX, &buffer, 1) >= 0);
}

static void is_answered(struct world *w)
{
	assert_true(vmm_driver_wait(&w->driver, TX, NULL) >= 0);
}

static ssize_t went_out(const struct world *w)
{
	uint8_t frame[2048];

	return read(w->host, frame, sizeof(frame));
}

/* By us, not by the kernel. */
static void we_do_it(struct world *w)
{
	submit(w);
	settle(w);
	is_answered(w);
	assert_int_equal(went_out(w), NET_HEADER + FRAME);
	assert_int_equal(went_out(w), -1);
}

static void the_kernel_does_it(struct world *w)
{
	unsigned before = fake.queue[TX].base;

	submit(w);
	settle(w);
	assert_int_equal(vmm_driver_poll(&w->driver, TX, NULL), -1);
	assert_int_equal(work_off(TX), 1);
	is_answered(w);
	assert_int_equal(went_out(w), -1);
	assert_int_equal(fake.queue[TX].base, (uint16_t)(before + 1));
}

/* ---- What it is told ---- */

static void it_gets_what_was_checked(void **state)
{
	struct world *w = *state;

	assert_int_equal(fake.owners, 0); /* not before there is a driver */
	start(w, MERGED | BIT(MAC) | BIT(CSUM));
	assert_true(is_lent(w));
	assert_int_equal(fake.owners, 1);
	assert_true(fake.features == (MERGED | 1ULL << VIRTIO_VERSION_1));
	assert_int_equal(fake.n_regions, w->platform->mem.n_regions);
	for (unsigned i = 0; i < fake.n_regions; i++) {
		assert_int_equal(fake.region[i].guest_phys_addr,
				 w->platform->mem.region[i].address);
		assert_int_equal(fake.region[i].memory_size, w->platform->mem.region[i].size);
		assert_ptr_equal((void *)(uintptr_t)fake.region[i].userspace_addr,
				 w->platform->mem.region[i].host);
	}
	for (unsigned i = 0; i < 2; i++) {
		const struct vmm_queue *queue = &w->driver.queue[i];

		assert_int_equal(fake.queue[i].size, queue->size);
		assert_int_equal(fake.queue[i].base, 0);
		assert_ptr_equal((void *)(uintptr_t)fake.queue[i].rings.desc_user_addr,
				 queue->desc);
		assert_ptr_equal((void *)(uintptr_t)fake.queue[i].rings.avail_user_addr,
				 queue->avail);
		assert_ptr_equal((void *)(uintptr_t)fake.queue[i].rings.used_user_addr,
				 queue->used);
		assert_int_equal(fake.queue[i].kick, w->device->doorbell[i]);
		assert_true(fake.queue[i].call >= 0);
	}
	assert_int_not_equal(fake.queue[RX].call, fake.queue[TX].call);
	the_kernel_does_it(w);
	the_kernel_does_it(w);
}

/* A guest whose rings lie nowhere never gets so far. */
static void bad_rings_are_not_given(void **state)
{
	struct world *w = *state;

	vmm_driver_reset(&w->driver);
	assert_int_equal(vmm_driver_take(&w->driver, MERGED | 1ULL << VIRTIO_VERSION_1), 0);
	vmm_driver_add_queue(&w->driver, RX, 64);
	vmm_driver_add_queue(&w->driver, TX, 64);
	w->device->queue[TX].used = 64ULL * MIB - 16;
	vmm_driver_set_status(&w->driver, vmm_driver_status(&w->driver) | VIRTIO_DRIVER_OK);
	settle(w);
	assert_true(vmm_driver_status(&w->driver) & VIRTIO_NEEDS_RESET);
	assert_false(is_lent(w));
	assert_int_equal(fake.owners, 0);
}

/* ---- When it is not used ---- */

static void not_for_every_driver(void **state)
{
	struct world *w = *state;

	start(w, BIT(MAC));
	assert_false(is_lent(w));
	we_do_it(w);
	start(w, MERGED);
	assert_true(is_lent(w));
	the_kernel_does_it(w);
}

static void what_is_no_vhost_is_not_used(void **state)
{
	struct world *w;

	(void)state;
	reset_fake(-1);
	w = world_new(open("/dev/null", O_RDWR | O_CLOEXEC));
	start(w, MERGED);
	we_do_it(w);
	world_free(w);
	reset_fake(eventfd(0, EFD_CLOEXEC));
	fake.offered &= ~(1ULL << VIRTIO_EVENT_IDX); /* which guests are offered in any case */
	w = world_new(fake.fd);
	start(w, MERGED);
	assert_int_equal(fake.owners, 0);
	we_do_it(w);
	world_free(w);
}

/* Whatever the kernel refuses, on the way in: the guest has a network. */
static void any_failure_is_made_up_for(void **state)
{
	unsigned all, failed = 0;
	struct world *w;

	(void)state;
	reset_fake(eventfd(0, EFD_CLOEXEC));
	w = world_new(fake.fd);
	start(w, MERGED);
	all = fake.n;
	world_free(w);
	assert_int_equal(all, 1 + 3 + 2 * 6 + 2);
	for (unsigned i = 1; i <= all; i++) {
		reset_fake(eventfd(0, EFD_CLOEXEC));
		fake.fail_at = i;
		w = world_new(fake.fd);
		start(w, MERGED);
		assert_false(is_lent(w));
		assert_true(fake.queue[RX].kick <= 0 && fake.queue[TX].kick <= 0);
		we_do_it(w);
		we_do_it(w);
		failed++;
		world_free(w);
	}
	assert_int_equal(failed, all);
}

/* ---- Its end ---- */

static void errors_need_a_reset(void **state)
{
	struct world *w = *state;

	start(w, MERGED);
	assert_int_equal(eventfd_write(fake.queue[TX].error, 1), 0);
	settle(w);
	assert_true(vmm_driver_status(&w->driver) & VIRTIO_NEEDS_RESET);
	assert_false(is_lent(w));
	submit(w);
	settle(w);
	assert_int_equal(vmm_driver_poll(&w->driver, TX, NULL), -1);
	assert_int_equal(went_out(w), -1);
	start(w, MERGED);
	assert_true(is_lent(w));
	assert_int_equal(fake.owners, 1);
	the_kernel_does_it(w);
}

/* A kernel that does not say how far it is leaves nothing that could be gone on with. */
static void silence_needs_a_reset(void **state)
{
	struct world *w = *state;

	start(w, MERGED);
	fake.fail_at = fake.n + 3; /* backend, doorbell, base */
	virtio_drain(w->device);
	settle(w);
	assert_true(vmm_driver_status(&w->driver) & VIRTIO_NEEDS_RESET);
	start(w, MERGED);
	assert_true(is_lent(w));
}

static void resets_take_it_back(void **state)
{
	struct world *w = *state;

	start(w, MERGED);
	the_kernel_does_it(w);
	vmm_driver_reset(&w->driver);
	assert_false(is_lent(w));
	assert_int_equal(fake.queue[TX].kick, -1);
	start(w, MERGED);
	assert_true(is_lent(w));
	assert_int_equal(fake.queue[TX].base, 0);
	the_kernel_does_it(w);
}

static void links_take_it_back(void **state)
{
	struct world *w = *state;

	start(w, MERGED);
	the_kernel_does_it(w);
	virtio_net_set_link(w->device, false);
	settle(w);
	assert_false(is_lent(w));
	submit(w);
	settle(w);
	is_answered(w);
	assert_int_equal(went_out(w), -1);
	virtio_net_set_link(w->device, true);
	settle(w);
	assert_true(is_lent(w));
	assert_int_equal(fake.queue[TX].base, 2);
	the_kernel_does_it(w);
	(void)close(w->host); /* the TAP's end is seen, though nobody reads it */
	w->host = -1;
	settle(w);
	assert_false(is_lent(w));
	assert_int_equal(vmm_read16(w->platform, w->driver.config + 6), 0);
}

/* ---- States ---- */

static int save(const struct world *w)
{
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;

	virtio_drain(w->device);
	settle(w); /* whoever is not parked yet goes on working */
	assert_false(is_lent(w));
	state_writer_init(&writer, fd);
	assert_int_equal(pci_save(&w->platform->pci, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	return fd;
}

static void load(const struct world *w, int fd)
{
	struct state_reader reader;

	pci_reset(&w->platform->pci);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(pci_load(&w->platform->pci, &reader), 0);
	state_reader_done(&reader);
	(void)close(fd);
}

static size_t content(int fd, uint8_t *ret, size_t size)
{
	ssize_t n = pread(fd, ret, size, 0);

	assert_in_range(n, 1, size - 1);
	return (size_t)n;
}

static void while_it_is_held_it_is_ours(void **state)
{
	struct world *w = *state;

	start(w, MERGED);
	the_kernel_does_it(w);
	(void)close(save(w));
	settle(w);
	assert_false(is_lent(w));
	virtio_go_on(w->device);
	settle(w);
	assert_true(is_lent(w));
	assert_int_equal(fake.queue[TX].base, 1);
	the_kernel_does_it(w);
	load(w, save(w));
	settle(w);
	assert_true(is_lent(w));
	assert_int_equal(fake.queue[TX].base, 2);
	the_kernel_does_it(w);
}

/* The same work done by the kernel and by us leaves the same state, and either goes on from the other's. */
static void states_are_the_same(void **state)
{
	static uint8_t with[1 << 16], without[1 << 16];
	struct world *w = *state, *own;
	size_t n;
	int fd, own_fd;

	start(w, MERGED);
	the_kernel_does_it(w);
	the_kernel_does_it(w);
	fd = save(w);
	own = world_new(-1);
	start(own, MERGED);
	we_do_it(own);
	we_do_it(own);
	own_fd = save(own);
	n = content(fd, with, sizeof(with));
	assert_int_equal(content(own_fd, without, sizeof(without)), n);
	assert_memory_equal(with, without, n);
	load(own, fd);
	we_do_it(own);
	load(w, own_fd);
	settle(w);
	assert_true(is_lent(w));
	the_kernel_does_it(w);
	world_free(own);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(it_gets_what_was_checked),
		TEST(bad_rings_are_not_given),
		TEST(not_for_every_driver),
		cmocka_unit_test(what_is_no_vhost_is_not_used),
		cmocka_unit_test(any_failure_is_made_up_for),
		TEST(errors_need_a_reset),
		TEST(silence_needs_a_reset),
		TEST(resets_take_it_back),
		TEST(links_take_it_back),
		TEST(while_it_is_held_it_is_ours),
		TEST(states_are_the_same),
	};

	return cmocka_run_group_tests_name("vmm_vhost", tests, NULL, NULL);
}
