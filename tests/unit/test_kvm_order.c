/* SPDX-License-Identifier: Apache-2.0 */
/* What venv-vmm is told: disks, kernel, seed, folders, figures; over a machine without a process. */
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "first_start.h"
#include "providers/kvm/kvm.h"
#include "util/file.h"
#include "util/msg.h"

#define MIB (1ULL << 20)

struct world {
	char root[64], dir[96], image[160], other[160];
	char *disks[3];
	venv *ctx;
	struct machine_spec spec;
	struct machine_folder folders[2];
	struct machine machine;
	struct kvm_order order;
};

static void write_at(const char *dir, const char *name, const void *data, size_t length)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(venv__file_write(fd, name, data, length, 0644, WRITE_VOLATILE, NULL), 0);
}

static void make_keys(const struct world *w)
{
	_cleanup_free_ char *keys = venv__path_join(w->dir, "keys");

	assert_int_equal(mkdir(keys, 0700), 0);
	write_at(keys, "host", "-----BEGIN\n", 11);
	write_at(keys, "host.pub", "ssh-ed25519 AAAA web\n", 21);
	write_at(keys, "authorized", "ssh-ed25519 BBBB web\n# no key\n\n", 31);
}

static int setup(void **state)
{
	static const char zeroes[2 * MIB];
	venv_options o = VENV_OPTIONS_INIT;
	struct world *w = calloc(1, sizeof(*w));

	(void)snprintf(w->root, sizeof(w->root), "/tmp/venv-test-order.XXXXXX");
	if (!mkdtemp(w->root))
		return -1;
	(void)snprintf(w->dir, sizeof(w->dir), "%s/machine", w->root);
	(void)snprintf(w->image, sizeof(w->image), "%s/aaaa.raw", w->root);
	(void)snprintf(w->other, sizeof(w->other), "%s/bbbb.raw", w->root);
	if (mkdir(w->dir, 0700) < 0)
		return -1;
	write_at(w->root, "aaaa.raw", zeroes, sizeof(zeroes));
	write_at(w->root, "bbbb.raw", zeroes, MIB);
	make_keys(w);
	w->disks[0] = w->image;
	w->machine = (struct machine){
		.id = "0123456789abcdef0123456789abcdef",
		.name = "web",
		.project = "shop",
		.project_dir = w->root,
		.spec = &w->spec,
		.dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.dir = w->dir,
		.image = { .disks = w->disks, .format = "raw", .virtual_size = 2 * MIB },
		.folders = w->folders,
		.login = "vagrant",
	};
	o.data_dir = w->root;
	*state = w;
	return venv_new(&o, &w->ctx, NULL);
}

static int teardown(void **state)
{
	struct world *w = *state;

	kvm_order_done(&w->order);
	(void)close(w->machine.dir_fd);
	venv_free(w->ctx);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->root, NULL), 0);
	free(w);
	return 0;
}

#define assert_error(err, code_, text)                                                             \
	do {                                                                                       \
		assert_int_equal(venv_error_code(err), code_);                                     \
		if (!strstr(venv_error_message(err), text))                                        \
			fail_msg("%s", venv_error_message(err));                                   \
	} while (0)

static uint64_t disk_length(const struct world *w, const char *name)
{
	_cleanup_close_ int fd = openat(w->machine.dir_fd, name, O_RDONLY | O_CLOEXEC);
	struct disk_info info;

	assert_true(fd >= 0);
	assert_int_equal(venv__disk_info(fd, name, DISK_QCOW2, &info, NULL), 0);
	return info.length;
}

/* ---- Disks --------------------------------------------------------------------------------- */

static void disks_are_made_once_and_grow(void **state)
{
	struct world *w = *state;
	struct stat first, second;

	assert_int_equal(kvm_disk_create(&w->machine, NULL), 0);
	assert_int_equal(disk_length(w, KVM_DISK), 2 * MIB);
	assert_int_equal(fstatat(w->machine.dir_fd, KVM_DISK, &first, 0), 0);
	assert_true(kvm_disk_usage(&w->machine) > 0);
	w->disks[1] = w->other;
	w->spec.disk = 64 * MIB;
	assert_int_equal(kvm_disk_create(&w->machine, NULL), 0);
	assert_int_equal(kvm_disk_create(&w->machine, NULL), 0);
	assert_int_equal(fstatat(w->machine.dir_fd, KVM_DISK, &second, 0), 0);
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(disk_length(w, KVM_DISK), 64 * MIB);
	assert_int_equal(disk_length(w, "disk-1.qcow2"), MIB);
}

static void a_disk_never_shrinks(void **state)
{
	struct world *w = *state;
	_cleanup_error_ venv_error *err = NULL, *later = NULL;

	w->spec.disk = MIB;
	assert_true(kvm_disk_create(&w->machine, &err) < 0);
	assert_error(err, VENV_ERR_UNSUPPORTED, "2 MiB already");
	assert_int_equal(faccessat(w->machine.dir_fd, KVM_DISK, F_OK, 0), -1);
	w->spec.disk = 32 * MIB;
	assert_int_equal(kvm_disk_create(&w->machine, NULL), 0);
	w->spec.disk = 16 * MIB;
	assert_true(kvm_disk_create(&w->machine, &later) < 0);
	assert_error(later, VENV_ERR_UNSUPPORTED, "32 MiB already");
	assert_int_equal(disk_length(w, KVM_DISK), 32 * MIB);
}

static void what_is_no_disk_is_refused(void **state)
{
	struct world *w = *state;
	_cleanup_error_ venv_error *err = NULL, *gone = NULL;

	w->machine.image.disks = NULL;
	assert_true(kvm_disk_create(&w->machine, &err) < 0);
	assert_error(err, VENV_ERR_UNSUPPORTED, "root file system");
	w->machine.image.disks = w->disks;
	assert_int_equal(unlink(w->image), 0);
	assert_true(kvm_disk_create(&w->machine, &gone) < 0);
	assert_error(gone, VENV_ERR_NOT_FOUND, "aaaa.raw");
}

static void damage(const char *dir, const char *name)
{
	_cleanup_free_ char *path = venv__path_join(dir, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "no qcow2", 8, 0), 8);
}

static void a_damaged_disk_has_a_way_out(void **state)
{
	struct world *w = *state;
	_cleanup_error_ venv_error *err = NULL, *growing = NULL, *below = NULL;
	char message[160];

	(void)snprintf(message, sizeof(message), "disk '%s/disk.qcow2': not a qcow2", w->dir);
	assert_int_equal(kvm_disk_create(&w->machine, NULL), 0);
	damage(w->dir, KVM_DISK);
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_true(kvm_disk_order(&w->machine, &w->order, &err) < 0);
	assert_error(err, VENV_ERR_CORRUPT, message);
	assert_non_null(strstr(venv_error_hint(err), "'venv destroy web' and 'venv up web'"));
	assert_non_null(strstr(venv_error_hint(err), "'venv snapshot list web'"));
	w->spec.disk = 64 * MIB;
	assert_true(kvm_disk_create(&w->machine, &growing) < 0);
	assert_error(growing, VENV_ERR_CORRUPT, message);
	assert_non_null(venv_error_hint(growing));
	/* the box's is another matter */
	(void)venv__fail(&below, VENV_ERR_CORRUPT, "%s: disk '%s': not a qcow2 image", message,
			 w->image);
	assert_int_equal(kvm_disk_advise(VENV_ERR_CORRUPT, &w->machine, &below), VENV_ERR_CORRUPT);
	assert_null(venv_error_hint(below));
}

/* venv-vmm writes the overlay: what it names there gets it no other file. */
static void an_overlay_names_only_its_box(void **state)
{
	static const char secret[512] = "secret";
	struct world *w = *state;
	_cleanup_error_ venv_error *err = NULL, *growing = NULL;
	struct disk_create create = { .format = DISK_QCOW2, .length = MIB };
	_cleanup_free_ char *path = venv__path_join(w->root, "shadow");
	int fd;

	write_at(w->root, "shadow", secret, sizeof(secret));
	create.backing = path;
	fd = openat(w->machine.dir_fd, KVM_DISK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(venv__disk_create(fd, &create, NULL), 0);
	(void)close(fd);
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_true(kvm_disk_order(&w->machine, &w->order, &err) < 0);
	assert_error(err, VENV_ERR_DENIED, "not of its box");
	w->spec.disk = 64 * MIB;
	assert_true(kvm_disk_create(&w->machine, &growing) < 0);
	assert_error(growing, VENV_ERR_DENIED, "not of its box");
}

static const json_t *device(const struct world *w, const char *kind, int slot)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(w->order.json, "devices"), i, item)
	{
		const char *own = venv__json_str(item, "kind");

		if (own && strcmp(own, kind) == 0 && venv__json_int(item, "slot", 0) == slot)
			return item;
	}
	fail_msg("no %s in slot %d", kind, slot);
	return NULL;
}

static int flags_of(const struct world *w, const json_t *object, const char *key)
{
	int64_t number = venv__json_int(object, key, -1);

	assert_in_range(number, 0, w->order.n_fds - 1);
	return fcntl(w->order.fd[number], F_GETFL) & (O_ACCMODE | O_PATH);
}

static void disks_go_as_descriptors(void **state)
{
	struct world *w = *state;
	const json_t *images;

	w->disks[1] = w->other;
	assert_int_equal(kvm_disk_create(&w->machine, NULL), 0);
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(kvm_disk_order(&w->machine, &w->order, NULL), 0);
	images = json_object_get(device(w, "blk", KVM_SLOT_ROOT), "images");
	assert_int_equal(json_array_size(images), 2);
	assert_int_equal(flags_of(w, json_array_get(images, 0), "file"), O_RDWR);
	assert_int_equal(flags_of(w, json_array_get(images, 1), "file"), O_RDONLY);
	assert_string_equal(venv__json_str(json_array_get(images, 1), "name"), w->image);
	assert_string_equal(venv__json_str(json_array_get(images, 1), "format"), "raw");
	(void)device(w, "blk", KVM_SLOT_DISK);
}

/* ---- The rest ------------------------------------------------------------------------------ */

static void figures_follow_the_file(void **state)
{
	struct world *w = *state;
	_cleanup_error_ venv_error *err = NULL, *many = NULL;

	w->spec.cpus = 3;
	w->spec.memory = 100 * MIB + 1;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(venv__json_int(w->order.json, "cpus", 0), 3);
	assert_int_equal(venv__json_int(w->order.json, "sockets", 0), 1);
	assert_int_equal(venv__json_int(w->order.json, "memory", 0), 102 * MIB);
	(void)device(w, "rng", KVM_SLOT_RNG);
	(void)device(w, "balloon", KVM_SLOT_BALLOON);
	kvm_order_done(&w->order);
	w->spec.cpus = 31.5;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(venv__json_int(w->order.json, "cpus", 0), 32);
	kvm_order_done(&w->order);
	w->spec.cpus = 48;
	assert_true(kvm_order_new(&w->machine, &w->order, &many) < 0);
	assert_error(many, VENV_ERR_UNSUPPORTED, "more than 32 processors ('cpus')");
	w->spec.cpus = 2;
	w->spec.memory = 1ULL << 50;
	assert_true(kvm_order_new(&w->machine, &w->order, &err) < 0);
	assert_error(err, VENV_ERR_HOST, "this host has");
}

static void its_process_is_limited(void **state)
{
	char set[] = "0";
	struct world *w = *state;
	const json_t *limits;

	w->spec.memory = 512 * MIB;
	w->spec.cpu_weight = 50;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_string_equal(venv__json_str(w->order.json, "id"), w->machine.id);
	limits = json_object_get(w->order.json, "limits");
	assert_int_equal(json_object_size(limits), 2);
	assert_int_equal(venv__json_int(limits, "memory", 0), (512 + 32 + 128) * MIB);
	assert_int_equal(venv__json_int(limits, "cpu_weight", 0), 50);
	kvm_order_done(&w->order);
	/* whole processors are as many; of a part of one it gets a share */
	w->spec.cpus = 2;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_null(json_object_get(json_object_get(w->order.json, "limits"), "cpus"));
	kvm_order_done(&w->order);
	w->spec.cpus = 1.5;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	limits = json_object_get(w->order.json, "limits");
	assert_int_equal(venv__json_int(w->order.json, "cpus", 0), 2);
	assert_true(json_real_value(json_object_get(limits, "cpus")) == 1.5);
	kvm_order_done(&w->order);
	w->spec.cpus = 0;
	w->spec.cpuset = set;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	limits = json_object_get(w->order.json, "limits");
	assert_int_equal(venv__json_int(w->order.json, "cpus", 0), 1);
	assert_string_equal(venv__json_str(limits, "cpuset"), "0");
}

static void a_kernel_is_booted_with_a_line(void **state)
{
	static const unsigned char divided[512] = { [510] = 0x55, [511] = 0xaa };
	static const struct {
		bool divided;
		const char *own, *expected;
	} cases[] = {
		{ false, NULL, "console=ttyS0 root=/dev/vda rw" },
		{ false, "quiet", "console=ttyS0 root=/dev/vda rw quiet" },
		{ true, NULL, "console=ttyS0 root=/dev/vda1 rw" },
		{ true, "quiet root=UUID=1", "console=ttyS0 quiet root=UUID=1" },
	};
	char kernel[128], name[160], cmdline[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world *w = *state;
		int fd = open(w->image, O_WRONLY | O_CLOEXEC);

		if (cases[i].divided)
			assert_int_equal(pwrite(fd, divided, 512, 0), 512);
		(void)close(fd);
		(void)snprintf(kernel, sizeof(kernel), "%s/vmlinuz", w->root);
		write_at(w->root, "vmlinuz", "x", 1);
		w->spec.kvm.kernel = kernel;
		w->spec.kvm.cmdline = NULL;
		if (cases[i].own) {
			(void)snprintf(cmdline, sizeof(cmdline), "%s", cases[i].own);
			w->spec.kvm.cmdline = cmdline;
		}
		assert_int_equal(kvm_disk_create(&w->machine, NULL), 0);
		assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
		assert_int_equal(kvm_boot_order(&w->machine, &w->order, NULL), 0);
		assert_string_equal(venv__json_str(w->order.json, "cmdline"), cases[i].expected);
		assert_int_equal(flags_of(w, w->order.json, "kernel"), O_RDONLY);
		(void)snprintf(name, sizeof(name), "kvm.kernel '%s'", kernel);
		assert_string_equal(venv__json_str(w->order.json, "kernel_name"), name);
		kvm_order_done(&w->order);
	}
}

static void a_file_to_boot_must_be_there(void **state)
{
	struct world *w = *state;
	_cleanup_error_ venv_error *missing = NULL, *link = NULL;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/none", w->root);
	w->spec.kvm.kernel = path;
	w->spec.kvm.kernel_place = (struct place){ "venv.yml", 7, 3 };
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_true(kvm_boot_order(&w->machine, &w->order, &missing) < 0);
	assert_error(missing, VENV_ERR_NOT_FOUND, "cannot open kvm.kernel");
	assert_non_null(venv_error_hint(missing));
	assert_int_equal(venv_error_line(missing), 7);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_true(kvm_boot_order(&w->machine, &w->order, &link) < 0);
	assert_error(link, VENV_ERR_DENIED, "leads out of the project");
	assert_non_null(venv_error_hint(link));
}

/* venv-vmm tells what it refuses by the name that it was given. */
static void what_is_refused_has_a_place(void **state)
{
	struct world *w = *state;
	struct kvm_spec *kvm = &w->spec.kvm;
	char kernel[128], initrd[128], cmdline[] = "quiet", message[160];

	(void)snprintf(kernel, sizeof(kernel), "%s/vmlinuz", w->root);
	(void)snprintf(initrd, sizeof(initrd), "%s/initrd", w->root);
	write_at(w->root, "vmlinuz", "x", 1);
	write_at(w->root, "initrd", "x", 1);
	kvm->kernel = kernel;
	kvm->initrd = initrd;
	assert_int_equal(kvm_disk_create(&w->machine, NULL), 0);
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(kvm_boot_order(&w->machine, &w->order, NULL), 0);
	(void)snprintf(message, sizeof(message), "kvm.kernel '%s' is no kernel", kernel);
	assert_ptr_equal(kvm_boot_place(&w->machine, &w->order, message), &kvm->kernel_place);
	(void)snprintf(message, sizeof(message), "kvm.initrd '%s' is empty", initrd);
	assert_ptr_equal(kvm_boot_place(&w->machine, &w->order, message), &kvm->initrd_place);
	assert_null(kvm_boot_place(&w->machine, &w->order, "too long"));
	kvm->cmdline = cmdline;
	assert_ptr_equal(kvm_boot_place(&w->machine, &w->order, "too long"), &kvm->place);
}

/* A guest may write in the project: a pipe there would be waited for without end. */
static void a_file_to_boot_is_a_file(void **state)
{
	struct world *w = *state;
	_cleanup_error_ venv_error *pipe = NULL, *directory = NULL;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/pipe", w->root);
	assert_int_equal(mkfifo(path, 0600), 0);
	w->spec.kvm.kernel = path;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_true(kvm_boot_order(&w->machine, &w->order, &pipe) < 0);
	assert_error(pipe, VENV_ERR_CONFIG, "is not a regular file");
	w->spec.kvm.kernel = w->dir;
	assert_true(kvm_boot_order(&w->machine, &w->order, &directory) < 0);
	assert_error(directory, VENV_ERR_CONFIG, "is not a regular file");
	assert_non_null(venv_error_hint(directory));
}

static void folders_have_tags_and_owners(void **state)
{
	struct world *w = *state;
	char root[] = "root", name[] = "www", number[] = "33", deep[] = "machine/.machines";
	int fd = open(w->root, O_PATH | O_CLOEXEC);
	const json_t *one;

	w->folders[0] = (struct machine_folder){ .host_fd = fd, .guest = w->root };
	w->folders[1] = (struct machine_folder){
		.host_fd = fd, .guest = w->root, .read_only = true, .owner = root
	};
	w->machine.n_folders = 2;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(kvm_folder_order(&w->machine, &w->order, NULL), 0);
	one = device(w, "fs", KVM_SLOT_FOLDER);
	assert_string_equal(venv__json_str(one, "tag"), "venv0");
	assert_int_equal(venv__json_int(one, "uid", -1), 1000);
	assert_false(venv__json_bool(one, "read_only", true));
	one = device(w, "fs", KVM_SLOT_FOLDER + 1);
	assert_string_equal(venv__json_str(one, "tag"), "venv1");
	assert_int_equal(venv__json_int(one, "uid", -1), 0);
	assert_true(venv__json_bool(one, "read_only", false));
	kvm_order_done(&w->order);

	w->machine.login_known = true;
	w->machine.login_uid = 1234;
	w->machine.login_gid = 567;
	w->folders[1].owner = number;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(kvm_folder_order(&w->machine, &w->order, NULL), 0);
	assert_int_equal(venv__json_int(device(w, "fs", KVM_SLOT_FOLDER), "uid", -1), 1234);
	assert_int_equal(venv__json_int(device(w, "fs", KVM_SLOT_FOLDER), "gid", -1), 567);
	assert_int_equal(venv__json_int(device(w, "fs", KVM_SLOT_FOLDER + 1), "uid", -1), 33);
	w->folders[1].owner = name; /* somebody, but who? */
	kvm_order_done(&w->order);
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(kvm_folder_order(&w->machine, &w->order, NULL), 0);
	assert_int_equal(venv__json_int(device(w, "fs", KVM_SLOT_FOLDER + 1), "uid", -1), 1000);
	w->folders[1].host = w->root;
	w->folders[1].hide = deep;
	kvm_order_done(&w->order);
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(kvm_folder_order(&w->machine, &w->order, NULL), 0);
	assert_true(flags_of(w, device(w, "fs", KVM_SLOT_FOLDER + 1), "hide_in") & O_PATH);
	assert_null(json_object_get(device(w, "fs", KVM_SLOT_FOLDER), "hide_in"));
	(void)close(fd);
}

static void a_volume_keeps_owners(void **state)
{
	struct world *w = *state;
	const struct idmap map = { .uid = 1000, .gid = 1000, .sub_uid = 100000, .sub_gid = 200000 };
	int fd = open(w->root, O_PATH | O_CLOEXEC);
	struct idmap told;

	w->folders[0] = (struct machine_folder){ .host_fd = fd, .guest = w->root };
	w->machine.map = &map;
	w->machine.n_folders = 1;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(kvm_folder_order(&w->machine, &w->order, NULL), 0);
	assert_null(json_object_get(w->order.json, "ids"));
	kvm_order_done(&w->order);

	w->folders[1] = (struct machine_folder){ .host_fd = fd, .guest = w->root, .volume = true };
	w->machine.n_folders = 2;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(kvm_folder_order(&w->machine, &w->order, NULL), 0);
	assert_string_equal(venv__json_str(device(w, "volume", KVM_SLOT_FOLDER + 1), "tag"),
			    "venv1");
	assert_true(venv__idmap_from_json(json_object_get(w->order.json, "ids"), &told));
	assert_int_equal(told.sub_gid, map.sub_gid);
	(void)close(fd);
}

static void the_seed_is_the_second_disk(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *image = NULL;
	size_t size;
	const json_t *seed;

	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(kvm_seed_order(&w->machine, &w->order, NULL), 0);
	seed = device(w, "blk", KVM_SLOT_SEED);
	assert_true(venv__json_bool(seed, "read_only", false));
	assert_int_equal(flags_of(w, json_array_get(json_object_get(seed, "images"), 0), "file"),
			 O_RDONLY);
	assert_int_equal(
		venv__file_read(w->machine.dir_fd, SEED_FILE, 1 << 22, &image, &size, NULL), 0);
	assert_non_null(memmem(image, size, "name: \"vagrant\"", 15));
	assert_non_null(memmem(image, size, "ssh-ed25519 BBBB web", 20));
	assert_null(memmem(image, size, "no key", 6));
	assert_non_null(memmem(image, size, "local-hostname: \"web\"", 21));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- Networks ------------------------------------------------------------------------------ */

/* netd's answer is there before it is asked. */
static void netd_with_a_tap(int pair[2])
{
	_cleanup_close_ int tap = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_json_ json_t *answer = json_object();

	assert_int_equal(venv__msg_pair(pair), 0);
	assert_int_equal(venv__msg_send(pair[1], answer, &tap, 1, NULL), 0);
}

/* A TAP, and vhost-net where this user can open it: nobody has to. */
static void networks_go_as_taps(void **state)
{
	char name[] = "eth0", network[] = "project", mac[] = "02:00:00:00:00:01",
	     address[] = "10.88.0.2";
	struct net_interface interface = {
		.name = name, .network = network, .mac = mac, .address = address, .mtu = 1500
	};
	struct net_attachment net = { .interfaces = &interface, .n_interfaces = 1 };
	_cleanup_close_ int namespace = open("/dev/null", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int vhost = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	struct world *w = *state;
	const json_t *nic;
	int netd[2];

	netd_with_a_tap(netd);
	net.socket = netd[0];
	net.userns_fd = net.netns_fd = namespace;
	w->machine.net = &net;
	w->machine.ctx = w->ctx;
	assert_int_equal(kvm_order_new(&w->machine, &w->order, NULL), 0);
	assert_int_equal(kvm_net_order(&w->machine, &w->order, NULL), 0);
	nic = device(w, "net", KVM_SLOT_NET);
	assert_int_equal(flags_of(w, nic, "tap"), O_RDWR);
	assert_string_equal(venv__json_str(nic, "mac"), mac);
	assert_string_equal(venv__json_str(nic, "address"), address);
	assert_int_equal(venv__json_int(nic, "mtu", 0), 1500);
	assert_int_equal(json_object_get(nic, "vhost") != NULL, vhost >= 0);
	if (vhost >= 0)
		assert_int_equal(flags_of(w, nic, "vhost"), O_RDWR);
	assert_non_null(json_object_get(w->order.json, "network"));
	w->machine.net = NULL;
	(void)close(netd[0]);
	(void)close(netd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(disks_are_made_once_and_grow), CASE(a_disk_never_shrinks),
		CASE(what_is_no_disk_is_refused),   CASE(an_overlay_names_only_its_box),
		CASE(disks_go_as_descriptors),      CASE(figures_follow_the_file),
		CASE(its_process_is_limited),       CASE(a_kernel_is_booted_with_a_line),
		CASE(a_file_to_boot_must_be_there), CASE(a_file_to_boot_is_a_file),
		CASE(what_is_refused_has_a_place),  CASE(a_damaged_disk_has_a_way_out),
		CASE(folders_have_tags_and_owners), CASE(a_volume_keeps_owners),
		CASE(the_seed_is_the_second_disk),  CASE(networks_go_as_taps),
	};

	return cmocka_run_group_tests_name("kvm_order", tests, NULL, NULL);
}
