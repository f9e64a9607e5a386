/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-fs (virtio 1.2, section 5.11): brings a guest's FUSE requests to a server (fs/server.h).
 *
 * Theory of operation: requests are taken on the worker and served there at once if they can be: that is
 * what most are, and a thread to hand them to would cost more than they do. Those that may wait for the disk
 * or wait for a lock go to a pool and come back from there in any order. The lock of the device is let go
 * while a request is served. A reset drops what has not begun, waits for what has and ends the session.
 */
#ifndef VMM_VIRTIO_FS_H
#define VMM_VIRTIO_FS_H

#include "device.h"
#include "fs/server.h"

enum { VIRTIO_FS_TAG_MAX = 36, VIRTIO_FS_QUEUES_MAX = 8 };

struct virtio_fs_options {
	const char *tag;         /* what the guest mounts; 1 to 36 bytes */
	unsigned request_queues; /* 0: one */
	unsigned threads;        /* for what is slow; 0: four */
	struct fs_options fs;    /* wake and user are ours */
	void (*enter)(void);     /* called first in each of the threads; NULL is fine */
};

/* directory: stays the caller's. proc_fd: as fs_server_new().
 * @return 0, VENV_ERR_INVALID (the tag), VENV_ERR_NOMEM or VENV_ERR_SYSTEM */
int virtio_fs_new(const struct mem *mem, struct worker *worker, int directory, int proc_fd,
		  const struct virtio_fs_options *options, struct virtio_device **ret,
		  venv_error **err);
/* As fs_server_own() and fs_server_hide(), of a device that virtio_fs_new() made. */
void virtio_fs_own(struct virtio_device *device, uid_t uid, gid_t gid);
int virtio_fs_hide(struct virtio_device *device, int directory);

#endif
