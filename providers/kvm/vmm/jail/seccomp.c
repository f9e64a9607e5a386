/* SPDX-License-Identifier: Apache-2.0 */
/* The filters of system calls, one for each kind of thread. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "jail.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WITH_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WITH_SANITIZER 1
#endif
#endif
#ifndef WITH_SANITIZER
#define WITH_SANITIZER 0
#endif

/* What libc and its threads do for themselves. */
#define COMMON                                                                                     \
	__NR_futex, __NR_munmap, __NR_madvise, __NR_mremap, __NR_brk, __NR_clock_gettime,          \
		__NR_clock_nanosleep, __NR_nanosleep, __NR_getrandom, __NR_rt_sigprocmask,         \
		__NR_rt_sigreturn, __NR_restart_syscall, __NR_sched_yield, __NR_gettid,            \
		__NR_getpid, __NR_tgkill, __NR_exit, __NR_exit_group, __NR_read, __NR_write,       \
		__NR_close

#define LOOP                                                                                       \
	__NR_epoll_wait, __NR_epoll_pwait, __NR_epoll_ctl, __NR_timerfd_create,                    \
		__NR_timerfd_settime, __NR_eventfd2, __NR_poll, __NR_ppoll, __NR_readv,            \
		__NR_writev, __NR_recvmsg, __NR_sendmsg, __NR_recvfrom, __NR_sendto, __NR_fcntl,   \
		__NR_fstat, __NR_newfstatat, __NR_lseek

#define DISK                                                                                       \
	__NR_pread64, __NR_pwrite64, __NR_preadv, __NR_pwritev, __NR_preadv2, __NR_pwritev2,       \
		__NR_fsync, __NR_fdatasync, __NR_fallocate, __NR_ftruncate, __NR_io_uring_enter,   \
		__NR_copy_file_range

#define FILES                                                                                      \
	__NR_openat, __NR_openat2, __NR_statx, __NR_fstatfs, __NR_readlinkat, __NR_getdents64,     \
		__NR_mkdirat, __NR_mknodat, __NR_symlinkat, __NR_linkat, __NR_unlinkat,            \
		__NR_renameat, __NR_renameat2, __NR_fchmod, __NR_fchmodat, __NR_utimensat,         \
		__NR_fgetxattr, __NR_fsetxattr, __NR_flistxattr, __NR_fremovexattr, __NR_flock,    \
		__NR_syncfs

/* poll: whether an interrupt of MSI-X is pending */
static const uint16_t vcpu_calls[] = { COMMON, __NR_timerfd_settime, __NR_epoll_ctl, __NR_poll };
static const uint16_t worker_calls[] = { COMMON, LOOP };
static const uint16_t disk_calls[] = { COMMON, LOOP, DISK };
static const uint16_t folder_calls[] = { COMMON, LOOP, DISK, FILES };
static const uint16_t volume_calls[] = { COMMON, LOOP, DISK, FILES, __NR_fchownat };
static const uint16_t socket_calls[] = { COMMON, LOOP, __NR_accept4, __NR_connect, __NR_shutdown };
static const uint16_t main_calls[] = {
	COMMON,
	LOOP,
	DISK,
	__NR_accept4,
	__NR_geteuid, /* who calls must be this user */
	__NR_getsockopt,
	__NR_shutdown,
	__NR_socketpair,
	__NR_memfd_create,
	__NR_getrusage,
};

/* A call whose argument (its lower half), masked, must have a value, or that of another rule. */
struct rule {
	uint32_t call, argument, mask, value;
};

/* No new code. */
static const struct rule common_rules[] = {
	{ __NR_mmap, 2, PROT_EXEC, 0 },
	{ __NR_mprotect, 2, PROT_EXEC, 0 },
};
/* Of devices KVM's alone: 0xae is the type of all of its requests. */
static const struct rule kvm_rules[] = { { __NR_ioctl, 1, 0xff00, 0xae00 } };
#define REQUEST(name)                                                                              \
	{                                                                                          \
		__NR_ioctl, 1, UINT32_MAX, (uint32_t)(name)                                        \
	}
static const struct rule net_rules[] = {
	REQUEST(TUNSETOFFLOAD),        REQUEST(VHOST_SET_OWNER),
	REQUEST(VHOST_SET_MEM_TABLE),  REQUEST(VHOST_SET_FEATURES),
	REQUEST(VHOST_SET_VRING_NUM),  REQUEST(VHOST_SET_VRING_ADDR),
	REQUEST(VHOST_SET_VRING_BASE), REQUEST(VHOST_GET_VRING_BASE),
	REQUEST(VHOST_SET_VRING_KICK), REQUEST(VHOST_SET_VRING_CALL),
	REQUEST(VHOST_SET_VRING_ERR),  REQUEST(VHOST_NET_SET_BACKEND),
};
static const struct rule socket_rules[] = { { __NR_socket, 0, UINT32_MAX, AF_UNIX } };

#define LIST(array) (array), ARRAY_SIZE(array)

static const struct {
	const uint16_t *calls;
	size_t n_calls;
	const struct rule *rules;
	size_t n_rules;
} lists[] = {
	[JAIL_VCPU] = { LIST(vcpu_calls), LIST(kvm_rules) },
	[JAIL_WORKER] = { LIST(worker_calls), NULL, 0 },
	[JAIL_DISK] = { LIST(disk_calls), NULL, 0 },
	[JAIL_NET] = { LIST(worker_calls), LIST(net_rules) },
	[JAIL_FOLDER] = { LIST(folder_calls), NULL, 0 },
	[JAIL_VOLUME] = { LIST(volume_calls), NULL, 0 },
	[JAIL_SOCKETS] = { LIST(socket_calls), LIST(socket_rules) },
	[JAIL_MAIN] = { LIST(main_calls), LIST(kvm_rules) },
};

enum { FILTER_MAX = 320 };

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned short n;
};

static void emit(struct filter *filter, struct sock_filter instruction)
{
	if (filter->n < FILTER_MAX)
		filter->code[filter->n++] = instruction;
}

static struct sock_filter load(size_t offset)
{
	return (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset);
}

static struct sock_filter verdict(uint32_t value)
{
	return (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, value);
}

static struct sock_filter skip_if_equal(uint32_t value, uint8_t yes, uint8_t no)
{
	return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no);
}

static void emit_rules(struct filter *filter, const struct rule *rules, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		emit(filter, skip_if_equal(rules[i].call, 0, 5));
		emit(filter, load(offsetof(struct seccomp_data, args) +
				  rules[i].argument * sizeof(uint64_t)));
		emit(filter,
		     (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, rules[i].mask));
		emit(filter, skip_if_equal(rules[i].value, 0, 1));
		emit(filter, verdict(SECCOMP_RET_ALLOW));
		emit(filter, load(offsetof(struct seccomp_data, nr))); /* for who comes next */
	}
}

static void build(struct filter *filter, enum jail_thread kind)
{
	emit(filter, load(offsetof(struct seccomp_data, arch)));
	emit(filter, skip_if_equal(AUDIT_ARCH_X86_64, 1, 0));
	emit(filter, verdict(SECCOMP_RET_KILL_PROCESS));
	emit(filter, load(offsetof(struct seccomp_data, nr)));
	emit_rules(filter, common_rules, ARRAY_SIZE(common_rules));
	emit_rules(filter, lists[kind].rules, lists[kind].n_rules);
	for (size_t i = 0; i < lists[kind].n_calls; i++) {
		emit(filter, skip_if_equal(lists[kind].calls[i], 0, 1));
		emit(filter, verdict(SECCOMP_RET_ALLOW));
	}
	emit(filter, verdict(SECCOMP_RET_KILL_PROCESS));
}

int jail_thread(enum jail_thread kind)
{
	struct filter filter = { .n = 0 };
	struct sock_fprog program = { .filter = filter.code };

	if (WITH_SANITIZER)
		return 0;
	build(&filter, kind);
	if (filter.n == FILTER_MAX)
		return -E2BIG; /* the last instruction may be missing */
	program.len = filter.n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return -errno;
	return 0;
}
