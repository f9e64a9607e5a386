/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One PCI bus: a host bridge in slot 0, and one function in each slot that has a device.
 *
 * Theory of operation: a function's configuration space is 256 bytes and a mask that says which bits a
 * guest may write; what does something when it is touched is the function's (pci_ops). The guest comes
 * by ports (0xcf8, 0xcfc) or, where there is one, by the memory window ECAM.
 *   A BAR is a window on the memory bus. It appears when the guest lets the function decode memory and
 * moves when the guest writes another address meanwhile. An address where no window can be (RAM, the
 * interrupt controllers, ECAM, another BAR) is refused: the window stays where it was and the register
 * says so. All ones do not move a window: that is how a guest asks for its size.
 *   Locks: handlers run under the bus's lock (for reading) and take `lock`. They change registers only;
 * windows are moved after them (bus_ops.written), under `moving`, which nobody takes under another lock.
 * So: moving, then the bus's lock or `lock`; the bus's lock, then `lock`, then those of a device.
 */
#ifndef VMM_PCI_H
#define VMM_PCI_H

#include "../bus.h"
#include "../mem.h"

struct state_writer; /* machine/state.h */
struct state_reader;

enum {
	PCI_SLOTS = 32,
	PCI_CONFIG_SIZE = 256,
	PCI_BARS = 6,
	PCI_PORT = 0xcf8,
	PCI_PORT_SIZE = 8,
	PCI_VENDOR_INTEL = 0x8086,
	PCI_VENDOR_VIRTIO = 0x1af4,
};

/* NULL: nothing to do. */
struct pci_ops {
	/* Before config[offset…] is read, after it was written. Under pci->lock. */
	void (*config_read)(void *user, unsigned offset, size_t size);
	void (*config_written)(void *user, unsigned offset, size_t size);
	/* The window is at address now; 0: nowhere. Under pci->moving. */
	void (*mapped)(void *user, unsigned bar, uint64_t address);
	void (*reset)(void *user); /* as after power on; not for configuration space */
	int (*save)(void *user, struct state_writer *writer);
	int (*load)(void *user, struct state_reader *reader);
};

struct pci_bar {
	uint32_t size;    /* a power of two, at least a page; 0: there is none */
	uint32_t address; /* where the window is; 0: nowhere */
	uint32_t good;    /* where it was last, or was put by pci_assign() */
	const struct bus_ops *ops;
};

struct pci_function {
	const struct pci_ops *ops;
	void *user;
	struct pci *pci; /* set by pci_add() */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t mask[PCI_CONFIG_SIZE]; /* bits that the guest may write */
	struct pci_bar bar[PCI_BARS];
	uint8_t last_cap, cap_end;
};

struct pci_id {
	uint16_t vendor, device;
	uint32_t class_code; /* class, subclass, interface */
	uint8_t revision;
	uint16_t subsystem_vendor, subsystem;
};

struct pci {
	pthread_mutex_t lock, moving;
	struct bus *ports, *memory;
	const struct mem *mem;
	uint64_t ecam;     /* 0: there is none */
	uint32_t selected; /* the register at 0xcf8 */
	bool dirty;        /* a register that windows follow was written */
	struct pci_function *function[PCI_SLOTS];
	struct pci_function bridge;
};

/* With the host bridge, on both buses. ecam: 0 or where that window is. 0 or -errno */
int pci_init(struct pci *pci, struct bus *ports, struct bus *memory, const struct mem *mem,
	     uint64_t ecam);
/* The functions must have been removed. */
void pci_done(struct pci *pci);
/* Give every window without an address one of its own in [start, end): for guests without firmware.
 * @return 0 or -ENOSPC */
int pci_assign(struct pci *pci, uint32_t start, uint32_t end);
/* As after power on, functions too. vCPUs stand still. */
void pci_reset(struct pci *pci);
/* Every function with what lies behind it. vCPUs stand still; load: into what pci_reset() leaves. */
int pci_save(struct pci *pci, struct state_writer *writer);
int pci_load(struct pci *pci, struct state_reader *reader);

/* Of functions: init, windows and capabilities, then add. */
void pci_function_init(struct pci_function *function, const struct pci_id *id,
		       const struct pci_ops *ops, void *user);
/* A 32-bit memory window; its handlers get the function's user. */
void pci_add_bar(struct pci_function *function, unsigned bar, uint32_t size,
		 const struct bus_ops *ops);
/* body: what follows id and next. mask: of body; NULL: all is read-only.
 * @return its offset, or -ENOSPC */
int pci_add_capability(struct pci_function *function, uint8_t id, const void *body,
		       const void *mask, size_t size);
/* @return 0; -EINVAL: no such slot; -EEXIST: it is taken */
int pci_add(struct pci *pci, unsigned slot, struct pci_function *function);
void pci_remove(struct pci_function *function); /* its windows with it; not added: fine */

/* Between pci.c and bar.c. */
void pci_bars_settle(struct pci *pci); /* if dirty */
void pci_bars_unmap(struct pci_function *function);

#endif
