/* SPDX-License-Identifier: Apache-2.0 */
/* What commands share: the context and the project, opened when they are needed; questions. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

static int open_project(struct cli *cli, venv_error **err)
{
	venv_project_options options = VENV_PROJECT_OPTIONS_INIT;

	options.file = cli->file;
	options.set = cli->set;
	return venv_project_open(cli->ctx, &options, &cli->project, err);
}

int cli_project(struct cli *cli)
{
	venv_error *err = NULL;
	int status = cli_context(cli);

	if (status || cli->project)
		return status;
	return open_project(cli, &err) < 0 ? cli_fail_with(cli, err) : 0;
}

static bool is_wanted(const venv_value *machine, const char *directory, char **names)
{
	if (strcmp(value_text(machine, "directory"), directory) != 0)
		return false;
	for (char **name = names; *name; name++)
		if (strcmp(*name, value_text(machine, "name")) == 0)
			return true;
	return !*names;
}

/* The directory of the file that is at fault, or where one was looked for. NULL: unknown. */
static char *directory_at_fault(const venv_error *error)
{
	const char *file = venv_error_file(error);
	const char *slash = file && *file == '/' ? strrchr(file, '/') : NULL;

	if (file)
		return slash ? strndup(file, slash == file ? 1 : (size_t)(slash - file)) : NULL;
	return venv_error_code(error) == VENV_ERR_NOT_FOUND ? getcwd(NULL, 0) : NULL;
}

/* "'venv destroy --id 5f1c2d3' does without the file" */
static void add_way_by_id(struct cli *cli, const venv_error *error, char **names, struct text *ret)
{
	char *directory = directory_at_fault(error);
	venv_value *list = NULL;
	bool any = false;

	if (directory && venv_global_status(cli->ctx, &list, NULL) == 0)
		for (size_t i = 0; i < venv_value_count(list); i++) {
			const venv_value *machine = venv_value_at(list, i);

			if (!is_wanted(machine, directory, names))
				continue;
			text_format(ret, "%s'venv %s --id %.7s' (%s)", any ? ", " : "",
				    cli->command->name, value_text(machine, "id"),
				    value_text(machine, "name"));
			any = true;
		}
	if (!any && venv_error_code(error) == VENV_ERR_CONFIG)
		text_format(ret, "'venv %s --id ID', with the ID from 'venv global-status',",
			    cli->command->name);
	if (ret->length)
		text_add(ret, " does without venv.yml");
	venv_value_free(list);
	free(directory);
}

int cli_project_or_id(struct cli *cli, char **names)
{
	_cleanup_text_ struct text way = { 0 };
	venv_error *err = NULL;
	int status = cli_context(cli);

	if (status || cli->project)
		return status;
	if (open_project(cli, &err) == 0)
		return 0;
	add_way_by_id(cli, err, names, &way);
	return cli_fail_hinting(cli, err, way.length ? way.data : NULL);
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
