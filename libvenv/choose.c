/* SPDX-License-Identifier: Apache-2.0 */
/* Before a machine is made: which box it is made from, and which provider runs it. */
#include <string.h>

#include "lifecycle.h"
#include "locks.h"
#include "op_private.h"

static int no_box(struct work *work, venv_error *cause, venv_error **err)
{
	const struct machine_spec *spec = work->spec;
	const struct place *at = &spec->box_place;
	_cleanup_error_ venv_error *error = cause;
	_cleanup_free_ char *like = venv__box_suggest(work->project->ctx, spec->box);
	int code = venv_error_code(error), r;

	if (code == VENV_ERR_UNSUPPORTED && spec->architecture_place.line &&
	    !strstr(spec->box, "://"))
		at = &spec->architecture_place;
	if (code != VENV_ERR_NOT_FOUND)
		return venv__at_spec(venv__error_take(take_ptr(error), err), err, at);
	if (spec->version || strchr(spec->box, '@')) { /* it may be there, in other versions */
		if (spec->version_place.line)
			at = &spec->version_place;
		r = venv__fail_at(err, VENV_ERR_NOT_FOUND, at->file, at->line, at->column, "%s",
				  venv_error_message(error));
		return venv_error_hint(error) ? venv__hint(r, err, "%s", venv_error_hint(error))
					      : r;
	}
	r = venv__fail_at(err, VENV_ERR_NOT_FOUND, at->file, at->line, at->column,
			  "there is no box '%s'", spec->box);
	if (like)
		return venv__hint(r, err, "did you mean '%s'?", like);
	if (venv_error_hint(error))
		return venv__hint(r, err, "%s", venv_error_hint(error));
	return venv__hint(r, err,
			  "add it with 'venv box add --name %s FILE', or see 'venv box list'",
			  spec->box);
}

static int find_box(struct work *work, venv_error **err)
{
	struct venv *ctx = work->project->ctx;
	const struct machine_spec *spec = work->spec;
	venv_error *error = NULL;
	int r;

	r = venv__lock_file_box(work->project, spec->box, spec->version, spec->architecture,
				&work->box);
	if (r == VENV_ERR_NOMEM)
		return venv__fail_nomem(err);
	if (r == 0)
		return 0;
	r = venv__box_open(ctx, spec->box, spec->version, spec->architecture, &work->box, &error);
	if (r == 0)
		return 0;
	if (r != VENV_ERR_NOT_FOUND || !venv__box_has_recipe(ctx, spec->box))
		return no_box(work, error, err);
	venv__error_clear(&error);
	/* not to be found out by building, which takes minutes */
	if (venv__box_recipe_fits(ctx, spec->box, spec->version, &error) < 0)
		return no_box(work, error, err);
	venv__op_notice(work->op, spec->name,
			"box '%s' is not in the store yet: building it from its "
			"recipe",
			spec->box);
	r = venv__box_build(ctx, spec->box, work->op, &work->box, err);
	if (r < 0)
		return venv__wrap(r, err, "box '%s'", spec->box);
	/* what the recipe made need not be what is wanted */
	venv__box_done(&work->box);
	r = venv__box_open(ctx, spec->box, spec->version, spec->architecture, &work->box, &error);
	return r < 0 ? no_box(work, error, err) : 0;
}

/* Kernels are taken for boxes, they are none. */
static int refuse_kernel(const struct work *work, venv_error **err)
{
	const struct place *at = &work->spec->box_place;
	int r;

	if (work->box.kind != BOX_KERNEL)
		return 0;
	r = venv__fail_at(err, VENV_ERR_UNSUPPORTED, at->file, at->line, at->column,
			  "box '%s' is a kernel, no system", work->spec->box);
	return venv__hint(r, err, "name a box that is one: 'venv box list' shows the kinds");
}

int venv__work_resolve_box(struct work *work, venv_error **err)
{
	int r;

	venv__op_begin(work->op, work->spec->name, "resolve", "finding box %s", work->spec->box);
	r = find_box(work, err);
	if (r == 0)
		r = refuse_kernel(work, err);
	if (r == 0)
		r = venv__lock_file_save(work->project, work->spec->box, &work->box, work->op, err);
	if (r == 0)
		venv__op_end(work->op, work->spec->name, "resolve");
	return r;
}

static int unknown_provider(const struct machine_spec *spec, const char *name, venv_error **err)
{
	const struct place *at = &spec->provider_place;
	int r = venv__fail_at(err, VENV_ERR_UNSUPPORTED, at->file, at->line, at->column,
			      "provider '%s' is not supported yet", name);

	return venv__hint(r, err, "use 'provider: container' or 'kvm', or leave the key away");
}

struct refusals {
	struct buf reasons, hints;
	const struct place *place; /* of the key at fault, or NULL */
};

/* One that is still being made can look at the host, but runs nothing. */
static bool is_finished(const struct provider *provider)
{
	return provider && provider->start;
}

static bool is_meant(const struct provider *provider, const char *name)
{
	return !strcmp(name, "auto") || !strcmp(name, provider->name);
}

/* A disk box is for providers that have disks: the box is named, not what else they would lack. */
static int check_kind(struct work *work, const char *name, venv_error **err)
{
	const struct place *at = &work->spec->box_place;
	const struct provider *other = NULL;
	int r;

	for (const struct provider *const *p = venv__providers; *p; p++) {
		bool fits = (*p)->disks || work->box.kind != BOX_DISK;

		if (fits && is_finished(*p) && is_meant(*p, name))
			return 0;
		if (fits && is_finished(*p))
			other = *p;
	}
	r = venv__fail_at(err, VENV_ERR_UNSUPPORTED, at->file, at->line, at->column,
			  "box '%s' is a disk, and %s%s%s", work->spec->box,
			  strcmp(name, "auto") ? "provider '" : "",
			  strcmp(name, "auto") ? name : "",
			  strcmp(name, "auto") ? "' runs boxes of a root file system only"
					       : "no provider that is built in runs one");
	if (other)
		return venv__hint(r, err, "set 'provider: %s'", other->name);
	return venv__hint(r, err,
			  "use a box of a root file system: 'venv box list' shows the kinds");
}

/* Ask one provider; 1 accepted, 0 declined (reasons collected), or negative. */
static int ask_provider(struct work *work, const struct provider *provider,
			struct refusals *refusals, venv_error **err)
{
	struct buf *reasons = &refusals->reasons, *hints = &refusals->hints;
	struct verdict verdict = { 0 };
	int r = provider->probe(work->project->ctx, work->spec, &verdict, err);

	if (r == 0 && verdict.accept && !is_finished(provider)) {
		venv__buf_printf(reasons, "%s%s: not supported yet", reasons->length ? "; " : "",
				 provider->name);
	} else if (r == 0 && verdict.accept) {
		work->provider = provider;
		r = 1;
	} else if (r == 0) {
		venv__buf_printf(reasons, "%s%s: %s", reasons->length ? "; " : "", provider->name,
				 verdict.reason ? verdict.reason : "declined");
		if (verdict.hint)
			venv__buf_printf(hints, "%s%s", hints->length ? "; or " : "", verdict.hint);
		if (verdict.place)
			refusals->place = verdict.place;
	}
	venv__verdict_done(&verdict);
	return r;
}

static int no_provider(const struct machine_spec *spec, const struct refusals *refusals,
		       venv_error **err)
{
	const struct place *at = refusals->place ? refusals->place : &spec->provider_place;
	int r = venv__fail_spec(err, refusals->place ? VENV_ERR_UNSUPPORTED : VENV_ERR_HOST, at,
				"no provider can run this machine here: %s",
				refusals->reasons.data ? refusals->reasons.data
						       : "none is built in");

	if (refusals->hints.length)
		return venv__hint(r, err, "%s", refusals->hints.data);
	return venv__hint(r, err, "'venv doctor' tells what this host lacks and the fix");
}

int venv__work_choose_provider(struct work *work, const char *wanted, venv_error **err)
{
	struct refusals refusals = { 0 };
	const char *name = wanted ? wanted : work->spec->provider;
	int r = 0;

	if (strcmp(name, "auto") != 0 && !is_finished(venv__provider_find(name)))
		return unknown_provider(work->spec, name, err);
	r = check_kind(work, name, err);
	for (const struct provider *const *p = venv__providers; *p && r == 0; p++)
		if (is_meant(*p, name) && ((*p)->disks || work->box.kind != BOX_DISK))
			r = ask_provider(work, *p, &refusals, err);
	if (r == 0)
		r = no_provider(work->spec, &refusals, err);
	venv__buf_done(&refusals.reasons);
	venv__buf_done(&refusals.hints);
	return r < 0 ? r : 0;
}
