/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of one function: a table of messages, each raised by an eventfd of its own.
 *
 * Theory of operation: a vector that may fire has its eventfd routed to its message by the platform; one
 * that may not (masked, or the function is, or MSI-X is off) has no route. An eventfd that is written
 * meanwhile keeps its count: that is the pending bit, and the platform delivers it when the route comes
 * back. So whoever has the eventfd, also a kernel thread like vhost's, needs not know about masks.
 */
#ifndef VMM_PCI_MSIX_H
#define VMM_PCI_MSIX_H

#include "../irq.h"
#include "pci.h"

enum { MSIX_VECTORS_MAX = 32, MSIX_ENTRY_SIZE = 16, MSIX_NONE = 0xffff };

struct msix_vector {
	int eventfd;
	struct irq_message message;
	uint32_t control; /* bit 0: masked */
	bool routed;
};

struct msix {
	pthread_mutex_t lock;
	const struct irq_platform *platform;
	unsigned n_vectors;
	struct msix_vector vector[MSIX_VECTORS_MAX];
	bool enabled, masked; /* by message control */
	int capability;       /* its offset in configuration space */
};

/* Adds the capability to function; table and PBA are at these offsets of its window bar. 0 or -errno */
int msix_init(struct msix *msix, const struct irq_platform *platform, unsigned n_vectors,
	      struct pci_function *function, unsigned bar, uint32_t table, uint32_t pba);
void msix_done(struct msix *msix);
void msix_reset(struct msix *msix);
/* From pci_ops.config_written of the function. */
void msix_config_written(struct msix *msix, const struct pci_function *function, unsigned offset,
			 size_t size);
/* Accesses of 4 and 8 bytes, aligned; the rest is nothing. */
void msix_table_read(struct msix *msix, uint64_t offset, void *data, size_t size);
void msix_table_write(struct msix *msix, uint64_t offset, const void *data, size_t size);
void msix_pba_read(struct msix *msix, uint64_t offset, void *data, size_t size);
/* Any thread. A vector that is none, and MSI-X that is off: nothing happens. */
void msix_fire(struct msix *msix, unsigned vector);

int msix_save(struct msix *msix, struct state_writer *writer);
int msix_load(struct msix *msix, struct state_reader *reader);

#endif
