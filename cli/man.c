/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Man pages in scdoc's language, from the same tables as the help: `venv help --man venv-up`. The
 * build runs this, so no page can say what the program does not do. Longer prose for venv(1) and
 * venv.yml(5) lies in docs/man and is joined by the build.
 */
#include "cli.h"

#include <string.h>

/* Text for scdoc: its marks are escaped; no line of ours begins with text, so dots need nothing. */
static void add_escaped(struct text *ret, const char *text)
{
	size_t n;

	for (; *text; text += n) {
		n = strcspn(text, "_*\\#`~<>[]|");
		text_add_n(ret, text, n);
		if (!text[n])
			return;
		text_add_char(ret, '\\');
		text_add_char(ret, text[n]);
		n++;
	}
}

static void add_title(struct text *ret, const char *name, int section, const char *summary)
{
	text_format(ret, "%s(%d)\n\n# NAME\n\n%s - ", name, section, name);
	add_escaped(ret, summary);
	text_add(ret, "\n\n");
}

static void add_options(struct text *ret, const struct cli_option *options)
{
	for (; options && options->kind != CLI_KIND_END; options++) {
		text_add_char(ret, '*');
		if (options->letter)
			text_format(ret, "-%c*, *", options->letter);
		text_format(ret, "--%s*", options->name);
		if (options->argument) {
			text_add(ret, " _");
			add_escaped(ret, options->argument);
			text_add_char(ret, '_');
		}
		text_add(ret, "\n\t");
		add_escaped(ret, options->doc);
		text_add(ret, ".\n\n");
	}
}

static void add_examples(struct text *ret, const char *examples)
{
	text_add(ret, "# EXAMPLES\n\n```\n");
	text_add(ret, examples);
	text_add(ret, "```\n\n");
}

static void add_synopsis(struct text *ret, const struct cli_command *parent,
			 const struct cli_command *command)
{
	text_add(ret, "*venv ");
	cli_command_name(parent, command, ret);
	text_add(ret, command->options ? "* [_OPTION_...]" : "*");
	if (command->operands) {
		text_add_char(ret, ' ');
		add_escaped(ret, command->operands);
	}
	text_add_char(ret, '\n');
}

static void add_subcommand(struct text *ret, const struct cli_command *parent,
			   const struct cli_command *command)
{
	add_synopsis(ret, parent, command);
	text_add(ret, "\t");
	add_escaped(ret, command->summary);
	text_add(ret, ".");
	if (command->description) {
		text_add(ret, " ");
		add_escaped(ret, command->description);
	}
	text_add(ret, "\n\n");
	add_options(ret, command->options);
}

static void add_command_page(struct text *ret, const struct cli_command *command)
{
	_cleanup_text_ struct text name = { 0 };

	text_format(&name, "venv-%s", command->name);
	add_title(ret, name.data, 1, command->summary);
	text_add(ret, "# SYNOPSIS\n\n");
	add_synopsis(ret, NULL, command);
	text_add(ret, "\n");
	if (command->description) {
		text_add(ret, "# DESCRIPTION\n\n");
		add_escaped(ret, command->description);
		text_add(ret, "\n\n");
	}
	if (command->subcommands) {
		text_add(ret, "# COMMANDS\n\n");
		for (const struct cli_command *const *c = command->subcommands; *c; c++)
			add_subcommand(ret, command, *c);
	}
	if (command->options) {
		text_add(ret, "# OPTIONS\n\n");
		add_options(ret, command->options);
	}
	text_add(ret, "Global options and exit statuses are in *venv*(1).\n\n");
	if (command->examples)
		add_examples(ret, command->examples);
	text_add(ret, "# SEE ALSO\n\n*venv*(1), *venv.yml*(5)\n");
}

static void add_statuses(struct text *ret)
{
	static const struct {
		int status;
		const char *name, *text;
	} codes[] = {
#define CODE_ROW(name, number, status, text) { status, #name, text },
		VENV_CODES(CODE_ROW)
#undef CODE_ROW
	};

	text_add(ret, "# EXIT STATUS\n\n*0*\n\tSuccess.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		text_format(ret, "*%d*\n\t", codes[i].status);
		add_escaped(ret, codes[i].text);
		text_add(ret, " (");
		add_escaped(ret, codes[i].name);
		text_add(ret, ").\n\n");
	}
	text_add(
		ret,
		"Usage errors end with 2. *venv ssh* and *venv exec* pass the status of the command on "
		"(128 and the number of the signal that killed it) and end with 125 when venv itself "
		"failed.\n\n");
}

static void add_main_page(struct text *ret)
{
	add_title(ret, "venv", 1, "development machines from one file");
	text_add(ret,
		 "# SYNOPSIS\n\n*venv* [_OPTION_...] _COMMAND_ [_ARGUMENT_...]\n\n@DESCRIPTION@\n"
		 "# COMMANDS\n\n");
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		if ((*c)->flags & CLI_HIDDEN)
			continue;
		text_format(ret, "*venv-%s*(1)\n\t", (*c)->name);
		add_escaped(ret, (*c)->summary);
		text_add(ret, ".\n\n");
	}
	text_add(ret, "# OPTIONS\n\n");
	add_options(ret, cli_global_options);
	text_add(ret,
		 "Options may stand before and after the command. Those of the command win: "
		 "*venv destroy -f* is *--force*, *venv -f* _FILE_ *destroy* is *--file*.\n\n");
	add_statuses(ret);
}

/* A line that begins with a quote would be a request to troff: what is quoted becomes bold. */
static void add_doc(struct text *ret, const char *doc)
{
	const char *end = *doc == '\'' ? strchr(doc + 1, '\'') : NULL;

	if (end) {
		_cleanup_text_ struct text word = { 0 };

		text_add_n(&word, doc + 1, (size_t)(end - doc) - 1);
		text_add_char(ret, '*');
		add_escaped(ret, word.data);
		text_add_char(ret, '*');
		doc = end + 1;
	}
	add_escaped(ret, doc);
}

static void add_fact(struct text *ret, const char *before, const char *fact, const char *after)
{
	if (!*fact)
		return;
	text_add(ret, before);
	add_escaped(ret, fact);
	text_add(ret, after);
}

/* What it takes: the words of a choice, else the name of the type; and how one looks. */
static void add_type(struct text *ret, const venv_value *key)
{
	const venv_value *choices = venv_value_get(key, "choices");

	if (strcmp(value_text(key, "type"), "choice") != 0) {
		add_fact(ret, " (", value_text(key, "type"), "");
		add_fact(ret, ", as ", value_text(key, "example"), "");
		text_add(ret, ")");
		return;
	}
	for (size_t i = 0; i < venv_value_count(choices); i++)
		add_fact(ret, i ? " | " : " (", venv_value_string(venv_value_at(choices, i)), "");
	text_add(ret, ")");
}

/* The keys of one section after the other, as the library lists them. */
static void add_keys(struct text *ret, const venv_value *keys)
{
	const char *section = NULL, *this;
	const venv_value *key;

	for (size_t i = 0; i < venv_value_count(keys); i++) {
		key = venv_value_at(keys, i);
		this = value_text(key, "section");
		if (!section || strcmp(section, this) != 0) {
			text_add(ret, "## ");
			add_escaped(ret, *this ? this : "top level");
			text_add(ret, "\n\n");
		}
		section = this;
		text_add(ret, "*");
		add_escaped(ret, value_text(key, "key"));
		text_add(ret, "*");
		add_type(ret, key);
		text_add(ret, "\n\t");
		add_doc(ret, value_text(key, "doc"));
		text_add(ret, ".");
		add_fact(ret, " Default: ", value_text(key, "default"), ".");
		/* what was there from the beginning needs no word */
		if (strcmp(value_text(key, "since"), "0.1") != 0)
			add_fact(ret, " Since ", value_text(key, "since"), ".");
		if (!venv_value_int(venv_value_get(key, "supported")))
			text_add(ret, " *Not supported yet.*");
		text_add(ret, "\n\n");
	}
}

static int add_file_page(struct cli *cli, struct text *ret)
{
	venv_value *keys = NULL;
	venv_error *err = NULL;

	if (venv_config_keys(&keys, &err) < 0)
		return cli_fail_with(cli, err);
	add_title(ret, "venv.yml", 5, "the machines of a project");
	text_add(ret, "@DESCRIPTION@\n# KEYS\n\n");
	add_keys(ret, keys);
	venv_value_free(keys);
	return 0;
}

static void list_pages(struct text *ret)
{
	text_add(ret, "venv.1\nvenv.yml.5\n");
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		if (!((*c)->flags & CLI_HIDDEN))
			text_format(ret, "venv-%s.1\n", (*c)->name);
}

int man_print(struct cli *cli, const char *name)
{
	_cleanup_text_ struct text page = { 0 };
	const struct cli_command *command = NULL;
	int status = 0;

	if (name && !strncmp(name, "venv-", 5))
		command = cli_find_command(cli_commands, name + 5);
	if (!name)
		list_pages(&page);
	else if (!strcmp(name, "venv"))
		add_main_page(&page);
	else if (!strcmp(name, "venv.yml"))
		status = add_file_page(cli, &page);
	else if (command)
		add_command_page(&page, command);
	else
		status =
			cli_usage(cli, "see 'venv help --list'", "there is no man page '%s'", name);
	if (!status && cli->format == FORMAT_JSON)
		json_result_text(cli, name ? "page" : "pages", page.data);
	else if (!status)
		out_text(&cli->out, page.data);
	return status;
}
