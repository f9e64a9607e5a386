/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net between a guest and a TAP that both do what the input says. Whatever the guest sends, what
 * comes out is a frame of its own, with a header that the host's kernel can do no harm with; whatever
 * comes in, nothing but the guest's buffers is written.
 */
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/vmm_driver.h"
#include "tests/fuzz/input.h"
#include "virtio/net.h"
#include "virtio/net_header.h"
#include "virtio/pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MTU = 1500, RX = 0, TX = 1, STEPS_MAX = 64, AT = 0x200000, SPAN = 0x40000 };

static const uint8_t mac[NET_MAC] = { 2, 1, 2, 3, 4, 5 };

/* Buffers of sizes from the input, wherever in a part of memory; the first holds a header from it. */
static void submit(struct vmm_driver *driver, struct input *in, unsigned queue)
{
	struct vmm_buffer buffers[8];
	size_t n = 1 + take(in, 1) % ARRAY_SIZE(buffers);
	uint32_t shape = take(in, 1), at = take(in, 2);
	uint8_t head[NET_HEADER + NET_ETHERNET] = { 0 };

	for (size_t i = 0; i < NET_HEADER; i++)
		head[i] = (uint8_t)take(in, 1);
	memcpy(head + NET_HEADER + NET_MAC, mac, NET_MAC);
	memcpy(vmm_at(driver->platform, AT + at, sizeof(head)), head, sizeof(head));
	for (size_t i = 0; i < n; i++) {
		uint32_t length = take(in, 2) >> (shape & 15);

		buffers[i] = (struct vmm_buffer){ AT + at, length, (queue == RX) ^ (shape >> 7) };
		at = (at + length) % (SPAN - 65536);
	}
	if (shape & 0x40)
		(void)vmm_driver_submit_indirect(driver, queue, buffers, n);
	else
		(void)vmm_driver_submit(driver, queue, buffers, n);
}

static void arrive(int host, struct input *in)
{
	static uint8_t frame[NET_HEADER + NET_FRAME_MAX + 64];
	size_t length = take(in, 2) + (take(in, 1) & 0x7f);

	for (size_t i = 0; i < NET_HEADER; i++)
		frame[i] = (uint8_t)take(in, 1);
	(void)send(host, frame, MIN(length, sizeof(frame)), 0);
}

static void look(int host)
{
	static uint8_t frame[NET_HEADER + NET_FRAME_MAX + 64];
	struct virtio_net_hdr header;
	ssize_t n;

	while ((n = recv(host, frame, sizeof(frame), 0)) > 0) {
		size_t length = (size_t)n - NET_HEADER;

		must(n >= NET_HEADER + NET_ETHERNET && length <= NET_FRAME_MAX);
		must(memcmp(frame + NET_HEADER + NET_MAC, mac, NET_MAC) == 0);
		memcpy(&header, frame, sizeof(header));
		must(!(header.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM));
		if (header.flags)
			must((size_t)header.csum_start + header.csum_offset + 2 <= length);
		if (header.gso_type)
			must(header.flags && header.gso_size >= NET_GSO_MIN &&
			     header.hdr_len <= length);
		else
			must(length <= MTU + NET_ETHERNET + NET_VLAN);
	}
}

static void step(struct vmm_driver *driver, struct virtio_device *device, int host,
		 struct input *in)
{
	uint32_t op = take(in, 1), value;
	struct vmm_queue *queue = &driver->queue[op >> 3 & 1];

	switch (op & 7) {
	case 0:
	case 1:
		submit(driver, in, op & 1);
		break;
	case 2:
		arrive(host, in);
		break;
	case 3: /* into the rings */
		value = take(in, 2);
		((uint8_t *)queue->desc)[value % (queue->size * sizeof(*queue->desc))] =
			(uint8_t)take(in, 1);
		break;
	case 4:
		value = take(in, 2);
		vmm_driver_offer(driver, op >> 3 & 1, (uint16_t)value);
		break;
	case 5:
		virtio_net_set_link(device, op & 8);
		break;
	case 6:
		virtio_drain(device);
		break;
	default:
		while (vmm_driver_poll(driver, RX, NULL) >= 0 ||
		       vmm_driver_poll(driver, TX, NULL) >= 0)
			;
		if (op & 0x80)
			(void)vmm_driver_start(driver, take(in, 4) | 1ULL << VIRTIO_INDIRECT_DESC);
		break;
	}
	if (op & 0x10)
		vmm_settle(driver->platform, device);
	look(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmm_platform *platform = vmm_platform_new(4 << 20, false);
	struct virtio_net_options options = { .vhost = -1, .mtu = MTU };
	struct input in = { data, size };
	struct virtio_pci *transport;
	struct virtio_device *device;
	static struct vmm_driver driver;
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) == 0);
	memcpy(options.mac, mac, NET_MAC);
	options.tap = pair[0];
	must(virtio_net_new(&platform->mem, platform->worker, &options, &device, NULL) == 0);
	must(virtio_pci_new(device, &platform->pci, 2, &platform->irq, &transport, NULL) == 0);
	must(vmm_driver_open(&driver, platform, 2) == 0);
	(void)vmm_driver_start(&driver, take(&in, 4) | 1ULL << VIRTIO_INDIRECT_DESC);
	for (unsigned i = 0; i < STEPS_MAX && in.left; i++)
		step(&driver, device, pair[1], &in);
	vmm_settle(platform, device);
	look(pair[1]);
	virtio_pci_free(transport);
	device->ops->free(device);
	vmm_platform_free(platform);
	(void)close(pair[1]);
	return 0;
}
