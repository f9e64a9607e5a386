/* SPDX-License-Identifier: Apache-2.0 */
#include "devices.h"

#include <fcntl.h>
#include <string.h>

#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/pci.h"
#include "virtio/rng.h"

/* What a device is made from. */
struct order {
	struct devices *devices;
	const struct config *config;
	const json_t *json; /* its entry in "devices" */
	const struct mem *mem;
	struct worker *worker;
};

struct kind {
	const char *name;
	/* {"kind":name,"slot":N and what stands at the function} */
	int (*make)(const struct order *order, struct virtio_device **ret, venv_error **err);
	bool own_worker;
	enum jail_thread thread;
};

static int make_rng(const struct order *order, struct virtio_device **ret, venv_error **err)
{
	return virtio_rng_new(order->mem, order->worker, ret, err);
}

static int make_balloon(const struct order *order, struct virtio_device **ret, venv_error **err)
{
	int r = virtio_balloon_new(order->mem, order->worker, ret, err);

	if (r == 0)
		order->devices->balloon = *ret;
	return r;
}

/* "socket": a stream, both ways; given up to the device. */
static int make_console(const struct order *order, struct virtio_device **ret, venv_error **err)
{
	int fd = config_fd(order->config, order->json, "socket");
	int in, out;

	if (fd < 0)
		return venv__fail(err, VENV_ERR_INVALID, "the console has no socket");
	in = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	out = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (in < 0 || out < 0 || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return venv__fail_errno(err, errno, "cannot use the console's socket");
	return virtio_console_new(order->mem, order->worker, in, out, ret, err);
}

static const struct kind kinds[] = {
	{ "rng", make_rng, false, JAIL_WORKER },
	{ "balloon", make_balloon, false, JAIL_WORKER },
	{ "console", make_console, false, JAIL_WORKER },
};

static const struct kind *find_kind(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

static int choose_worker(struct devices *devices, const struct kind *kind, struct device *device,
			 venv_error **err)
{
	if (kind->own_worker)
		return worker_new(kind->name, &device->worker, err);
	return devices->shared ? 0 : worker_new("devices", &devices->shared, err);
}

static int make_device(struct order *order, struct machine *machine, venv_error **err)
{
	const struct kind *kind = find_kind(venv__json_str(order->json, "kind"));
	struct device *device = &order->devices->device[order->devices->n];
	int64_t slot = venv__json_int(order->json, "slot", 0);
	int r;

	if (!kind || slot < 1 || slot >= PCI_SLOTS)
		return venv__fail(err, VENV_ERR_INVALID, "no device '%s' in slot %lld",
				  kind ? kind->name : "", (long long)slot);
	device->thread = kind->thread;
	r = choose_worker(order->devices, kind, device, err);
	if (r < 0)
		return r;
	order->devices->n++; /* from here on devices_done() lets it go */
	order->worker = device->worker ? device->worker : order->devices->shared;
	r = kind->make(order, &device->virtio, err);
	if (r == 0)
		r = virtio_pci_new(device->virtio, &machine->pci, (unsigned)slot,
				   vm_irqs(machine->vm), &device->transport, err);
	return r < 0 ? venv__wrap(r, err, "device '%s'", kind->name) : 0;
}

int devices_make(struct devices *devices, const struct config *config, struct machine *machine,
		 venv_error **err)
{
	const json_t *list = json_object_get(config->json, "devices");
	struct order order = { .devices = devices, .config = config, .mem = &machine->mem };
	int r = 0;

	if (json_array_size(list) >= PCI_SLOTS)
		return venv__fail(err, VENV_ERR_INVALID, "too many devices");
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		order.json = json_array_get(list, i);
		r = make_device(&order, machine, err);
	}
	return r;
}

struct filter {
	enum jail_thread thread;
	int result;
};

static void install(void *user)
{
	struct filter *filter = user;

	filter->result = jail_thread(filter->thread);
}

static int jail_worker(struct worker *worker, enum jail_thread thread, venv_error **err)
{
	struct filter filter = { thread, 0 };

	if (worker)
		worker_call(worker, install, &filter);
	return filter.result < 0 ? venv__fail_errno(err, -filter.result,
						    "a thread of the machine cannot be secured")
				 : 0;
}

int devices_jail(struct devices *devices, venv_error **err)
{
	int r = jail_worker(devices->shared, JAIL_WORKER, err);

	for (size_t i = 0; r == 0 && i < devices->n; i++)
		r = jail_worker(devices->device[i].worker, devices->device[i].thread, err);
	return r;
}

void devices_done(struct devices *devices)
{
	while (devices->n > 0) {
		struct device *device = &devices->device[--devices->n];

		virtio_pci_free(device->transport);
		if (device->virtio)
			device->virtio->ops->free(device->virtio);
		worker_free(device->worker);
	}
	worker_free(take_ptr(devices->shared));
}
