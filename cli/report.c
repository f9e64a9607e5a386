/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong, in the form that was asked for. */
#include "cli.h"
#include "quote.h"

#include <string.h>
#include <unistd.h>

/* An error of the library or of ours. Strings are NULL where there is nothing to say. */
struct report {
	const char *code;
	int status;
	const char *message;
	const char *hint;
	const char *file;
	unsigned line, column;
	const char *machine;
	const char *details;
	const char *origin;
};

static void print_json(struct cli *cli, const struct report *report)
{
	_cleanup_text_ struct text line = { 0 };

	json_open(&line, "error");
	json_add_member(&line, "code", report->code);
	json_add_number(&line, "status", (uint64_t)report->status);
	json_add_member(&line, "message", report->message);
	json_add_member(&line, "hint", report->hint);
	json_add_member(&line, "file", report->file);
	if (report->line)
		json_add_number(&line, "line", report->line);
	if (report->column)
		json_add_number(&line, "column", report->column);
	json_add_member(&line, "machine", report->machine);
	json_add_member(&line, "details", report->details);
	if (cli->verbose)
		json_add_member(&line, "origin", report->origin);
	json_close(cli, &line);
}

/* A path as the user would write it from here. */
static const char *relative(const char *path, char *cwd, size_t size)
{
	size_t n;

	if (!getcwd(cwd, size))
		return path;
	n = strlen(cwd);
	return !strncmp(path, cwd, n) && path[n] == '/' ? path + n + 1 : path;
}

static void print_place(struct cli *cli, const struct report *report)
{
	char cwd[4096];

	out_printf(&cli->err, "%s:", relative(report->file, cwd, sizeof(cwd)));
	if (report->line)
		out_printf(&cli->err, "%u:", report->line);
	if (report->line && report->column)
		out_printf(&cli->err, "%u:", report->column);
	out_text(&cli->err, " ");
}

static void print_quote(struct cli *cli, const struct report *report)
{
	_cleanup_text_ struct text line = { 0 };
	_cleanup_text_ struct text quote = { 0 };
	unsigned rows, columns;

	if (!report->file || !report->line || !quote_read(report->file, report->line, &line))
		return;
	terminal_size(cli->err.fd, &rows, &columns);
	quote_line(&quote, text_string(&line), report->line, report->column, columns,
		   out_ellipsis(&cli->err));
	out_text(&cli->err, quote.data);
}

/* Does the message begin with the machine's name already? */
static bool names_machine(const struct report *report)
{
	size_t n = strlen(report->machine);

	return strstr(report->message, report->machine) &&
	       (!strncmp(report->message, report->machine, n) ||
		strstr(report->message, "machine '"));
}

static void print_text(struct cli *cli, const struct report *report)
{
	struct output *err = &cli->err;

	out_flush(&cli->out);
	out_style(err, STYLE_RED);
	out_styled(err, STYLE_BOLD, "error:");
	out_text(err, " ");
	if (report->file)
		print_place(cli, report);
	if (report->machine && !report->file && !names_machine(report))
		out_printf(err, "%s: ", report->machine);
	out_printf(err, "%s\n", report->message);
	print_quote(cli, report);
	if (report->details) {
		out_style(err, STYLE_DIM);
		out_block(err, "    | ", report->details);
		out_style(err, STYLE_NONE);
	}
	if (report->hint) {
		out_styled(err, STYLE_CYAN, "hint:");
		out_printf(err, " %s\n", report->hint);
	}
	if (cli->verbose && report->origin)
		out_styled(err, STYLE_DIM, "origin: %s\n", report->origin);
	out_flush(err);
}

static int print(struct cli *cli, const struct report *report)
{
	if (cli->format == FORMAT_JSON) {
		print_json(cli, report);
	} else if (cli->format == FORMAT_VAGRANT) {
		vagrant_line(cli, report->machine, "ui", "error", report->message, NULL);
		vagrant_line(cli, report->machine, "error-exit", report->code, report->message,
			     NULL);
	} else {
		print_text(cli, report);
	}
	if (cli->own_failure && strcmp(report->code, "USAGE") != 0)
		return STATUS_OWN_FAILURE;
	return report->status;
}

static int print_own(struct cli *cli, struct report *report, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

static int print_own(struct cli *cli, struct report *report, const char *format, va_list args)
{
	_cleanup_text_ struct text message = { 0 };

	text_vformat(&message, format, args);
	report->message = text_string(&message);
	return print(cli, report);
}

int cli_usage(struct cli *cli, const char *hint, const char *format, ...)
{
	struct report report = { .code = "USAGE", .status = STATUS_USAGE, .hint = hint };
	va_list args;
	int status;

	va_start(args, format);
	status = print_own(cli, &report, format, args);
	va_end(args);
	return status;
}

int cli_fail(struct cli *cli, int code, const char *hint, const char *format, ...)
{
	struct report report = { .code = venv_code_name(code),
				 .status = venv_code_exit_status(code),
				 .hint = hint };
	va_list args;
	int status;

	va_start(args, format);
	status = print_own(cli, &report, format, args);
	va_end(args);
	return status;
}

/* more: another hint, or NULL. */
static int print_error(struct cli *cli, const venv_error *error, const char *more)
{
	_cleanup_text_ struct text hint = { 0 };
	struct report report = {
		.code = venv_code_name(venv_error_code(error)),
		.status = venv_code_exit_status(venv_error_code(error)),
		.message = venv_error_message(error),
		.hint = venv_error_hint(error),
		.file = venv_error_file(error),
		.line = venv_error_line(error),
		.column = venv_error_column(error),
		.machine = venv_error_machine(error),
		.details = venv_error_details(error),
		.origin = venv_error_origin(error),
	};

	if (more) {
		if (report.hint && *report.hint)
			text_format(&hint, "%s%s ", report.hint,
				    report.hint[strlen(report.hint) - 1] == '?' ? "" : ";");
		text_add(&hint, more);
		report.hint = hint.data;
	}
	return print(cli, &report);
}

void report_error(struct cli *cli, const venv_error *error)
{
	(void)print_error(cli, error, NULL);
}

int cli_fail_hinting(struct cli *cli, venv_error *error, const char *more)
{
	int status = print_error(cli, error, more);

	venv_error_free(error);
	return status;
}

int cli_fail_with(struct cli *cli, venv_error *error)
{
	return cli_fail_hinting(cli, error, NULL);
}

void report_warning(struct cli *cli, const char *machine, const char *text)
{
	_cleanup_text_ struct text line = { 0 };

	if (cli->format == FORMAT_JSON) {
		json_open(&line, "warning");
		json_add_member(&line, "machine", machine);
		json_add_member(&line, "text", text);
		json_close(cli, &line);
		return;
	}
	if (cli->format == FORMAT_VAGRANT) {
		vagrant_line(cli, machine, "ui", "warn", text, NULL);
		return;
	}
	out_flush(&cli->out);
	out_styled(&cli->err, STYLE_YELLOW, "warning:");
	out_printf(&cli->err, machine ? " %s: %s\n" : " %s%s\n", machine ? machine : "", text);
	out_flush(&cli->err);
}
