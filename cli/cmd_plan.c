/* SPDX-License-Identifier: Apache-2.0 */
/* What 'venv up' would do, in words. */
#include "commands.h"

#include <stdlib.h>
#include <string.h>

static bool is_map(const venv_value *value)
{
	return venv_value_type(value) == VENV_MAP;
}

/* Members in the order of their names: what was recorded has another one than what is written now. */
static size_t next_member(const venv_value *map, const char *last)
{
	size_t next = venv_value_count(map);

	for (size_t i = 0; i < venv_value_count(map); i++) {
		const char *key = venv_value_key(map, i);

		if ((!last || strcmp(key, last) > 0) &&
		    (next == venv_value_count(map) || strcmp(key, venv_value_key(map, next)) < 0))
			next = i;
	}
	return next;
}

/* As venv.yml has it, on one line. Recursion is bounded by what a machine's section can hold. */
static void show_value(struct text *text, const venv_value *value)
{
	const char *string = venv_value_string(value), *key = NULL;
	size_t count = venv_value_count(value), i;

	if (string) {
		text_add(text, string);
	} else if (venv_value_type(value) == VENV_NULL ||
		   (!count && (is_map(value) || venv_value_type(value) == VENV_LIST))) {
		text_add(text, "nothing");
	} else if (is_map(value)) {
		while ((i = next_member(value, key)) < count) {
			text_add(text, key ? ", " : "{");
			key = venv_value_key(value, i);
			text_add(text, key);
			text_add(text, ": ");
			show_value(text, venv_value_at(value, i));
		}
		text_add(text, "}");
	} else if (venv_value_type(value) == VENV_LIST) {
		text_add(text, "[");
		for (i = 0; i < count; i++) {
			text_add(text, i ? ", " : "");
			show_value(text, venv_value_at(value, i));
		}
		text_add(text, "]");
	} else {
		json_add_value(text, value);
	}
}

static bool same(const venv_value *a, const venv_value *b)
{
	_cleanup_text_ struct text x = { 0 };
	_cleanup_text_ struct text y = { 0 };

	show_value(&x, a);
	show_value(&y, b);
	return x.data && y.data && strcmp(x.data, y.data) == 0;
}

static bool has(const venv_value *list, const venv_value *item)
{
	for (size_t i = 0; i < venv_value_count(list); i++)
		if (same(venv_value_at(list, i), item))
			return true;
	return false;
}

/* Of a list of sections only what the other has not. */
static void show_side(struct text *text, const venv_value *value, const venv_value *other)
{
	size_t n = 0;

	if (venv_value_type(value) != VENV_LIST || !is_map(venv_value_at(value, 0))) {
		show_value(text, value);
		return;
	}
	for (size_t i = 0; i < venv_value_count(value); i++) {
		const venv_value *item = venv_value_at(value, i);

		if (has(other, item))
			continue;
		text_add(text, n++ ? ", " : "");
		show_value(text, item);
	}
	if (!n)
		text_add(text, "nothing");
}

/* What messages call it. */
static const char *step_name(const venv_value *step)
{
	static const char *const names[] = { "name", "run", "script", "copy" };
	const char *name = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(names) && !name; i++)
		name = venv_value_string(venv_value_get(step, names[i]));
	return name ? name : "reboot";
}

static bool has_name(const venv_value *steps, const char *name)
{
	for (size_t i = 0; i < venv_value_count(steps); i++)
		if (strcmp(step_name(venv_value_at(steps, i)), name) == 0)
			return true;
	return false;
}

static void print_step(struct cli *cli, const char *word, const char *name)
{
	out_printf(&cli->out, "    provision: %s: %.*s\n", word, (int)strcspn(name, "\n"), name);
}

static void print_steps(struct cli *cli, const venv_value *from, const venv_value *to)
{
	for (size_t i = 0; i < venv_value_count(to); i++) {
		const venv_value *step = venv_value_at(to, i);

		if (!has(from, step))
			print_step(cli, has_name(from, step_name(step)) ? "changed" : "new",
				   step_name(step));
	}
	for (size_t i = 0; i < venv_value_count(from); i++)
		if (!has_name(to, step_name(venv_value_at(from, i))))
			print_step(cli, "no longer there", step_name(venv_value_at(from, i)));
}

static void print_change(struct cli *cli, const venv_value *change)
{
	const venv_value *from = venv_value_get(change, "from"), *to = venv_value_get(change, "to");
	_cleanup_text_ struct text before = { 0 };
	_cleanup_text_ struct text after = { 0 };

	if (!strcmp(value_text(change, "key"), "provision")) {
		print_steps(cli, from, to);
		return;
	}
	show_side(&before, from, to);
	show_side(&after, to, from);
	out_printf(&cli->out, "    %s: %s %s %s", value_text(change, "key"), before.data,
		   out_arrow(&cli->out), after.data);
	out_styled(&cli->out, value_true(change, "live") ? STYLE_GREEN : STYLE_YELLOW, " (%s)\n",
		   value_true(change, "live")     ? "live"
		   : value_true(change, "remake") ? "needs 'venv destroy' and 'venv up'"
						  : "needs 'venv reload'");
}

static void print_plan(struct cli *cli, const venv_value *item)
{
	static const char *const words[][2] = {
		{ "none", "nothing to do" },   { "create", "create and start" },
		{ "start", "start" },          { "resume", "resume" },
		{ "change", "apply changes" }, { "provision", "run steps" },
	};
	const venv_value *changes = venv_value_get(item, "changes");
	const venv_value *steps = venv_value_get(item, "steps");
	const char *action = value_text(item, "action");

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i][0], action))
			action = words[i][1];
	out_styled(&cli->out, STYLE_BOLD, "%s", value_text(item, "machine"));
	out_printf(&cli->out, ": %s\n", action);
	if (*value_text(item, "box"))
		out_printf(&cli->out, "    box %s: %s\n", value_text(item, "box"),
			   value_text(item, "box_state"));
	for (size_t i = 0; i < venv_value_count(changes); i++)
		print_change(cli, venv_value_at(changes, i));
	for (size_t i = 0; i < venv_value_count(steps); i++)
		out_printf(&cli->out, "    run %s\n", venv_value_string(venv_value_at(steps, i)));
}

static int run_plan(struct cli *cli, const void *opts, char **operands)
{
	venv_value *plan = NULL;
	venv_error *err = NULL;
	int status = cli_project(cli);

	(void)opts;
	if (status)
		return status;
	if (venv_plan(cli->project, names_of(operands), &plan, &err) < 0)
		return cli_fail_with(cli, err);
	if (cli->format == FORMAT_JSON)
		json_result(cli, plan);
	for (size_t i = 0; cli->format == FORMAT_TEXT && i < venv_value_count(plan); i++)
		print_plan(cli, venv_value_at(plan, i));
	venv_value_free(plan);
	return STATUS_OK;
}

const struct cli_command cli_cmd_plan = {
	.name = "plan",
	.group = GROUP_FILE,
	.operands = "[MACHINE...]",
	.max = CLI_MANY,
	.word = WORD_MACHINE,
	.summary = "show what 'venv up' would do",
	.run = run_plan,
};
