/* SPDX-License-Identifier: Apache-2.0 */
/* The console of a machine: what it said, and a way to see and type there. */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "lifecycle.h"
#include "op_private.h"

struct logs {
	struct venv_project *project;
	char *machine;
	int fd;
	bool follow;
};

static void logs_free(void *user)
{
	struct logs *logs = user;

	free(logs->machine);
	free(logs);
}

static int pass_on(int from, int to, venv_error **err)
{
	char chunk[16384];
	ssize_t n;

	while ((n = read(from, chunk, sizeof(chunk))) > 0) {
		int r = venv__write_all(to, chunk, (size_t)n);

		if (r < 0)
			return venv__fail_errno(err, -r, "cannot write");
	}
	return 0;
}

static int open_console(const struct work *work)
{
	return openat(work->record.dir_fd, "console.log", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

/* The keeper begins a new file when the old one is large: follow by name. */
static int follow(const struct logs *logs, const struct work *work, int *log, struct venv_op *op,
		  venv_error **err)
{
	_cleanup_close_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char events[4096];

	if (watch < 0 ||
	    inotify_add_watch(watch, work->record.dir,
			      IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF) < 0)
		return venv__fail_errno(err, errno, "cannot follow the log");
	for (;;) {
		struct pollfd fds[] = { { .fd = watch, .events = POLLIN },
					{ .fd = venv__op_cancel_fd(op), .events = POLLIN } };
		struct stat now, then;
		int r, fd;

		r = *log >= 0 ? pass_on(*log, logs->fd, err) : 0;
		if (r < 0)
			return r;
		fd = open_console(work);
		if (fd >= 0 && (*log < 0 || (fstat(fd, &now) == 0 && fstat(*log, &then) == 0 &&
					     now.st_ino != then.st_ino))) {
			if (*log >= 0)
				(void)close(*log);
			*log = fd;
			continue;
		}
		if (fd >= 0)
			(void)close(fd);
		if (poll(fds, ARRAY_SIZE(fds), 1000) < 0 && errno != EINTR)
			return venv__fail_errno(err, errno, "cannot follow the log");
		if (fds[1].revents)
			return venv__op_cancelled(op, err);
		while (read(watch, events, sizeof(events)) > 0)
			;
	}
}

static int logs_work(struct venv_op *op, void *user, venv_error **err)
{
	struct logs *logs = user;
	const struct machine_spec *spec =
		logs->machine ? venv__spec_machine(logs->project->spec, logs->machine)
			      : venv__spec_primary(logs->project->spec);
	_cleanup_work_ struct work work;
	_cleanup_close_ int log = -1;
	int r;

	if (!spec)
		return venv__fail(err, VENV_ERR_NOT_FOUND, "name one of the machines in venv.yml");
	venv__work_init(&work, logs->project, spec, op);
	r = venv__work_open(&work, err);
	if (r < 0)
		return r;
	if (!work.record.id)
		return venv__hint(venv__fail(err, VENV_ERR_STATE, "machine '%s' does not exist yet",
					     spec->name),
				  err, "make it with 'venv up %s'", spec->name);
	log = open_console(&work);
	if (logs->follow)
		return follow(logs, &work, &log, op, err);
	return log >= 0 ? pass_on(log, logs->fd, err) : 0;
}

int venv_logs(venv_project *project, const char *machine, int fd, int follow_it, venv_op **op,
	      venv_error **err)
{
	struct logs *logs = calloc(1, sizeof(*logs));

	if (!logs)
		return venv__fail_nomem(err);
	*logs = (struct logs){ .project = project, .fd = fd, .follow = follow_it };
	logs->machine = machine ? strdup(machine) : NULL;
	if (machine && !logs->machine) {
		logs_free(logs);
		return venv__fail_nomem(err);
	}
	return venv__op_start(project->ctx, logs_work, logs, logs_free, op, err);
}

/* One that hangs while it starts, or stops, is what a console is for. */
static bool has_console(enum machine_state state)
{
	return state >= MACHINE_STARTING && state <= MACHINE_STOPPING;
}

int venv_console(venv_project *project, const char *machine, int *ret_fd, venv_error **err)
{
	_cleanup_work_ struct work work;
	enum machine_state state = MACHINE_ABSENT;
	int r = venv__work_open_named(project, machine, NULL, &work, &state, err);

	if (r < 0)
		return r;
	if (!has_console(state))
		return venv__work_not_running(&work, state, err);
	if (!work.provider->console)
		r = venv__fail(err, VENV_ERR_UNSUPPORTED,
			       "a machine of the provider '%s' has no console",
			       work.provider->name);
	else
		r = work.provider->console(&work.machine, ret_fd, err);
	return r < 0 ? venv__error_set_machine(r, err, work.spec->name) : 0;
}
