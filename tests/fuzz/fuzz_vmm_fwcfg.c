/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg as a guest's firmware uses it, and as none would: selectors, reads of every size, DMA to anywhere. What a
 * file holds never changes, and nothing but it and zeroes comes out.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/state.h"
#include "platform/fwcfg.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	STEPS_MAX = 64,
	SELECTOR = 0,
	DATA = 1,
	DMA_HIGH = 4,
	DMA_LOW = 8,
	FIRST_FILE = 0x20 + 3, /* behind the items that are always there */
	FILE_SIZE = 300,
	TARGET = 0x10000,
};

struct world {
	struct mem mem;
	struct fwcfg fwcfg;
	uint8_t file[FILE_SIZE];
};

static void make(struct world *w)
{
	for (size_t i = 0; i < FILE_SIZE; i++)
		w->file[i] = (uint8_t)(i * 7 + 1);
	must(mem_init(&w->mem, MEM_ALIGN, -1, 0, NULL) == 0);
	must(fwcfg_init(&w->fwcfg, &w->mem) == 0);
	must(fwcfg_add_file(&w->fwcfg, "etc/file", w->file, FILE_SIZE) == 0);
	must(fwcfg_add_file(&w->fwcfg, "etc/empty", "", 0) == 0);
	must(fwcfg_add(&w->fwcfg, 0x05, "\1", 2) == 0);
}

static void select_key(struct world *w, uint16_t key)
{
	fwcfg_ops.write(&w->fwcfg, SELECTOR, &key, sizeof(key));
}

/* The whole file by DMA, whatever went before. */
static void check_file(struct world *w)
{
	const uint32_t control = __builtin_bswap32(FIRST_FILE << 16 | 8 | 2);
	const uint32_t length = __builtin_bswap32(FILE_SIZE + 20);
	const uint64_t target = __builtin_bswap64(TARGET), at = 0x1000;
	const uint32_t half = __builtin_bswap32((uint32_t)at), none = 0;
	const uint8_t *got = mem_at(&w->mem, TARGET, FILE_SIZE + 20);
	uint32_t said = 1;

	must(mem_write(&w->mem, at, &control, 4) == 0 &&
	     mem_write(&w->mem, at + 4, &length, 4) == 0 &&
	     mem_write(&w->mem, at + 8, &target, 8) == 0);
	fwcfg_ops.write(&w->fwcfg, DMA_HIGH, &none, 4);
	fwcfg_ops.write(&w->fwcfg, DMA_LOW, &half, 4);
	must(mem_read(&w->mem, at, &said, 4) == 0 && said == 0);
	must(memcmp(got, w->file, FILE_SIZE) == 0);
	for (size_t i = 0; i < 20; i++)
		must(got[FILE_SIZE + i] == 0);
}

static void save_and_load(struct world *w)
{
	struct state_writer writer;
	struct state_reader reader;
	int fd = memfd_create("state", MFD_CLOEXEC);

	state_writer_init(&writer, fd);
	must(fwcfg_save(&w->fwcfg, &writer) == 0 && state_finish(&writer) == 0);
	state_writer_done(&writer);
	fwcfg_reset(&w->fwcfg);
	must(state_reader_open(&reader, fd, NULL) == 0 && fwcfg_load(&w->fwcfg, &reader) == 0);
	state_reader_done(&reader);
	(void)close(fd);
}

/* A request somewhere, which may lie at its own target, across the end of memory, beyond it. */
static void request(struct world *w, struct input *in)
{
	uint64_t at = take(in, 3);
	uint8_t bytes[16];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)take(in, 1);
	(void)mem_write(&w->mem, at, bytes, sizeof(bytes));
	at = __builtin_bswap32((uint32_t)at);
	fwcfg_ops.write(&w->fwcfg, DMA_LOW, &at, 4);
}

static void step(struct world *w, struct input *in)
{
	uint32_t op = take(in, 1);
	uint8_t data[8] = { 0 };
	uint32_t value;

	switch (op & 7) {
	case 0:
		select_key(w, (uint16_t)take(in, 2));
		break;
	case 1:
		fwcfg_ops.read(&w->fwcfg, op >> 3 & 15, data, (size_t)1 << (op >> 6));
		break;
	case 2:
		value = take(in, 4);
		fwcfg_ops.write(&w->fwcfg, op >> 3 & 15, &value, (size_t)1 << (op >> 6 & 1));
		break;
	case 3:
		value = take(in, 4);
		fwcfg_ops.write(&w->fwcfg, DMA_HIGH, &value, 4);
		break;
	case 4:
	case 5:
		request(w, in);
		break;
	case 6:
		save_and_load(w);
		break;
	default:
		select_key(w, FIRST_FILE);
		for (size_t i = 0; i < (op >> 3); i++) {
			fwcfg_ops.read(&w->fwcfg, DATA, data, 1);
			must(data[0] == w->file[i]);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct input in = { data, size };

	if (!w.fwcfg.n_items)
		make(&w);
	fwcfg_reset(&w.fwcfg);
	for (unsigned i = 0; i < STEPS_MAX && in.left; i++)
		step(&w, &in);
	check_file(&w);
	return 0;
}
