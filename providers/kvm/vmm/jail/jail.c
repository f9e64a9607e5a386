/* SPDX-License-Identifier: Apache-2.0 */
#include "jail.h"

#include <limits.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

enum { ARENAS = 4 };

/* malloc() counts processors in /sys, free() asks /proc whether memory is overcommitted before it gives a part of a
 * thread's heap back, gmtime_r() looks for the time zone. */
void jail_libc(void)
{
	(void)mallopt(M_ARENA_MAX, ARENAS);
	(void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
	tzset();
}

/* Rights of Landlock's first version; each later one adds a bit. */
enum { FS_RIGHTS_1 = (1 << 13) - 1 };

static uint64_t known_rights(int version)
{
	uint64_t rights = FS_RIGHTS_1;

	if (version >= 2)
		rights |= 1 << 13; /* linking and renaming over directories */
	if (version >= 3)
		rights |= 1 << 14; /* truncating */
	if (version >= 5)
		rights |= 1 << 15; /* ioctls of devices */
	return rights;
}

static int add_folder(int rules, const struct jail_folder *folder, uint64_t rights)
{
	const uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	const struct landlock_path_beneath_attr beneath = {
		.allowed_access =
			folder->read_only ? reading : rights & ~LANDLOCK_ACCESS_FS_EXECUTE,
		.parent_fd = folder->fd,
	};

	return (int)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
}

/* @return 1, 0 (this kernel has none), or -errno */
static int close_files(const struct jail_folder *folders, size_t n_folders)
{
	int version =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = { 0 };
	_cleanup_close_ int rules = -1;

	if (version < 1)
		return 0;
	attr.handled_access_fs = known_rights(version);
	rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules < 0)
		return -errno;
	for (size_t i = 0; i < n_folders; i++)
		if (add_folder(rules, &folders[i], attr.handled_access_fs) < 0)
			return -errno;
	return syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : 1;
}

/* What a folder's server needs when it is root's: root reaches everything in its folders. */
static const uint8_t folder_capabilities[] = {
	CAP_DAC_OVERRIDE,
	CAP_DAC_READ_SEARCH,
	CAP_FOWNER,
	CAP_FSETID,
};

static uint32_t needed_by(const struct jail_folder *folders, size_t n)
{
	uint32_t needed = 0;

	for (size_t i = 0; n > 0 && i < ARRAY_SIZE(folder_capabilities); i++)
		needed |= 1U << folder_capabilities[i];
	for (size_t i = 0; i < n; i++)
		if (folders[i].volume)
			needed |= 1U << CAP_CHOWN;
	return needed;
}

static int drop_capabilities(uint32_t needed)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 }, present[2];

	if (syscall(SYS_capget, &header, present) < 0)
		return -errno;
	data[0].permitted = needed & present[0].permitted;
	data[0].effective = data[0].permitted;
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int jail_process(const struct jail_folder *folders, size_t n_folders, struct jail_closed *ret,
		 venv_error **err)
{
	const struct rlimit none = { 0, 0 };
	int r;

	ret->namespaces = jail_namespaces() == 0; /* before it is nobody's to write the maps */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    setrlimit(RLIMIT_CORE, &none) < 0)
		return venv__fail_errno(err, errno, "cannot give up privileges");
	r = close_files(folders, n_folders);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot close the file system for the machine");
	ret->files = r > 0;
	(void)umask(0); /* the guest's kernel applies its own */
	r = drop_capabilities(needed_by(folders, n_folders));
	return r < 0 ? venv__fail_errno(err, -r, "cannot give up capabilities") : 0;
}
