/* SPDX-License-Identifier: Apache-2.0 */
/* Types of single values. */
#include "keys.h"

#include <string.h>

static int want_text(const struct key *key, const struct node *node, venv_error **err)
{
	int r;

	if (node->kind == NODE_SCALAR && !venv__node_is_empty(node))
		return 0;
	if (node->kind == NODE_SCALAR)
		r = venv__bad(err, node, "'%s' has no value", key->name);
	else
		r = venv__bad(err, node, "'%s' wants a %s, not %s", key->name, key->type->name,
			      venv__node_kind_name(node));
	return key->example ? venv__hint(r, err, "write it as '%s: %s'", key->name, key->example)
			    : r;
}

static int owned(char **member, const char *text, venv_error **err)
{
	char *copy = strdup(text);

	if (!copy)
		return venv__fail_nomem(err);
	free(*member);
	*member = copy;
	return 0;
}

static int format_string(const char *text, json_t **ret)
{
	*ret = text ? json_string(text) : NULL;
	return text && !*ret ? -ENOMEM : 0;
}

static int format_owned(const struct key *key, const void *base, json_t **ret)
{
	return format_string(*(char *const *)venv__member_const(key, base), ret);
}

static void done_owned(const struct key *key, void *base)
{
	char **member = venv__member(key, base);

	free(*member);
	*member = NULL;
}

static json_t *schema_text(const struct key *key)
{
	(void)key;
	return json_pack("{s:[s,s]}", "type", "string", "number");
}

static json_t *schema_pattern(const char *pattern)
{
	return json_pack("{s:s,s:s}", "type", "string", "pattern", pattern);
}

/* ---- text ------------------------------------------------------------------------------------ */

static int parse_text(struct reader *reader, const struct key *key, const struct node *node,
		      void *base, venv_error **err)
{
	int r;

	(void)reader;
	/* "" is a value for a text without further rules */
	if (node->kind != NODE_SCALAR || venv__node_is_empty(node))
		return want_text(key, node, err);
	r = key->check ? key->check(key, node, err) : 0;
	return r < 0 ? r : owned(venv__member(key, base), node->text, err);
}

const struct type venv__type_text = {
	.name = "text",
	.parse = parse_text,
	.format = format_owned,
	.schema = schema_text,
	.done = done_owned,
};

/* ---- host path: a path on the host, made absolute -------------------------------------------- */

static int parse_host_path(struct reader *reader, const struct key *key, const struct node *node,
			   void *base, venv_error **err)
{
	char *path = NULL;
	int r = want_text(key, node, err);

	if (r == 0)
		r = venv__host_path(reader, node, node->text, &path, err);
	if (r < 0)
		return r;
	done_owned(key, base);
	*(char **)venv__member(key, base) = path;
	return 0;
}

const struct type venv__type_host_path = {
	.name = "path",
	.parse = parse_host_path,
	.format = format_owned,
	.schema = schema_text,
	.done = done_owned,
};

/* The word "auto" stands for itself; a file of this name is "./auto". */
static int parse_host_path_or_auto(struct reader *reader, const struct key *key,
				   const struct node *node, void *base, venv_error **err)
{
	if (node->kind == NODE_SCALAR && strcmp(node->text, "auto") == 0)
		return parse_text(reader, key, node, base, err);
	return parse_host_path(reader, key, node, base, err);
}

const struct type venv__type_host_path_or_auto = {
	.name = "path",
	.parse = parse_host_path_or_auto,
	.format = format_owned,
	.schema = schema_text,
	.done = done_owned,
};

/* ---- choice: one of several words, as an enum or as text ------------------------------------- */

/* unsupported: the word is known, but only so. */
static int fail_choice(const struct key *key, const struct node *node, bool unsupported,
		       venv_error **err)
{
	_cleanup_buf_ struct buf words = { 0 };
	struct suggestion suggestion = { .wanted = node->text };
	int r;

	if (unsupported)
		r = venv__fail_spec(err, VENV_ERR_UNSUPPORTED, &node->place,
				    "%s '%s' is not supported yet", key->name, node->text);
	else
		r = venv__bad(err, node, "'%s' cannot be '%s'", key->name, node->text);
	for (const struct choice *choice = key->choices; choice->name; choice++) {
		bool last = !choice[1].name || choice[1].unsupported;

		if (choice->unsupported)
			continue;
		venv__suggest(&suggestion, choice->name);
		venv__buf_printf(&words, "%s%s",
				 choice == key->choices ? ""
				 : last                 ? " or "
							: ", ",
				 choice->name);
	}
	if (suggestion.best && !unsupported)
		return venv__hint(r, err, "did you mean '%s'?", suggestion.best);
	return words.failed ? r : venv__hint(r, err, "write %s", words.data);
}

static int find_choice(const struct reader *reader, const struct key *key, const struct node *node,
		       int *ret, venv_error **err)
{
	const struct choice *choice = key->choices;
	int r = want_text(key, node, err);

	if (r < 0)
		return r;
	while (choice->name && strcmp(choice->name, node->text) != 0)
		choice++;
	if (!choice->name || (choice->unsupported && !reader->recorded))
		return fail_choice(key, node, choice->name != NULL, err);
	*ret = (int)(choice - key->choices);
	return 0;
}

static int parse_choice(struct reader *reader, const struct key *key, const struct node *node,
			void *base, venv_error **err)
{
	return find_choice(reader, key, node, venv__member(key, base), err);
}

static int parse_choice_text(struct reader *reader, const struct key *key, const struct node *node,
			     void *base, venv_error **err)
{
	int i = 0, r = find_choice(reader, key, node, &i, err);

	return r < 0 ? r : owned(venv__member(key, base), key->choices[i].name, err);
}

static int format_choice(const struct key *key, const void *base, json_t **ret)
{
	const int *member = venv__member_const(key, base);

	return format_string(key->choices[*member].name, ret);
}

static json_t *schema_choice(const struct key *key)
{
	_cleanup_json_ json_t *names = json_array();

	for (const struct choice *choice = key->choices; choice->name; choice++)
		if (json_array_append_new(names, json_string(choice->name)) < 0)
			return NULL;
	return json_pack("{s:O}", "enum", names);
}

const struct type venv__type_choice = {
	.name = "choice",
	.parse = parse_choice,
	.format = format_choice,
	.schema = schema_choice,
};

const struct type venv__type_choice_text = {
	.name = "choice",
	.parse = parse_choice_text,
	.format = format_owned,
	.schema = schema_choice,
	.done = done_owned,
};

/* ---- boolean --------------------------------------------------------------------------------- */

static const char *boolean_hint(const char *text)
{
	static const char *const yes[] = { "yes", "on", "1", "y", "True", "TRUE" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (strcasecmp(text, yes[i]) == 0)
			return "write true";
	return "write true or false";
}

static int parse_boolean(struct reader *reader, const struct key *key, const struct node *node,
			 void *base, venv_error **err)
{
	bool *member = venv__member(key, base);
	int r = want_text(key, node, err);

	(void)reader;
	if (r < 0)
		return r;
	*member = strcmp(node->text, "true") == 0;
	if (*member || strcmp(node->text, "false") == 0)
		return 0;
	r = venv__bad(err, node, "'%s' cannot be '%s'", key->name, node->text);
	return venv__hint(r, err, "%s", boolean_hint(node->text));
}

static int format_boolean(const struct key *key, const void *base, json_t **ret)
{
	const bool *member = venv__member_const(key, base);

	*ret = *member || key->otherwise ? json_boolean(*member) : NULL;
	return 0;
}

static json_t *schema_boolean(const struct key *key)
{
	(void)key;
	return json_pack("{s:s}", "type", "boolean");
}

const struct type venv__type_boolean = {
	.name = "boolean",
	.parse = parse_boolean,
	.format = format_boolean,
	.schema = schema_boolean,
};

/* ---- size, time ------------------------------------------------------------------------------ */

/* The word that undoes a default. */
static bool is_none(const struct node *node)
{
	return strcmp(node->text, "none") == 0;
}

static int parse_size(struct reader *reader, const struct key *key, const struct node *node,
		      void *base, venv_error **err)
{
	uint64_t *member = venv__member(key, base);
	int r = want_text(key, node, err);

	(void)reader;
	if (r < 0)
		return r;
	if (is_none(node)) {
		*member = 0;
		return 0;
	}
	return venv__parse_size(node, member, err);
}

static int format_size(const struct key *key, const void *base, json_t **ret)
{
	const uint64_t *member = venv__member_const(key, base);
	char text[32];

	venv__size_format(*member, text, sizeof(text));
	return format_string(*member ? text : NULL, ret);
}

static json_t *schema_size(const struct key *key)
{
	(void)key;
	return schema_pattern("^([0-9]+(\\.[0-9]{1,3})?[KMGT]|none)$");
}

const struct type venv__type_size = {
	.name = "size",
	.parse = parse_size,
	.format = format_size,
	.schema = schema_size,
};

static int parse_time(struct reader *reader, const struct key *key, const struct node *node,
		      void *base, venv_error **err)
{
	int r = want_text(key, node, err);

	(void)reader;
	return r < 0 ? r : venv__parse_time(node, venv__member(key, base), err);
}

static int format_time(const struct key *key, const void *base, json_t **ret)
{
	const uint32_t *member = venv__member_const(key, base);
	char text[32];

	venv__time_format(*member, text, sizeof(text));
	return format_string(*member ? text : NULL, ret);
}

static json_t *schema_time(const struct key *key)
{
	(void)key;
	return schema_pattern("^[0-9]+(\\.[0-9]{1,3})?(ms|s|m|h)$");
}

const struct type venv__type_time = {
	.name = "time",
	.parse = parse_time,
	.format = format_time,
	.schema = schema_time,
};

/* ---- count, decimal -------------------------------------------------------------------------- */

static int parse_count(struct reader *reader, const struct key *key, const struct node *node,
		       void *base, venv_error **err)
{
	uint32_t *member = venv__member(key, base);
	int64_t value = 0;
	int r = want_text(key, node, err);

	(void)reader;
	if (r == 0 && !is_none(node))
		r = venv__parse_integer(node, key->min, key->max, &value, err);
	if (r < 0)
		return r;
	*member = (uint32_t)value;
	return 0;
}

static int format_count(const struct key *key, const void *base, json_t **ret)
{
	const uint32_t *member = venv__member_const(key, base);

	*ret = *member ? json_integer(*member) : NULL;
	return *member && !*ret ? -ENOMEM : 0;
}

static json_t *schema_count(const struct key *key)
{
	return json_pack("{s:[{s:s,s:I,s:I},{s:s}]}", "anyOf", "type", "integer", "minimum",
			 (json_int_t)key->min, "maximum", (json_int_t)key->max, "const", "none");
}

const struct type venv__type_count = {
	.name = "count",
	.parse = parse_count,
	.format = format_count,
	.schema = schema_count,
};

static int parse_decimal(struct reader *reader, const struct key *key, const struct node *node,
			 void *base, venv_error **err)
{
	double *member = venv__member(key, base), value = 0;
	int r = want_text(key, node, err);

	(void)reader;
	if (r == 0 && !is_none(node)) {
		r = venv__parse_decimal(node, &value, err);
		if (r == 0 && (value < 0.01 || value > (double)key->max))
			r = venv__hint(venv__bad(err, node, "%s is out of range", node->text), err,
				       "write a number from 0.01 to %lld", (long long)key->max);
	}
	if (r < 0)
		return r;
	*member = value;
	return 0;
}

static int format_decimal(const struct key *key, const void *base, json_t **ret)
{
	const double *member = venv__member_const(key, base);

	if (*member <= 0)
		*ret = NULL;
	else if (*member == (double)(json_int_t)*member)
		*ret = json_integer((json_int_t)*member);
	else
		*ret = json_real(*member);
	return *member > 0 && !*ret ? -ENOMEM : 0;
}

static json_t *schema_decimal(const struct key *key)
{
	return json_pack("{s:[{s:s,s:f,s:I},{s:s}]}", "anyOf", "type", "number", "minimum", 0.01,
			 "maximum", (json_int_t)key->max, "const", "none");
}

const struct type venv__type_decimal = {
	.name = "number",
	.parse = parse_decimal,
	.format = format_decimal,
	.schema = schema_decimal,
};

/* ---- port ------------------------------------------------------------------------------------ */

static int parse_port(struct reader *reader, const struct key *key, const struct node *node,
		      void *base, venv_error **err)
{
	uint16_t *member = venv__member(key, base);
	int r = want_text(key, node, err);

	(void)reader;
	if (r < 0)
		return r;
	if (key->min == 0 && strcmp(node->text, "auto") == 0) {
		*member = 0;
		return 0;
	}
	return venv__parse_port(node, node->text, strlen(node->text), member, err);
}

static int format_port(const struct key *key, const void *base, json_t **ret)
{
	const uint16_t *member = venv__member_const(key, base);

	if (!*member)
		return format_string(key->min == 0 ? "auto" : NULL, ret);
	*ret = json_integer(*member);
	return *ret ? 0 : -ENOMEM;
}

static json_t *schema_port(const struct key *key)
{
	json_t *number =
		json_pack("{s:s,s:i,s:i}", "type", "integer", "minimum", 1, "maximum", 65535);

	if (key->min)
		return number;
	return json_pack("{s:[o,{s:s}]}", "anyOf", number, "const", "auto");
}

const struct type venv__type_port = {
	.name = "port",
	.parse = parse_port,
	.format = format_port,
	.schema = schema_port,
};
