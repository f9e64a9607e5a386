/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames between the guest and a socket that plays the TAP, and one test with a real one: what is good
 * comes through whole, what is not is dropped, and no header reaches the host's kernel unchecked.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine/state.h"
#include "support/vmm_driver.h"
#include "virtio/net.h"
#include "virtio/net_header.h"
#include "virtio/pci.h"

enum { MIB = 1 << 20, SLOT = 2, RX = 0, TX = 1, MTU = 9000, OUT = 0x400000, IN = 0x800000 };

#define BIT(name) (1ULL << VIRTIO_NET_F_##name)
#define ALL                                                                                        \
	(BIT(MAC) | BIT(STATUS) | BIT(MTU) | BIT(CSUM) | BIT(GUEST_CSUM) | BIT(HOST_TSO4) |        \
	 BIT(HOST_TSO6) | BIT(GUEST_TSO4) | BIT(GUEST_TSO6) | BIT(MRG_RXBUF) |                     \
	 1ULL << VIRTIO_EVENT_IDX)

static const uint8_t own_mac[NET_MAC] = { 2, 0x11, 0x22, 0x33, 0x44, 0x55 };
static const uint8_t own_address[NET_IP] = { 10, 88, 0, 2 };

struct world {
	struct vmm_platform *platform;
	struct virtio_device *device;
	struct virtio_pci *transport;
	struct vmm_driver driver;
	int host; /* the other end of what plays the TAP */
};

static struct world *world_with(int tap, int vhost, int host)
{
	struct virtio_net_options options = { .tap = tap, .vhost = vhost, .mtu = MTU };
	struct world *w = calloc(1, sizeof(*w));

	w->host = host;
	memcpy(options.mac, own_mac, NET_MAC);
	memcpy(options.address, own_address, NET_IP);
	w->platform = vmm_platform_new(64 * MIB, true);
	assert_int_equal(
		virtio_net_new(&w->platform->mem, w->platform->worker, &options, &w->device, NULL),
		0);
	assert_int_equal(virtio_pci_new(w->device, &w->platform->pci, SLOT, &w->platform->irq,
					&w->transport, NULL),
			 0);
	assert_int_equal(vmm_driver_open(&w->driver, w->platform, SLOT), 0);
	assert_int_equal(vmm_driver_start(&w->driver, ALL), 0);
	return w;
}

static int set_up(void **state)
{
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	*state = world_with(pair[1], -1, pair[0]);
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

/* A frame of this length, from us, whose bytes tell their place. */
static void make_frame(uint8_t *frame, size_t length)
{
	for (size_t i = 0; i < length; i++)
		frame[i] = (uint8_t)(i * 7 + i / 256);
	if (length >= 6 + NET_MAC)
		memcpy(frame + 6, own_mac, NET_MAC);
}

static struct virtio_net_counts counts(const struct world *w)
{
	vmm_settle(w->platform, w->device);
	return virtio_net_counts(w->device);
}

/* ---- Sending ---- */

/* Header and frame in buffers of these sizes, the last of which takes the rest. */
static void send_cut(struct world *w, const struct virtio_net_hdr_mrg_rxbuf *header, size_t length,
		     uint32_t piece, unsigned pieces)
{
	struct vmm_buffer buffers[64];
	uint8_t *at = vmm_at(w->platform, OUT, NET_HEADER + length);
	uint32_t left = (uint32_t)(NET_HEADER + length), offset = 0;
	unsigned n = 0;

	memcpy(at, header, NET_HEADER);
	make_frame(at + NET_HEADER, length);
	for (; left && n < pieces; n++) {
		uint32_t part = n == pieces - 1 ? left : MIN(left, piece);

		buffers[n] = (struct vmm_buffer){ OUT + offset, part, false };
		offset += part;
		left -= part;
	}
	assert_int_equal(vmm_driver_call(&w->driver, TX, buffers, n), 0);
}

/* What the TAP was given: its length, or -1. */
static ssize_t sent(const struct world *w, struct virtio_net_hdr_mrg_rxbuf *header, uint8_t *frame,
		    size_t size)
{
	struct iovec io[] = { { header, NET_HEADER }, { frame, size } };
	ssize_t n = readv(w->host, io, 2);

	return n < 0 ? -1 : n - NET_HEADER;
}

static void frames_go_out(void **state)
{
	static const struct {
		size_t length;
		uint32_t piece;
		unsigned pieces;
	} cases[] = {
		{ 14, 4096, 1 }, { 60, 12, 2 },     { 60, 1, 40 },
		{ 61, 13, 6 },   { 1514, 100, 16 }, { MTU + 18, 12, 2 },
	};
	static const struct virtio_net_hdr_mrg_rxbuf plain;
	struct virtio_net_hdr_mrg_rxbuf header;
	uint8_t expected[MTU + 18], frame[MTU + 18];
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		send_cut(w, &plain, cases[i].length, cases[i].piece, cases[i].pieces);
		assert_int_equal(sent(w, &header, frame, sizeof(frame)), cases[i].length);
		make_frame(expected, cases[i].length);
		assert_memory_equal(frame, expected, cases[i].length);
		assert_memory_equal(&header, &plain, NET_HEADER);
	}
	assert_int_equal(counts(w).sent, ARRAY_SIZE(cases));
}

#define NEEDS VIRTIO_NET_HDR_F_NEEDS_CSUM
#define TCP4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCP6 VIRTIO_NET_HDR_GSO_TCPV6

static const struct header_case {
	const char *what;
	struct virtio_net_hdr hdr;
	size_t length;
	uint64_t without; /* features that were not taken */
	bool good;
} header_cases[] = {
	{ "plain", { 0 }, 1514, 0, true },
	{ "no frame", { 0 }, 0, 0, false },
	{ "half an Ethernet header", { 0 }, 13, 0, false },
	{ "longer than the MTU", { 0 }, MTU + 19, 0, false },
	{ "as long as can be",
	  { .flags = NEEDS,
	    .gso_type = TCP4,
	    .gso_size = 1448,
	    .hdr_len = 66,
	    .csum_start = 34,
	    .csum_offset = 16 },
	  NET_FRAME_MAX,
	  0,
	  true },
	{ "longer than that",
	  { .flags = NEEDS,
	    .gso_type = TCP4,
	    .gso_size = 1448,
	    .hdr_len = 66,
	    .csum_start = 34,
	    .csum_offset = 16 },
	  NET_FRAME_MAX + 1,
	  0,
	  false },
	{ "checksum", { .flags = NEEDS, .csum_start = 34, .csum_offset = 16 }, 60, 0, true },
	{ "checksum not negotiated",
	  { .flags = NEEDS, .csum_start = 34, .csum_offset = 16 },
	  60,
	  BIT(CSUM) | BIT(HOST_TSO4) | BIT(HOST_TSO6),
	  false },
	{ "checksum at the end",
	  { .flags = NEEDS, .csum_start = 42, .csum_offset = 16 },
	  60,
	  0,
	  true },
	{ "checksum half behind",
	  { .flags = NEEDS, .csum_start = 43, .csum_offset = 16 },
	  60,
	  0,
	  false },
	{ "checksum far behind",
	  { .flags = NEEDS, .csum_start = 65535, .csum_offset = 65535 },
	  60,
	  0,
	  false },
	{ "checksum of Ethernet",
	  { .flags = NEEDS, .csum_start = 0, .csum_offset = 0 },
	  60,
	  0,
	  false },
	{ "offsets without the flag", { .csum_start = 65535, .csum_offset = 65535 }, 60, 0, true },
	{ "unknown flags", { .flags = 0xfe }, 60, 0, true },
	{ "segments",
	  { .flags = NEEDS,
	    .gso_type = TCP6,
	    .gso_size = 1428,
	    .hdr_len = 74,
	    .csum_start = 54,
	    .csum_offset = 16 },
	  9000,
	  0,
	  true },
	{ "segments not negotiated",
	  { .flags = NEEDS,
	    .gso_type = TCP6,
	    .gso_size = 1428,
	    .hdr_len = 74,
	    .csum_start = 54,
	    .csum_offset = 16 },
	  9000,
	  BIT(HOST_TSO6),
	  false },
	{ "segments of nothing",
	  { .flags = NEEDS,
	    .gso_type = TCP4,
	    .gso_size = 0,
	    .hdr_len = 54,
	    .csum_start = 34,
	    .csum_offset = 16 },
	  9000,
	  0,
	  false },
	{ "segments of a byte",
	  { .flags = NEEDS,
	    .gso_type = TCP4,
	    .gso_size = 1,
	    .hdr_len = 54,
	    .csum_start = 34,
	    .csum_offset = 16 },
	  9000,
	  0,
	  false },
	{ "segments without checksum",
	  { .gso_type = TCP4, .gso_size = 1448, .hdr_len = 54 },
	  9000,
	  0,
	  false },
	{ "headers longer than all",
	  { .flags = NEEDS,
	    .gso_type = TCP4,
	    .gso_size = 1448,
	    .hdr_len = 9001,
	    .csum_start = 34,
	    .csum_offset = 16 },
	  9000,
	  0,
	  false },
	{ "fragments",
	  { .flags = NEEDS,
	    .gso_type = VIRTIO_NET_HDR_GSO_UDP,
	    .gso_size = 1448,
	    .hdr_len = 42,
	    .csum_start = 34,
	    .csum_offset = 6 },
	  9000,
	  0,
	  false },
	{ "a kind nobody knows",
	  { .flags = NEEDS,
	    .gso_type = 77,
	    .gso_size = 1448,
	    .hdr_len = 42,
	    .csum_start = 34,
	    .csum_offset = 6 },
	  9000,
	  0,
	  false },
	{ "ECN not offered",
	  { .flags = NEEDS,
	    .gso_type = TCP4 | VIRTIO_NET_HDR_GSO_ECN,
	    .gso_size = 1448,
	    .hdr_len = 54,
	    .csum_start = 34,
	    .csum_offset = 16 },
	  9000,
	  0,
	  false },
};

static void headers_are_checked(void **state)
{
	struct virtio_net_hdr_mrg_rxbuf header;
	static uint8_t frame[NET_FRAME_MAX + 1];
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(header_cases); i++) {
		const struct header_case *c = &header_cases[i];
		const struct virtio_net_hdr_mrg_rxbuf given = { c->hdr, 0xffff };
		ssize_t n;

		assert_int_equal(vmm_driver_start(&w->driver, ALL & ~c->without), 0);
		send_cut(w, &given, c->length, 4096, 60);
		n = sent(w, &header, frame, sizeof(frame));
		if (n != (c->good ? (ssize_t)c->length : -1))
			fail_msg("%s: %zd", c->what, n);
		if (!c->good)
			continue;
		assert_int_equal(header.hdr.flags & ~NEEDS, 0);
		assert_int_equal(header.num_buffers, 0);
		if (!header.hdr.flags)
			assert_int_equal(header.hdr.csum_start | header.hdr.csum_offset, 0);
	}
	assert_false(vmm_driver_status(&w->driver) & VIRTIO_NEEDS_RESET);
}

/* A header that is not even there, none but writable buffers, and somebody else's address. */
static void nonsense_is_dropped(void **state)
{
	static const struct virtio_net_hdr_mrg_rxbuf plain;
	const struct vmm_buffer short_one = { OUT, 5, false }, header = { OUT, 12, false };
	const struct vmm_buffer wrong = { OUT, 100, true };
	const struct vmm_buffer all = { OUT, 12 + 60, false };
	struct virtio_net_hdr_mrg_rxbuf got;
	struct world *w = *state;
	uint8_t frame[64];

	assert_int_equal(vmm_driver_call(&w->driver, TX, &short_one, 1), 0);
	assert_int_equal(vmm_driver_call(&w->driver, TX, &header, 1), 0);
	assert_int_equal(vmm_driver_call(&w->driver, TX, &wrong, 1), 0);
	make_frame(vmm_at(w->platform, OUT + 12, 60), 60);
	((uint8_t *)vmm_at(w->platform, OUT + 12, 60))[11] ^= 1;
	assert_int_equal(vmm_driver_call(&w->driver, TX, &all, 1), 0);
	assert_int_equal(counts(w).sent_dropped, 4);
	send_cut(w, &plain, 60, 4096, 1);
	assert_int_equal(sent(w, &got, frame, sizeof(frame)), 60);
	assert_int_equal(sent(w, &got, frame, sizeof(frame)), -1);
}

/* ---- Receiving ---- */

static void give(struct world *w, unsigned n, uint32_t size)
{
	for (unsigned i = 0; i < n; i++) {
		const struct vmm_buffer buffer = { IN + (uint64_t)i * 4096, size, true };

		assert_true(vmm_driver_add(&w->driver, RX, &buffer, 1) >= 0);
	}
	vmm_driver_ring(&w->driver, RX);
}

static void arrive(struct world *w, const struct virtio_net_hdr *hdr, size_t length)
{
	static uint8_t frame[NET_FRAME_MAX + 100];
	struct virtio_net_hdr_mrg_rxbuf header = { *hdr, 0 };
	struct iovec io[] = { { &header, NET_HEADER }, { frame, length } };

	make_frame(frame, length);
	assert_int_equal(writev(w->host, io, 2), NET_HEADER + length);
}

/* The frame, out of buffers as give() made them: its length. */
static size_t arrived(struct world *w, uint8_t *ret, struct virtio_net_hdr_mrg_rxbuf *ret_header)
{
	uint8_t *to = ret;
	unsigned n = 1;

	for (unsigned i = 0; i < n; i++) {
		uint32_t written;
		int head = vmm_driver_wait(&w->driver, RX, &written);
		uint64_t address;

		assert_true(head >= 0);
		address = w->driver.queue[RX].desc[head].address;
		assert_true(written <= w->driver.queue[RX].desc[head].length);
		memcpy(to, vmm_at(w->platform, address, written), written);
		to += written;
		if (i == 0 && written >= NET_HEADER) {
			memcpy(ret_header, ret, NET_HEADER);
			n = ret_header->num_buffers;
		} else if (i == 0) {
			n = NET_HEADER; /* byte by byte */
		}
		if (to - ret == NET_HEADER) {
			memcpy(ret_header, ret, NET_HEADER);
			n = ret_header->num_buffers;
		}
	}
	memmove(ret, ret + NET_HEADER, (size_t)(to - ret) - NET_HEADER);
	return (size_t)(to - ret) - NET_HEADER;
}

static void comes_in(struct world *w, size_t length, unsigned buffers)
{
	static uint8_t expected[NET_FRAME_MAX], frame[NET_FRAME_MAX + NET_HEADER];
	struct virtio_net_hdr_mrg_rxbuf header;

	assert_int_equal(arrived(w, frame, &header), length);
	make_frame(expected, length);
	assert_memory_equal(frame, expected, length);
	assert_int_equal(header.num_buffers, buffers);
}

static const struct virtio_net_hdr no_header;

static void frames_come_in(void **state)
{
	struct world *w = *state;

	arrive(w, &no_header, 60); /* before there is a buffer */
	give(w, 3, 2048);
	comes_in(w, 60, 1);
	arrive(w, &no_header, 1514);
	arrive(w, &no_header, 2036); /* to the last byte */
	comes_in(w, 1514, 1);
	comes_in(w, 2036, 1);
	assert_int_equal(counts(w).received, 3);
}

static void long_frames_take_more_buffers(void **state)
{
	static const struct virtio_net_hdr segments = { .flags = NEEDS,
							.gso_type = TCP4,
							.gso_size = 1448,
							.hdr_len = 54,
							.csum_start = 34,
							.csum_offset = 16 };
	struct world *w = *state;

	give(w, 60, 1536);
	arrive(w, &segments, NET_FRAME_MAX);
	comes_in(w, NET_FRAME_MAX, (NET_FRAME_MAX + NET_HEADER + 1535) / 1536);
	give(w, 40, 1536);
	arrive(w, &no_header, 1525); /* one byte into the second */
	comes_in(w, 1525, 2);
	give(w, 4, 1);
}

/* The header and what follows, byte by byte. */
static void tiny_buffers(void **state)
{
	struct world *w = *state;

	give(w, 64, 1);
	arrive(w, &no_header, 14 + 6);
	comes_in(w, 20, 32);
	arrive(w, &no_header, 14 + 6);
	comes_in(w, 20, 32);
}

static void a_frame_waits_for_buffers(void **state)
{
	struct world *w = *state;

	give(w, 1, 512);
	arrive(w, &no_header, 1514);
	arrive(w, &no_header, 60);
	vmm_settle(w->platform, w->device);
	assert_int_equal(vmm_driver_poll(&w->driver, RX, NULL), -1);
	give(w, 1, 512);
	vmm_settle(w->platform, w->device);
	assert_int_equal(vmm_driver_poll(&w->driver, RX, NULL), -1);
	give(w, 2, 512);
	assert_int_equal(counts(w).received_dropped, 0);
	/* where they are written is the same, so only the last byte counts */
	for (unsigned i = 0; i < 3; i++)
		assert_true(vmm_driver_wait(&w->driver, RX, NULL) >= 0);
	assert_int_equal(counts(w).received, 2);
}

static void what_never_fits_is_dropped(void **state)
{
	struct world *w = *state;

	give(w, 64, 1); /* all that the queue can hold */
	arrive(w, &no_header, 60);
	arrive(w, &no_header, 20);
	comes_in(w, 20, 32);
	assert_int_equal(counts(w).received_dropped, 1);
}

static void without_merging(void **state)
{
	struct world *w = *state;

	assert_int_equal(vmm_driver_start(&w->driver, BIT(MAC)), 0);
	give(w, 2, 1526);
	arrive(w, &no_header, 1515);
	arrive(w, &no_header, 1514);
	arrive(w, &no_header, 60);
	comes_in(w, 1514, 1);
	comes_in(w, 60, 1);
	assert_int_equal(counts(w).received_dropped, 1);
}

static void the_tap_is_checked_too(void **state)
{
	static const struct virtio_net_hdr bad[] = {
		{ .flags = NEEDS, .csum_start = 100, .csum_offset = 16 },
		{ .flags = NEEDS, .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1448 },
		{ .gso_type = TCP4 },
	};
	static const struct virtio_net_hdr partial = { .flags = NEEDS,
						       .csum_start = 34,
						       .csum_offset = 16 };
	struct world *w = *state;

	give(w, 20, 4096);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		arrive(w, &bad[i], 60);
	arrive(w, &no_header, 13);
	arrive(w, &no_header, NET_FRAME_MAX + 1);
	assert_int_equal(write(w->host, "short", 5), 5);
	arrive(w, &partial, 60);
	comes_in(w, 60, 1);
	assert_int_equal(counts(w).received_dropped, 6);
	assert_int_equal(vmm_driver_start(&w->driver, ALL & ~BIT(GUEST_CSUM)), 0);
	give(w, 2, 4096);
	arrive(w, &partial, 60);
	arrive(w, &no_header, 61);
	comes_in(w, 61, 1);
}

static void a_buffer_without_room(void **state)
{
	const struct vmm_buffer none = { IN, 4096, false };
	struct world *w = *state;

	assert_true(vmm_driver_submit(&w->driver, RX, &none, 1) >= 0);
	vmm_settle(w->platform, w->device);
	assert_true(vmm_driver_status(&w->driver) & VIRTIO_NEEDS_RESET);
	arrive(w, &no_header, 60);
	assert_int_equal(vmm_driver_start(&w->driver, ALL), 0);
	give(w, 1, 4096);
	comes_in(w, 60, 1);
}

/* ---- Link, reset, state ---- */

static void its_configuration(void **state)
{
	struct world *w = *state;

	assert_int_equal(w->driver.device_id, 0x1041);
	assert_int_equal(vmm_driver_offered(&w->driver) & ALL, ALL);
	for (unsigned i = 0; i < NET_MAC; i++)
		assert_int_equal(vmm_read8(w->platform, w->driver.config + i), own_mac[i]);
	assert_int_equal(vmm_read16(w->platform, w->driver.config + 6), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(vmm_read16(w->platform, w->driver.config + 10), MTU);
}

static void links_go_down(void **state)
{
	static const struct virtio_net_hdr_mrg_rxbuf plain;
	struct world *w = *state;

	give(w, 4, 2048);
	virtio_net_set_link(w->device, false);
	assert_true(vmm_interrupt(w->platform, w->driver.first_data + w->driver.n_vectors - 1,
				  VMM_WAIT_MS));
	assert_int_equal(vmm_read16(w->platform, w->driver.config + 6), 0);
	vmm_settle(w->platform, w->device);
	arrive(w, &no_header, 60);
	send_cut(w, &plain, 60, 4096, 1);
	assert_int_equal(counts(w).sent_dropped, 1);
	assert_int_equal(vmm_driver_poll(&w->driver, RX, NULL), -1);
	virtio_net_set_link(w->device, true);
	comes_in(w, 60, 1);
	(void)close(w->host); /* and for ever */
	w->host = -1;
	assert_true(vmm_interrupt(w->platform, w->driver.first_data + w->driver.n_vectors - 1,
				  VMM_WAIT_MS));
	while (vmm_read16(w->platform, w->driver.config + 6))
		(void)sched_yield();
	virtio_net_set_link(w->device, true);
	assert_int_equal(vmm_read16(w->platform, w->driver.config + 6), 0);
	send_cut(w, &plain, 60, 4096, 1);
}

static void a_reset_forgets_what_was_taken(void **state)
{
	struct virtio_net_hdr_mrg_rxbuf header;
	struct world *w = *state;
	uint8_t frame[4096];

	for (unsigned i = 0; i < 20; i++) {
		give(w, 1 + i, 100);
		arrive(w, &no_header, 1514 + i);
		assert_int_equal(vmm_driver_start(&w->driver, ALL), 0);
	}
	give(w, 60, 2048);
	arrive(w, &no_header, 60);
	while (arrived(w, frame, &header) != 60) /* what nobody had taken comes first */
		;
}

static int memory_file(void)
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void save_and_load(struct world *w)
{
	struct state_writer writer;
	struct state_reader reader;
	int fd = memory_file();

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

/* Buffers that were taken are in the queue again; who goes on without having been loaded finds them, too. */
static void state_survives(void **state)
{
	struct world *w = *state;

	give(w, 3, 2048);
	vmm_settle(w->platform, w->device);
	save_and_load(w);
	arrive(w, &no_header, 60);
	comes_in(w, 60, 1);
	arrive(w, &no_header, 6000); /* waits, and is lost by the drain */
	vmm_settle(w->platform, w->device);
	virtio_drain(w->device);
	arrive(w, &no_header, 61);
	comes_in(w, 61, 1);
	give(w, 1, 2048);
	arrive(w, &no_header, 62);
	comes_in(w, 62, 1);
}

/* ---- A real TAP ---- */

static int configure(int socket)
{
	struct ifreq request = { .ifr_name = "tap0" };
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(0xc0000201) };

	memcpy(&request.ifr_addr, &address, sizeof(address));
	if (ioctl(socket, SIOCSIFADDR, &request) < 0)
		return -1;
	request.ifr_flags = IFF_UP;
	return ioctl(socket, SIOCSIFFLAGS, &request);
}

static int open_tap(void)
{
	struct ifreq request = { .ifr_name = "tap0",
				 .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), size = NET_HEADER;

	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return -1;
	return configure(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0 ? -1 : fd;
}

/* Who has 192.0.2.1? The host's kernel answers. */
/* Who stood still says where it is, if there is a driver: once, and in its own name. */
static void it_is_announced(void **state)
{
	static const uint8_t arp[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,    0x11, 0x22,
				       0x33, 0x44, 0x55, 8,    6,    0,    1,    8,    0,
				       6,    4,    0,    1,    2,    0x11, 0x22, 0x33, 0x44,
				       0x55, 10,   88,   0,    2,    0,    0,    0,    0,
				       0,    0,    10,   88,   0,    2 };
	static const struct virtio_net_hdr_mrg_rxbuf plain;
	struct virtio_net_hdr_mrg_rxbuf header;
	struct world *w = *state;
	uint8_t frame[100];

	virtio_go_on(w->device);
	assert_int_equal(sent(w, &header, frame, sizeof(frame)), sizeof(arp));
	assert_memory_equal(frame, arp, sizeof(arp));
	assert_memory_equal(&header, &plain, NET_HEADER);
	save_and_load(w);
	assert_int_equal(sent(w, &header, frame, sizeof(frame)), -1);
	virtio_go_on(w->device);
	assert_int_equal(sent(w, &header, frame, sizeof(frame)), sizeof(arp));
	virtio_net_set_link(w->device, false);
	virtio_go_on(w->device);
	virtio_net_set_link(w->device, true);
	pci_reset(&w->platform->pci); /* no driver, no guest with an address */
	virtio_go_on(w->device);
	assert_int_equal(sent(w, &header, frame, sizeof(frame)), -1);
}

/* Far more than a ring holds: whoever works it off finds out. */
static void break_the_ring(struct world *w)
{
	w->driver.queue[TX].avail->idx = (uint16_t)(w->driver.queue[TX].avail->idx + 1000);
	vmm_driver_ring(&w->driver, TX);
	for (int i = 0; i < VMM_WAIT_MS; i++) {
		if (vmm_driver_status(&w->driver) & VIRTIO_NEEDS_RESET)
			return;
		(void)usleep(1000);
	}
	fail_msg("nobody found out");
}

static void ask_the_kernel(int tap, int vhost)
{
	static const uint8_t arp[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,    0x11, 0x22,
				       0x33, 0x44, 0x55, 8,    6,    0,    1,    8,    0,
				       6,    4,    0,    1,    2,    0x11, 0x22, 0x33, 0x44,
				       0x55, 192,  0,    2,    2,    0,    0,    0,    0,
				       0,    0,    192,  0,    2,    1 };
	const struct vmm_buffer buffer = { OUT, NET_HEADER + sizeof(arp), false };
	struct world *w = world_with(tap, vhost, -1);
	struct virtio_net_hdr_mrg_rxbuf header;
	uint8_t frame[4096];
	void *state = w;

	give(w, 60, 2048);
	memcpy(vmm_at(w->platform, OUT + NET_HEADER, sizeof(arp)), arp, sizeof(arp));
	assert_int_equal(vmm_driver_call(&w->driver, TX, &buffer, 1), 0);
	do {
		assert_true(arrived(w, frame, &header) >= 42);
	} while (frame[12] != 8 || frame[13] != 6 || frame[21] != 2);
	assert_memory_equal(frame, own_mac, NET_MAC);
	assert_memory_equal(frame + 28, ((uint8_t[]){ 192, 0, 2, 1 }), 4);
	if (vhost >= 0)
		assert_int_equal(virtio_net_counts(w->device).sent, 0); /* none by us */
	break_the_ring(w);
	assert_int_equal(vmm_driver_start(&w->driver, ALL), 0);
	assert_int_equal(vmm_driver_call(&w->driver, TX, &buffer, 1), 0);
	(void)tear_down(&state);
}

static void with_a_real_tap(void **state)
{
	int status = 0, tap, vhost;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		if (unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWNET : CLONE_NEWNET) < 0)
			_exit(77);
		tap = open_tap();
		if (tap < 0)
			_exit(77);
		ask_the_kernel(tap, -1);
		vhost = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
		if (vhost < 0) {
			print_message("SKIPPED in part: no vhost-net\n");
			_exit(0);
		}
		tap = open_tap();
		ask_the_kernel(tap, vhost);
		_exit(tap < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(frames_go_out),
		TEST(headers_are_checked),
		TEST(nonsense_is_dropped),
		TEST(frames_come_in),
		TEST(long_frames_take_more_buffers),
		TEST(tiny_buffers),
		TEST(a_frame_waits_for_buffers),
		TEST(what_never_fits_is_dropped),
		TEST(without_merging),
		TEST(the_tap_is_checked_too),
		TEST(a_buffer_without_room),
		TEST(its_configuration),
		TEST(links_go_down),
		TEST(a_reset_forgets_what_was_taken),
		TEST(state_survives),
		TEST(it_is_announced),
		cmocka_unit_test(with_a_real_tap),
	};

	return cmocka_run_group_tests_name("vmm_net", tests, NULL, NULL);
}
