/* SPDX-License-Identifier: Apache-2.0 */
/* Limits and counters of v1 controllers, as hosts with the hybrid layout still have them. */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#include "cgroup.h"

int venv__cgroup_v1_fd(const struct cgroup *cgroup, const char *controller)
{
	for (size_t i = 0; i < CGROUP_V1_MAX; i++)
		if (cgroup->v1[i].path && strcmp(cgroup->v1[i].controller, controller) == 0)
			return cgroup->v1[i].fd;
	return -1;
}

/* Of a group made while the machine runs: everybody into it, from the group of v2. */
static void move_all(const struct cgroup *cgroup, int fd)
{
	_cleanup_free_ char *list = cgroup->payload_fd < 0
					    ? NULL
					    : venv__cgroup_read(cgroup->payload_fd, "cgroup.procs");
	char *pid, *save = NULL;

	for (pid = list ? strtok_r(list, "\n", &save) : NULL; pid;
	     pid = strtok_r(NULL, "\n", &save))
		(void)venv__cgroup_write(fd, "cgroup.procs", pid);
}

/* A cpuset without memory and processors takes nobody. */
static void fill_cpuset(int fd)
{
	static const char *const names[] = { "cpuset.mems", "cpuset.cpus" };
	_cleanup_close_ int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *text = venv__cgroup_read(parent, names[i]);

		if (text)
			(void)venv__cgroup_write(fd, names[i], text);
	}
}

int venv__cgroup_v1_need(struct cgroup *cgroup, const char *controller)
{
	struct cgroup_host host;
	int fd = venv__cgroup_v1_fd(cgroup, controller);
	size_t slot = 0;

	if (fd >= 0)
		return fd;
	while (slot < CGROUP_V1_MAX && cgroup->v1[slot].path)
		slot++;
	venv__cgroup_host_find(&host);
	fd = -ENOENT;
	for (size_t i = 0; i < CGROUP_V1_MAX && slot < CGROUP_V1_MAX; i++) {
		if (!host.v1[i].base || strcmp(host.v1[i].controller, controller) != 0)
			continue;
		fd = venv__cgroup_make(host.v1[i].base, cgroup->name, &cgroup->v1[slot].path);
		cgroup->v1[slot].fd = fd;
		(void)snprintf(cgroup->v1[slot].controller, sizeof(cgroup->v1[slot].controller),
			       "%s", controller);
	}
	venv__cgroup_host_done(&host);
	if (fd >= 0 && strcmp(controller, "cpuset") == 0)
		fill_cpuset(fd);
	if (fd >= 0)
		move_all(cgroup, fd);
	return fd;
}

static int refused(int r, const char *key, venv_error **err)
{
	return venv__fail_errno(err, -r, "cannot set the limit '%s'", key);
}

/* Raising: the limit of memory and swap together first; lowering: the other way round. Hosts may
 * not count swap. */
static int limit_memory(struct cgroup *cgroup, int64_t bytes, venv_error **err)
{
	int64_t reserve = cgroup->freeze_on_oom ? CGROUP_FREEZE_RESERVE : 0;
	static const char both[] = "memory.memsw.limit_in_bytes",
			  memory[] = "memory.limit_in_bytes";
	int fd = venv__cgroup_v1_need(cgroup, "memory"), r;

	if (fd < 0)
		return 0;
	bytes = bytes > 0 ? bytes + reserve : -1;
	if (venv__cgroup_write_number(fd, memory, bytes) == 0) {
		(void)venv__cgroup_write_number(fd, both, bytes);
		return 0;
	}
	(void)venv__cgroup_write_number(fd, both, bytes);
	r = venv__cgroup_write_number(fd, memory, bytes);
	if (r == -EBUSY)
		return venv__hint(
			venv__fail(err, VENV_ERR_STATE, "the machine uses more memory than that"),
			err, "stop something in the machine, or restart it with the new limit");
	return r < 0 ? refused(r, "memory", err) : 0;
}

static int limit_cpus(struct cgroup *cgroup, double cpus, venv_error **err)
{
	int fd = venv__cgroup_v1_need(cgroup, "cpu"), r;

	if (fd < 0)
		return 0;
	r = venv__cgroup_write_number(fd, "cpu.cfs_quota_us",
				      cpus > 0 ? (int64_t)(cpus * 100000) : -1);
	return r < 0 ? refused(r, "cpus", err) : 0;
}

static int limit_cpuset(struct cgroup *cgroup, const char *cpus, venv_error **err)
{
	int fd = venv__cgroup_v1_need(cgroup, "cpuset"), r;

	if (fd < 0)
		return 0;
	fill_cpuset(fd);
	r = cpus ? venv__cgroup_write(fd, "cpuset.cpus", cpus) : 0;
	return r < 0 ? refused(r, "cpuset", err) : 0;
}

static int limit_number(struct cgroup *cgroup, const char *controller, const char *file,
			const char *key, int64_t value, venv_error **err)
{
	int fd = venv__cgroup_v1_need(cgroup, controller), r;

	if (fd < 0)
		return 0;
	r = value ? venv__cgroup_write_number(fd, file, value)
		  : venv__cgroup_write(fd, file, "max");
	return r < 0 && r != -ENOENT && value ? refused(r, key, err) : 0;
}

/* cpu_weight is 1…10000 around 100, shares are 2…262144 around 1024. */
static int64_t shares_of(int64_t weight)
{
	int64_t shares = weight ? weight * 1024 / 100 : 1024;

	return shares < 2 ? 2 : shares;
}

static void register_event(const struct cgroup *cgroup, const char *file, const char *argument)
{
	int memory = venv__cgroup_v1_fd(cgroup, "memory");
	_cleanup_close_ int fd = openat(memory, file, O_RDONLY | O_CLOEXEC);
	char text[96];

	(void)snprintf(text, sizeof(text), "%d %d %s", cgroup->oom_fd, fd, argument);
	if (fd >= 0 && cgroup->oom_fd >= 0)
		(void)venv__cgroup_write(memory, "cgroup.event_control", text);
}

/* `oom: freeze`: disabling the kernel's killer does not do it, since only a fault of the program
 * itself waits then, while a system call that needs memory fails. So the keeper freezes early. */
static void watch_threshold(const struct cgroup *cgroup)
{
	char text[32];

	if (!cgroup->freeze_on_oom || !cgroup->memory)
		return;
	(void)snprintf(text, sizeof(text), "%lld", (long long)venv__cgroup_freeze_at(cgroup));
	register_event(cgroup, "memory.usage_in_bytes", text);
}

int venv__cgroup_v1_limit(struct cgroup *cgroup, const json_t *limits, venv_error **err)
{
	int64_t io = venv__json_int(limits, "io_weight", 0);
	int r = 0;

	if (json_object_get(limits, "memory") || (json_object_get(limits, "oom") && cgroup->memory))
		r = limit_memory(cgroup, cgroup->memory, err);
	if (r == 0 && cgroup->oom_fd >= 0)
		watch_threshold(cgroup);
	if (r == 0 && json_object_get(limits, "memory_low"))
		(void)venv__cgroup_write_number(venv__cgroup_v1_need(cgroup, "memory"),
						"memory.soft_limit_in_bytes",
						venv__json_int(limits, "memory_low", -1));
	if (r == 0 && json_object_get(limits, "cpus"))
		r = limit_cpus(cgroup, json_number_value(json_object_get(limits, "cpus")), err);
	if (r == 0 && json_object_get(limits, "cpu_weight"))
		r = limit_number(cgroup, "cpu", "cpu.shares", "cpu_weight",
				 shares_of(venv__json_int(limits, "cpu_weight", 0)), err);
	if (r == 0 && json_object_get(limits, "cpuset"))
		r = limit_cpuset(cgroup, venv__json_str(limits, "cpuset"), err);
	if (r == 0 && io)
		r = limit_number(cgroup, "blkio", "blkio.bfq.weight", "io_weight",
				 io > 1000 ? 1000 : io, err);
	if (r == 0 && json_object_get(limits, "pids"))
		r = limit_number(cgroup, "pids", "pids.max", "pids",
				 venv__json_int(limits, "pids", 0), err);
	return r;
}

/* An eventfd that counts when the group runs out of memory, or comes near its limit. */
int venv__cgroup_v1_watch(struct cgroup *cgroup)
{
	if (venv__cgroup_v1_fd(cgroup, "memory") < 0)
		return 0;
	cgroup->oom_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	register_event(cgroup, "memory.oom_control", "");
	watch_threshold(cgroup);
	return 0;
}
