/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the v2 hierarchy, and the counters of both. */
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "cgroup.h"

static int set(const struct cgroup *cgroup, const char *file, const char *key, const char *text,
	       venv_error **err)
{
	int r = venv__cgroup_write(cgroup->machine_fd, file, text);

	if (r == -ENOENT || r == -EACCES) /* the controller is not ours: probe() warned of it */
		return 0;
	return r < 0 ? venv__fail_errno(err, -r, "cannot set the limit '%s'", key) : 0;
}

/* What is shared out between groups beside each other counts at the scope, too. */
static void set_scope(const struct cgroup *cgroup, const char *file, int64_t value)
{
	if (cgroup->scope_fd >= 0)
		(void)venv__cgroup_write_number(cgroup->scope_fd, file, value);
}

static int set_number(const struct cgroup *cgroup, const char *file, const char *key, int64_t value,
		      venv_error **err)
{
	char text[32];

	if (value > 0)
		(void)snprintf(text, sizeof(text), "%lld", (long long)value);
	return set(cgroup, file, key, value > 0 ? text : "max", err);
}

static int limit_memory(const struct cgroup *cgroup, venv_error **err)
{
	int64_t limit = cgroup->memory;
	int r;

	if (!cgroup->freeze_on_oom || !limit) {
		r = set_number(cgroup, "memory.high", "memory", 0, err);
		return r < 0 ? r : set_number(cgroup, "memory.max", "memory", limit, err);
	}
	r = set_number(cgroup, "memory.max", "memory", limit + CGROUP_FREEZE_RESERVE, err);
	return r < 0 ? r : set_number(cgroup, "memory.high", "memory", limit, err);
}

static int limit_cpus(struct cgroup *cgroup, double cpus, venv_error **err)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%lld 100000", (long long)(cpus * 100000));
	return set(cgroup, "cpu.max", "cpus", cpus > 0 ? text : "max 100000", err);
}

int venv__cgroup_v2_limit(struct cgroup *cgroup, const json_t *limits, venv_error **err)
{
	int64_t weight = venv__json_int(limits, "cpu_weight", 0),
		io = venv__json_int(limits, "io_weight", 0),
		low = venv__json_int(limits, "memory_low", 0);
	char text[64];
	int r = 0;

	if (json_object_get(limits, "memory") || json_object_get(limits, "oom"))
		r = limit_memory(cgroup, err);
	if (r == 0 && json_object_get(limits, "memory_low")) {
		(void)snprintf(text, sizeof(text), "%lld", (long long)low);
		r = set(cgroup, "memory.low", "memory_low", text, err);
		set_scope(cgroup, "memory.low", low);
	}
	if (r == 0 && json_object_get(limits, "cpus"))
		r = limit_cpus(cgroup, json_number_value(json_object_get(limits, "cpus")), err);
	if (r == 0 && json_object_get(limits, "cpu_weight")) {
		r = set_number(cgroup, "cpu.weight", "cpu_weight", weight ? weight : 100, err);
		set_scope(cgroup, "cpu.weight", weight ? weight : 100);
	}
	if (r == 0 && json_object_get(limits, "cpuset")) {
		const char *cpus = venv__json_str(limits, "cpuset");

		r = set(cgroup, "cpuset.cpus", "cpuset", cpus ? cpus : "\n", err);
	}
	if (r == 0 && json_object_get(limits, "io_weight")) {
		(void)snprintf(text, sizeof(text), "default %lld", (long long)(io ? io : 100));
		r = set(cgroup, "io.weight", "io_weight", text, err);
		set_scope(cgroup, "io.weight", io ? io : 100);
	}
	if (r == 0 && json_object_get(limits, "pids"))
		r = set_number(cgroup, "pids.max", "pids", venv__json_int(limits, "pids", 0), err);
	return r;
}

int venv__cgroup_v2_watch(struct cgroup *cgroup)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	if (cgroup->machine_fd < 0 || !venv__strv_has(cgroup->controllers, "memory"))
		return 0;
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/memory.events", cgroup->machine_fd);
	if (fd < 0 || inotify_add_watch(fd, path, IN_MODIFY) < 0)
		return 0;
	cgroup->oom_fd = take_fd(&fd);
	cgroup->oom_inotify = true;
	return 0;
}

int64_t venv__cgroup_oom_kills(const struct cgroup *cgroup)
{
	if (cgroup->layout == CGROUP_HYBRID)
		return venv__cgroup_read_word(venv__cgroup_v1_fd(cgroup, "memory"),
					      "memory.oom_control", "oom_kill", 0);
	return venv__cgroup_read_word(cgroup->machine_fd, "memory.events", "oom_kill", 0);
}

int64_t venv__cgroup_freeze_at(const struct cgroup *cgroup)
{
	return cgroup->memory - cgroup->memory / 16;
}

enum cgroup_oom venv__cgroup_oom(const struct cgroup *cgroup)
{
	bool v1 = cgroup->layout == CGROUP_HYBRID;
	int fd = v1 ? venv__cgroup_v1_fd(cgroup, "memory") : cgroup->machine_fd;
	int64_t used, file;

	if (!cgroup->freeze_on_oom || !cgroup->memory)
		return OOM_FAR;
	used = venv__cgroup_read_number(fd, v1 ? "memory.usage_in_bytes" : "memory.current", 0);
	if (used < venv__cgroup_freeze_at(cgroup))
		return OOM_FAR;
	file = venv__cgroup_read_word(fd, "memory.stat",
				      v1 ? "total_inactive_file" : "inactive_file", 0) +
	       venv__cgroup_read_word(fd, "memory.stat", v1 ? "total_active_file" : "active_file",
				      0);
	return used - file < venv__cgroup_freeze_at(cgroup) ? OOM_NEAR : OOM_REACHED;
}

static void put(json_t *object, const char *key, int64_t value)
{
	if (value >= 0)
		(void)json_object_set_new(object, key, json_integer(value));
}

/* Where no controller counts: what the processes have to themselves, and how many they are. */
static void put_processes(json_t *stats, const struct cgroup *cgroup)
{
	_cleanup_free_ char *list = cgroup->payload_fd < 0
					    ? NULL
					    : venv__cgroup_read(cgroup->payload_fd, "cgroup.procs");
	int64_t pages = 0, count = 0;
	char *pid, *save = NULL;

	if (!list)
		return;
	for (pid = strtok_r(list, "\n", &save); pid; pid = strtok_r(NULL, "\n", &save)) {
		_cleanup_free_ char *text = NULL;
		long long size, resident, shared;
		char path[64];

		(void)snprintf(path, sizeof(path), "/proc/%s/statm", pid);
		count++;
		if (venv__file_read(AT_FDCWD, path, 256, &text, NULL, NULL) == 0 &&
		    sscanf(text, "%lld %lld %lld", &size, &resident, &shared) == 3)
			pages += resident - shared;
	}
	put(stats, "memory", pages * sysconf(_SC_PAGESIZE));
	put(stats, "pids", count);
}

static void put_v1(json_t *stats, const struct cgroup *cgroup)
{
	int memory = venv__cgroup_v1_fd(cgroup, "memory");
	int pids = venv__cgroup_v1_fd(cgroup, "pids");

	put_processes(stats, cgroup);
	put(stats, "memory", venv__cgroup_read_number(memory, "memory.usage_in_bytes", -1));
	put(stats, "memory_peak",
	    venv__cgroup_read_number(memory, "memory.max_usage_in_bytes", -1));
	put(stats, "cpu_us",
	    venv__cgroup_read_word(cgroup->payload_fd, "cpu.stat", "usage_usec", -1));
	put(stats, "pids", venv__cgroup_read_number(pids, "pids.current", -1));
}

static void put_v2(json_t *stats, const struct cgroup *cgroup)
{
	int fd = cgroup->payload_fd;

	put(stats, "memory", venv__cgroup_read_number(fd, "memory.current", -1));
	put(stats, "memory_peak", venv__cgroup_read_number(fd, "memory.peak", -1));
	put(stats, "cpu_us", venv__cgroup_read_word(fd, "cpu.stat", "usage_usec", -1));
	put(stats, "pids", venv__cgroup_read_number(fd, "pids.current", -1));
}

json_t *venv__cgroup_stats(const struct cgroup *cgroup)
{
	json_t *stats = json_object();

	if (!stats)
		return NULL;
	if (cgroup->layout == CGROUP_HYBRID)
		put_v1(stats, cgroup);
	else
		put_v2(stats, cgroup);
	if (cgroup->memory > 0)
		put(stats, "memory_limit", cgroup->memory);
	put(stats, "oom_kills", venv__cgroup_oom_kills(cgroup));
	return stats;
}
