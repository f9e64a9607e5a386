/* SPDX-License-Identifier: Apache-2.0 */
/* Split queues: every rule of queue.h, from the side of a guest that breaks it. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/state.h"
#include "support/vmm_driver.h"

enum {
	MIB = 1 << 20,
	SIZE = 8,
	DESC = 0x10000,
	AVAIL = 0x11000,
	USED = 0x12000,
	TABLE = 0x13000,
	BUFFER = 0x100000,
	N = VMM_DESC_NEXT,
	W = VMM_DESC_WRITE,
	I = VMM_DESC_INDIRECT,
};

struct world {
	struct mem mem;
	struct virtq queue;
	struct virtq_chain chain;
	struct vmm_desc *desc, *table;
	struct vmm_avail *avail;
	struct vmm_used *used;
};

static void init_queue(struct virtq *queue)
{
	*queue = (struct virtq){ .size_max = 256 };
	virtq_reset(queue);
	queue->size = SIZE;
	queue->desc = DESC;
	queue->avail = AVAIL;
	queue->used = USED;
	queue->indirect = true;
	queue->enabled = true;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_int_equal(mem_init(&w->mem, 8 * MIB, -1, 0, NULL), 0);
	w->desc = mem_at(&w->mem, DESC, 4096);
	w->table = mem_at(&w->mem, TABLE, 4096);
	w->avail = mem_at(&w->mem, AVAIL, 4096);
	w->used = mem_at(&w->mem, USED, 4096);
	init_queue(&w->queue);
	assert_int_equal(virtq_start(&w->queue, &w->mem), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	mem_done(&w->mem);
	free(w);
	return 0;
}

static void restart(struct world *w)
{
	init_queue(&w->queue);
	memset(w->desc, 0, 4096);
	memset(w->table, 0, 4096);
	memset(w->avail, 0, 4096);
	memset(w->used, 0, 4096);
	assert_int_equal(virtq_start(&w->queue, &w->mem), 0);
}

static void offer(struct world *w, uint16_t head)
{
	w->avail->ring[w->avail->idx % w->queue.size] = head;
	w->avail->idx++;
}

static void start_checks_rings(void **state)
{
	static const struct {
		uint16_t size;
		uint64_t desc, avail, used;
		int result;
	} cases[] = {
		{ 8, DESC, AVAIL, USED, 0 },
		{ 1, DESC, AVAIL, USED, 0 },
		{ 256, DESC, AVAIL, USED, 0 },
		{ 0, DESC, AVAIL, USED, -EINVAL },
		{ 3, DESC, AVAIL, USED, -EINVAL },
		{ 512, DESC, AVAIL, USED, -EINVAL }, /* above size_max */
		{ 0x8000, DESC, AVAIL, USED, -EINVAL },
		{ 8, DESC + 8, AVAIL, USED, -EINVAL },
		{ 8, DESC, AVAIL + 1, USED, -EINVAL },
		{ 8, DESC, AVAIL + 2, USED, 0 },
		{ 8, DESC, AVAIL, USED + 2, -EINVAL },
		{ 8, DESC, AVAIL, USED + 4, 0 },
		{ 8, 8 * MIB - 128, AVAIL, USED, 0 },
		{ 8, 8 * MIB - 112, AVAIL, USED, -EINVAL }, /* over the end of RAM */
		{ 8, DESC, 8 * MIB - 22, USED, 0 },
		{ 8, DESC, 8 * MIB - 20, USED, -EINVAL }, /* with used_event */
		{ 8, DESC, AVAIL, 8 * MIB - 72, 0 },
		{ 8, DESC, AVAIL, 8 * MIB - 68, -EINVAL },
		{ 8, MEM_HOLE, AVAIL, USED, -EINVAL },
		{ 8, 0xfee00000, AVAIL, USED, -EINVAL },
		{ 8, UINT64_MAX - 15, AVAIL, USED, -EINVAL },
		{ 8, DESC, UINT64_MAX - 1, USED, -EINVAL },
		{ 8, DESC, AVAIL, UINT64_MAX - 3, -EINVAL },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		init_queue(&w->queue);
		w->queue.size = cases[i].size;
		w->queue.desc = cases[i].desc;
		w->queue.avail = cases[i].avail;
		w->queue.used = cases[i].used;
		assert_int_equal(virtq_start(&w->queue, &w->mem), cases[i].result);
		assert_int_equal(w->queue.started, cases[i].result == 0);
	}
}

static void a_stopped_queue_is_silent(void **state)
{
	struct world *w = *state;

	virtq_reset(&w->queue);
	assert_int_equal(w->queue.size, 256);
	assert_int_equal(virtq_pop(&w->queue, &w->chain), 0);
	virtq_push(&w->queue, 0, 0);
	assert_false(virtq_should_signal(&w->queue));
	assert_false(virtq_listen(&w->queue));
	virtq_mute(&w->queue);
}

/* Chains: the queue's descriptors, the indirect table's, and what the device makes of it. */
static const struct chain_case {
	const char *what;
	struct vmm_desc desc[SIZE];
	struct vmm_desc table[SIZE + 2];
	uint16_t head;
	int result;
	uint16_t n_read, n_write;
	uint32_t read_size, write_size;
} chains[] = {
	{ "one to read", { { BUFFER, 10, 0, 0 } }, { { 0 } }, 0, 1, 1, 0, 10, 0 },
	{ "one to write", { { BUFFER, 10, W, 0 } }, { { 0 } }, 0, 1, 0, 1, 0, 10 },
	{ "both",
	  { { BUFFER, 10, N, 1 }, { BUFFER, 20, N | W, 2 }, { BUFFER, 30, W, 0 } },
	  { { 0 } },
	  0,
	  1,
	  1,
	  2,
	  10,
	  50 },
	{ "backwards",
	  { { BUFFER, 30, W, 7 }, { BUFFER, 20, N, 0 }, { BUFFER, 10, N, 1 } },
	  { { 0 } },
	  2,
	  1,
	  2,
	  1,
	  30,
	  30 },
	{ "empty ones are skipped",
	  { { BUFFER, 0, N, 1 }, { 0xffffffffff, 0, N, 2 }, { BUFFER, 5, N, 3 }, { 0, 0, W, 0 } },
	  { { 0 } },
	  0,
	  1,
	  1,
	  0,
	  5,
	  0 },
	{ "nothing but empty", { { BUFFER, 0, 0, 0 } }, { { 0 } }, 0, 1, 0, 0, 0, 0 },
	{ "as long as the queue",
	  { { BUFFER, 1, N, 1 },
	    { BUFFER, 1, N, 2 },
	    { BUFFER, 1, N, 3 },
	    { BUFFER, 1, N, 4 },
	    { BUFFER, 1, N, 5 },
	    { BUFFER, 1, N, 6 },
	    { BUFFER, 1, N, 7 },
	    { BUFFER, 1, 0, 0 } },
	  { { 0 } },
	  0,
	  1,
	  8,
	  0,
	  8,
	  0 },
	{ "a loop of one", { { BUFFER, 1, N, 0 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "a loop of empty ones",
	  { { BUFFER, 0, N, 1 }, { BUFFER, 0, N, 0 } },
	  { { 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
	{ "next beyond the queue", { { BUFFER, 1, N, 8 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "next far beyond", { { BUFFER, 1, N, 0xffff } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "head beyond the queue", { { BUFFER, 1, 0, 0 } }, { { 0 } }, 8, -EPROTO, 0, 0, 0, 0 },
	{ "head far beyond", { { BUFFER, 1, 0, 0 } }, { { 0 } }, 0xffff, -EPROTO, 0, 0, 0, 0 },
	{ "read after write",
	  { { BUFFER, 1, N | W, 1 }, { BUFFER, 1, 0, 0 } },
	  { { 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
	{ "unknown flag", { { BUFFER, 1, 8, 0 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "flag of packed rings", { { BUFFER, 1, 0x80, 0 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "all of RAM", { { 0, 8 * MIB, W, 0 } }, { { 0 } }, 0, 1, 0, 1, 0, 8 * MIB },
	{ "a byte more", { { 0, 8 * MIB + 1, W, 0 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "the last byte", { { 8 * MIB - 1, 1, W, 0 } }, { { 0 } }, 0, 1, 0, 1, 0, 1 },
	{ "over the end", { { 8 * MIB - 1, 2, W, 0 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "length near 2^32", { { BUFFER, 0xffffffff, W, 0 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "address that wraps",
	  { { UINT64_MAX - 3, 8, W, 0 } },
	  { { 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
	{ "in the hole", { { MEM_HOLE, 8, 0, 0 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "in the ROM", { { 0xfffffff0, 8, W, 0 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "in a device's window", { { 0xfee00000, 4, W, 0 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "a table",
	  { { TABLE, 32, I, 0 } },
	  { { BUFFER, 10, N, 1 }, { BUFFER, 20, W, 0 } },
	  0,
	  1,
	  1,
	  1,
	  10,
	  20 },
	{ "a table after descriptors",
	  { { BUFFER, 4, N, 1 }, { TABLE, 32, I | W, 0 } },
	  { { BUFFER, 10, N, 1 }, { BUFFER, 20, W, 0 } },
	  0,
	  1,
	  2,
	  1,
	  14,
	  20 },
	{ "a table with room to spare",
	  { { TABLE, 128, I, 0 } },
	  { { BUFFER, 10, 0, 0 } },
	  0,
	  1,
	  1,
	  0,
	  10,
	  0 },
	{ "a table at an odd address", { { TABLE + 1, 16, I, 0 } }, { { 0 } }, 0, 1, 0, 0, 0, 0 },
	{ "a table larger than the queue",
	  { { TABLE, 144, I, 0 } },
	  { { BUFFER, 10, 0, 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
	{ "a table of a strange length",
	  { { TABLE, 24, I, 0 } },
	  { { BUFFER, 10, 0, 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
	{ "an empty table", { { TABLE, 0, I, 0 } }, { { 0 } }, 0, -EPROTO, 0, 0, 0, 0 },
	{ "a table that goes on",
	  { { TABLE, 16, I | N, 1 }, { BUFFER, 1, 0, 0 } },
	  { { BUFFER, 10, 0, 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
	{ "a table in a table",
	  { { TABLE, 32, I, 0 } },
	  { { TABLE + 16, 16, I, 0 }, { BUFFER, 1, 0, 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
	{ "a table outside of RAM",
	  { { 8 * MIB - 16, 32, I, 0 } },
	  { { 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
	{ "a loop in a table",
	  { { TABLE, 32, I, 0 } },
	  { { BUFFER, 1, N, 1 }, { BUFFER, 1, N, 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
	{ "next beyond the table",
	  { { TABLE, 32, I, 0 } },
	  { { BUFFER, 1, N, 2 }, { BUFFER, 1, 0, 0 }, { BUFFER, 1, 0, 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
	{ "descriptors and table longer than the queue",
	  { { BUFFER, 1, N, 1 }, { TABLE, 128, I, 0 } },
	  { { BUFFER, 1, N, 1 },
	    { BUFFER, 1, N, 2 },
	    { BUFFER, 1, N, 3 },
	    { BUFFER, 1, N, 4 },
	    { BUFFER, 1, N, 5 },
	    { BUFFER, 1, N, 6 },
	    { BUFFER, 1, N, 7 },
	    { BUFFER, 1, 0, 0 } },
	  0,
	  -EPROTO,
	  0,
	  0,
	  0,
	  0 },
};

static void chains_are_checked(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		const struct chain_case *c = &chains[i];

		restart(w);
		memcpy(w->desc, c->desc, sizeof(c->desc));
		memcpy(w->table, c->table, sizeof(c->table));
		offer(w, c->head);
		if (virtq_pop(&w->queue, &w->chain) != c->result)
			fail_msg("%s", c->what);
		assert_int_equal(w->queue.broken, c->result < 0);
		if (c->result < 0) { /* for good */
			assert_int_equal(virtq_pop(&w->queue, &w->chain), -EPROTO);
			assert_false(virtq_should_signal(&w->queue));
			continue;
		}
		if (w->chain.n_read != c->n_read || w->chain.n_write != c->n_write ||
		    w->chain.read_size != c->read_size || w->chain.write_size != c->write_size)
			fail_msg("%s: other sizes", c->what);
	}
}

static void tables_are_for_those_who_asked(void **state)
{
	struct world *w = *state;

	w->queue.indirect = false;
	w->desc[0] = (struct vmm_desc){ TABLE, 16, I, 0 };
	w->table[0] = (struct vmm_desc){ BUFFER, 16, 0, 0 };
	offer(w, 0);
	assert_int_equal(virtq_pop(&w->queue, &w->chain), -EPROTO);
}

/* Sums of lengths fit 32 bits, also where there is RAM enough for more. */
static void sums_are_bounded(void **state)
{
	struct mem mem;
	struct virtq queue;
	struct virtq_chain *chain = calloc(1, sizeof(*chain));
	struct vmm_desc *desc;
	struct vmm_avail *avail;

	(void)state;
	assert_int_equal(mem_init(&mem, MEM_HOLE, -1, 0, NULL), 0);
	init_queue(&queue);
	assert_int_equal(virtq_start(&queue, &mem), 0);
	desc = mem_at(&mem, DESC, 4096);
	avail = mem_at(&mem, AVAIL, 4096);
	desc[0] = (struct vmm_desc){ 0, 0x80000000, N | W, 1 };
	desc[1] = (struct vmm_desc){ 0, 0x7fffffff, W, 0 };
	desc[2] = (struct vmm_desc){ 0, 0x80000000, N | W, 3 };
	desc[3] = (struct vmm_desc){ 0, 0x80000000, W, 0 };
	avail->ring[1] = 2;
	avail->idx = 2;
	assert_int_equal(virtq_pop(&queue, chain), 1);
	assert_int_equal(chain->write_size, 0xffffffff);
	assert_int_equal(virtq_pop(&queue, chain), -EPROTO);
	mem_done(&mem);
	free(chain);
}

static void avail_does_not_jump(void **state)
{
	static const struct {
		uint16_t idx;
		int result;
	} cases[] = { { 0, 0 },           { 1, 1 }, { 8, 1 }, { 9, -EPROTO }, { 0x8000, -EPROTO },
		      { 0xffff, -EPROTO } };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		restart(w);
		w->desc[0] = (struct vmm_desc){ BUFFER, 1, 0, 0 };
		w->avail->idx = cases[i].idx;
		assert_int_equal(virtq_pop(&w->queue, &w->chain), cases[i].result);
	}
}

static void a_head_comes_once(void **state)
{
	struct world *w = *state;

	w->desc[3] = (struct vmm_desc){ BUFFER, 1, W, 0 };
	offer(w, 3);
	assert_int_equal(virtq_pop(&w->queue, &w->chain), 1);
	virtq_push(&w->queue, 3, 1);
	offer(w, 3); /* again, after it came back */
	offer(w, 3); /* and again, before */
	assert_int_equal(virtq_pop(&w->queue, &w->chain), 1);
	assert_int_equal(virtq_pop(&w->queue, &w->chain), -EPROTO);
}

static void push_gives_back_what_was_taken(void **state)
{
	struct world *w = *state;

	w->desc[1] = (struct vmm_desc){ BUFFER, 1, W, 0 };
	w->desc[2] = (struct vmm_desc){ BUFFER, 1, W, 0 };
	virtq_push(&w->queue, 1, 1);      /* never taken */
	virtq_push(&w->queue, 0xffff, 1); /* nonsense */
	assert_int_equal(w->used->idx, 0);
	offer(w, 1);
	offer(w, 2);
	assert_int_equal(virtq_pop(&w->queue, &w->chain), 1);
	assert_int_equal(virtq_pop(&w->queue, &w->chain), 1);
	virtq_push(&w->queue, 2, 7); /* in any order */
	virtq_push(&w->queue, 2, 7); /* once */
	virtq_push(&w->queue, 1, 9);
	assert_int_equal(w->used->idx, 2);
	assert_int_equal(w->used->ring[0].id, 2);
	assert_int_equal(w->used->ring[0].length, 7);
	assert_int_equal(w->used->ring[1].id, 1);
	assert_int_equal(w->used->ring[1].length, 9);
}

static void indices_wrap(void **state)
{
	struct world *w = *state;

	w->desc[0] = (struct vmm_desc){ BUFFER, 1, W, 0 };
	for (unsigned i = 0; i < 70000; i++) {
		offer(w, 0);
		assert_int_equal(virtq_pop(&w->queue, &w->chain), 1);
		virtq_push(&w->queue, 0, 1);
	}
	assert_int_equal(w->used->idx, (uint16_t)70000);
	assert_int_equal(virtq_pop(&w->queue, &w->chain), 0);
}

static void complete_one(struct world *w)
{
	offer(w, 0);
	assert_int_equal(virtq_pop(&w->queue, &w->chain), 1);
	virtq_push(&w->queue, 0, 0);
}

static void signals_by_flag(void **state)
{
	struct world *w = *state;

	complete_one(w);
	assert_true(virtq_should_signal(&w->queue));
	w->avail->flags = 1;
	complete_one(w);
	assert_false(virtq_should_signal(&w->queue));
}

static void signals_by_event(void **state)
{
	struct world *w = *state;
	uint16_t *event = &w->avail->ring[SIZE];

	w->queue.event_idx = true;
	*event = 0;
	complete_one(w);
	assert_true(virtq_should_signal(&w->queue)); /* 0 was passed */
	complete_one(w);
	assert_false(virtq_should_signal(&w->queue));
	*event = 4;
	complete_one(w);
	complete_one(w);
	assert_false(virtq_should_signal(&w->queue));
	complete_one(w); /* the fifth: index 4 */
	assert_true(virtq_should_signal(&w->queue));
	*event = 0x7000; /* never, or long ago: no harm */
	complete_one(w);
	assert_false(virtq_should_signal(&w->queue));
}

static void doorbells_by_flag(void **state)
{
	struct world *w = *state;

	virtq_mute(&w->queue);
	assert_int_equal(w->used->flags, 1);
	assert_false(virtq_listen(&w->queue));
	assert_int_equal(w->used->flags, 0);
	virtq_mute(&w->queue);
	offer(w, 0);
	assert_true(virtq_listen(&w->queue)); /* nobody rang for it */
}

static void doorbells_by_event(void **state)
{
	struct world *w = *state;
	const uint16_t *event = (const uint16_t *)(const void *)&w->used->ring[SIZE];

	w->queue.event_idx = true;
	complete_one(w);
	virtq_mute(&w->queue);
	assert_int_equal(w->used->flags, 0);
	assert_int_equal(*event, 0);
	assert_false(virtq_listen(&w->queue));
	assert_int_equal(*event, 1);
}

static void pop_three(struct world *w)
{
	w->desc[0] = (struct vmm_desc){ BUFFER, 3, N, 1 };
	w->desc[1] = (struct vmm_desc){ BUFFER + 0x1000, 5, N, 2 };
	w->desc[2] = (struct vmm_desc){ BUFFER + 0x2000, 4, N | W, 3 };
	w->desc[3] = (struct vmm_desc){ BUFFER + 0x3000, 4, W, 0 };
	assert_int_equal(mem_write(&w->mem, BUFFER, "abc", 3), 0);
	assert_int_equal(mem_write(&w->mem, BUFFER + 0x1000, "defgh", 5), 0);
	offer(w, 0);
	assert_int_equal(virtq_pop(&w->queue, &w->chain), 1);
}

static void chains_are_consumed_by_copying(void **state)
{
	struct world *w = *state;
	char text[16] = { 0 };

	pop_three(w);
	assert_int_equal(virtq_chain_peek(&w->chain).iov_len, 3);
	assert_int_equal(virtq_chain_read(&w->chain, text, 2), 2);
	assert_int_equal(virtq_chain_read(&w->chain, text + 2, 4), 4);
	assert_string_equal(text, "abcdef");
	assert_int_equal(virtq_chain_skip(&w->chain, 1), 1);
	assert_int_equal(virtq_chain_read(&w->chain, text, 16), 1);
	assert_int_equal(text[0], 'h');
	assert_int_equal(virtq_chain_read(&w->chain, text, 16), 0);
	assert_int_equal(virtq_chain_peek(&w->chain).iov_len, 0);
	assert_int_equal(w->chain.read_done, 8);
	assert_int_equal(virtq_chain_write(&w->chain, "12345", 5), 5);
	assert_int_equal(virtq_chain_write(&w->chain, "6789", 4), 3);
	assert_int_equal(w->chain.write_done, 8);
	assert_memory_equal(mem_at(&w->mem, BUFFER + 0x2000, 4), "1234", 4);
	assert_memory_equal(mem_at(&w->mem, BUFFER + 0x3000, 5), "5678\0", 5);
}

static void chains_are_consumed_as_buffers(void **state)
{
	struct world *w = *state;
	struct iovec iov[4];

	pop_three(w);
	assert_int_equal(virtq_chain_read_iov(&w->chain, 9, iov, 4), -ENOSPC);
	assert_int_equal(virtq_chain_read_iov(&w->chain, 4, iov, 1), -ENOSPC);
	assert_int_equal(w->chain.read_done, 0); /* nothing was consumed */
	assert_int_equal(virtq_chain_read_iov(&w->chain, 4, iov, 4), 2);
	assert_int_equal(iov[0].iov_len, 3);
	assert_int_equal(iov[1].iov_len, 1);
	assert_int_equal(virtq_chain_read_iov(&w->chain, 0, iov, 0), 0);
	assert_int_equal(virtq_chain_read_iov(&w->chain, 4, iov, 1), 1);
	assert_memory_equal(iov[0].iov_base, "efgh", 4);
	assert_int_equal(virtq_chain_write_iov(&w->chain, 8, iov, 2), 2);
	assert_ptr_equal(iov[1].iov_base, mem_at(&w->mem, BUFFER + 0x3000, 4));
	assert_int_equal(virtq_chain_write_iov(&w->chain, 1, iov, 2), -ENOSPC);
}

static void state_survives(void **state)
{
	struct world *w = *state;
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;
	struct virtq copy;

	w->desc[5] = (struct vmm_desc){ BUFFER, 1, W, 0 };
	complete_one(w);
	offer(w, 5);
	assert_int_equal(virtq_pop(&w->queue, &w->chain), 1);
	state_writer_init(&writer, fd);
	assert_int_equal(virtq_save(&w->queue, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	init_queue(&copy);
	assert_int_equal(virtq_load(&copy, &w->mem, &reader), 0);
	state_reader_done(&reader);
	assert_int_equal(copy.next_avail, 2);
	virtq_push(&copy, 5, 1);
	virtq_push(&copy, 6, 1); /* was not in flight */
	assert_int_equal(w->used->idx, 2);
	assert_int_equal(w->used->ring[1].id, 5);
	(void)close(fd);
}

/* What a file says about rings is checked like what a guest says. */
static void loaded_rings_are_checked(void **state)
{
	struct world *w = *state;
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;
	struct virtq bad = w->queue;

	bad.used = 8 * MIB - 4;
	state_writer_init(&writer, fd);
	assert_int_equal(virtq_save(&bad, &writer), 0);
	assert_int_equal(state_finish(&writer), 0);
	state_writer_done(&writer);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	init_queue(&bad);
	assert_int_equal(virtq_load(&bad, &w->mem, &reader), -EPROTO);
	state_reader_done(&reader);
	(void)close(fd);
}

/* ---- Another vCPU writes to the rings while they are read ---- */

struct flipper {
	struct world *w;
	bool stop;
};

static void *flip(void *user)
{
	struct flipper *f = user;
	struct vmm_desc *desc = &f->w->desc[0];
	uint32_t random = 1;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		random = random * 1664525 + 1013904223;
		__atomic_store_n(&desc->length, random & 1 ? 16 : 0xfffffff0, __ATOMIC_RELAXED);
		__atomic_store_n(&desc->address, random & 2 ? BUFFER : 8 * MIB - 16,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&desc->flags, (uint16_t)(random >> 8 & 7), __ATOMIC_RELAXED);
		__atomic_store_n(&desc->next, (uint16_t)(random >> 16), __ATOMIC_RELAXED);
		__atomic_store_n(&f->w->avail->ring[0], (uint16_t)(random >> 12 & 15),
				 __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Whatever was read, it was checked: what is used is RAM and the sums are its sums. */
static void check_buffers(const struct world *w)
{
	const struct virtq_chain *chain = &w->chain;
	const uint8_t *start = w->mem.region[0].host, *end = start + 8 * MIB;
	uint64_t sum = 0;

	assert_true(chain->head < SIZE);
	assert_true(chain->n_read + chain->n_write <= SIZE);
	for (unsigned i = 0; i < chain->n_read + chain->n_write; i++) {
		const uint8_t *at = chain->iov[i].iov_base;

		assert_true(at >= start && at < end);
		assert_true(chain->iov[i].iov_len <= (size_t)(end - at));
		sum += chain->iov[i].iov_len;
	}
	assert_int_equal(sum, (uint64_t)chain->read_size + chain->write_size);
}

static void bytes_that_change_are_read_once(void **state)
{
	struct world *w = *state;
	struct flipper flipper = { .w = w };
	unsigned taken = 0, broken = 0;
	uint8_t scratch[64];
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, flip, &flipper), 0);
	for (unsigned i = 0; i < 200000; i++) {
		init_queue(&w->queue);
		assert_int_equal(virtq_start(&w->queue, &w->mem), 0);
		__atomic_store_n(&w->avail->idx, 1, __ATOMIC_RELAXED);
		if (virtq_pop(&w->queue, &w->chain) < 0) {
			broken++;
			continue;
		}
		taken++;
		check_buffers(w);
		(void)virtq_chain_read(&w->chain, scratch, sizeof(scratch));
		virtq_push(&w->queue, w->chain.head, 0);
	}
	__atomic_store_n(&flipper.stop, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(taken > 0 && broken > 0);
}

/* What was popped and is not wanted yet comes again, in the same order. */
static void pops_are_undone(void **state)
{
	struct world *w = *state;

	for (uint16_t i = 0; i < 3; i++) {
		w->desc[i] = (struct vmm_desc){ BUFFER, 16, 0, 0 };
		offer(w, i);
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(virtq_pop(&w->queue, &w->chain), 1);
			assert_int_equal(w->chain.head, i);
		}
		virtq_unpop(&w->queue, 7); /* never popped */
		virtq_unpop(&w->queue, 9); /* no head at all */
		for (uint16_t i = 3; i-- && round == 0;)
			virtq_unpop(&w->queue, i);
	}
	assert_int_equal(virtq_pop(&w->queue, &w->chain), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(start_checks_rings),
		TEST(a_stopped_queue_is_silent),
		TEST(chains_are_checked),
		TEST(tables_are_for_those_who_asked),
		cmocka_unit_test(sums_are_bounded),
		TEST(avail_does_not_jump),
		TEST(a_head_comes_once),
		TEST(pops_are_undone),
		TEST(push_gives_back_what_was_taken),
		TEST(indices_wrap),
		TEST(signals_by_flag),
		TEST(signals_by_event),
		TEST(doorbells_by_flag),
		TEST(doorbells_by_event),
		TEST(chains_are_consumed_by_copying),
		TEST(chains_are_consumed_as_buffers),
		TEST(state_survives),
		TEST(loaded_rings_are_checked),
		TEST(bytes_that_change_are_read_once),
	};

	return cmocka_run_group_tests_name("vmm_queue", tests, NULL, NULL);
}
