/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transient scope for a machine, asked of systemd over the system's bus (root) or the user's. The
 * library is loaded, used and gone with a child process, so that the keeper stays small.
 */
#include <dlfcn.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "cgroup.h"
#include "util/process.h"
#include "util/sys.h"

enum { JOB_WAIT_US = 10 * 1000 * 1000 };

struct api {
	__typeof__(sd_bus_open_system) *open_system;
	__typeof__(sd_bus_open_user) *open_user;
	__typeof__(sd_bus_call_method) *call;
	__typeof__(sd_bus_message_read) *read;
	__typeof__(sd_bus_process) *process;
	__typeof__(sd_bus_wait) *wait;
	__typeof__(sd_bus_match_signal) *match;
	__typeof__(sd_bus_error_free) *error_free;
};

/* What the scope itself must have, because it counts between machines and not only in one. */
struct shares {
	uint64_t cpu_weight, io_weight; /* UINT64_MAX: the default */
	uint64_t memory_low;
};

struct job {
	const struct api *api;
	char path[256];
	int result; /* 1: waiting; 0: done; negative: failed */
};

static bool load(struct api *api)
{
	void *library = dlopen("libsystemd.so.0", RTLD_NOW);

	if (!library)
		return false;
#define LOAD(member, symbol) (*(void **)&api->member = dlsym(library, symbol), api->member != NULL)
	return LOAD(open_system, "sd_bus_open_system") && LOAD(open_user, "sd_bus_open_user") &&
	       LOAD(call, "sd_bus_call_method") && LOAD(read, "sd_bus_message_read") &&
	       LOAD(process, "sd_bus_process") && LOAD(wait, "sd_bus_wait") &&
	       LOAD(match, "sd_bus_match_signal") && LOAD(error_free, "sd_bus_error_free");
#undef LOAD
}

static int on_removed(sd_bus_message *message, void *user, sd_bus_error *error)
{
	struct job *job = user;
	const char *path, *unit, *result;
	uint32_t number;

	(void)error;
	if (job->api->read(message, "uoss", &number, &path, &unit, &result) < 0 ||
	    strcmp(path, job->path) != 0)
		return 0;
	job->result = strcmp(result, "done") == 0 ? 0 : -EIO;
	return 0;
}

static int start_scope(const struct api *api, sd_bus *bus, const char *unit, pid_t pid,
		       const struct shares *shares, struct job *job, char *what, size_t size)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	const char *path = NULL;
	int r;

	r = api->call(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
		      "org.freedesktop.systemd1.Manager", "StartTransientUnit", &error, &reply,
		      "ssa(sv)a(sa(sv))", unit, "fail", 8, "Description", "s", "venv machine",
		      "Delegate", "b", 1, "PIDs", "au", 1, (uint32_t)pid, "CollectMode", "s",
		      "inactive-or-failed", "TimeoutStopUSec", "t", (uint64_t)10000000, "CPUWeight",
		      "t", shares->cpu_weight, "IOWeight", "t", shares->io_weight, "MemoryLow", "t",
		      shares->memory_low, 0);
	if (r >= 0)
		r = api->read(reply, "o", &path);
	if (r < 0)
		(void)snprintf(what, size, "%s", error.message ? error.message : strerror(-r));
	else
		(void)snprintf(job->path, sizeof(job->path), "%s", path);
	api->error_free(&error);
	return r;
}

static int ask(const char *unit, pid_t pid, const struct shares *shares, char *what, size_t size)
{
	struct api api;
	struct job job = { .api = &api, .result = 1 };
	uint64_t end = venv__now_us() + JOB_WAIT_US;
	sd_bus *bus = NULL;
	char runtime[40];
	int r;

	if (!load(&api)) {
		(void)snprintf(what, size, "libsystemd.so.0 cannot be loaded");
		return -ENOSYS;
	}
	(void)snprintf(runtime, sizeof(runtime), "/run/user/%u", geteuid());
	(void)setenv("XDG_RUNTIME_DIR", runtime, 0); /* in cron there is none */
	r = geteuid() == 0 ? api.open_system(&bus) : api.open_user(&bus);
	if (r >= 0)
		r = api.match(bus, NULL, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
			      "org.freedesktop.systemd1.Manager", "JobRemoved", on_removed, &job);
	if (r < 0) {
		(void)snprintf(what, size, "no connection to its bus: %s", strerror(-r));
		return r;
	}
	r = start_scope(&api, bus, unit, pid, shares, &job, what, size);
	while (r >= 0 && job.result > 0 && venv__now_us() < end) {
		r = api.process(bus, NULL);
		if (r == 0)
			r = api.wait(bus, 1000 * 1000);
	}
	return r < 0 ? r : job.result > 0 ? -ETIMEDOUT : job.result;
}

char *container_cgroup_systemd_own(const char *id)
{
	_cleanup_free_ char *tail = NULL;
	struct cgroup_host now;
	char *path, *end;

	if (asprintf(&tail, "/venv-%s.scope/keeper", id) < 0)
		return NULL;
	container_cgroup_host_find(&now);
	path = take_ptr(now.base);
	container_cgroup_host_done(&now);
	end = path ? strstr(path, tail) : NULL;
	if (end && strcmp(end, tail) == 0) {
		*strrchr(path, '/') = '\0';
		return path;
	}
	free(path);
	return NULL;
}

static uint64_t positive(const json_t *limits, const char *key, uint64_t otherwise)
{
	int64_t value = venv__json_int(limits, key, 0);

	return value > 0 ? (uint64_t)value : otherwise;
}

int container_cgroup_systemd_scope(const char *id, const json_t *limits, venv_error **err)
{
	const struct shares shares = {
		.cpu_weight = positive(limits, "cpu_weight", UINT64_MAX),
		.io_weight = positive(limits, "io_weight", UINT64_MAX),
		.memory_low = positive(limits, "memory_low", 0),
	};
	char unit[80], what[256] = "";
	pid_t keeper = getpid(), child;
	int pipe_fds[2], status;
	ssize_t n;

	(void)snprintf(unit, sizeof(unit), "venv-%s.scope", id);
	if (pipe(pipe_fds) < 0)
		return venv__fail_errno(err, errno, "cannot ask systemd for a scope");
	child = fork();
	if (child == 0) {
		status = ask(unit, keeper, &shares, what, sizeof(what));
		if (status < 0 && write(pipe_fds[1], what, strlen(what)) < 0)
			_exit(2);
		_exit(status < 0 ? 1 : 0);
	}
	(void)close(pipe_fds[1]);
	n = read(pipe_fds[0], what, sizeof(what) - 1);
	(void)close(pipe_fds[0]);
	what[n > 0 ? n : 0] = '\0';
	status = child < 0 ? -1 : venv__child_wait(child);
	if (status == 0)
		return 0;
	return venv__hint(venv__fail(err, VENV_ERR_HOST,
				     "systemd gave no scope for the machine: %s",
				     what[0] ? what : "it did not answer"),
			  err, "check 'systemctl --user status' and that XDG_RUNTIME_DIR is set");
}
