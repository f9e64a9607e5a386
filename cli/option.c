/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing, by the tables. Options may stand anywhere before "--". Those of the command win over the
 * global ones of the same letter, which is why `venv -f FILE destroy` and `venv destroy -f` differ.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

struct parse {
	struct cli *cli;
	char **arguments; /* what is left to read */
	size_t count;     /* of operands */
	size_t room;      /* that a list needs at most */
	int status;
};

const struct cli_option cli_global_options[] = {
	CLI_STRING('f', "file", struct cli, file, "FILE", WORD_FILE,
		   "use this file instead of the venv.yml found from here upwards"),
	CLI_STRING('C', "directory", struct cli, dir, "DIR", WORD_DIR, "work as if started in DIR"),
	CLI_FLAG(0, "json", struct cli, json, "print lines of JSON"),
	CLI_FLAG(0, "machine-readable", struct cli, machine_readable,
		 "print the comma-separated lines of Vagrant"),
	CLI_CHOICE(0, "color", struct cli, color, "WHEN",
		   ((const char *const[]){ "auto", "always", "never", NULL }),
		   "colour the output: auto, always or never"),
	CLI_FLAG('q', "quiet", struct cli, quiet, "print results and errors only"),
	CLI_COUNT('v', "verbose", struct cli, verbose, "say more; twice: everything"),
	CLI_FLAG('h', "help", struct cli, help, "print help and end"),
	CLI_FLAG(0, "version", struct cli, version, "print the version and end"),
	CLI_END
};

const struct cli_command *cli_find_command(const struct cli_command *const *commands,
					   const char *name)
{
	for (; commands && *commands; commands++)
		if (!strcmp((*commands)->name, name) ||
		    ((*commands)->alias && !strcmp((*commands)->alias, name)))
			return *commands;
	return NULL;
}

void cli_command_name(const struct cli_command *parent, const struct cli_command *command,
		      struct text *ret)
{
	if (parent)
		text_format(ret, "%s ", parent->name);
	text_add(ret, command->name);
}

static const struct cli_option *find(const struct cli_option *options, char letter,
				     const char *name, size_t n)
{
	for (; options && options->kind != CLI_KIND_END; options++) {
		if (letter && options->letter == letter)
			return options;
		if (!letter && strlen(options->name) == n && !strncmp(options->name, name, n))
			return options;
	}
	return NULL;
}

/* Where the value of an option lies. *ret_option is NULL when there is none of that name. */
static void *locate(struct parse *parse, char letter, const char *name, size_t n,
		    const struct cli_option **ret_option)
{
	struct cli *cli = parse->cli;
	char *base = cli->options;

	*ret_option = NULL;
	if (cli->command)
		*ret_option = find(cli->command->options, letter, name, n);
	if (!*ret_option) {
		base = (char *)cli;
		*ret_option = find(cli_global_options, letter, name, n);
	}
	return *ret_option ? base + (*ret_option)->offset : NULL;
}

static const char *nearest_option(struct cli *cli, const char *name)
{
	const struct cli_option *tables[] = { cli->command ? cli->command->options : NULL,
					      cli_global_options };
	const char *names[64];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct cli_option *o = tables[i]; o && o->kind != CLI_KIND_END; o++)
			if (n + 1 < ARRAY_SIZE(names))
				names[n++] = o->name;
	names[n] = NULL;
	return text_nearest(name, names);
}

static void add_help_hint(struct cli *cli, struct text *hint)
{
	text_add(hint, "see 'venv help");
	if (cli->command) {
		text_add_char(hint, ' ');
		cli_command_name(cli->parent, cli->command, hint);
	}
	text_add_char(hint, '\'');
}

static int unknown_option(struct parse *parse, const char *argument, size_t n)
{
	struct cli *cli = parse->cli;
	_cleanup_text_ struct text hint = { 0 };
	_cleanup_text_ struct text name = { 0 };
	const char *near;

	text_add_n(&name, argument, n);
	near = n > 2 ? nearest_option(cli, name.data + 2) : NULL;
	if (near)
		text_format(&hint, "did you mean '--%s'?", near);
	else if (cli->command && cli->command->flags & CLI_TAKES_COMMAND)
		text_add(&hint, "put '--' before the command that runs in the machine");
	else
		add_help_hint(cli, &hint);
	return cli_usage(cli, hint.data, "unknown option '%s'", name.data);
}

static int bad_choice(struct parse *parse, const struct cli_option *option, const char *value)
{
	_cleanup_text_ struct text hint = { 0 };
	const char *near = text_nearest(value, option->choices);

	if (near) {
		text_format(&hint, "did you mean '%s'?", near);
	} else {
		text_add(&hint, "give one of:");
		for (const char *const *c = option->choices; *c; c++)
			text_format(&hint, " %s", *c);
	}
	return cli_usage(parse->cli, hint.data, "unknown value '%s' of --%s", value, option->name);
}

static void list_add(struct parse *parse, struct cli_list *list, const char *value)
{
	if (!list->items)
		list->items = xcalloc(parse->room, sizeof(*list->items));
	list->items[list->count++] = value;
}

static int set_value(struct parse *parse, const struct cli_option *option, void *at,
		     const char *value)
{
	const char *const *choice = option->choices;

	while (choice && *choice && strcmp(*choice, value) != 0)
		choice++;
	if (choice && !*choice)
		return bad_choice(parse, option, value);
	if (option->kind == CLI_KIND_LIST)
		list_add(parse, at, value);
	else
		*(const char **)at = value;
	return 0;
}

static bool takes_value(const struct cli_option *option)
{
	return option->kind == CLI_KIND_STRING || option->kind == CLI_KIND_LIST;
}

/* value NULL: in the next argument, for an option that takes one. */
static int apply(struct parse *parse, const struct cli_option *option, void *at, const char *value)
{
	if (!takes_value(option)) {
		if (option->kind == CLI_KIND_COUNT)
			++*(unsigned *)at;
		else
			*(bool *)at = true;
		return 0;
	}
	if (!value)
		value = *parse->arguments ? *parse->arguments++ : NULL;
	if (!value)
		return cli_usage(parse->cli, NULL, "option '--%s' needs %s", option->name,
				 option->argument);
	return set_value(parse, option, at, value);
}

static int parse_long(struct parse *parse, const char *argument)
{
	const struct cli_option *option;
	const char *name = argument + 2, *equals = strchr(name, '=');
	size_t n = equals ? (size_t)(equals - name) : strlen(name);
	void *at = locate(parse, 0, name, n, &option);

	if (!option)
		return unknown_option(parse, argument, n + 2);
	if (equals && !takes_value(option))
		return cli_usage(parse->cli, NULL, "option '--%s' takes no value", option->name);
	return apply(parse, option, at, equals ? equals + 1 : NULL);
}

static int parse_letters(struct parse *parse, const char *letters)
{
	const struct cli_option *option;
	char wrong[3] = "-";
	int status = 0;
	void *at;

	for (; *letters && !status; letters++) {
		at = locate(parse, *letters, NULL, 0, &option);
		wrong[1] = *letters;
		if (!option)
			return unknown_option(parse, wrong, 2);
		if (takes_value(option))
			return apply(parse, option, at, letters[1] ? letters + 1 : NULL);
		status = apply(parse, option, at, NULL);
	}
	return status;
}

/* What other tools of this kind call it. */
static const char *other_word(const char *word)
{
	static const char *const words[][2] = {
		{ "ps", "status" },       { "ls", "status" },      { "list", "status" },
		{ "start", "up" },        { "create", "up" },      { "stop", "halt" },
		{ "down", "halt" },       { "kill", "halt" },      { "restart", "reload" },
		{ "rm", "destroy" },      { "remove", "destroy" }, { "delete", "destroy" },
		{ "shell", "ssh" },       { "enter", "ssh" },      { "attach", "ssh" },
		{ "connect", "ssh" },     { "run", "exec" },       { "ports", "port" },
		{ "images", "box list" }, { "boxes", "box list" }, { "build", "box build" },
		{ "pull", "box add" },    { "import", "box add" }, { "check", "validate" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(word, words[i][0]))
			return words[i][1];
	return NULL;
}

static int unknown_command(struct cli *cli, const struct cli_command *const *commands,
			   const char *word)
{
	const char *names[64], *near;
	_cleanup_text_ struct text hint = { 0 };
	size_t n = 0;

	for (; *commands && n + 1 < ARRAY_SIZE(names); commands++)
		if (!((*commands)->flags & CLI_HIDDEN))
			names[n++] = (*commands)->name;
	names[n] = NULL;
	near = cli->command ? NULL : other_word(word);
	if (!near)
		near = text_nearest(word, names);
	if (near && cli->command)
		text_format(&hint, "did you mean 'venv %s %s'?", cli->command->name, near);
	else if (near)
		text_format(&hint, "did you mean 'venv %s'?", near);
	else
		add_help_hint(cli, &hint);
	return cli_usage(cli, hint.data, "unknown command '%s%s%s'",
			 cli->command ? cli->command->name : "", cli->command ? " " : "", word);
}

static int parse_word(struct parse *parse, char *word)
{
	struct cli *cli = parse->cli;
	const struct cli_command *const *commands = cli_commands;
	const struct cli_command *found;

	if (cli->command && !cli->command->subcommands) {
		cli->operands[parse->count++] = word;
		return 0;
	}
	if (cli->command)
		commands = cli->command->subcommands;
	found = cli_find_command(commands, word);
	if (!found)
		return unknown_command(cli, commands, word);
	cli->parent = cli->command;
	cli->command = found;
	free(cli->options);
	cli->options = xcalloc(1, found->options_size + 1);
	return 0;
}

static int check_operands(struct parse *parse)
{
	struct cli *cli = parse->cli;
	_cleanup_text_ struct text name = { 0 };
	_cleanup_text_ struct text usage = { 0 };

	if (!cli->command || cli->help || cli->version)
		return 0;
	cli_command_name(cli->parent, cli->command, &name);
	help_add_usage(&usage, cli->parent, cli->command);
	if (cli->command->subcommands)
		return cli_usage(cli, text_string(&usage), "'venv %s' needs a command", name.data);
	if (parse->count < cli->command->min)
		return cli_usage(cli, text_string(&usage), "'venv %s' needs %s", name.data,
				 cli->command->operands);
	if (parse->count > cli->command->max)
		return cli_usage(cli,
				 cli->command->flags & CLI_TAKES_COMMAND
					 ? "put '--' before the command that runs in the machine"
					 : text_string(&usage),
				 "'venv %s' does not take '%s'", name.data,
				 cli->operands[cli->command->max]);
	return 0;
}

static int choose_format(struct cli *cli)
{
	if (cli->json && cli->machine_readable)
		return cli_usage(cli, NULL, "--json and --machine-readable exclude each other");
	if (cli->json)
		cli->format = FORMAT_JSON;
	if (!cli->machine_readable)
		return 0;
	if (cli->command && !(cli->command->flags & CLI_VAGRANT) && !cli->help)
		return cli_usage(cli, "use --json", "'venv %s' has no --machine-readable form",
				 cli->command->name);
	cli->format = FORMAT_VAGRANT;
	return 0;
}

/* Known early, so that errors of parsing come in the form that was asked for. */
static void look_for_format(struct cli *cli, char **arguments)
{
	for (; *arguments && strcmp(*arguments, "--") != 0; arguments++)
		if (!strcmp(*arguments, "--json"))
			cli->format = FORMAT_JSON;
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
	struct parse parse = { .cli = cli, .arguments = argv + (argc > 0) };
	int status = 0;
	char *argument;

	parse.room = (size_t)argc + 1;
	cli->operands = xcalloc(parse.room, sizeof(*cli->operands));
	look_for_format(cli, parse.arguments);
	while (!status && *parse.arguments) {
		argument = *parse.arguments++;
		if (!strcmp(argument, "--")) {
			cli->rest = parse.arguments;
			break;
		}
		if (argument[0] == '-' && argument[1] == '-')
			status = parse_long(&parse, argument);
		else if (argument[0] == '-' && argument[1])
			status = parse_letters(&parse, argument + 1);
		else
			status = parse_word(&parse, argument);
	}
	while (!status && cli->rest && cli->command && !(cli->command->flags & CLI_TAKES_COMMAND) &&
	       *cli->rest)
		status = parse_word(&parse, *cli->rest++);
	if (!status)
		status = choose_format(cli);
	return status ? status : check_operands(&parse);
}

void cli_parse_done(struct cli *cli)
{
	const struct cli_option *option = cli->command ? cli->command->options : NULL;

	for (; option && option->kind != CLI_KIND_END; option++)
		if (option->kind == CLI_KIND_LIST)
			free(((struct cli_list *)(void *)((char *)cli->options + option->offset))
				     ->items);
	free(cli->options);
	free(cli->operands);
}
