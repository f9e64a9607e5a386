/* SPDX-License-Identifier: Apache-2.0 */
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/compiler.h"

enum { DESCRIPTORS_MAX = 4096, DATA_MAX = 1 << 30 };

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#error "add this processor's audit architecture"
#endif

enum rule {
	ANY,
	NO_EXEC,  /* third argument without PROT_EXEC */
	UNIX_ONLY /* first argument AF_UNIX */
};

static const struct {
	uint16_t number;
	uint8_t rule; /* enum rule */
	uint8_t flag; /* 0, or only with this enum confine_flags */
} allowed[] = {
	/* the most frequent first: the filter is a list */
	{ SYS_read, ANY, 0 },
	{ SYS_write, ANY, 0 },
#ifdef SYS_poll
	{ SYS_poll, ANY, 0 },
#endif
	{ SYS_sendto, ANY, 0 },
	{ SYS_recvfrom, ANY, 0 },
	{ SYS_ppoll, ANY, 0 },
	{ SYS_setsockopt, ANY, 0 },
	{ SYS_getsockopt, ANY, 0 },
	{ SYS_sendmsg, ANY, 0 },
	{ SYS_recvmsg, ANY, 0 },
	{ SYS_close, ANY, 0 },
	{ SYS_fcntl, ANY, 0 },
	{ SYS_brk, ANY, 0 },
	{ SYS_mmap, NO_EXEC, 0 },
	{ SYS_mprotect, NO_EXEC, 0 },
	{ SYS_munmap, ANY, 0 },
	{ SYS_mremap, ANY, 0 },
	{ SYS_madvise, ANY, 0 },
	{ SYS_clock_gettime, ANY, 0 },
	{ SYS_gettimeofday, ANY, 0 },
#ifdef SYS_time
	{ SYS_time, ANY, 0 },
#endif
	{ SYS_getrandom, ANY, 0 },
	{ SYS_shutdown, ANY, 0 },
	{ SYS_dup, ANY, 0 },
	{ SYS_pipe2, ANY, 0 },
	{ SYS_fchmod, ANY, 0 },
	{ SYS_socketpair, UNIX_ONLY, 0 },
	{ SYS_accept4, ANY, 0 },
	{ SYS_getpeername, ANY, 0 },
	{ SYS_getsockname, ANY, 0 },
	{ SYS_readv, ANY, 0 },
	{ SYS_writev, ANY, 0 },
	{ SYS_lseek, ANY, 0 },
	{ SYS_fstat, ANY, 0 },
	{ SYS_futex, ANY, 0 },
	{ SYS_getpid, ANY, 0 },
	{ SYS_gettid, ANY, 0 },
	{ SYS_sysinfo, ANY, 0 },
	{ SYS_rt_sigaction, ANY, 0 },
	{ SYS_rt_sigprocmask, ANY, 0 },
	{ SYS_rt_sigreturn, ANY, 0 },
	{ SYS_restart_syscall, ANY, 0 },
	{ SYS_tgkill, ANY, 0 },
	{ SYS_exit, ANY, 0 },
	{ SYS_exit_group, ANY, 0 },
	{ SYS_socket, UNIX_ONLY, CONFINE_CONNECT_UNIX },
	{ SYS_connect, ANY, CONFINE_CONNECT_UNIX },
};

#define LOAD(field)                                                                                \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define DENY RETURN(SECCOMP_RET_ERRNO | EPERM)

/*
 * One table row as instructions: number in the accumulator, and there again when it does not match.
 */
static size_t add_row(struct sock_filter *out, uint16_t number, enum rule rule)
{
	const struct sock_filter any[] = {
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		RETURN(SECCOMP_RET_ALLOW),
	};
	const struct sock_filter no_exec[] = {
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
		LOAD(args[2]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0),
		RETURN(SECCOMP_RET_ALLOW),
		DENY,
	};
	const struct sock_filter unix_only[] = {
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 0, 1),
		RETURN(SECCOMP_RET_ALLOW),
		DENY,
	};

	if (rule == ANY) {
		memcpy(out, any, sizeof(any));
		return ARRAY_SIZE(any);
	}
	memcpy(out, rule == NO_EXEC ? no_exec : unix_only, sizeof(no_exec));
	return ARRAY_SIZE(no_exec);
}

static int filter_calls(unsigned flags)
{
	struct sock_filter code[ARRAY_SIZE(allowed) * 5 + 8] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
	};
	size_t n = 4;
	struct sock_fprog program;

	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (!allowed[i].flag || (flags & allowed[i].flag))
			n += add_row(code + n, allowed[i].number, (enum rule)allowed[i].rule);
	code[n++] = (struct sock_filter)DENY;
	program = (struct sock_fprog){ .len = (unsigned short)n, .filter = code };
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return -errno;
	return 0;
}

/* No file system at all. Not on every kernel; the filter alone closes the same doors. */
static void filter_files(void)
{
	struct landlock_ruleset_attr rules = {
		.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
	};
	long fd = syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules.handled_access_fs), 0);

	if (fd < 0)
		return;
	(void)syscall(SYS_landlock_restrict_self, (int)fd, 0);
	(void)close((int)fd);
}

static void lower(__rlimit_resource_t what, rlim_t limit)
{
	struct rlimit now;

	if (getrlimit(what, &now) < 0)
		return;
	now.rlim_max = MIN(now.rlim_max, limit);
	now.rlim_cur = now.rlim_max;
	(void)setrlimit(what, &now);
}

int venv__confine(unsigned flags)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	lower(RLIMIT_CORE, 0);
	lower(RLIMIT_NOFILE, DESCRIPTORS_MAX);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	(void)filter_files;
	(void)filter_calls;
	(void)flags;
	return 0; /* the sanitizers' own work would be refused */
#else
	lower(RLIMIT_DATA, DATA_MAX);
	if (!(flags & CONFINE_CONNECT_UNIX))
		filter_files();
	return filter_calls(flags);
#endif
}
