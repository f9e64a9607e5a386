/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/cleanup.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "name this architecture for seccomp"
#endif

int venv__sandbox_rights(uint64_t keep)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2], now[2];

	if (syscall(SYS_capget, &header, now) < 0)
		return -errno;
	if (now[0].effective & (1u << CAP_SETPCAP))
		for (unsigned long cap = 0; cap <= CAP_LAST_CAP; cap++)
			if (!(keep & (1ULL << cap)))
				(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (int i = 0; i < 2; i++) {
		data[i].effective = now[i].permitted & (uint32_t)(keep >> (32 * i));
		data[i].permitted = data[i].effective;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* Every right that this kernel's Landlock knows: a right that is not handled stays allowed. */
static uint64_t known_rights(long version)
{
	uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	return version >= 2 ? all | LANDLOCK_ACCESS_FS_REFER : all;
}

int venv__sandbox_files(const struct sandbox_path *paths, size_t n)
{
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = { .handled_access_fs = known_rights(version) };
	_cleanup_close_ int ruleset = -1;

	if (version < 1)
		return 0;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		struct landlock_path_beneath_attr rule = { .allowed_access = paths[i].access,
							   .parent_fd = paths[i].fd };

		if (paths[i].fd >= 0 && syscall(SYS_landlock_add_rule, ruleset,
						LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
			return -errno;
	}
	return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}

/* What every helper does: memory, descriptors it was given, messages, its log, its end. */
static const int common[] = {
#ifdef SYS_poll
	SYS_poll,
#endif
	SYS_read,    SYS_write,     SYS_close,           SYS_fcntl,          SYS_ppoll,
	SYS_recvmsg, SYS_sendmsg,   SYS_recvfrom,        SYS_sendto,         SYS_brk,
	SYS_mmap,    SYS_munmap,    SYS_mremap,          SYS_madvise,        SYS_mprotect,
	SYS_futex,   SYS_getrandom, SYS_clock_gettime,   SYS_getpid,         SYS_gettid,
	SYS_getuid,  SYS_geteuid,   SYS_rt_sigreturn,    SYS_rt_sigprocmask, SYS_rt_sigaction,
	SYS_tgkill,  SYS_exit,      SYS_restart_syscall, SYS_exit_group,
};

enum { FILTER_MAX = 512 };

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
/* A call's argument; of all that are looked at the kernel itself takes no more than this half. */
#define LOAD_ARGUMENT(n)                                                                           \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS,                                                         \
		 (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (n)))
#define JUMP_IF(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)

struct program {
	struct sock_filter code[FILTER_MAX];
	size_t length;
};

static void put(struct program *program, struct sock_filter instruction)
{
	if (program->length < FILTER_MAX)
		program->code[program->length] = instruction;
	program->length++;
}

static void put_calls(struct program *program, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		put(program, (struct sock_filter)JUMP_IF((uint32_t)calls[i], 0, 1));
		put(program, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
	}
}

/* This call, when the argument has one of the values. */
static void put_argument(struct program *program, const struct sandbox_argument *argument)
{
	const uint8_t n = (uint8_t)argument->n_values;

	put(program, (struct sock_filter)JUMP_IF((uint32_t)argument->call, 0, (uint8_t)(n + 3)));
	put(program, (struct sock_filter)LOAD_ARGUMENT(argument->position));
	for (uint8_t i = 0; i < n; i++)
		put(program, (struct sock_filter)JUMP_IF(argument->values[i], (uint8_t)(n - i), 0));
	put(program, (struct sock_filter)RETURN(REFUSE));
	put(program, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
}

int venv__sandbox_syscalls(const struct sandbox_calls *allowed)
{
	const struct sock_filter head[] = {
		LOAD(arch), JUMP_IF(NATIVE_ARCH, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),   JUMP_IF(SYS_clone3, 0, 1),  RETURN(SECCOMP_RET_ERRNO | ENOSYS),
	};
	static struct program program;
	struct sock_fprog filter = { .filter = program.code };

	program.length = 0;
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		put(&program, head[i]);
	put_calls(&program, common, ARRAY_SIZE(common));
	put_calls(&program, allowed->calls, allowed->n_calls);
	for (size_t i = 0; i < allowed->n_arguments; i++)
		put_argument(&program, &allowed->arguments[i]);
	put(&program, (struct sock_filter)RETURN(REFUSE));
	if (program.length > FILTER_MAX)
		return -E2BIG;
	filter.len = (unsigned short)program.length;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) < 0 ? -errno : 0;
}
