/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: this is a copy of the keeper in the machine's new namespaces, and nothing of
 * the machine runs yet, so nobody races with it; but what it finds in the layers and in the upper
 * directory was written by whoever made the box or by the machine before, so every path below the
 * root goes through openat2(). It reports the first failure in a record and ends. It learns of the
 * keeper's death by its death signal, and before that is set by the end of the socket.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "setup.h"

_Noreturn void setup_fail(const struct setup *setup, enum setup_stage stage, int number,
			  const char *what)
{
	struct record record = { .kind = RECORD_ERROR, .stage = stage, .number = number };
	size_t length = strnlen(what, sizeof(record.what) - 1);

	memcpy(record.what, what, length);
	(void)setup_record_send(setup->sync, &record, NULL, 0);
	_exit(1);
}

static void wait_for(const struct setup *setup, enum record_kind kind)
{
	struct record record;

	if (setup_record_receive(setup->sync, &record, NULL, 0, NULL) != 1 || record.kind != kind)
		_exit(1); /* the keeper gave up */
}

static void become_root(const struct setup *setup)
{
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		setup_fail(setup, STAGE_IDS, errno, "");
	/* a change of ids clears it */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)setsid();
	(void)umask(0); /* modes are given as they shall be */
	/* a keyring of its own, not the one of whoever started the keeper */
	(void)syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL);
}

static void say_hello(const struct setup *setup)
{
	struct record record = { .kind = RECORD_HELLO };
	const int fds[] = { open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC),
			    open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC) };

	if (fds[0] < 0 || fds[1] < 0 || setup_record_send(setup->sync, &record, fds, 2) < 0)
		setup_fail(setup, STAGE_IDS, errno, "its namespaces");
	(void)close(fds[0]);
	(void)close(fds[1]);
}

/* Without a network nobody else does it. */
static void loopback_up(const struct setup *setup)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		setup_fail(setup, STAGE_HOSTNAME, errno, "the loopback interface");
}

static void write_sysctl(const struct setup *setup, const char *path, const char *value)
{
	_cleanup_close_ int fd = venv__open_beneath(setup->proc_fd, path, O_WRONLY | O_CLOEXEC, 0);

	if (fd >= 0 && write(fd, value, strlen(value)) < 0)
		return; /* a convenience that this kernel does not offer */
}

static void set_names(const struct setup *setup)
{
	const char *name = setup->plan->hostname;

	if (sethostname(name, strlen(name)) < 0)
		setup_fail(setup, STAGE_HOSTNAME, errno, name);
	write_sysctl(setup, "sys/net/ipv4/ping_group_range", "0 65535");
	write_sysctl(setup, "sys/net/ipv4/ip_unprivileged_port_start", "0");
	if (!setup->plan->network)
		loopback_up(setup);
}

static void report_ready(const struct setup *setup)
{
	struct record record = { .kind = RECORD_READY };
	const int fds[] = { setup->console_master_fd, setup->devpts_fd };

	if (setup_record_send(setup->sync, &record, fds, ARRAY_SIZE(fds)) < 0)
		_exit(1);
	wait_for(setup, RECORD_GO);
}

static _Noreturn void execute(struct setup *setup)
{
	static char name[] = "venv-init";
	static char *const own[] = { name, NULL };
	char *const *argv = setup->plan->init ? setup->plan->init : own;
	sigset_t none;

	(void)umask(022);
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	for (int fd = 0; fd < 3; fd++)
		if (dup2(setup->console_fd, fd) < 0)
			setup_fail(setup, STAGE_INIT, errno, "its terminal");
	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		setup_fail(setup, STAGE_INIT, errno, "closing descriptors");
	if (setup->init_fd >= 0)
		(void)syscall(SYS_execveat, setup->init_fd, "", argv, setup->plan->env,
			      AT_EMPTY_PATH);
	else
		(void)execve(argv[0], argv, setup->plan->env);
	setup_fail(setup, STAGE_INIT, errno, argv[0]);
}

_Noreturn void setup_child(struct setup *setup)
{
	int r;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	wait_for(setup, RECORD_MAPPED);
	say_hello(setup);
	become_root(setup);
	setup_staging(setup);
	setup_root(setup);
	setup_dev(setup);
	setup_proc(setup);
	setup_sys(setup);
	setup_files(setup);
	setup_folders(setup);
	set_names(setup);
	setup_masks(setup);
	setup_pivot(setup);
	setup_folders_end(setup);
	r = secure_apply(setup->plan->app, setup->filter);
	if (r < 0)
		setup_fail(setup, STAGE_SECURITY, -r, "");
	report_ready(setup);
	execute(setup);
}
