/* SPDX-License-Identifier: Apache-2.0 */
/* About this host and this program: doctor, version, help. */
#include "commands.h"

#include <string.h>

enum verdict { VERDICT_OK, VERDICT_WARNING, VERDICT_FAILED };

static enum verdict verdict_of(const venv_value *check)
{
	const char *status = value_text(check, "status");

	if (!strcmp(status, "ok"))
		return VERDICT_OK;
	return strcmp(status, "warning") ? VERDICT_FAILED : VERDICT_WARNING;
}

static void print_check(struct cli *cli, const venv_value *check)
{
	static const enum style styles[] = { STYLE_GREEN, STYLE_YELLOW, STYLE_RED };
	static const char *const marks[] = { "✓", "!", "✗" }, *const words[] = { "ok", "!!", "no" };
	enum verdict verdict = verdict_of(check);
	const char *provider = value_text(check, "provider");

	out_styled(&cli->out, styles[verdict], "%s",
		   cli->out.utf8 ? marks[verdict] : words[verdict]);
	out_text(&cli->out, " ");
	if (*provider)
		out_printf(&cli->out, "%s: ", provider);
	out_styled(&cli->out, STYLE_BOLD, "%s", value_text(check, "check"));
	if (*value_text(check, "message"))
		out_printf(&cli->out, ": %s", value_text(check, "message"));
	out_text(&cli->out, "\n");
	if (verdict != VERDICT_OK && *value_text(check, "fix")) {
		out_styled(&cli->out, STYLE_CYAN, "    fix:");
		out_printf(&cli->out, " %s\n", value_text(check, "fix"));
	}
}

static int run_doctor(struct cli *cli, const void *opts, char **operands)
{
	size_t count[3] = { 0 };
	venv_value *list = NULL;
	venv_error *err = NULL;
	int status = cli_context(cli);

	(void)opts;
	(void)operands;
	if (status)
		return status;
	if (venv_doctor(cli->ctx, &list, &err) < 0)
		return cli_fail_with(cli, err);
	for (size_t i = 0; i < venv_value_count(list); i++) {
		count[verdict_of(venv_value_at(list, i))]++;
		if (cli->format == FORMAT_TEXT)
			print_check(cli, venv_value_at(list, i));
	}
	if (cli->format == FORMAT_JSON)
		json_result(cli, list);
	venv_value_free(list);
	return count[VERDICT_FAILED] ? venv_code_exit_status(VENV_ERR_HOST) : STATUS_OK;
}

static int run_version(struct cli *cli, const void *opts, char **operands)
{
	_cleanup_text_ struct text line = { 0 };

	(void)opts;
	(void)operands;
	if (cli->format == FORMAT_JSON) {
		json_open(&line, "result");
		json_add_member(&line, "command", "version");
		text_format(&line, ",\"result\":{\"version\":\"%s\",\"library\":\"%s\"}",
			    CLI_VERSION, venv_version());
		json_close(cli, &line);
		return STATUS_OK;
	}
	out_printf(&cli->out, "venv %s\n", CLI_VERSION);
	if (strcmp(venv_version(), CLI_VERSION) != 0)
		out_printf(&cli->out, "libvenv %s\n", venv_version());
	return STATUS_OK;
}

struct help {
	const char *man;
	bool list;
};

static const struct cli_option help_options[] = {
	CLI_STRING(0, "man", struct help, man, "PAGE", WORD_NONE,
		   "print the source of a man page: venv, venv-COMMAND or venv.yml"),
	CLI_FLAG(0, "list", struct help, list, "list the man pages"), CLI_END
};

static int run_help(struct cli *cli, const void *opts, char **operands)
{
	const struct cli_command *const *commands = cli_commands;
	const struct cli_command *parent = NULL, *found = NULL;
	const struct help *help = opts;

	if (help->man || help->list)
		return man_print(cli, help->man);
	for (; *operands; operands++) {
		parent = found;
		found = cli_find_command(commands, *operands);
		if (!found)
			return cli_usage(cli, "see 'venv help'", "unknown command '%s'", *operands);
		commands = found->subcommands;
	}
	if (found)
		help_print(cli, &cli->out, parent, found);
	else
		help_print_all(cli, &cli->out);
	return STATUS_OK;
}

const struct cli_command cli_cmd_doctor = {
	.name = "doctor",
	.group = GROUP_HOST,
	.summary = "check what this host can do, and how to mend it",
	.run = run_doctor,
};

const struct cli_command cli_cmd_version = {
	.name = "version",
	.group = GROUP_HOST,
	.summary = "print the version",
	.run = run_version,
};

const struct cli_command cli_cmd_help = {
	.name = "help",
	.group = GROUP_HOST,
	.operands = "[COMMAND...]",
	.max = 2,
	.word = WORD_COMMAND,
	.summary = "explain a command",
	.options = help_options,
	.options_size = sizeof(struct help),
	.run = run_help,
};
