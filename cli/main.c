/* SPDX-License-Identifier: Apache-2.0 */
/* The venv command. Nothing is done at start that the command does not need. */
#include "commands.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void open_outputs(struct cli *cli)
{
	enum color_when when = COLOR_AUTO;

	if (cli->color)
		when = !strcmp(cli->color, "always")  ? COLOR_ALWAYS
		       : !strcmp(cli->color, "never") ? COLOR_NEVER
						      : COLOR_AUTO;
	out_open(&cli->out, STDOUT_FILENO, when);
	out_open(&cli->err, STDERR_FILENO, when);
}

static int no_command(struct cli *cli)
{
	if (cli->help) {
		help_print_all(cli, &cli->out);
		return STATUS_OK;
	}
	if (cli->format != FORMAT_TEXT)
		return cli_usage(cli, "see 'venv help'", "a command is missing");
	help_print_all(cli, &cli->err);
	return STATUS_USAGE;
}

static int run(struct cli *cli)
{
	if (cli->dir && chdir(cli->dir) < 0)
		return cli_fail(cli, VENV_ERR_NOT_FOUND, NULL, "cannot go to directory '%s': %s",
				cli->dir, strerror(errno));
	if (cli->version)
		return cli_cmd_version.run(cli, NULL, NULL);
	if (!cli->command)
		return no_command(cli);
	if (cli->help) {
		help_print(cli, &cli->out, cli->parent, cli->command);
		return STATUS_OK;
	}
	return cli->command->run(cli, cli->options, cli->operands);
}

/* A handler, not SIG_IGN: programs that are started from here begin with the default again. */
static void ignore_signal(int number)
{
	(void)number;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = ignore_signal, .sa_flags = SA_RESTART };
	struct cli cli = { 0 };
	int status;

	/* Who reads may go away (`venv up | head`): the work goes on. */
	(void)sigaction(SIGPIPE, &action, NULL);
	open_outputs(&cli);
	status = cli_parse(&cli, argc, argv);
	if (!status) {
		open_outputs(&cli);
		status = run(&cli);
	}
	venv_project_free(cli.project);
	venv_free(cli.ctx);
	out_done(&cli.out);
	out_done(&cli.err);
	cli_parse_done(&cli);
	return status;
}
