/* SPDX-License-Identifier: Apache-2.0 */
/* Scattered buffers that are worked off from the front, and input and output with all of their bytes. */
#ifndef VENV_DISK_VEC_H
#define VENV_DISK_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct vec {
	const struct iovec *iov;
	size_t n;
	size_t done; /* of iov[0] */
};

uint64_t venv__iov_length(const struct iovec *iov, size_t n);
/* The next bytes as buffers, consumed. @return how many iov; *ret_length: at most length of bytes */
size_t venv__vec_take(struct vec *vec, uint64_t length, struct iovec *iov, size_t max,
		      uint64_t *ret_length);
void venv__vec_put(struct vec *vec, const void *data, uint64_t length); /* into the buffers */
void venv__vec_zero(struct vec *vec, uint64_t length);

/* All of it, or -errno. Beyond the end of the file there are zeroes. */
int venv__vec_pread(struct vec *vec, int fd, uint64_t offset, uint64_t length);
int venv__vec_pwrite(struct vec *vec, int fd, uint64_t offset, uint64_t length);
int venv__pread_all(int fd, void *data, size_t length, uint64_t offset);
int venv__pwrite_all(int fd, const void *data, size_t length, uint64_t offset);
int venv__pwrite_zeroes(int fd, uint64_t length, uint64_t offset);
/* Zeroes without writing them where the file system can; keep: the room stays reserved. */
int venv__zero_range(int fd, uint64_t offset, uint64_t length, bool keep);
/* Give room back to the file system, if it takes it. */
void venv__punch(int fd, uint64_t offset, uint64_t length);

#endif
