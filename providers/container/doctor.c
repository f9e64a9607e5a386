/* SPDX-License-Identifier: Apache-2.0 */
/* What this host lacks for containers, and the exact fix. */
#include <fcntl.h>
#include <linux/magic.h>
#include <pwd.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "cgroup/cgroup.h"
#include "container.h"
#include "probe.h"
#include "util/buf.h"

enum { MODULES_MAX = 8 * 1024 * 1024 };

static void add(json_t *list, const char *check, bool ok, const char *message, const char *fix)
{
	json_t *entry = json_pack("{s:s, s:b, s:s}", "check", check, "ok", ok, "message", message);

	if (entry && fix && !ok)
		(void)venv__json_set_str(entry, "fix", fix);
	if (entry)
		(void)json_array_append_new(list, entry);
}

/* What machines run without, only less well. */
static void add_advice(json_t *list, const char *check, bool ok, const char *message,
		       const char *fix)
{
	add(list, check, ok, message, fix);
	if (!ok)
		(void)venv__json_set_str(json_array_get(list, json_array_size(list) - 1), "status",
					 "warning");
}

static void check_kernel(json_t *list)
{
	bool ok = container_kernel_at_least(5, 12);

	add(list, "kernel", ok, ok ? "new enough for containers" : "older than 5.12",
	    "boot a newer kernel");
}

static void check_namespaces(json_t *list)
{
	const char *fix = NULL, *reason = container_userns_refused(&fix);

	add(list, "user namespaces", !reason, reason ? reason : "allowed", fix);
}

static void check_ids(struct venv *ctx, json_t *list)
{
	_cleanup_error_ venv_error *problem = NULL;
	const struct idmap *map;
	bool ok = venv__context_map(ctx, &map, &problem) >= 0;

	add(list, "subordinate ids", ok,
	    ok ? "65536 ids for machines" : venv_error_message(problem),
	    ok ? NULL : venv_error_hint(problem));
}

/* Loaded, or there to be loaded on first use. */
static bool is_module(const char *name)
{
	_cleanup_free_ char *list = NULL, *path = NULL, *file = NULL;
	struct utsname kernel;

	if (asprintf(&path, "/sys/module/%s", name) < 0) {
		path = NULL;
		return false;
	}
	if (access(path, F_OK) == 0)
		return true;
	free(path);
	path = NULL;
	if (uname(&kernel) < 0 ||
	    asprintf(&path, "/lib/modules/%s/modules.dep", kernel.release) < 0) {
		path = NULL;
		return false;
	}
	if (asprintf(&file, "/%s.ko", name) < 0) {
		file = NULL;
		return false;
	}
	return venv__file_read(AT_FDCWD, path, MODULES_MAX, &list, NULL, NULL) == 0 &&
	       strstr(list, file);
}

static void check_overlay(struct venv *ctx, json_t *list)
{
	_cleanup_free_ char *text = NULL;
	struct statfs info;
	int data = venv__context_data(ctx, NULL);
	bool present, bad;

	present = venv__file_read(AT_FDCWD, "/proc/filesystems", 65536, &text, NULL, NULL) == 0 &&
		  strstr(text, "\toverlay\n");
	if (!present)
		present = is_module("overlay");
	add(list, "overlayfs", present, present ? "there" : "not in this kernel",
	    "run 'sudo modprobe overlay', or boot a kernel with CONFIG_OVERLAY_FS");
	bad = data >= 0 && fstatfs(data, &info) == 0 &&
	      (info.f_type == NFS_SUPER_MAGIC || info.f_type == OVERLAYFS_SUPER_MAGIC ||
	       info.f_type == ECRYPTFS_SUPER_MAGIC);
	add(list, "data directory", !bad,
	    bad ? "its file system cannot carry a machine's overlay" : "can carry overlays",
	    "set XDG_DATA_HOME to a directory on ext4, xfs or btrfs");
}

static void check_groups(json_t *list)
{
	static const char *const names[] = { "none", "v2", "v2 by systemd", "v1 with an empty v2" };
	static const char *const wanted[] = { "memory", "cpu", "pids", "cpuset", "io" };
	_cleanup_buf_ struct buf text = { 0 };
	struct cgroup_host host;
	bool complete = true;

	venv__cgroup_host_find(&host);
	venv__buf_printf(&text, "%s; limits:", names[host.layout]);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (venv__strv_has(host.controllers, wanted[i]))
			venv__buf_printf(&text, " %s", wanted[i]);
	if (!host.controllers)
		venv__buf_puts(&text, " none for this user, and no 'venv pause'");
	for (size_t i = 0; host.controllers && i < ARRAY_SIZE(wanted); i++) {
		if (venv__strv_has(host.controllers, wanted[i]))
			continue;
		venv__buf_printf(&text, "%s %s", complete ? "; not given to this user:" : "",
				 wanted[i]);
		complete = false;
	}
	add_advice(list, "control groups", host.controllers && complete, text.data ? text.data : "",
		   venv__cgroup_fix(&host));
	venv__cgroup_host_done(&host);
}

/* Scopes of a user end with the user's systemd, ten seconds after the last logout. */
static void check_linger(json_t *list)
{
	_cleanup_free_ char *path = NULL;
	const struct passwd *entry;
	struct cgroup_host host;
	bool lingers;

	if (geteuid() == 0 || access("/run/systemd/system", F_OK) < 0)
		return;
	venv__cgroup_host_find(&host);
	entry = getpwuid(geteuid());
	if (!entry || asprintf(&path, "/var/lib/systemd/linger/%s", entry->pw_name) < 0)
		path = NULL;
	lingers = path && access(path, F_OK) == 0;
	add_advice(list, "logout", lingers,
		   lingers                         ? "machines outlive a logout"
		   : host.layout == CGROUP_SYSTEMD ? "systemd may stop this user's machines at the "
						     "last logout"
						   : "machines outlive a logout only where "
						     "systemd's KillUserProcesses is off",
		   "run 'loginctl enable-linger' (or as root: 'loginctl enable-linger USER')");
	venv__cgroup_host_done(&host);
}

static void check_programs(struct venv *ctx, json_t *list)
{
	static const char *const names[] = { "venv-keeper", "venv-init", "venv-enter",
					     "venv-sess" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = venv__context_program(ctx, names[i]);
		bool ok = path && access(path, X_OK) == 0;

		add(list, names[i], ok, ok ? "installed" : "missing", "install venv completely");
	}
}

int container_doctor(struct venv *ctx, json_t **ret, venv_error **err)
{
	json_t *list = json_array();

	if (!list)
		return venv__fail_nomem(err);
	check_kernel(list);
	check_namespaces(list);
	check_ids(ctx, list);
	check_overlay(ctx, list);
	check_groups(list);
	check_linger(list);
	check_programs(ctx, list);
	*ret = list;
	return 0;
}
