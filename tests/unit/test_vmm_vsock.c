/* SPDX-License-Identifier: Apache-2.0 */
/* Streams both ways between a guest's driver and Unix sockets, and what guests do that no driver would. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "machine/state.h"
#include "support/vmm_driver.h"
#include "util/file.h"
#include "util/sys.h"
#include "virtio/pci.h"
#include "virtio/vsock.h"
#include "vsock/muxer.h"

enum {
	MIB = 1 << 20,
	SLOT = 6,
	RX = 0,
	TX = 1,
	EVENT = 2,
	CID = 3,
	OUT = 0x400000,
	IN = 0x800000,
	ROOM = 4096,
	BUFFERS = 32,
	HEADER = sizeof(struct virtio_vsock_hdr),
};

typedef struct virtio_vsock_hdr packet;

struct world {
	struct vmm_platform *platform;
	struct virtio_device *device;
	struct virtio_pci *transport;
	struct vmm_driver driver;
	char dir[64];
	int service; /* listens as port 1024 of the host's */
};

static int listen_at(const char *dir, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, name);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 256), 0);
	return fd;
}

static void give(struct world *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct vmm_buffer buffer = { IN + (uint64_t)i * ROOM, ROOM, true };

		assert_true(vmm_driver_add(&w->driver, RX, &buffer, 1) >= 0);
	}
	vmm_driver_ring(&w->driver, RX);
}

static int set_up(void **state)
{
	struct virtio_vsock_options options = { .guest_cid = CID };
	struct world *w = calloc(1, sizeof(*w));

	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/venv-test-vsock-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	options.directory = open(w->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	options.listener = listen_at(w->dir, "guest");
	w->service = listen_at(w->dir, "1024");
	w->platform = vmm_platform_new(64 * MIB, true);
	assert_int_equal(virtio_vsock_new(&w->platform->mem, w->platform->worker, &options,
					  &w->device, NULL),
			 0);
	assert_int_equal(virtio_pci_new(w->device, &w->platform->pci, SLOT, &w->platform->irq,
					&w->transport, NULL),
			 0);
	assert_int_equal(vmm_driver_open(&w->driver, w->platform, SLOT), 0);
	assert_int_equal(vmm_driver_start(&w->driver, 1ULL << VIRTIO_EVENT_IDX), 0);
	give(w, BUFFERS);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	virtio_pci_free(w->transport);
	w->device->ops->free(w->device);
	vmm_platform_free(w->platform);
	(void)close(w->service);
	(void)venv__tree_delete(AT_FDCWD, w->dir, NULL);
	free(w);
	return 0;
}

/* ---- Packets ---- */

static void send_packet(struct world *w, const packet *header, const void *data, uint32_t size)
{
	const struct vmm_buffer buffers[] = { { OUT, HEADER, false },
					      { OUT + HEADER, size, false } };

	memcpy(vmm_at(w->platform, OUT, HEADER), header, HEADER);
	if (size && data)
		memcpy(vmm_at(w->platform, OUT + HEADER, size), data, size);
	assert_int_equal(vmm_driver_call(&w->driver, TX, buffers, size ? 2 : 1), 0);
}

static packet make(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	return (packet){ .src_cid = CID,
			 .dst_cid = VSOCK_HOST_CID,
			 .src_port = guest_port,
			 .dst_port = host_port,
			 .type = VIRTIO_VSOCK_TYPE_STREAM,
			 .op = op,
			 .buf_alloc = 1000,
			 .fwd_cnt = 0 };
}

static void say(struct world *w, uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	packet p = make(op, guest_port, host_port);

	if (op == VIRTIO_VSOCK_OP_SHUTDOWN)
		p.flags = 3;
	send_packet(w, &p, NULL, 0);
}

/* The next packet, whose buffer is given back; data: ROOM bytes. */
static packet next(struct world *w, void *data)
{
	uint32_t written;
	int head = vmm_driver_wait(&w->driver, RX, &written);
	struct vmm_buffer again;
	const uint8_t *at;
	packet p;

	assert_true(head >= 0 && written >= HEADER);
	again = (struct vmm_buffer){ w->driver.queue[RX].desc[head].address, ROOM, true };
	at = vmm_at(w->platform, again.address, ROOM);
	memcpy(&p, at, HEADER);
	assert_int_equal(written, HEADER + p.len);
	assert_true(p.src_cid == VSOCK_HOST_CID && p.dst_cid == CID);
	assert_int_equal(p.type, VIRTIO_VSOCK_TYPE_STREAM);
	if (data)
		memcpy(data, at + HEADER, p.len);
	assert_true(vmm_driver_submit(&w->driver, RX, &again, 1) >= 0);
	return p;
}

static packet expect(struct world *w, uint16_t op)
{
	packet p = next(w, NULL);

	assert_int_equal(p.op, op);
	return p;
}

static void silence(struct world *w)
{
	vmm_settle(w->platform, w->device);
	assert_int_equal(vmm_driver_poll(&w->driver, RX, NULL), -1);
}

/* ---- Sockets ---- */

static int wait_accept(int listener)
{
	struct pollfd fd = { listener, POLLIN, 0 };

	assert_int_equal(poll(&fd, 1, 5000), 1);
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

static void reads(int fd, const char *expected)
{
	char text[256] = "";
	size_t n = 0;

	while (n < strlen(expected)) {
		struct pollfd p = { fd, POLLIN, 0 };
		ssize_t r;

		assert_int_equal(poll(&p, 1, 5000), 1);
		r = read(fd, text + n, strlen(expected) - n);
		assert_true(r > 0);
		n += (size_t)r;
	}
	assert_string_equal(text, expected);
}

static void ends(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	char byte;

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_true(read(fd, &byte, 1) <= 0);
}

static int dial(const struct world *w, const char *line)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/guest", w->dir);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(write(fd, line, strlen(line)), (ssize_t)strlen(line));
	return fd;
}

/* A stream from the guest's port 5 to the service: the service's end. */
static int connected(struct world *w)
{
	say(w, VIRTIO_VSOCK_OP_REQUEST, 5, 1024);
	(void)expect(w, VIRTIO_VSOCK_OP_RESPONSE);
	return wait_accept(w->service);
}

static void rw(struct world *w, const void *data, uint32_t size)
{
	packet p = make(VIRTIO_VSOCK_OP_RW, 5, 1024);

	p.len = size;
	send_packet(w, &p, data, size);
}

/* ---- What works ---- */

static void the_guest_connects(void **state)
{
	struct world *w = *state;
	char data[ROOM];
	packet p;
	int fd = connected(w);

	assert_int_equal(w->driver.device_id, 0x1053);
	assert_int_equal(vmm_read32(w->platform, w->driver.config), CID);
	rw(w, "hello", 5);
	reads(fd, "hello");
	assert_int_equal(write(fd, "world", 5), 5);
	p = next(w, data);
	assert_int_equal(p.op, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(p.len, 5);
	assert_memory_equal(data, "world", 5);
	assert_int_equal(p.fwd_cnt, 5);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	p = expect(w, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(p.flags, 2);
	rw(w, "more", 4); /* it may still send */
	reads(fd, "more");
	say(w, VIRTIO_VSOCK_OP_SHUTDOWN, 5, 1024);
	(void)expect(w, VIRTIO_VSOCK_OP_RST);
	ends(fd);
	(void)close(fd);
}

static void the_host_connects(void **state)
{
	struct world *w = *state;
	int fd = dial(w, "CONNECT 22\nearly"), other = dial(w, "CONNECT 22\n");
	packet first = expect(w, VIRTIO_VSOCK_OP_REQUEST), p;
	packet second = expect(w, VIRTIO_VSOCK_OP_REQUEST);
	char ok[32], data[ROOM];

	assert_int_equal(first.dst_port, 22);
	assert_int_not_equal(first.src_port, second.src_port);
	silence(w); /* what came early stays in the socket */
	say(w, VIRTIO_VSOCK_OP_RESPONSE, 22, first.src_port);
	say(w, VIRTIO_VSOCK_OP_RST, 22, second.src_port);
	p = next(w, data);
	assert_int_equal(p.op, VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(data, "early", 5);
	(void)snprintf(ok, sizeof(ok), "OK %u\n", first.src_port);
	if (p.src_port == first.src_port)
		reads(fd, ok);
	ends(other);
	(void)close(fd);
	(void)expect(w, VIRTIO_VSOCK_OP_SHUTDOWN);
	(void)close(other);
}

static void bad_lines_are_hung_up_on(void **state)
{
	static const char *const lines[] = {
		"CONNECT\n",    "CONNECT x\n",
		"CONNECT -1\n", "CONNECT 4294967296\n",
		"CONNECT 1 \n", "\n",
		"connect 5\n",  "CONNECT 00000000000000000000000000000000000022\n"
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		int fd = dial(w, lines[i]);

		ends(fd);
		(void)close(fd);
	}
	silence(w);
}

/* Credit both ways: nobody is sent more than it has room for. */
static void credit_is_kept(void **state)
{
	static uint8_t block[8192];
	struct world *w = *state;
	int fd = connected(w);
	uint32_t got = 0;
	packet p;

	assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	while (got < 1000) {
		p = expect(w, VIRTIO_VSOCK_OP_RW);
		got += p.len;
	}
	assert_int_equal(got, 1000);
	(void)expect(w, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	silence(w);
	p = make(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, 1024);
	p.fwd_cnt = 500;
	send_packet(w, &p, NULL, 0);
	assert_int_equal(expect(w, VIRTIO_VSOCK_OP_RW).len, 500);
	(void)expect(w, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	for (unsigned i = 0; i < 8; i++) { /* ours is told in time */
		rw(w, block, sizeof(block));
		for (size_t n = 0; n < sizeof(block);)
			n += (size_t)read(fd, block, sizeof(block) - n);
	}
	p = expect(w, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_true(p.fwd_cnt >= VSOCK_BUFFER / 4 && p.buf_alloc == VSOCK_BUFFER);
	(void)close(fd);
}

/* ---- What no driver does ---- */

static void credit_lies(void **state)
{
	static uint8_t block[32768];
	struct world *w = *state;
	int fd = connected(w);
	packet p = make(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, 1024);

	p.buf_alloc = 10;
	p.fwd_cnt = 0x80000000; /* more than it ever got */
	send_packet(w, &p, NULL, 0);
	assert_int_equal(write(fd, "x", 1), 1);
	silence(w);
	p = make(VIRTIO_VSOCK_OP_RW, 5, 1024);
	p.buf_alloc = 0;
	p.len = sizeof(block);
	for (unsigned i = 0; i < 20; i++) /* nobody reads: the socket is full, then ours is */
		send_packet(w, &p, block, sizeof(block));
	p = next(w, NULL);
	while (p.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE)
		p = next(w, NULL);
	assert_int_equal(p.op, VIRTIO_VSOCK_OP_RST);
	(void)close(fd);
}

static void strange_packets(void **state)
{
	struct world *w = *state;
	int fd = connected(w);
	packet p;

	say(w, VIRTIO_VSOCK_OP_REQUEST, 5, 1024); /* the port is taken: both are over */
	(void)expect(w, VIRTIO_VSOCK_OP_RST);
	ends(fd);
	(void)close(fd);
	for (uint16_t op = 0; op < 20; op++) { /* nothing is there */
		if (op == VIRTIO_VSOCK_OP_RST || op == VIRTIO_VSOCK_OP_REQUEST)
			continue;
		say(w, op, 5, 1024);
		(void)expect(w, VIRTIO_VSOCK_OP_RST);
	}
	say(w, VIRTIO_VSOCK_OP_RST, 5, 1024);
	silence(w);
	say(w, VIRTIO_VSOCK_OP_REQUEST, 5, 77); /* no such service */
	(void)expect(w, VIRTIO_VSOCK_OP_RST);
	p = make(VIRTIO_VSOCK_OP_REQUEST, 6, 1024);
	p.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	send_packet(w, &p, NULL, 0);
	(void)expect(w, VIRTIO_VSOCK_OP_RST);
	p = make(VIRTIO_VSOCK_OP_REQUEST, 6, 1024);
	p.src_cid = 99; /* not its own */
	send_packet(w, &p, NULL, 0);
	p = make(VIRTIO_VSOCK_OP_REQUEST, 6, 1024);
	p.dst_cid = 1;
	send_packet(w, &p, NULL, 0);
	silence(w);
	fd = connected(w);
	p = make(VIRTIO_VSOCK_OP_RW, 5, 1024);
	p.len = 4000; /* more than the descriptor has */
	send_packet(w, &p, "abc", 3);
	p.len = UINT32_MAX;
	send_packet(w, &p, "abc", 3);
	rw(w, "fine", 4);
	reads(fd, "fine");
	say(w, VIRTIO_VSOCK_OP_RESPONSE, 5, 1024); /* to what was not asked */
	(void)expect(w, VIRTIO_VSOCK_OP_RST);
	(void)close(fd);
	assert_false(vmm_driver_status(&w->driver) & VIRTIO_NEEDS_RESET);
}

static void floods_are_bounded(void **state)
{
	struct world *w = *state;
	unsigned responses = 0, resets = 0;

	for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX + 10; i++)
		say(w, VIRTIO_VSOCK_OP_REQUEST, 1000 + i, 1024);
	for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX + 10; i++) {
		packet p = next(w, NULL);

		responses += p.op == VIRTIO_VSOCK_OP_RESPONSE;
		resets += p.op == VIRTIO_VSOCK_OP_RST;
	}
	assert_int_equal(responses, VSOCK_CONNECTIONS_MAX);
	assert_int_equal(resets, 10);
	assert_int_equal(vmm_driver_start(&w->driver, 0), 0); /* ends them all */
	for (uint32_t i = 0; i < 1000; i++)                   /* without a buffer to answer into */
		say(w, VIRTIO_VSOCK_OP_RW, i, i);
	give(w, BUFFERS);
	for (unsigned i = 0; i < VSOCK_RESETS_MAX; i++)
		(void)expect(w, VIRTIO_VSOCK_OP_RST);
	silence(w);
}

static void a_buffer_without_room(void **state)
{
	const struct vmm_buffer small = { IN, HEADER, true };
	struct world *w = *state;

	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	assert_true(vmm_driver_submit(&w->driver, RX, &small, 1) >= 0);
	say(w, VIRTIO_VSOCK_OP_REQUEST, 5, 1024);
	vmm_settle(w->platform, w->device);
	assert_true(vmm_driver_status(&w->driver) & VIRTIO_NEEDS_RESET);
}

/* ---- A machine that goes on ---- */

static void save_and_load(struct world *w)
{
	struct state_writer writer;
	struct state_reader reader;
	int fd = memfd_create("state", MFD_CLOEXEC);

	virtio_drain(w->device);
	worker_park(w->platform->worker);
	state_writer_init(&writer, fd);
	assert_int_equal(pci_save(&w->platform->pci, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	worker_unpark(w->platform->worker);
	pci_reset(&w->platform->pci);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(pci_load(&w->platform->pci, &reader), 0);
	state_reader_done(&reader);
	(void)close(fd);
}

static void the_guest_is_told_that_streams_are_gone(void **state)
{
	const struct vmm_buffer room = { OUT + MIB, 4, true };
	struct world *w = *state;
	const struct vmm_queue *events = &w->driver.queue[EVENT];
	int fd = connected(w), other;
	uint32_t written;

	for (int i = 0; i < 8; i++) /* as many as Linux has there */
		assert_true(vmm_driver_submit(&w->driver, EVENT, &room, 1) >= 0);
	vmm_settle(w->platform, w->device);
	memset(vmm_at(w->platform, OUT + MIB, 4), 0xff, 4);
	save_and_load(w);
	ends(fd);
	(void)close(fd);
	other = dial(w, "CONNECT 22\n");
	assert_true(vmm_driver_wait(&w->driver, EVENT, &written) >= 0);
	assert_int_equal(written, 4);
	assert_memory_equal(vmm_at(w->platform, OUT + MIB, 4), "\0\0\0\0", 4);
	(void)usleep(20000);
	silence(w); /* until it has seen to it */
	/* a driver that rings only when it is asked to gives its buffer back aloud */
	assert_int_equal(*(const uint16_t *)&events->used->ring[events->size], events->avail->idx);
	assert_true(vmm_driver_submit(&w->driver, EVENT, &room, 1) >= 0);
	(void)expect(w, VIRTIO_VSOCK_OP_REQUEST);
	(void)close(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_guest_connects),
		TEST(the_host_connects),
		TEST(bad_lines_are_hung_up_on),
		TEST(credit_is_kept),
		TEST(credit_lies),
		TEST(strange_packets),
		TEST(floods_are_bounded),
		TEST(a_buffer_without_room),
		TEST(the_guest_is_told_that_streams_are_gone),
	};

	return cmocka_run_group_tests_name("vmm_vsock", tests, NULL, NULL);
}
