/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes that wait. An access to PCI's configuration by ports is two: which register (0xcf8), then its value
 * (0xcfc). KVM keeps the first ones in a ring and goes on, because they do nothing until somebody looks: half of
 * what a kernel leaves the processor for while it boots.
 *
 * Theory of operation: the ring is the machine's, and all vCPUs see it. Whoever comes back from KVM_RUN does what
 * waits before anything else, so a vCPU's accesses stay in their order, and nothing waits once all are parked. An
 * entry leaves the ring when it is done: who finds the ring empty knows that it is, who does not waits for the lock.
 */
#include <sys/mman.h>

#include "private.h"

enum { PAGE_SIZE = 4096, SELECT_SIZE = 4 };

static const uint32_t entries_max =
	(PAGE_SIZE - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio);

void late_init(struct late *late, const struct vm *vm)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = LAYOUT_PORT_PCI,
						.size = SELECT_SIZE,
						.pio = 1 };
	int page = kvm_ioctl_number(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
	int ports = kvm_ioctl_number(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO);

	(void)pthread_mutex_init(&late->lock, NULL);
	late->ring = NULL;
	/* with a KVM that cannot they come one by one, as all others do */
	if (page <= 0 || ports <= 0 || ((size_t)page + 1) * PAGE_SIZE > vm->run_size ||
	    kvm_ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone) < 0)
		return;
	late->ring = (void *)((uint8_t *)vm->vcpus[0].run + (size_t)page * PAGE_SIZE);
}

void late_done(struct late *late)
{
	(void)pthread_mutex_destroy(&late->lock);
}

static bool is_empty(const struct kvm_coalesced_mmio_ring *ring)
{
	return __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) ==
	       __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE);
}

void late_run(struct late *late, struct bus *ports)
{
	struct kvm_coalesced_mmio_ring *ring = late->ring;

	if (!ring || is_empty(ring))
		return;
	(void)pthread_mutex_lock(&late->lock);
	while (!is_empty(ring)) {
		const struct kvm_coalesced_mmio *entry = &ring->coalesced_mmio[ring->first];

		bus_write(ports, entry->phys_addr, entry->data, entry->len);
		__atomic_store_n(&ring->first, (ring->first + 1) % entries_max, __ATOMIC_RELEASE);
	}
	(void)pthread_mutex_unlock(&late->lock);
}
