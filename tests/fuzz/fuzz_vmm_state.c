/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state file as anybody may have written it: checksums are made right, so that what is behind them is
 * reached. Devices on a bus and a shared folder's session load it; what they took they must be able to save
 * and load again, and then a guest goes on with whatever queues came out of it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "machine/state.h"
#include "platform/fwcfg.h"
#include "platform/rtc.h"
#include "platform/uart.h"
#include "support/vmm_driver.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/fs.h"
#include "virtio/pci.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM = 8 << 20, DEVICES = 5, HEADER = 16, SECTION = 16, LENGTH_AT = 8, CRC_AT = 12 };

struct world {
	struct vmm_platform *platform;
	struct virtio_device *device[DEVICES];
	struct virtio_pci *transport[DEVICES];
	struct uart uart;
	struct rtc rtc;
	struct fwcfg fwcfg;
};

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void make_devices(struct world *w)
{
	const struct mem *mem = &w->platform->mem;
	struct worker *worker = w->platform->worker;
	const struct virtio_fs_options fs = { .tag = "fuzz", .threads = 1 };
	const struct virtio_vsock_options vsock = { .guest_cid = 3,
						    .directory = -1,
						    .listener = -1 };
	char path[] = "/tmp/venv-fuzz-state.XXXXXX";
	int dir = mkdtemp(path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	must(dir >= 0 && mkdirat(dir, "d", 0700) == 0);
	must(virtio_rng_new(mem, worker, &w->device[0], NULL) == 0);
	must(virtio_console_new(mem, worker, -1, -1, &w->device[1], NULL) == 0);
	must(virtio_balloon_new(mem, worker, &w->device[2], NULL) == 0);
	must(virtio_vsock_new(mem, worker, &vsock, &w->device[3], NULL) == 0);
	must(virtio_fs_new(mem, worker, dir, -1, &fs, &w->device[4], NULL) == 0);
	(void)unlinkat(dir, "d", AT_REMOVEDIR); /* the session's files are never found */
	(void)rmdir(path);
}

static void put_nothing(void *user, const void *data, size_t size)
{
	(void)user;
	(void)data;
	(void)size;
}

static void make(struct world *w)
{
	(void)umask(0);
	w->platform = vmm_platform_new(RAM, false);
	make_devices(w);
	for (unsigned i = 0; i < DEVICES; i++)
		must(virtio_pci_new(w->device[i], &w->platform->pci, i + 1, &w->platform->irq,
				    &w->transport[i], NULL) == 0);
	uart_init(&w->uart, -1, put_nothing, NULL);
	rtc_init(&w->rtc, &w->platform->mem, 1);
	must(fwcfg_init(&w->fwcfg, &w->platform->mem) == 0);
}

/* The head and the sections' checksums as they ought to be. */
static void mend(uint8_t *data, size_t size)
{
	static const uint32_t head[4] = { 0x564e4556, 0x004d4d56, 1, 62 }; /* "VENVVMM" */
	size_t at = HEADER;
	uint32_t length, crc;

	memcpy(data, head, sizeof(head));
	while (size - at >= SECTION) {
		memcpy(&length, data + at + LENGTH_AT, sizeof(length));
		if (length > size - at - SECTION)
			return;
		crc = (uint32_t)crc32(0, data + at + SECTION, length);
		memcpy(data + at + CRC_AT, &crc, sizeof(crc));
		at += SECTION + length;
	}
}

static int load(struct world *w, struct state_reader *reader)
{
	int r = uart_load(&w->uart, reader);

	if (r == 0)
		r = rtc_load(&w->rtc, reader);
	if (r == 0)
		r = fwcfg_load(&w->fwcfg, reader);
	return r < 0 ? r : pci_load(&w->platform->pci, reader);
}

static int save(struct world *w)
{
	int fd = memfd_create("state", MFD_CLOEXEC), r;
	struct state_writer writer;

	state_writer_init(&writer, fd);
	r = uart_save(&w->uart, &writer);
	if (r == 0)
		r = rtc_save(&w->rtc, &writer);
	if (r == 0)
		r = fwcfg_save(&w->fwcfg, &writer);
	if (r == 0)
		r = pci_save(&w->platform->pci, &writer);
	must(r == 0 && state_finish(&writer) == 0);
	state_writer_done(&writer);
	return fd;
}

static void reset(struct world *w)
{
	pci_reset(&w->platform->pci);
	uart_reset(&w->uart);
	fwcfg_reset(&w->fwcfg);
}

/* What was taken can be given: the same machine again. */
static void again(struct world *w)
{
	struct state_reader reader;
	int fd = save(w);

	reset(w);
	must(state_reader_open(&reader, fd, NULL) == 0);
	must(load(w, &reader) == 0);
	state_reader_done(&reader);
	(void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct state_reader reader;
	uint8_t *copy;

	if (!w.platform)
		make(&w);
	if (size < HEADER)
		return 0;
	copy = malloc(size);
	must(copy);
	memcpy(copy, data, size);
	mend(copy, size);
	reset(&w);
	if (state_reader_init(&reader, copy, size, NULL) == 0 && load(&w, &reader) == 0) {
		again(&w);
		for (unsigned i = 0; i < DEVICES; i++)
			vmm_settle(w.platform, w.device[i]);
	}
	reset(&w);
	free(copy);
	return 0;
}
