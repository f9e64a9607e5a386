/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg: how firmware asks what machine it is on (QEMU's docs/specs/fw_cfg.rst): a selector, a data
 * port, and DMA. Items are made before the machine runs and never change; nothing can be written.
 */
#ifndef VMM_FWCFG_H
#define VMM_FWCFG_H

#include <stddef.h>
#include <stdint.h>

#include "../bus.h"
#include "../mem.h"

struct state_writer;
struct state_reader;

enum { FWCFG_ITEMS_MAX = 32, FWCFG_NAME_SIZE = 56, FWCFG_PORTS = 12 };

struct fwcfg_item {
	uint16_t key;
	char name[FWCFG_NAME_SIZE]; /* "": only by its key */
	uint8_t *data;
	uint32_t size;
};

struct fwcfg {
	pthread_mutex_t lock;
	const struct mem *mem;
	struct fwcfg_item items[FWCFG_ITEMS_MAX];
	size_t n_items;
	uint16_t selected;
	uint32_t at; /* in what is selected */
	uint64_t dma_address;
};

extern const struct bus_ops fwcfg_ops; /* FWCFG_PORTS ports */

int fwcfg_init(struct fwcfg *fwcfg, const struct mem *mem); /* 0 or -errno */
void fwcfg_done(struct fwcfg *fwcfg);
/* Copies. 0, -ENOMEM, -ENOSPC */
int fwcfg_add(struct fwcfg *fwcfg, uint16_t key, const void *data, size_t size);
int fwcfg_add_file(struct fwcfg *fwcfg, const char *name, const void *data, size_t size);
void fwcfg_reset(struct fwcfg *fwcfg);
int fwcfg_save(struct fwcfg *fwcfg, struct state_writer *writer);
int fwcfg_load(struct fwcfg *fwcfg, struct state_reader *reader);

#endif
