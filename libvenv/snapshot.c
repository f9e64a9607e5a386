/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of one machine: <data>/machines/<id>/snapshots/<name>/, with snapshot.json of ours and whatever the
 * provider puts beside it.
 *
 * A snapshot is made as ".new" and gets its name when it is whole and on disk; one that goes is ".gone" first. What
 * a command that was killed left under these names is removed by the next one.
 *   With the disk everything that is known of the disk goes back: the spec that the machine was started with,
 * and which provisioning steps have run.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <venv.h>

#include "lifecycle.h"
#include "locks.h"
#include "op_private.h"
#include "util/sys.h"
#include "value.h"

enum { NAME_MAX_LENGTH = 64, RECORD_VERSION = 1 };

static const char record_name[] = "snapshot.json", new_name[] = ".new", gone_name[] = ".gone";

struct snapshot_verb;

/* An operation on a snapshot. */
struct run {
	struct venv_project *project;
	const struct machine_spec *spec;
	const struct snapshot_verb *verb;
	char *name;
	uint32_t flags;
};

struct snapshot_verb {
	const char *name; /* for the note in the lock */
	/* dir_fd: of all snapshots of the machine */
	int (*run)(struct work *work, enum machine_state state, int dir_fd, const char *name,
		   venv_error **err);
};

/* ---- What is there ------------------------------------------------------------------------- */

static int check_name(const char *name, venv_error **err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t n = strlen(name);

	if (n && n <= NAME_MAX_LENGTH && strspn(name, letters) == n && *name != '.' && *name != '-')
		return 0;
	return venv__hint(venv__fail(err, VENV_ERR_INVALID, "'%s' cannot name a snapshot", name),
			  err, "use letters, digits, '.', '_' and '-', at most %d",
			  NAME_MAX_LENGTH);
}

static int open_dir(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Names of whole ones. */
static int list_names(int dir_fd, char ***ret, venv_error **err)
{
	_cleanup_strv_ char **all = NULL;
	char **names = NULL;
	int r = venv__dir_list(dir_fd, &all, err);

	for (char **name = all; r == 0 && *name; name++)
		if (**name != '.' && venv__strv_add(&names, *name) < 0)
			r = venv__fail_nomem(err);
	if (r < 0)
		venv__strv_free(names);
	else
		*ret = names;
	return r;
}

static int no_snapshot(const struct work *work, int dir_fd, const char *name, venv_error **err)
{
	_cleanup_strv_ char **names = NULL;
	_cleanup_buf_ struct buf known = { 0 };
	int r = venv__fail(err, VENV_ERR_NOT_FOUND, "machine '%s' has no snapshot '%s'",
			   work->spec->name, name);

	if (list_names(dir_fd, &names, NULL) == 0)
		for (char **n = names; n && *n; n++)
			venv__buf_printf(&known, "%s%s", known.length ? ", " : "", *n);
	return venv__hint(r, err, "it has: %s", known.length ? known.data : "none");
}

/* VENV_ERR_NOT_FOUND; VENV_ERR_CORRUPT: its record cannot be read */
static int open_snapshot(const struct work *work, int dir_fd, const char *name, int *ret_fd,
			 json_t **ret, venv_error **err)
{
	_cleanup_close_ int fd = open_dir(dir_fd, name);
	int r;

	if (fd < 0)
		return errno == ENOENT
			       ? no_snapshot(work, dir_fd, name, err)
			       : venv__fail_errno(err, errno, "cannot open snapshot '%s'", name);
	r = venv__json_read(fd, record_name, ret, err);
	if (r == 0 && (venv__json_int(*ret, "version", 0) != RECORD_VERSION ||
		       !json_is_object(json_object_get(*ret, "spec"))))
		r = venv__fail(err, VENV_ERR_CORRUPT, "its record says nothing of use");
	if (r < 0)
		return venv__wrap(r, err, "snapshot '%s'", name);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int fsync_dir(int fd, venv_error **err)
{
	return fsync(fd) < 0 ? venv__fail_errno(err, errno, "cannot write a snapshot") : 0;
}

/* ---- Saving -------------------------------------------------------------------------------- */

static json_t *make_record(const struct work *work, enum machine_state state)
{
	const char *kept = state == MACHINE_RUNNING   ? "running"
			   : state == MACHINE_STOPPED ? "stopped"
						      : "suspended";

	return json_pack("{s:i, s:I, s:s, s:O, s:O}", "version", RECORD_VERSION, "created",
			 (json_int_t)venv__wall_seconds(), "state", kept, "spec",
			 json_object_get(work->record.spec, "spec"), "machine_state",
			 work->record.state);
}

static int may_save(const struct work *work, enum machine_state state, venv_error **err)
{
	const char *name = work->spec->name;
	int r;

	if (!work->provider->snapshot)
		return venv__hint(venv__fail(err, VENV_ERR_UNSUPPORTED,
					     "provider '%s' makes no snapshots",
					     work->provider->name),
				  err, "machines of the provider kvm have them");
	if (state == MACHINE_STOPPED || state == MACHINE_RUNNING || state == MACHINE_PAUSED ||
	    state == MACHINE_SUSPENDED)
		return 0;
	r = venv__fail(err, VENV_ERR_STATE, "machine '%s' is %s", name,
		       venv__machine_state_name(state));
	return venv__hint(r, err, "bring it to rest with 'venv up %s' or 'venv halt %s'", name,
			  name);
}

/* Fill ".new". A machine that runs stands still meanwhile: its state tells why. */
static int fill(struct work *work, enum machine_state state, int fd, venv_error **err)
{
	bool lives = state == MACHINE_RUNNING || state == MACHINE_PAUSED;
	_cleanup_json_ json_t *record = make_record(work, state);
	int r;

	if (!record)
		return venv__fail_nomem(err);
	r = venv__json_write(fd, record_name, record, WRITE_DURABLE, err);
	if (r == 0 && lives)
		r = venv__work_set_state(work, "snapshotting", err);
	if (r == 0)
		r = work->provider->snapshot(&work->machine, fd, work->op, err);
	if (lives)
		(void)venv__work_set_state(work, "running", NULL);
	return r < 0 ? r : fsync_dir(fd, err);
}

static int save_as(struct work *work, enum machine_state state, int dir_fd, const char *name,
		   venv_error **err)
{
	_cleanup_close_ int fd = -1;
	int r = venv__dir_make_at(dir_fd, new_name, 0700, &fd, err);

	if (r == 0)
		r = fill(work, state, fd, err);
	if (r == 0 && renameat(dir_fd, new_name, dir_fd, name) < 0)
		r = venv__fail_errno(err, errno, "cannot name the snapshot '%s'", name);
	return r < 0 ? r : fsync_dir(dir_fd, err);
}

static int run_save(struct work *work, enum machine_state state, int dir_fd, const char *name,
		    venv_error **err)
{
	int r = may_save(work, state, err);

	if (r < 0)
		return r;
	if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return venv__hint(venv__fail(err, VENV_ERR_EXISTS,
					     "machine '%s' has a snapshot '%s' already",
					     work->spec->name, name),
				  err, "choose another name, or run 'venv snapshot delete %s %s'",
				  name, work->spec->name);
	venv__op_begin(work->op, work->spec->name, "snapshot", "taking snapshot '%s'", name);
	r = save_as(work, state, dir_fd, name, err);
	if (r < 0) {
		(void)venv__tree_delete(dir_fd, new_name, NULL);
		return r;
	}
	venv__op_end(work->op, work->spec->name, "snapshot");
	return 0;
}

/* ---- Going back ---------------------------------------------------------------------------- */

/* What belongs to the disk of then. Before the disk: with the one of now it does no harm. */
static int restore_records(struct work *work, const json_t *record, venv_error **err)
{
	json_t *state = json_deep_copy(json_object_get(record, "machine_state"));
	json_t *spec = json_deep_copy(json_object_get(record, "spec"));

	if (!spec || json_object_set_new(work->record.spec, "spec", spec) < 0) {
		json_decref(state);
		return venv__fail_nomem(err);
	}
	if (json_is_object(state)) {
		json_decref(work->record.state);
		work->record.state = state;
	} else {
		json_decref(state);
	}
	return venv__json_write(work->record.dir_fd, "spec.json", work->record.spec, WRITE_DURABLE,
				err);
}

static int settle(struct work *work, const json_t *record, venv_error **err)
{
	const char *kept = venv__json_str(record, "state");
	enum machine_state state = MACHINE_STOPPED;
	int r = work->provider->observe(&work->machine, &state, err);

	if (r == 0)
		r = venv__work_set_state(work, venv__machine_state_name(state), err);
	if (r < 0)
		return r;
	venv__op_end(work->op, work->spec->name, "restore");
	venv__op_state(work->op, work->spec->name, venv__machine_state_name(state));
	if (state != MACHINE_SUSPENDED || !kept || strcmp(kept, "running") != 0)
		return 0;
	r = venv__work_go_on(work, err);
	return r < 0 ? r : venv__work_awake(work, err);
}

static int run_restore(struct work *work, enum machine_state state, int dir_fd, const char *name,
		       venv_error **err)
{
	_cleanup_json_ json_t *record = NULL;
	_cleanup_close_ int fd = -1;
	int r = open_snapshot(work, dir_fd, name, &fd, &record, err);

	(void)state;
	if (r < 0)
		return r;
	if (!work->provider->restore)
		return venv__fail(err, VENV_ERR_UNSUPPORTED, "provider '%s' makes no snapshots",
				  work->provider->name);
	venv__op_begin(work->op, work->spec->name, "restore", "going back to snapshot '%s'", name);
	r = venv__work_map(work, err);
	if (r == 0)
		r = restore_records(work, record, err);
	if (r == 0)
		r = venv__work_set_state(work, "restoring", err);
	if (r == 0)
		r = work->provider->restore(&work->machine, fd, work->op, err);
	return r < 0 ? r : settle(work, record, err);
}

/* ---- Deleting ------------------------------------------------------------------------------ */

static int run_delete(struct work *work, enum machine_state state, int dir_fd, const char *name,
		      venv_error **err)
{
	(void)state;
	if (renameat(dir_fd, name, dir_fd, gone_name) < 0) {
		if (errno == ENOENT)
			return no_snapshot(work, dir_fd, name, err);
		return venv__fail_errno(err, errno, "cannot delete snapshot '%s'", name);
	}
	return venv__tree_delete(dir_fd, gone_name, err);
}

/* ---- Operations ---------------------------------------------------------------------------- */

static const struct snapshot_verb save = { "snapshot save", run_save };
static const struct snapshot_verb restore = { "snapshot restore", run_restore };
static const struct snapshot_verb delete_verb = { "snapshot delete", run_delete };

static int absent(const struct machine_spec *spec, venv_error **err)
{
	return venv__hint(
		venv__fail(err, VENV_ERR_STATE, "machine '%s' does not exist yet", spec->name), err,
		"make it with 'venv up %s'", spec->name);
}

static int run_locked(struct work *work, const struct run *run, venv_error **err)
{
	enum machine_state state = MACHINE_ABSENT;
	_cleanup_close_ int dir_fd = -1;
	int r = venv__work_open(work, err);

	if (r == 0)
		r = venv__work_observe(work, &state, err);
	if (r == 0 && state == MACHINE_ABSENT)
		r = absent(run->spec, err);
	if (r == 0)
		r = venv__dir_make_at(work->record.dir_fd, "snapshots", 0700, &dir_fd, err);
	if (r == 0)
		r = venv__tree_delete(dir_fd, new_name, err);
	if (r == 0)
		r = venv__tree_delete(dir_fd, gone_name, err);
	return r < 0 ? r : run->verb->run(work, state, dir_fd, run->name, err);
}

static int run_work(struct venv_op *op, void *user, venv_error **err)
{
	const struct run *run = user;
	_cleanup_work_ struct work work;
	int r;

	venv__work_init(&work, run->project, run->spec, op);
	if (!run->project->uuid)
		return absent(run->spec, err);
	work.lock_fd =
		venv__operation_lock(run->project, run->spec->name, run->verb->name,
				     run->flags & VENV_NO_WAIT ? LOCK_FAIL : LOCK_WAIT, op, err);
	if (work.lock_fd < 0)
		return work.lock_fd;
	r = run_locked(&work, run, err);
	return r < 0 ? venv__error_set_machine(r, err, run->spec->name) : 0;
}

static void run_free(void *user)
{
	struct run *run = user;

	free(run->name);
	free(run);
}

static int find_machine(struct venv_project *project, const char *machine,
			const struct machine_spec **ret, venv_error **err)
{
	*ret = machine ? venv__spec_machine(project->spec, machine)
		       : venv__spec_primary(project->spec);
	if (*ret)
		return 0;
	if (machine)
		return venv__unknown_machine(project, machine, err);
	return venv__hint(
		venv__fail(err, VENV_ERR_INVALID, "this project has several machines: name one"),
		err, "or mark one with 'primary: true' in venv.yml");
}

static int start(struct venv_project *project, const char *machine, const char *name,
		 const struct run *like, struct venv_op **op, venv_error **err)
{
	const struct machine_spec *spec = NULL;
	struct run *run;
	int r = name ? check_name(name, err)
		     : venv__fail(err, VENV_ERR_INVALID, "a snapshot has a name");

	if (r == 0)
		r = find_machine(project, machine, &spec, err);
	if (r < 0)
		return r;
	run = calloc(1, sizeof(*run));
	if (!run)
		return venv__fail_nomem(err);
	*run = *like;
	run->project = project;
	run->spec = spec;
	run->name = strdup(name);
	if (!run->name) {
		run_free(run);
		return venv__fail_nomem(err);
	}
	return venv__op_start(project->ctx, run_work, run, run_free, op, err);
}

int venv_snapshot_save(venv_project *project, const char *machine, const char *name, uint32_t flags,
		       venv_op **op, venv_error **err)
{
	const struct run run = { .verb = &save, .flags = flags };

	return start(project, machine, name, &run, op, err);
}

int venv_snapshot_restore(venv_project *project, const char *machine, const char *name,
			  uint32_t flags, venv_op **op, venv_error **err)
{
	const struct run run = { .verb = &restore, .flags = flags };

	return start(project, machine, name, &run, op, err);
}

int venv_snapshot_delete(venv_project *project, const char *machine, const char *name,
			 uint32_t flags, venv_op **op, venv_error **err)
{
	const struct run run = { .verb = &delete_verb, .flags = flags };

	return start(project, machine, name, &run, op, err);
}

/* ---- Listing ------------------------------------------------------------------------------- */

/* What its files take on disk; a piece that snapshots share counts for each. */
static int64_t size_of(int fd)
{
	_cleanup_strv_ char **names = NULL;
	int64_t size = 0;
	struct stat st;

	if (venv__dir_list(fd, &names, NULL) < 0)
		return 0;
	for (char **name = names; *name; name++)
		if (fstatat(fd, *name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			size += st.st_blocks * 512;
	return size;
}

static int list_one(const struct work *work, int dir_fd, const char *name, json_t *list,
		    venv_error **err)
{
	_cleanup_json_ json_t *record = NULL;
	_cleanup_close_ int fd = -1;
	json_t *entry;
	size_t at = 0;
	int64_t created;
	int r = open_snapshot(work, dir_fd, name, &fd, &record, err);

	if (r == VENV_ERR_NOT_FOUND) { /* it was just deleted */
		if (err)
			venv_error_free(take_ptr(*err));
		return 0;
	}
	if (r < 0)
		return r;
	created = venv__json_int(record, "created", 0);
	entry = json_pack("{s:s, s:I, s:s*, s:I}", "name", name, "created", (json_int_t)created,
			  "state", venv__json_str(record, "state"), "size",
			  (json_int_t)size_of(fd));
	while (at < json_array_size(list) &&
	       venv__json_int(json_array_get(list, at), "created", 0) <= created)
		at++;
	return json_array_insert_new(list, at, entry) < 0 ? venv__fail_nomem(err) : 0;
}

static int list_all(const struct work *work, json_t *list, venv_error **err)
{
	_cleanup_close_ int dir_fd = open_dir(work->record.dir_fd, "snapshots");
	_cleanup_strv_ char **names = NULL;
	int r;

	if (dir_fd < 0)
		return 0;
	r = list_names(dir_fd, &names, err);
	for (char **name = names; r == 0 && name && *name; name++)
		r = list_one(work, dir_fd, *name, list, err);
	return r;
}

int venv_snapshot_list(venv_project *project, const char *machine, venv_value **ret,
		       venv_error **err)
{
	const struct machine_spec *spec = NULL;
	_cleanup_json_ json_t *list = NULL;
	_cleanup_work_ struct work work;
	int r = find_machine(project, machine, &spec, err);

	if (r < 0)
		return r;
	venv__work_init(&work, project, spec, NULL);
	list = json_array();
	if (!list)
		return venv__fail_nomem(err);
	if (project->uuid)
		r = venv__work_open(&work, err);
	if (r == 0 && work.record.id)
		r = list_all(&work, list, err);
	return r < 0 ? venv__error_set_machine(r, err, spec->name)
		     : venv__answer(take_ptr(list), ret, err);
}
