/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a keeper gives up when its machine runs. It reads requests of our own processes, the console and,
 * through the event loop, what venv-sess makes of strangers' bytes; so little of it is enough.
 *
 * The bounds are set by what is inherited: every process that enters the machine is cloned from the
 * keeper, and a machine that reboots is set up by it anew (mounts, namespaces, newuidmap).
 * - Landlock forbids whoever is in its domain, and all children, to mount anything, and would look at
 *   the files of the machine by the host's directories: no machine works in it.
 * - Without CAP_SYS_ADMIN, which an ordinary user's keeper has not, Landlock and seccomp both want
 *   no_new_privs, with which sudo, su and newuidmap fail in every session and at every reboot. An `app`
 *   machine has it anyway.
 * - The capabilities of a user namespace are whole again in who enters it, so what root's keeper loses
 *   on the host is not missing in its machine.
 * So: nobody traces it or sees its memory, and it leaves no core (the keys of ssh pass through it); it
 * has no keyring of the user's; root's keeper keeps the capabilities of its work; and where it may be
 * loaded, a filter denies what no machine is allowed either.
 */
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "keeper.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "name this architecture for seccomp"
#endif

#define BIT(capability) (UINT64_C(1) << (capability))

static const uint64_t needed = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) |
			       BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) | BIT(CAP_MKNOD) |
			       BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SETFCAP) | BIT(CAP_SETGID) |
			       BIT(CAP_SETPCAP) | BIT(CAP_SETUID) | BIT(CAP_SYS_ADMIN) |
			       BIT(CAP_SYS_CHROOT) | BIT(CAP_SYS_PTRACE) | BIT(CAP_SYS_RESOURCE);

/* A part of `forbidden` in seccomp.c: the set-up of a machine that reboots uses keyctl. */
static const int denied[] = {
#ifdef SYS_iopl
	SYS_iopl,
	SYS_ioperm,
	SYS_uselib,
#endif
	SYS_kexec_load,
	SYS_kexec_file_load,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_open_by_handle_at,
	SYS_perf_event_open,
	SYS_userfaultfd,
	SYS_bpf,
	SYS_swapon,
	SYS_swapoff,
	SYS_acct,
	SYS_settimeofday,
	SYS_clock_settime,
	SYS_quotactl,
	SYS_add_key,
	SYS_request_key,
	SYS_fanotify_init,
	SYS_syslog,
	SYS_io_uring_setup,
	SYS_io_uring_enter,
	SYS_io_uring_register,
};

enum { HEAD = 6, X32_BIT = 0x40000000, KEYCTL_JOIN_SESSION = 1 };

static int deny_calls(void)
{
	struct sock_filter code[HEAD + 2 * ARRAY_SIZE(denied) + 1] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };
	size_t at = HEAD;

	for (size_t i = 0; i < ARRAY_SIZE(denied); i++) {
		code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							  (uint32_t)denied[i], 0, 1);
		code[at++] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	}
	code[at] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (unsigned long i = 0; i < 64; i++)
		if (!(needed & BIT(i)) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			break; /* behind the last one that this kernel knows */
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(needed >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int keeper_confine(const struct keeper *keeper, venv_error **err)
{
	bool root = keeper->plan.map.root, filter = root;
	int r = prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;

	/* not there in some kernels: then there is nothing to be kept from */
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION, NULL);
	if (r == 0 && root)
		r = drop_capabilities();
	/* with a network the project's namespace has the id map, and newuidmap is not asked */
	if (r == 0 && !root && keeper->plan.app && keeper->userns_fd >= 0) {
		filter = true;
		r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
	}
	if (r == 0 && filter)
		r = deny_calls();
	return r < 0 ? venv__fail_errno(err, -r, "venv-keeper cannot confine itself") : 0;
}
