/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One image of a chain, to the inside of disk/. The topmost one is what callers know as the disk: its
 * lock is held while anything below is called; the others are only read.
 */
#ifndef VENV_DISK_LAYER_H
#define VENV_DISK_LAYER_H

#include <pthread.h>

#include "disk.h"
#include "vec.h"

enum layer_kind {
	LAYER_DATA,   /* at `host` of the layer's file */
	LAYER_ZEROES, /* reads as zeroes, whatever lies below */
	LAYER_HOLE,   /* what lies below */
	LAYER_PACKED, /* compressed: ask the layer */
};

struct layer_run {
	enum layer_kind kind;
	uint64_t host;
	uint64_t length; /* at least 1 */
	bool overwrites; /* data that may be written in place */
};

struct layer_ops {
	/* Of [offset, offset + length), inside of the layer's length: how the first part is stored. */
	int (*find)(struct disk *disk, uint64_t offset, uint64_t length, struct layer_run *ret,
		    venv_error **err);
	/* Read what is LAYER_PACKED; not beyond the run that find() gave. */
	int (*unpack)(struct disk *disk, uint64_t offset, struct vec *vec, uint64_t length,
		      venv_error **err);
	int (*write)(struct disk *disk, uint64_t offset, struct vec *vec, uint64_t length,
		     venv_error **err);
	int (*zero)(struct disk *disk, uint64_t offset, uint64_t length, bool unmap,
		    venv_error **err);
	int (*discard)(struct disk *disk, uint64_t offset, uint64_t length, venv_error **err);
	int (*flush)(struct disk *disk, venv_error **err);
	bool (*is_flat)(struct disk *disk); /* fdatasync() is all that a flush has to do */
	int (*grow)(struct disk *disk, uint64_t length, venv_error **err);
	int (*check)(struct disk *disk, struct disk_check *ret, venv_error **err);
	int (*close)(struct disk *disk, venv_error **err); /* frees it, but for what is below */
};

struct disk {
	const struct layer_ops *ops;
	pthread_mutex_t lock;
	int fd;
	char *name;
	uint64_t length;
	bool read_only;
	int lost; /* errno of a flush that failed: the kernel tells it once, and may have dropped what was written */
	unsigned granularity;
	struct disk *below; /* owned; NULL: zeroes */
};

/* For the formats: fills in a layer that was allocated with zeroes. fd and name are taken over. */
int venv__layer_init(struct disk *layer, const struct layer_ops *ops, int fd, const char *name,
		     bool read_only, venv_error **err);
void venv__layer_done(struct disk *layer); /* not what is below */
int venv__layer_sync(
	struct disk *layer); /* fdatasync(); its failure stays, see `lost`. 0 or -errno */

/* Read through the chain, without the lock. Beyond the end of a layer there are zeroes. */
int venv__layer_read(struct disk *layer, uint64_t offset, struct vec *vec, uint64_t length,
		     venv_error **err);
/* How the first part is stored and, in *owner, by whom: never LAYER_HOLE. */
int venv__layer_find(struct disk *layer, uint64_t offset, uint64_t length, struct layer_run *run,
		     struct disk **owner, venv_error **err);

int venv__raw_open(int fd, const char *name, const struct disk_options *options, struct disk **ret,
		   venv_error **err);
/* ret_backing: allocated, the file below as the image names it, or NULL */
int venv__qcow2_open(int fd, const char *name, const struct disk_options *options,
		     struct disk **ret, char **ret_backing, enum disk_format *ret_format,
		     venv_error **err);
int venv__qcow2_create(int fd, const struct disk_create *create, venv_error **err);
int venv__qcow2_info(int fd, const char *name, struct disk_info *ret, venv_error **err);

#endif
