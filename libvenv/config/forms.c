/* SPDX-License-Identifier: Apache-2.0 */
/* Short forms, and the rules of the small sections. */
#include "forms.h"

#include <string.h>

/* ---- Short forms: text that stands for a map ------------------------------------------------- */

struct expansion {
	struct reader *reader;
	const struct node *text;
	struct node *map;
	bool failed;
};

static void expand_begin(struct expansion *x, struct reader *reader, const struct node *text)
{
	*x = (struct expansion){ .reader = reader, .text = text };
	x->map = venv__node_new(&reader->pool, NODE_MAP, &text->place);
	x->failed = !x->map;
}

/* The part from begin to end is the value of key; it keeps its column. */
static void expand_part(struct expansion *x, const char *key, const char *begin, const char *end)
{
	struct pool *pool = &x->reader->pool;
	struct entry entry = { .key = key, .place = venv__node_at(x->text, begin) };

	if (x->failed)
		return;
	entry.value = venv__node_new(pool, NODE_SCALAR, &entry.place);
	if (entry.value) {
		entry.value->text = venv__pool_text(pool, begin, (size_t)(end - begin));
		entry.value->exact = x->text->exact;
		entry.value->plain = true;
		/* of what is written in quotes, the first part begins behind the quote */
		if (x->text->quoted && x->text->exact && begin == x->text->text)
			entry.value->place.column++;
	}
	x->failed = !entry.value || !entry.value->text || venv__node_add(pool, x->map, &entry) < 0;
}

static int expand_end(struct expansion *x, struct node **ret, venv_error **err)
{
	if (x->failed)
		return venv__fail_nomem(err);
	*ret = x->map;
	return 0;
}

int venv__folder_expand(struct reader *reader, const struct node *node, struct node **ret,
			venv_error **err)
{
	const char *text = node->text, *end = text + strlen(text), *colon, *mode;
	struct expansion x;

	/* a path on the host may hold a colon; that of the machine begins with a slash */
	colon = strstr(text, ":/");
	if (!colon)
		colon = strchr(text, ':');
	if (!colon)
		return venv__hint(
			venv__bad(err, node, "folder '%s' does not say where in the machine", text),
			err, "write it as '%s:/srv/data'", text);
	mode = strrchr(colon + 1, ':');
	if (mode && strchr(mode, '/'))
		mode = NULL;
	expand_begin(&x, reader, node);
	expand_part(&x, "host", text, colon);
	expand_part(&x, "guest", colon + 1, mode ? mode : end);
	if (mode)
		expand_part(&x, "mode", mode + 1, end);
	return expand_end(&x, ret, err);
}

int venv__volume_expand(struct reader *reader, const struct node *node, struct node **ret,
			venv_error **err)
{
	const char *text = node->text, *colon = strchr(text, ':');
	struct expansion x;

	if (!colon)
		return venv__hint(
			venv__bad(err, node, "volume '%s' does not say where in the machine", text),
			err, "write it as '%s:/var/lib/data'", text);
	if (memchr(text, '/', (size_t)(colon - text)))
		return venv__hint(venv__bad(err, node, "'%.*s' is not the name of a volume",
					    (int)(colon - text), text),
				  err, "directories of the host go into 'folders'");
	expand_begin(&x, reader, node);
	expand_part(&x, "name", text, colon);
	expand_part(&x, "guest", colon + 1, text + strlen(text));
	return expand_end(&x, ret, err);
}

static int fail_port(const struct node *node, venv_error **err)
{
	int r = venv__bad(err, node, "'%s' is not a forwarded port", node->text);

	if (strspn(node->text, "0123456789") == strlen(node->text))
		return venv__hint(r, err, "write 8080:%s (host, then machine), or auto:%s",
				  node->text, node->text);
	return venv__hint(r, err, "write it as 8080:80 or 127.0.0.1:8080:80 (host, then machine)");
}

/* [ADDRESS:]HOST:GUEST[/PROTOCOL]; an IPv6 address is in brackets */
int venv__port_expand(struct reader *reader, const struct node *node, struct node **ret,
		      venv_error **err)
{
	const char *text = node->text, *end, *slash, *address_end = NULL, *host = text, *colon;
	bool bracket = *text == '[';
	struct expansion x;

	slash = strchr(text, '/');
	end = slash ? slash : text + strlen(text);
	if (bracket) {
		address_end = strstr(text, "]:");
		host = address_end ? address_end + 2 : NULL;
	} else {
		address_end = strchr(text, ':');
		colon = address_end ? strchr(address_end + 1, ':') : NULL;
		if (colon)
			host = address_end + 1;
		else
			address_end = NULL;
	}
	colon = host ? strchr(host, ':') : NULL;
	if (!colon || colon > end || strchr(colon + 1, ':'))
		return fail_port(node, err);
	expand_begin(&x, reader, node);
	if (address_end)
		expand_part(&x, "address", text + bracket, address_end);
	expand_part(&x, "host", host, colon);
	expand_part(&x, "guest", colon + 1, end);
	if (slash)
		expand_part(&x, "protocol", slash + 1, slash + strlen(slash));
	return expand_end(&x, ret, err);
}

int venv__nic_expand(struct reader *reader, const struct node *node, struct node **ret,
		     venv_error **err)
{
	struct expansion x;

	expand_begin(&x, reader, node);
	expand_part(&x, "name", node->text, node->text + strlen(node->text));
	return expand_end(&x, ret, err);
}

/* ---- Rules ----------------------------------------------------------------------------------- */

static int clean_path(char **path, venv_error **err)
{
	char *clean = venv__path_clean(*path);

	if (!clean)
		return venv__fail_nomem(err);
	free(*path);
	*path = clean;
	return 0;
}

int venv__folder_finish(struct reader *reader, const struct node *node, void *base,
			venv_error **err)
{
	struct folder_spec *folder = base;

	(void)node;
	folder->outside = venv__is_outside(reader, folder->host);
	return clean_path(&folder->guest, err);
}

int venv__volume_finish(struct reader *reader, const struct node *node, void *base,
			venv_error **err)
{
	struct volume_spec *volume = base;

	(void)reader;
	(void)node;
	return clean_path(&volume->guest, err);
}

int venv__ready_finish(struct reader *reader, const struct node *node, void *base, venv_error **err)
{
	const struct ready_spec *ready = base;

	(void)reader;
	if (!ready->run == !ready->tcp)
		return venv__hint(venv__bad(err, node,
					    ready->run ? "'ready' has both 'run' and 'tcp'"
						       : "'ready' has neither 'run' nor 'tcp'"),
				  err, "write one, as in ready: { tcp: 5432 }");
	if (ready->every_ms > ready->within_ms)
		return venv__hint(venv__bad(err, node, "'every' is longer than 'within'"), err,
				  "write it as in ready: { tcp: 5432, every: 1s, within: 60s }");
	return 0;
}

int venv__trigger_finish(struct reader *reader, const struct node *node, void *base,
			 venv_error **err)
{
	const struct trigger_spec *trigger = base;

	(void)reader;
	if (!trigger->before == !trigger->after)
		return venv__hint(venv__bad(err, node,
					    trigger->before
						    ? "a trigger has both 'before' and 'after'"
						    : "a trigger has neither 'before' nor 'after'"),
				  err, "write one, as in { before: halt, run: ./dump.sh }");
	return 0;
}

int venv__network_finish(struct reader *reader, const struct node *node, void *base,
			 venv_error **err)
{
	const struct network_spec *network = base;

	(void)reader;
	if (network->bridge && network->mode != NETWORK_BRIDGED)
		return venv__hint(venv__bad(err, venv__node_get(node, "bridge"),
					    "'bridge' goes with 'mode: bridged'"),
				  err, "remove it");
	return 0;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* What a step does, and which other keys it may have. */
static const struct {
	const char *name;
	enum step_kind kind;
	const char *keys[5];
} actions[] = {
	{ "run", STEP_RUN, { "as" } },
	{ "script", STEP_SCRIPT, { "args", "as" } },
	{ "copy", STEP_COPY, { "to", "mode", "owner" } },
	{ "ansible", STEP_ANSIBLE, { 0 } },
	{ "reboot", STEP_REBOOT, { 0 } },
};

static int find_action(const struct node *node, size_t *ret, venv_error **err)
{
	const char *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		const struct entry *entry = venv__node_find(node, actions[i].name);

		if (!entry)
			continue;
		if (found)
			return venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG, &entry->place,
							  "a step has both '%s' and '%s'", found,
							  entry->key),
					  err, "make two steps of it");
		found = entry->key;
		*ret = i;
	}
	if (found)
		return 0;
	return venv__hint(venv__bad(err, node, "a step does nothing"), err,
			  "give it one of run, script, copy and reboot");
}

static bool goes_with(size_t action, const char *key)
{
	if (strcmp(key, "name") == 0 || strcmp(key, "when") == 0 ||
	    strcmp(key, actions[action].name) == 0)
		return true;
	for (const char *const *p = actions[action].keys; *p; p++)
		if (strcmp(*p, key) == 0)
			return true;
	return false;
}

int venv__step_finish(struct reader *reader, const struct node *node, void *base, venv_error **err)
{
	struct step_spec *step = base;
	size_t action = 0;
	int r = find_action(node, &action, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < node->n; i++)
		if (!goes_with(action, node->entries[i].key))
			return venv__hint(
				venv__fail_spec(err, VENV_ERR_CONFIG, &node->entries[i].place,
						"'%s' does not go with '%s'", node->entries[i].key,
						actions[action].name),
				err, "remove it");
	step->kind = actions[action].kind;
	if (step->kind == STEP_COPY && !step->copy_to)
		return venv__hint(
			venv__bad(err, node, "'copy' does not say where to"), err,
			"add 'to', as in { copy: site.conf, to: /etc/nginx/conf.d/site.conf }");
	if (step->kind == STEP_REBOOT && !step->reboot)
		return venv__hint(venv__bad(err, venv__node_get(node, "reboot"),
					    "'reboot: false' does nothing"),
				  err, "remove the step, or write reboot: true");
	step->outside = (step->script && venv__is_outside(reader, step->script)) ||
			(step->copy_from && venv__is_outside(reader, step->copy_from));
	return 0;
}
