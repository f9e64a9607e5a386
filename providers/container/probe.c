/* SPDX-License-Identifier: Apache-2.0 */
/* Can this host run this machine? Only reads; without effect. */
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>

#include "cgroup/cgroup.h"
#include "container.h"
#include "probe.h"

int64_t container_sysctl(const char *path, int64_t otherwise)
{
	return venv__cgroup_read_number(AT_FDCWD, path, otherwise);
}

bool container_kernel_at_least(unsigned major, unsigned minor)
{
	struct utsname name;
	unsigned have_major, have_minor;
	char *end;

	if (uname(&name) < 0)
		return false;
	have_major = (unsigned)strtoul(name.release, &end, 10);
	have_minor = *end == '.' ? (unsigned)strtoul(end + 1, NULL, 10) : 0;
	return have_major > major || (have_major == major && have_minor >= minor);
}

/* NULL when ordinary users may make user namespaces, else why not; *ret_fix what to do. */
const char *container_userns_refused(const char **ret_fix)
{
	if (container_sysctl("/proc/sys/user/max_user_namespaces", 1) == 0) {
		*ret_fix = "run 'sudo sysctl -w user.max_user_namespaces=65536' and keep it in "
			   "/etc/sysctl.d/venv.conf";
		return "user namespaces are switched off on this host";
	}
	if (geteuid() == 0)
		return NULL;
	if (container_sysctl("/proc/sys/kernel/unprivileged_userns_clone", 1) == 0) {
		*ret_fix = "run 'sudo sysctl -w kernel.unprivileged_userns_clone=1' and keep it in "
			   "/etc/sysctl.d/venv.conf";
		return "only root may make user namespaces on this host";
	}
	if (container_sysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 0) == 1 &&
	    access("/etc/apparmor.d/venv", F_OK) < 0) {
		*ret_fix =
			"run 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0' and keep it "
			"in /etc/sysctl.d/venv.conf, or give venv-keeper, venv-netns and venv-unpack a "
			"profile that allows 'userns' as /etc/apparmor.d/venv";
		return "AppArmor forbids user namespaces to ordinary users on this host";
	}
	return NULL;
}

static int decline(struct verdict *ret, const char *reason, const char *hint, venv_error **err)
{
	ret->accept = false;
	ret->reason = strdup(reason);
	ret->hint = hint ? strdup(hint) : NULL;
	return ret->reason ? 0 : venv__fail_nomem(err);
}

int container_probe(struct venv *ctx, const struct machine_spec *spec, struct verdict *ret,
		    venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	_cleanup_json_ json_t *limits = NULL;
	const char *fix = NULL, *reason;
	const struct idmap *map;
	struct cgroup_host host;
	int r;

	*ret = (struct verdict){ .accept = true };
	if (!container_kernel_at_least(5, 12))
		return decline(ret, "the container provider needs Linux 5.12 or newer",
			       "boot a newer kernel", err);
	reason = container_userns_refused(&fix);
	if (reason)
		return decline(ret, reason, fix, err);
	if (venv__context_map(ctx, &map, &problem) < 0)
		return decline(ret, venv_error_message(problem), venv_error_hint(problem), err);
	if (spec->disk) {
		ret->place = &spec->disk_place;
		return decline(ret, "it cannot give a machine a disk of its own ('disk')",
			       "remove 'disk': a container has the room of venv's data directory",
			       err);
	}
	limits = venv__cgroup_limits(spec);
	if (!limits)
		return venv__fail_nomem(err);
	venv__cgroup_host_find(&host);
	r = venv__cgroup_host_warnings(&host, limits, &ret->warnings);
	venv__cgroup_host_done(&host);
	return r < 0 ? venv__fail_nomem(err) : 0;
}
