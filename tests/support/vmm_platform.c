/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm_platform.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum { FIRST_FREE = 0x100000 };

static void must(bool fine)
{
	if (!fine)
		abort();
}

/* ---- Interrupts and doorbells ---- */

static int on_route(void *user, int eventfd, const struct irq_message *message)
{
	struct vmm_platform *p = user;
	struct vmm_route *found = NULL;

	if (p->no_routes)
		return -ENOSPC;
	(void)pthread_mutex_lock(&p->lock);
	p->n_routings++;
	for (size_t i = 0; i < VMM_ROUTES_MAX; i++)
		if (p->route[i].eventfd == eventfd || (!found && p->route[i].eventfd < 0))
			found = &p->route[i];
	must(found);
	if (message)
		*found = (struct vmm_route){ eventfd, *message };
	else if (found->eventfd == eventfd)
		found->eventfd = -1;
	(void)pthread_mutex_unlock(&p->lock);
	return 0;
}

static int on_doorbell(void *user, int eventfd, uint64_t address)
{
	struct vmm_platform *p = user;
	int r = -ENOSPC;

	(void)pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < VMM_ROUTES_MAX && r < 0 && !p->no_doorbells; i++) {
		if (p->doorbell[i].eventfd >= 0)
			continue;
		p->doorbell[i] = (struct vmm_doorbell){ eventfd, address };
		r = 0;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return r;
}

static void on_undo_doorbell(void *user, int eventfd, uint64_t address)
{
	struct vmm_platform *p = user;

	(void)pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < VMM_ROUTES_MAX; i++)
		if (p->doorbell[i].eventfd == eventfd && p->doorbell[i].address == address)
			p->doorbell[i].eventfd = -1;
	(void)pthread_mutex_unlock(&p->lock);
}

static const struct irq_ops irq_ops = { on_route, on_doorbell, on_undo_doorbell };

static int routed_to(struct vmm_platform *p, uint32_t data)
{
	int fd = -1;

	(void)pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < VMM_ROUTES_MAX; i++)
		if (p->route[i].eventfd >= 0 && p->route[i].message.data == data)
			fd = p->route[i].eventfd;
	(void)pthread_mutex_unlock(&p->lock);
	return fd;
}

bool vmm_interrupt(struct vmm_platform *platform, uint32_t data, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = routed_to(platform, data), .events = POLLIN };
	eventfd_t count;

	if (poll_fd.fd < 0 || poll(&poll_fd, 1, timeout_ms) != 1)
		return false;
	return eventfd_read(poll_fd.fd, &count) == 0;
}

/* ---- Accesses ---- */

void vmm_read(struct vmm_platform *platform, uint64_t address, void *data, size_t size)
{
	bus_read(&platform->memory, address, data, size);
}

void vmm_write(struct vmm_platform *platform, uint64_t address, const void *data, size_t size)
{
	int fd = -1;

	(void)pthread_mutex_lock(&platform->lock);
	for (size_t i = 0; i < VMM_ROUTES_MAX; i++)
		if (platform->doorbell[i].eventfd >= 0 && platform->doorbell[i].address == address)
			fd = platform->doorbell[i].eventfd;
	if (fd >= 0)
		(void)eventfd_write(fd, 1);
	(void)pthread_mutex_unlock(&platform->lock);
	if (fd < 0)
		bus_write(&platform->memory, address, data, size);
}

#define ACCESS(bits)                                                                               \
	uint##bits##_t vmm_read##bits(struct vmm_platform *platform, uint64_t address)             \
	{                                                                                          \
		uint##bits##_t value;                                                              \
                                                                                                   \
		vmm_read(platform, address, &value, sizeof(value));                                \
		return value;                                                                      \
	}                                                                                          \
	void vmm_write##bits(struct vmm_platform *platform, uint64_t address,                      \
			     uint##bits##_t value)                                                 \
	{                                                                                          \
		vmm_write(platform, address, &value, sizeof(value));                               \
	}
ACCESS(8)
ACCESS(16)
ACCESS(32)

/* ---- The worker ---- */

static void nothing(void *user)
{
	(void)user;
}

static void on_quit(void *user, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	venv__loop_quit(user, 0);
}

static bool is_rung(const struct virtio_device *device)
{
	struct pollfd fds[VIRTIO_QUEUES_MAX];

	for (unsigned i = 0; i < device->n_queues; i++)
		fds[i] = (struct pollfd){ .fd = device->doorbell[i], .events = POLLIN };
	return poll(fds, device->n_queues, 0) > 0;
}

/* One turn of an adopted loop: everything that is ready now may come before the timer. */
static void turn(struct vmm_platform *p)
{
	must(venv__loop_timer(p->loop, 0, 0, on_quit, p->loop));
	(void)venv__loop_run(p->loop);
}

static void let_work(struct vmm_platform *p)
{
	if (p->loop)
		turn(p);
	else
		worker_call(p->worker, nothing, NULL); /* after the callback that is running */
}

void vmm_settle(struct vmm_platform *platform, struct virtio_device *device)
{
	/* A doorbell that has been read may still be worked on, and rung again by that. */
	do {
		do
			let_work(platform);
		while (is_rung(device));
		let_work(platform);
	} while (is_rung(device));
}

/* ---- Memory ---- */

uint64_t vmm_alloc(struct vmm_platform *platform, uint64_t size, uint64_t align)
{
	uint64_t address = (platform->next + align - 1) & ~(align - 1);

	memset(vmm_at(platform, address, size), 0, size);
	platform->next = address + size;
	return address;
}

void *vmm_at(struct vmm_platform *platform, uint64_t address, uint64_t size)
{
	void *at = mem_at(&platform->mem, address, size);

	must(at != NULL);
	return at;
}

/* ---- All of it ---- */

struct vmm_platform *vmm_platform_new(uint64_t memory, bool thread)
{
	struct vmm_platform *p = calloc(1, sizeof(*p));

	must(p != NULL);
	p->next = FIRST_FREE;
	(void)pthread_mutex_init(&p->lock, NULL);
	for (size_t i = 0; i < VMM_ROUTES_MAX; i++)
		p->route[i].eventfd = p->doorbell[i].eventfd = -1;
	p->irq = (struct irq_platform){ &irq_ops, p };
	must(mem_init(&p->mem, memory, -1, 0, NULL) == 0);
	must(bus_init(&p->ports) == 0 && bus_init(&p->memory) == 0);
	must(pci_init(&p->pci, &p->ports, &p->memory, &p->mem, VMM_ECAM) == 0);
	if (thread) {
		must(worker_new("device", &p->worker, NULL) == 0);
	} else {
		p->loop = venv__loop_new();
		must(p->loop && worker_adopt(p->loop, &p->worker, NULL) == 0);
	}
	return p;
}

void vmm_platform_free(struct vmm_platform *platform)
{
	pci_done(&platform->pci);
	bus_done(&platform->memory);
	bus_done(&platform->ports);
	worker_free(platform->worker);
	venv__loop_free(platform->loop);
	mem_done(&platform->mem);
	(void)pthread_mutex_destroy(&platform->lock);
	free(platform);
}
