/* SPDX-License-Identifier: Apache-2.0 */
/* What starting and stopping one machine means. The operation lock is held throughout. */
#include "lifecycle.h"

#include <string.h>

#include "util/sys.h"

/* What dies with the boot needs no fsync; it only says whether a machine that nobody runs crashed. */
int venv__work_set_state(struct work *work, const char *state, venv_error **err)
{
	char boot[37] = "";

	(void)venv__boot_id(boot);
	if (json_object_set_new(work->record.state, "state", json_string(state)) < 0 ||
	    json_object_set_new(work->record.state, "boot_id", json_string(boot)) < 0)
		return venv__fail_nomem(err);
	return venv__machine_save(&work->record, WRITE_VOLATILE, err);
}

/* The error of a start gets the console's last lines: they tell what the machine said. */
static int with_console(int r, const struct work *work, venv_error **err)
{
	_cleanup_free_ char *tail = venv__console_tail(&work->record, 10);

	return venv__error_set_details(r, err, tail);
}

int venv__work_warn(struct work *work, venv_error **err)
{
	struct verdict verdict = { 0 };
	int r = work->provider->probe(work->project->ctx, work->spec, &verdict, err);

	if (r == 0 && venv__folders_warn(work, &verdict.warnings) < 0)
		r = venv__fail_nomem(err);
	(void)json_object_del(work->record.state, "warnings");
	for (char **warning = verdict.warnings; r == 0 && warning && *warning; warning++)
		venv__op_warning(work->op, work->spec->name, "%s", *warning);
	if (r == 0 && verdict.warnings &&
	    json_object_set_new(work->record.state, "warnings",
				venv__json_from_strv(verdict.warnings)) < 0)
		r = venv__fail_nomem(err);
	venv__verdict_done(&verdict);
	return r;
}

int venv__work_start(struct work *work, venv_error **err)
{
	const char *name = work->spec->name;
	int r;

	r = venv__work_warn(work, err);
	if (r < 0)
		return r;
	venv__op_begin(work->op, name, "boot", "%s",
		       work->goes_on ? "going on where it was suspended" : "starting");
	if (json_object_set_new(work->record.state, "started", json_integer(venv__wall_seconds())) <
	    0)
		return venv__fail_nomem(err);
	(void)json_object_del(work->record.state, "contact");
	venv__console_mark(work);
	r = venv__work_set_state(work, "starting", err);
	if (r == 0)
		r = work->provider->start(&work->machine, work->op, err);
	if (r == 0)
		r = venv__work_set_state(work, "running", err);
	if (r < 0) {
		(void)venv__work_set_state(work, work->goes_on ? "suspended" : "stopped", NULL);
		return with_console(r, work, err);
	}
	venv__net_attachment_done(&work->net); /* the keeper has its own copies now */
	work->machine.net = NULL;
	venv__op_end(work->op, name, "boot");
	venv__op_state(work->op, name, venv__machine_state_name(MACHINE_RUNNING));
	return 0;
}

int venv__work_stop(struct work *work, enum stop_how how, venv_error **err)
{
	const char *name = work->spec->name;
	int r;

	venv__op_begin(work->op, name, "stop", "stopping");
	r = venv__work_map(work, err);
	if (r == 0)
		r = venv__work_set_state(work, "stopping", err);
	if (r == 0)
		r = work->provider->stop(&work->machine, how, work->op, err);
	if (r == 0)
		r = venv__work_set_state(work, "stopped", err);
	if (r < 0)
		return r;
	venv__op_end(work->op, name, "stop");
	venv__op_state(work->op, name, venv__machine_state_name(MACHINE_STOPPED));
	return 0;
}
