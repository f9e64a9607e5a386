/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: libyaml's events build the tree from the outside in. A stack holds the
 * lists and maps that are open; what is complete goes into the one on top. Anchors are known from
 * the moment that their node is complete, so nothing can contain itself. An alias shares the
 * anchor's node and is counted with its whole weight, so that a small file cannot stand for a
 * large one.
 */
#include "node.h"

#include <string.h>
#include <yaml.h>

struct frame {
	struct node *node;
	struct entry key; /* of a map: read, and waiting for its value */
	const char *anchor;
};

struct anchor {
	struct anchor *next;
	const char *name;
	struct node *node;
};

struct builder {
	struct pool *pool;
	const char *file; /* or what stands for it */
	bool in_file;
	const char *text;
	yaml_parser_t parser;
	yaml_event_t event;
	struct frame stack[YAML_MAX_DEPTH];
	size_t depth;
	size_t weight;
	struct anchor *anchors;
	struct node *root;
};

static struct place place_of(const struct builder *b, const yaml_mark_t *mark)
{
	struct place place = { .file = b->file };

	if (b->in_file) {
		place.line = (unsigned)mark->line + 1;
		place.column = (unsigned)mark->column + 1;
	}
	return place;
}

#define fail_mark(b, err, mark, ...)                                                               \
	__extension__({                                                                            \
		struct place place_ = place_of(b, mark);                                           \
		venv__fail_spec(err, VENV_ERR_CONFIG, &place_, __VA_ARGS__);                       \
	})

/* ---- Errors ---------------------------------------------------------------------------------- */

/* libyaml checks this as well, but cannot say where. */
static int check_text(const struct builder *b, size_t length, venv_error **err)
{
	const unsigned char *text = (const unsigned char *)b->text;
	yaml_mark_t mark = { 0 };
	unsigned c = 0;
	size_t n;
	int r;

	for (size_t i = 0; i < length; i += n) {
		n = venv__utf8_decode(text + i, length - i, &c);
		if (!n) {
			r = fail_mark(b, err, &mark, "byte 0x%02x is not UTF-8", text[i]);
			return venv__hint(r, err, "save the file as UTF-8");
		}
		if (!venv__is_printable(c)) {
			r = fail_mark(b, err, &mark, "control character U+%04X", c);
			return venv__hint(r, err,
					  "remove it, or write \"\\x%02x\" in double quotes", c);
		}
		mark.column++;
		if (c == '\n') {
			mark.line++;
			mark.column = 0;
		}
	}
	return 0;
}

static char character_at(const char *text, size_t index)
{
	for (; *text && index; index--)
		do
			text++;
		while (((unsigned char)*text & 0xc0) == 0x80);
	return *text;
}

static const char *syntax_hint(const char *problem)
{
	static const struct {
		const char *problem, *hint;
	} hints[] = {
		{ "mapping values are not allowed",
		  "put text that contains ': ' in quotes, and check the indentation" },
		{ "did not find expected key", "begin the keys of one map in one column" },
		{ "did not find expected '-' indicator",
		  "begin the items of one list in one column" },
		{ "could not find expected ':'",
		  "write 'key: value', with a space after the colon" },
		{ "cannot start any token", "put text that begins with this character in quotes" },
		{ "end of stream", "close the quote or bracket that was opened" },
		{ "did not find expected ',' or", "close the bracket that was opened" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
		if (strstr(problem, hints[i].problem))
			return hints[i].hint;
	return "compare with the examples in venv.yml(5)";
}

static int fail_syntax(struct builder *b, venv_error **err)
{
	const yaml_parser_t *parser = &b->parser;
	const char *problem = parser->problem ? parser->problem : "cannot be read";
	char at = character_at(b->text, parser->problem_mark.index);
	int r;

	if (parser->error == YAML_MEMORY_ERROR)
		return venv__fail_nomem(err);
	if (at == '\t') {
		r = fail_mark(b, err, &parser->problem_mark, "a tab cannot indent YAML");
		return venv__hint(r, err, "indent with spaces");
	}
	if (parser->context)
		r = fail_mark(b, err, &parser->problem_mark, "YAML: %s %s", problem,
			      parser->context);
	else
		r = fail_mark(b, err, &parser->problem_mark, "YAML: %s", problem);
	return venv__hint(r, err, "%s", syntax_hint(problem));
}

/* ---- Building -------------------------------------------------------------------------------- */

static int count(struct builder *b, size_t weight, venv_error **err)
{
	int r;

	b->weight += weight;
	if (b->weight <= YAML_MAX_NODES)
		return 0;
	r = fail_mark(b, err, &b->event.start_mark, "more than %d values", YAML_MAX_NODES);
	return venv__hint(
		r, err, "make the file smaller: each use of an alias counts as what it stands for");
}

static int remember(struct builder *b, const char *name, struct node *node, venv_error **err)
{
	struct anchor *anchor;

	if (!name)
		return 0;
	anchor = venv__pool_alloc(b->pool, sizeof(*anchor));
	if (!anchor)
		return venv__fail_nomem(err);
	*anchor = (struct anchor){ .next = b->anchors, .name = name, .node = node };
	b->anchors = anchor;
	return 0;
}

static int add_to_map(struct builder *b, struct frame *top, struct node *node, venv_error **err)
{
	const struct entry *first;
	int r;

	if (top->key.key) {
		top->key.value = node;
		r = venv__node_add(b->pool, top->node, &top->key);
		top->key.key = NULL;
		return r < 0 ? venv__fail_nomem(err) : 0;
	}
	if (node->kind != NODE_SCALAR)
		return venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG, &node->place,
						  "a key must be text, not %s",
						  venv__node_kind_name(node)),
				  err, "write 'key: value'; quote text that begins with [ or {");
	first = venv__node_find(top->node, node->text);
	if (first) {
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &node->place, "key '%s' is given twice",
				    node->text);
		return first->place.line ? venv__hint(r, err, "remove it here or in line %u",
						      first->place.line)
					 : r;
	}
	top->key = (struct entry){ .key = node->text, .place = node->place };
	return 0;
}

/* A node is complete. */
static int add(struct builder *b, struct node *node, venv_error **err)
{
	struct frame *top = b->depth ? &b->stack[b->depth - 1] : NULL;

	if (!top) {
		b->root = node;
		return 0;
	}
	top->node->weight += node->weight;
	if (top->node->kind == NODE_MAP)
		return add_to_map(b, top, node, err);
	return venv__node_append(b->pool, top->node, node) < 0 ? venv__fail_nomem(err) : 0;
}

/* The anchor's name in the pool; tags are refused. */
static int take_properties(struct builder *b, const yaml_char_t *anchor, const yaml_char_t *tag,
			   const char **ret_anchor, venv_error **err)
{
	*ret_anchor = NULL;
	if (tag && strcmp((const char *)tag, "!") != 0) {
		int r = fail_mark(b, err, &b->event.start_mark, "YAML tag '%s' is not supported",
				  (const char *)tag);

		return venv__hint(r, err, "remove it: the key decides what its value is");
	}
	if (!anchor)
		return 0;
	*ret_anchor = venv__pool_text(b->pool, (const char *)anchor, strlen((const char *)anchor));
	return *ret_anchor ? 0 : venv__fail_nomem(err);
}

static int on_open(struct builder *b, enum node_kind kind, const yaml_char_t *anchor_name,
		   const yaml_char_t *tag, venv_error **err)
{
	struct place place = place_of(b, &b->event.start_mark);
	const char *anchor;
	struct node *node;
	int r;

	r = take_properties(b, anchor_name, tag, &anchor, err);
	if (r < 0)
		return r;
	if (b->depth == YAML_MAX_DEPTH)
		return fail_mark(b, err, &b->event.start_mark, "nested more than %d deep",
				 YAML_MAX_DEPTH);
	node = venv__node_new(b->pool, kind, &place);
	if (!node)
		return venv__fail_nomem(err);
	node->weight = 1;
	b->stack[b->depth++] = (struct frame){ .node = node, .anchor = anchor };
	return count(b, 1, err);
}

static int on_close(struct builder *b, venv_error **err)
{
	struct frame *frame = &b->stack[--b->depth];
	int r = remember(b, frame->anchor, frame->node, err);

	return r < 0 ? r : add(b, frame->node, err);
}

static int on_scalar(struct builder *b, venv_error **err)
{
	const yaml_mark_t *start = &b->event.start_mark, *end = &b->event.end_mark;
	struct place place = place_of(b, start);
	const char *text = (const char *)b->event.data.scalar.value;
	yaml_scalar_style_t style = b->event.data.scalar.style;
	const char *anchor;
	struct node *node;
	int r;

	r = take_properties(b, b->event.data.scalar.anchor, b->event.data.scalar.tag, &anchor, err);
	if (r < 0)
		return r;
	if (strlen(text) != b->event.data.scalar.length)
		return venv__hint(
			fail_mark(b, err, start, "a value cannot hold the character U+0000"), err,
			"remove the \\0");
	node = venv__node_scalar(b->pool, &place, text);
	if (!node)
		return venv__fail_nomem(err);
	node->weight = 1;
	node->plain = style == YAML_PLAIN_SCALAR_STYLE && start->line == end->line;
	node->quoted = style == YAML_SINGLE_QUOTED_SCALAR_STYLE ||
		       style == YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	/* an escape or a folded line makes the text shorter or longer than what was written */
	node->exact = b->in_file && !anchor &&
		      (node->plain || (node->quoted && start->line == end->line &&
				       !memchr(text, '\\', strlen(text)) &&
				       end->index - start->index == strlen(text) + 2));
	r = remember(b, anchor, node, err);
	if (r == 0)
		r = count(b, 1, err);
	return r < 0 ? r : add(b, node, err);
}

static int on_alias(struct builder *b, venv_error **err)
{
	const char *name = (const char *)b->event.data.alias.anchor;
	const struct anchor *anchor = b->anchors;
	int r;

	while (anchor && strcmp(anchor->name, name) != 0)
		anchor = anchor->next;
	if (!anchor) {
		r = fail_mark(b, err, &b->event.start_mark, "alias '*%s' has no anchor", name);
		return venv__hint(
			r, err, "write &%s before the value that is meant, or put '*%s' in quotes",
			name, name);
	}
	r = count(b, anchor->node->weight, err);
	return r < 0 ? r : add(b, anchor->node, err);
}

static int on_document(struct builder *b, venv_error **err)
{
	int r;

	if (!b->root)
		return 0;
	r = fail_mark(b, err, &b->event.start_mark, "a second document begins here");
	return venv__hint(r, err, "remove the line '---'");
}

static int on_event(struct builder *b, venv_error **err)
{
	const yaml_event_t *event = &b->event;

	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		return on_document(b, err);
	case YAML_SCALAR_EVENT:
		return on_scalar(b, err);
	case YAML_ALIAS_EVENT:
		return on_alias(b, err);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(b, NODE_LIST, event->data.sequence_start.anchor,
			       event->data.sequence_start.tag, err);
	case YAML_MAPPING_START_EVENT:
		return on_open(b, NODE_MAP, event->data.mapping_start.anchor,
			       event->data.mapping_start.tag, err);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_close(b, err);
	default:
		return 0;
	}
}

static int build(struct builder *b, size_t length, venv_error **err)
{
	bool ended = false;
	int r = 0;

	if (!yaml_parser_initialize(&b->parser))
		return venv__fail_nomem(err);
	yaml_parser_set_encoding(&b->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b->parser, (const unsigned char *)b->text, length);
	while (r == 0 && !ended) {
		if (!yaml_parser_parse(&b->parser, &b->event)) {
			r = fail_syntax(b, err);
			break;
		}
		ended = b->event.type == YAML_STREAM_END_EVENT;
		r = on_event(b, err);
		yaml_event_delete(&b->event);
	}
	yaml_parser_delete(&b->parser);
	return r;
}

static int parse(struct builder *b, size_t length, struct node **ret, venv_error **err)
{
	int r;

	if (length > YAML_MAX_SIZE)
		return venv__fail_at(err, VENV_ERR_CONFIG, b->file, 0, 0, "larger than %d bytes",
				     YAML_MAX_SIZE);
	r = check_text(b, length, err);
	if (r == 0)
		r = build(b, length, err);
	if (r < 0)
		return r;
	*ret = b->root && !venv__node_is_empty(b->root) ? b->root : NULL;
	return 0;
}

int venv__yaml_parse(struct pool *pool, const char *file, const char *text, size_t length,
		     struct node **ret, venv_error **err)
{
	struct builder b = { .pool = pool, .file = file, .in_file = true };
	static const char mark[] = "\xef\xbb\xbf"; /* what some editors put before UTF-8 */

	if (length >= 3 && memcmp(text, mark, 3) == 0) {
		text += 3;
		length -= 3;
	}
	/* with a zero at its end, which the caller's text need not have */
	b.text = venv__pool_text(pool, text, length);
	if (!b.text)
		return venv__fail_nomem(err);
	return parse(&b, length, ret, err);
}

int venv__yaml_parse_value(struct pool *pool, const char *from, const char *text, struct node **ret,
			   venv_error **err)
{
	struct builder b = { .pool = pool, .file = from, .text = text };
	struct place place = { .file = from };
	struct node *node = NULL;
	int r;

	r = parse(&b, strlen(text), &node, err);
	if (r < 0)
		return r;
	if (!node) {
		node = venv__node_scalar(pool, &place, "");
		if (!node)
			return venv__fail_nomem(err);
		node->plain = true;
	}
	*ret = node;
	return 0;
}
