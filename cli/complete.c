/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion. The scripts for the shells only pass the words on to `venv __complete`, which answers
 * from the tables and, for names, from the project: a word a line, a tab, what it means. The line
 * ":files" or ":dirs" leaves it to the shell.
 */
#include "commands.h"

#include <string.h>

struct words {
	const struct cli_command *parent, *command;
	const struct cli_option *pending; /* the option whose argument is being typed */
	const char *last;
	size_t operands;
	bool after_dashes;
	struct cli globals;
};

static void offer(struct cli *cli, const char *prefix, const char *word, const char *doc)
{
	if (strncmp(word, prefix, strlen(prefix)) != 0)
		return;
	out_printf(&cli->out, doc ? "%s\t%s\n" : "%s%s\n", word, doc ? doc : "");
}

static void offer_list(struct cli *cli, const char *prefix, const venv_value *list)
{
	for (size_t i = 0; i < venv_value_count(list); i++)
		offer(cli, prefix, value_text(venv_value_at(list, i), "name"), NULL);
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

static void offer_machines(struct cli *cli, const struct words *words, const char *suffix)
{
	if (!open_project(cli, words))
		return;
	for (size_t i = 0; i < venv_project_count(cli->project); i++) {
		_cleanup_text_ struct text name = { 0 };

		text_format(&name, "%s%s", venv_project_machine(cli->project, i), suffix);
		offer(cli, words->last, name.data, NULL);
	}
}

static void offer_boxes(struct cli *cli, const struct words *words)
{
	venv_value *list = NULL;

	if (!cli->ctx && venv_new(NULL, &cli->ctx, NULL) < 0)
		return;
	if (venv_box_list(cli->ctx, &list, NULL) == 0)
		offer_list(cli, words->last, list);
	venv_value_free(list);
}

static void offer_volumes(struct cli *cli, const struct words *words)
{
	venv_value *list = NULL;

	if (open_project(cli, words) && venv_volume_list(cli->project, &list, NULL) == 0)
		offer_list(cli, words->last, list);
	venv_value_free(list);
}

static void offer_commands(struct cli *cli, const struct words *words,
			   const struct cli_command *const *commands)
{
	for (; commands && *commands; commands++)
		if (!((*commands)->flags & CLI_HIDDEN))
			offer(cli, words->last, (*commands)->name, (*commands)->summary);
}

static void offer_word(struct cli *cli, const struct words *words, enum cli_word word)
{
	switch (word) {
	case WORD_MACHINE:
		offer_machines(cli, words, "");
		break;
	case WORD_BOX:
		offer_boxes(cli, words);
		break;
	case WORD_VOLUME:
		offer_volumes(cli, words);
		break;
	case WORD_COMMAND:
		offer_commands(cli, words, cli_commands);
		break;
	case WORD_FILE:
		if (words->command == &cli_cmd_cp)
			offer_machines(cli, words, ":");
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
		offer(cli, words->last, name.data, options->doc);
	}
}

static const struct cli_option *find_option(const struct cli_option *options, const char *word)
{
	for (; options && options->kind != CLI_KIND_END; options++)
		if ((word[1] == '-' && !strcmp(word + 2, options->name)) ||
		    (word[1] == options->letter && options->letter && !word[2]))
			return options;
	return NULL;
}

static void read_word(struct words *words, const char *word)
{
	const struct cli_command *found;

	if (words->pending) {
		if (!strcmp(words->pending->name, "file"))
			words->globals.file = word;
		if (!strcmp(words->pending->name, "directory"))
			words->globals.dir = word;
		words->pending = NULL;
		return;
	}
	if (!strcmp(word, "--")) {
		words->after_dashes = true;
		return;
	}
	if (word[0] == '-') {
		words->pending = words->command ? find_option(words->command->options, word) : NULL;
		if (!words->pending)
			words->pending = find_option(cli_global_options, word);
		if (words->pending && !words->pending->argument)
			words->pending = NULL;
		return;
	}
	if (words->command && !words->command->subcommands) {
		words->operands++;
		return;
	}
	found = cli_find_command(words->command ? words->command->subcommands : cli_commands, word);
	if (found) {
		words->parent = words->command;
		words->command = found;
	}
}

static void offer_choices(struct cli *cli, const struct words *words, const char *const *choices)
{
	for (; *choices; choices++)
		offer(cli, words->last, *choices, NULL);
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
	} else if (words->operands < command->max) {
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

	(void)opts;
	(void)operands;
	for (; rest && *rest; rest++) {
		if (rest[1])
			read_word(&words, *rest);
		else
			words.last = *rest;
	}
	answer(cli, &words);
	return STATUS_OK;
}

static const char bash_script[] =
	"# bash completion of venv: eval \"$(venv completion bash)\"\n"
	"_venv() {\n"
	"\tlocal IFS=$'\\n' line cur=${COMP_WORDS[COMP_CWORD]}\n"
	"\tCOMPREPLY=()\n"
	"\tfor line in $(venv __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null); do\n"
	"\t\tcase $line in\n"
	"\t\t:files) compopt -o default 2>/dev/null; COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n"
	"\t\t:dirs) compopt -o dirnames 2>/dev/null; COMPREPLY+=($(compgen -d -- \"$cur\")) ;;\n"
	"\t\t*) COMPREPLY+=(\"${line%%$'\\t'*}\") ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"}\n"
	"complete -F _venv venv\n";

static const char zsh_script[] =
	"#compdef venv\n"
	"# zsh completion of venv: source <(venv completion zsh)\n"
	"_venv() {\n"
	"\tlocal line\n"
	"\tlocal -a found\n"
	"\tfor line in ${(f)\"$(venv __complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)\"}; do\n"
	"\t\tcase $line in\n"
	"\t\t:files) _files ;;\n"
	"\t\t:dirs) _files -/ ;;\n"
	"\t\t*$'\\t'*) found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\") ;;\n"
	"\t\t*) found+=(\"${line//:/\\\\:}\") ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t(( ${#found} )) && _describe venv found\n"
	"}\n"
	"if [ \"$funcstack[1]\" = _venv ]; then _venv \"$@\"; else compdef _venv venv; fi\n";

static const char fish_script[] = "# fish completion of venv: venv completion fish | source\n"
				  "function __venv_complete\n"
				  "\tset -l words (commandline -opc)[2..] (commandline -ct)\n"
				  "\tfor line in (venv __complete -- $words 2>/dev/null)\n"
				  "\t\tswitch $line\n"
				  "\t\tcase ':files'\n"
				  "\t\t\t__fish_complete_path (commandline -ct)\n"
				  "\t\tcase ':dirs'\n"
				  "\t\t\t__fish_complete_directories (commandline -ct)\n"
				  "\t\tcase '*'\n"
				  "\t\t\techo $line\n"
				  "\t\tend\n"
				  "\tend\n"
				  "end\n"
				  "complete -c venv -f -a '(__venv_complete)'\n";

static int run_completion(struct cli *cli, const void *opts, char **operands)
{
	static const struct {
		const char *shell, *script;
	} scripts[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };

	(void)opts;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++)
		if (!strcmp(scripts[i].shell, operands[0])) {
			if (cli->format == FORMAT_JSON)
				json_result_text(cli, "script", scripts[i].script);
			else
				out_text(&cli->out, scripts[i].script);
			return STATUS_OK;
		}
	return cli_usage(cli, "give bash, zsh or fish", "no completion for '%s'", operands[0]);
}

static const char *const shells[] = { "bash", "zsh", "fish", NULL };

const struct cli_command cli_cmd_completion = {
	.name = "completion",
	.group = GROUP_HOST,
	.operands = "bash|zsh|fish",
	.min = 1,
	.max = 1,
	.choices = shells,
	.summary = "print the completion script of a shell",
	.examples = "eval \"$(venv completion bash)\"\n"
		    "source <(venv completion zsh)\n"
		    "venv completion fish | source\n",
	.run = run_completion,
};

const struct cli_command cli_cmd_complete = {
	.name = "__complete",
	.group = GROUP_HOST,
	.summary = "answer a shell's completion",
	.flags = CLI_HIDDEN | CLI_TAKES_COMMAND,
	.run = run_complete,
};
