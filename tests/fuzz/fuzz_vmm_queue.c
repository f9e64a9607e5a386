/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue over memory that the guest fills as it likes: the input is where the rings lie (they may
 * overlap), what is in memory, and what device and guest do then. Buffers must stay within RAM, and what a
 * device writes into them may change the rings.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/input.h"
#include "virtio/queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	RAM = 2 << 20,
	USED_RAM = 64 * 1024, /* what the input reaches, and what is cleared after it */
	STEPS_MAX = 512,
};

static void check_iov(const struct mem *mem, const struct iovec *iov, size_t n, uint64_t expected)
{
	const uint8_t *start = mem->region[0].host;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *at = iov[i].iov_base;

		must(iov[i].iov_len && at >= start && at < start + RAM);
		must(iov[i].iov_len <= (size_t)(start + RAM - at));
		sum += iov[i].iov_len;
	}
	must(sum == expected);
}

static void check_chain(const struct virtq *queue, const struct virtq_chain *chain)
{
	must(chain->head < queue->size && chain->n_read + chain->n_write <= queue->size);
	check_iov(queue->mem, chain->iov, chain->n_read, chain->read_size);
	check_iov(queue->mem, chain->iov + chain->n_read, chain->n_write, chain->write_size);
}

/* What devices do with a request. */
static void use(struct virtq *queue, struct virtq_chain *chain, struct input *in)
{
	static uint8_t scratch[4096];
	struct iovec iov[8];
	uint32_t n = take(in, 2);
	int r;

	must(virtq_chain_read(chain, scratch, n % sizeof(scratch)) <= n);
	(void)virtq_chain_peek(chain);
	must(virtq_chain_skip(chain, n % 7) <= 7);
	(void)virtq_chain_write(chain, scratch, n % 97);
	r = virtq_chain_read_iov(chain, n % 1000, iov, 1 + n % 8);
	if (r >= 0)
		check_iov(queue->mem, iov, (size_t)r, n % 1000);
	r = virtq_chain_write_iov(chain, n % 1001, iov, 1 + n % 8);
	if (r >= 0)
		check_iov(queue->mem, iov, (size_t)r, n % 1001);
	must(chain->read_done <= chain->read_size && chain->write_done <= chain->write_size);
}

static void step(struct virtq *queue, struct virtq_chain *chain, struct input *in, uint8_t *ram)
{
	uint32_t op = take(in, 1), n;

	switch (op % 8) {
	case 0:
	case 1:
	case 2:
		if (virtq_pop(queue, chain) != 1)
			return;
		check_chain(queue, chain);
		if (op & 0x10)
			use(queue, chain, in);
		if (op & 0x20)
			virtq_push(queue, chain->head, chain->write_done);
		return;
	case 3:
		virtq_push(queue, (uint16_t)take(in, 2), take(in, 4));
		return;
	case 4:
		(void)virtq_should_signal(queue);
		return;
	case 5:
		(void)virtq_listen(queue);
		return;
	case 6:
		virtq_mute(queue);
		return;
	default: /* the guest writes */
		n = take(in, 2) % (USED_RAM - 4);
		op = take(in, 4);
		memcpy(ram + n, &op, 4);
		return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mem mem;
	static struct virtq_chain chain;
	struct input in = { data, size };
	struct virtq queue = { .size_max = 256 };
	uint8_t *ram;
	size_t n;

	if (!mem.n_regions)
		must(mem_init(&mem, RAM, -1, 0, NULL) == 0);
	ram = mem.region[0].host;
	virtq_reset(&queue);
	queue.size = (uint16_t)(1U << take(&in, 1) % 9);
	queue.event_idx = take(&in, 1) & 1;
	queue.indirect = take(&in, 1) & 1;
	queue.desc = take(&in, 2) * 16;
	queue.avail = take(&in, 2) * 2;
	queue.used = take(&in, 2) * 4;
	n = take(&in, 2);
	n = MIN(n, in.left);
	memcpy(ram, in.data, n);
	in.data += n;
	in.left -= n;
	if (virtq_start(&queue, &mem) == 0)
		for (unsigned i = 0; i < STEPS_MAX && in.left; i++)
			step(&queue, &chain, &in, ram);
	memset(ram, 0, 1024 * 1024); /* 16 bits times 16 */
	return 0;
}
