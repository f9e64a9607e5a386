/* SPDX-License-Identifier: Apache-2.0 */
#include "kinds.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "disk/disk.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/fs.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"

enum { MTU_MIN = 68, MTU_MAX = 65521 }; /* of virtio, and what fits into a frame of the TAP's */

/* ---- What the message gives ---- */

/* One more descriptor of what `object` names, the caller's. */
static int own_fd(const struct order *order, const json_t *object, const char *key, int *ret,
		  venv_error **err)
{
	int fd = config_fd(order->config, object, key);

	if (fd < 0)
		return venv__fail(err, VENV_ERR_INVALID, "no descriptor for '%s'", key);
	*ret = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return *ret < 0 ? venv__fail_errno(err, errno, "cannot use the descriptor of '%s'", key)
			: 0;
}

/* As above, of what need not be there (-1), and never blocks. */
static int own_stream(const struct order *order, const char *key, int *ret, venv_error **err)
{
	int flags, r;

	*ret = -1;
	if (!json_object_get(order->json, key))
		return 0;
	r = own_fd(order, order->json, key, ret, err);
	if (r < 0)
		return r;
	flags = fcntl(*ret, F_GETFL);
	return flags < 0 || fcntl(*ret, F_SETFL, flags | O_NONBLOCK) < 0
		       ? venv__fail_errno(err, errno, "cannot use the descriptor of '%s'", key)
		       : 0;
}

static int number(const struct order *order, const char *key, int64_t least, int64_t most,
		  int64_t *ret, venv_error **err)
{
	int64_t value = venv__json_int(order->json, key, -1);

	if (value < least || value > most)
		return venv__fail(err, VENV_ERR_INVALID, "'%s' is not from %lld to %lld", key,
				  (long long)least, (long long)most);
	*ret = value;
	return 0;
}

/* ---- Threads that a device makes for itself ---- */

/* Nobody can be told there, and no request may be served: that is the end of the process. */
static void enter(enum jail_thread thread)
{
	if (jail_thread(thread) < 0)
		abort();
}

static void enter_disk(void)
{
	enter(JAIL_DISK);
}

static void enter_folder(void)
{
	enter(JAIL_FOLDER);
}

static void enter_volume(void)
{
	enter(JAIL_VOLUME);
}

/* ---- Devices that share a worker ---- */

static int make_rng(struct order *order, struct virtio_device **ret, venv_error **err)
{
	return virtio_rng_new(order->mem, order->worker, ret, err);
}

static int make_balloon(struct order *order, struct virtio_device **ret, venv_error **err)
{
	return virtio_balloon_new(order->mem, order->worker, ret, err);
}

static int make_console(struct order *order, struct virtio_device **ret, venv_error **err)
{
	_cleanup_close_ int in = -1, out = -1;
	int r = own_fd(order, order->json, "socket", &in, err);

	if (r == 0)
		r = own_stream(order, "socket", &out, err);
	return r < 0 ? r
		     : virtio_console_new(order->mem, order->worker, take_fd(&in), take_fd(&out),
					  ret, err);
}

/* ---- Disks ---- */

/* The images of a disk from the top; what lies below the next one is behind it. */
struct images {
	const struct order *order;
	const json_t *list;
	size_t next;
};

static int open_image(struct images *images, int *ret_fd, const char **ret_name, venv_error **err)
{
	const json_t *image = json_array_get(images->list, images->next);
	const char *name = venv__json_str(image, "name");

	if (!name)
		return venv__fail(err, VENV_ERR_INVALID, "the disk has no image %zu", images->next);
	images->next++;
	*ret_name = name;
	return own_fd(images->order, image, "file", ret_fd, err);
}

/* No file is opened: the starter sent those that there may be, each under the name that it goes by. */
static int resolve(void *user, const char *by, const char *name, int *ret_fd, char **ret_name,
		   venv_error **err)
{
	struct images *images = user;
	_cleanup_close_ int fd = -1;
	const char *given = NULL;
	int r = open_image(images, &fd, &given, err);

	if (r < 0)
		return venv__wrap(r, err, "image '%s'", by);
	if (strcmp(given, name) != 0)
		return venv__fail(err, VENV_ERR_DENIED, "image '%s' lies on '%s', not on '%s'", by,
				  name, given);
	if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
		return venv__fail(err, VENV_ERR_DENIED, "image '%s' could be written", name);
	*ret_name = strdup(name);
	if (!*ret_name)
		return venv__fail_nomem(err);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int open_disk(struct order *order, venv_error **err)
{
	struct images images = { order, json_object_get(order->json, "images"), 0 };
	const char *format = venv__json_str(json_array_get(images.list, 0), "format");
	const char *name = NULL;
	struct disk_options options = { .read_only =
						venv__json_bool(order->json, "read_only", false),
					.resolve = resolve,
					.resolve_user = &images };
	_cleanup_close_ int fd = -1;
	int r;

	if (!format || (strcmp(format, "raw") != 0 && strcmp(format, "qcow2") != 0))
		return venv__fail(err, VENV_ERR_INVALID, "no format of a disk: '%s'",
				  format ? format : "");
	options.format = *format == 'r' ? DISK_RAW : DISK_QCOW2;
	r = open_image(&images, &fd, &name, err);
	return r < 0 ? r : venv__disk_open(take_fd(&fd), name, &options, &order->disk, err);
}

static int make_blk(struct order *order, struct virtio_device **ret, venv_error **err)
{
	struct virtio_blk_options options = { .serial = venv__json_str(order->json, "serial"),
					      .enter = enter_disk };
	int r = open_disk(order, err);

	if (r < 0)
		return r;
	options.disk = order->disk;
	if (venv__json_bool(order->json, "threads", false))
		options.engine = ENGINE_THREADS;
	return virtio_blk_new(order->mem, order->worker, &options, ret, err);
}

/* ---- Networks ---- */

static int hex(char digit)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = digit ? strchr(digits, digit) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* "02:00:00:00:00:01". One of a group's is nobody's own. */
static int read_mac(const struct order *order, uint8_t ret[NET_MAC], venv_error **err)
{
	const char *text = venv__json_str(order->json, "mac");
	bool ok = text && strlen(text) == NET_MAC * 3 - 1;

	for (size_t i = 0; ok && i < NET_MAC; i++) {
		int high = hex(text[i * 3]), low = hex(text[i * 3 + 1]);

		ok = high >= 0 && low >= 0 && (i == NET_MAC - 1 || text[i * 3 + 2] == ':');
		ret[i] = ok ? (uint8_t)(high * 16 + low) : 0;
	}
	return ok && !(ret[0] & 1) ? 0
				   : venv__fail(err, VENV_ERR_INVALID,
						"no address of a network: '%s'", text ? text : "");
}

static int read_address(const struct order *order, uint8_t ret[NET_IP], venv_error **err)
{
	const char *text = venv__json_str(order->json, "address");

	if (text && inet_pton(AF_INET, text, ret) != 1)
		return venv__fail(err, VENV_ERR_INVALID, "no address: '%s'", text);
	return 0;
}

static int make_net(struct order *order, struct virtio_device **ret, venv_error **err)
{
	struct virtio_net_options options = { .tap = -1, .vhost = -1 };
	_cleanup_close_ int tap = -1, vhost = -1;
	int64_t mtu = 0;
	int r = read_mac(order, options.mac, err);

	if (r == 0)
		r = read_address(order, options.address, err);
	if (r == 0)
		r = number(order, "mtu", MTU_MIN, MTU_MAX, &mtu, err);
	if (r == 0)
		r = own_stream(order, "tap", &tap, err);
	if (r == 0 && tap < 0)
		r = venv__fail(err, VENV_ERR_INVALID, "no descriptor for 'tap'");
	if (r == 0)
		r = own_stream(order, "vhost", &vhost, err);
	if (r < 0)
		return r;
	options.tap = take_fd(&tap);
	options.vhost = take_fd(&vhost);
	options.mtu = (uint16_t)mtu;
	return virtio_net_new(order->mem, order->worker, &options, ret, err);
}

/* ---- Folders ---- */

/* Each server may use as much as all of them can. */
static size_t descriptors_of(size_t n_folders)
{
	struct rlimit limit = { 1024, 1024 };

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	return (size_t)MIN(limit.rlim_cur / 4 * 3 / MAX(n_folders, 1U), 1U << 20);
}

/* Whose device it is already: freed by its owner. */
static int hide_state(const struct order *order, struct virtio_device *fs, venv_error **err)
{
	int directory = config_fd(order->config, order->json, "hide_in"), r;

	if (directory == -1)
		return 0;
	if (directory < 0)
		return venv__fail(err, VENV_ERR_INVALID, "no descriptor for 'hide_in'");
	r = virtio_fs_hide(fs, directory);
	return r < 0 ? venv__fail_errno(err, -r, "cannot look at a folder") : 0;
}

static int make_directory(struct order *order, struct virtio_fs_options *options,
			  struct virtio_device **ret, venv_error **err)
{
	_cleanup_close_ int directory = -1;
	int proc_fd;
	int r = own_fd(order, order->json, "directory", &directory, err);

	options->tag = venv__json_str(order->json, "tag");
	if (r == 0 && !options->tag)
		r = venv__fail(err, VENV_ERR_INVALID, "the folder has no tag");
	if (r < 0)
		return r;
	proc_fd = fcntl(order->config->proc_fd, F_DUPFD_CLOEXEC, 3);
	if (proc_fd < 0)
		return venv__fail_errno(err, errno, "cannot open /proc/self/fd");
	options->fs.read_only = venv__json_bool(order->json, "read_only", false);
	options->fs.max_descriptors = descriptors_of(order->n_folders);
	return virtio_fs_new(order->mem, order->worker, directory, proc_fd, options, ret, err);
}

static int make_fs(struct order *order, struct virtio_device **ret, venv_error **err)
{
	struct virtio_fs_options options = { .enter = enter_folder };
	int64_t uid = 0, gid = 0;
	int r = number(order, "uid", 0, UINT32_MAX - 1, &uid, err);

	if (r == 0)
		r = number(order, "gid", 0, UINT32_MAX - 1, &gid, err);
	if (r < 0)
		return r;
	options.fs.guest_uid = (uid_t)uid;
	options.fs.guest_gid = (gid_t)gid;
	r = make_directory(order, &options, ret, err);
	return r < 0 ? r : hide_state(order, *ret, err);
}

static int make_volume(struct order *order, struct virtio_device **ret, venv_error **err)
{
	struct virtio_fs_options options = { .fs.volume = &order->config->ids,
					     .enter = enter_volume };

	if (!order->config->has_ids)
		return venv__fail(err, VENV_ERR_INVALID, "the machine has no 'ids' for a volume");
	return make_directory(order, &options, ret, err);
}

/* ---- Streams ---- */

static int make_vsock(struct order *order, struct virtio_device **ret, venv_error **err)
{
	struct virtio_vsock_options options = { .directory = -1, .listener = -1 };
	_cleanup_close_ int directory = -1, listener = -1;
	int64_t cid = 0;
	int r = number(order, "cid", VSOCK_CID_FIRST, UINT32_MAX - 1, &cid, err);

	if (r == 0 && json_object_get(order->json, "directory"))
		r = own_fd(order, order->json, "directory", &directory, err);
	if (r == 0)
		r = own_stream(order, "listener", &listener, err);
	if (r < 0)
		return r;
	options.guest_cid = (uint64_t)cid;
	options.directory = take_fd(&directory);
	options.listener = take_fd(&listener);
	return virtio_vsock_new(order->mem, order->worker, &options, ret, err);
}

static const struct kind kinds[] = {
	{ "rng", make_rng, JAIL_WORKER },
	{ "balloon", make_balloon, JAIL_WORKER },
	{ "console", make_console, JAIL_WORKER },
	{ "blk", make_blk, JAIL_DISK },
	{ "net", make_net, JAIL_NET },
	{ "fs", make_fs, JAIL_FOLDER },
	{ "volume", make_volume, JAIL_VOLUME },
	{ "vsock", make_vsock, JAIL_SOCKETS },
};

const struct kind *kind_find(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}
