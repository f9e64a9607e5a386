/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of venv.yml. A section is what a map may hold: a struct and the keys that fill it. A
 * key has a type; a type knows how to read a value, to write it as JSON, to describe it and to
 * free it. config_keys.c holds the rows, types.c the types of single values, parts.c those of
 * lists and maps.
 */
#ifndef VENV_CONFIG_KEYS_H
#define VENV_CONFIG_KEYS_H

#include <stddef.h>

#include "node.h"

struct key;
struct section;

struct reader { /* one load */
	struct pool pool;
	const char
		*dir; /* what relative host paths are relative to: the project's, absolute, clean */
	bool recorded; /* reads what was checked before and has been recorded: spec.json */
};

struct type {
	const char *name; /* "size" */
	/* base is the struct of the section, zeroed, with defaults not applied yet. */
	int (*parse)(struct reader *reader, const struct key *key, const struct node *node,
		     void *base, venv_error **err);
	/* 0 with *ret NULL when the value is not set, or -ENOMEM. NULL slot: never recorded. */
	int (*format)(const struct key *key, const void *base, json_t **ret);
	json_t *(*schema)(const struct key *key);
	void (*done)(const struct key *key, void *base); /* NULL: owns nothing */
};

struct choice {
	const char *name;
	bool unsupported;
};

enum key_flag {
	KEY_LIVE = 1, /* a change reaches a running machine, or concerns only later commands */
	KEY_HOST = 2, /* reaches the host: wants approval (approve.c says when) */
	KEY_UNSUPPORTED = 4, /* known, checked, refused */
	KEY_REQUIRED = 8,
	KEY_MADE = 16 /* decided when the machine is made: a change wants a new one */
};

struct key {
	const char *name; /* NULL: end of the table */
	const struct type *type;
	size_t offset;         /* of the member */
	size_t count;          /* offset of the number of elements, of a list */
	size_t place;          /* offset of a struct place for the value; 0: none */
	const char *otherwise; /* the default, as in venv.yml; NULL: zero */
	const char *doc;
	const char *since;
	unsigned flags;
	int64_t min, max;             /* of numbers */
	const struct choice *choices; /* ends with a NULL name; the values of an enum in order */
	const struct section *section;
	/* Further rules for text. */
	int (*check)(const struct key *key, const struct node *node, venv_error **err);
	const char *example; /* for hints and the schema */
};

struct section {
	const char *name; /* "folder" */
	const char *doc;
	const struct key *keys;
	size_t size;         /* of the struct */
	size_t place;        /* offset of its struct place; 0: none */
	const char *example; /* "{ host: ./data, guest: /srv/data }" */
	/* The short form: the map that a text stands for. NULL: there is none. */
	int (*expand)(struct reader *reader, const struct node *text, struct node **ret_map,
		      venv_error **err);
	const char *short_doc; /* "HOST:GUEST[:MODE]" */
	/* What no single key can check. */
	int (*finish)(struct reader *reader, const struct node *node, void *base, venv_error **err);
};

extern const struct section venv__section_project, venv__section_machine, venv__section_network;
extern const struct section *const venv__sections[]; /* all, ends with NULL */

/* Fill a struct (zeroed) from a map or the short form: keys, defaults, checks. */
int venv__section_parse(struct reader *reader, const struct section *section,
			const struct node *node, void *base, venv_error **err);
/* One key's value; an error does not tell what came from the environment. */
int venv__section_parse_value(struct reader *reader, const struct section *section,
			      const struct key *key, struct node *value, void *base,
			      venv_error **err);
/* Refuse keys that neither section knows (other may be NULL). */
int venv__section_check_keys(const struct section *section, const struct section *other,
			     const struct node *map, venv_error **err);
json_t *venv__section_format(const struct section *section, const void *base); /* NULL: no memory */
void venv__section_done(const struct section *section, void *base);
const struct key *venv__section_key(const struct section *section, const char *name);

/* Types of single values (types.c). */
extern const struct type venv__type_text, venv__type_choice, venv__type_choice_text;
extern const struct type venv__type_boolean, venv__type_size, venv__type_time, venv__type_count;
extern const struct type venv__type_decimal, venv__type_port, venv__type_host_path,
	venv__type_host_path_or_auto;
/* Of several (parts.c). */
extern const struct type venv__type_texts, venv__type_host_paths, venv__type_env,
	venv__type_env_file;
extern const struct type venv__type_object, venv__type_list, venv__type_needs;
/* Only documented here: load.c reads them itself. */
extern const struct type venv__type_machines, venv__type_networks, venv__type_volume_names;

static inline void *venv__member(const struct key *key, void *base)
{
	return (char *)base + key->offset;
}

static inline const void *venv__member_const(const struct key *key, const void *base)
{
	return (const char *)base + key->offset;
}

/* ---- Values (values.c) ----------------------------------------------------------------------- */

/* Fail with VENV_ERR_CONFIG where a node stands. */
#define venv__bad(err, node, ...) venv__fail_spec(err, VENV_ERR_CONFIG, &(node)->place, __VA_ARGS__)

int venv__parse_size(const struct node *node, uint64_t *ret, venv_error **err);
int venv__parse_time(const struct node *node, uint32_t *ret_ms, venv_error **err);
int venv__parse_decimal(const struct node *node, double *ret, venv_error **err);
int venv__parse_integer(const struct node *node, int64_t min, int64_t max, int64_t *ret,
			venv_error **err);
/* A port in text[0..length), which is part of the node's text. */
int venv__parse_port(const struct node *node, const char *text, size_t length, uint16_t *ret,
		     venv_error **err);
void venv__size_format(uint64_t value, char *ret, size_t size); /* "2G" */
void venv__time_format(uint32_t ms, char *ret, size_t size);    /* "5m" */

/* Rules for text (rules.c). */
int venv__check_name(const struct key *key, const struct node *node, venv_error **err);
int venv__check_hostname(const struct key *key, const struct node *node, venv_error **err);
int venv__check_user(const struct key *key, const struct node *node, venv_error **err);
int venv__check_constraint(const struct key *key, const struct node *node, venv_error **err);
int venv__check_cpuset(const struct key *key, const struct node *node, venv_error **err);
int venv__check_guest_path(const struct key *key, const struct node *node, venv_error **err);
int venv__check_address(const struct key *key, const struct node *node, venv_error **err);
int venv__check_ipv4(const struct key *key, const struct node *node, venv_error **err);
int venv__check_subnet(const struct key *key, const struct node *node, venv_error **err);
int venv__check_mode(const struct key *key, const struct node *node, venv_error **err);
bool venv__name_is_valid(const char *name);
bool venv__env_name_is_valid(const char *name, size_t length);
/* "192.168.56.0/24" in host byte order; false when it is none. */
bool venv__parse_subnet(const char *text, uint32_t *ret_address, unsigned *ret_prefix);
bool venv__parse_ipv4(const char *text, uint32_t *ret_address);

/* An absolute clean host path, owned by the caller: ~ expanded, relative to the project. */
int venv__host_path(const struct reader *reader, const struct node *node, const char *text,
		    char **ret, venv_error **err);
bool venv__is_outside(const struct reader *reader, const char *path);

/* ---- Suggestions (suggest.c) ----------------------------------------------------------------- */

struct suggestion {
	const char *wanted;
	const char *best; /* or NULL */
	size_t distance;
};
void venv__suggest(struct suggestion *suggestion, const char *candidate);

/* ---- The whole (check.c, approve.c) ---------------------------------------------------------- */

int venv__spec_check(const struct project_spec *spec, venv_error **err);
/* Once for each machine (NULL: the project) and name. */
int venv__spec_note_variable(struct project_spec *spec, const char *machine,
			     const struct variable *variable, venv_error **err);
int venv__spec_collect_approvals(struct project_spec *spec, venv_error **err);

#endif
