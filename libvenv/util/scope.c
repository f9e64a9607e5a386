/* SPDX-License-Identifier: Apache-2.0 */
#include "scope.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "sys.h"

enum { JOB_WAIT_US = 10 * 1000 * 1000 };

#define SYSTEMD "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"

struct api {
	__typeof__(sd_bus_open_system) *open_system;
	__typeof__(sd_bus_open_user) *open_user;
	__typeof__(sd_bus_message_new_method_call) *new_call;
	__typeof__(sd_bus_message_append) *append;
	__typeof__(sd_bus_message_append_array) *append_array;
	__typeof__(sd_bus_message_open_container) *open;
	__typeof__(sd_bus_message_close_container) *close;
	__typeof__(sd_bus_call) *call;
	__typeof__(sd_bus_message_read) *read;
	__typeof__(sd_bus_process) *process;
	__typeof__(sd_bus_wait) *wait;
	__typeof__(sd_bus_match_signal) *match;
	__typeof__(sd_bus_error_free) *error_free;
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
	       LOAD(new_call, "sd_bus_message_new_method_call") &&
	       LOAD(append, "sd_bus_message_append") &&
	       LOAD(append_array, "sd_bus_message_append_array") &&
	       LOAD(open, "sd_bus_message_open_container") &&
	       LOAD(close, "sd_bus_message_close_container") && LOAD(call, "sd_bus_call") &&
	       LOAD(read, "sd_bus_message_read") && LOAD(process, "sd_bus_process") &&
	       LOAD(wait, "sd_bus_wait") && LOAD(match, "sd_bus_match_signal") &&
	       LOAD(error_free, "sd_bus_error_free");
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

/* The property "PIDs": an array of as many as there are. */
static int append_pids(const struct api *api, sd_bus_message *message, const struct scope *scope)
{
	int r = api->open(message, 'r', "sv");

	if (r >= 0)
		r = api->append(message, "s", "PIDs");
	if (r >= 0)
		r = api->open(message, 'v', "au");
	if (r >= 0)
		r = api->append_array(message, 'u', scope->pids,
				      scope->n_pids * sizeof(*scope->pids));
	if (r >= 0)
		r = api->close(message);
	return r < 0 ? r : api->close(message);
}

static int append_properties(const struct api *api, sd_bus_message *message,
			     const struct scope *scope)
{
	int r = api->open(message, 'a', "(sv)");

	if (r >= 0)
		r = append_pids(api, message, scope);
	if (r >= 0)
		r = api->append(message, "(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)", "Description", "s",
				scope->description, "Delegate", "b", (int)scope->delegate,
				"CollectMode", "s", "inactive-or-failed", "KillSignal", "i",
				(int32_t)scope->stop_signal, "TimeoutStopUSec", "t",
				scope->stop_timeout_us, "CPUWeight", "t", scope->cpu_weight,
				"IOWeight", "t", scope->io_weight, "MemoryLow", "t",
				scope->memory_low);
	return r < 0 ? r : api->close(message);
}

static int start(const struct api *api, sd_bus *bus, const struct scope *scope, struct job *job,
		 char *what, size_t size)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *message = NULL, *reply = NULL;
	const char *path = NULL;
	int r;

	r = api->new_call(bus, &message, SYSTEMD, SYSTEMD_PATH, MANAGER, "StartTransientUnit");
	if (r >= 0)
		r = api->append(message, "ss", scope->unit, "fail");
	if (r >= 0)
		r = append_properties(api, message, scope);
	if (r >= 0)
		r = api->append(message, "a(sa(sv))", 0);
	if (r >= 0)
		r = api->call(bus, message, 0, &error, &reply);
	if (r >= 0)
		r = api->read(reply, "o", &path);
	if (r < 0)
		(void)snprintf(what, size, "%s", error.message ? error.message : strerror(-r));
	else
		(void)snprintf(job->path, sizeof(job->path), "%s", path);
	api->error_free(&error);
	return r;
}

int venv__scope_start(const struct scope *scope, char *what, size_t size)
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
		r = api.match(bus, NULL, SYSTEMD, SYSTEMD_PATH, MANAGER, "JobRemoved", on_removed,
			      &job);
	if (r < 0) {
		(void)snprintf(what, size, "no connection to its bus: %s", strerror(-r));
		return r;
	}
	r = start(&api, bus, scope, &job, what, size);
	while (r >= 0 && job.result > 0 && venv__now_us() < end) {
		r = api.process(bus, NULL);
		if (r == 0)
			r = api.wait(bus, 1000 * 1000);
	}
	return r < 0 ? r : job.result > 0 ? -ETIMEDOUT : job.result;
}
