/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_internal.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "machine/state.h"

enum {
	PART_SIZE = 0x1000,
	PART_COMMON = 0,
	PART_ISR,
	PART_DEVICE,
	PART_NOTIFY,
	PART_MSIX_TABLE,
	PART_MSIX_PBA,
	WINDOW_SIZE = 8 * PART_SIZE,
	WINDOW_BAR = 0,
	NOTIFY_SIZE = 4, /* the multiplier */
	COMMON_SIZE = 56,
	DEVICE_ID_BASE = 0x1040,
	REVISION = 1,
	ISR_QUEUE = 1,
	ISR_CONFIG = 2,
};

/* ---- Interrupts ---- */

/* Under device->lock. */
static void interrupt(void *user, int queue)
{
	struct virtio_pci *t = user;

	t->isr |= queue < 0 ? ISR_CONFIG : ISR_QUEUE;
	msix_fire(&t->msix, queue < 0 ? t->config_vector : t->vector[queue]);
}

/* Under device->lock. */
static int call_fd(void *user, unsigned queue)
{
	const struct virtio_pci *t = user;
	uint16_t vector = t->vector[queue];

	return vector < t->msix.n_vectors ? t->msix.vector[vector].eventfd : -1;
}

void virtio_pci_forget(struct virtio_pci *t)
{
	t->isr = 0;
	t->config_vector = MSIX_NONE;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		t->vector[i] = MSIX_NONE;
}

/* ---- Parts of the window ---- */

static void isr_read(struct virtio_pci *t, uint64_t offset, void *data, size_t size)
{
	if (offset)
		return;
	(void)pthread_mutex_lock(&t->device->lock);
	memset(data, 0, size);
	*(uint8_t *)data = t->isr;
	t->isr = 0;
	(void)pthread_mutex_unlock(&t->device->lock);
}

static bool in_config(const struct virtio_device *device, uint64_t offset, size_t size)
{
	return offset < device->config_size && size <= device->config_size - offset;
}

static void device_read(struct virtio_pci *t, uint64_t offset, void *data, size_t size)
{
	struct virtio_device *device = t->device;

	if (!device->ops->config_read || !in_config(device, offset, size))
		return;
	(void)pthread_mutex_lock(&device->lock);
	device->ops->config_read(device, (uint32_t)offset, data, size);
	(void)pthread_mutex_unlock(&device->lock);
}

static void device_write(struct virtio_pci *t, uint64_t offset, const void *data, size_t size)
{
	struct virtio_device *device = t->device;

	if (!device->ops->config_write || !in_config(device, offset, size))
		return;
	(void)pthread_mutex_lock(&device->lock);
	device->ops->config_write(device, (uint32_t)offset, data, size);
	(void)pthread_mutex_unlock(&device->lock);
}

/* A doorbell that the platform does not watch. */
static void notify_write(struct virtio_pci *t, uint64_t offset, const void *data, size_t size)
{
	uint64_t queue = offset / NOTIFY_SIZE;

	(void)data;
	(void)size;
	if (queue < t->device->n_queues)
		(void)eventfd_write(t->device->doorbell[queue], 1);
}

static void table_read(struct virtio_pci *t, uint64_t offset, void *data, size_t size)
{
	msix_table_read(&t->msix, offset, data, size);
}

static void table_write(struct virtio_pci *t, uint64_t offset, const void *data, size_t size)
{
	msix_table_write(&t->msix, offset, data, size);
}

static void pba_read(struct virtio_pci *t, uint64_t offset, void *data, size_t size)
{
	msix_pba_read(&t->msix, offset, data, size);
}

static const struct part {
	void (*read)(struct virtio_pci *t, uint64_t offset, void *data, size_t size);
	void (*write)(struct virtio_pci *t, uint64_t offset, const void *data, size_t size);
} parts[WINDOW_SIZE / PART_SIZE] = {
	[PART_COMMON] = { virtio_pci_common_read, virtio_pci_common_write },
	[PART_ISR] = { isr_read, NULL },
	[PART_DEVICE] = { device_read, device_write },
	[PART_NOTIFY] = { NULL, notify_write },
	[PART_MSIX_TABLE] = { table_read, table_write },
	[PART_MSIX_PBA] = { pba_read, NULL },
};

/* ---- The window ---- */

/* A 64-bit access to the common configuration is two of 32 bits; elsewhere it is one. */
static size_t stride(uint64_t offset, size_t size)
{
	return offset / PART_SIZE == PART_COMMON && size == 8 ? 4 : size;
}

/* data is all ones where nobody answers */
static void window_read(void *user, uint64_t offset, void *data, size_t size)
{
	const struct part *part = &parts[offset / PART_SIZE];
	size_t step = stride(offset, size);

	if (!part->read || offset % PART_SIZE + size > PART_SIZE)
		return;
	for (size_t i = 0; i < size; i += step)
		part->read(user, offset % PART_SIZE + i, (uint8_t *)data + i, step);
}

static void window_write(void *user, uint64_t offset, const void *data, size_t size)
{
	const struct part *part = &parts[offset / PART_SIZE];
	size_t step = stride(offset, size);

	if (!part->write || offset % PART_SIZE + size > PART_SIZE)
		return;
	for (size_t i = 0; i < size; i += step)
		part->write(user, offset % PART_SIZE + i, (const uint8_t *)data + i, step);
}

static const struct bus_ops window_ops = { window_read, window_write, NULL };

static uint64_t doorbell_at(const struct virtio_pci *t, unsigned queue)
{
	return t->window + PART_NOTIFY * PART_SIZE + queue * NOTIFY_SIZE;
}

/* Under pci->moving: the doorbells go with the window. */
static void mapped(void *user, unsigned bar, uint64_t address)
{
	struct virtio_pci *t = user;
	const struct irq_platform *platform = t->platform;
	const int *fd = t->device->doorbell;

	(void)bar;
	for (unsigned i = 0; i < t->device->n_queues; i++)
		if (t->doorbell_set[i])
			platform->ops->undo_doorbell(platform->user, fd[i], doorbell_at(t, i));
	t->window = address;
	for (unsigned i = 0; i < t->device->n_queues; i++)
		t->doorbell_set[i] = address && platform->ops->doorbell(platform->user, fd[i],
									doorbell_at(t, i)) == 0;
}

/* ---- Configuration space ---- */

/*
 * What the registers of PCI_CFG point at, if they point at something: the guest says which bytes of the
 * window, and reads or writes them as the bytes behind the capability.
 */
static bool cfg_target(const struct virtio_pci *t, uint32_t *ret_offset, uint32_t *ret_length)
{
	struct virtio_pci_cap cap;

	memcpy(&cap, t->function.config + t->cfg_capability, sizeof(cap));
	*ret_offset = cap.offset;
	*ret_length = cap.length;
	return cap.bar == WINDOW_BAR && (cap.length == 1 || cap.length == 2 || cap.length == 4) &&
	       cap.offset % cap.length == 0 && cap.offset < WINDOW_SIZE;
}

static unsigned cfg_data(const struct virtio_pci *t)
{
	return t->cfg_capability + (unsigned)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
}

/* Under pci->lock. */
static void config_read(void *user, unsigned offset, size_t size)
{
	struct virtio_pci *t = user;
	uint32_t at, length;

	(void)size;
	if (offset != cfg_data(t) || !cfg_target(t, &at, &length))
		return;
	memset(t->function.config + offset, 0xff, 4);
	window_read(t, at, t->function.config + offset, length);
}

static void config_written(void *user, unsigned offset, size_t size)
{
	struct virtio_pci *t = user;
	uint32_t at, length;

	msix_config_written(&t->msix, &t->function, offset, size);
	if (offset == cfg_data(t) && cfg_target(t, &at, &length))
		window_write(t, at, t->function.config + offset, length);
}

/* ---- State ---- */

#define TRANSPORT_TAG STATE_TAG('V', 'P', 'C', 'I')
enum { TRANSPORT_VERSION = 1 };

static int save(void *user, struct state_writer *writer)
{
	struct virtio_pci *t = user;
	int r;

	(void)pthread_mutex_lock(&t->device->lock);
	state_begin(writer, TRANSPORT_TAG, TRANSPORT_VERSION);
	state_put_u32(writer, t->offered_half);
	state_put_u32(writer, t->taken_half);
	state_put_u16(writer, t->queue);
	state_put_u8(writer, t->isr);
	state_put_u16(writer, t->config_vector);
	for (unsigned i = 0; i < t->device->n_queues; i++)
		state_put_u16(writer, t->vector[i]);
	r = state_end(writer);
	(void)pthread_mutex_unlock(&t->device->lock);
	if (r == 0)
		r = msix_save(&t->msix, writer);
	return r == 0 ? virtio_save(t->device, writer) : r;
}

static int load(void *user, struct state_reader *reader)
{
	struct virtio_pci *t = user;
	int r = state_enter(reader, TRANSPORT_TAG, TRANSPORT_VERSION);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&t->device->lock);
	t->offered_half = state_get_u32(reader);
	t->taken_half = state_get_u32(reader);
	t->queue = state_get_u16(reader);
	t->isr = state_get_u8(reader);
	t->config_vector = virtio_pci_vector(t, state_get_u16(reader));
	for (unsigned i = 0; i < t->device->n_queues; i++)
		t->vector[i] = virtio_pci_vector(t, state_get_u16(reader));
	r = state_leave(reader);
	(void)pthread_mutex_unlock(&t->device->lock);
	if (r == 0)
		r = msix_load(&t->msix, reader);
	return r == 0 ? virtio_load(t->device, reader) : r;
}

static void reset(void *user)
{
	struct virtio_pci *t = user;

	virtio_set_status(t->device, 0);
	virtio_pci_forget(t);
	t->offered_half = t->taken_half = 0;
	t->queue = 0;
	msix_reset(&t->msix);
}

static const struct pci_ops pci_ops = {
	.config_read = config_read,
	.config_written = config_written,
	.mapped = mapped,
	.reset = reset,
	.save = save,
	.load = load,
};

/* ---- Birth and death ---- */

/* Capabilities begin with their id and next, which pci_add_capability() knows. */
static int add_part(struct virtio_pci *t, uint8_t type, unsigned part, uint32_t length)
{
	struct virtio_pci_notify_cap cap = {
		.cap = { .cap_len = sizeof(struct virtio_pci_cap),
			 .cfg_type = type,
			 .bar = WINDOW_BAR,
			 .offset = part * PART_SIZE,
			 .length = length },
		.notify_off_multiplier = NOTIFY_SIZE,
	};

	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
		cap.cap.cap_len = sizeof(cap);
	return pci_add_capability(&t->function, PCI_CAP_ID_VNDR, (uint8_t *)&cap + 2, NULL,
				  cap.cap.cap_len - 2U);
}

static int add_cfg(struct virtio_pci *t)
{
	struct virtio_pci_cfg_cap cap = { .cap = { .cap_len = sizeof(cap),
						   .cfg_type = VIRTIO_PCI_CAP_PCI_CFG } };
	struct virtio_pci_cfg_cap mask = { .cap = { .bar = 0xff, .offset = ~0U, .length = ~0U },
					   .pci_cfg_data = { 0xff, 0xff, 0xff, 0xff } };
	int r = pci_add_capability(&t->function, PCI_CAP_ID_VNDR, (uint8_t *)&cap + 2,
				   (uint8_t *)&mask + 2, sizeof(cap) - 2);

	t->cfg_capability = (unsigned)r;
	return r;
}

static int add_capabilities(struct virtio_pci *t)
{
	unsigned n = t->device->n_queues;
	int r = add_part(t, VIRTIO_PCI_CAP_COMMON_CFG, PART_COMMON, COMMON_SIZE);

	if (r >= 0)
		r = add_part(t, VIRTIO_PCI_CAP_ISR_CFG, PART_ISR, 1);
	if (r >= 0 && t->device->config_size)
		r = add_part(t, VIRTIO_PCI_CAP_DEVICE_CFG, PART_DEVICE, t->device->config_size);
	if (r >= 0)
		r = add_part(t, VIRTIO_PCI_CAP_NOTIFY_CFG, PART_NOTIFY, n * NOTIFY_SIZE);
	if (r >= 0)
		r = add_cfg(t);
	return r;
}

int virtio_pci_new(struct virtio_device *device, struct pci *pci, unsigned slot,
		   const struct irq_platform *platform, struct virtio_pci **ret, venv_error **err)
{
	const struct pci_id id = {
		.vendor = PCI_VENDOR_VIRTIO,
		.device = (uint16_t)(DEVICE_ID_BASE + device->ops->id),
		.class_code = device->ops->pci_class,
		.revision = REVISION,
		.subsystem_vendor = PCI_VENDOR_VIRTIO,
		.subsystem = (uint16_t)(DEVICE_ID_BASE + device->ops->id),
	};
	struct virtio_pci *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return venv__fail_nomem(err);
	t->device = device;
	t->platform = platform;
	virtio_pci_forget(t);
	pci_function_init(&t->function, &id, &pci_ops, t);
	pci_add_bar(&t->function, WINDOW_BAR, WINDOW_SIZE, &window_ops);
	r = msix_init(&t->msix, platform, device->n_queues + 1, &t->function, WINDOW_BAR,
		      PART_MSIX_TABLE * PART_SIZE, PART_MSIX_PBA * PART_SIZE);
	if (r >= 0)
		r = add_capabilities(t);
	if (r >= 0)
		r = pci_add(pci, slot, &t->function);
	if (r < 0) {
		msix_done(&t->msix);
		free(t);
		return venv__fail_errno(err, -r, "device '%s' in PCI slot %u", device->ops->name,
					slot);
	}
	device->interrupt = interrupt;
	device->call_fd = call_fd;
	device->transport = t;
	*ret = t;
	return 0;
}

void virtio_pci_free(struct virtio_pci *transport)
{
	if (!transport)
		return;
	pci_remove(&transport->function); /* from here on no vCPU comes */
	virtio_set_status(transport->device, 0);
	(void)pthread_mutex_lock(&transport->device->lock);
	transport->device->interrupt = NULL;
	transport->device->call_fd = NULL;
	transport->device->transport = NULL;
	(void)pthread_mutex_unlock(&transport->device->lock);
	msix_done(&transport->msix);
	free(transport);
}
