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

static const char *advice(int number)
{
	if (number == ENOENT || number == ENOTDIR)
		return "put the file there, or correct its path";
	return number == EACCES || number == EPERM
		       ? "let this user read it, with 'chmod +r'; its directories want 'chmod +x'"
		       : "name another file";
}

enum named { KERNEL, INITRD, FIRMWARE, NAMED };

struct file {                       /* that venv.yml may name */
	const char *key, *name_key; /* in the order: its descriptor, what messages call it */
	const char *path;
	const struct place *place;
};

static struct file file_of(const struct machine *machine, enum named which)
{
	const struct kvm_spec *kvm = &machine->spec->kvm;
	const struct file files[NAMED] = {
		[KERNEL] = { "kernel", "kernel_name", kvm->kernel, &kvm->kernel_place },
		[INITRD] = { "initrd", "initrd_name", kvm->initrd, &kvm->initrd_place },
		[FIRMWARE] = { "firmware", "firmware_name", kvm->firmware, &kvm->firmware_place },
	};

	return files[which];
}

static int open_file(const struct machine *machine, const struct file *file, venv_error **err)
{
	const char *key = file->key, *path = file->path;
	const struct place *at = file->place;
	_cleanup_close_ int fd =
		venv__open_inside(machine->project_dir, path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd == -EXDEV)
		return venv__hint(
			venv__fail_spec(err, VENV_ERR_DENIED, at,
					"kvm.%s '%s' leads out of the project by a symbolic link",
					key, path),
			err, "copy the file itself to there");
	if (fd < 0)
		return venv__hint(venv__fail_spec(err, venv__code_of_errno(-fd), at,
						  "cannot open kvm.%s '%s': %s", key, path,
						  strerror(-fd)),
				  err, "%s", advice(-fd));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG, at,
						  "kvm.%s '%s' is not a regular file", key, path),
				  err, "name the file of the %s itself", key);
	return take_fd(&fd);
}

static int set_named(const struct machine *machine, struct kvm_order *order, enum named which,
		     venv_error **err)
{
	const struct file file = file_of(machine, which);
	int fd = open_file(machine, &file, err),
	    r = fd < 0 ? fd : set_file(order, file.key, fd, err);

	if (r == 0) /* a path that is no UTF-8 has none */
		(void)json_object_set_new(order->json, file.name_key,
					  json_sprintf("kvm.%s '%s'", file.key, file.path));
	return r;
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
	int r = set_named(machine, order, KERNEL, err);

	if (r == 0 && kvm->initrd)
		r = set_named(machine, order, INITRD, err);
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

/* Unpacked already, where the box has it so: it saves the machine the time of doing it. */
static int open_kernel(const struct machine *machine, venv_error **err)
{
	static const char *const names[] = { "vmlinux", "vmlinuz" };
	const char *box = machine->image.kernel;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = venv__path_join(box, names[i]);
		int fd;

		if (!path)
			return venv__fail_nomem(err);
		fd = open(path, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT)
			return venv__fail_errno(err, errno, "cannot open the kernel '%s'", path);
	}
	return venv__hint(
		venv__fail(err, VENV_ERR_BOX, "the kernel box in '%s' holds no kernel", box), err,
		"remove it with 'venv box remove kernel/debian-12'; the next 'venv up' "
		"builds it");
}

/* The kernel box's, or one that the file names, which must have built in what it takes. */
static int order_rootfs_kernel(const struct machine *machine, struct kvm_order *order,
			       venv_error **err)
{
	int fd;

	if (!machine->image.kernel)
		return set_named(machine, order, KERNEL, err);
	fd = open_kernel(machine, err);
	return fd < 0 ? fd : set_file(order, "kernel", fd, err);
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
	r = order_rootfs_kernel(machine, order, err);
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

const struct place *kvm_boot_place(const struct machine *machine, const struct kvm_order *order,
				   const char *message)
{
	const struct kvm_spec *kvm = &machine->spec->kvm;

	for (enum named i = KERNEL; i < NAMED; i++) {
		const struct file file = file_of(machine, i);
		const char *name = venv__json_str(order->json, file.name_key);

		if (name && strstr(message, name))
			return file.place;
	}
	return kvm->cmdline ? &kvm->place : NULL;
}

int kvm_boot_order(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	const struct kvm_spec *kvm = &machine->spec->kvm;
	int fd;

	if (machine->from_rootfs)
		return order_rootfs(machine, order, err);
	if (!is_auto(kvm->kernel))
		return order_kernel(machine, order, err);
	if (!is_auto(kvm->firmware))
		return set_named(machine, order, FIRMWARE, err);
	fd = find_seabios(err);
	return fd < 0 ? fd : set_file(order, "firmware", fd, err);
}
