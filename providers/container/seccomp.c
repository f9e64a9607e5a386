/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters of system calls.
 *
 * Theory of operation: compiling takes libseccomp milliseconds, so the program is kept in
 * <data>/seccomp/, named by a hash of everything that it was made from. A file is used only when it is
 * ours alone and its own checksum is right; else it is made again. `dev` forbids what a system in a
 * user namespace does not need and what has been a way out; `app` permits what is known, minus a
 * longer list. Other processor modes (32 bit) are answered with "no such call".
 */
#include <errno.h>
#include <fcntl.h>
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
enum { RULES_VERSION = 1, NEWEST_CALL = 460, CLONE_NEW_ANY = 0x7e020000 };

/* never, in either profile */
static const char *const forbidden[] = {
	"kexec_load",	   "kexec_file_load",	"init_module",	     "finit_module",
	"delete_module",   "open_by_handle_at", "perf_event_open",   "userfaultfd",
	"bpf",		   "swapon",		"swapoff",	     "acct",
	"settimeofday",	   "clock_settime",	"clock_settime64",   "lookup_dcookie",
	"nfsservctl",	   "iopl",		"ioperm",	     "uselib",
	"quotactl",	   "quotactl_fd",	"keyctl",	     "add_key",
	"request_key",	   "fanotify_init",	"syslog",
};

/* answered as if this kernel had none, so that programs fall back */
static const char *const absent[] = { "io_uring_setup", "io_uring_enter", "io_uring_register" };

/* in `app` only */
static const char *const forbidden_app[] = {
	"mount",	"umount",	  "umount2",	   "pivot_root",    "move_mount",
	"open_tree",	"fsopen",	  "fsconfig",	   "fsmount",	    "fspick",
	"mount_setattr", "unshare",	  "setns",	   "reboot",	    "sethostname",
	"setdomainname", "vhangup",	  "kcmp",	   "move_pages",    "migrate_pages",
	"mbind",	"set_mempolicy",  "get_mempolicy", "ustat",	    "sysfs",
	"_sysctl",	"clock_adjtime",  "process_madvise", "name_to_handle_at",
	"personality",	"ptrace",	  "process_vm_readv", "process_vm_writev",
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
	const unsigned numbers[] = { RULES_VERSION, NEWEST_CALL,     (unsigned)profile,
				     version->major, version->minor, version->micro,
				     seccomp_arch_native() };
	uint64_t hash = hash_more(UINT64_C(14695981039346656037), numbers, sizeof(numbers));

	hash = hash_list(hash, forbidden, ARRAY_SIZE(forbidden));
	hash = hash_list(hash, absent, ARRAY_SIZE(absent));
	return hash_list(hash, forbidden_app, ARRAY_SIZE(forbidden_app));
}

static bool is_in(const char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
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

/* `app`: everything that exists and is not forbidden. What comes after NEWEST_CALL does not exist. */
static int allow_known(scmp_filter_ctx filter)
{
	for (int call = 0; call <= NEWEST_CALL; call++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
		int r = 0;

		if (!name)
			continue;
		if (!is_in(forbidden, ARRAY_SIZE(forbidden), name) &&
		    !is_in(forbidden_app, ARRAY_SIZE(forbidden_app), name) &&
		    !is_in(absent, ARRAY_SIZE(absent), name) && strcmp(name, "clone") != 0 &&
		    strcmp(name, "clone3") != 0 && strcmp(name, "socket") != 0 &&
		    strcmp(name, "ioctl") != 0)
			r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
		free(name);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Values of which the kernel looks at 32 bits only: the rest must not make a difference here. */
static int when(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned argument,
		uint32_t value)
{
	struct scmp_arg_cmp compare = { .arg = argument, .op = SCMP_CMP_MASKED_EQ,
					.datum_a = 0xffffffff, .datum_b = value };

	return seccomp_rule_add_array(filter, action, seccomp_syscall_resolve_name(name), 1, &compare);
}

static int dev_arguments(scmp_filter_ctx filter)
{
	const uint32_t no = SCMP_ACT_ERRNO(EPERM);
	int r = when(filter, no, "ioctl", 1, TIOCSTI);

	if (r == 0)
		r = when(filter, no, "ioctl", 1, TIOCLINUX);
	if (r == 0)
		r = when(filter, no, "socket", 0, AF_ALG);
	return r == 0 ? when(filter, no, "socket", 0, AF_VSOCK) : r;
}

static int allow_between(scmp_filter_ctx filter, const char *name, unsigned argument,
			 const uint32_t *except, size_t n)
{
	int call = seccomp_syscall_resolve_name(name), r;
	uint32_t next = 0;

	for (size_t i = 0; i <= n; i++) {
		uint32_t last = i < n ? except[i] - 1 : 0x7fffffff;
		struct scmp_arg_cmp range[] = {
			{ .arg = argument, .op = SCMP_CMP_GE, .datum_a = next },
			{ .arg = argument, .op = SCMP_CMP_LE, .datum_a = last },
		};

		r = 0;
		if (last >= next && !(i < n && except[i] == 0))
			r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 2, range);
		(void)range;
		if (r < 0)
			return r;
		next = i < n ? except[i] + 1 : 0;
	}
	return 0;
}

/* As Docker, Podman and others: no new namespaces by clone, and a clone3 that does not exist, since
 * its flags lie in memory. */
static int app_arguments(scmp_filter_ctx filter)
{
	static const uint32_t families[] = { AF_PACKET, AF_ALG, AF_VSOCK };
	static const uint32_t terminals[] = { TIOCSTI, TIOCLINUX };
	struct scmp_arg_cmp plain = { .arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = CLONE_NEW_ANY,
				      .datum_b = 0 };
	int r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &plain);

	if (r == 0)
		r = allow_between(filter, "socket", 0, families, ARRAY_SIZE(families));
	if (r == 0)
		r = allow_between(filter, "ioctl", 1, terminals, ARRAY_SIZE(terminals));
	return r;
}

static int make_filter(enum profile_kind profile, scmp_filter_ctx *ret)
{
	bool app = profile == PROFILE_APP;
	scmp_filter_ctx filter = seccomp_init(app ? SCMP_ACT_ERRNO(ENOSYS) : SCMP_ACT_ALLOW);
	int r;

	if (!filter)
		return -ENOMEM;
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (r == 0 && app)
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = answer_all(filter, forbidden, ARRAY_SIZE(forbidden), EPERM);
	if (r == 0 && !app)
		r = answer_all(filter, absent, ARRAY_SIZE(absent), ENOSYS);
	if (r == 0 && app)
		r = answer_all(filter, forbidden_app, ARRAY_SIZE(forbidden_app), EPERM);
	if (r == 0 && app)
		r = allow_known(filter);
	if (r == 0)
		r = app ? app_arguments(filter) : dev_arguments(filter);
	if (r < 0)
		seccomp_release(filter);
	else
		*ret = filter;
	return r;
}

/* The program's bytes, owned by the caller; *ret_length a multiple of an instruction. */
static int compile(enum profile_kind profile, void **ret, size_t *ret_length, venv_error **err)
{
	_cleanup_close_ int fd = memfd_create("venv-filter", MFD_CLOEXEC);
	_cleanup_free_ void *code = NULL;
	scmp_filter_ctx filter = NULL;
	struct stat st;
	int r = make_filter(profile, &filter);

	if (r == 0)
		r = seccomp_export_bpf(filter, fd);
	if (filter)
		seccomp_release(filter);
	if (r < 0 || fstat(fd, &st) < 0)
		return venv__fail_errno(err, r < 0 ? -r : errno, "cannot make the filter of system calls");
	code = malloc((size_t)st.st_size);
	if (!code)
		return venv__fail_nomem(err);
	if (pread(fd, code, (size_t)st.st_size, 0) != st.st_size)
		return venv__fail_errno(err, EIO, "cannot make the filter of system calls");
	*ret = take_ptr(code);
	*ret_length = (size_t)st.st_size;
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
	code = malloc(length);
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
	(void)venv__file_write(dir_fd, name, text, sizeof(sum) + length, 0600, WRITE_VOLATILE, NULL);
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
	(void)snprintf(name, sizeof(name), "%016llx.bpf", (unsigned long long)hash_profile(profile));
	code = read_kept(dir, name, &length);
	if (!code) {
		r = compile(profile, &code, &length, err);
		if (r < 0)
			return r;
		keep(dir, name, code, length);
	}
	fd = venv__memfd_sealed("venv-filter", code, length);
	return fd < 0 ? venv__fail_errno(err, -fd, "cannot pass the filter on") : fd;
}
