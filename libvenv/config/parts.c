/* SPDX-License-Identifier: Apache-2.0 */
/* Types of several values: lists, maps, the environment. */
#include "keys.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { ENV_FILE_MAX_SIZE = 1 << 20 };

static int want(const struct key *key, const struct node *node, enum node_kind kind,
		venv_error **err)
{
	const char *wanted = kind == NODE_LIST ? "a list" : "a map";
	int r;

	if (node->kind == kind)
		return 0;
	if (venv__node_is_empty(node))
		r = venv__bad(err, node, "'%s' has no value", key->name);
	else
		r = venv__bad(err, node, "'%s' wants %s, not %s", key->name, wanted,
			      venv__node_kind_name(node));
	return venv__hint(r, err, "write it as '%s: %s'", key->name,
			  key->example        ? key->example
			  : kind == NODE_LIST ? "[]"
					      : "{}");
}

static int want_item(const struct key *key, const struct node *item, venv_error **err)
{
	if (item->kind == NODE_SCALAR)
		return 0;
	return venv__hint(venv__bad(err, item, "an item of '%s' is text, not %s", key->name,
				    venv__node_kind_name(item)),
			  err, "write it as '%s: %s'", key->name, key->example);
}

/* ---- texts, host paths: NULL-terminated lists ------------------------------------------------ */

static void done_strv(const struct key *key, void *base)
{
	char ***member = venv__member(key, base);

	venv__strv_free(*member);
	*member = NULL;
}

static int format_strv(const struct key *key, const void *base, json_t **ret)
{
	char *const *list = *(char **const *)venv__member_const(key, base);

	*ret = list ? venv__json_from_strv(list) : NULL;
	return list && !*ret ? -ENOMEM : 0;
}

static int parse_strv(struct reader *reader, const struct key *key, const struct node *node,
		      void *base, venv_error **err)
{
	char ***member = venv__member(key, base);
	int r = want(key, node, NODE_LIST, err);

	done_strv(key, base);
	for (size_t i = 0; r == 0 && i < node->n; i++) {
		_cleanup_free_ char *path = NULL;
		const char *text = node->items[i]->text;

		r = want_item(key, node->items[i], err);
		if (r == 0 && key->type == &venv__type_host_paths) {
			r = venv__host_path(reader, node->items[i], text, &path, err);
			text = path;
		}
		if (r == 0 && venv__strv_add(member, text) < 0)
			r = venv__fail_nomem(err);
	}
	return r;
}

static json_t *schema_strv(const struct key *key)
{
	(void)key;
	return json_pack("{s:s,s:{s:[s,s]}}", "type", "array", "items", "type", "string", "number");
}

const struct type venv__type_texts = {
	.name = "list of text",
	.parse = parse_strv,
	.format = format_strv,
	.schema = schema_strv,
	.done = done_strv,
};

const struct type venv__type_host_paths = {
	.name = "list of paths",
	.parse = parse_strv,
	.format = format_strv,
	.schema = schema_strv,
	.done = done_strv,
};

/* ---- environment ----------------------------------------------------------------------------- */

static int env_set(char ***env, const char *name, size_t length, const char *value,
		   venv_error **err)
{
	_cleanup_free_ char *assignment = NULL;

	if (asprintf(&assignment, "%.*s=%s", (int)length, name, value) < 0) {
		assignment = NULL;
		return venv__fail_nomem(err);
	}
	return venv__env_set(env, assignment) < 0 ? venv__fail_nomem(err) : 0;
}

static int parse_env(struct reader *reader, const struct key *key, const struct node *node,
		     void *base, venv_error **err)
{
	char ***env = venv__member(key, base);
	int r = want(key, node, NODE_MAP, err);

	(void)reader;
	for (size_t i = 0; r == 0 && i < node->n; i++) {
		const struct entry *entry = &node->entries[i];

		if (!venv__env_name_is_valid(entry->key, strlen(entry->key)))
			r = venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG, &entry->place,
						       "invalid variable name '%s'", entry->key),
				       err, "use letters, digits and '_', no digit first");
		else if (entry->value->kind != NODE_SCALAR)
			r = venv__hint(venv__bad(err, entry->value, "variable '%s' is text, not %s",
						 entry->key, venv__node_kind_name(entry->value)),
				       err, "put it in quotes");
		else
			r = env_set(env, entry->key, strlen(entry->key), entry->value->text, err);
	}
	return r;
}

static int format_env(const struct key *key, const void *base, json_t **ret)
{
	char *const *env = *(char **const *)venv__member_const(key, base);
	_cleanup_json_ json_t *object = json_object();

	for (; env && *env; env++) {
		const char *equals = strchr(*env, '=');
		_cleanup_free_ char *name = strndup(*env, (size_t)(equals - *env));

		if (!name || json_object_set_new(object, name, json_string(equals + 1)) < 0)
			return -ENOMEM;
	}
	*ret = take_ptr(object);
	return *ret ? 0 : -ENOMEM;
}

static json_t *schema_env(const struct key *key)
{
	(void)key;
	return json_pack("{s:s,s:{s:s},s:{s:[s,s,s,s]}}", "type", "object", "propertyNames",
			 "pattern", "^[A-Za-z_][A-Za-z0-9_]*$", "additionalProperties", "type",
			 "string", "number", "boolean", "null");
}

const struct type venv__type_env = {
	.name = "map of text",
	.parse = parse_env,
	.format = format_env,
	.schema = schema_env,
	.done = done_strv,
};

/* ---- a file of variables --------------------------------------------------------------------- */

/* Remove blanks at both ends, and one pair of quotes around the rest. */
static char *trim_value(char *text)
{
	size_t n;

	text += strspn(text, " \t");
	n = strlen(text);
	while (n && strchr(" \t\r", text[n - 1]))
		n--;
	if (n >= 2 && (*text == '"' || *text == '\'') && text[n - 1] == *text) {
		text++;
		n -= 2;
	}
	text[n] = '\0';
	return text;
}

static int parse_env_line(const char *path, unsigned number, char *line, char ***env,
			  venv_error **err)
{
	struct place place = { .file = path, .line = number, .column = 1 };
	size_t n;
	char *p = line;

	p += strspn(p, " \t\r");
	if (strncmp(p, "export ", 7) == 0)
		p += 7 + strspn(p + 7, " \t");
	if (!*p || *p == '#')
		return 0;
	n = strcspn(p, "= \t\r");
	if (p[n] != '=' || !venv__env_name_is_valid(p, n))
		return venv__hint(
			venv__fail_spec(err, VENV_ERR_CONFIG, &place, "this is not NAME=value"),
			err, "write NAME=value, or begin the line with '#'");
	if (!venv__text_is_clean(p + n + 1))
		return venv__fail_spec(err, VENV_ERR_CONFIG, &place,
				       "the value of '%.*s' is not UTF-8 text", (int)n, p);
	return env_set(env, p, n, trim_value(p + n + 1), err);
}

static int parse_env_text(const char *path, char *text, char ***env, venv_error **err)
{
	unsigned number = 1;
	char *next;
	int r = 0;

	for (char *line = text; line && r == 0; line = next, number++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		r = parse_env_line(path, number, line, env, err);
	}
	return r;
}

/* Anything but a regular file could keep us waiting; a link that a guest planted could lead anywhere. */
static int open_env_file(const struct reader *reader, const struct node *node, const char *path,
			 venv_error **err)
{
	_cleanup_close_ int fd = venv__open_inside(reader->dir, path, O_RDONLY | O_NONBLOCK);
	struct stat st;

	if (fd == -EXDEV)
		return venv__hint(venv__bad(err, node,
					    "'%s' leads out of the project by a symbolic link",
					    path),
				  err, "name the file itself, then run 'venv approve'");
	if (fd < 0)
		return venv__hint(venv__bad(err, node, "cannot read '%s': %s", path, strerror(-fd)),
				  err, "make the file, or remove 'env_file'");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return venv__hint(venv__bad(err, node, "'%s' is not a file", path), err,
				  "name a file with lines NAME=value");
	return take_fd(&fd);
}

static int read_env_file(const struct reader *reader, const struct node *node, const char *path,
			 char ***env, venv_error **err)
{
	_cleanup_close_ int fd = open_env_file(reader, node, path, err);
	_cleanup_error_ venv_error *cause = NULL;
	_cleanup_free_ char *text = NULL;
	size_t length = 0;

	if (fd < 0)
		return fd;
	if (venv__fd_read(fd, path, ENV_FILE_MAX_SIZE, &text, &length, &cause) < 0)
		return venv__bad(err, node, "%s", venv_error_message(cause));
	if (strlen(text) != length)
		return venv__bad(err, node, "'%s' is not a text file", path);
	return parse_env_text(path, text, env, err);
}

static int parse_env_file(struct reader *reader, const struct key *key, const struct node *node,
			  void *base, venv_error **err)
{
	struct machine_spec *machine = base;
	_cleanup_strv_ char **env = NULL;
	int r = venv__type_host_path.parse(reader, key, node, base, err);

	if (r == 0)
		r = read_env_file(reader, node, machine->env_file, &env, err);
	if (r < 0)
		return r;
	machine->env_file_outside = venv__is_outside(reader, machine->env_file);
	/* whichever of the two keys comes first, env wins */
	for (char **p = machine->env; p && *p; p++)
		if (venv__env_set(&env, *p) < 0)
			return venv__fail_nomem(err);
	venv__strv_free(machine->env);
	machine->env = take_ptr(env);
	return 0;
}

static json_t *schema_path(const struct key *key)
{
	return venv__type_host_path.schema(key);
}

static void done_env_file(const struct key *key, void *base)
{
	venv__type_host_path.done(key, base);
}

const struct type venv__type_env_file = {
	.name = "path",
	.parse = parse_env_file,
	.schema = schema_path,
	.done = done_env_file,
};

/* ---- object: one map ------------------------------------------------------------------------- */

static int parse_object(struct reader *reader, const struct key *key, const struct node *node,
			void *base, venv_error **err)
{
	return venv__section_parse(reader, key->section, node, venv__member(key, base), err);
}

static int format_object(const struct key *key, const void *base, json_t **ret)
{
	_cleanup_json_ json_t *object =
		venv__section_format(key->section, venv__member_const(key, base));

	if (!object)
		return -ENOMEM;
	*ret = json_object_size(object) ? take_ptr(object) : NULL;
	return 0;
}

static json_t *schema_object(const struct key *key)
{
	return json_pack("{s:s+}", "$ref", "#/$defs/", key->section->name);
}

static void done_object(const struct key *key, void *base)
{
	venv__section_done(key->section, venv__member(key, base));
}

const struct type venv__type_object = {
	.name = "map",
	.parse = parse_object,
	.format = format_object,
	.schema = schema_object,
	.done = done_object,
};

/* ---- list: of maps or their short form ------------------------------------------------------- */

static size_t *count_of(const struct key *key, void *base)
{
	return (size_t *)(void *)((char *)base + key->count);
}

static void done_list(const struct key *key, void *base)
{
	char **member = venv__member(key, base);
	size_t *count = count_of(key, base);

	for (size_t i = 0; i < *count; i++)
		venv__section_done(key->section, *member + i * key->section->size);
	free(*member);
	*member = NULL;
	*count = 0;
}

static int parse_list(struct reader *reader, const struct key *key, const struct node *node,
		      void *base, venv_error **err)
{
	char **member = venv__member(key, base);
	size_t *count = count_of(key, base);
	int r = want(key, node, NODE_LIST, err);

	done_list(key, base);
	if (r < 0 || !node->n)
		return r;
	*member = calloc(node->n, key->section->size);
	if (!*member)
		return venv__fail_nomem(err);
	*count = node->n;
	for (size_t i = 0; i < node->n && r == 0; i++)
		r = venv__section_parse(reader, key->section, node->items[i],
					*member + i * key->section->size, err);
	return r;
}

static int format_list(const struct key *key, const void *base, json_t **ret)
{
	const char *items = *(const char *const *)venv__member_const(key, base);
	size_t count = *(const size_t *)(const void *)((const char *)base + key->count);
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(
			    list,
			    venv__section_format(key->section, items + i * key->section->size)) < 0)
			return -ENOMEM;
	*ret = take_ptr(list);
	return *ret ? 0 : -ENOMEM;
}

static json_t *schema_list(const struct key *key)
{
	return json_pack("{s:s,s:{s:s+}}", "type", "array", "items", "$ref", "#/$defs/",
			 key->section->name);
}

const struct type venv__type_list = {
	.name = "list",
	.parse = parse_list,
	.format = format_list,
	.schema = schema_list,
	.done = done_list,
};

/* ---- needs: machine: started | ready | provisioned ------------------------------------------- */

static void done_needs(const struct key *key, void *base)
{
	struct machine_spec *machine = base;

	(void)key;
	for (size_t i = 0; i < machine->n_needs; i++)
		free(machine->needs[i].machine);
	free(machine->needs);
	machine->needs = NULL;
	machine->n_needs = 0;
}

static int parse_need(struct reader *reader, const struct key *key, const struct entry *entry,
		      struct need_spec *need, venv_error **err)
{
	struct key kind = *key;

	kind.name = "needs";
	kind.type = &venv__type_choice;
	kind.offset = offsetof(struct need_spec, kind);
	kind.example = "ready";
	need->place = entry->place;
	need->machine = strdup(entry->key);
	if (!need->machine)
		return venv__fail_nomem(err);
	return kind.type->parse(reader, &kind, entry->value, need, err);
}

static int parse_needs(struct reader *reader, const struct key *key, const struct node *node,
		       void *base, venv_error **err)
{
	struct machine_spec *machine = base;
	int r = want(key, node, NODE_MAP, err);

	done_needs(key, base);
	if (r < 0 || !node->n)
		return r;
	machine->needs = calloc(node->n, sizeof(*machine->needs));
	if (!machine->needs)
		return venv__fail_nomem(err);
	machine->n_needs = node->n;
	for (size_t i = 0; i < node->n && r == 0; i++)
		r = parse_need(reader, key, &node->entries[i], &machine->needs[i], err);
	return r;
}

static int format_needs(const struct key *key, const void *base, json_t **ret)
{
	const struct machine_spec *machine = base;
	_cleanup_json_ json_t *object = json_object();

	for (size_t i = 0; i < machine->n_needs; i++)
		if (json_object_set_new(object, machine->needs[i].machine,
					json_string(key->choices[machine->needs[i].kind].name)) < 0)
			return -ENOMEM;
	*ret = take_ptr(object);
	return *ret ? 0 : -ENOMEM;
}

static json_t *schema_needs(const struct key *key)
{
	json_t *kinds = venv__type_choice.schema(key);

	return json_pack("{s:s,s:o}", "type", "object", "additionalProperties", kinds);
}

const struct type venv__type_needs = {
	.name = "map of words",
	.parse = parse_needs,
	.format = format_needs,
	.schema = schema_needs,
	.done = done_needs,
};
