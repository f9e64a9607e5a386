/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion of a setting, [machines.NAME.]KEY=VALUE, by the table of keys of venv.yml. Where a key is
 * a map, a dot leads to its own keys.
 */
#include "complete.h"

#include <string.h>

static const venv_value *find_in(const venv_value *keys, const char *section, const char *name,
				 size_t n)
{
	for (size_t i = 0; i < venv_value_count(keys); i++) {
		const venv_value *key = venv_value_at(keys, i);
		const char *text = value_text(key, "key");

		if (!strcmp(value_text(key, "section"), section) && strlen(text) == n &&
		    !strncmp(text, name, n))
			return key;
	}
	return NULL;
}

/* At the top stand the project's keys and those that all machines start with. */
static bool is_top(const char *section)
{
	return !strcmp(section, "project");
}

static const venv_value *find_key(const venv_value *keys, const char *section, const char *name,
				  size_t n)
{
	const venv_value *key = find_in(keys, section, name, n);

	return key || !is_top(section) ? key : find_in(keys, "machine", name, n);
}

/* behind: what was typed before the key, as its first n bytes. */
static void offer_keys(struct cli *cli, const struct words *words, const venv_value *keys,
		       const char *section, size_t n)
{
	for (size_t i = 0; i < venv_value_count(keys); i++) {
		const venv_value *key = venv_value_at(keys, i);
		const char *of = value_text(key, "section");
		bool is_map = !strncmp(value_text(key, "type"), "map", 3);
		_cleanup_text_ struct text word = { 0 };

		if (strcmp(of, section) != 0 && !(is_top(section) && !strcmp(of, "machine")))
			continue;
		if (!value_true(key, "supported"))
			continue;
		text_add_n(&word, words->last, n);
		text_format(&word, "%s%s", value_text(key, "key"), is_map ? "." : "=");
		complete_offer(cli, words, word.data, value_text(key, "doc"));
	}
}

static void offer_value(struct cli *cli, const struct words *words, size_t n, const char *value)
{
	_cleanup_text_ struct text word = { 0 };

	text_add_n(&word, words->last, n);
	text_add(&word, value);
	complete_offer(cli, words, word.data, NULL);
}

static void offer_values(struct cli *cli, const struct words *words, const venv_value *key,
			 size_t n)
{
	const venv_value *choices = venv_value_get(key, "choices");

	if (!strcmp(value_text(key, "type"), "boolean")) {
		offer_value(cli, words, n, "true");
		offer_value(cli, words, n, "false");
	}
	for (size_t i = 0; i < venv_value_count(choices); i++)
		offer_value(cli, words, n, venv_value_string(venv_value_at(choices, i)));
}

/*
 * Go into the map whose name ends at words->last + *n: *n is then where the next key begins, the
 * result the section that it is of. NULL: what comes there is somebody's own word.
 */
static const char *enter(struct cli *cli, const struct words *words, const venv_value *key,
			 size_t *n)
{
	const char *type = value_text(key, "type"), *of = value_text(key, "of");
	_cleanup_text_ struct text before = { 0 };
	size_t name;

	++*n;
	if (!strcmp(type, "map") && *of)
		return of;
	if (strcmp(type, "map of maps") != 0)
		return NULL;
	name = strcspn(words->last + *n, ".=");
	if (words->last[*n + name] == '.') {
		*n += name + 1;
		return of;
	}
	text_add_n(&before, words->last, *n);
	if (!strcmp(of, "machine"))
		complete_machines(cli, words, before.data, ".");
	return NULL;
}

void complete_setting(struct cli *cli, const struct words *words)
{
	const char *section = "project", *last = words->last;
	const venv_value *key;
	venv_value *keys = NULL;
	size_t at = 0, n;

	if (venv_config_keys(&keys, NULL) < 0)
		return;
	while (section) {
		n = at + strcspn(last + at, ".=");
		key = find_key(keys, section, last + at, n - at);
		if (last[n] == '\0')
			offer_keys(cli, words, keys, section, at);
		else if (last[n] == '=' && key)
			offer_values(cli, words, key, n + 1);
		if (last[n] != '.' || !key)
			break;
		section = enter(cli, words, key, &n);
		at = n;
	}
	venv_value_free(keys);
}
