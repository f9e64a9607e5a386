/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue, the device's side (virtio 1.2, section 2.7). Knows no device and no transport.
 *
 * Everything in the rings is the guest's and may change at any time: each field is read once. What
 * breaks the rules breaks the queue (virtq_pop gives -EPROTO from then on); the device then asks for a
 * reset (device.h) and goes on living. The rules, each of them a test:
 *   - virtq_start() checks sizes, alignment and that each ring is RAM as a whole; nothing moves after it
 *   - avail.idx runs at most `size` ahead of us
 *   - a chain is not longer than the queue; indices are below its size; a writable buffer is never
 *     followed by a readable one; an indirect table is not nested, not continued, a multiple of 16 bytes
 *   - an indirect table is not larger than the queue, however little of it the chain uses
 *   - every buffer is RAM as a whole; empty ones are skipped; the sums fit 32 bits
 *   - a head that is in flight does not come again
 */
#ifndef VMM_VIRTIO_QUEUE_H
#define VMM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "../mem.h"

struct state_writer; /* machine/state.h */
struct state_reader;

enum {
	VIRTQ_SIZE_MAX = 1024,
	VIRTQ_IOV_MAX = VIRTQ_SIZE_MAX, /* buffers of a chain */
};

struct virtq {
	/* set by the transport before virtq_start() */
	uint16_t size; /* a power of two, at most size_max */
	uint16_t size_max;
	uint64_t desc, avail, used; /* the guest's addresses */
	bool enabled;
	bool event_idx, indirect; /* as negotiated */
	/* of the running queue */
	const struct mem *mem;
	bool started, broken;
	void *desc_at, *avail_at, *used_at;
	uint16_t next_avail; /* the next entry of avail to look at */
	uint16_t next_used;  /* the next entry of used to write */
	uint16_t signalled;  /* next_used when the guest was last told (event_idx) */
	bool signalled_valid;
	uint64_t in_flight[VIRTQ_SIZE_MAX / 64];
};

/* Buffers of one request: first what the device reads, then what it writes. */
struct virtq_chain {
	uint16_t head;
	uint16_t n_read, n_write; /* how many of iov */
	uint32_t read_size, write_size;
	struct iovec iov[VIRTQ_IOV_MAX];
	/* the functions below consume iov from its two beginnings */
	size_t read_at, write_at;       /* the next of iov */
	uint32_t read_done, write_done; /* bytes so far */
};

int virtq_start(struct virtq *queue, const struct mem *mem); /* 0, -EINVAL */
void virtq_reset(struct virtq *queue);                       /* keeps size_max only */
/* @return 1: a request; 0: none; -EPROTO: broken */
int virtq_pop(struct virtq *queue, struct virtq_chain *chain);
/* Undo the last virtq_pop(), of this head, which was not pushed; again for the one before it, and so on. */
void virtq_unpop(struct virtq *queue, uint16_t head);
/* Give a request back, in any order. written: bytes that the device wrote. Once per head that was
 * popped; anything else, and a queue that is broken or stopped, is left alone. */
void virtq_push(struct virtq *queue, uint16_t head, uint32_t written);
/* After the last push of a batch: does the guest want an interrupt? */
bool virtq_should_signal(struct virtq *queue);
/* Ask for doorbells, or for none while the queue is being worked off.
 * @return whether requests have come since, which nobody will ring for */
bool virtq_listen(struct virtq *queue);
/* Ask for the doorbell of the next request that is added, while those that are there stay unread. */
void virtq_listen_behind(struct virtq *queue);
/* How many requests the guest ever added, as the ring counts them. */
uint16_t virtq_offered(const struct virtq *queue);
void virtq_mute(struct virtq *queue);

/*
 * May somebody else (vhost.h) work it off from next_avail on, who finds it at desc_at, avail_at, used_at? Not while
 * requests are in flight. Nothing above is called until it is taken back: every request before `next` was answered.
 */
bool virtq_can_lend(const struct virtq *queue);
void virtq_take_back(struct virtq *queue, uint16_t next);

/* Of a queue that was started and of one that was not; what is in flight stays so. -EPROTO, -errno */
int virtq_save(const struct virtq *queue, struct state_writer *writer);
int virtq_load(struct virtq *queue, const struct mem *mem, struct state_reader *reader);

/* Copy from what the device reads, or to what it writes, going on where the last call ended.
 * @return bytes, fewer than size at the end of the buffers */
size_t virtq_chain_read(struct virtq_chain *chain, void *data, size_t size);
size_t virtq_chain_write(struct virtq_chain *chain, const void *data, size_t size);
/* The same without the bytes: what was used in place, or is not wanted. */
size_t virtq_chain_skip(struct virtq_chain *chain, size_t size);
/* The next piece that the device reads, of one buffer, not consumed; an empty one at the end. */
struct iovec virtq_chain_peek(const struct virtq_chain *chain);
/* The next size bytes as buffers, split where needed and consumed, for preadv() and the like.
 * @return how many iov were filled, or -ENOSPC (fewer than size are there, or max is too small) */
int virtq_chain_read_iov(struct virtq_chain *chain, size_t size, struct iovec *iov, size_t max);
int virtq_chain_write_iov(struct virtq_chain *chain, size_t size, struct iovec *iov, size_t max);

#endif
