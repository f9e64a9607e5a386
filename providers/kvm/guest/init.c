/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"
#include "util/cleanup.h"

enum { CONFIG_MAX = 1024 * 1024, HIGH_FD = 64 };

__attribute__((format(printf, 2, 0))) static void say(int number, const char *format, va_list args)
{
	char text[512];

	(void)vsnprintf(text, sizeof(text), format, args);
	(void)dprintf(STDERR_FILENO, "venv: %s%s%s\r\n", text, number ? ": " : "",
		      number ? strerror(number) : "");
}

void guest_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(0, format, args);
	va_end(args);
}

_Noreturn void guest_power(int how)
{
	sync();
	(void)reboot(how);
	for (;;)
		(void)pause();
}

_Noreturn void guest_die(int number, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(number, format, args);
	va_end(args);
	guest_say("the machine cannot start and is switched off");
	guest_power(RB_POWER_OFF);
}

/* The console first: without it nothing that fails could be told. */
static void mount_first(void)
{
	static const struct {
		const char *type, *where;
	} first[] = { { "devtmpfs", "/dev" }, { "proc", "/proc" }, { "sysfs", "/sys" } };

	for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
		int r;

		(void)mkdir(first[i].where, 0755);
		r = mount(first[i].type, first[i].where, first[i].type,
			  MS_NOSUID | (i ? MS_NOEXEC | MS_NODEV : 0), NULL);
		if (i == 0) {
			int fd = open("/dev/console", O_RDWR | O_NOCTTY);

			for (int k = 0; k < 3 && fd >= 0; k++)
				(void)dup2(fd, k);
			if (fd > 2)
				(void)close(fd);
		}
		if (r < 0 && errno != EBUSY)
			guest_die(errno, "cannot mount %s", first[i].where);
	}
}

static void read_config(struct guest *guest)
{
	_cleanup_close_ int fd = open("/config", O_RDONLY | O_CLOEXEC);
	char *text = malloc(CONFIG_MAX);
	ssize_t n = 0;

	if (fd < 0 || !text)
		guest_die(errno, "cannot read /config of the initramfs");
	while (guest->config.length < CONFIG_MAX &&
	       (n = read(fd, text + guest->config.length, CONFIG_MAX - guest->config.length)) > 0)
		guest->config.length += (size_t)n;
	guest->config.data = text;
	if (n < 0 || !words_valid(&guest->config) ||
	    words_number(&guest->config, "version", 1000, 0) != AGENT_VERSION)
		guest_die(0, "/config of the initramfs is not of this version");
	guest->systemd = words_get(&guest->config, "init") != NULL;
}

static void open_enter(struct guest *guest)
{
	int fd = open("/venv-enter", O_RDONLY | O_CLOEXEC);

	guest->enter_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
	if (guest->enter_fd < 0)
		guest_die(errno, "cannot open /venv-enter of the initramfs");
	(void)close(fd);
}

static void mount_in(const char *type, const char *where, unsigned long flags, const char *options)
{
	(void)mkdir(where, 0755);
	if (mount(type, where, type, flags, options) < 0 && errno != EBUSY)
		guest_die(errno, "cannot mount %s", where);
}

/* What systemd would mount otherwise; it takes them as they are. */
static void mount_rest(void)
{
	const unsigned long safe = MS_NOSUID | MS_NODEV;

	mount_in("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666");
	mount_in("tmpfs", "/dev/shm", safe, "mode=1777");
	mount_in("tmpfs", "/run", safe, "mode=0755");
	mount_in("cgroup2", "/sys/fs/cgroup", safe | MS_NOEXEC, "nsdelegate,memory_recursiveprot");
	(void)symlink("/proc/self/fd", "/dev/fd");
	(void)symlink("fd/0", "/dev/stdin");
	(void)symlink("fd/1", "/dev/stdout");
	(void)symlink("fd/2", "/dev/stderr");
}

static void make_system(struct guest *guest)
{
	_cleanup_close_ int initramfs = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int root = -1;

	guest_modules_load(guest, initramfs);
	guest_disk_enter(guest);
	mount_rest();
	root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		guest_die(errno, "cannot open the root directory");
	guest_files_write(guest, root);
	guest_network_make(guest);
	guest_folders_mount(guest);
}

/*
 * Images for containers have no udev, without which no device ever appears for systemd: a login on the console
 * would keep it starting for a minute and a half (systemd-getty-generator(8)).
 */
static struct words more_environment(void)
{
	static const char without_login[] = "env=SYSTEMD_GETTY_AUTO=0";

	if (access("/lib/systemd/systemd-udevd", X_OK) == 0)
		return (struct words){ 0 };
	return (struct words){ without_login, sizeof(without_login) };
}

/* The image's own systemd takes our place. */
static _Noreturn void become(const struct guest *guest)
{
	char **argv = calloc(words_count(&guest->config, "init") + 1, sizeof(char *));
	const struct words more = more_environment();
	char **env = guest_enter_environment(guest, &more);
	const char *at = NULL, *word;
	size_t n = 0;

	if (!argv || !env)
		guest_die(ENOMEM, "cannot start the image's init");
	while ((word = words_each(&guest->config, "init", &at)))
		argv[n++] = strdup(word);
	if (n == 0 || !argv[0])
		guest_die(ENOENT, "the image names no init");
	(void)execve(argv[0], argv, env);
	guest_die(errno, "cannot execute the image's init '%s'", argv[0]);
}

int main(void)
{
	struct guest guest = { .enter_fd = -1, .listener = -1 };
	int r;

	if (getpid() != 1) {
		(void)fprintf(stderr, "venv-guest is process 1 of a virtual machine\n");
		return 2;
	}
	mount_first();
	read_config(&guest);
	open_enter(&guest);
	make_system(&guest);
	guest.listener = guest_agent_listen();
	r = guest.listener;
	if (r >= 0 && guest.systemd)
		r = guest_watch_fork(&guest);
	if (r < 0)
		guest_die(-r, "cannot start the agent");
	if (guest.systemd)
		become(&guest);
	guest_service_run(&guest);
}
