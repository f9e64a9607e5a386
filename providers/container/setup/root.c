/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root file system: a staging tmpfs on which the layers, the upper directory and the overlay
 * are mounted, all under names of our own; then the overlay becomes the root and the rest is let
 * go.
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "mounts.h"
#include "setup.h"

static void check_same(struct setup *setup, const struct setup_tree *tree, int fd,
		       enum setup_stage stage)
{
	struct stat ours, keepers;

	if (fstat(fd, &ours) < 0 || fstat(tree->fd, &keepers) < 0)
		setup_fail(setup, stage, errno, tree->path);
	if (ours.st_dev != keepers.st_dev || ours.st_ino != keepers.st_ino)
		setup_fail(setup, stage, ESTALE, tree->path);
}

int setup_tree_take(struct setup *setup, struct setup_tree *tree, enum setup_stage stage)
{
	int fd;

	if (tree->detached)
		return tree->fd;
	/* without what is mounted below it the kernel would refuse: those mounts are locked here */
	fd = setup_mount_clone(AT_FDCWD, tree->path, 0, true);
	if (fd < 0)
		setup_fail(setup, stage, -fd, tree->path);
	check_same(setup, tree, fd, stage);
	return fd;
}

/* Folders by their paths, while those paths are still there: not as root, see struct setup_tree. */
static void take_folders(struct setup *setup)
{
	const struct plan *plan = setup->plan;

	for (size_t i = 0; i < plan->n_folders && !plan->map.root; i++) {
		struct setup_tree tree = { .path = plan->folders[i].host,
					   .fd = plan->folders[i].fd };
		uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
		int r;

		if (plan->folders[i].read_only)
			attributes |= MOUNT_ATTR_RDONLY;
		setup->folder_trees[i] = setup_tree_take(setup, &tree, STAGE_FOLDERS);
		r = setup_mount_set(setup->folder_trees[i], attributes, -1, true);
		if (r < 0)
			setup_fail(setup, STAGE_FOLDERS, -r, tree.path);
	}
}

static void mount_staging(struct setup *setup)
{
	static const char *const options[] = { "mode", "0755", "size", "1m", NULL };
	static const char *const places[] = { "/tmp", "/run", "/mnt", "/var" };
	int fd = setup_mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV),
	    r = -ENOENT;

	if (fd < 0)
		setup_fail(setup, STAGE_STAGING, -fd, "tmpfs");
	for (size_t i = 0; i < ARRAY_SIZE(places) && r < 0; i++)
		r = setup_mount_on(fd, AT_FDCWD, places[i]);
	if (r < 0 || fchdir(fd) < 0)
		setup_fail(setup, STAGE_STAGING, r < 0 ? -r : errno, "tmpfs on /tmp");
	setup->staging_fd = fd;
	if (mkdir("empty", 0555) < 0 || mkdir("dev", 0755) < 0 || mkdir("root", 0755) < 0 ||
	    mkdir("u", 0755) < 0)
		setup_fail(setup, STAGE_STAGING, errno, "directories");
}

int setup_empty(const struct setup *setup)
{
	return setup_mount_clone(setup->staging_fd, "empty",
				 MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					 MOUNT_ATTR_NOEXEC,
				 false);
}

static void attach(struct setup *setup, int fd, const char *name, const char *what)
{
	int r = setup_mount_on(fd, setup->staging_fd, name);

	if (r < 0)
		setup_fail(setup, STAGE_LAYERS, -r, what);
	(void)close(fd);
}

void setup_staging(struct setup *setup)
{
	static const char *const no_options[] = { NULL };
	int upper;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		setup_fail(setup, STAGE_STAGING, errno, "making mounts private");
	/* before the host's goes: the kernel gives a new one only to those who see a whole one */
	setup->proc_fd = setup_mount_new("proc", no_options,
					 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (setup->proc_fd < 0)
		setup_fail(setup, STAGE_PROC, -setup->proc_fd, "");
	for (struct setup_tree *layer = setup->layers; layer->path; layer++) {
		layer->fd = setup_tree_take(setup, layer, STAGE_LAYERS);
		layer->detached = true;
	}
	upper = setup_tree_take(setup, &setup->upper, STAGE_LAYERS);
	take_folders(setup);
	mount_staging(setup);
	attach(setup, upper, "u", setup->upper.path);
}

/* "userxattr,lowerdir=l0:l1,upperdir=u/fs,workdir=u/work": in a user namespace without userxattr
 * the mount succeeds and removing lower directories fails much later. */
static void attach_layers(struct setup *setup, char *options, size_t size)
{
	size_t n = 0, used = (size_t)snprintf(options, size, "userxattr,lowerdir=");

	for (struct setup_tree *layer = setup->layers; layer->path; layer++, n++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "l%zu", n);
		if (mkdir(name, 0755) < 0)
			setup_fail(setup, STAGE_LAYERS, errno, name);
		attach(setup, layer->fd, name, layer->path);
		used += (size_t)snprintf(options + used, used < size ? size - used : 0, "%s%s",
					 n ? ":" : "", name);
		if (used >= size)
			setup_fail(setup, STAGE_LAYERS, E2BIG, "too many layers");
	}
	used += (size_t)snprintf(options + used, used < size ? size - used : 0,
				 ",upperdir=u/fs,workdir=u/work");
	if (used >= size)
		setup_fail(setup, STAGE_LAYERS, E2BIG, "too many layers");
}

void setup_root(struct setup *setup)
{
	char options[4000];
	struct statvfs info;

	attach_layers(setup, options, sizeof(options));
	if (mount("venv", "root", "overlay", 0, options) < 0)
		setup_fail(setup, STAGE_ROOT, errno, setup->upper.path);
	setup->root_fd = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (setup->root_fd < 0)
		setup_fail(setup, STAGE_ROOT, errno, "root");
	/* a work directory of another id map makes it silently read-only */
	if (statvfs("root", &info) < 0 || (info.f_flag & ST_RDONLY))
		setup_fail(setup, STAGE_ROOT, EROFS, setup->upper.path);
}

int setup_top_directory(const struct setup *setup, const char *name, mode_t mode)
{
	int fd = venv__open_beneath(setup->root_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd >= 0 || (fd != -ENOENT && fd != -ELOOP && fd != -ENOTDIR))
		return fd;
	if (unlinkat(setup->root_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	if (mkdirat(setup->root_fd, name, mode) < 0)
		return -errno;
	return venv__open_beneath(setup->root_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

void setup_pivot(struct setup *setup)
{
	char directory[PATH_MAX];

	if (fchdir(setup->root_fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		setup_fail(setup, STAGE_PIVOT, errno, "pivot_root");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		setup_fail(setup, STAGE_PIVOT, errno, "leaving the old root");
	if (!getcwd(directory, sizeof(directory)) || strcmp(directory, "/") != 0)
		setup_fail(setup, STAGE_PIVOT, ENOTDIR, "not in the new root");
}
