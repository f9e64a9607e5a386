/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: three rings in guest memory, whose addresses are checked once, by virtq_start().
 * From then on there are pointers and no way to move them.
 *   avail: the guest stores entries, then avail.idx; we load avail.idx (acquire), then the entries.
 *   used:  we store entries, then used.idx (release).
 *   Notifications have the same danger on both sides: "I store X, then look at Y", while the other
 *   stores Y and then looks at X. Only a full fence between the store and the load keeps both from
 *   missing each other; there is one in virtq_listen() and one in virtq_should_signal().
 * Aligned ring fields are read by relaxed atomic loads, descriptors of indirect tables, which may lie at
 * any address, by volatile ones: in either case once, into variables that the guest cannot reach.
 */
#include "queue.h"

#include <errno.h>
#include <string.h>

#include "machine/state.h"

enum {
	DESC_SIZE = 16,
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,
	AVAIL_NO_INTERRUPT = 1,
	USED_NO_NOTIFY = 1,
	DESC_ALIGN = 16,
	AVAIL_ALIGN = 2,
	USED_ALIGN = 4,
};

struct desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
} __attribute__((packed));

struct avail {
	uint16_t flags, idx;
	uint16_t ring[]; /* size of them, then used_event */
};

struct used_entry {
	uint32_t id, length;
};

struct used {
	uint16_t flags, idx;
	struct used_entry ring[]; /* size of them, then avail_event */
};

/* ---- Starting and stopping ---- */

static void *ring_at(const struct mem *mem, uint64_t address, uint64_t size, uint64_t align)
{
	return address % align ? NULL : mem_at(mem, address, size);
}

int virtq_start(struct virtq *queue, const struct mem *mem)
{
	uint64_t size = queue->size;

	if (!size || size & (size - 1) || size > queue->size_max || size > VIRTQ_SIZE_MAX)
		return -EINVAL;
	/* with the event fields at their ends, whether they are used or not */
	queue->desc_at = ring_at(mem, queue->desc, size * DESC_SIZE, DESC_ALIGN);
	queue->avail_at = ring_at(mem, queue->avail, 6 + 2 * size, AVAIL_ALIGN);
	queue->used_at = ring_at(mem, queue->used, 6 + 8 * size, USED_ALIGN);
	if (!queue->desc_at || !queue->avail_at || !queue->used_at)
		return -EINVAL;
	queue->mem = mem;
	queue->broken = false;
	queue->next_avail = queue->next_used = queue->signalled = 0;
	queue->signalled_valid = false;
	memset(queue->in_flight, 0, sizeof(queue->in_flight));
	queue->started = true;
	return 0;
}

void virtq_reset(struct virtq *queue)
{
	*queue = (struct virtq){ .size = queue->size_max, .size_max = queue->size_max };
}

/* ---- Fields of the rings ---- */

static uint16_t load_avail_idx(const struct virtq *queue)
{
	const struct avail *avail = queue->avail_at;

	/* Acquire: what the guest stored before this index, entries and buffers, is seen after it. */
	return __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE);
}

static uint16_t *used_event(const struct virtq *queue)
{
	struct avail *avail = queue->avail_at;

	return &avail->ring[queue->size];
}

static uint16_t *avail_event(const struct virtq *queue)
{
	struct used *used = queue->used_at;

	return (uint16_t *)(void *)&used->ring[queue->size];
}

static struct desc load_desc(const uint8_t *table, uint32_t index)
{
	const volatile struct desc *desc =
		(const volatile struct desc *)(const void *)(table + index * DESC_SIZE);

	return (struct desc){ desc->address, desc->length, desc->flags, desc->next };
}

/* ---- Lending ---- */

bool virtq_can_lend(const struct virtq *queue)
{
	for (size_t i = 0; i < VIRTQ_SIZE_MAX / 64; i++)
		if (queue->in_flight[i])
			return false;
	return queue->started && !queue->broken;
}

void virtq_take_back(struct virtq *queue, uint16_t next)
{
	queue->next_avail = queue->next_used = next;
	queue->signalled_valid = false;
}

/* ---- Requests ---- */

static bool is_in_flight(const struct virtq *queue, uint16_t head)
{
	return (queue->in_flight[head / 64] >> (head % 64)) & 1;
}

static void set_in_flight(struct virtq *queue, uint16_t head, bool value)
{
	uint64_t bit = 1ULL << (head % 64);

	if (value)
		queue->in_flight[head / 64] |= bit;
	else
		queue->in_flight[head / 64] &= ~bit;
}

static int add_buffer(const struct virtq *queue, struct virtq_chain *chain, const struct desc *desc)
{
	bool write = desc->flags & DESC_WRITE;
	uint32_t *sum = write ? &chain->write_size : &chain->read_size;
	void *at;

	if (!write && chain->n_write)
		return -EPROTO;
	if (!desc->length)
		return 0;
	at = mem_at(queue->mem, desc->address, desc->length);
	if (!at || desc->length > UINT32_MAX - *sum)
		return -EPROTO;
	*sum += desc->length;
	chain->iov[chain->n_read + chain->n_write] = (struct iovec){ at, desc->length };
	if (write)
		chain->n_write++;
	else
		chain->n_read++;
	return 0;
}

/* A table of descriptors: the queue's own or an indirect one. */
struct table {
	const uint8_t *at;
	uint32_t n;
	bool indirect;
};

static int enter_indirect(const struct virtq *queue, const struct desc *desc, struct table *table)
{
	if (!queue->indirect || table->indirect || desc->flags & DESC_NEXT ||
	    desc->length % DESC_SIZE || desc->length / DESC_SIZE > queue->size)
		return -EPROTO;
	/* DESC_WRITE says nothing about a table (2.7.5.3.2) */
	table->at =
		mem_at(queue->mem, desc->address, desc->length); /* NULL: also when it is empty */
	table->n = desc->length / DESC_SIZE;
	table->indirect = true;
	return table->at ? 0 : -EPROTO;
}

static int walk(const struct virtq *queue, struct virtq_chain *chain)
{
	struct table table = { queue->desc_at, queue->size, false };
	uint32_t index = chain->head;
	uint32_t left = queue->size;

	for (;;) {
		struct desc desc;

		if (index >= table.n)
			return -EPROTO;
		desc = load_desc(table.at, index);
		if (desc.flags & ~(DESC_NEXT | DESC_WRITE | DESC_INDIRECT))
			return -EPROTO;
		if (desc.flags & DESC_INDIRECT) {
			if (enter_indirect(queue, &desc, &table) < 0)
				return -EPROTO;
			index = 0;
			continue; /* at most once: tables do not nest */
		}
		if (!left--)
			return -EPROTO;
		if (add_buffer(queue, chain, &desc) < 0)
			return -EPROTO;
		if (!(desc.flags & DESC_NEXT))
			return 0;
		index = desc.next;
	}
}

/* All but the head and iov, which is large. */
static void chain_clear(struct virtq_chain *chain)
{
	chain->n_read = chain->n_write = 0;
	chain->read_size = chain->write_size = 0;
	chain->read_at = chain->write_at = 0;
	chain->read_done = chain->write_done = 0;
}

static int fail(struct virtq *queue)
{
	queue->broken = true;
	return -EPROTO;
}

int virtq_pop(struct virtq *queue, struct virtq_chain *chain)
{
	const struct avail *avail = queue->avail_at;
	uint16_t ahead;

	if (queue->broken)
		return -EPROTO;
	if (!queue->started)
		return 0;
	ahead = (uint16_t)(load_avail_idx(queue) - queue->next_avail);
	if (!ahead)
		return 0;
	if (ahead > queue->size)
		return fail(queue);
	chain->head = __atomic_load_n(&avail->ring[queue->next_avail & (queue->size - 1)],
				      __ATOMIC_RELAXED);
	chain_clear(chain);
	if (chain->head >= queue->size || is_in_flight(queue, chain->head))
		return fail(queue);
	if (walk(queue, chain) < 0)
		return fail(queue);
	chain->write_at = chain->n_read;
	set_in_flight(queue, chain->head, true);
	queue->next_avail++;
	return 1;
}

void virtq_unpop(struct virtq *queue, uint16_t head)
{
	if (!queue->started || queue->broken || head >= queue->size || !is_in_flight(queue, head))
		return;
	set_in_flight(queue, head, false);
	queue->next_avail--;
}

void virtq_push(struct virtq *queue, uint16_t head, uint32_t written)
{
	struct used *used = queue->used_at;
	struct used_entry *entry;

	if (!queue->started || queue->broken || head >= queue->size || !is_in_flight(queue, head))
		return;
	set_in_flight(queue, head, false);
	entry = &used->ring[queue->next_used & (queue->size - 1)];
	__atomic_store_n(&entry->id, head, __ATOMIC_RELAXED);
	__atomic_store_n(&entry->length, written, __ATOMIC_RELAXED);
	queue->next_used++;
	/* Release: who sees this index sees the entry, and what the device wrote into the buffers. */
	__atomic_store_n(&used->idx, queue->next_used, __ATOMIC_RELEASE);
}

/* ---- Notifications ---- */

bool virtq_should_signal(struct virtq *queue)
{
	const struct avail *avail = queue->avail_at;
	uint16_t now = queue->next_used, before = queue->signalled;
	uint16_t event;

	if (!queue->started || queue->broken)
		return false;
	/* Full: our used.idx is out before we look at whether the guest wants to hear of it. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!queue->event_idx)
		return !(__atomic_load_n(&avail->flags, __ATOMIC_RELAXED) & AVAIL_NO_INTERRUPT);
	event = __atomic_load_n(used_event(queue), __ATOMIC_RELAXED);
	queue->signalled = now;
	if (!queue->signalled_valid) { /* nothing to compare with yet */
		queue->signalled_valid = true;
		return true;
	}
	/* Is event one of before … now - 1? (2.7.7.2) */
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

/* To be rung for at the request behind those before `idx`; has it come already? */
static bool listen_from(struct virtq *queue, uint16_t idx)
{
	struct used *used = queue->used_at;

	if (queue->event_idx)
		__atomic_store_n(avail_event(queue), idx, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&used->flags, 0, __ATOMIC_RELAXED);
	/* Full: our wish is out before we look whether the guest was faster. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load_avail_idx(queue) != idx;
}

bool virtq_listen(struct virtq *queue)
{
	return queue->started && !queue->broken && listen_from(queue, queue->next_avail);
}

void virtq_listen_behind(struct virtq *queue)
{
	/* a guest that goes on adding is not waited for: it harms itself */
	for (int i = 0; i < 4 && queue->started && !queue->broken; i++)
		if (!listen_from(queue, load_avail_idx(queue)))
			return;
}

uint16_t virtq_offered(const struct virtq *queue)
{
	return queue->started && !queue->broken ? load_avail_idx(queue) : queue->next_avail;
}

void virtq_mute(struct virtq *queue)
{
	struct used *used = queue->used_at;

	/* With event_idx the guest rings when it passes avail_event, which stays behind by itself. */
	if (queue->started && !queue->broken && !queue->event_idx)
		__atomic_store_n(&used->flags, USED_NO_NOTIFY, __ATOMIC_RELAXED);
}

/* ---- State ---- */

#define QUEUE_TAG STATE_TAG('V', 'R', 'N', 'G')
enum { QUEUE_VERSION = 1, FLAG_ENABLED = 1, FLAG_STARTED = 2, FLAG_BROKEN = 4 };

int virtq_save(const struct virtq *queue, struct state_writer *writer)
{
	state_begin(writer, QUEUE_TAG, QUEUE_VERSION);
	state_put_u8(writer, (uint8_t)((queue->enabled ? FLAG_ENABLED : 0) |
				       (queue->started ? FLAG_STARTED : 0) |
				       (queue->broken ? FLAG_BROKEN : 0)));
	state_put_u16(writer, queue->size);
	state_put_u64(writer, queue->desc);
	state_put_u64(writer, queue->avail);
	state_put_u64(writer, queue->used);
	state_put_u16(writer, queue->next_avail);
	state_put_u16(writer, queue->next_used);
	for (size_t i = 0; i < VIRTQ_SIZE_MAX / 64; i++)
		state_put_u64(writer, queue->in_flight[i]);
	return state_end(writer);
}

/* event_idx and indirect are the device's to set: they follow from the features. */
int virtq_load(struct virtq *queue, const struct mem *mem, struct state_reader *reader)
{
	uint64_t in_flight[VIRTQ_SIZE_MAX / 64];
	uint16_t next_avail, next_used;
	uint8_t flags;
	int r = state_enter(reader, QUEUE_TAG, QUEUE_VERSION);

	if (r < 0)
		return r;
	flags = state_get_u8(reader);
	queue->size = state_get_u16(reader);
	queue->desc = state_get_u64(reader);
	queue->avail = state_get_u64(reader);
	queue->used = state_get_u64(reader);
	next_avail = state_get_u16(reader);
	next_used = state_get_u16(reader);
	for (size_t i = 0; i < VIRTQ_SIZE_MAX / 64; i++)
		in_flight[i] = state_get_u64(reader);
	r = state_leave(reader);
	if (r < 0)
		return r;
	queue->enabled = flags & FLAG_ENABLED;
	if (!(flags & FLAG_STARTED))
		return 0;
	if (!queue->enabled || virtq_start(queue, mem) < 0)
		return -EPROTO;
	queue->next_avail = next_avail;
	queue->next_used = next_used;
	queue->broken = flags & FLAG_BROKEN;
	memcpy(queue->in_flight, in_flight, sizeof(in_flight));
	return 0;
}
