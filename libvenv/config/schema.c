/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table as JSON: for `venv config keys`, venv.yml(5), completion, and as a schema for editors.
 */
#include "keys.h"

#include <string.h>

static const char interpolated[] = "\\$\\{[A-Za-z_]";

/* ---- The types of the project's own maps, which load.c reads --------------------------------- */

static json_t *schema_by_name(const struct key *key)
{
	return json_pack("{s:s,s:{s:s},s:{s:[{s:s+},{s:s}]}}", "type", "object", "propertyNames",
			 "pattern", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "additionalProperties",
			 "anyOf", "$ref", "#/$defs/", key->section->name, "type", "null");
}

static json_t *schema_names(const struct key *key)
{
	(void)key;
	return json_pack("{s:s,s:{s:s},s:{s:[s,s],s:i}}", "type", "object", "propertyNames",
			 "pattern", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "additionalProperties",
			 "type", "object", "null", "maxProperties", 0);
}

const struct type venv__type_machines = { .name = "map of maps", .schema = schema_by_name };
const struct type venv__type_networks = { .name = "map of maps", .schema = schema_by_name };
const struct type venv__type_volume_names = { .name = "map of names", .schema = schema_names };

/* ---- Keys ------------------------------------------------------------------------------------ */

static int describe_choices(json_t *object, const struct key *key)
{
	_cleanup_json_ json_t *choices = json_array();

	for (const struct choice *choice = key->choices; choice->name; choice++)
		if (json_array_append_new(choices, json_string(choice->name)) < 0)
			return -ENOMEM;
	return json_object_set(object, "choices", choices);
}

/* NULL: out of memory. (The optional values of json_pack would hide that.) */
static json_t *describe_key(const struct section *section, const struct key *key)
{
	_cleanup_json_ json_t *ret = json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:b,s:b}", "section", section->name, "key", key->name,
		"type", key->type->name, "since", key->since, "doc", key->doc, "live",
		(key->flags & KEY_LIVE) != 0, "approve", (key->flags & KEY_HOST) != 0, "supported",
		!(key->flags & KEY_UNSUPPORTED), "required", (key->flags & KEY_REQUIRED) != 0);

	if (!ret || venv__json_set_str(ret, "default", key->otherwise) < 0 ||
	    venv__json_set_str(ret, "example", key->example) < 0 ||
	    venv__json_set_str(ret, "of", key->section ? key->section->name : NULL) < 0 ||
	    (key->choices && describe_choices(ret, key) < 0))
		return NULL;
	return take_ptr(ret);
}

json_t *venv__config_keys(void)
{
	_cleanup_json_ json_t *list = json_array();

	for (const struct section *const *section = venv__sections; *section; section++)
		for (const struct key *key = (*section)->keys; key->name; key++)
			if (json_array_append_new(list, describe_key(*section, key)) < 0)
				return NULL;
	return take_ptr(list);
}

/* ---- Schema ---------------------------------------------------------------------------------- */

/* What is not text may be written as ${NAME} as well. */
static json_t *with_interpolation(json_t *schema)
{
	const char *type = venv__json_str(schema, "type");

	if (!schema || json_object_get(schema, "$ref") ||
	    json_is_array(json_object_get(schema, "type")) ||
	    (type && (strcmp(type, "object") == 0 || strcmp(type, "array") == 0)))
		return schema;
	return json_pack("{s:[o,{s:s,s:s}]}", "anyOf", schema, "type", "string", "pattern",
			 interpolated);
}

static json_t *key_schema(const struct key *key)
{
	json_t *schema = with_interpolation(key->type->schema(key));

	if (!schema || json_object_set_new(schema, "description", json_string(key->doc)) < 0 ||
	    (key->otherwise && *key->otherwise != '[' && !json_object_get(schema, "$ref") &&
	     json_object_set_new(schema, "default", json_string(key->otherwise)) < 0)) {
		json_decref(schema);
		return NULL;
	}
	return schema;
}

static int add_properties(json_t *properties, json_t *required, const struct section *section)
{
	for (const struct key *key = section->keys; key->name; key++) {
		json_t *schema = key_schema(key), *other = json_object_get(properties, key->name);

		if (schema && other) /* networks and volumes of the project, or of a machine */
			schema = json_pack("{s:[O,o]}", "anyOf", other, schema);
		if (json_object_set_new(properties, key->name, schema) < 0)
			return -ENOMEM;
		if ((key->flags & KEY_REQUIRED) &&
		    json_array_append_new(required, json_string(key->name)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static json_t *section_schema(const struct section *section, const struct section *more)
{
	_cleanup_json_ json_t *properties = json_object();
	_cleanup_json_ json_t *required = json_array();
	json_t *map;

	if (add_properties(properties, required, section) < 0 ||
	    (more && add_properties(properties, required, more) < 0))
		return NULL;
	map = json_pack("{s:s,s:O,s:O,s:b}", "type", "object", "properties", properties, "required",
			required, "additionalProperties", 0);
	if (map && section->expand)
		map = json_pack("{s:[o,{s:s,s:s}]}", "anyOf", map, "type", "string", "description",
				section->short_doc);
	if (!map || json_object_set_new(map, "description", json_string(section->doc)) < 0) {
		json_decref(map);
		return NULL;
	}
	return map;
}

json_t *venv__config_schema(void)
{
	_cleanup_json_ json_t *root =
		section_schema(&venv__section_project, &venv__section_machine);
	_cleanup_json_ json_t *sections = json_object();

	for (const struct section *const *section = venv__sections + 1; *section; section++)
		if (json_object_set_new(sections, (*section)->name,
					section_schema(*section, NULL)) < 0)
			return NULL;
	if (!root ||
	    json_object_set_new(root, "$schema",
				json_string("https://json-schema.org/draft/2020-12/schema")) < 0 ||
	    json_object_set_new(root, "title", json_string("venv.yml")) < 0 ||
	    json_object_set(root, "$defs", sections) < 0)
		return NULL;
	return take_ptr(root);
}
