/* SPDX-License-Identifier: Apache-2.0 */
#include "secure.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/compiler.h"

#define BIT(capability) (UINT64_C(1) << (capability))

/* What an ordinary program needs: the set that Podman gives as well. */
static const uint64_t app_capabilities =
	BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) |
	BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SETFCAP) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP) |
	BIT(CAP_SETUID) | BIT(CAP_SYS_CHROOT);

/* A system container has all that its user namespace makes harmless, except what would only widen
 * the part of the kernel that it can talk to. */
static const uint64_t dev_without =
	BIT(CAP_AUDIT_CONTROL) | BIT(CAP_AUDIT_READ) | BIT(CAP_AUDIT_WRITE) | BIT(CAP_SYS_MODULE) |
	BIT(CAP_SYS_RAWIO) | BIT(CAP_SYS_TIME) | BIT(CAP_MAC_ADMIN) | BIT(CAP_MAC_OVERRIDE) |
	BIT(CAP_BPF) | BIT(CAP_PERFMON) | BIT(CAP_SYSLOG) | BIT(CAP_WAKE_ALARM) |
	BIT(CAP_BLOCK_SUSPEND) | BIT(CAP_CHECKPOINT_RESTORE);

uint64_t secure_capabilities(bool app)
{
	return app ? app_capabilities : (BIT(CAP_LAST_CAP + 1) - 1) & ~dev_without;
}

static int set_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)keep, (uint32_t)keep, 0 },
		{ (uint32_t)(keep >> 32), (uint32_t)(keep >> 32), 0 },
	};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int drop_bounding(uint64_t keep)
{
	for (unsigned long i = 0; i < 64; i++) {
		if (i < 63 && (keep & BIT(i)))
			continue;
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
			if (errno == EINVAL) /* behind the last one that this kernel knows */
				return 0;
			return -errno;
		}
	}
	return 0;
}

static int load_filter(const struct filter *filter)
{
	const struct sock_fprog program = { .len = (unsigned short)filter->length,
					    .filter = filter->code };

	if (!filter->length)
		return 0;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}

int secure_apply(bool app, const struct filter *filter)
{
	uint64_t keep = secure_capabilities(app);
	int r = 0;

	/* Without no_new_privs only CAP_SYS_ADMIN may load a filter, so it goes first. */
	if (!app)
		r = load_filter(filter);
	if (r == 0)
		r = drop_bounding(keep);
	if (r == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0)
		r = set_capabilities(keep);
	if (r == 0 && app && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0 && app)
		r = load_filter(filter);
	return r;
}
