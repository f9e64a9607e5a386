/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left to the program before it reads a stranger's first byte: the ids of the store's map, the
 * capabilities that giving files away needs, the directories that it was handed (Landlock, where
 * the kernel has it), the system calls of a program that reads, writes and computes (seccomp).
 * Without Landlock the rest still holds: paths are opened below descriptors only.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "unpack.h"

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif

int venv__sandbox_become_root(venv_error **err)
{
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return venv__fail_errno(err, errno, "cannot take the ids of the box store");
	return 0;
}

static int drop_capabilities(uint64_t kept, venv_error **err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	for (size_t i = 0; i < 2; i++)
		data[i].effective = data[i].permitted = (uint32_t)(kept >> 32 * i);
	if (syscall(SYS_capset, &header, data) < 0)
		return venv__fail_errno(err, errno, "cannot give up capabilities");
	return 0;
}

#define CAP(name) (UINT64_C(1) << CAP_##name)

static void limit_resources(void)
{
	const struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
}

/* ---- Landlock ----------------------------------------------------------------------------- */

static uint64_t rights_of(long abi)
{
	uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (abi >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
	return rights;
}

static int allow_below(int ruleset, const int *fds, size_t n, uint64_t rights)
{
	for (size_t i = 0; i < n; i++) {
		struct landlock_path_beneath_attr rule = { .allowed_access = rights,
							   .parent_fd = fds[i] };

		if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) <
		    0)
			return -errno;
	}
	return 0;
}

static int enter_landlock(const int *writable, size_t n_writable, const int *readable,
			  size_t n_readable)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = { .handled_access_fs = rights_of(abi) };
	_cleanup_close_ int ruleset = -1;
	int r;

	if (abi < 1)
		return 0; /* this kernel has none */
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	r = allow_below(ruleset, writable, n_writable,
			rights_of(abi) &
				~(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_BLOCK));
	if (r == 0)
		r = allow_below(ruleset, readable, n_readable,
				LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = -errno;
	return r;
}

/* ---- seccomp ------------------------------------------------------------------------------ */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
static const int allowed[] = {
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(readv),
	SCMP_SYS(preadv),
	SCMP_SYS(writev),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(openat2),
	SCMP_SYS(fcntl),
	SCMP_SYS(dup),
	SCMP_SYS(getdents64),
	SCMP_SYS(mkdirat),
	SCMP_SYS(mknodat),
	SCMP_SYS(symlinkat),
	SCMP_SYS(linkat),
	SCMP_SYS(unlinkat),
	SCMP_SYS(unlink),
	SCMP_SYS(rmdir),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(readlinkat),
	SCMP_SYS(fchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(utimensat),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(fsetxattr),
	SCMP_SYS(fgetxattr),
	SCMP_SYS(flistxattr),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(sync_file_range),
	SCMP_SYS(copy_file_range),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(umask),
	SCMP_SYS(mmap),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getrandom),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(tgkill),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvmsg),
	SCMP_SYS(prlimit64),
	SCMP_SYS(getrlimit),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
};

static int add_rules(scmp_filter_ctx filter)
{
	const unsigned needed = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	/* threads, no processes; clone3 hides its flags in memory: libc then takes clone */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, needed, needed));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* memory may not become code */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, 4, 0));
	return r;
}

static int enter_seccomp(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!filter)
		return -ENOMEM;
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = add_rules(filter);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}
#else
static int enter_seccomp(void) /* the sanitizers need more than we would allow */
{
	return 0;
}
#endif

int venv__sandbox_enter(const int *writable, size_t n_writable, const int *readable,
			size_t n_readable, venv_error **err)
{
	int r = venv__sandbox_become_root(err);

	if (r == 0)
		r = drop_capabilities(CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) |
					      CAP(FOWNER) | CAP(FSETID) | CAP(SETFCAP),
				      err);
	if (r < 0)
		return r;
	limit_resources();
	(void)umask(0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return venv__fail_errno(err, errno, "cannot give up privileges");
	r = enter_landlock(writable, n_writable, readable, n_readable);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot enter the Landlock sandbox");
	r = enter_seccomp();
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot load the system call filter");
	return 0;
}

/* ---- For programs of the host ------------------------------------------------------------- */

static int enter_landlock_tools(int tree_fd, int disk_fd)
{
	static const char *const programs[] = { "/usr",     "/bin",   "/sbin",
						"/lib",     "/lib64", "/etc/ld.so.cache",
						"/dev/null" };
	const uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE, dir = LANDLOCK_ACCESS_FS_READ_DIR;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = { .handled_access_fs = rights_of(abi) };
	_cleanup_close_ int ruleset = -1;
	int r;

	if (abi < 1)
		return 0;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	r = allow_below(ruleset, &tree_fd, 1, read | dir);
	if (r == 0)
		r = allow_below(ruleset, &disk_fd, 1,
				read | LANDLOCK_ACCESS_FS_WRITE_FILE |
					(abi >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0));
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(programs); i++) {
		_cleanup_close_ int fd = open(programs[i], O_PATH | O_CLOEXEC);
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0)
			continue;
		r = allow_below(ruleset, &fd, 1,
				S_ISDIR(st.st_mode) ? read | dir | LANDLOCK_ACCESS_FS_EXECUTE
						    : read);
	}
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = -errno;
	return r;
}

/* Which calls another program makes is not ours to say: these it does not need. */
static int forbid_calls(void)
{
	static const int forbidden[] = {
		SCMP_SYS(mount),
		SCMP_SYS(umount2),
		SCMP_SYS(move_mount),
		SCMP_SYS(open_tree),
		SCMP_SYS(fsopen),
		SCMP_SYS(fsmount),
		SCMP_SYS(fspick),
		SCMP_SYS(mount_setattr),
		SCMP_SYS(pivot_root),
		SCMP_SYS(chroot),
		SCMP_SYS(unshare),
		SCMP_SYS(setns),
		SCMP_SYS(ptrace),
		SCMP_SYS(process_vm_readv),
		SCMP_SYS(process_vm_writev),
		SCMP_SYS(bpf),
		SCMP_SYS(perf_event_open),
		SCMP_SYS(userfaultfd),
		SCMP_SYS(keyctl),
		SCMP_SYS(add_key),
		SCMP_SYS(request_key),
		SCMP_SYS(io_uring_setup),
		SCMP_SYS(socket),
		SCMP_SYS(socketpair),
		SCMP_SYS(open_by_handle_at),
		SCMP_SYS(kill),
		SCMP_SYS(pidfd_open),
	};
	const unsigned namespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID |
				    CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r = filter ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(forbidden); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), forbidden[i], 0);
	for (unsigned bit = 1; r == 0 && bit; bit <<= 1)
		if (namespaces & bit)
			r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
					     SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

int venv__sandbox_tools(int tree_fd, int disk_fd, venv_error **err)
{
	int r = drop_capabilities(CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH), err);

	if (r < 0)
		return r;
	limit_resources();
	/* also: what guest root would get by executing a program is no more than what it has */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return venv__fail_errno(err, errno, "cannot give up privileges");
	r = enter_landlock_tools(tree_fd, disk_fd);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot enter the Landlock sandbox");
	r = forbid_calls();
	return r < 0 ? venv__fail_errno(err, -r, "cannot load the system call filter") : 0;
}
