/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "machine/state.h"

/* For all devices; and a guest that resets and breaks a device in a loop fills no log. */
#define COMMON_FEATURES                                                                            \
	(1ULL << VIRTIO_VERSION_1 | 1ULL << VIRTIO_EVENT_IDX | 1ULL << VIRTIO_INDIRECT_DESC)
enum { WARNINGS_MAX = 8 };

/* ---- Doorbells ---- */

/* On the worker. */
static void on_doorbell(void *user, int fd, uint32_t events)
{
	struct virtio_device *device = user;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(fd, &count);
	(void)pthread_mutex_lock(&device->lock);
	for (unsigned i = 0; i < device->n_queues; i++)
		if (device->doorbell[i] == fd && virtio_is_live(device) && device->queue[i].started)
			device->ops->notify(device, i);
	(void)pthread_mutex_unlock(&device->lock);
}

void virtio_again(struct virtio_device *device, unsigned queue)
{
	(void)eventfd_write(device->doorbell[queue], 1);
}

void virtio_listen(struct virtio_device *device, bool wanted)
{
	for (unsigned i = 0; i < device->n_queues; i++)
		(void)venv__loop_set_events(device->source[i], wanted ? EPOLLIN : 0);
}

static void ring_all(struct virtio_device *device)
{
	for (unsigned i = 0; i < device->n_queues; i++)
		if (device->queue[i].started)
			virtio_again(device, i);
}

static void listen(void *user)
{
	struct virtio_device *device = user;

	for (unsigned i = 0; i < device->n_queues; i++)
		if (device->doorbell[i] >= 0)
			device->source[i] =
				venv__loop_add(worker_loop(device->worker), device->doorbell[i],
					       EPOLLIN, on_doorbell, device);
}

static void unlisten(void *user)
{
	struct virtio_device *device = user;

	for (unsigned i = 0; i < device->n_queues; i++) {
		venv__loop_remove(device->source[i]);
		device->source[i] = NULL;
	}
}

/* ---- Birth and death ---- */

int virtio_device_init(struct virtio_device *device, const struct virtio_ops *ops,
		       const struct mem *mem, struct worker *worker, uint64_t offered,
		       const uint16_t *queue_sizes, unsigned n_queues, venv_error **err)
{
	device->ops = ops;
	device->mem = mem;
	device->worker = worker;
	device->offered = offered | COMMON_FEATURES;
	device->n_queues = n_queues;
	(void)pthread_mutex_init(&device->lock, NULL); /* does not fail on Linux */
	for (unsigned i = 0; i < n_queues; i++) {
		device->queue[i].size_max = queue_sizes[i];
		virtq_reset(&device->queue[i]);
		device->doorbell[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	worker_call(worker, listen, device);
	for (unsigned i = 0; i < n_queues; i++) {
		if (device->source[i])
			continue;
		virtio_device_done(device);
		return venv__fail(err, VENV_ERR_SYSTEM, "cannot make the doorbells of device '%s'",
				  ops->name);
	}
	return 0;
}

void virtio_device_done(struct virtio_device *device)
{
	if (!device->ops)
		return;
	worker_call(device->worker, unlisten, device);
	for (unsigned i = 0; i < device->n_queues; i++) {
		if (device->doorbell[i] >= 0)
			(void)close(device->doorbell[i]);
		device->doorbell[i] = -1;
	}
	(void)pthread_mutex_destroy(&device->lock);
	device->ops = NULL;
}

/* ---- What devices call ---- */

int virtio_pop(struct virtio_device *device, unsigned queue, struct virtq_chain *chain)
{
	int r = virtio_is_live(device) ? virtq_pop(&device->queue[queue], chain) : 0;

	if (r < 0)
		virtio_broken(device, "a queue that breaks the rules");
	return r;
}

void virtio_signal(struct virtio_device *device, unsigned queue)
{
	if (virtio_is_live(device) && virtq_should_signal(&device->queue[queue]) &&
	    device->interrupt)
		device->interrupt(device->transport, (int)queue);
}

void virtio_complete(struct virtio_device *device, unsigned queue, uint16_t head, uint32_t written,
		     bool more)
{
	if (!virtio_is_live(device))
		return;
	virtq_push(&device->queue[queue], head, written);
	if (!more)
		virtio_signal(device, queue);
}

void virtio_each(struct virtio_device *device, unsigned queue, struct virtq_chain *chain,
		 unsigned max,
		 uint32_t (*handle)(struct virtio_device *device, struct virtq_chain *chain))
{
	struct virtq *q = &device->queue[queue];
	unsigned n = 0;

	virtq_mute(q);
	while (n < max) {
		int r = virtio_pop(device, queue, chain);

		if (r < 0)
			return;
		if (r > 0) {
			virtio_complete(device, queue, chain->head, handle(device, chain), true);
			n++;
		} else if (!virtq_listen(q)) {
			break;
		} else {
			virtq_mute(q);
		}
	}
	if (n == max)
		virtio_again(device, queue);
	if (n)
		virtio_signal(device, queue);
}

void virtio_config_changed(struct virtio_device *device)
{
	device->config_generation++;
	if (device->status & VIRTIO_DRIVER_OK && device->interrupt)
		device->interrupt(device->transport, -1);
}

void virtio_broken(struct virtio_device *device, const char *why)
{
	if (device->status & VIRTIO_NEEDS_RESET)
		return;
	device->status |= VIRTIO_NEEDS_RESET;
	device->broken = why;
	if (device->warn && device->n_warnings++ < WARNINGS_MAX)
		device->warn(device->warn_user, device->ops->name, why);
	if (device->status & VIRTIO_DRIVER_OK && device->interrupt)
		device->interrupt(device->transport, -1);
}

/* ---- The status machine ---- */

/* Under lock; on the worker if the device is active. */
static void reset(struct virtio_device *device)
{
	if (device->active && device->ops->reset)
		device->ops->reset(device);
	device->active = false;
	device->status = 0;
	device->features = 0;
	device->broken = NULL;
	for (unsigned i = 0; i < device->n_queues; i++)
		virtq_reset(&device->queue[i]);
}

static void apply_features(struct virtio_device *device)
{
	for (unsigned i = 0; i < device->n_queues; i++) {
		device->queue[i].event_idx = virtio_has(device, VIRTIO_EVENT_IDX);
		device->queue[i].indirect = virtio_has(device, VIRTIO_INDIRECT_DESC);
	}
}

/* On the worker, under lock: DRIVER_OK. */
static void activate(struct virtio_device *device)
{
	device->status |= VIRTIO_DRIVER_OK;
	apply_features(device);
	for (unsigned i = 0; i < device->n_queues; i++) {
		struct virtq *queue = &device->queue[i];

		if (queue->enabled && virtq_start(queue, device->mem) < 0) {
			virtio_broken(device, "a queue that cannot be");
			return;
		}
	}
	if (device->ops->activate && device->ops->activate(device) < 0) {
		virtio_broken(device, "it could not be activated");
		return;
	}
	device->active = true;
	ring_all(device); /* a driver may have been early */
}

/* Which bits a driver may add, in the order of 3.1.1, and which it must have added before. */
static const struct step {
	uint8_t bit, needs;
} steps[] = {
	{ VIRTIO_ACKNOWLEDGE, 0 },
	{ VIRTIO_DRIVER, VIRTIO_ACKNOWLEDGE },
	{ VIRTIO_FEATURES_OK, VIRTIO_DRIVER },
	{ VIRTIO_DRIVER_OK, VIRTIO_FEATURES_OK },
	{ VIRTIO_FAILED, 0 },
};

static bool may_add(const struct virtio_device *device, const struct step *step)
{
	if (device->status & step->bit || (device->status & step->needs) != step->needs)
		return false;
	switch (step->bit) {
	case VIRTIO_FEATURES_OK:
		return virtio_has(device, VIRTIO_VERSION_1); /* we speak no legacy */
	case VIRTIO_DRIVER_OK:
		return !(device->status & (VIRTIO_NEEDS_RESET | VIRTIO_FAILED));
	default:
		return true;
	}
}

/* Under lock; on the worker when it is DRIVER_OK. */
static void add_bits(struct virtio_device *device, uint8_t status)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		const struct step *step = &steps[i];

		if (!(status & step->bit) || !may_add(device, step))
			continue;
		if (step->bit == VIRTIO_DRIVER_OK)
			activate(device);
		else
			device->status |= step->bit;
	}
}

struct status_write {
	struct virtio_device *device;
	uint8_t status;
};

static void write_status(void *user)
{
	const struct status_write *write = user;
	struct virtio_device *device = write->device;

	(void)pthread_mutex_lock(&device->lock);
	if (write->status)
		add_bits(device, write->status);
	else
		reset(device);
	(void)pthread_mutex_unlock(&device->lock);
}

void virtio_set_status(struct virtio_device *device, uint8_t status)
{
	struct status_write write = { device, status };
	bool here; /* what is no matter of the worker's is quicker without it */

	(void)pthread_mutex_lock(&device->lock);
	here = status ? !(status & VIRTIO_DRIVER_OK) : !device->active;
	if (here && status)
		add_bits(device, status);
	else if (here)
		reset(device);
	(void)pthread_mutex_unlock(&device->lock);
	if (!here)
		worker_call(device->worker, write_status, &write);
}

uint32_t virtio_offered(struct virtio_device *device, uint32_t half)
{
	return half < 2 ? (uint32_t)(device->offered >> (32 * half)) : 0;
}

void virtio_take(struct virtio_device *device, uint32_t half, uint32_t bits)
{
	uint64_t mask;

	if (half > 1)
		return;
	mask = 0xffffffffULL << (32 * half);
	(void)pthread_mutex_lock(&device->lock);
	if (!(device->status & VIRTIO_FEATURES_OK))
		device->features = (device->features & ~mask) |
				   ((uint64_t)bits << (32 * half) & device->offered);
	(void)pthread_mutex_unlock(&device->lock);
}

struct virtq *virtio_setup_queue(struct virtio_device *device, unsigned queue)
{
	if (queue >= device->n_queues || device->queue[queue].enabled ||
	    device->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET))
		return NULL;
	return &device->queue[queue];
}

/* ---- State ---- */

#define DEVICE_TAG STATE_TAG('V', 'I', 'R', 'T')
enum { DEVICE_VERSION = 1 };

static void drain(void *user)
{
	struct virtio_device *device = user;

	(void)pthread_mutex_lock(&device->lock);
	if (device->active && device->ops->drain)
		device->ops->drain(device);
	(void)pthread_mutex_unlock(&device->lock);
}

void virtio_drain(struct virtio_device *device)
{
	worker_call(device->worker, drain, device);
}

static void go_on(void *user)
{
	struct virtio_device *device = user;

	(void)pthread_mutex_lock(&device->lock);
	if (virtio_is_live(device))
		device->ops->go_on(device);
	(void)pthread_mutex_unlock(&device->lock);
}

void virtio_go_on(struct virtio_device *device)
{
	if (device->ops->go_on)
		worker_call(device->worker, go_on, device);
}

struct transfer {
	struct virtio_device *device;
	struct state_writer *writer;
	struct state_reader *reader;
	int r;
};

static int save(struct virtio_device *device, struct state_writer *writer)
{
	int r;

	if (device->active && device->ops->drain)
		device->ops->drain(device); /* of what came since it was drained */
	state_begin(writer, DEVICE_TAG, DEVICE_VERSION);
	state_put_u16(writer, device->ops->id);
	state_put_u16(writer, (uint16_t)device->n_queues);
	state_put_u8(writer, device->status);
	state_put_u8(writer, device->active);
	state_put_u64(writer, device->features);
	state_put_u32(writer, device->config_generation);
	r = state_end(writer);
	for (unsigned i = 0; i < device->n_queues && r == 0; i++)
		r = virtq_save(&device->queue[i], writer);
	if (r == 0 && device->ops->save)
		r = device->ops->save(device, writer);
	return r;
}

static void save_here(void *user)
{
	struct transfer *transfer = user;

	(void)pthread_mutex_lock(&transfer->device->lock);
	transfer->r = save(transfer->device, transfer->writer);
	(void)pthread_mutex_unlock(&transfer->device->lock);
}

int virtio_save(struct virtio_device *device, struct state_writer *writer)
{
	struct transfer transfer = { .device = device, .writer = writer };

	worker_call(device->worker, save_here, &transfer);
	return transfer.r;
}

static bool is_plausible(const struct virtio_device *device, bool active)
{
	uint8_t ok = VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK;

	return !(device->features & ~device->offered) && (!active || (device->status & ok) == ok);
}

static int load_fields(struct virtio_device *device, struct state_reader *reader, bool *ret_active)
{
	int r = state_enter(reader, DEVICE_TAG, DEVICE_VERSION);

	if (r < 0)
		return r;
	if (state_get_u16(reader) != device->ops->id || state_get_u16(reader) != device->n_queues)
		return -EPROTO;
	device->status = state_get_u8(reader);
	*ret_active = state_get_u8(reader);
	device->features = state_get_u64(reader);
	device->config_generation = state_get_u32(reader);
	r = state_leave(reader);
	if (r == 0 && !is_plausible(device, *ret_active))
		r = -EPROTO;
	return r;
}

static int load(struct virtio_device *device, struct state_reader *reader)
{
	bool active = false;
	int r = load_fields(device, reader, &active);

	for (unsigned i = 0; i < device->n_queues && r == 0; i++) {
		r = virtq_load(&device->queue[i], device->mem, reader);
		if (r == 0 && device->queue[i].started && !(device->status & VIRTIO_DRIVER_OK))
			r = -EPROTO;
	}
	apply_features(device);
	if (r == 0 && active) {
		r = device->ops->activate ? device->ops->activate(device) : 0;
		device->active = r >= 0;
	}
	if (r == 0 && device->ops->load)
		r = device->ops->load(device, reader);
	if (r < 0)
		reset(device); /* nothing half done stays */
	else
		ring_all(device);
	return r;
}

static void load_here(void *user)
{
	struct transfer *transfer = user;

	(void)pthread_mutex_lock(&transfer->device->lock);
	transfer->r = load(transfer->device, transfer->reader);
	(void)pthread_mutex_unlock(&transfer->device->lock);
}

int virtio_load(struct virtio_device *device, struct state_reader *reader)
{
	struct transfer transfer = { .device = device, .reader = reader };

	worker_call(device->worker, load_here, &transfer);
	return transfer.r;
}
