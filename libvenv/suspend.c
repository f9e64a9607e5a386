/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suspending a machine, and letting it go on.
 *
 * Theory of operation: what is on disk decides, and the provider reads it (observe): a machine is suspended
 * from the moment that its state is whole there until it goes on from it. So a command that is killed leaves
 * a machine that runs, one that stands still (paused: resume, up and repair let it go on), or a suspended
 * one. state.json only tells why a paused machine is paused.
 *   A machine that goes on is prepared as it was when it was started: with the spec of its record, because
 * its memory, its devices and what it has open fit only that. What the file says by now comes after that,
 * as to a running machine.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "guest.h"
#include "lifecycle.h"
#include "util/sys.h"

static int cannot_suspend(const struct work *work, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_UNSUPPORTED, "provider '%s' cannot suspend",
			   work->provider->name);

	if (work->provider->pause)
		return venv__hint(
			r, err,
			"'venv pause %s' keeps it in memory; machines of the provider kvm "
			"can be suspended",
			work->spec->name);
	return r;
}

int venv__work_suspend(struct work *work, venv_error **err)
{
	const char *name = work->spec->name;
	int r;

	if (!work->provider->suspend)
		return cannot_suspend(work, err);
	venv__op_begin(work->op, name, "suspend", "keeping on disk what it does");
	r = venv__work_set_state(work, "suspending", err);
	if (r == 0)
		r = work->provider->suspend(&work->machine, work->op, err);
	if (r < 0) {
		(void)venv__work_set_state(work, "running", NULL);
		return r;
	}
	r = venv__work_set_state(work, "suspended", err);
	if (r < 0)
		return r;
	venv__op_end(work->op, name, "suspend");
	venv__op_state(work->op, name, venv__machine_state_name(MACHINE_SUSPENDED));
	return 0;
}

int venv__work_unfreeze(struct work *work, enum machine_state state, venv_error **err)
{
	const char *why = venv__json_str(work->record.state, "state");
	bool suspending = why && strcmp(why, "suspending") == 0;
	int r;

	if (state != MACHINE_PAUSED || !work->provider->resume ||
	    (!suspending && (!why || strcmp(why, "snapshotting") != 0)))
		return 0;
	r = work->provider->resume(&work->machine, work->op, err);
	if (r == 0)
		r = venv__work_set_state(work, "running", err);
	if (r < 0)
		return r;
	venv__op_notice(work->op, work->spec->name,
			"an interrupted %s had left it paused; it goes on",
			suspending ? "suspend" : "snapshot");
	venv__op_state(work->op, work->spec->name, venv__machine_state_name(MACHINE_RUNNING));
	return 0;
}

/* ---- Going on ------------------------------------------------------------------------------ */

static int start_as_it_was(struct work *work, venv_error **err)
{
	_cleanup_close_ int store = venv__store_lock(work->project->ctx, false, work->op, err);
	int r;

	if (store < 0)
		return store;
	r = venv__work_prepare(work, err);
	if (r == 0)
		r = venv__work_attach(work, work->record.id, err);
	return r < 0 ? r : venv__work_start(work, err);
}

int venv__work_go_on(struct work *work, venv_error **err)
{
	const struct machine_spec *present = work->spec;
	struct machine_spec *recorded = NULL;
	int r;

	/* paths in the record follow a project that was moved */
	if (work->project->spec->dir)
		json_decref(venv__work_diff(work, json_object_get(work->record.spec, "spec")));
	r = venv__spec_machine_from_json(json_object_get(work->record.spec, "spec"), &recorded,
					 err);
	if (r < 0)
		return r;
	work->spec = work->machine.spec = recorded;
	work->goes_on = true;
	r = start_as_it_was(work, err);
	work->goes_on = false;
	venv__folders_done(&work->machine);
	work->spec = work->machine.spec = present;
	work->machine.name = present->name;
	venv__spec_machine_free(recorded);
	if (r < 0 && r != VENV_ERR_CANCELLED)
		(void)venv__hint(
			r, err,
			"'venv halt -f %s' gives up what it did; 'venv up %s' then starts it "
			"anew from its disk",
			present->name, present->name);
	return r;
}

/*
 * A guest does not see the time pass while it is suspended. It is told the time when the command runs there:
 * to get that far may take longer than a clock may be wrong. One that keeps its clock right by itself is left
 * alone.
 */
static const char clock_script[] =
	"echo ready; read -r now && d=$(($(date +%s) - ${now%.*})) && { test ${d#-} -le 1 || "
	"date -s \"@$now\" || date -s \"@${now%.*}\"; }";

struct clock {
	int fd; /* what the command reads */
};

static void tell_time(void *user, int stream, const char *data, size_t length)
{
	struct clock *clock = user;
	struct timespec now;

	(void)stream;
	(void)data;
	(void)length;
	if (clock->fd < 0)
		return;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)dprintf(clock->fd, "%lld.%03ld\n", (long long)now.tv_sec, now.tv_nsec / 1000000);
	(void)close(take_fd(&clock->fd));
}

static int set_clock(struct work *work, venv_error **err)
{
	char shell[] = "/bin/sh", flag[] = "-c", script[sizeof(clock_script)];
	char *argv[] = { shell, flag, script, NULL };
	struct exec_spec spec = { .argv = argv, .user = "root" };
	struct guest_io io = GUEST_IO_INIT;
	_cleanup_close_ int in = -1;
	struct clock clock;
	int fds[2], r;

	memcpy(script, clock_script, sizeof(script));
	if (pipe2(fds, O_CLOEXEC) < 0)
		return venv__fail_errno(err, errno, "cannot make a pipe");
	in = io.in = fds[0];
	clock.fd = fds[1];
	io.output = tell_time;
	io.user = &clock;
	r = venv__guest_run(work->provider, &work->machine, &spec, &io, work->op, err);
	if (clock.fd >= 0)
		(void)close(clock.fd);
	return r;
}

int venv__work_awake(struct work *work, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int r = venv__work_contact(work, err);

	if (r < 0)
		return r;
	r = set_clock(work, &problem);
	if (r == VENV_ERR_CANCELLED)
		return venv__error_take(take_ptr(problem), err);
	if (r != 0)
		venv__op_warning(
			work->op, work->spec->name,
			"its clock could not be put right, it may stand at the time of the "
			"suspend%s%s",
			problem ? ": " : "", problem ? venv_error_message(problem) : "");
	return 0;
}

/* ---- Stopping ------------------------------------------------------------------------------ */

int venv__work_halt(struct work *work, enum machine_state state, enum stop_how how,
		    venv_error **err)
{
	int r = 0;

	if (state == MACHINE_SUSPENDED && how == STOP_GRACEFUL)
		r = venv__work_go_on(work, err);
	return r < 0 ? r : venv__work_stop(work, how, err);
}
