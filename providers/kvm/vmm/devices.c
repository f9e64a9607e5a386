/* SPDX-License-Identifier: Apache-2.0 */
#include "devices.h"

#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>

#include "disk/disk.h"
#include "kinds.h"
#include "virtio/pci.h"

int devices_folders(const struct config *config, struct jail_folder *ret, size_t *ret_n,
		    venv_error **err)
{
	const json_t *list = json_object_get(config->json, "devices");

	*ret_n = 0;
	if (json_array_size(list) >= PCI_SLOTS)
		return venv__fail(err, VENV_ERR_INVALID, "too many devices");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *json = json_array_get(list, i);
		const struct kind *kind = kind_find(venv__json_str(json, "kind"));
		int fd;

		if (!kind || (kind->thread != JAIL_FOLDER && kind->thread != JAIL_VOLUME))
			continue;
		fd = config_fd(config, json, "directory");
		if (fd < 0)
			return venv__fail(err, VENV_ERR_INVALID, "no descriptor for a folder");
		ret[(*ret_n)++] = (struct jail_folder){
			.fd = fd,
			.read_only = venv__json_bool(json, "read_only", false),
			.volume = kind->thread == JAIL_VOLUME,
		};
	}
	return 0;
}

/* On a worker, whose rights do not suffice to write to a log. What nobody reads in time is lost. */
static void warn(void *user, const char *name, const char *why)
{
	const struct devices *devices = user;
	char text[256];
	int n = snprintf(text, sizeof(text), "device '%s': %s", name, why);

	if (n > 0)
		(void)!write(devices->warnings[1], text, MIN((size_t)n, sizeof(text) - 1));
}

bool devices_warning(struct devices *devices, char *ret, size_t size)
{
	ssize_t n = read(devices->warnings[0], ret, size - 1);

	ret[MAX(n, 0)] = '\0';
	return n > 0;
}

static int choose_worker(struct devices *devices, const struct kind *kind, struct device *device,
			 venv_error **err)
{
	if (kind->thread != JAIL_WORKER)
		return worker_new(kind->name, &device->worker, err);
	return devices->shared ? 0 : worker_new("devices", &devices->shared, err);
}

static int make_device(struct devices *devices, struct order *order, struct machine *machine,
		       venv_error **err)
{
	const struct kind *kind = kind_find(venv__json_str(order->json, "kind"));
	struct device *device = &devices->device[devices->n];
	int64_t slot = venv__json_int(order->json, "slot", 0);
	int r;

	if (!kind || slot < 1 || slot >= PCI_SLOTS)
		return venv__fail(err, VENV_ERR_INVALID, "no device '%s' in slot %lld",
				  kind ? kind->name : "", (long long)slot);
	device->thread = kind->thread;
	device->slot = (unsigned)slot;
	r = choose_worker(devices, kind, device, err);
	if (r < 0)
		return r;
	devices->n++; /* from here on devices_done() lets it go */
	order->worker = device->worker ? device->worker : devices->shared;
	order->disk = NULL;
	r = kind->make(order, &device->virtio, err);
	device->disk = order->disk;
	if (r == 0) {
		device->virtio->warn = warn;
		device->virtio->warn_user = devices;
	}
	if (r == 0 && device->virtio->ops->id == VIRTIO_ID_BALLOON)
		devices->balloon = device->virtio;
	if (r == 0)
		r = virtio_pci_new(device->virtio, &machine->pci, (unsigned)slot,
				   vm_irqs(machine->vm), &device->transport, err);
	return r < 0 ? venv__wrap(r, err, "device '%s'", kind->name) : 0;
}

int devices_make(struct devices *devices, const struct config *config, struct machine *machine,
		 venv_error **err)
{
	const json_t *list = json_object_get(config->json, "devices");
	struct order order = { .config = config, .mem = &machine->mem };
	struct jail_folder folders[PCI_SLOTS];
	int r = devices_folders(config, folders, &order.n_folders, err);

	if (r == 0 && pipe2(devices->warnings, O_CLOEXEC | O_NONBLOCK | O_DIRECT) < 0)
		r = venv__fail_errno(err, errno, "cannot make a pipe");
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		order.json = json_array_get(list, i);
		r = make_device(devices, &order, machine, err);
	}
	return r;
}

struct virtio_device *devices_find(const struct devices *devices, int64_t slot, unsigned id)
{
	for (size_t i = 0; i < devices->n; i++)
		if (devices->device[i].slot == slot && devices->device[i].virtio->ops->id == id)
			return devices->device[i].virtio;
	return NULL;
}

void devices_hold(struct devices *devices)
{
	if (devices->held)
		return;
	/* While all workers run: one may need another to finish what it has. */
	for (size_t i = 0; i < devices->n; i++)
		virtio_drain(devices->device[i].virtio);
	if (devices->shared)
		worker_park(devices->shared);
	for (size_t i = 0; i < devices->n; i++)
		if (devices->device[i].worker)
			worker_park(devices->device[i].worker);
	devices->held = true;
}

void devices_release(struct devices *devices)
{
	if (!devices->held)
		return;
	devices->held = false;
	if (devices->shared)
		worker_unpark(devices->shared);
	for (size_t i = 0; i < devices->n; i++)
		if (devices->device[i].worker)
			worker_unpark(devices->device[i].worker);
}

void devices_go_on(struct devices *devices)
{
	devices_release(devices);
	for (size_t i = 0; i < devices->n; i++)
		virtio_go_on(devices->device[i].virtio);
}

struct filter {
	struct worker *worker;
	enum jail_thread thread;
	int result;
	struct worker_call call;
};

static void install(void *user)
{
	struct filter *filter = user;

	filter->result = jail_thread(filter->thread);
}

static void add_filter(struct filter *filters, size_t *n, struct worker *worker,
		       enum jail_thread thread)
{
	struct filter *filter = &filters[*n];

	if (!worker) /* the device has none of its own, or none is shared */
		return;
	(*n)++;
	*filter = (struct filter){ .worker = worker, .thread = thread };
	filter->call = (struct worker_call){ .fn = install, .user = filter };
	worker_begin(worker, &filter->call);
}

/* The kernel takes its time to compile a filter: all of them at once. */
int devices_jail(struct devices *devices, venv_error **err)
{
	struct filter filters[PCI_SLOTS + 1];
	size_t n = 0;
	int r = 0;

	add_filter(filters, &n, devices->shared, JAIL_WORKER);
	for (size_t i = 0; i < devices->n; i++)
		add_filter(filters, &n, devices->device[i].worker, devices->device[i].thread);
	for (size_t i = 0; i < n; i++) {
		worker_finish(filters[i].worker, &filters[i].call);
		if (r == 0 && filters[i].result < 0)
			r = venv__fail_errno(err, -filters[i].result,
					     "a thread of the machine cannot be secured");
	}
	return r;
}

void devices_done(struct devices *devices)
{
	while (devices->n > 0) {
		struct device *device = &devices->device[--devices->n];

		virtio_pci_free(device->transport);
		if (device->virtio)
			device->virtio->ops->free(device->virtio);
		(void)venv__disk_close(device->disk, NULL); /* what failed, the guest was told */
		worker_free(device->worker);
	}
	worker_free(take_ptr(devices->shared));
	for (size_t i = 0; i < 2; i++)
		if (devices->warnings[i] >= 0)
			(void)close(take_fd(&devices->warnings[i]));
}
