/* SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"

#include <errno.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "fs/pool.h"
#include "machine/state.h"

enum {
	QUEUE_SIZE = 128,
	TURN_MAX = 64,
	THREADS = 4,
	/* An answer that the guest should hear of before the next request of the turn is served. */
	LARGE = 64 << 10,
};

struct fs {
	struct virtio_device device;
	struct virtio_fs_config config;
	struct fs_server *server;
	struct fs_pool *pool;
	struct virtq_chain chain;
};

/* A request that the pool has. */
struct job {
	struct fs_job job;
	struct fs *fs;
	unsigned queue;
	uint16_t head;
	struct iovec iov[];
};

static struct fs *fs_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct fs, device);
}

/* ---- requests ----------------------------------------------------------------------------------- */

static struct fs_request request_of(const struct virtq_chain *chain, const struct iovec *iov)
{
	return (struct fs_request){
		.in = iov,
		.n_in = chain->n_read,
		.out = iov + chain->n_read,
		.n_out = chain->n_write,
	};
}

static uint32_t written(ssize_t length)
{
	return length > 0 ? (uint32_t)length : 0;
}

/* On a thread of the pool, or where it is cancelled. */
static void job_done(struct fs_job *fs_job, ssize_t length)
{
	struct job *job = CONTAINER_OF(fs_job, struct job, job);
	struct virtio_device *device = &job->fs->device;

	if (length != -ECANCELED) {
		(void)pthread_mutex_lock(&device->lock);
		virtio_complete(device, job->queue, job->head, written(length), false);
		(void)pthread_mutex_unlock(&device->lock);
	}
	free(job);
}

/* @return whether there was memory for it */
static bool hand_over(struct fs *fs, unsigned queue)
{
	const struct virtq_chain *chain = &fs->chain;
	size_t n = (size_t)chain->n_read + chain->n_write;
	struct job *job = malloc(sizeof(*job) + n * sizeof(job->iov[0]));

	if (!job)
		return false;
	*job = (struct job){ .fs = fs, .queue = queue, .head = chain->head };
	memcpy(job->iov, chain->iov, n * sizeof(job->iov[0]));
	job->job.request = request_of(chain, job->iov);
	job->job.done = job_done;
	fs_pool_submit(fs->pool, &job->job);
	return true;
}

/*
 * Without the lock: others may give back what they have done meanwhile. The chain is the worker's, and the
 * queues stay as they are, because a reset comes by the worker as well.
 */
static void serve(struct fs *fs, unsigned queue)
{
	const struct fs_request request = request_of(&fs->chain, fs->chain.iov);
	pthread_mutex_t *lock = &fs->device.lock;
	bool handed_over = false;
	ssize_t length;

	(void)pthread_mutex_unlock(lock);
	length = fs_serve(fs->server, &request, false);
	if (length == -EAGAIN) {
		handed_over = hand_over(fs, queue);
		if (!handed_over)
			length = fs_serve(fs->server, &request, true);
	}
	(void)pthread_mutex_lock(lock);
	if (!handed_over)
		virtio_complete(&fs->device, queue, fs->chain.head, written(length),
				length < LARGE);
}

static void on_notify(struct virtio_device *device, unsigned queue)
{
	struct fs *fs = fs_of(device);
	struct virtq *q = &device->queue[queue];
	unsigned n = 0;

	virtq_mute(q);
	while (n < TURN_MAX) {
		int r = virtio_pop(device, queue, &fs->chain);

		if (r < 0)
			return;
		if (r > 0) {
			serve(fs, queue);
			n++;
		} else if (!virtq_listen(q)) {
			break;
		} else {
			virtq_mute(q);
		}
	}
	if (n == TURN_MAX)
		virtio_again(device, queue);
	virtio_signal(device, queue);
}

/* ---- the device --------------------------------------------------------------------------------- */

static void on_config_read(struct virtio_device *device, uint32_t offset, void *data, size_t size)
{
	memcpy(data, (const char *)&fs_of(device)->config + offset, size);
}

/* Both without the lock, which the threads of the pool need to finish. */
static void on_reset(struct virtio_device *device)
{
	struct fs *fs = fs_of(device);

	(void)pthread_mutex_unlock(&device->lock);
	fs_pool_cancel(fs->pool);
	fs_server_reset(fs->server);
	(void)pthread_mutex_lock(&device->lock);
}

static void on_drain(struct virtio_device *device)
{
	(void)pthread_mutex_unlock(&device->lock);
	fs_pool_drain(fs_of(device)->pool);
	(void)pthread_mutex_lock(&device->lock);
}

#define FS_TAG STATE_TAG('F', 'S', ' ', ' ')
enum { FS_VERSION = 1 };

/* Nothing is being served: it was drained. */
static int on_save(struct virtio_device *device, struct state_writer *writer)
{
	struct fs *fs = fs_of(device);
	int r;

	state_begin(writer, FS_TAG, FS_VERSION);
	state_put(writer, fs->config.tag, sizeof(fs->config.tag));
	r = state_end(writer);
	return r < 0 ? r : fs_server_save(fs->server, writer);
}

static int on_load(struct virtio_device *device, struct state_reader *reader)
{
	struct fs *fs = fs_of(device);
	uint8_t tag[sizeof(fs->config.tag)];
	int r = state_enter(reader, FS_TAG, FS_VERSION);

	if (r < 0)
		return r;
	state_get(reader, tag, sizeof(tag));
	r = state_leave(reader);
	if (r == 0 && memcmp(tag, fs->config.tag, sizeof(tag)) != 0)
		r = -EPROTO;
	return r < 0 ? r : fs_server_load(fs->server, reader);
}

static void on_free(struct virtio_device *device)
{
	struct fs *fs = fs_of(device);

	if (fs->pool)
		fs_pool_cancel(fs->pool);
	virtio_device_done(device);
	fs_pool_free(fs->pool);
	fs_server_free(fs->server);
	free(fs);
}

static const struct virtio_ops fs_ops = {
	.name = "fs",
	.id = VIRTIO_ID_FS,
	.pci_class = 0x018000,
	.config_read = on_config_read,
	.reset = on_reset,
	.notify = on_notify,
	.drain = on_drain,
	.save = on_save,
	.load = on_load,
	.free = on_free,
};

static int open_server(struct fs *fs, int directory, int proc_fd,
		       const struct virtio_fs_options *options, venv_error **err)
{
	struct fs_options fs_options = options->fs;
	int r = fs_pool_new(options->threads ? options->threads : THREADS, options->enter,
			    &fs->pool, err);

	if (r < 0) {
		if (proc_fd >= 0)
			(void)close(proc_fd);
		return r;
	}
	fs_options.wake = fs_pool_wake;
	fs_options.user = fs->pool;
	r = fs_server_new(directory, proc_fd, &fs_options, &fs->server, err);
	if (r == 0)
		fs_pool_serve(fs->pool, fs->server);
	return r;
}

int virtio_fs_new(const struct mem *mem, struct worker *worker, int directory, int proc_fd,
		  const struct virtio_fs_options *options, struct virtio_device **ret,
		  venv_error **err)
{
	unsigned n = options->request_queues ? options->request_queues : 1;
	uint16_t sizes[1 + VIRTIO_FS_QUEUES_MAX];
	size_t tag = strlen(options->tag);
	struct fs *fs;
	int r;

	if (tag < 1 || tag > VIRTIO_FS_TAG_MAX || n > VIRTIO_FS_QUEUES_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "'%s' cannot be a folder's tag",
				  options->tag);
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return venv__fail_nomem(err);
	for (unsigned i = 0; i <= n; i++)
		sizes[i] = QUEUE_SIZE;
	r = open_server(fs, directory, proc_fd, options, err);
	if (r == 0)
		r = virtio_device_init(&fs->device, &fs_ops, mem, worker, 0, sizes, 1 + n, err);
	if (r < 0) {
		fs_pool_free(fs->pool);
		fs_server_free(fs->server);
		free(fs);
		return r;
	}
	memcpy(fs->config.tag, options->tag, tag);
	fs->config.num_request_queues = n;
	fs->device.config_size = sizeof(fs->config);
	*ret = &fs->device;
	return 0;
}

void virtio_fs_own(struct virtio_device *device, uid_t uid, gid_t gid)
{
	fs_server_own(fs_of(device)->server, uid, gid);
}

int virtio_fs_hide(struct virtio_device *device, int directory)
{
	return fs_server_hide(fs_of(device)->server, directory);
}
