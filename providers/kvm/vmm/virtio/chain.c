/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buffers of a request, consumed from the front: what is used up is cut off from iov. Lengths are
 * ours since virtq_pop(); only the bytes behind the pointers are the guest's to change.
 */
#include <errno.h>
#include <string.h>

#include "queue.h"

/* One of a chain's two halves. */
struct half {
	struct iovec *iov, *end;
};

static struct half read_half(struct virtq_chain *chain)
{
	return (struct half){ &chain->iov[chain->read_at], &chain->iov[chain->n_read] };
}

static struct half write_half(struct virtq_chain *chain)
{
	return (struct half){ &chain->iov[chain->write_at],
			      &chain->iov[chain->n_read + chain->n_write] };
}

/* Cut up to size bytes off the front as one piece; an empty one at the end. */
static struct iovec take(struct half *half, size_t size)
{
	struct iovec piece = { NULL, 0 };

	if (half->iov == half->end)
		return piece;
	piece.iov_base = half->iov->iov_base;
	piece.iov_len = MIN(size, half->iov->iov_len);
	half->iov->iov_base = (char *)half->iov->iov_base + piece.iov_len;
	half->iov->iov_len -= piece.iov_len;
	if (!half->iov->iov_len)
		half->iov++;
	return piece;
}

/* data: NULL to skip */
static size_t consume(struct virtq_chain *chain, char *data, size_t size)
{
	struct half half = read_half(chain);
	size_t done = 0;

	while (done < size) {
		struct iovec piece = take(&half, size - done);

		if (!piece.iov_len)
			break;
		if (data)
			memcpy(data + done, piece.iov_base, piece.iov_len);
		done += piece.iov_len;
	}
	chain->read_at = (size_t)(half.iov - chain->iov);
	chain->read_done += (uint32_t)done;
	return done;
}

size_t virtq_chain_read(struct virtq_chain *chain, void *data, size_t size)
{
	return consume(chain, data, size);
}

size_t virtq_chain_skip(struct virtq_chain *chain, size_t size)
{
	return consume(chain, NULL, size);
}

struct iovec virtq_chain_peek(const struct virtq_chain *chain)
{
	return chain->read_at < chain->n_read ? chain->iov[chain->read_at]
					      : (struct iovec){ NULL, 0 };
}

size_t virtq_chain_write(struct virtq_chain *chain, const void *data, size_t size)
{
	struct half half = write_half(chain);
	size_t done = 0;

	while (done < size) {
		struct iovec piece = take(&half, size - done);

		if (!piece.iov_len)
			break;
		memcpy(piece.iov_base, (const char *)data + done, piece.iov_len);
		done += piece.iov_len;
	}
	chain->write_at = (size_t)(half.iov - chain->iov);
	chain->write_done += (uint32_t)done;
	return done;
}

/* Does iov have room for size bytes of half, and half for size? Nothing is consumed to find out. */
static bool fits(const struct half *half, size_t size, size_t max)
{
	for (const struct iovec *iov = half->iov; size; iov++, max--) {
		if (iov == half->end || !max)
			return false;
		size -= MIN(size, iov->iov_len);
	}
	return true;
}

static int take_iov(struct half *half, size_t size, struct iovec *iov, size_t max)
{
	int n = 0;

	if (!fits(half, size, max))
		return -ENOSPC;
	while (size) {
		iov[n] = take(half, size);
		size -= iov[n++].iov_len;
	}
	return n;
}

int virtq_chain_read_iov(struct virtq_chain *chain, size_t size, struct iovec *iov, size_t max)
{
	struct half half = read_half(chain);
	int n = take_iov(&half, size, iov, max);

	if (n < 0)
		return n;
	chain->read_at = (size_t)(half.iov - chain->iov);
	chain->read_done += (uint32_t)size;
	return n;
}

int virtq_chain_write_iov(struct virtq_chain *chain, size_t size, struct iovec *iov, size_t max)
{
	struct half half = write_half(chain);
	int n = take_iov(&half, size, iov, max);

	if (n < 0)
		return n;
	chain->write_at = (size_t)(half.iov - chain->iov);
	chain->write_done += (uint32_t)size;
	return n;
}
