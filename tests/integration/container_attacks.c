/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inside a machine as its root: system calls that must not work there. Static. Prints what did
 * work, and then ends with 1. With "app": what the strict profile forbids as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int bad;

static void refused(const char *what, long r, int wanted)
{
	if (r == -1 && (!wanted || errno == wanted))
		return;
	printf("%s: %ld %s\n", what, r, r < 0 ? strerror(errno) : "worked");
	bad = 1;
}

#if defined(__x86_64__)
/* Kernels without 32-bit programs end whoever knocks there. */
static bool has_int80(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		long r;

		__asm__ volatile("int $0x80"
				 : "=a"(r)
				 : "a"(20L)
				 : "memory", "r8", "r9", "r10", "r11");
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status);
}

/* The 32-bit door: socketcall() would get around a filter of socket(). */
static long int80(long number, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(number), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	if (r < 0 && r > -4096) {
		errno = (int)-r;
		return -1;
	}
	return r;
}
#endif

/* CVE-2022-0492. Where the host still has v1 a machine's root may see it, but change nothing. */
static void groups(void)
{
	if (mkdir("/tmp/v1", 0755) < 0 || mount("x", "/tmp/v1", "cgroup", 0, "memory") < 0)
		return;
	refused("a group in v1", mkdir("/tmp/v1/mine", 0755), 0);
	refused("release_agent", open("/tmp/v1/release_agent", O_WRONLY), 0);
	refused("notify_on_release", open("/tmp/v1/notify_on_release", O_WRONLY), 0);
	refused("cgroup.procs", open("/tmp/v1/cgroup.procs", O_WRONLY), 0);
	refused("another mount with an agent",
		mount("x", "/tmp/v1", "cgroup", 0, "memory,release_agent=/tmp/x"), 0);
}

static void always(void)
{
	char byte = 'x';

	refused("AF_ALG", socket(AF_ALG, SOCK_SEQPACKET, 0), EPERM);
	/* the upper half of the register must not hide it */
	refused("AF_ALG, wide", syscall(SYS_socket, 0x100000000L | AF_ALG, SOCK_SEQPACKET, 0),
		EPERM);
	refused("AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 0), EPERM);
	refused("TIOCSTI", ioctl(0, TIOCSTI, &byte), EPERM);
	refused("TIOCSTI, wide", syscall(SYS_ioctl, 0, 0x100000000L | TIOCSTI, &byte), EPERM);
	refused("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0), EPERM);
	refused("init_module", syscall(SYS_init_module, NULL, 0, ""), EPERM);
	refused("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0), EPERM);
	refused("bpf", syscall(SYS_bpf, 0, NULL, 0), EPERM);
	refused("userfaultfd", syscall(SYS_userfaultfd, 0), EPERM);
	refused("open_by_handle_at", syscall(SYS_open_by_handle_at, -1, NULL, 0), EPERM);
	refused("keyctl", syscall(SYS_keyctl, 0, 0, 0), EPERM);
	refused("io_uring_setup", syscall(SYS_io_uring_setup, 1, NULL), ENOSYS);
#if defined(__x86_64__)
	if (has_int80()) {
		refused("int80 getpid", int80(20, 0, 0, 0), ENOSYS);
		refused("int80 socketcall", int80(102, 1, 0, 0), ENOSYS);
	}
	refused("x32 getpid", syscall(0x40000000 | SYS_getpid), ENOSYS);
#endif
	refused("mknod", mknod("/tmp/sda", S_IFBLK | 0600, makedev(8, 0)), 0);
	refused("core_pattern", open("/proc/sys/kernel/core_pattern", O_WRONLY), 0);
	groups();
	refused("raw host disk", open("/dev/vda", O_RDONLY), 0);
	refused("settimeofday", syscall(SYS_settimeofday, NULL, NULL), EPERM);
	refused("vhangup'd console of the host", open("/dev/tty1", O_RDWR), 0);
}

static void app(void)
{
	struct clone_args args = { .flags = CLONE_NEWUSER };

	refused("mount", mount("x", "/tmp", "tmpfs", 0, NULL), EPERM);
	refused("unshare", unshare(CLONE_NEWUSER), EPERM);
	refused("clone3", syscall(SYS_clone3, &args, sizeof(args)), ENOSYS);
	refused("clone", syscall(SYS_clone, CLONE_NEWUSER, 0, 0, 0, 0), 0);
	refused("setns", setns(0, 0), EPERM);
	refused("ptrace", ptrace(PTRACE_TRACEME, 0, NULL, NULL), EPERM);
	refused("AF_PACKET", socket(AF_PACKET, SOCK_RAW, 0), 0);
	refused("fsopen", syscall(SYS_fsopen, "tmpfs", 0), EPERM);
	refused("a call of the future", syscall(999), ENOSYS);
	refused("chroot'd device", mknod("/tmp/null", S_IFCHR | 0600, makedev(1, 3)), 0);
}

int main(int argc, char **argv)
{
	always();
	if (argc > 1 && strcmp(argv[1], "app") == 0)
		app();
	return bad;
}
