/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost.h"

#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

/* What the kernel must know of what was negotiated; the rest is between guest, TAP and configuration. */
#define RING_FEATURES                                                                              \
	(1ULL << VIRTIO_VERSION_1 | 1ULL << VIRTIO_EVENT_IDX | 1ULL << VIRTIO_INDIRECT_DESC |      \
	 1ULL << VIRTIO_NET_F_MRG_RXBUF)

static int set(const struct vhost *vhost, unsigned long request, const void *value)
{
	return ioctl(vhost->fd, request, value) < 0 ? -errno : 0;
}

static int set_file(const struct vhost *vhost, unsigned long request, unsigned queue, int fd)
{
	const struct vhost_vring_file file = { .index = queue, .fd = fd };

	return set(vhost, request, &file);
}

static int set_number(const struct vhost *vhost, unsigned long request, unsigned queue,
		      uint32_t number)
{
	const struct vhost_vring_state state = { .index = queue, .num = number };

	return set(vhost, request, &state);
}

/* ---- Birth and death ---- */

/* What it lacks would have to be hidden from guests, which then could not go on from a state elsewhere. */
int vhost_init(struct vhost *vhost, int fd)
{
	_cleanup_close_ int file = fd;
	uint64_t features = 0;

	*vhost = (struct vhost){ .fd = -1, .error = -1 };
	if (ioctl(file, VHOST_GET_FEATURES, &features) < 0)
		return -errno;
	if ((features & RING_FEATURES) != RING_FEATURES)
		return -ENOTSUP;
	vhost->error = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vhost->error < 0)
		return -errno;
	vhost->fd = take_fd(&file);
	return 0;
}

void vhost_done(struct vhost *vhost)
{
	if (vhost->fd >= 0)
		(void)close(take_fd(&vhost->fd));
	if (vhost->error >= 0)
		(void)close(take_fd(&vhost->error));
}

/* ---- Starting ---- */

static int give_memory(const struct vhost *vhost, const struct mem *mem)
{
	_cleanup_free_ struct vhost_memory *memory =
		calloc(1, sizeof(*memory) + ARRAY_SIZE(mem->region) * sizeof(memory->regions[0]));

	if (!memory)
		return -ENOMEM;
	memory->nregions = (uint32_t)mem->n_regions;
	for (size_t i = 0; i < mem->n_regions; i++)
		memory->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = mem->region[i].address,
			.memory_size = mem->region[i].size,
			.userspace_addr = (uintptr_t)mem->region[i].host,
		};
	return set(vhost, VHOST_SET_MEM_TABLE, memory);
}

/* Not earlier: its thread belongs to the control groups that we are in by then. */
static int own(struct vhost *vhost, const struct mem *mem)
{
	int r;

	if (vhost->owned)
		return 0;
	r = set(vhost, VHOST_SET_OWNER, NULL);
	if (r == 0)
		r = give_memory(vhost, mem);
	vhost->owned = r == 0;
	return r;
}

static int set_up_queue(const struct vhost *vhost, const struct virtio_device *device, unsigned i)
{
	const struct virtq *queue = &device->queue[i];
	const struct vhost_vring_addr rings = {
		.index = i,
		.desc_user_addr = (uintptr_t)queue->desc_at,
		.avail_user_addr = (uintptr_t)queue->avail_at,
		.used_user_addr = (uintptr_t)queue->used_at,
	};
	int call = device->call_fd ? device->call_fd(device->transport, i) : -1;
	int r = set_number(vhost, VHOST_SET_VRING_NUM, i, queue->size);

	if (r == 0)
		r = set_number(vhost, VHOST_SET_VRING_BASE, i, queue->next_avail);
	if (r == 0)
		r = set(vhost, VHOST_SET_VRING_ADDR, &rings);
	if (r == 0)
		r = set_file(vhost, VHOST_SET_VRING_CALL, i, call);
	if (r == 0)
		r = set_file(vhost, VHOST_SET_VRING_ERR, i, vhost->error);
	return r < 0 ? r : set_file(vhost, VHOST_SET_VRING_KICK, i, device->doorbell[i]);
}

static int set_up(struct vhost *vhost, const struct virtio_device *device)
{
	const uint64_t features = device->features & RING_FEATURES;
	int r = own(vhost, device->mem);

	if (r == 0)
		r = set(vhost, VHOST_SET_FEATURES, &features);
	for (unsigned i = 0; r == 0 && i < VHOST_QUEUES; i++)
		r = set_up_queue(vhost, device, i);
	return r;
}

/* Without merged buffers nobody would write how many there are: the TAP does not, and the kernel does not. */
static bool fits(const struct virtio_device *device)
{
	bool fits = virtio_has(device, VIRTIO_NET_F_MRG_RXBUF);

	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		fits = fits && virtq_can_lend(&device->queue[i]);
	return fits;
}

static void ring(struct virtio_device *device)
{
	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		virtio_again(device, i);
}

/* The process has the descriptor a second time: the kernel would go on listening. */
static int give_up(const struct vhost *vhost, int r)
{
	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		(void)set_file(vhost, VHOST_SET_VRING_KICK, i, VHOST_FILE_UNBIND);
	return r;
}

int vhost_start(struct vhost *vhost, struct virtio_device *device, int tap)
{
	eventfd_t count;
	int r;

	if (!fits(device))
		return 0;
	(void)eventfd_read(vhost->error, &count); /* of an earlier driver */
	r = set_up(vhost, device);
	if (r < 0)
		return give_up(vhost, r);
	virtio_listen(device, false);
	vhost->runs = true;
	for (unsigned i = 0; r == 0 && i < VHOST_QUEUES; i++)
		r = set_file(vhost, VHOST_NET_SET_BACKEND, i, tap);
	if (r == 0) {
		ring(device); /* what came before is looked at */
		return 1;
	}
	if (vhost_stop(vhost, device) < 0)
		virtio_broken(device, "nobody knows how far its queues are");
	return r;
}

/* ---- Stopping ---- */

/* When the TAP is gone the kernel has let go of the queue: what it had not filled it never took. */
static int stop_queue(const struct vhost *vhost, struct virtq *queue, unsigned i)
{
	struct vhost_vring_state state = { .index = i };
	int r = set_file(vhost, VHOST_NET_SET_BACKEND, i, VHOST_FILE_UNBIND);

	if (r == 0)
		r = set_file(vhost, VHOST_SET_VRING_KICK, i, VHOST_FILE_UNBIND);
	if (r == 0 && ioctl(vhost->fd, VHOST_GET_VRING_BASE, &state) < 0)
		r = -errno;
	if (r == 0)
		virtq_take_back(queue, (uint16_t)state.num);
	return r;
}

int vhost_stop(struct vhost *vhost, struct virtio_device *device)
{
	int r = 0;

	if (!vhost->runs)
		return 0;
	for (unsigned i = 0; i < VHOST_QUEUES; i++) {
		int one = stop_queue(vhost, &device->queue[i], i);

		r = r < 0 ? r : one;
	}
	vhost->runs = false;
	virtio_listen(device, true);
	ring(device);
	return r;
}
