/* SPDX-License-Identifier: Apache-2.0 */
/* Maps by the table: reading, writing, freeing. */
#include "keys.h"

#include <string.h>

const struct key *venv__section_key(const struct section *section, const char *name)
{
	for (const struct key *key = section->keys; key->name; key++)
		if (strcmp(key->name, name) == 0)
			return key;
	return NULL;
}

/* ---- Unknown keys ---------------------------------------------------------------------------- */

/* What other tools call it. */
static const char *other_name(const char *name)
{
	static const char *const names[][2] = {
		{ "image", "box" },
		{ "environment", "env" },
		{ "depends_on", "needs" },
		{ "services", "machines" },
		{ "vms", "machines" },
		{ "synced_folders", "folders" },
		{ "synced_folder", "folders" },
		{ "mounts", "folders" },
		{ "forwarded_ports", "ports" },
		{ "mem", "memory" },
		{ "provisioners", "provision" },
		{ "healthcheck", "ready" },
		{ "src", "host" },
		{ "source", "host" },
		{ "dst", "guest" },
		{ "target", "guest" },
		{ "inline", "run" },
		{ "command", "run" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i][0], name) == 0)
			return names[i][1];
	return NULL;
}

static const struct section *section_with_key(const char *name)
{
	for (const struct section *const *section = venv__sections; *section; section++)
		if (venv__section_key(*section, name))
			return *section;
	return NULL;
}

static bool knows(const struct section *section, const struct section *other, const char *name)
{
	return venv__section_key(section, name) || (other && venv__section_key(other, name));
}

static int fail_unknown(const struct section *section, const struct section *other,
			const struct entry *entry, venv_error **err)
{
	struct suggestion suggestion = { .wanted = entry->key };
	const struct section *elsewhere = section_with_key(entry->key);
	const char *alias = other_name(entry->key);
	int r = venv__fail_spec(err, VENV_ERR_CONFIG, &entry->place, "unknown key '%s'",
				entry->key);

	for (const struct key *key = section->keys; key->name; key++)
		venv__suggest(&suggestion, key->name);
	for (const struct key *key = other ? other->keys : NULL; key && key->name; key++)
		venv__suggest(&suggestion, key->name);
	if (alias && knows(section, other, alias))
		suggestion.best = alias;
	if (suggestion.best)
		return venv__hint(r, err, "did you mean '%s'?", suggestion.best);
	if (elsewhere)
		return venv__hint(r, err, "'%s' is for '%s', as in %s", entry->key, elsewhere->name,
				  elsewhere->example);
	if (strcmp(entry->key, "<<") == 0)
		return venv__hint(r, err, "put what machines share at the top of the file");
	return venv__hint(r, err, "see venv.yml(5) for the keys of a %s", section->name);
}

int venv__section_check_keys(const struct section *section, const struct section *other,
			     const struct node *map, venv_error **err)
{
	for (size_t i = 0; i < map->n; i++)
		if (!knows(section, other, map->entries[i].key))
			return fail_unknown(section, other, &map->entries[i], err);
	return 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* "false" and [] mean none, which is what there is; a map asks for something even when it is empty. */
static bool is_something(const struct node *node)
{
	if (node->kind == NODE_LIST)
		return node->n > 0;
	return node->kind == NODE_MAP || strcmp(node->text, "false") != 0;
}

/*
 * A value from the environment may be a secret, and errors quote what is wrong. So the error is the
 * one that the file's own text gets: "'${SIZE}' is not a size". Not so for a file that is read: its
 * errors are about what is in there.
 */
int venv__section_parse_value(struct reader *reader, const struct section *section,
			      const struct key *key, struct node *value, void *base,
			      venv_error **err)
{
	_cleanup_error_ venv_error *told = NULL, *masked = NULL;
	const struct node *foreign = NULL;
	void *scratch;
	int r = key->type->parse(reader, key, value, base, &told);

	if (r >= 0)
		return r;
	if (r != VENV_ERR_NOMEM && key->type != &venv__type_env_file)
		foreign = venv__node_mask(value);
	if (!foreign)
		return venv__error_take(take_ptr(told), err);
	scratch = calloc(1, section->size);
	if (!scratch)
		return venv__fail_nomem(err);
	r = key->type->parse(reader, key, value, scratch, &masked);
	if (key->type->done)
		key->type->done(key, scratch);
	free(scratch);
	if (r < 0)
		return venv__error_take(take_ptr(masked), err);
	return venv__hint(venv__bad(err, foreign, "what '%s' stands for is not a good '%s'",
				    foreign->text, key->name),
			  err, "look at the environment variable, and at '%s' in venv.yml(5)",
			  key->name);
}

static int parse_key(struct reader *reader, const struct section *section, const struct key *key,
		     const struct entry *entry, void *base, venv_error **err)
{
	int r = venv__section_parse_value(reader, section, key, entry->value, base, err);

	if (r < 0)
		return r;
	if (key->place)
		*(struct place *)(void *)((char *)base + key->place) = entry->value->place;
	if (!(key->flags & KEY_UNSUPPORTED) || reader->recorded || !is_something(entry->value))
		return 0;
	r = venv__fail_spec(err, VENV_ERR_UNSUPPORTED, &entry->place, "'%s' is not supported yet",
			    key->name);
	return venv__hint(r, err, "remove it");
}

/* A default is a text, or a list of one text: "[project]". */
static struct node *default_node(struct pool *pool, const char *text)
{
	static const struct place nowhere;
	struct node *list, *item;
	char *inner;

	if (*text != '[')
		return venv__node_scalar(pool, &nowhere, text);
	inner = venv__pool_text(pool, text + 1, strlen(text) - 2);
	list = venv__node_new(pool, NODE_LIST, &nowhere);
	item = inner ? venv__node_scalar(pool, &nowhere, inner) : NULL;
	return list && item && venv__node_append(pool, list, item) == 0 ? list : NULL;
}

static int parse_default(struct reader *reader, const struct key *key, void *base, venv_error **err)
{
	struct node *node = default_node(&reader->pool, key->otherwise);

	return node ? key->type->parse(reader, key, node, base, err) : venv__fail_nomem(err);
}

/* What the map does not say. */
static int parse_missing(struct reader *reader, const struct section *section,
			 const struct node *map, void *base, venv_error **err)
{
	int r = 0;

	for (const struct key *key = section->keys; key->name && r == 0; key++) {
		if (venv__node_find(map, key->name))
			continue;
		if (key->flags & KEY_REQUIRED)
			r = venv__hint(venv__bad(err, map, "this %s has no '%s'", section->name,
						 key->name),
				       err, "write it as in %s", section->example);
		else if (key->otherwise)
			r = parse_default(reader, key, base, err);
	}
	return r;
}

static int parse_map(struct reader *reader, const struct section *section, const struct node *map,
		     void *base, venv_error **err)
{
	int r = venv__section_check_keys(section, NULL, map, err);

	for (size_t i = 0; i < map->n && r == 0; i++) {
		const struct key *key = venv__section_key(section, map->entries[i].key);

		r = parse_key(reader, section, key, &map->entries[i], base, err);
	}
	return r < 0 ? r : parse_missing(reader, section, map, base, err);
}

int venv__section_parse(struct reader *reader, const struct section *section,
			const struct node *node, void *base, venv_error **err)
{
	int r;

	if (section->place)
		*(struct place *)(void *)((char *)base + section->place) = node->place;
	if (node->kind == NODE_MAP) {
		r = parse_map(reader, section, node, base, err);
	} else if (node->kind == NODE_SCALAR && section->expand && !venv__node_is_empty(node)) {
		struct node *map;

		r = section->expand(reader, node, &map, err);
		if (r == 0)
			r = parse_map(reader, section, map, base, err);
	} else {
		r = venv__bad(err, node, "a %s is a map%s%s, not %s", section->name,
			      section->short_doc ? " or " : "",
			      section->short_doc ? section->short_doc : "",
			      venv__node_is_empty(node) ? "nothing" : venv__node_kind_name(node));
		r = venv__hint(r, err, "write it as in %s", section->example);
	}
	if (r == 0 && section->finish)
		r = section->finish(reader, node, base, err);
	return r;
}

/* ---- Writing, freeing ------------------------------------------------------------------------ */

json_t *venv__section_format(const struct section *section, const void *base)
{
	_cleanup_json_ json_t *ret = json_object();

	for (const struct key *key = section->keys; key->name; key++) {
		json_t *value = NULL;

		if (!key->type->format)
			continue;
		if (key->type->format(key, base, &value) < 0)
			return NULL;
		if (value && json_object_set_new(ret, key->name, value) < 0)
			return NULL;
	}
	return take_ptr(ret);
}

void venv__section_done(const struct section *section, void *base)
{
	for (const struct key *key = section->keys; key->name; key++)
		if (key->type->done)
			key->type->done(key, base);
}
