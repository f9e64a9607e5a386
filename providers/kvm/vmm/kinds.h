/* SPDX-License-Identifier: Apache-2.0 */
/* How each kind of device is made from its entry in "devices" (../protocol.h). */
#ifndef VMM_KINDS_H
#define VMM_KINDS_H

#include "config.h"
#include "jail/jail.h"
#include "virtio/device.h"

struct disk;

/* What a device is made from, and what comes of it. */
struct order {
	const struct config *config; /* its descriptors stay its own */
	const json_t *json;          /* the device's entry */
	const struct mem *mem;
	struct worker *worker;
	size_t n_folders;  /* of the machine: they share what descriptors there are */
	struct disk *disk; /* of a "blk", also on failure: to be closed after the device */
};

struct kind {
	const char *name;
	int (*make)(struct order *order, struct virtio_device **ret, venv_error **err);
	/* What its worker may do. JAIL_WORKER: it shares one; others have one of their own. */
	enum jail_thread thread;
};

/* NULL: there is none. */
const struct kind *kind_find(const char *name);

#endif
