/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place in a list of buffers, from which bytes are taken or to which they are put in order.
 *
 * The buffers are guest memory: what was taken is a copy and does not change any more.
 */
#ifndef VMM_FS_IOV_H
#define VMM_FS_IOV_H

#include <stddef.h>
#include <sys/uio.h>

struct fs_iov {
	const struct iovec *iov;
	size_t n;
	size_t at;   /* inside of iov[0] */
	size_t left; /* bytes from here to the end */
};

void fs_iov_init(struct fs_iov *v, const struct iovec *iov, size_t n);
/* Let it end after size bytes, if it does not end before. */
void fs_iov_limit(struct fs_iov *v, size_t size);
/* @return bytes, fewer than size at the end */
size_t fs_iov_take(struct fs_iov *v, void *data, size_t size);
size_t fs_iov_put(struct fs_iov *v, const void *data, size_t size);
void fs_iov_skip(struct fs_iov *v, size_t size);
/* The next size bytes as buffers for preadv() and the like; does not move on.
 * @return how many; fewer bytes than size when they end, or when max is too small */
size_t fs_iov_slice(const struct fs_iov *v, size_t size, struct iovec *ret, size_t max);

#endif
