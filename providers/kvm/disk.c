/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's disks: each an overlay over an image of its box, which is only read and lies on no other.
 * The overlay names the image by its path, so that other tools find it; venv-vmm gets both as
 * descriptors and opens no path.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "kvm.h"

enum { DISKS_MAX = KVM_SLOT_VSOCK - KVM_SLOT_DISK + 1, NAME_SIZE = 32, SECTOR = 512 };

static const uint64_t disk_usual = 20ULL << 30; /* of a machine from a rootfs box */

static const char *disk_name(size_t number, char text[NAME_SIZE])
{
	if (number == 0)
		return KVM_DISK;
	(void)snprintf(text, NAME_SIZE, "disk-%zu.qcow2", number);
	return text;
}

static enum disk_format format_of(const struct machine *machine)
{
	return machine->image.format && strcmp(machine->image.format, "raw") == 0 ? DISK_RAW
										  : DISK_QCOW2;
}

static int open_image(const char *path, venv_error **err)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return venv__hint(
			venv__fail_errno(err, errno, "cannot open the box's disk '%s'", path), err,
			"add the box again with 'venv box add'");
	return fd;
}

static int length_of(const char *path, enum disk_format format, uint64_t *ret, venv_error **err)
{
	_cleanup_close_ int fd = open_image(path, err);
	struct disk_info info;
	int r = fd < 0 ? fd : venv__disk_info(fd, path, format, &info, err);

	if (r == 0)
		*ret = info.length;
	return r;
}

/* ---- Making them --------------------------------------------------------------------------- */

/* A half-made one never has the name. */
static int make_overlay(const struct machine *machine, const char *name, const char *image,
			venv_error **err)
{
	struct disk_create create = { .format = DISK_QCOW2,
				      .backing = image,
				      .backing_format = format_of(machine) };
	_cleanup_close_ int fd = -1;
	char temporary[NAME_SIZE + 4];
	int r = length_of(image, create.backing_format, &create.length, err);

	if (r < 0)
		return r;
	(void)snprintf(temporary, sizeof(temporary), "%s.new", name);
	fd = openat(machine->dir_fd, temporary, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot make the machine's disk");
	r = venv__disk_create(fd, &create, err);
	if (r == 0 && fsync(fd) < 0)
		r = venv__fail_errno(err, errno, "cannot write the machine's disk");
	if (r == 0 && renameat(machine->dir_fd, temporary, machine->dir_fd, name) < 0)
		r = venv__fail_errno(err, errno, "cannot make the machine's disk");
	if (r < 0)
		(void)unlinkat(machine->dir_fd, temporary, 0);
	return r;
}

/*
 * Which of the box's images an overlay lies on. Its header is venv-vmm's to write, so what it names
 * counts only by the last part, which is the image's digest: a store that was moved does no harm,
 * and nothing else can be had by it.
 */
static const char *find_image(const struct machine *machine, const char *name)
{
	const char *slash = strrchr(name, '/');

	for (char **path = machine->image.disks; path && *path; path++) {
		const char *own = strrchr(*path, '/');

		if (strcmp(own ? own + 1 : *path, slash ? slash + 1 : name) == 0)
			return *path;
	}
	return NULL;
}

static int open_below(const struct machine *machine, const char *name, venv_error **err)
{
	const char *path = find_image(machine, name);

	if (path)
		return open_image(path, err);
	return venv__hint(venv__fail(err, VENV_ERR_DENIED,
				     "the machine's disk lies on '%s', which is not of its box",
				     name),
			  err, "make the machine anew with 'venv destroy' and 'venv up'");
}

static int resolve(void *user, const char *by, const char *name, int *ret_fd, char **ret_name,
		   venv_error **err)
{
	_cleanup_close_ int fd = open_below(user, name, err);

	(void)by;
	if (fd < 0)
		return fd;
	*ret_name = strdup(name);
	if (!*ret_name)
		return venv__fail_nomem(err);
	*ret_fd = take_fd(&fd);
	return 0;
}

int kvm_disk_advise(int r, const struct machine *machine, venv_error **err)
{
	const char *last = NULL, *at = r == VENV_ERR_CORRUPT || r == VENV_ERR_UNSUPPORTED
					       ? venv_error_message(err ? *err : NULL)
					       : "";
	size_t length = strlen(machine->dir);

	while ((at = strstr(at, "disk '")))
		last = at += strlen("disk '");
	if (!last || strncmp(last, machine->dir, length) != 0 || last[length] != '/')
		return r;
	return venv__hint(r, err,
			  "go back to a snapshot ('venv snapshot list %s' names them), or make the "
			  "machine anew with 'venv destroy %s' and 'venv up %s'; 'qemu-img check' "
			  "looks at the file",
			  machine->name, machine->name, machine->name);
}

static int open_disk(const struct machine *machine, bool read_only, struct disk **ret,
		     venv_error **err)
{
	const struct disk_options options = { .format = DISK_QCOW2,
					      .read_only = read_only,
					      .resolve = resolve,
					      .resolve_user = (void *)(uintptr_t)machine };
	_cleanup_free_ char *path = venv__path_join(machine->dir, KVM_DISK);
	int fd = openat(machine->dir_fd, KVM_DISK,
			(read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open the machine's disk");
	return kvm_disk_advise(venv__disk_open(fd, path ? path : KVM_DISK, &options, ret, err),
			       machine, err);
}

static int too_small(const struct machine_spec *spec, uint64_t length, venv_error **err)
{
	int r = venv__fail_spec(err, VENV_ERR_UNSUPPORTED, &spec->disk_place,
				"its disk has %llu MiB already and cannot become smaller",
				(unsigned long long)(length >> 20));

	return venv__hint(r, err, "write 'disk: %lluM' or more, or leave it away",
			  (unsigned long long)((length + (1 << 20) - 1) >> 20));
}

static int grow(const struct machine *machine, venv_error **err)
{
	_cleanup_disk_ struct disk *disk = NULL;
	uint64_t wanted = machine->spec->disk, length = 0;
	bool usual = machine->from_rootfs && !wanted;
	int r;

	if (usual) /* the box's is as small as it can be; our init makes its file system fit */
		wanted = disk_usual;
	if (!wanted)
		return 0;
	r = open_disk(machine, false, &disk, err);
	if (r < 0)
		return r;
	length = venv__disk_length(disk);
	if (length > wanted && !usual)
		return too_small(machine->spec, length, err);
	if (length < wanted)
		r = venv__disk_grow(disk, wanted, err);
	return r < 0 ? r : venv__disk_close(take_ptr(disk), err);
}

int kvm_disk_create(const struct machine *machine, venv_error **err)
{
	char *const *disks = machine->image.disks;
	char text[NAME_SIZE];
	int r = 0;

	if (!disks)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "its box is a root file system, no disk");
	if (disks[0] && machine->image.virtual_size && machine->spec->disk &&
	    machine->spec->disk < machine->image.virtual_size)
		return too_small(machine->spec, machine->image.virtual_size, err);
	for (size_t i = 0; r == 0 && disks[i]; i++) {
		const char *name = disk_name(i, text);

		if (i == DISKS_MAX)
			return venv__fail(err, VENV_ERR_UNSUPPORTED,
					  "the box has more than %d disks", DISKS_MAX);
		if (faccessat(machine->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			r = make_overlay(machine, name, disks[i], err);
	}
	return r < 0 ? r : grow(machine, err);
}

int kvm_disk_is_divided(const struct machine *machine, bool *ret, venv_error **err)
{
	_cleanup_disk_ struct disk *disk = NULL;
	unsigned char sector[SECTOR];
	int r = open_disk(machine, true, &disk, err);

	if (r == 0)
		r = venv__disk_read(disk, 0, sector, sizeof(sector), err);
	if (r == 0)
		*ret = sector[510] == 0x55 && sector[511] == 0xaa;
	return r;
}

uint64_t kvm_disk_usage(const struct machine *machine)
{
	char text[NAME_SIZE];
	uint64_t bytes = 0;
	struct stat st;

	for (size_t i = 0; i < DISKS_MAX; i++)
		if (fstatat(machine->dir_fd, disk_name(i, text), &st, AT_SYMLINK_NOFOLLOW) == 0)
			bytes += (uint64_t)st.st_blocks * SECTOR;
	return bytes;
}

/* ---- For venv-vmm -------------------------------------------------------------------------- */

static int add_image(struct kvm_order *order, json_t *images, int fd, const char *name,
		     enum disk_format format, venv_error **err)
{
	int number = kvm_order_fd(order, fd, err);
	json_t *image;

	if (number < 0)
		return number;
	image = json_pack("{s:i, s:s, s:s}", "file", number, "format",
			  format == DISK_RAW ? "raw" : "qcow2", "name", name);
	return image && json_array_append_new(images, image) == 0 ? 0 : venv__fail_nomem(err);
}

/* The overlay and the box's image below it. */
static int add_images(const struct machine *machine, struct kvm_order *order, json_t *images,
		      const char *name, venv_error **err)
{
	_cleanup_free_ char *path = venv__path_join(machine->dir, name);
	_cleanup_close_ int fd = openat(machine->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	struct disk_info info;
	int below, r;

	if (!path)
		return venv__fail_nomem(err);
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open the machine's disk '%s'", name);
	r = venv__disk_info(fd, path, DISK_QCOW2, &info, err);
	if (r < 0)
		return kvm_disk_advise(r, machine, err);
	r = add_image(order, images, take_fd(&fd), path, DISK_QCOW2, err);
	if (r < 0 || !info.backing[0])
		return r;
	below = open_below(machine, info.backing, err);
	if (below < 0)
		return below;
	return add_image(order, images, below, info.backing, format_of(machine), err);
}

int kvm_disk_order(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	char text[NAME_SIZE];

	for (size_t i = 0; machine->image.disks && machine->image.disks[i]; i++) {
		int slot = i == 0 ? (int)KVM_SLOT_ROOT : (int)(KVM_SLOT_DISK + i - 1);
		json_t *images = json_array();
		json_t *device =
			json_pack("{s:s, s:i, s:o, s:s*}", "kind", "blk", "slot", slot, "images",
				  images, "serial", i == 0 ? KVM_ROOT_SERIAL : NULL);
		int r = device ? add_images(machine, order, images, disk_name(i, text), err)
			       : venv__fail_nomem(err);

		if (r < 0) {
			json_decref(device);
			return r;
		}
		r = kvm_order_device(order, device, err);
		if (r < 0)
			return r;
	}
	return 0;
}
