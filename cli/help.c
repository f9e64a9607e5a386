/* SPDX-License-Identifier: Apache-2.0 */
/* Help, from the tables, in 80 columns. */
#include "cli.h"

#include <string.h>

enum { WIDTH = 79, NAMES = 15, OPTIONS = 28 };

/* Words of a text below each other from column indent on; the cursor stands at column at. */
static void add_wrapped(struct text *ret, const char *text, size_t indent, size_t at)
{
	size_t n, columns = at;

	while (*text) {
		if (*text == '\n') {
			text_add_char(ret, '\n');
			columns = 0;
			text++;
			continue;
		}
		n = strcspn(text, " \n");
		if (columns > indent && columns + 1 + n > WIDTH) {
			text_add_char(ret, '\n');
			columns = 0;
		}
		if (columns < indent) {
			text_add_spaces(ret, indent - columns);
			columns = indent;
		} else if (columns > indent) {
			text_add_char(ret, ' ');
			columns++;
		}
		text_add_n(ret, text, n);
		columns += n;
		text += n + (text[n] == ' ');
	}
	text_add_char(ret, '\n');
}

void help_add_usage(struct text *text, const struct cli_command *parent,
		    const struct cli_command *command)
{
	text_add(text, "usage: venv ");
	cli_command_name(parent, command, text);
	if (command->options)
		text_add(text, " [OPTION...]");
	if (command->operands) {
		text_add_char(text, ' ');
		text_add(text, command->operands);
	}
}

void help_add_option(struct text *text, const struct cli_option *option)
{
	if (option->letter)
		text_format(text, "-%c, ", option->letter);
	text_format(text, "--%s", option->name);
	if (option->argument)
		text_format(text, " %s", option->argument);
}

static void add_options(struct text *ret, const struct cli_option *options)
{
	for (; options && options->kind != CLI_KIND_END; options++) {
		_cleanup_text_ struct text names = { 0 };

		help_add_option(&names, options);
		text_add_spaces(ret, options->letter ? 2 : 6);
		text_add(ret, names.data);
		if (names.length + (options->letter ? 2 : 6) >= OPTIONS - 1) {
			text_add_char(ret, '\n');
			add_wrapped(ret, options->doc, OPTIONS, 0);
		} else {
			add_wrapped(ret, options->doc, OPTIONS,
				    names.length + (options->letter ? 2 : 6));
		}
	}
}

static void add_examples(struct text *ret, const char *examples)
{
	size_t n;

	for (; *examples; examples += n + 1) {
		n = strcspn(examples, "\n");
		text_add(ret, "  ");
		text_add_n(ret, examples, n + 1);
	}
}

static void add_command_row(struct text *ret, const struct cli_command *command)
{
	size_t columns = 2 + strlen(command->name);

	text_format(ret, "  %s", command->name);
	add_wrapped(ret, command->summary, NAMES + 2, columns);
}

static void heading(struct output *out, const char *text)
{
	out_text(out, "\n");
	out_styled(out, STYLE_BOLD, "%s", text);
	out_text(out, "\n");
}

static void print_subcommands(struct output *out, const struct cli_command *const *commands)
{
	heading(out, "Commands");
	for (; *commands; commands++)
		add_command_row(&out->buffer, *commands);
}

static void add_json_options(struct text *line, const struct cli_option *options)
{
	const struct cli_option *option = options;

	text_add(line, ",\"options\":[");
	for (; option && option->kind != CLI_KIND_END; option++) {
		text_add(line, option == options ? "{\"name\":" : ",{\"name\":");
		text_add_json(line, option->name);
		json_add_member(line, "argument", option->argument);
		json_add_member(line, "doc", option->doc);
		text_add_char(line, '}');
	}
	text_add_char(line, ']');
}

static void add_json_commands(struct text *line, const struct cli_command *const *commands);

static void add_json_command(struct text *line, const struct cli_command *command)
{
	text_add(line, "{\"name\":");
	text_add_json(line, command->name);
	json_add_member(line, "group", command->group);
	json_add_member(line, "operands", command->operands);
	json_add_member(line, "summary", command->summary);
	add_json_options(line, command->options);
	if (command->subcommands) {
		text_add(line, ",\"commands\":");
		add_json_commands(line, command->subcommands);
	}
	text_add_char(line, '}');
}

static void add_json_commands(struct text *line, const struct cli_command *const *commands)
{
	bool first = true;

	text_add_char(line, '[');
	for (; *commands; commands++) {
		if ((*commands)->flags & CLI_HIDDEN)
			continue;
		text_add(line, first ? "" : ",");
		add_json_command(line, *commands);
		first = false;
	}
	text_add_char(line, ']');
}

/* command NULL: all of them */
static void print_json(struct cli *cli, const struct cli_command *command)
{
	_cleanup_text_ struct text line = { 0 };

	json_open(&line, "result");
	json_add_member(&line, "command", "help");
	text_add(&line, ",\"result\":");
	if (command) {
		add_json_command(&line, command);
	} else {
		text_add(&line, "{\"commands\":");
		add_json_commands(&line, cli_commands);
		add_json_options(&line, cli_global_options);
		text_add_char(&line, '}');
	}
	json_close(cli, &line);
}

void help_print(struct cli *cli, struct output *out, const struct cli_command *parent,
		const struct cli_command *command)
{
	if (cli->format == FORMAT_JSON) {
		print_json(cli, command);
		return;
	}
	help_add_usage(&out->buffer, parent, command);
	out_text(out, "\n\n");
	add_wrapped(&out->buffer, command->summary, 0, 0);
	if (command->description) {
		out_text(out, "\n");
		add_wrapped(&out->buffer, command->description, 0, 0);
	}
	if (command->subcommands)
		print_subcommands(out, command->subcommands);
	if (command->options) {
		heading(out, "Options");
		add_options(&out->buffer, command->options);
	}
	if (command->examples) {
		heading(out, "Examples");
		add_examples(&out->buffer, command->examples);
	}
	out_text(out, "\nGlobal options: venv help\n");
	out_flush(out);
}

void help_print_all(struct cli *cli, struct output *out)
{
	const struct cli_command *const *command;
	const char *group = NULL;
	const char *groups[16];
	size_t n = 0;

	if (cli->format == FORMAT_JSON) {
		print_json(cli, NULL);
		return;
	}
	out_text(out, "usage: venv [OPTION...] COMMAND [ARGUMENT...]\n\n"
		      "Development machines from one file: venv init, venv up, venv ssh.\n");
	for (command = cli_commands; *command; command++) {
		size_t i = 0;

		while (i < n && strcmp(groups[i], (*command)->group) != 0)
			i++;
		if (i == n && n < ARRAY_SIZE(groups) && !((*command)->flags & CLI_HIDDEN))
			groups[n++] = (*command)->group;
	}
	for (size_t i = 0; i < n; i++) {
		group = groups[i];
		heading(out, group);
		for (command = cli_commands; *command; command++)
			if (!strcmp((*command)->group, group) && !((*command)->flags & CLI_HIDDEN))
				add_command_row(&out->buffer, *command);
	}
	heading(out, "Options");
	add_options(&out->buffer, cli_global_options);
	out_text(out, "\nMore: venv help COMMAND, man venv, man venv.yml\n");
	out_flush(out);
}
