/* SPDX-License-Identifier: Apache-2.0 */
#include "fwcfg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/state.h"

enum {
	KEY_SIGNATURE = 0x00,
	KEY_ID = 0x01,
	KEY_DIRECTORY = 0x19,
	KEY_FILES = 0x20, /* the first file's */
	ID_PORTS = 1,
	ID_DMA = 2,
	PORT_SELECTOR = 0,
	PORT_DATA = 1,
	PORT_DMA = 4,
	DMA_ERROR = 1,
	DMA_READ = 2,
	DMA_SKIP = 4,
	DMA_SELECT = 8,
	DMA_WRITE = 16,
	TAG = STATE_TAG('F', 'W', 'C', 'F'),
	VERSION = 1,
};

struct dma { /* big-endian */
	uint32_t control, length;
	uint64_t address;
};

struct directory_entry { /* big-endian */
	uint32_t size;
	uint16_t key, reserved;
	char name[FWCFG_NAME_SIZE];
};

static int add(struct fwcfg *fwcfg, uint16_t key, const char *name, const void *data, size_t size)
{
	struct fwcfg_item *item;

	if (fwcfg->n_items == FWCFG_ITEMS_MAX || strlen(name) >= FWCFG_NAME_SIZE ||
	    size > UINT32_MAX)
		return -ENOSPC;
	item = &fwcfg->items[fwcfg->n_items];
	*item = (struct fwcfg_item){ .key = key, .size = (uint32_t)size };
	memcpy(item->name, name, strlen(name));
	item->data = malloc(size + 1);
	if (!item->data)
		return -ENOMEM;
	memcpy(item->data, data, size);
	fwcfg->n_items++;
	return 0;
}

int fwcfg_add(struct fwcfg *fwcfg, uint16_t key, const void *data, size_t size)
{
	return add(fwcfg, key, "", data, size);
}

static struct fwcfg_item *find(struct fwcfg *fwcfg, uint16_t key)
{
	for (size_t i = 0; i < fwcfg->n_items; i++)
		if (fwcfg->items[i].key == key)
			return &fwcfg->items[i];
	return NULL;
}

/* A number of files, then an entry for each: made again whenever a file is added. */
static int make_directory(struct fwcfg *fwcfg)
{
	struct fwcfg_item *directory = find(fwcfg, KEY_DIRECTORY);
	size_t size = sizeof(uint32_t) + FWCFG_ITEMS_MAX * sizeof(struct directory_entry);
	uint8_t *data = calloc(1, size), *at;
	uint32_t n = 0;

	if (!data)
		return -ENOMEM;
	at = data + sizeof(n);
	for (size_t i = 0; i < fwcfg->n_items; i++) {
		const struct fwcfg_item *item = &fwcfg->items[i];
		struct directory_entry entry = { .size = __builtin_bswap32(item->size),
						 .key = __builtin_bswap16(item->key) };

		if (!item->name[0])
			continue;
		memcpy(entry.name, item->name, sizeof(entry.name));
		memcpy(at, &entry, sizeof(entry));
		at += sizeof(entry);
		n++;
	}
	n = __builtin_bswap32(n);
	memcpy(data, &n, sizeof(n));
	free(directory->data);
	directory->data = data;
	directory->size = (uint32_t)(at - data);
	return 0;
}

int fwcfg_add_file(struct fwcfg *fwcfg, const char *name, const void *data, size_t size)
{
	int r = add(fwcfg, (uint16_t)(KEY_FILES + fwcfg->n_items), name, data, size);

	return r < 0 ? r : make_directory(fwcfg);
}

int fwcfg_init(struct fwcfg *fwcfg, const struct mem *mem)
{
	static const uint32_t id = ID_PORTS | ID_DMA, nothing = 0;
	int r;

	*fwcfg = (struct fwcfg){ .mem = mem };
	(void)pthread_mutex_init(&fwcfg->lock, NULL);
	r = fwcfg_add(fwcfg, KEY_SIGNATURE, "QEMU", 4);
	if (r == 0)
		r = fwcfg_add(fwcfg, KEY_ID, &id, sizeof(id));
	if (r == 0)
		r = fwcfg_add(fwcfg, KEY_DIRECTORY, &nothing, sizeof(nothing));
	if (r < 0)
		fwcfg_done(fwcfg);
	return r;
}

void fwcfg_done(struct fwcfg *fwcfg)
{
	for (size_t i = 0; i < fwcfg->n_items; i++)
		free(fwcfg->items[i].data);
	fwcfg->n_items = 0;
	(void)pthread_mutex_destroy(&fwcfg->lock);
}

static void select_item(struct fwcfg *fwcfg, uint16_t key)
{
	fwcfg->selected = key;
	fwcfg->at = 0;
}

/* The next bytes of what is selected; zeroes after its end, and for keys that are none. */
static void take(struct fwcfg *fwcfg, uint8_t *data, uint32_t size)
{
	const struct fwcfg_item *item = find(fwcfg, fwcfg->selected);
	uint32_t left = item && fwcfg->at < item->size ? item->size - fwcfg->at : 0;
	uint32_t n = MIN(size, left);

	if (data) {
		if (n)
			memcpy(data, item->data + fwcfg->at, n);
		memset(data + n, 0, size - n);
	}
	fwcfg->at += n;
}

/* Into guest memory or, to skip, nowhere. */
static uint32_t transfer(struct fwcfg *fwcfg, const struct dma *dma)
{
	uint32_t length = __builtin_bswap32(dma->length);
	uint32_t control = __builtin_bswap32(dma->control);
	uint8_t *target = NULL;

	if (control & DMA_SELECT)
		select_item(fwcfg, (uint16_t)(control >> 16));
	if (control & DMA_WRITE)
		return DMA_ERROR;
	if (length == 0 || !(control & (DMA_READ | DMA_SKIP)))
		return 0;
	if (control & DMA_READ) {
		target = mem_at(fwcfg->mem, __builtin_bswap64(dma->address), length);
		if (!target)
			return DMA_ERROR;
	}
	take(fwcfg, target, length);
	return 0;
}

static void run_dma(struct fwcfg *fwcfg)
{
	uint64_t address = fwcfg->dma_address;
	struct dma dma;

	fwcfg->dma_address = 0;
	if (mem_read(fwcfg->mem, address, &dma, sizeof(dma)) < 0)
		return;
	dma.control = __builtin_bswap32(transfer(fwcfg, &dma));
	(void)mem_write(fwcfg->mem, address, &dma.control, sizeof(dma.control));
}

static void on_read(void *user, uint64_t offset, void *data, size_t size)
{
	static const char dma_signature[] = "QEMU CFG";
	struct fwcfg *fwcfg = user;

	(void)pthread_mutex_lock(&fwcfg->lock);
	memset(data, 0, size);
	if (offset == PORT_DATA)
		take(fwcfg, data, (uint32_t)MIN(size, sizeof(uint64_t)));
	else if (offset >= PORT_DMA && offset - PORT_DMA + size <= sizeof(dma_signature) - 1)
		memcpy(data, dma_signature + (offset - PORT_DMA), size);
	(void)pthread_mutex_unlock(&fwcfg->lock);
}

static void on_write(void *user, uint64_t offset, const void *data, size_t size)
{
	struct fwcfg *fwcfg = user;
	uint16_t key = 0;
	uint32_t half = 0;

	(void)pthread_mutex_lock(&fwcfg->lock);
	if (offset == PORT_SELECTOR && size == sizeof(key)) {
		memcpy(&key, data, sizeof(key));
		select_item(fwcfg, key);
	} else if (offset == PORT_DMA && size == sizeof(half)) {
		memcpy(&half, data, sizeof(half));
		fwcfg->dma_address = (uint64_t)__builtin_bswap32(half) << 32;
	} else if (offset == PORT_DMA + 4 && size == sizeof(half)) {
		memcpy(&half, data, sizeof(half));
		fwcfg->dma_address |= __builtin_bswap32(half);
		run_dma(fwcfg);
	}
	(void)pthread_mutex_unlock(&fwcfg->lock);
}

const struct bus_ops fwcfg_ops = { .read = on_read, .write = on_write };

void fwcfg_reset(struct fwcfg *fwcfg)
{
	(void)pthread_mutex_lock(&fwcfg->lock);
	select_item(fwcfg, 0);
	fwcfg->dma_address = 0;
	(void)pthread_mutex_unlock(&fwcfg->lock);
}

int fwcfg_save(struct fwcfg *fwcfg, struct state_writer *writer)
{
	state_begin(writer, TAG, VERSION);
	state_put_u16(writer, fwcfg->selected);
	state_put_u32(writer, fwcfg->at);
	state_put_u64(writer, fwcfg->dma_address);
	return state_end(writer);
}

int fwcfg_load(struct fwcfg *fwcfg, struct state_reader *reader)
{
	int r = state_enter(reader, TAG, VERSION);

	if (r < 0)
		return r;
	fwcfg->selected = state_get_u16(reader);
	fwcfg->at = state_get_u32(reader);
	fwcfg->dma_address = state_get_u64(reader);
	return state_leave(reader);
}
