/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration file as a tree: scalars (text), lists and maps, each with its place.
 *
 * All memory of a load is in one pool and goes at once, so that trees may share nodes: an alias
 * shares its anchor's node, and a default of several machines is one node.
 */
#ifndef VENV_CONFIG_NODE_H
#define VENV_CONFIG_NODE_H

#include "../spec.h"

struct pool_block;
struct pool {
	struct pool_block *blocks;
};

void *venv__pool_alloc(struct pool *pool, size_t size); /* zeroed; NULL: out of memory */
char *venv__pool_text(struct pool *pool, const char *text, size_t length);
char *venv__pool_printf(struct pool *pool, const char *format, ...) _printf_(2, 3);
void venv__pool_done(struct pool *pool);
#define _cleanup_pool_ _cleanup_(venv__pool_done)

/* Bytes of the character at p, 0 when it is not UTF-8. */
size_t venv__utf8_decode(const unsigned char *p, size_t left, unsigned *ret_character);
bool venv__is_printable(unsigned character); /* may stand in a YAML file; tabs and newlines too */
bool venv__text_is_clean(const char *text);  /* UTF-8 without control characters */

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct entry { /* of a map, in the order of the file */
	const char *key;
	struct place place; /* of the key */
	struct node *value;
};

struct variable { /* of the environment that a text was given a value from */
	const struct variable *next;
	const char *name;
	struct place place; /* of its ${ */
};

struct node {
	enum node_kind kind;
	struct place place;
	bool plain;        /* scalar without quotes, on one line */
	bool interpolated; /* ${NAME} was dealt with: once only, nodes are shared */
	bool exact;        /* text[i] stands i + quoted characters after place */
	bool quoted;
	const char *text; /* of a scalar */
	/* That text as the file has it, when ${NAME} in it was replaced by what the environment holds,
	 * which may be a secret; else NULL. */
	const char *source;
	const struct variable *variables; /* what that was, the first one first */
	size_t weight; /* nodes of the tree with shared ones counted as often as they appear */
	size_t n;      /* elements of a list or map */
	size_t capacity;
	union {
		struct node **items;
		struct entry *entries;
	};
};

struct node *venv__node_scalar(struct pool *pool, const struct place *place, const char *text);
struct node *venv__node_new(struct pool *pool, enum node_kind kind, const struct place *place);
int venv__node_append(struct pool *pool, struct node *list, struct node *item); /* 0 or -ENOMEM */
int venv__node_add(struct pool *pool, struct node *map, const struct entry *entry);

const struct entry *venv__node_find(const struct node *map, const char *key); /* or NULL */
struct node *venv__node_get(const struct node *map, const char *key);         /* or NULL */
void venv__node_remove(struct node *map, const char *key);
/* Nothing was written: "key:" */
bool venv__node_is_empty(const struct node *node);
/* The place of a character in a scalar's text, as well as it is known. */
struct place venv__node_at(const struct node *scalar, const char *at);
/* "text", "a list", "a map" */
const char *venv__node_kind_name(const struct node *node);

/*
 * The result of laying one tree over another: scalars and lists replace, maps merge. Neither is
 * changed, both are shared by the result. A NULL tree is none. NULL: out of memory (or both NULL).
 */
struct node *venv__node_merge(struct pool *pool, struct node *base, struct node *over);

/* Replace ${NAME}, ${NAME:-default}, ${NAME:?message} and $$ in all scalars of the tree. */
int venv__node_interpolate(struct pool *pool, struct node *node, venv_error **err);

/* Go back to the text of the file where the environment was put in. @return the first such scalar, or
 * NULL when there is none (any more) */
const struct node *venv__node_mask(struct node *node);

/* Read YAML: one document, at most YAML_MAX_SIZE bytes. *ret is NULL when it holds nothing. */
enum { YAML_MAX_SIZE = 1 << 20, YAML_MAX_DEPTH = 32, YAML_MAX_NODES = 10000 };
int venv__yaml_parse(struct pool *pool, const char *file, const char *text, size_t length,
		     struct node **ret, venv_error **err);
/* The same for a value that stands in no file; from: what errors call it, or NULL. */
int venv__yaml_parse_value(struct pool *pool, const char *from, const char *text, struct node **ret,
			   venv_error **err);
/* A tree from JSON of ours. NULL: out of memory. */
struct node *venv__node_from_json(struct pool *pool, const json_t *value,
				  const struct place *place);
/* A number without a sign, to thousandths, with a decimal point in every locale. */
void venv__decimal_format(double value, char *ret, size_t size);

#endif
