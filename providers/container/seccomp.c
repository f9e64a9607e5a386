/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters of system calls.
 *
 * Theory of operation: compiling takes libseccomp milliseconds, so the program is kept in
 * <data>/seccomp/, named by a hash of everything that it was made from. A file is used only when
 * it is ours alone and its own checksum is right; else it is made again. `dev` forbids what a
 * system in a user namespace does not need and what has been a way out; `app` forbids more, and
 * all calls that are newer than this list. Other processor modes (32 bit) are answered with "no
 * such call".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "container.h"
#include "setup/secure.h"
#include "util/process.h"

/* raise the first when the rules in make_filter() change */
enum { RULES_VERSION = 2, NEWEST_CALL = 461, CLONE_NEW_ANY = 0x7e020000, PROLOGUE_MAX = 8 };

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "no filters of system calls for this processor yet"
#endif

/* never, in either profile */
static const char *const forbidden[] = {
	"kexec_load",      "kexec_file_load", "init_module",
	"finit_module",    "delete_module",   "open_by_handle_at",
	"perf_event_open", "userfaultfd",     "bpf",
	"swapon",          "swapoff",         "acct",
	"settimeofday",    "clock_settime",   "clock_settime64",
	"lookup_dcookie",  "nfsservctl",      "iopl",
	"ioperm",          "uselib",          "quotactl",
	"quotactl_fd",     "keyctl",          "add_key",
	"request_key",     "fanotify_init",   "syslog",
};

/* answered as if this kernel had none, so that programs fall back */
static const char *const absent[] = { "io_uring_setup", "io_uring_enter", "io_uring_register" };

/* in `app` only */
static const char *const forbidden_app[] = {
	"mount",
	"umount",
	"umount2",
	"pivot_root",
	"move_mount",
	"open_tree",
	"fsopen",
	"fsconfig",
	"fsmount",
	"fspick",
	"mount_setattr",
	"unshare",
	"setns",
	"reboot",
	"sethostname",
	"setdomainname",
	"vhangup",
	"kcmp",
	"move_pages",
	"migrate_pages",
	"mbind",
	"set_mempolicy",
	"get_mempolicy",
	"ustat",
	"sysfs",
	"_sysctl",
	"clock_adjtime",
	"process_madvise",
	"name_to_handle_at",
	"personality",
	"ptrace",
	"process_vm_readv",
	"process_vm_writev",
};

static uint64_t hash_more(uint64_t hash, const void *data, size_t length)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(1099511628211); /* FNV-1a */
	return hash;
}

static uint64_t hash_list(uint64_t hash, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hash = hash_more(hash, list[i], strlen(list[i]) + 1);
	return hash;
}

static uint64_t hash_profile(enum profile_kind profile)
{
	const struct scmp_version *version = seccomp_version();
	uint64_t hash = UINT64_C(14695981039346656037);
	char text[128];
	int n = snprintf(text, sizeof(text), "%d %d %d %u.%u.%u %u", RULES_VERSION, NEWEST_CALL,
			 (int)profile, version->major, version->minor, version->micro,
			 seccomp_arch_native());

	if (n > 0)
		hash = hash_more(hash, text, MIN((size_t)n, sizeof(text)));
	hash = hash_list(hash, forbidden, ARRAY_SIZE(forbidden));
	hash = hash_list(hash, absent, ARRAY_SIZE(absent));
	return hash_list(hash, forbidden_app, ARRAY_SIZE(forbidden_app));
}

static int answer_all(scmp_filter_ctx filter, const char *const *list, size_t n, int number)
{
	for (size_t i = 0; i < n; i++) {
		int call = seccomp_syscall_resolve_name(list[i]), r;

		if (call < 0) /* another processor's, or not known yet */
			continue;
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)number), call, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Values of which the kernel looks at 32 bits only: the rest must not make a difference here. */
static int when(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned argument,
		uint32_t value)
{
	struct scmp_arg_cmp compare = {
		.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = 0xffffffff, .datum_b = value
	};

	return seccomp_rule_add_array(filter, action, seccomp_syscall_resolve_name(name), 1,
				      &compare);
}

static int answer_values(scmp_filter_ctx filter, bool app)
{
	const uint32_t no = SCMP_ACT_ERRNO(EPERM);
	int r = when(filter, no, "ioctl", 1, TIOCSTI);

	if (r == 0)
		r = when(filter, no, "ioctl", 1, TIOCLINUX);
	if (r == 0)
		r = when(filter, no, "socket", 0, AF_ALG);
	if (r == 0)
		r = when(filter, no, "socket", 0, AF_VSOCK);
	return r == 0 && app ? when(filter, no, "socket", 0, AF_PACKET) : r;
}

/* `app`: no new namespaces. Flags of clone3 lie in memory: it does not exist; libc falls back. */
static int answer_clone(scmp_filter_ctx filter)
{
	static const char *const clone3[] = { "clone3" };
	int r = answer_all(filter, clone3, 1, ENOSYS);

	for (unsigned bit = 0; bit < 32 && r == 0; bit++) {
		struct scmp_arg_cmp is_set = { .arg = 0,
					       .op = SCMP_CMP_MASKED_EQ,
					       .datum_a = UINT64_C(1) << bit,
					       .datum_b = UINT64_C(1) << bit };

		if (CLONE_NEW_ANY & (UINT32_C(1) << bit))
			r = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone),
						   1, &is_set);
	}
	return r;
}

static int make_filter(bool app, scmp_filter_ctx *ret)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (!filter)
		return -ENOMEM;
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (r == 0)
		r = answer_all(filter, forbidden, ARRAY_SIZE(forbidden), EPERM);
	if (r == 0)
		r = answer_all(filter, absent, ARRAY_SIZE(absent), ENOSYS);
	if (r == 0)
		r = answer_values(filter, app);
	if (r == 0 && app)
		r = answer_all(filter, forbidden_app, ARRAY_SIZE(forbidden_app), EPERM);
	if (r == 0 && app)
		r = answer_clone(filter);
	if (r < 0)
		seccomp_release(filter);
	else
		*ret = filter;
	return r;
}

/* `app`: what comes after NEWEST_CALL was not looked at by anybody here, so it does not exist.
 * Before libseccomp's program, which has no ranges: a call of this processor's, and newer? */
static size_t put_prologue(struct sock_filter *code)
{
	const struct sock_filter prologue[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, NEWEST_CALL, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	};

	memcpy(code, prologue, sizeof(prologue));
	return ARRAY_SIZE(prologue);
}

/* The program's bytes, owned by the caller; *ret_length a multiple of an instruction. */
static int compile(bool app, void **ret, size_t *ret_length, venv_error **err)
{
	_cleanup_close_ int fd = memfd_create("venv-filter", MFD_CLOEXEC);
	_cleanup_free_ struct sock_filter *code = NULL;
	scmp_filter_ctx filter = NULL;
	size_t first = 0;
	struct stat st;
	int r = make_filter(app, &filter);

	if (r == 0)
		r = seccomp_export_bpf(filter, fd);
	if (filter)
		seccomp_release(filter);
	if (r < 0 || fstat(fd, &st) < 0)
		return venv__fail_errno(err, r < 0 ? -r : errno,
					"cannot make the filter of system calls");
	code = calloc((size_t)st.st_size / sizeof(*code) + PROLOGUE_MAX, sizeof(*code));
	if (!code)
		return venv__fail_nomem(err);
	if (app)
		first = put_prologue(code);
	if (pread(fd, code + first, (size_t)st.st_size, 0) != st.st_size)
		return venv__fail_errno(err, EIO, "cannot make the filter of system calls");
	*ret = take_ptr(code);
	*ret_length = first * sizeof(*code) + (size_t)st.st_size;
	return 0;
}

static bool is_ours(int fd, struct stat *st)
{
	return fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_uid == geteuid() &&
	       !(st->st_mode & 077);
}

/* A kept program: its checksum, then its bytes. NULL when there is none that can be trusted. */
static void *read_kept(int dir_fd, const char *name, size_t *ret_length)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *code = NULL;
	uint64_t sum = 0;
	struct stat st;
	size_t length;

	if (fd < 0 || !is_ours(fd, &st) || st.st_size <= (off_t)sizeof(sum) ||
	    st.st_size > (off_t)(sizeof(sum) + FILTER_MAX * sizeof(struct sock_filter)))
		return NULL;
	length = (size_t)st.st_size - sizeof(sum);
	code = calloc(1, length);
	if (!code || pread(fd, &sum, sizeof(sum), 0) != sizeof(sum) ||
	    pread(fd, code, length, sizeof(sum)) != (ssize_t)length ||
	    sum != hash_more(UINT64_C(14695981039346656037), code, length))
		return NULL;
	*ret_length = length;
	return take_ptr(code);
}

static void keep(int dir_fd, const char *name, const void *code, size_t length)
{
	uint64_t sum = hash_more(UINT64_C(14695981039346656037), code, length);
	_cleanup_free_ char *text = malloc(sizeof(sum) + length);

	if (!text)
		return;
	memcpy(text, &sum, sizeof(sum));
	memcpy(text + sizeof(sum), code, length);
	(void)venv__file_write(dir_fd, name, text, sizeof(sum) + length, 0600, WRITE_VOLATILE,
			       NULL);
}

int container_seccomp(struct venv *ctx, enum profile_kind profile, venv_error **err)
{
	int data = venv__context_data(ctx, err), fd, r;
	_cleanup_close_ int dir = -1;
	_cleanup_free_ void *code = NULL;
	size_t length = 0;
	char name[32];

	if (data < 0)
		return data;
	r = venv__dir_make_at(data, "seccomp", 0700, &dir, err);
	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "%016llx.bpf",
		       (unsigned long long)hash_profile(profile));
	code = read_kept(dir, name, &length);
	if (!code) {
		r = compile(profile == PROFILE_APP, &code, &length, err);
		if (r < 0)
			return r;
		keep(dir, name, code, length);
	}
	fd = venv__memfd_sealed("venv-filter", code, length);
	return fd < 0 ? venv__fail_errno(err, -fd, "cannot pass the filter on") : fd;
}
