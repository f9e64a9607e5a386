/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv up: whatever state a machine is in, make it run as venv.yml says.
 *
 * A new machine: everything that can be refused (box, provider, folders, ports) is looked at before
 * anything is created, and a machine that did not come to its first start is removed again. Once it
 * has started, nothing here ever deletes it.
 */
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "lifecycle.h"
#include "locks.h"
#include "net/net.h"
#include "op_private.h"
#include "options.h"
#include "ssh/ssh.h"
#include "util/sys.h"

struct up {
	venv_up_options options;
	char *provider;
	bool restart; /* reload */
	const struct machine_spec **machines;
	size_t n;
	struct venv_project *project;
};

/* ---- Creating ------------------------------------------------------------------------------ */

static json_t *box_record(const struct box *box, const char *reference)
{
	json_t *json = venv__box_to_json(box);

	if (json && json_object_set_new(json, "reference", json_string(reference)) < 0) {
		json_decref(json);
		return NULL;
	}
	return json;
}

static json_t *machine_record(const struct work *work, const char *id)
{
	const struct project_spec *project = work->project->spec;

	return json_pack("{s:i, s:s, s:s, s:s, s:{s:s, s:s, s:s}, s:o, s:o, s:I}", "version", 1,
			 "id", id, "name", work->spec->name, "provider", work->provider->name,
			 "project", "uuid", work->project->uuid, "path", project->dir, "name",
			 project->name, "box", box_record(&work->box, work->spec->box), "spec",
			 venv__spec_machine_to_json(work->spec), "created",
			 (json_int_t)venv__wall_seconds());
}

/* Those of ssh.extra_keys, one a line. */
static int read_extra_keys(const struct ssh_spec *ssh, struct buf *keys, venv_error **err)
{
	int r = 0;

	for (char **path = ssh->extra_keys; r == 0 && path && *path; path++) {
		_cleanup_free_ char *text = NULL;

		r = venv__file_read(AT_FDCWD, *path, 65536, &text, NULL, err);
		if (r < 0)
			return venv__at_spec(
				venv__hint(venv__wrap(r, err, "ssh.extra_keys"), err,
					   "name files of public keys that you can read"),
				err, &ssh->extra_keys_place);
		venv__buf_puts(keys, text);
		if (keys->length && keys->data[keys->length - 1] != '\n')
			venv__buf_puts(keys, "\n");
	}
	return 0;
}

static int write_authorized(struct work *work, int keys_fd, venv_error **err)
{
	_cleanup_buf_ struct buf keys = { 0 };
	_cleanup_free_ char *own = NULL;
	int r = venv__file_read(keys_fd, "user.pub", 65536, &own, NULL, err);

	if (r < 0)
		return r;
	venv__buf_puts(&keys, own);
	r = read_extra_keys(&work->spec->ssh, &keys, err);
	if (r < 0)
		return r;
	if (keys.failed)
		return venv__fail_nomem(err);
	return venv__file_write(keys_fd, "authorized", keys.data, keys.length, 0600, WRITE_VOLATILE,
				err);
}

static int write_known_hosts(struct work *work, int keys_fd, venv_error **err)
{
	_cleanup_free_ char *key = NULL, *line = NULL;
	int n, r = venv__file_read(keys_fd, "host.pub", 65536, &key, NULL, err);

	if (r < 0)
		return r;
	n = asprintf(&line, "venv-%s %s", work->record.id, key);
	if (n < 0) {
		line = NULL;
		return venv__fail_nomem(err);
	}
	return venv__file_write(keys_fd, "known_hosts", line, (size_t)n, 0600, WRITE_VOLATILE, err);
}

static int make_keys(struct work *work, venv_error **err)
{
	_cleanup_close_ int keys_fd = -1;
	int r = venv__dir_make_at(work->record.dir_fd, "keys", 0700, &keys_fd, err);

	if (r == 0)
		venv__file_sweep(keys_fd, NULL);
	if (r == 0)
		r = venv__ssh_keygen(keys_fd, "host", work->spec->name, err);
	if (r == 0)
		r = venv__ssh_keygen(keys_fd, "user", work->spec->name, err);
	if (r == 0)
		r = write_authorized(work, keys_fd, err);
	if (r == 0)
		r = write_known_hosts(work, keys_fd, err);
	return r;
}

static int create(struct work *work, const char *id, venv_error **err)
{
	_cleanup_json_ json_t *spec = machine_record(work, id);
	int r;

	if (!spec)
		return venv__fail_nomem(err);
	venv__op_begin(work->op, work->spec->name, "create", "creating from %s", work->box.name);
	r = venv__machine_create(work->project, work->spec->name, spec, &work->record, err);
	if (r == 0)
		r = venv__work_prepare(work, err);
	if (r == 0)
		r = make_keys(work, err);
	if (r == 0)
		r = work->provider->create(&work->machine, work->op, err);
	if (r == 0)
		venv__op_end(work->op, work->spec->name, "create");
	return r;
}

/* Undo what a machine that never started left. The cause in *err stays. */
static void remove_again(struct work *work)
{
	if (!work->record.id)
		return;
	(void)work->provider->destroy(&work->machine, work->op, NULL);
	(void)venv__machine_remove(work->project, work->spec->name, &work->record, NULL);
}

static int up_new(struct work *work, const struct up *up, venv_error **err)
{
	_cleanup_buf_ struct buf keys = { 0 };
	_cleanup_close_ int store = -1;
	char id[33];
	int r;

	r = venv__work_resolve_box(work, err);
	if (r == 0)
		r = venv__work_choose_provider(work, up->provider, err);
	if (r == 0)
		r = venv__work_prepare(work, err);
	if (r == 0)
		r = read_extra_keys(&work->spec->ssh, &keys, err);
	if (r < 0)
		return r;
	r = venv__random_id(id);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot get random bytes");
	store = venv__store_lock(work->project->ctx, false, work->op, err);
	if (store < 0)
		return store;
	r = venv__work_attach(work, id, err);
	if (r == 0)
		r = venv__op_cancelled(work->op, err);
	if (r == 0)
		r = create(work, id, err);
	if (r == 0)
		r = venv__op_cancelled(work->op, err);
	if (r == 0)
		r = venv__work_start(work, err);
	if (r < 0)
		remove_again(work);
	return r;
}

/* ---- A machine that exists ----------------------------------------------------------------- */

/* What was decided when it was made stays in the record, so that it is told each time. */
static void keep_made(struct work *work, json_t *now, const json_t *changes)
{
	const json_t *change;
	size_t i;

	json_array_foreach(changes, i, change)
	{
		const char *key = venv__json_str(change, "key");
		json_t *from = json_object_get(change, "from");

		if (!venv__json_bool(change, "remake", false))
			continue;
		if (json_is_null(from))
			(void)json_object_del(now, key);
		else
			(void)json_object_set(now, key, from);
		venv__op_notice(
			work->op, work->spec->name,
			"it was made with another '%s'; for a new machine run 'venv destroy "
			"%s' and 'venv up %s'",
			key, work->spec->name, work->spec->name);
	}
}

/* Remember what it is started with; what cannot change any more is told. */
static int update_record(struct work *work, venv_error **err)
{
	json_t *now = venv__spec_machine_to_json(work->spec);
	_cleanup_json_ json_t *changes = now ? venv__work_diff(work, now) : NULL;

	if (!changes) {
		json_decref(now);
		return venv__fail_nomem(err);
	}
	keep_made(work, now, changes);
	if (json_equal(json_object_get(work->record.spec, "spec"), now)) {
		json_decref(now);
		return 0;
	}
	if (json_object_set_new(work->record.spec, "spec", now) < 0)
		return venv__fail_nomem(err);
	return venv__json_write(work->record.dir_fd, "spec.json", work->record.spec, WRITE_DURABLE,
				err);
}

static int start_existing(struct work *work, venv_error **err)
{
	_cleanup_close_ int store = venv__store_lock(work->project->ctx, false, work->op, err);
	int r;

	if (store < 0)
		return store;
	venv__file_sweep(work->record.dir_fd, NULL);
	r = venv__work_prepare(work, err);
	if (r == 0)
		r = venv__work_attach(work, work->record.id, err);
	if (r == 0)
		r = make_keys(work, err);
	if (r == 0)
		r = update_record(work, err);
	/* create is idempotent: it mends what a crash in the first `up` left out */
	if (r == 0)
		r = work->provider->create(&work->machine, work->op, err);
	if (r == 0)
		r = venv__work_start(work, err);
	return r;
}

/* What this host cannot enforce of it is told as at a start. */
static int change_now(struct work *work, const json_t *live, venv_error **err)
{
	int r = 0;

	if (work->provider->apply)
		r = work->provider->apply(&work->machine, live, work->op, err);
	if (r == 0)
		r = venv__work_warn(work, err);
	return r < 0 ? r : venv__machine_save(&work->record, WRITE_VOLATILE, err);
}

static int apply_live(struct work *work, const json_t *changes, venv_error **err)
{
	_cleanup_json_ json_t *live = json_array();
	_cleanup_buf_ struct buf later = { 0 }, made = { 0 };
	json_t *recorded = json_object_get(work->record.spec, "spec");
	json_t *change;
	size_t i;
	int r = 0;

	json_array_foreach(changes, i, change)
	{
		const char *key = venv__json_str(change, "key");

		if (venv__json_bool(change, "live", false))
			r |= json_array_append(live, change);
		else if (venv__json_bool(change, "remake", false))
			venv__buf_printf(&made, "%s%s", made.length ? ", " : "", key);
		else if (key)
			venv__buf_printf(&later, "%s%s", later.length ? ", " : "", key);
	}
	if (r < 0)
		return venv__fail_nomem(err);
	if (json_array_size(live))
		r = change_now(work, live, err);
	if (r < 0)
		return r;
	json_array_foreach(live, i, change)
	{
		const char *key = venv__json_str(change, "key");

		r |= json_object_set(recorded, key, json_object_get(change, "to"));
		venv__op_notice(work->op, work->spec->name, "'%s' changed live", key);
	}
	if (later.length)
		venv__op_notice(work->op, work->spec->name,
				"changed in venv.yml, takes effect with 'venv reload': %s",
				later.data);
	if (made.length)
		venv__op_notice(
			work->op, work->spec->name,
			"changed in venv.yml, takes effect with 'venv destroy' and 'venv up': %s",
			made.data);
	if (r < 0)
		return venv__fail_nomem(err);
	if (!json_array_size(live))
		return 0;
	return venv__json_write(work->record.dir_fd, "spec.json", work->record.spec, WRITE_DURABLE,
				err);
}

static int up_running(struct work *work, venv_error **err)
{
	_cleanup_json_ json_t *now = venv__spec_machine_to_json(work->spec);
	_cleanup_json_ json_t *changes = NULL;
	int r;

	if (now)
		changes = venv__work_diff(work, now);
	if (!changes)
		return venv__fail_nomem(err);
	r = venv__work_rejoin(work, err);
	if (r < 0)
		return r;
	return json_array_size(changes) ? apply_live(work, changes, err) : 0;
}

/*
 * A machine whose process was killed just before looks alive until the kernel is done with that. So look
 * again: what ended meanwhile is started as it would have been a moment later.
 */
static int up_if_it_stays(struct work *work, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	enum machine_state state = MACHINE_RUNNING;
	int r = up_running(work, &problem), seen = venv__work_observe(work, &state, NULL);

	if (seen == 0 && (state == MACHINE_STOPPED || state == MACHINE_CRASHED))
		return start_existing(work, err);
	return r < 0 ? venv__error_take(take_ptr(problem), err) : 0;
}

static int up_existing(struct work *work, const struct up *up, enum machine_state state,
		       venv_error **err)
{
	int r = 0;

	if (up->provider && strcmp(up->provider, work->provider->name) != 0)
		return venv__hint(venv__fail(err, VENV_ERR_STATE,
					     "it exists already under provider '%s'",
					     work->provider->name),
				  err, "run 'venv destroy' first to make it anew");
	if (up->restart && state != MACHINE_STOPPED && state != MACHINE_CRASHED) {
		r = venv__work_halt(work, state, STOP_GRACEFUL, err);
		state = MACHINE_STOPPED;
	}
	if (r < 0)
		return r;
	switch (state) {
	case MACHINE_STOPPED:
	case MACHINE_CRASHED:
		return start_existing(work, err);
	case MACHINE_PAUSED:
	case MACHINE_FROZEN:
		r = up_running(work, err);
		if (r == 0 && work->provider->resume)
			r = work->provider->resume(&work->machine, work->op, err);
		return r;
	case MACHINE_SUSPENDED:
		r = venv__work_go_on(work, err);
		if (r == 0)
			r = venv__work_awake(work, err);
		return r < 0 ? r : up_running(work, err);
	case MACHINE_RUNNING:
		return up_if_it_stays(work, err);
	case MACHINE_ABSENT:
	case MACHINE_STARTING:
	case MACHINE_STOPPING:
		break;
	}
	r = venv__fail(err, VENV_ERR_STATE, "it is %s", venv__machine_state_name(state));
	return venv__hint(r, err, "end it with 'venv halt -f', then run the command again");
}

/* ---- The verb ------------------------------------------------------------------------------ */

static int after_start(struct node *node, struct work *work, uint32_t flags, venv_error **err)
{
	int r = venv__work_contact(work, err);

	if (r < 0)
		return r;
	venv__graph_reached(node, NEED_STARTED);
	if (!(flags & VENV_UP_NO_PROVISION))
		r = venv__work_provision(work, flags, err);
	if (r < 0)
		return r;
	venv__graph_reached(node, NEED_PROVISIONED);
	r = venv__work_wait_ready(work, err);
	if (r == 0)
		venv__graph_reached(node, NEED_READY);
	return r;
}

enum { SETTLE_STEP_MS = 2, SETTLE_EXTRA_MS = 10000, SETTLE_QUIET_MS = 500 };

/*
 * The lock is ours, so nobody is at it: what still starts or stops is the work of a command that was
 * killed, or a machine that ends by itself just now. It gets there alone, so wait for it.
 */
static int settle(struct work *work, enum machine_state *state, venv_error **err)
{
	uint64_t limit = work->spec->stop_timeout_ms + SETTLE_EXTRA_MS, waited = 0;
	const struct timespec step = { .tv_nsec = SETTLE_STEP_MS * 1000000L };
	int r = 0;

	while (r == 0 && (*state == MACHINE_STARTING || *state == MACHINE_STOPPING) &&
	       waited < limit) {
		if (waited == SETTLE_QUIET_MS)
			venv__op_notice(work->op, work->spec->name,
					"waiting: an earlier command left it %s",
					venv__machine_state_name(*state));
		(void)nanosleep(&step, NULL);
		waited += SETTLE_STEP_MS;
		r = venv__op_cancelled(work->op, err);
		if (r == 0)
			r = venv__work_observe(work, state, err);
	}
	return r;
}

static int up_one(struct node *node, struct venv_project *project, const struct machine_spec *spec,
		  struct venv_op *op, void *user, venv_error **err)
{
	const struct up *up = user;
	_cleanup_work_ struct work work;
	enum machine_state state = MACHINE_ABSENT;
	int r;

	venv__work_init(&work, project, spec, op);
	work.lock_fd = venv__operation_lock(
		project, spec->name, up->restart ? "reload" : "up",
		up->options.flags & VENV_NO_WAIT ? LOCK_FAIL : LOCK_WAIT, op, err);
	if (work.lock_fd < 0)
		return work.lock_fd;
	r = venv__work_open(&work, err);
	if (r == 0)
		r = venv__work_observe(&work, &state, err);
	if (r == 0)
		r = settle(&work, &state, err);
	if (r == 0 && state == MACHINE_ABSENT)
		r = venv__work_sweep(&work, err);
	if (r < 0)
		return r;
	r = state == MACHINE_ABSENT ? up_new(&work, up, err) : up_existing(&work, up, state, err);
	return r < 0 ? r : after_start(node, &work, up->options.flags, err);
}

static int up_work(struct venv_op *op, void *user, venv_error **err)
{
	struct up *up = user;
	int r = venv__project_ensure(up->project, err);

	if (r == 0)
		r = venv__approval_check(up->project, err);
	if (r < 0)
		return r;
	(void)venv__trash_empty(up->project->ctx, NULL);
	venv__net_clean(up->project->dir_fd);
	return venv__graph_run(up->project, up->machines, up->n, GRAPH_NEEDS_FIRST, up_one, up, op,
			       err);
}

static void up_free(void *user)
{
	struct up *up = user;

	free(up->machines);
	free(up->provider);
	free(up);
}

/* The machines asked for and, of each, what it needs. */
static void add_with_needs(struct up *up, const struct machine_spec *machine)
{
	for (size_t i = 0; i < up->n; i++)
		if (up->machines[i] == machine)
			return;
	up->machines[up->n++] = machine;
	for (size_t i = 0; i < machine->n_needs; i++) {
		const struct machine_spec *need =
			venv__spec_machine(up->project->spec, machine->needs[i].machine);

		if (need)
			add_with_needs(up, need);
	}
}

static int select_machines(struct up *up, const char *const *names, venv_error **err)
{
	const struct project_spec *spec = up->project->spec;

	up->machines = calloc(spec->n_machines + 1, sizeof(struct machine_spec *));
	if (!up->machines)
		return venv__fail_nomem(err);
	for (size_t i = 0; (!names || !*names) && i < spec->n_machines; i++)
		if (spec->machines[i].autostart)
			add_with_needs(up, &spec->machines[i]);
	for (; names && *names; names++) {
		const struct machine_spec *machine = venv__spec_machine(spec, *names);

		if (!machine)
			return venv__unknown_machine(up->project, *names, err);
		add_with_needs(up, machine);
	}
	return 0;
}

static int start_up(struct venv_project *project, const char *const *names,
		    const venv_up_options *options, bool restart, struct venv_op **op,
		    venv_error **err)
{
	struct up *up = calloc(1, sizeof(*up));
	int r;

	if (!up)
		return venv__fail_nomem(err);
	*up = (struct up){ .options = VENV_UP_OPTIONS_INIT,
			   .restart = restart,
			   .project = project };
	r = venv__options(&up->options, options, sizeof(up->options), err);
	if (r == 0)
		r = select_machines(up, names, err);
	if (r == 0 && up->options.provider) {
		up->provider = strdup(up->options.provider);
		if (!up->provider)
			r = venv__fail_nomem(err);
	}
	if (r < 0) {
		up_free(up);
		return r;
	}
	up->options.provider = NULL;
	return venv__op_start(project->ctx, up_work, up, up_free, op, err);
}

int venv_up(venv_project *project, const char *const *names, const venv_up_options *options,
	    venv_op **op, venv_error **err)
{
	return start_up(project, names, options, false, op, err);
}

int venv_reload(venv_project *project, const char *const *names, const venv_up_options *options,
		venv_op **op, venv_error **err)
{
	return start_up(project, names, options, true, op, err);
}
