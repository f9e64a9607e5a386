/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio devices of a machine, made from its configuration. */
#ifndef VMM_DEVICES_H
#define VMM_DEVICES_H

#include "config.h"
#include "console.h"
#include "jail/jail.h"
#include "machine/machine.h"
#include "virtio/device.h"

struct virtio_pci;

struct device {
	struct virtio_device *virtio;
	struct virtio_pci *transport;
	struct worker *worker; /* its own, or NULL: the shared one */
	struct disk *disk;     /* of a disk, or NULL */
	unsigned slot;
	enum jail_thread thread;
};

struct devices {
	struct device device[PCI_SLOTS];
	size_t n;
	struct worker *shared;         /* of those with little to do */
	struct virtio_device *balloon; /* one of them, or NULL */
	int warnings[2]; /* a pipe: from any worker to the main thread, a text each; -1 at first */
	bool held;
};

/* The folders that "fs" and "volume" share; ret: room for PCI_SLOTS of them. */
int devices_folders(const struct config *config, struct jail_folder *ret, size_t *ret_n,
		    venv_error **err);
/* In the order of "devices", each in its slot. */
int devices_make(struct devices *devices, const struct config *config, struct machine *machine,
		 venv_error **err);
/* The one of this kind (VIRTIO_ID_…) in a slot, or NULL. */
struct virtio_device *devices_find(const struct devices *devices, int64_t slot, unsigned id);
/*
 * Let them stand still: what is in flight is finished, nothing more is begun and no guest memory touched
 * until devices_release(). The vCPUs stand still already. More than once is fine.
 */
void devices_hold(struct devices *devices);
void devices_release(struct devices *devices);
void devices_go_on(
	struct devices *devices); /* the same, as the machine will: who must tell somebody does */
/* The next thing that went wrong in a device, for the machine's log. @return false: nothing did
 * warnings[0] is readable when something may have. */
bool devices_warning(struct devices *devices, char *ret, size_t size);
/* Each worker's thread. */
int devices_jail(struct devices *devices, venv_error **err);
void devices_done(struct devices *devices);

#endif
