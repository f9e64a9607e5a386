/* SPDX-License-Identifier: Apache-2.0 */
/* What this host lacks for containers, and the exact fix. */
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "cgroup/cgroup.h"
#include "container.h"
#include "probe.h"

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

static void check_overlay(struct venv *ctx, json_t *list)
{
	_cleanup_free_ char *text = NULL;
	struct statfs info;
	int data = venv__context_data(ctx, NULL);
	bool present, bad;

	present = venv__file_read(AT_FDCWD, "/proc/filesystems", 65536, &text, NULL, NULL) == 0 &&
		  strstr(text, "\toverlay\n");
	/* it may also be a module that is loaded on first use */
	if (!present)
		present = access("/sys/module/overlay", F_OK) == 0;
	add(list, "overlayfs", present, present ? "there" : "not loaded yet",
	    "run 'sudo modprobe overlay'; keep it with 'echo overlay | sudo tee "
	    "/etc/modules-load.d/venv.conf'");
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
	struct cgroup_host host;
	char text[256];
	size_t length;

	container_cgroup_host_find(&host);
	length = (size_t)snprintf(text, sizeof(text), "%s; limits:", names[host.layout]);
	for (char **name = host.controllers; name && *name && length < sizeof(text); name++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, " %s", *name);
	if (!host.controllers && length < sizeof(text))
		(void)snprintf(text + length, sizeof(text) - length, " none for this user");
	add_advice(
		list, "control groups", venv__strv_has(host.controllers, "memory"), text,
		geteuid() == 0
			? "boot with systemd.unified_cgroup_hierarchy=1"
			: "log in through systemd (loginctl), or run venv as root: machines run without, "
			  "but limits and 'venv pause' do not work");
	container_cgroup_host_done(&host);
}

static void check_linger(json_t *list)
{
	char path[64];

	if (geteuid() == 0 || access("/run/systemd/system", F_OK) < 0)
		return;
	(void)snprintf(path, sizeof(path), "/run/systemd/users/%u", geteuid());
	add_advice(list, "logout",
		   access("/var/lib/systemd/linger", F_OK) < 0 || access(path, F_OK) == 0,
		   "machines live as long as systemd keeps this user's processes",
		   "run 'loginctl enable-linger' so that machines outlive a logout");
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
