/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs beside up: halt, destroy, pause, resume, suspend, provision, repair. */
#include <fcntl.h>
#include <string.h>

#include "lifecycle.h"
#include "locks.h"
#include "net/net.h"
#include "op_private.h"

struct verb {
	const char *name; /* for the note in the lock */
	enum graph_order order;
	int (*run)(struct work *work, enum machine_state state, uint32_t flags, venv_error **err);
};

/* An operation of one verb on some machines. */
struct run {
	const struct verb *verb;
	struct venv_project *project;
	uint32_t flags;
	const struct machine_spec **machines;
	struct machine_spec *strangers; /* machines that exist though the file does not name them */
	size_t n, n_strangers;
};

int venv__unknown_machine(struct venv_project *project, const char *name, venv_error **err)
{
	_cleanup_buf_ struct buf known = { 0 };
	int r = venv__fail(err, VENV_ERR_NOT_FOUND, "venv.yml names no machine '%s'", name);

	for (size_t i = 0; i < project->spec->n_machines; i++)
		venv__buf_printf(&known, "%s%s", i ? ", " : "", project->spec->machines[i].name);
	return venv__hint(r, err, "it names: %s", known.data ? known.data : "none");
}

static int must_run(const struct work *work, enum machine_state state, venv_error **err)
{
	int r;

	if (state == MACHINE_RUNNING)
		return 0;
	r = venv__fail(err, VENV_ERR_STATE, "machine '%s' is %s", work->spec->name,
		       venv__machine_state_name(state));
	return venv__hint(r, err, "start it with 'venv up %s'", work->spec->name);
}

static int run_halt(struct work *work, enum machine_state state, uint32_t flags, venv_error **err)
{
	if (state == MACHINE_ABSENT || state == MACHINE_STOPPED)
		return 0;
	return venv__work_halt(work, state, flags & VENV_FORCE ? STOP_KILL : STOP_GRACEFUL, err);
}

static int run_destroy(struct work *work, enum machine_state state, uint32_t flags,
		       venv_error **err)
{
	const char *name = work->spec->name;
	int r;

	(void)flags;
	if (!work->record.id)
		return venv__work_sweep(work, err);
	venv__op_begin(work->op, name, "destroy", "destroying");
	r = venv__work_map(work, err);
	if (r == 0 && state != MACHINE_STOPPED && state != MACHINE_ABSENT)
		r = work->provider->stop(&work->machine, STOP_KILL, work->op, err);
	if (r == 0)
		r = work->provider->destroy(&work->machine, work->op, err);
	if (r == 0)
		r = venv__machine_remove(work->project, name, &work->record, err);
	if (r < 0)
		return r;
	venv__op_end(work->op, name, "destroy");
	venv__op_state(work->op, name, venv__machine_state_name(MACHINE_ABSENT));
	return 0;
}

static int run_pause(struct work *work, enum machine_state state, uint32_t flags, venv_error **err)
{
	int r;

	(void)flags;
	if (state == MACHINE_PAUSED)
		return 0;
	r = must_run(work, state, err);
	if (r < 0)
		return r;
	if (!work->provider->pause)
		return venv__fail(err, VENV_ERR_UNSUPPORTED, "provider '%s' cannot pause",
				  work->provider->name);
	r = work->provider->pause(&work->machine, work->op, err);
	if (r == 0)
		venv__op_state(work->op, work->spec->name,
			       venv__machine_state_name(MACHINE_PAUSED));
	return r;
}

static int run_suspend(struct work *work, enum machine_state state, uint32_t flags,
		       venv_error **err)
{
	int r = 0;

	(void)flags;
	if (state == MACHINE_SUSPENDED)
		return 0;
	if (state != MACHINE_PAUSED && state != MACHINE_FROZEN)
		r = must_run(work, state, err);
	return r < 0 ? r : venv__work_suspend(work, err);
}

static int run_resume(struct work *work, enum machine_state state, uint32_t flags, venv_error **err)
{
	int r;

	(void)flags;
	if (state == MACHINE_RUNNING)
		return 0;
	if (state == MACHINE_SUSPENDED) {
		r = venv__work_go_on(work, err);
		return r < 0 ? r : venv__work_awake(work, err);
	}
	if (state != MACHINE_PAUSED && state != MACHINE_FROZEN)
		return must_run(work, state, err);
	if (!work->provider->resume)
		return venv__fail(err, VENV_ERR_UNSUPPORTED, "provider '%s' cannot resume",
				  work->provider->name);
	r = work->provider->resume(&work->machine, work->op, err);
	if (r == 0)
		venv__op_state(work->op, work->spec->name,
			       venv__machine_state_name(MACHINE_RUNNING));
	return r;
}

static int run_provision(struct work *work, enum machine_state state, uint32_t flags,
			 venv_error **err)
{
	int r = must_run(work, state, err);

	return r < 0 ? r : venv__work_provision(work, flags | VENV_UP_PROVISION, err);
}

/* What a crash left is cleaned up by what the verbs do anyway: stop and destroy are idempotent. */
static int run_repair(struct work *work, enum machine_state state, uint32_t flags, venv_error **err)
{
	int r;

	(void)flags;
	if (state == MACHINE_PAUSED)
		return venv__work_unfreeze(work, state, err);
	if (state == MACHINE_ABSENT)
		return venv__work_sweep(work, err);
	if (state != MACHINE_CRASHED)
		return 0;
	r = venv__work_stop(work, STOP_KILL, err);
	if (r == 0)
		venv__op_notice(work->op, work->spec->name,
				"it had crashed; what was left of it was "
				"cleaned up, its data is kept");
	return r;
}

static const struct verb halt = { "halt", GRAPH_NEEDS_LAST, run_halt };
static const struct verb destroy = { "destroy", GRAPH_NEEDS_LAST, run_destroy };
static const struct verb pause_verb = { "pause", GRAPH_ANY, run_pause };
static const struct verb suspend = { "suspend", GRAPH_ANY, run_suspend };
static const struct verb resume = { "resume", GRAPH_ANY, run_resume };
static const struct verb provision = { "provision", GRAPH_NEEDS_FIRST, run_provision };
static const struct verb repair = { "repair", GRAPH_ANY, run_repair };

static int run_one(struct node *node, struct venv_project *project, const struct machine_spec *spec,
		   struct venv_op *op, void *user, venv_error **err)
{
	const struct run *run = user;
	_cleanup_work_ struct work work;
	enum machine_state state = MACHINE_ABSENT;
	int r;

	(void)node;
	venv__work_init(&work, project, spec, op);
	if (!project->uuid)
		return run->verb->run(&work, MACHINE_ABSENT, run->flags, err);
	work.lock_fd =
		venv__operation_lock(project, spec->name, run->verb->name,
				     run->flags & VENV_NO_WAIT ? LOCK_FAIL : LOCK_WAIT, op, err);
	if (work.lock_fd < 0)
		return work.lock_fd;
	r = venv__work_open(&work, err);
	if (r == 0)
		r = venv__work_observe(&work, &state, err);
	return r < 0 ? r : run->verb->run(&work, state, run->flags, err);
}

static int run_work(struct venv_op *op, void *user, venv_error **err)
{
	struct run *run = user;
	int r = run->verb == &provision ? venv__approval_check(run->project, err) : 0;

	if (r < 0)
		return r;
	/* a machine whose first `up` was killed may lie there without anybody knowing */
	r = venv__graph_run(run->project, run->machines, run->n, run->verb->order, run_one, run, op,
			    err);
	if (run->project->uuid)
		venv__net_clean(run->project->dir_fd);
	if (r == 0 && run->project->uuid)
		r = venv__trash_empty(run->project->ctx, err);
	return r;
}

static void run_free(void *user)
{
	struct run *run = user;

	for (size_t i = 0; run->strangers && i < run->n_strangers; i++)
		free(run->strangers[i].name);
	free(run->strangers);
	free(run->machines);
	free(run);
}

static int add_stranger(struct run *run, const char *name, venv_error **err)
{
	struct machine_spec *stranger = &run->strangers[run->n_strangers];

	stranger->name = strdup(name);
	if (!stranger->name)
		return venv__fail_nomem(err);
	run->n_strangers++;
	run->machines[run->n++] = stranger;
	return 0;
}

static int select_named(struct run *run, const char *const *names, char *const *orphans,
			venv_error **err)
{
	int r = 0;

	for (; r == 0 && *names; names++) {
		const struct machine_spec *spec = venv__spec_machine(run->project->spec, *names);

		if (spec)
			run->machines[run->n++] = spec;
		else if (venv__strv_has(orphans, *names))
			r = add_stranger(run, *names, err);
		else
			r = venv__unknown_machine(run->project, *names, err);
	}
	return r;
}

/* With no names: all in the file, and for halt, destroy and repair those that it no longer names. */
static int select_machines(struct run *run, const char *const *names, venv_error **err)
{
	const struct project_spec *spec = run->project->spec;
	_cleanup_strv_ char **orphans = NULL;
	size_t named = 0, count;
	int r = venv__machine_orphans(run->project, &orphans, err);

	if (r < 0)
		return r;
	while (names && names[named])
		named++;
	count = venv__strv_count(orphans);
	run->machines = calloc(spec->n_machines + count + named + 1, sizeof(struct machine_spec *));
	run->strangers = calloc(count + named + 1, sizeof(struct machine_spec));
	if (!run->machines || !run->strangers)
		return venv__fail_nomem(err);
	if (named)
		return select_named(run, names, orphans, err);
	for (size_t i = 0; i < spec->n_machines; i++)
		run->machines[run->n++] = &spec->machines[i];
	if (run->verb != &halt && run->verb != &destroy && run->verb != &repair)
		return 0;
	for (char **name = orphans; r == 0 && name && *name; name++)
		r = add_stranger(run, *name, err);
	return r;
}

static int start(struct venv_project *project, const struct verb *verb, const char *const *names,
		 uint32_t flags, struct venv_op **op, venv_error **err)
{
	struct run *run = calloc(1, sizeof(*run));
	int r;

	if (!run)
		return venv__fail_nomem(err);
	*run = (struct run){ .verb = verb, .project = project, .flags = flags };
	r = select_machines(run, names, err);
	if (r < 0) {
		run_free(run);
		return r;
	}
	return venv__op_start(project->ctx, run_work, run, run_free, op, err);
}

int venv_halt(venv_project *project, const char *const *names, uint32_t flags, venv_op **op,
	      venv_error **err)
{
	return start(project, &halt, names, flags, op, err);
}

int venv_destroy(venv_project *project, const char *const *names, uint32_t flags, venv_op **op,
		 venv_error **err)
{
	return start(project, &destroy, names, flags, op, err);
}

int venv_pause(venv_project *project, const char *const *names, uint32_t flags, venv_op **op,
	       venv_error **err)
{
	return start(project, &pause_verb, names, flags, op, err);
}

int venv_suspend(venv_project *project, const char *const *names, uint32_t flags, venv_op **op,
		 venv_error **err)
{
	return start(project, &suspend, names, flags, op, err);
}

int venv_resume(venv_project *project, const char *const *names, uint32_t flags, venv_op **op,
		venv_error **err)
{
	return start(project, &resume, names, flags, op, err);
}

int venv_provision(venv_project *project, const char *const *names, uint32_t flags, venv_op **op,
		   venv_error **err)
{
	return start(project, &provision, names, flags, op, err);
}

/* ---- Machines by their id, whatever became of their projects --------------------------------- */

/* A machine of any project, opened by its record alone. */
struct stranger {
	struct machine_spec spec;
	struct project_spec owner;
	struct venv_project project;
	struct work work;
};

static void stranger_done(struct stranger *stranger)
{
	venv__work_done(&stranger->work);
	if (stranger->project.dir_fd >= 0)
		(void)close(stranger->project.dir_fd);
}

/* Locked; the project's directory of ours is made again when it was lost. */
static int stranger_open(struct stranger *stranger, struct venv *ctx, const char *id,
			 const char *why, enum lock_wait wait, struct venv_op *op, venv_error **err)
{
	_cleanup_free_ char *path = NULL;
	int r;

	*stranger = (struct stranger){ .project = { .ctx = ctx, .dir_fd = -1 } };
	stranger->project.spec = &stranger->owner;
	venv__work_init(&stranger->work, &stranger->project, &stranger->spec, op);
	r = venv__machine_open(ctx, id, &stranger->work.record, err);
	if (r == 0)
		r = venv__work_open_record(&stranger->work, err);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/projects/%s", ctx->data_dir, stranger->project.uuid) < 0) {
		path = NULL;
		return venv__fail_nomem(err);
	}
	r = venv__dir_make(path, &stranger->project.dir_fd, err);
	if (r < 0)
		return r;
	stranger->work.lock_fd =
		venv__operation_lock(&stranger->project, stranger->spec.name, why, wait, op, err);
	return stranger->work.lock_fd < 0 ? stranger->work.lock_fd : 0;
}

struct by_id {
	const struct verb *verb;
	struct venv *ctx;
	char *id;
	uint32_t flags;
};

static void by_id_free(void *user)
{
	struct by_id *by_id = user;

	free(by_id->id);
	free(by_id);
}

/* The whole id of the one machine whose id begins so; owned by the caller. */
static int complete_id(struct venv *ctx, const char *prefix, char **ret, venv_error **err)
{
	_cleanup_strv_ char **ids = NULL;
	const char *found = NULL;
	int r = venv__machine_ids(ctx, &ids, err);

	for (char **id = ids; r == 0 && id && *id; id++) {
		if (strlen(prefix) < 4 || strncmp(*id, prefix, strlen(prefix)) != 0)
			continue;
		if (found)
			return venv__hint(
				venv__fail(err, VENV_ERR_INVALID,
					   "several machines have an id that begins with '%s'",
					   prefix),
				err, "give more of it: 'venv global-status --json' has all");
		found = *id;
	}
	if (r < 0)
		return r;
	if (!found)
		return venv__hint(venv__fail(err, VENV_ERR_NOT_FOUND,
					     "there is no machine with the id '%s'", prefix),
				  err, "see the ids with 'venv global-status'");
	*ret = strdup(found);
	return *ret ? 0 : venv__fail_nomem(err);
}

static int by_id_work(struct venv_op *op, void *user, venv_error **err)
{
	const struct by_id *by_id = user;
	enum machine_state state;
	struct stranger stranger;
	int r = stranger_open(&stranger, by_id->ctx, by_id->id, by_id->verb->name,
			      by_id->flags & VENV_NO_WAIT ? LOCK_FAIL : LOCK_WAIT, op, err);

	if (r == 0)
		r = venv__work_observe(&stranger.work, &state, err);
	if (r == 0)
		r = by_id->verb->run(&stranger.work, state, by_id->flags, err);
	if (stranger.project.dir_fd >= 0)
		venv__net_clean(stranger.project.dir_fd);
	stranger_done(&stranger);
	return r;
}

static int start_by_id(struct venv *ctx, const struct verb *verb, const char *id, uint32_t flags,
		       struct venv_op **op, venv_error **err)
{
	struct by_id *by_id = calloc(1, sizeof(*by_id));
	int r;

	if (!by_id)
		return venv__fail_nomem(err);
	*by_id = (struct by_id){ .verb = verb, .ctx = ctx, .flags = flags };
	r = complete_id(ctx, id, &by_id->id, err);
	if (r < 0) {
		by_id_free(by_id);
		return r;
	}
	return venv__op_start(ctx, by_id_work, by_id, by_id_free, op, err);
}

int venv_halt_id(venv *ctx, const char *id, uint32_t flags, venv_op **op, venv_error **err)
{
	return start_by_id(ctx, &halt, id, flags, op, err);
}

int venv_destroy_id(venv *ctx, const char *id, uint32_t flags, venv_op **op, venv_error **err)
{
	return start_by_id(ctx, &destroy, id, flags, op, err);
}

/* Somebody who is at it is left in peace. */
static int repair_one(struct venv *ctx, const char *id, struct venv_op *op, venv_error **err)
{
	enum machine_state state;
	struct stranger stranger;
	int r = stranger_open(&stranger, ctx, id, "repair", LOCK_FAIL, op, err);

	if (r == 0)
		r = venv__work_observe(&stranger.work, &state, err);
	if (r == 0)
		r = run_repair(&stranger.work, state, 0, err);
	stranger_done(&stranger);
	return r;
}

/* What killed network processes left. */
static int clean_networks(struct venv *ctx, venv_error **err)
{
	_cleanup_strv_ char **names = NULL;
	_cleanup_close_ int projects = -1;
	int data = venv__context_data(ctx, err), r;

	if (data < 0)
		return data;
	projects = openat(data, "projects", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (projects < 0)
		return 0;
	r = venv__dir_list(projects, &names, err);
	for (char **name = names; r == 0 && *name; name++) {
		_cleanup_close_ int fd =
			openat(projects, *name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd >= 0)
			venv__net_clean(fd);
	}
	return r;
}

static int repair_all(struct venv_op *op, void *user, venv_error **err)
{
	struct venv *ctx = user;
	_cleanup_strv_ char **ids = NULL;
	int r = venv__trash_empty(ctx, err);

	if (r == 0)
		r = clean_networks(ctx, err);
	if (r == 0)
		r = venv__machine_ids(ctx, &ids, err);
	for (char **id = ids; r == 0 && *id; id++) {
		_cleanup_error_ venv_error *error = NULL;

		if (repair_one(ctx, *id, op, &error) < 0 && venv_error_code(error) != VENV_ERR_BUSY)
			venv__op_warning(op, NULL,
					 "machine %s: %s; its files are kept in '%s/machines/%s'",
					 *id, venv_error_message(error), ctx->data_dir, *id);
		r = venv__op_cancelled(op, err);
	}
	return r;
}

int venv_repair(venv *ctx, venv_project *project, venv_op **op, venv_error **err)
{
	if (project)
		return start(project, &repair, NULL, 0, op, err);
	return venv__op_start(ctx, repair_all, ctx, NULL, op, err);
}
