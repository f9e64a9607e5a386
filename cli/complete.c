/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion. The scripts for the shells only pass the words on to `venv __complete`, which answers
 * from the tables and, for names, from the project: a word a line, a tab, what it means. The line
 * ":files" or ":dirs" adds what the shell knows. Behind a word that ends in one of ":=." goes no space.
 */
#include "complete.h"

#include <stdlib.h>
#include <string.h>

static bool was_given(const struct words *words, const char *word)
{
	for (size_t i = 0; i < words->count; i++)
		if (!strcmp(words->operands[i], word))
			return true;
	return false;
}

void complete_offer(struct cli *cli, const struct words *words, const char *word, const char *doc)
{
	if (strncmp(word, words->last, strlen(words->last)) != 0)
		return;
	out_printf(&cli->out, doc ? "%s%s\t%s\n" : "%s%s%s\n", text_string(&words->typed), word,
		   doc ? doc : "");
}

static bool is_repeated(const venv_value *list, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (!strcmp(value_text(venv_value_at(list, j), "name"),
			    value_text(venv_value_at(list, i), "name")))
			return true;
	return false;
}

static void offer_list(struct cli *cli, const struct words *words, const venv_value *list)
{
	for (size_t i = 0; i < venv_value_count(list); i++) {
		const char *name = value_text(venv_value_at(list, i), "name");

		if (!is_repeated(list, i) && !was_given(words, name))
			complete_offer(cli, words, name, NULL);
	}
}

/* Quietly: what cannot be known is not offered. */
static bool open_project(struct cli *cli, const struct words *words)
{
	venv_project_options options = VENV_PROJECT_OPTIONS_INIT;

	options.file = words->globals.file;
	options.dir = words->globals.dir;
	if (cli->project)
		return true;
	if (!cli->ctx && venv_new(NULL, &cli->ctx, NULL) < 0)
		return false;
	return venv_project_open(cli->ctx, &options, &cli->project, NULL) == 0;
}

void complete_machines(struct cli *cli, const struct words *words, const char *before,
		       const char *behind)
{
	if (!open_project(cli, words))
		return;
	for (size_t i = 0; i < venv_project_count(cli->project); i++) {
		_cleanup_text_ struct text name = { 0 };

		text_format(&name, "%s%s%s", before, venv_project_machine(cli->project, i), behind);
		if (!was_given(words, name.data))
			complete_offer(cli, words, name.data, NULL);
	}
}

static bool has_context(struct cli *cli)
{
	return cli->ctx || venv_new(NULL, &cli->ctx, NULL) == 0;
}

static void offer_boxes(struct cli *cli, const struct words *words)
{
	venv_value *list = NULL;

	if (has_context(cli) && venv_box_list(cli->ctx, &list, NULL) == 0)
		offer_list(cli, words, list);
	venv_value_free(list);
}

static bool has_name(const venv_value *list, const char *name)
{
	for (size_t i = 0; i < venv_value_count(list); i++)
		if (!strcmp(value_text(venv_value_at(list, i), "name"), name))
			return true;
	return false;
}

/* but: boxes that were offered already, or NULL */
static void offer_recipes(struct cli *cli, const struct words *words, const venv_value *but)
{
	const venv_value *recipe;
	venv_value *list = NULL;

	if (has_context(cli) && venv_box_recipes(cli->ctx, &list, NULL) < 0)
		list = NULL;
	for (size_t i = 0; i < venv_value_count(list); i++) {
		recipe = venv_value_at(list, i);
		if (!has_name(but, value_text(recipe, "name")))
			complete_offer(cli, words, value_text(recipe, "name"),
				       venv_value_string(venv_value_get(recipe, "description")));
	}
	venv_value_free(list);
}

static void offer_bases(struct cli *cli, const struct words *words)
{
	venv_value *list = NULL;

	if (has_context(cli) && venv_box_list(cli->ctx, &list, NULL) == 0)
		offer_list(cli, words, list);
	offer_recipes(cli, words, list);
	venv_value_free(list);
}

static void offer_volumes(struct cli *cli, const struct words *words)
{
	venv_value *list = NULL;

	if (open_project(cli, words) && venv_volume_list(cli->project, &list, NULL) == 0)
		offer_list(cli, words, list);
	venv_value_free(list);
}

/* The name, of any machine's, then the machine. */
static void offer_snapshots(struct cli *cli, const struct words *words)
{
	if (words->count > 0) {
		complete_machines(cli, words, "", "");
		return;
	}
	if (!open_project(cli, words))
		return;
	for (size_t i = 0; i < venv_project_count(cli->project); i++) {
		const char *machine = venv_project_machine(cli->project, i);
		venv_value *list = NULL;

		if (venv_snapshot_list(cli->project, machine, &list, NULL) == 0)
			offer_list(cli, words, list);
		venv_value_free(list);
	}
}

static void offer_commands(struct cli *cli, const struct words *words,
			   const struct cli_command *const *commands)
{
	for (; commands && *commands; commands++)
		if (!((*commands)->flags & CLI_HIDDEN))
			complete_offer(cli, words, (*commands)->name, (*commands)->summary);
}

/* "help box" goes on with the commands of box. */
static void offer_command_names(struct cli *cli, const struct words *words)
{
	const struct cli_command *const *commands = cli_commands;
	const struct cli_command *found;

	for (size_t i = 0; commands && i < words->count; i++) {
		found = cli_find_command(commands, words->operands[i]);
		commands = found ? found->subcommands : NULL;
	}
	offer_commands(cli, words, commands);
}

/* A path in a machine is not known here. */
static void offer_copy(struct cli *cli, const struct words *words)
{
	if (strchr(words->last, ':'))
		return;
	complete_machines(cli, words, "", ":");
	out_text(&cli->out, ":files\n");
}

static void offer_word(struct cli *cli, const struct words *words, enum cli_word word)
{
	switch (word) {
	case WORD_MACHINE:
		complete_machines(cli, words, "", "");
		break;
	case WORD_BOX:
		offer_boxes(cli, words);
		break;
	case WORD_BASE:
		offer_bases(cli, words);
		break;
	case WORD_RECIPE:
		offer_recipes(cli, words, NULL);
		out_text(&cli->out, ":dirs\n");
		break;
	case WORD_VOLUME:
		offer_volumes(cli, words);
		break;
	case WORD_SNAPSHOT:
		offer_snapshots(cli, words);
		break;
	case WORD_COMMAND:
		offer_command_names(cli, words);
		break;
	case WORD_SETTING:
		complete_setting(cli, words);
		break;
	case WORD_FILE:
		if (words->command == &cli_cmd_cp && !words->pending)
			offer_copy(cli, words);
		else
			out_text(&cli->out, ":files\n");
		break;
	case WORD_DIR:
		out_text(&cli->out, ":dirs\n");
		break;
	default:
		break;
	}
}

static void offer_options(struct cli *cli, const struct words *words,
			  const struct cli_option *options)
{
	for (; options && options->kind != CLI_KIND_END; options++) {
		_cleanup_text_ struct text name = { 0 };

		text_format(&name, "--%s", options->name);
		complete_offer(cli, words, name.data, options->doc);
	}
}

/* By "-x" or "--name", or the beginning of "--name=value". */
static const struct cli_option *find_in(const struct cli_option *options, const char *word)
{
	size_t n = strcspn(word, "=");

	for (; options && options->kind != CLI_KIND_END; options++)
		if ((word[1] == '-' && strlen(options->name) + 2 == n &&
		     !strncmp(word + 2, options->name, n - 2)) ||
		    (word[1] == options->letter && options->letter && !word[2]))
			return options;
	return NULL;
}

/* An option with an argument, else NULL. */
static const struct cli_option *find_option(const struct words *words, const char *word)
{
	const struct cli_option *found = NULL;

	if (words->command)
		found = find_in(words->command->options, word);
	if (!found)
		found = find_in(cli_global_options, word);
	return found && found->argument ? found : NULL;
}

static void read_argument(struct words *words, const struct cli_option *option, const char *value)
{
	if (!strcmp(option->name, "file"))
		words->globals.file = value;
	if (!strcmp(option->name, "directory"))
		words->globals.dir = value;
}

static void read_option(struct words *words, const char *word)
{
	const struct cli_option *option = find_option(words, word);
	const char *equals = strchr(word, '=');

	if (option && equals)
		read_argument(words, option, equals + 1);
	else
		words->pending = option;
}

static void read_word(struct words *words, const char *word)
{
	const struct cli_command *found;

	if (words->pending) {
		read_argument(words, words->pending, word);
		words->pending = NULL;
		return;
	}
	if (!strcmp(word, "--")) {
		words->after_dashes = true;
		return;
	}
	if (word[0] == '-') {
		read_option(words, word);
		return;
	}
	if (words->command && !words->command->subcommands) {
		words->operands[words->count++] = word;
		return;
	}
	found = cli_find_command(words->command ? words->command->subcommands : cli_commands, word);
	if (found) {
		words->parent = words->command;
		words->command = found;
	}
}

/* The word that is being typed: of "--option=value" the value is completed. */
static void read_last(struct words *words, const char *word)
{
	const char *equals = strchr(word, '=');

	words->last = word;
	if (words->pending || words->after_dashes || strncmp(word, "--", 2) != 0 || !equals)
		return;
	words->pending = find_option(words, word);
	if (!words->pending)
		return;
	words->last = equals + 1;
	text_add_n(&words->typed, word, (size_t)(equals + 1 - word));
}

static void offer_choices(struct cli *cli, const struct words *words, const char *const *choices)
{
	for (; *choices; choices++)
		complete_offer(cli, words, *choices, NULL);
}

static void answer(struct cli *cli, const struct words *words)
{
	const struct cli_command *command = words->command;

	if (words->pending && words->pending->choices) {
		offer_choices(cli, words, words->pending->choices);
	} else if (words->pending) {
		offer_word(cli, words, words->pending->word);
	} else if (words->after_dashes) {
		out_text(&cli->out, ":files\n");
	} else if (words->last[0] == '-') {
		offer_options(cli, words, command ? command->options : NULL);
		offer_options(cli, words, cli_global_options);
	} else if (!command || command->subcommands) {
		offer_commands(cli, words, command ? command->subcommands : cli_commands);
	} else if (words->count < command->max) {
		if (command->choices)
			offer_choices(cli, words, command->choices);
		offer_word(cli, words, command->word);
	}
}

/* The words behind "venv", the last one incomplete (it may be empty). */
static int run_complete(struct cli *cli, const void *opts, char **operands)
{
	struct words words = { .last = "" };
	char **rest = cli->rest;
	size_t n = 0;

	(void)opts;
	(void)operands;
	while (rest && rest[n])
		n++;
	words.operands = xcalloc(n + 1, sizeof(*words.operands));
	for (; rest && *rest; rest++) {
		if (rest[1])
			read_word(&words, *rest);
		else
			read_last(&words, *rest);
	}
	answer(cli, &words);
	free(words.operands);
	text_done(&words.typed);
	return STATUS_OK;
}

const struct cli_command cli_cmd_complete = {
	.name = "__complete",
	.group = GROUP_HOST,
	.summary = "answer a shell's completion",
	.flags = CLI_HIDDEN | CLI_TAKES_COMMAND,
	.run = run_complete,
};
