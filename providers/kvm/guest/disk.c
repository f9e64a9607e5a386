/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root disk: ext4 without partitions, found by its serial number. It is grown to its device when that
 * is larger, and moved to "/"; the initramfs, which is memory, is emptied.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"
#include "util/cleanup.h"

#define EXT4_GROW _IOW('f', 16, uint64_t) /* EXT4_IOC_RESIZE_FS: in blocks */

enum { WAIT_MS = 10000, STEP_MS = 10 };

static bool serial_is(int block_fd, const char *disk, const char *serial)
{
	char path[300], text[64];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/serial", disk);
	fd = openat(block_fd, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, serial) == 0;
}

bool guest_disk_find(int block_fd, const char *serial, char *ret, size_t size)
{
	int copy = openat(block_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || !serial_is(block_fd, entry->d_name, serial))
			continue;
		return (size_t)snprintf(ret, size, "/dev/%s", entry->d_name) < size;
	}
	return false;
}

static void wait_for_disk(const char *serial, char *ret, size_t size)
{
	_cleanup_close_ int block = open("/sys/block", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct timespec moment = { 0, STEP_MS * 1000000L };

	for (int waited = 0; waited < WAIT_MS; waited += STEP_MS) {
		if (guest_disk_find(block, serial, ret, size))
			return;
		(void)nanosleep(&moment, NULL);
	}
	guest_die(0, "the root disk (serial number '%s') does not appear", serial);
}

static void grow(const char *device, const char *where)
{
	_cleanup_close_ int disk = open(device, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int root = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t bytes = 0, blocks;
	struct statfs fs;

	if (disk < 0 || root < 0 || ioctl(disk, BLKGETSIZE64, &bytes) < 0 || fstatfs(root, &fs) < 0)
		return;
	blocks = bytes / (uint64_t)fs.f_bsize;
	/* what statfs says lacks the file system's own tables */
	if (blocks > (uint64_t)fs.f_blocks + (uint64_t)fs.f_blocks / 16 &&
	    ioctl(root, EXT4_GROW, &blocks) < 0)
		guest_say("cannot grow the root file system to its disk: %s", strerror(errno));
}

/* Only our own files: they lie in memory, and nobody will look at them again. */
static void empty_initramfs(void)
{
	static const char *const ours[] = { "/init", "/config", "/venv-enter" };

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		(void)unlink(ours[i]);
}

static void move(const char *from, const char *to)
{
	(void)mkdir(to, 0755);
	if (mount(from, to, NULL, MS_MOVE, NULL) < 0)
		guest_die(errno, "cannot move %s to %s", from, to);
}

void guest_disk_enter(const struct guest *guest)
{
	const char *serial = words_get(&guest->config, "root");
	char device[64];

	if (!serial)
		guest_die(0, "/config names no root disk");
	wait_for_disk(serial, device, sizeof(device));
	(void)mkdir("/root", 0755);
	if (mount(device, "/root", "ext4", MS_NOATIME, NULL) < 0)
		guest_die(errno, "cannot mount the root disk %s", device);
	grow(device, "/root");
	move("/dev", "/root/dev");
	move("/proc", "/root/proc");
	move("/sys", "/root/sys");
	empty_initramfs();
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		guest_die(errno, "cannot make the root disk the root directory");
}
