/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SeaBIOS as distributions ship it (bios-microvm.bin, bios-256k.bin), for disks with a boot loader.
 *
 * The image is mapped below 4 GiB, where the processor starts, and copied as a whole to end at 1 MiB:
 * SeaBIOS would do that itself if it knew how to unlock that memory on our host bridge.
 */
#ifndef VMM_FIRMWARE_H
#define VMM_FIRMWARE_H

#include "boot.h"
#include "machine/cpus.h"
#include "platform/fwcfg.h"

struct firmware {
	void *rom; /* to be mapped so that it ends at LAYOUT_ROM_END; whole pages */
	uint64_t size;
};

/* VENV_ERR_INVALID: no image of 64, 128 or 256 KiB. name: in messages, or NULL */
int firmware_init(struct firmware *firmware, int fd, const char *name, venv_error **err);
void firmware_done(struct firmware *firmware);
/* Also for a reboot. */
int firmware_boot(const struct firmware *firmware, const struct mem *mem, struct boot_entry *ret,
		  venv_error **err);
/* Tell it what machine this is. boot_order: lines for "bootorder", or NULL. */
int firmware_describe(struct fwcfg *fwcfg, const struct mem *mem, struct cpus cpus,
		      const char *boot_order, venv_error **err);

#endif
