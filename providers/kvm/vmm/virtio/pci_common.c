/* SPDX-License-Identifier: Apache-2.0 */
/* The common configuration: one access is one field, of its very size (virtio 1.2, section 4.1.4.3). */
#include <linux/virtio_pci.h>
#include <string.h>

#include "pci_internal.h"

/* What a guest that sets up queues may write now; nothing else reaches the device. Under lock. */
static struct virtq *setup(struct virtio_pci *t)
{
	return virtio_setup_queue(t->device, t->queue);
}

static struct virtq *selected(const struct virtio_pci *t)
{
	return t->queue < t->device->n_queues ? &t->device->queue[t->queue] : NULL;
}

static uint32_t read_offered_half(struct virtio_pci *t)
{
	return t->offered_half;
}

static void write_offered_half(struct virtio_pci *t, uint32_t value)
{
	t->offered_half = value;
}

static uint32_t read_offered(struct virtio_pci *t)
{
	return virtio_offered(t->device, t->offered_half);
}

static uint32_t read_taken_half(struct virtio_pci *t)
{
	return t->taken_half;
}

static void write_taken_half(struct virtio_pci *t, uint32_t value)
{
	t->taken_half = value;
}

static uint32_t read_taken(struct virtio_pci *t)
{
	return t->taken_half < 2 ? (uint32_t)(t->device->features >> (32 * t->taken_half)) : 0;
}

static uint32_t read_config_vector(struct virtio_pci *t)
{
	return t->config_vector;
}

static bool vectors_are_frozen(const struct virtio_pci *t)
{
	return t->device->status & VIRTIO_DRIVER_OK;
}

uint16_t virtio_pci_vector(const struct virtio_pci *t, uint32_t value)
{
	return value < t->msix.n_vectors ? (uint16_t)value : MSIX_NONE;
}

static void write_config_vector(struct virtio_pci *t, uint32_t value)
{
	if (!vectors_are_frozen(t))
		t->config_vector = virtio_pci_vector(t, value);
}

static uint32_t read_n_queues(struct virtio_pci *t)
{
	return t->device->n_queues;
}

static uint32_t read_status(struct virtio_pci *t)
{
	return t->device->status;
}

static uint32_t read_generation(struct virtio_pci *t)
{
	return t->device->config_generation;
}

static uint32_t read_queue(struct virtio_pci *t)
{
	return t->queue;
}

static void write_queue(struct virtio_pci *t, uint32_t value)
{
	t->queue = (uint16_t)value;
}

static uint32_t read_size(struct virtio_pci *t)
{
	const struct virtq *queue = selected(t);

	return queue ? queue->size : 0;
}

static void write_size(struct virtio_pci *t, uint32_t value)
{
	struct virtq *queue = setup(t);

	if (queue && value && value <= queue->size_max && !(value & (value - 1)))
		queue->size = (uint16_t)value;
}

static uint32_t read_vector(struct virtio_pci *t)
{
	return selected(t) ? t->vector[t->queue] : MSIX_NONE;
}

static void write_vector(struct virtio_pci *t, uint32_t value)
{
	if (selected(t) && !vectors_are_frozen(t))
		t->vector[t->queue] = virtio_pci_vector(t, value);
}

static uint32_t read_enable(struct virtio_pci *t)
{
	const struct virtq *queue = selected(t);

	return queue ? queue->enabled : 0;
}

static void write_enable(struct virtio_pci *t, uint32_t value)
{
	struct virtq *queue = setup(t);

	if (queue && value == 1)
		queue->enabled = true;
}

static uint32_t read_notify_offset(struct virtio_pci *t)
{
	return selected(t) ? t->queue : 0;
}

/* The 64-bit addresses, in halves. */
static void set_half(uint64_t *address, bool high, uint32_t value)
{
	*address = high ? (*address & 0xffffffff) | (uint64_t)value << 32
			: (*address & ~0xffffffffULL) | value;
}

#define ADDRESS_FIELD(name, member, high)                                                          \
	static uint32_t read_##name(struct virtio_pci *t)                                          \
	{                                                                                          \
		const struct virtq *queue = selected(t);                                           \
                                                                                                   \
		return queue ? (uint32_t)(queue->member >> ((high) ? 32 : 0)) : 0;                 \
	}                                                                                          \
	static void write_##name(struct virtio_pci *t, uint32_t value)                             \
	{                                                                                          \
		struct virtq *queue = setup(t);                                                    \
                                                                                                   \
		if (queue)                                                                         \
			set_half(&queue->member, high, value);                                     \
	}
ADDRESS_FIELD(desc_low, desc, false)
ADDRESS_FIELD(desc_high, desc, true)
ADDRESS_FIELD(avail_low, avail, false)
ADDRESS_FIELD(avail_high, avail, true)
ADDRESS_FIELD(used_low, used, false)
ADDRESS_FIELD(used_high, used, true)

/* By offset. Written without the lock: these take it themselves, or wait for the worker. */
static void take_features(struct virtio_pci *t, uint32_t value)
{
	virtio_take(t->device, t->taken_half, value);
}

static void set_status(struct virtio_pci *t, uint32_t value)
{
	virtio_set_status(t->device, (uint8_t)value);
	if (value)
		return;
	(void)pthread_mutex_lock(&t->device->lock);
	virtio_pci_forget(t);
	(void)pthread_mutex_unlock(&t->device->lock);
}

static const struct field {
	uint8_t offset, size;
	uint32_t (*read)(struct virtio_pci *t);
	void (*write)(struct virtio_pci *t, uint32_t value);
	void (*write_unlocked)(struct virtio_pci *t, uint32_t value);
} fields[] = {
	{ VIRTIO_PCI_COMMON_DFSELECT, 4, read_offered_half, write_offered_half, NULL },
	{ VIRTIO_PCI_COMMON_DF, 4, read_offered, NULL, NULL },
	{ VIRTIO_PCI_COMMON_GFSELECT, 4, read_taken_half, write_taken_half, NULL },
	{ VIRTIO_PCI_COMMON_GF, 4, read_taken, NULL, take_features },
	{ VIRTIO_PCI_COMMON_MSIX, 2, read_config_vector, write_config_vector, NULL },
	{ VIRTIO_PCI_COMMON_NUMQ, 2, read_n_queues, NULL, NULL },
	{ VIRTIO_PCI_COMMON_STATUS, 1, read_status, NULL, set_status },
	{ VIRTIO_PCI_COMMON_CFGGENERATION, 1, read_generation, NULL, NULL },
	{ VIRTIO_PCI_COMMON_Q_SELECT, 2, read_queue, write_queue, NULL },
	{ VIRTIO_PCI_COMMON_Q_SIZE, 2, read_size, write_size, NULL },
	{ VIRTIO_PCI_COMMON_Q_MSIX, 2, read_vector, write_vector, NULL },
	{ VIRTIO_PCI_COMMON_Q_ENABLE, 2, read_enable, write_enable, NULL },
	{ VIRTIO_PCI_COMMON_Q_NOFF, 2, read_notify_offset, NULL, NULL },
	{ VIRTIO_PCI_COMMON_Q_DESCLO, 4, read_desc_low, write_desc_low, NULL },
	{ VIRTIO_PCI_COMMON_Q_DESCHI, 4, read_desc_high, write_desc_high, NULL },
	{ VIRTIO_PCI_COMMON_Q_AVAILLO, 4, read_avail_low, write_avail_low, NULL },
	{ VIRTIO_PCI_COMMON_Q_AVAILHI, 4, read_avail_high, write_avail_high, NULL },
	{ VIRTIO_PCI_COMMON_Q_USEDLO, 4, read_used_low, write_used_low, NULL },
	{ VIRTIO_PCI_COMMON_Q_USEDHI, 4, read_used_high, write_used_high, NULL },
};

static const struct field *find_field(uint64_t offset, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].offset == offset)
			return fields[i].size == size ? &fields[i] : NULL;
	return NULL;
}

void virtio_pci_common_read(struct virtio_pci *t, uint64_t offset, void *data, size_t size)
{
	const struct field *field = find_field(offset, size);
	uint32_t value;

	if (!field)
		return;
	(void)pthread_mutex_lock(&t->device->lock);
	value = field->read(t);
	(void)pthread_mutex_unlock(&t->device->lock);
	memcpy(data, &value, size);
}

void virtio_pci_common_write(struct virtio_pci *t, uint64_t offset, const void *data, size_t size)
{
	const struct field *field = find_field(offset, size);
	uint32_t value = 0;

	if (!field)
		return;
	memcpy(&value, data, size);
	if (field->write_unlocked) {
		field->write_unlocked(t, value);
	} else if (field->write) {
		(void)pthread_mutex_lock(&t->device->lock);
		field->write(t, value);
		(void)pthread_mutex_unlock(&t->device->lock);
	}
}
