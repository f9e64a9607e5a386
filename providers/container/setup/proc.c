/* SPDX-License-Identifier: Apache-2.0 */
/* /proc, /sys, the machine's own part of the cgroup tree, and what of them is hidden. */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "mounts.h"
#include "setup.h"

static const unsigned quiet = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

void setup_proc(struct setup *setup)
{
	_cleanup_close_ int target = setup_top_directory(setup, "proc", 0555);
	int r = target < 0 ? target : setup_mount_on(setup->proc_fd, target, "");

	if (r < 0)
		setup_fail(setup, STAGE_PROC, -r, "/proc");
}

/* The cgroup namespace makes the machine's payload group its root. Where the host has no second
 * version of control groups there is nothing to show. */
static void mount_cgroup(struct setup *setup)
{
	static const char *const no_options[] = { NULL };
	unsigned attributes = quiet | (setup->plan->app ? MOUNT_ATTR_RDONLY : 0U);
	_cleanup_close_ int fd = setup_mount_new("cgroup2", no_options, attributes);
	int r = fd < 0 ? fd : setup_mount_in(fd, setup->root_fd, "sys/fs/cgroup");

	if (r < 0 && setup->plan->systemd)
		setup_fail(setup, STAGE_SYS, -r, "/sys/fs/cgroup");
}

void setup_sys(struct setup *setup)
{
	static const char *const no_options[] = { NULL };
	_cleanup_close_ int fd = setup_mount_new("sysfs", no_options, quiet | MOUNT_ATTR_RDONLY);
	_cleanup_close_ int target = setup_top_directory(setup, "sys", 0555);
	int r = fd < 0 ? fd : target < 0 ? target : setup_mount_on(fd, target, "");

	if (r < 0)
		setup_fail(setup, STAGE_SYS, -r, "/sys");
	mount_cgroup(setup);
}

static const char *const hidden[] = {
	"proc/acpi",          "proc/asound",        "proc/kcore",   "proc/keys",
	"proc/latency_stats", "proc/sched_debug",   "proc/scsi",    "proc/timer_list",
	"proc/timer_stats",   "proc/sysrq-trigger", "sys/firmware", "sys/devices/virtual/powercap",
	"sys/dev/block",
};

static const char *const read_only[] = { "proc/bus", "proc/fs", "proc/irq", NULL };
static const char *const read_only_app[] = { "proc/sys", NULL };

static void hide(struct setup *setup, int null_fd, const char *path)
{
	_cleanup_close_ int target =
		venv__open_beneath(setup->root_fd, path, O_PATH | O_CLOEXEC, 0);
	_cleanup_close_ int cover = -1;
	struct stat st;
	int r;

	if (target == -ENOENT)
		return;
	if (target < 0 || fstat(target, &st) < 0)
		setup_fail(setup, STAGE_MASKS, target < 0 ? -target : errno, path);
	cover = S_ISDIR(st.st_mode) ? setup_empty(setup) : setup_mount_clone(null_fd, "", 0, false);
	r = cover < 0 ? cover : setup_mount_on(cover, target, "");
	if (r < 0)
		setup_fail(setup, STAGE_MASKS, -r, path);
}

static void make_read_only(struct setup *setup, const char *path)
{
	_cleanup_close_ int target =
		venv__open_beneath(setup->root_fd, path, O_PATH | O_CLOEXEC, 0);
	_cleanup_close_ int copy = -1;
	int r;

	if (target == -ENOENT)
		return;
	copy = target < 0 ? target
			  : setup_mount_clone(target, "", MOUNT_ATTR_RDONLY | quiet, false);
	r = copy < 0 ? copy : setup_mount_on(copy, target, "");
	if (r < 0)
		setup_fail(setup, STAGE_MASKS, -r, path);
}

void setup_masks(struct setup *setup)
{
	/* not a detached mount, of which kernels before 6.15 make no copies */
	_cleanup_close_ int null_fd = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	/* the host's /dev/null, and really it: what stands in its place would be the cover */
	if (null_fd < 0 || fstat(null_fd, &st) < 0 || !S_ISCHR(st.st_mode) ||
	    st.st_rdev != makedev(1, 3))
		setup_fail(setup, STAGE_MASKS, ENXIO, "/dev/null");
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		hide(setup, null_fd, hidden[i]);
	for (const char *const *path = read_only; *path; path++)
		make_read_only(setup, *path);
	for (const char *const *path = read_only_app; setup->plan->app && *path; path++)
		make_read_only(setup, *path);
}
