/* SPDX-License-Identifier: Apache-2.0 */
/* What commands share: the context and the project, opened when they are needed; questions. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void log_line(void *user, int level, const char *message)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	struct text line = { 0 };

	(void)user;
	/* May come from any thread: one write, nothing shared. */
	text_format(&line, "%s: %s\n", level >= 0 && level <= VENV_LOG_DEBUG ? names[level] : "log",
		    message);
	if (write(STDERR_FILENO, line.data, line.length) < 0)
		errno = 0;
	text_done(&line);
}

int cli_context(struct cli *cli)
{
	venv_error *err = NULL;

	if (cli->ctx)
		return 0;
	if (venv_new(NULL, &cli->ctx, &err) < 0)
		return cli_fail_with(cli, err);
	if (cli->verbose)
		venv_set_log(cli->ctx, log_line, NULL,
			     cli->verbose > 1 ? VENV_LOG_DEBUG : VENV_LOG_INFO);
	return 0;
}

int cli_project(struct cli *cli)
{
	venv_project_options options = VENV_PROJECT_OPTIONS_INIT;
	venv_error *err = NULL;
	int status = cli_context(cli);

	if (status || cli->project)
		return status;
	options.file = cli->file;
	options.set = cli->set;
	if (venv_project_open(cli->ctx, &options, &cli->project, &err) < 0)
		return cli_fail_with(cli, err);
	return 0;
}

bool cli_interactive(const struct cli *cli)
{
	return cli->format == FORMAT_TEXT && cli->out.tty && isatty(STDIN_FILENO);
}

bool cli_ask(struct cli *cli, const char *format, ...)
{
	char answer[16] = "";
	va_list args;

	if (!cli_interactive(cli))
		return false;
	va_start(args, format);
	text_vformat(&cli->out.buffer, format, args);
	va_end(args);
	out_text(&cli->out, " [y/N] ");
	out_flush(&cli->out);
	if (!fgets(answer, sizeof(answer), stdin)) {
		out_text(&cli->out, "\n");
		return false;
	}
	return answer[0] == 'y' || answer[0] == 'Y';
}
