/* SPDX-License-Identifier: Apache-2.0 */
/* The spec as the rest of the library meets it: finding, recording, comparing, freeing. */
#include "keys.h"

#include <stdarg.h>
#include <string.h>

int venv__place_fail(venv_error **err, const char *origin, int code, const struct place *place,
		     const char *format, ...)
{
	_cleanup_free_ char *message = NULL;
	va_list args;
	int n;

	if (!err)
		return code;
	va_start(args, format);
	n = vasprintf(&message, format, args);
	va_end(args);
	if (n < 0) {
		message = NULL;
		return venv__fail_nomem(err);
	}
	if (place->line)
		return venv__fail_place(err, origin, code, place->file, place->line, place->column,
					"%s", message);
	return venv__fail_from(err, origin, code, 0, "%s%s%s", place->file ? place->file : "",
			       place->file ? ": " : "", message);
}

const struct machine_spec *venv__spec_machine(const struct project_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->n_machines; i++)
		if (strcmp(spec->machines[i].name, name) == 0)
			return &spec->machines[i];
	return NULL;
}

const struct network_spec *venv__spec_network(const struct project_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->n_networks; i++)
		if (strcmp(spec->networks[i].name, name) == 0)
			return &spec->networks[i];
	return NULL;
}

const struct machine_spec *venv__spec_primary(const struct project_spec *spec)
{
	if (spec->n_machines == 1)
		return &spec->machines[0];
	for (size_t i = 0; i < spec->n_machines; i++)
		if (spec->machines[i].primary)
			return &spec->machines[i];
	return venv__spec_machine(spec, "default");
}

/* ---- Freeing --------------------------------------------------------------------------------- */

static void machine_done(struct machine_spec *machine)
{
	venv__section_done(&venv__section_machine, machine);
	free(machine->name);
}

void venv__spec_machine_free(struct machine_spec *spec)
{
	if (!spec)
		return;
	machine_done(spec);
	free(spec);
}

void venv__spec_free(struct project_spec *spec)
{
	if (!spec)
		return;
	for (size_t i = 0; i < spec->n_machines; i++)
		machine_done(&spec->machines[i]);
	for (size_t i = 0; i < spec->n_networks; i++) {
		venv__section_done(&venv__section_network, &spec->networks[i]);
		free(spec->networks[i].name);
	}
	free(spec->machines);
	free(spec->networks);
	venv__strv_free(spec->volumes);
	free(spec->name);
	free(spec->dir);
	free(spec->file);
	venv__strv_free(spec->files);
	json_decref(spec->approve);
	free(spec);
}

/* ---- Recording ------------------------------------------------------------------------------- */

json_t *venv__spec_machine_to_json(const struct machine_spec *spec)
{
	_cleanup_json_ json_t *keys = venv__section_format(&venv__section_machine, spec);
	_cleanup_json_ json_t *ret = json_pack("{s:s}", "name", spec->name);

	if (!keys || !ret || json_object_update(ret, keys) < 0)
		return NULL;
	return take_ptr(ret);
}

static int machine_from_json(struct reader *reader, const json_t *recorded,
			     struct machine_spec *machine, venv_error **err)
{
	static const struct place nowhere = { .file = "recorded machine" };
	const char *name = venv__json_str(recorded, "name");
	struct node *node;

	if (!name || !venv__json_str(recorded, "box"))
		return venv__fail(err, VENV_ERR_CORRUPT,
				  "a recorded machine has no name or no box");
	machine->name = strdup(name);
	node = venv__node_from_json(&reader->pool, recorded, &nowhere);
	if (!machine->name || !node)
		return venv__fail_nomem(err);
	venv__node_remove(node, "name"); /* which is no key of a machine */
	return venv__section_parse(reader, &venv__section_machine, node, machine, err);
}

int venv__spec_machine_from_json(const json_t *recorded, struct machine_spec **ret,
				 venv_error **err)
{
	struct reader reader = { .dir = "/", .recorded = true };
	struct machine_spec *machine = calloc(1, sizeof(*machine));
	_cleanup_error_ venv_error *cause = NULL;
	int r;

	if (!machine)
		return venv__fail_nomem(err);
	r = machine_from_json(&reader, recorded, machine, &cause);
	venv__pool_done(&reader.pool);
	if (r == 0) {
		*ret = machine;
		return 0;
	}
	venv__spec_machine_free(machine);
	if (r == VENV_ERR_CONFIG) /* but it was good when it was written */
		return venv__fail(err, VENV_ERR_CORRUPT, "%s", venv_error_message(cause));
	return venv__error_take(take_ptr(cause), err);
}

/* ---- Comparing ------------------------------------------------------------------------------- */

json_t *venv__spec_diff(const json_t *recorded, const json_t *present)
{
	_cleanup_json_ json_t *list = json_array();

	for (const struct key *key = venv__section_machine.keys; key->name; key++) {
		json_t *from = json_object_get(recorded, key->name);
		json_t *to = json_object_get(present, key->name);
		json_t *change;

		if (from == to || (from && to && json_equal(from, to)))
			continue;
		change = json_pack("{s:s,s:O?,s:O?,s:b}", "key", key->name, "from", from, "to", to,
				   "live", (key->flags & KEY_LIVE) != 0);
		if (key->flags & KEY_MADE)
			(void)json_object_set_new(change, "remake", json_true());
		if (!change || json_array_append_new(list, change) < 0)
			return NULL;
	}
	return take_ptr(list);
}
