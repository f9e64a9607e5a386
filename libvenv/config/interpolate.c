/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <string.h>

static bool is_name_character(char c, bool first)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (!first && c >= '0' && c <= '9');
}

static size_t name_length(const char *text)
{
	size_t n = 0;

	while (is_name_character(text[n], n == 0))
		n++;
	return n;
}

static int fail_form(const struct node *node, const char *at, venv_error **err)
{
	struct place place = venv__node_at(node, at);
	const char *end = strchr(at, '}');
	int length = end && end - at < 60 ? (int)(end - at) + 1 : 2;
	int r;

	if (!end)
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &place, "'${' without a '}'");
	else
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &place, "unknown substitution '%.*s'",
				    length, at);
	return venv__hint(
		r, err,
		"write ${NAME}, ${NAME:-default} or ${NAME:?message}; for the guest's shell "
		"write $${ for a ${");
}

static int fail_unset(const struct node *node, const char *at, const char *name,
		      const char *message, venv_error **err)
{
	struct place place = venv__node_at(node, at);
	int r;

	if (message && *message)
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &place,
				    "environment variable '%s' is not set: %s", name, message);
	else
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &place,
				    "environment variable '%s' is not set", name);
	return venv__hint(r, err,
			  "run 'export %s=…', or write ${%s:-default}; for the guest's shell write "
			  "$${%s}",
			  name, name, name);
}

static int add_variable(struct pool *pool, struct node *node, const char *at, const char *name,
			venv_error **err)
{
	struct variable *variable = venv__pool_alloc(pool, sizeof(*variable));
	const struct variable **last = &node->variables;

	while (*last)
		last = (const struct variable **)(uintptr_t) & (*last)->next;
	if (variable)
		variable->name = venv__pool_text(pool, name, strlen(name));
	if (!variable || !variable->name)
		return venv__fail_nomem(err);
	variable->place = venv__node_at(node, at);
	*last = variable;
	return 0;
}

/* One ${…}; at points to the dollar. Moves *end behind the brace. */
static int substitute(struct pool *pool, struct node *node, const char *at, struct buf *out,
		      const char **end, venv_error **err)
{
	const char *p = at + 2, *close = strchr(p, '}');
	size_t n = name_length(p);
	_cleanup_free_ char *name = NULL;
	_cleanup_free_ char *rest = NULL;
	const char *value;
	int r;

	if (!close || !n || (p[n] != '}' && !(p[n] == ':' && (p[n + 1] == '-' || p[n + 1] == '?'))))
		return fail_form(node, at, err);
	*end = close + 1;
	name = strndup(p, n);
	rest = strndup(p + n, (size_t)(close - (p + n)));
	if (!name || !rest)
		return venv__fail_nomem(err);
	value = getenv(name);
	if (value && !venv__text_is_clean(value)) { /* it may hold anything; a value may not */
		r = venv__bad(err, node, "environment variable '%s' is not text", name);
		return venv__hint(r, err, "set it to UTF-8 text without control characters");
	}
	/* as in the shell: with the colon, empty is as good as unset */
	if (value && (*value || !*rest)) {
		venv__buf_puts(out, value);
		return add_variable(pool, node, at, name, err);
	}
	if (rest[0] && rest[1] == '-')
		venv__buf_puts(out, rest + 2);
	else
		return fail_unset(node, at, name, *rest ? rest + 2 : NULL, err);
	return 0;
}

static int interpolate_scalar(struct pool *pool, struct node *node, venv_error **err)
{
	_cleanup_buf_ struct buf out = { 0 };
	const char *p = node->text, *source = node->text, *dollar;
	int r;

	for (; (dollar = strchr(p, '$')); p = dollar) {
		venv__buf_add(&out, p, (size_t)(dollar - p));
		if (dollar[1] == '{') {
			r = substitute(pool, node, dollar, &out, &dollar, err);
			if (r < 0)
				return r;
			continue;
		}
		venv__buf_puts(&out, "$");
		dollar += dollar[1] == '$' ? 2 : 1;
	}
	if (p == node->text)
		return 0;
	venv__buf_puts(&out, p);
	node->text = out.failed ? NULL : venv__pool_text(pool, out.data, out.length);
	if (!node->text)
		return venv__fail_nomem(err);
	node->exact = false;
	node->source = node->variables ? source : NULL;
	return 0;
}

/* Recursion is bounded by YAML_MAX_DEPTH. */
int venv__node_interpolate(struct pool *pool, struct node *node, venv_error **err)
{
	int r = 0;

	if (node->interpolated)
		return 0;
	node->interpolated = true;
	if (node->kind == NODE_SCALAR)
		return interpolate_scalar(pool, node, err);
	for (size_t i = 0; i < node->n && r == 0; i++)
		r = venv__node_interpolate(
			pool, node->kind == NODE_LIST ? node->items[i] : node->entries[i].value,
			err);
	return r;
}

const struct node *venv__node_mask(struct node *node)
{
	const struct node *found = NULL;

	if (node->kind == NODE_SCALAR && node->source) {
		node->text = node->source;
		node->source = NULL;
		return node;
	}
	for (size_t i = 0; node->kind != NODE_SCALAR && i < node->n; i++) {
		const struct node *one = venv__node_mask(
			node->kind == NODE_LIST ? node->items[i] : node->entries[i].value);

		found = found ? found : one;
	}
	return found;
}
