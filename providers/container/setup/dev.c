/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev is built complete on the staging tmpfs and then moved into the root, so nothing in the
 * root is looked at but the directory that it goes to. Device nodes are bind mounts of the
 * host's, checked by their numbers: a user namespace may make none.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "mounts.h"
#include "setup.h"

static const struct {
	const char *name;
	const char *path;
	unsigned major, minor;
} nodes[] = {
	{ "null", "/dev/null", 1, 3 },       { "zero", "/dev/zero", 1, 5 },
	{ "full", "/dev/full", 1, 7 },       { "random", "/dev/random", 1, 8 },
	{ "urandom", "/dev/urandom", 1, 9 }, { "tty", "/dev/tty", 5, 0 },
};

static const struct {
	const char *name;
	const char *target;
} links[] = {
	{ "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" },
	{ "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
	{ "core", "/proc/kcore" },       { "ptmx", "pts/ptmx" },
};

static void put_file_mount(struct setup *setup, int dev_fd, int mount_fd, const char *name)
{
	_cleanup_close_ int file =
		openat(dev_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
	int r = file < 0 ? -errno : setup_mount_on(mount_fd, dev_fd, name);

	if (r < 0)
		setup_fail(setup, STAGE_DEV, -r, name);
}

static void put_nodes(struct setup *setup, int dev_fd)
{
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		_cleanup_close_ int fd = setup_mount_clone(
			AT_FDCWD, nodes[i].path, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, false);
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0)
			setup_fail(setup, STAGE_DEV, fd < 0 ? -fd : errno, nodes[i].path);
		if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(nodes[i].major, nodes[i].minor))
			setup_fail(setup, STAGE_DEV, ENXIO, nodes[i].path);
		put_file_mount(setup, dev_fd, fd, nodes[i].name);
	}
}

static void put_links(struct setup *setup, int dev_fd)
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (symlinkat(links[i].target, dev_fd, links[i].name) < 0)
			setup_fail(setup, STAGE_DEV, errno, links[i].name);
}

static void put_filesystem(struct setup *setup, int dev_fd, const char *type, const char *name,
			   const char *const *options)
{
	_cleanup_close_ int fd = setup_mount_new(type, options,
						 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC |
							 (type[0] == 't' ? MOUNT_ATTR_NODEV : 0U));
	int r = fd;

	if (r >= 0)
		r = mkdirat(dev_fd, name, 0755) < 0 ? -errno : setup_mount_on(fd, dev_fd, name);
	if (r < 0)
		setup_fail(setup, STAGE_DEV, -r, type);
}

/* The console is a terminal whose other end the keeper reads. The slave comes from the master, not
 * from a path. */
static void put_console(struct setup *setup, int dev_fd)
{
	_cleanup_close_ int tree = -1;
	int unlock = 0;

	setup->console_master_fd = openat(setup->devpts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (setup->console_master_fd < 0 ||
	    ioctl(setup->console_master_fd, TIOCSPTLCK, &unlock) < 0)
		setup_fail(setup, STAGE_DEV, errno, "a terminal for the console");
	setup->console_fd =
		ioctl(setup->console_master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (setup->console_fd < 0)
		setup_fail(setup, STAGE_DEV, errno, "the console");
	tree = setup_mount_clone(setup->console_fd, "", 0, false);
	if (tree < 0)
		setup_fail(setup, STAGE_DEV, -tree, "the console");
	put_file_mount(setup, dev_fd, tree, "console");
}

void setup_dev(struct setup *setup)
{
	static const char *const dev_options[] = { "mode", "0755", "size", "16m", NULL };
	static const char *const pts_options[] = { "newinstance", NULL,  "ptmxmode", "0666", "mode",
						   "0620",        "gid", "5",        NULL };
	static const char *const shm_options[] = { "mode", "1777", NULL };
	_cleanup_close_ int dev_fd =
		setup_mount_new("tmpfs", dev_options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	_cleanup_close_ int target = -1;
	int r;

	if (dev_fd < 0)
		setup_fail(setup, STAGE_DEV, -dev_fd, "tmpfs");
	r = setup_mount_on(dev_fd, setup->staging_fd, "dev");
	if (r < 0)
		setup_fail(setup, STAGE_DEV, -r, "tmpfs");
	put_nodes(setup, dev_fd);
	put_links(setup, dev_fd);
	put_filesystem(setup, dev_fd, "devpts", "pts", pts_options);
	put_filesystem(setup, dev_fd, "tmpfs", "shm", shm_options);
	setup->devpts_fd = openat(dev_fd, "pts", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (setup->devpts_fd < 0)
		setup_fail(setup, STAGE_DEV, errno, "pts");
	put_console(setup, dev_fd);
	target = setup_top_directory(setup, "dev", 0755);
	r = target < 0 ? target : setup_mount_on(dev_fd, target, "");
	if (r < 0)
		setup_fail(setup, STAGE_DEV, -r, "/dev");
}
