/* SPDX-License-Identifier: Apache-2.0 */
/* The groups that a machine's process is in, as /proc tells them to whoever did not make them. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cgroup.h"

/* "/a/venv-ID/payload" -> "/a/venv-ID": the limits are one above the leaf */
static bool strip_leaf(char *path)
{
	char *leaf = strrchr(path, '/');

	if (!leaf || strcmp(leaf, "/payload") != 0)
		return false;
	*leaf = '\0';
	return true;
}

static bool ends_with(const char *path, const char *name)
{
	const char *last = strrchr(path, '/');

	return last && strcmp(last + 1, name) == 0;
}

static int open_directory(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A scope's limits are set below it, in "machine"; what counts between machines is set at itself. */
static void take_v2(struct cgroup *cgroup, const char *hierarchy, char *own)
{
	_cleanup_free_ char *path = strip_leaf(own) ? venv__cgroup_path(hierarchy, own) : NULL;
	bool scope = path && ends_with(path, "machine");
	int fd;

	if (!path || (!scope && !ends_with(path, cgroup->name)))
		return;
	fd = open_directory(path);
	if (fd < 0)
		return;
	cgroup->machine_fd = fd;
	cgroup->payload_fd = openat(fd, "payload", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (scope)
		cgroup->scope_fd = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (scope)
		cgroup->layout = CGROUP_SYSTEMD;
	else
		cgroup->layout = *hierarchy ? CGROUP_HYBRID : CGROUP_V2;
	cgroup->path = take_ptr(path);
}

/* Of "cpu,cpuacct" the first is a link to both. */
static void take_v1(struct cgroup *cgroup, char *controllers, const char *own)
{
	char *name, *save = NULL;
	size_t slot = 0;

	if (!ends_with(own, cgroup->name))
		return;
	cgroup->layout = CGROUP_HYBRID;
	for (name = strtok_r(controllers, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		_cleanup_free_ char *path = venv__cgroup_path(name, own);
		int fd = path ? open_directory(path) : -1;

		while (slot < CGROUP_V1_MAX && cgroup->v1[slot].path)
			slot++;
		if (fd < 0)
			continue;
		if (slot == CGROUP_V1_MAX) {
			(void)close(fd);
			return;
		}
		(void)snprintf(cgroup->v1[slot].controller, sizeof(cgroup->v1[slot].controller),
			       "%s", name);
		cgroup->v1[slot].path = take_ptr(path);
		cgroup->v1[slot].fd = fd;
	}
}

/* A process that is outside of what we see is none of ours: "/../.." */
static void take_line(void *user, char *controllers, char *own, bool hybrid)
{
	struct cgroup *cgroup = user;

	if (strncmp(own, "/..", 3) == 0)
		return;
	if (!*controllers)
		take_v2(cgroup, hybrid ? "unified" : "", own);
	else if (hybrid)
		take_v1(cgroup, controllers, own);
}

int venv__cgroup_find(struct cgroup *ret, const char *id, pid_t member, venv_error **err)
{
	char path[64];

	*ret = (struct cgroup)CGROUP_INIT;
	(void)snprintf(ret->name, sizeof(ret->name), "venv-%s", id);
	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)member);
	if (venv__cgroup_lines(path, !venv__cgroup_is_v2(CGROUP_ROOT), take_line, ret) < 0)
		return venv__fail(err, VENV_ERR_STATE, "the machine is not running");
	return 0;
}
