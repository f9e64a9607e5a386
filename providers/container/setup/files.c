/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /etc/hostname, /etc/hosts and /etc/resolv.conf in the root, and the directories that programs
 * expect. A file is replaced by rename, so a link that stands in its place is never followed; it
 * is written only when its text differs, so that a start costs no copy-up.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "mounts.h"
#include "setup.h"
#include "util/buf.h"

enum { SAME_MAX = 16384 };

static bool same(int dir_fd, const char *name, const struct buf *text)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char present[SAME_MAX];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (size_t)st.st_size != text->length || text->length > sizeof(present))
		return false;
	return read(fd, present, sizeof(present)) == (ssize_t)text->length &&
	       memcmp(present, text->data, text->length) == 0;
}

static void put_file(struct setup *setup, int dir_fd, const char *name, struct buf *text)
{
	static const char temporary[] = ".venv-new";
	_cleanup_close_ int fd = -1;
	int r = text->failed ? -ENOMEM : 0;

	if (r == 0 && same(dir_fd, name, text))
		return;
	(void)unlinkat(dir_fd, temporary, 0);
	if (r == 0)
		fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0644);
	if (r == 0)
		r = fd < 0 ? -errno : venv__write_all(fd, text->data, text->length);
	if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
		r = -errno;
	/* a machine that made a directory of it shall have it so */
	if (r < 0 && r != -EISDIR && r != -EEXIST)
		setup_fail(setup, STAGE_FILES, -r, name);
}

static void put_hosts(struct setup *setup, int dir_fd)
{
	const struct plan *plan = setup->plan;
	_cleanup_buf_ struct buf text = { 0 };

	venv__buf_puts(&text, "127.0.0.1\tlocalhost\n"
			      "::1\tlocalhost ip6-localhost ip6-loopback\n");
	venv__buf_printf(&text, "%s\t%s\n", plan->address ? plan->address : "127.0.1.1",
			 plan->hostname);
	for (char **line = plan->hosts; line && *line; line++)
		venv__buf_printf(&text, "%s\n", *line);
	put_file(setup, dir_fd, "hosts", &text);
}

static void put_run(struct setup *setup)
{
	static const char *const options[] = { "mode", "0755", NULL };
	_cleanup_close_ int target = setup_top_directory(setup, "run", 0755);
	_cleanup_close_ int fd = -1;
	int r = target;

	if (r >= 0 && setup->plan->systemd) {
		fd = setup_mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
		r = fd < 0 ? fd : setup_mount_on(fd, target, "");
	}
	if (r < 0)
		setup_fail(setup, STAGE_FILES, -r, "/run");
}

void setup_files(struct setup *setup)
{
	_cleanup_close_ int etc = setup_top_directory(setup, "etc", 0755);
	_cleanup_close_ int tmp = setup_top_directory(setup, "tmp", 01777);
	_cleanup_buf_ struct buf name = { 0 }, resolver = { 0 };

	if (etc < 0 || tmp < 0)
		setup_fail(setup, STAGE_FILES, etc < 0 ? -etc : -tmp, etc < 0 ? "/etc" : "/tmp");
	venv__buf_printf(&name, "%s\n", setup->plan->hostname);
	put_file(setup, etc, "hostname", &name);
	put_hosts(setup, etc);
	if (setup->plan->dns) {
		venv__buf_printf(&resolver, "nameserver %s\n", setup->plan->dns);
		put_file(setup, etc, "resolv.conf", &resolver);
	}
	put_run(setup);
}
