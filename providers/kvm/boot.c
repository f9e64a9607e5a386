/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine boots: a kernel that the file names, else the boot loader on its disk by firmware. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "kvm.h"
#include "util/buf.h"

static const char *const seabios[] = {
	"/usr/share/seabios/bios-256k.bin",
	"/usr/share/qemu/bios-256k.bin",
	"/usr/share/seabios/bios.bin",
};

static bool is_auto(const char *text)
{
	return !text || !*text || strcmp(text, "auto") == 0;
}

/* Sets a descriptor of the order, and its number under key. */
static int set_file(struct kvm_order *order, const char *key, int fd, venv_error **err)
{
	int number = kvm_order_fd(order, fd, err);

	if (number < 0)
		return number;
	return json_object_set_new(order->json, key, json_integer(number)) < 0
		       ? venv__fail_nomem(err)
		       : 0;
}

static int open_named(const struct machine *machine, const char *key, const char *path,
		      venv_error **err)
{
	const struct place *at = &machine->spec->kvm.place;
	_cleanup_close_ int fd =
		venv__open_inside(machine->project_dir, path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd == -EXDEV)
		return venv__fail_spec(err, VENV_ERR_DENIED, at,
				       "kvm.%s '%s' leads out of the project by a symbolic link",
				       key, path);
	if (fd < 0)
		return venv__fail_spec(err, venv__code_of_errno(-fd), at,
				       "cannot open kvm.%s '%s': %s", key, path, strerror(-fd));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return venv__fail_spec(err, VENV_ERR_CONFIG, at,
				       "kvm.%s '%s' is not a regular file", key, path);
	return take_fd(&fd);
}

/* ---- A kernel ------------------------------------------------------------------------------ */

/* Where the root file system is, unless the file says it: the disk, or its first partition. */
static int add_root(const struct machine *machine, struct buf *line, venv_error **err)
{
	const char *own = machine->spec->kvm.cmdline;
	bool divided = false;
	int r;

	if (own && (strncmp(own, "root=", 5) == 0 || strstr(own, " root=")))
		return 0;
	r = kvm_disk_is_divided(machine, &divided, err);
	if (r == 0)
		venv__buf_puts(line, divided ? " root=/dev/vda1 rw" : " root=/dev/vda rw");
	return r;
}

static int set_cmdline(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	const char *own = machine->spec->kvm.cmdline;
	_cleanup_buf_ struct buf line = { 0 };
	int r;

	venv__buf_puts(&line, "console=ttyS0");
	r = add_root(machine, &line, err);
	if (r < 0)
		return r;
	if (own && *own)
		venv__buf_printf(&line, " %s", own);
	if (line.failed || venv__json_set_str(order->json, "cmdline", line.data) < 0)
		return venv__fail_nomem(err);
	return 0;
}

static int order_kernel(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	const struct kvm_spec *kvm = &machine->spec->kvm;
	int fd = open_named(machine, "kernel", kvm->kernel, err);
	int r = fd < 0 ? fd : set_file(order, "kernel", fd, err);

	if (r == 0 && kvm->initrd) {
		fd = open_named(machine, "initrd", kvm->initrd, err);
		r = fd < 0 ? fd : set_file(order, "initrd", fd, err);
	}
	return r < 0 ? r : set_cmdline(machine, order, err);
}

/* ---- Firmware ------------------------------------------------------------------------------ */

static int find_seabios(venv_error **err)
{
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(seabios); i++) {
		int fd = open(seabios[i], O_RDONLY | O_NOCTTY | O_CLOEXEC);

		if (fd >= 0)
			return fd;
	}
	r = venv__fail(err, VENV_ERR_HOST,
		       "this host has no SeaBIOS, the firmware that boots a machine's disk");
	return venv__hint(r, err,
			  "install it: 'sudo apt install seabios' (Debian, Ubuntu), "
			  "'sudo dnf install seabios-bin' (Fedora)");
}

/* ---- A rootfs box -------------------------------------------------------------------------- */

/* The kernel box's, or one that the file names, which must have built in what it takes. */
static int open_kernel(const struct machine *machine, venv_error **err)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	if (!machine->image.kernel)
		return open_named(machine, "kernel", machine->spec->kvm.kernel, err);
	path = venv__path_join(machine->image.kernel, "vmlinuz");
	fd = path ? open(path, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC) : -1;
	return fd < 0 ? venv__fail_errno(err, errno, "cannot open the kernel '%s'",
					 path ? path : machine->image.kernel)
		      : fd;
}

static int order_rootfs(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	const struct kvm_spec *kvm = &machine->spec->kvm;
	_cleanup_buf_ struct buf line = { 0 };
	int fd, r;

	if (kvm->initrd || !is_auto(kvm->firmware))
		return venv__fail_spec(err, VENV_ERR_UNSUPPORTED, &kvm->place,
				       "a machine from a root file system starts with our own "
				       "initramfs: kvm.%s has no place",
				       kvm->initrd ? "initrd" : "firmware");
	fd = open_kernel(machine, err);
	r = fd < 0 ? fd : set_file(order, "kernel", fd, err);
	if (r == 0) {
		fd = kvm_initramfs_make(machine, err);
		r = fd < 0 ? fd : set_file(order, "initrd", fd, err);
	}
	if (r < 0)
		return r;
	venv__buf_puts(&line, "console=ttyS0 quiet panic=-1 net.ifnames=0");
	if (kvm->cmdline && *kvm->cmdline)
		venv__buf_printf(&line, " %s", kvm->cmdline);
	if (line.failed || venv__json_set_str(order->json, "cmdline", line.data) < 0)
		return venv__fail_nomem(err);
	return 0;
}

int kvm_boot_order(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	const struct kvm_spec *kvm = &machine->spec->kvm;
	int fd;

	if (machine->from_rootfs)
		return order_rootfs(machine, order, err);
	if (!is_auto(kvm->kernel))
		return order_kernel(machine, order, err);
	fd = is_auto(kvm->firmware) ? find_seabios(err)
				    : open_named(machine, "firmware", kvm->firmware, err);
	return fd < 0 ? fd : set_file(order, "firmware", fd, err);
}
