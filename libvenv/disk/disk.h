/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk images: raw files and qcow2, read and written through descriptors.
 *
 * The format of an image is said by whoever opens it and never guessed: a guest can write whatever it
 * likes into a raw disk, also the header of another format. The same holds for the files below an
 * overlay: the image names them with their format, and the caller's `resolve` decides which file, if
 * any, that is. What an image says is not trusted anywhere.
 *
 * Any thread may call; calls on one disk wait for each other. Lengths and offsets are bytes, of any
 * alignment. What a write, discard or write of zeroes did lasts after a flush, as on a real disk.
 */
#ifndef VENV_DISK_DISK_H
#define VENV_DISK_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "util/error.h"

enum disk_format { DISK_RAW, DISK_QCOW2 };

enum {
	DISK_CHAIN_MAX = 32,       /* images over each other */
	DISK_CLUSTER_BITS_MIN = 9, /* of qcow2 */
	DISK_CLUSTER_BITS_MAX = 21,
	DISK_CLUSTER_BITS_DEFAULT = 16,
};

struct disk;

/*
 * Open the file that image `by` (the name its opener gave it) calls `name`. ret_name: allocated, what
 * its own overlays are resolved by. Never a descriptor that can be written, never a file that the
 * owner of the store did not put there.
 */
typedef int (*disk_resolve_fn)(void *user, const char *by, const char *name, int *ret_fd,
			       char **ret_name, venv_error **err);

/* A resolver: files below a directory, without links. user: a struct disk_store. */
struct disk_store {
	int dir_fd;
	const char
		*path; /* of that directory, for images that name files absolutely; may be NULL */
};
int venv__disk_resolve_in_store(void *user, const char *by, const char *name, int *ret_fd,
				char **ret_name, venv_error **err);

struct disk_options {
	enum disk_format format;
	bool read_only;
	disk_resolve_fn resolve; /* NULL: an image over another is refused */
	void *resolve_user;
};

/*
 * fd: taken, also on failure. name: for messages and for `resolve`. Locks the file, for this process
 * alone when it is to be written: VENV_ERR_BUSY when another has it.
 * @return 0; VENV_ERR_CORRUPT, VENV_ERR_UNSUPPORTED (with the feature's name), VENV_ERR_DENIED...
 */
int venv__disk_open(int fd, const char *name, const struct disk_options *options, struct disk **ret,
		    venv_error **err);
/* Flushes and closes. NULL is fine. @return as venv__disk_flush() */
int venv__disk_close(struct disk *disk, venv_error **err);

uint64_t venv__disk_length(const struct disk *disk);
bool venv__disk_is_read_only(const struct disk *disk);
/* The size of the pieces in which room is taken and given back: a power of two. */
unsigned venv__disk_granularity(const struct disk *disk);

int venv__disk_read(struct disk *disk, uint64_t offset, void *data, size_t length,
		    venv_error **err);
int venv__disk_write(struct disk *disk, uint64_t offset, const void *data, size_t length,
		     venv_error **err);
int venv__disk_readv(struct disk *disk, uint64_t offset, const struct iovec *iov, size_t n_iov,
		     venv_error **err);
int venv__disk_writev(struct disk *disk, uint64_t offset, const struct iovec *iov, size_t n_iov,
		      venv_error **err);
/*
 * What was written before lasts from now on. Once a flush failed, all later ones do, and a driver knows that
 * what it wrote may be lost; the disk must be opened anew.
 */
int venv__disk_flush(struct disk *disk, venv_error **err);
/* Reads as zeroes afterwards. unmap: give the room back. No extent of venv__disk_map() in use there. */
int venv__disk_write_zeroes(struct disk *disk, uint64_t offset, uint64_t length, bool unmap,
			    venv_error **err);
/* A hint: the content does not matter any more. Never shows what lies below. As above on extents. */
int venv__disk_discard(struct disk *disk, uint64_t offset, uint64_t length, venv_error **err);

/*
 * For callers with input and output of their own: where the bytes from offset on lie, for reading, or
 * for overwriting in place. DISK_FILE: at `offset` of `fd`, which stays the disk's. DISK_CALL: only
 * venv__disk_readv() or _writev() will do. At most `length` bytes are answered for.
 */
enum disk_place { DISK_FILE, DISK_ZEROES, DISK_CALL };
struct disk_extent {
	enum disk_place place;
	int fd;
	uint64_t offset;
	uint64_t length; /* at least 1 */
};
int venv__disk_map(struct disk *disk, uint64_t offset, uint64_t length, bool write,
		   struct disk_extent *ret, venv_error **err);
/* The descriptor whose fdatasync() is all that a flush has to do now; -1: call venv__disk_flush() */
int venv__disk_flush_fd(struct disk *disk);
void venv__disk_flush_failed(struct disk *disk, int error); /* that fdatasync() did: an errno */

struct disk_create {
	enum disk_format format;
	uint64_t length;       /* rounded up to sectors of 512 bytes */
	unsigned cluster_bits; /* of qcow2; 0: DISK_CLUSTER_BITS_DEFAULT */
	const char *backing;   /* of qcow2: the file below as the image names it, or NULL */
	enum disk_format backing_format;
};
/* Make an empty image in an empty file. Not flushed. */
int venv__disk_create(int fd, const struct disk_create *create, venv_error **err);
/* More room at the end, which reads as zeroes; rounded up to sectors. Smaller: VENV_ERR_INVALID. */
int venv__disk_grow(struct disk *disk, uint64_t length, venv_error **err);

struct disk_info {
	enum disk_format format;
	uint64_t length;
	unsigned version; /* of qcow2, as what follows; 0: raw */
	unsigned cluster_bits;
	unsigned refcount_bits;
	unsigned n_snapshots; /* inside of the image */
	bool dirty, corrupt;
	bool zstd;
	char backing[1024]; /* "": none */
	enum disk_format backing_format;
};
/* What an image says about itself; nothing else is opened. The descriptor stays the caller's. */
int venv__disk_info(int fd, const char *name, enum disk_format format, struct disk_info *ret,
		    venv_error **err);

struct disk_check {
	uint64_t clusters; /* in use */
	uint64_t leaks;    /* counted more often than used: wasted room */
	uint64_t errors;   /* used more often than counted: data at risk */
};
/* Compare what is used with what is counted. Raw images have nothing to be compared. */
int venv__disk_check(struct disk *disk, struct disk_check *ret, venv_error **err);

static inline void venv__cleanup_disk(struct disk **disk)
{
	(void)venv__disk_close(*disk, NULL);
}
#define _cleanup_disk_ _cleanup_(venv__cleanup_disk)

#endif
