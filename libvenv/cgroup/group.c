/* SPDX-License-Identifier: Apache-2.0 */
/* What every holder of a machine's groups does: whoever made them, and whoever found them. */
#include <string.h>
#include <unistd.h>

#include "cgroup.h"

int venv__cgroup_limit(struct cgroup *cgroup, const json_t *limits, venv_error **err)
{
	const char *oom = venv__json_str(limits, "oom");

	if (oom)
		cgroup->freeze_on_oom = strcmp(oom, "freeze") == 0;
	if (json_object_get(limits, "memory"))
		cgroup->memory = venv__json_int(limits, "memory", 0);
	if (cgroup->layout == CGROUP_HYBRID)
		return venv__cgroup_v1_limit(cgroup, limits, err);
	if (cgroup->machine_fd >= 0)
		return venv__cgroup_v2_limit(cgroup, limits, err);
	return 0;
}

void venv__cgroup_done(struct cgroup *cgroup)
{
	const int fds[] = { cgroup->machine_fd, cgroup->payload_fd, cgroup->scope_fd,
			    cgroup->oom_fd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	for (size_t i = 0; i < CGROUP_V1_MAX; i++) {
		if (cgroup->v1[i].path)
			(void)close(cgroup->v1[i].fd);
		free(cgroup->v1[i].path);
	}
	free(cgroup->path);
	venv__strv_free(cgroup->controllers);
	*cgroup = (struct cgroup)CGROUP_INIT;
}
