/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a machine or its file: logs, ssh-config, cp, validate, config. */
#include "commands.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct logs {
	bool follow;
};

static const struct cli_option logs_options[] = {
	CLI_FLAG('f', "follow", struct logs, follow, "go on until Ctrl-C"), CLI_END
};

/* Raw into a file or pipe; through us to a terminal and as JSON. */
static int run_logs(struct cli *cli, const void *opts, char **operands)
{
	const struct logs *logs = opts;
	struct session session = { .cli = cli, .only_looks = true };
	struct capture capture;
	const char *machine;
	venv_error *err = NULL;
	bool direct = cli->format == FORMAT_TEXT && !cli->out.tty;
	int status = cli_project(cli);

	if (!status)
		status = cli_one_machine(cli, operands[0], &machine);
	if (!status)
		status = capture_open(&capture, cli, machine, direct ? 0 : 1);
	if (status)
		return status;
	session.capture = &capture;
	if (venv_logs(cli->project, machine, direct ? STDOUT_FILENO : capture.write_fd[0],
		      logs->follow, &session.op, &err) < 0)
		status = cli_fail_with(cli, err);
	else
		status = session_run(&session);
	capture_close(&capture);
	venv_op_free(session.op);
	/* Ctrl-C is how following ends. */
	if (logs->follow && status == STATUS_INTERRUPTED)
		status = STATUS_OK;
	if (!status && cli->format == FORMAT_JSON)
		json_result_text(cli, "machine", machine);
	return status;
}

struct ssh_config {
	const char *host;
};

static const struct cli_option ssh_config_options[] = {
	CLI_STRING(0, "host", struct ssh_config, host, "NAME", WORD_NONE,
		   "name of the host in the block, instead of the machine's"),
	CLI_END
};

static void print_config(struct cli *cli, const char *machine, const char *text)
{
	_cleanup_text_ struct text line = { 0 };

	if (cli->format == FORMAT_VAGRANT) {
		vagrant_line(cli, machine, "ssh-config", text, NULL);
		return;
	}
	if (cli->format == FORMAT_TEXT) {
		out_block(&cli->out, "", text);
		return;
	}
	json_open(&line, "result");
	json_add_member(&line, "command", "ssh-config");
	text_add(&line, ",\"result\":{\"machine\":");
	text_add_json(&line, machine);
	json_add_member(&line, "config", text);
	text_add_char(&line, '}');
	json_close(cli, &line);
}

static int one_config(struct cli *cli, const char *machine, const char *host, venv_error **err)
{
	char *text = NULL;
	int r = venv_ssh_config(cli->project, machine, host, &text, err);

	if (r < 0)
		return r;
	print_config(cli, machine, text);
	venv_string_free(text);
	return 0;
}

/* Without a name: all machines that there are. */
static int all_configs(struct cli *cli)
{
	size_t printed = 0;
	venv_error *err = NULL, *first = NULL;

	for (size_t i = 0; i < venv_project_count(cli->project); i++) {
		err = NULL;
		if (one_config(cli, venv_project_machine(cli->project, i), NULL, &err) == 0)
			printed++;
		else if (!first)
			first = err;
		else
			venv_error_free(err);
	}
	if (!printed && first)
		return cli_fail_with(cli, first);
	venv_error_free(first);
	return STATUS_OK;
}

static int run_ssh_config(struct cli *cli, const void *opts, char **operands)
{
	const struct ssh_config *o = opts;
	const char *machine;
	venv_error *err = NULL;
	int status = cli_project(cli);

	if (status)
		return status;
	if (!operands[0] && !o->host)
		return all_configs(cli);
	status = cli_one_machine(cli, operands[0], &machine);
	if (status)
		return status;
	return one_config(cli, machine, o->host, &err) < 0 ? cli_fail_with(cli, err) : STATUS_OK;
}

static int run_cp(struct cli *cli, const void *opts, char **operands)
{
	_cleanup_drive_ struct drive drive;
	venv_error *err = NULL;
	venv_op *op = NULL;
	int status;

	(void)opts;
	drive_init(&drive, cli);
	status = cli_project(cli);
	if (status)
		return status;
	if (venv_copy(cli->project, operands[0], operands[1], &op, &err) < 0)
		return cli_fail_with(cli, err);
	status = drive_run(&drive, op);
	if (!status && cli->format == FORMAT_JSON)
		json_result(cli, venv_op_result(op));
	return status;
}

static int run_validate(struct cli *cli, const void *opts, char **operands)
{
	_cleanup_text_ struct text line = { 0 };
	size_t count;
	int status = cli_project(cli);

	(void)opts;
	(void)operands;
	if (status)
		return status;
	count = venv_project_count(cli->project);
	if (cli->format == FORMAT_JSON) {
		json_open(&line, "result");
		json_add_member(&line, "command", "validate");
		text_add(&line, ",\"result\":{\"project\":");
		text_add_json(&line, venv_project_name(cli->project));
		json_add_member(&line, "dir", venv_project_dir(cli->project));
		text_add(&line, ",\"machines\":[");
		for (size_t i = 0; i < count; i++) {
			text_add(&line, i ? "," : "");
			text_add_json(&line, venv_project_machine(cli->project, i));
		}
		text_add(&line, "]}");
		json_close(cli, &line);
		return STATUS_OK;
	}
	out_printf(&cli->out, "project %s is valid: %lu machine%s (",
		   venv_project_name(cli->project), (unsigned long)count, count == 1 ? "" : "s");
	for (size_t i = 0; i < count; i++)
		out_printf(&cli->out, "%s%s", i ? ", " : "", venv_project_machine(cli->project, i));
	out_text(&cli->out, ")\n");
	return STATUS_OK;
}

static int run_schema(struct cli *cli, const void *opts, char **operands)
{
	char *schema = NULL;
	venv_error *err = NULL;

	(void)opts;
	(void)operands;
	if (venv_config_schema(&schema, &err) < 0)
		return cli_fail_with(cli, err);
	if (cli->format == FORMAT_JSON) {
		_cleanup_text_ struct text line = { 0 };

		json_open(&line, "result");
		json_add_member(&line, "command", "config schema");
		text_add(&line, ",\"result\":");
		for (const char *p = schema; *p; p++) /* a line end in JSON is between words only */
			text_add_char(&line, *p == '\n' ? ' ' : *p);
		json_close(cli, &line);
		venv_string_free(schema);
		return STATUS_OK;
	}
	out_text(&cli->out, schema);
	if (!*schema || schema[strlen(schema) - 1] != '\n')
		out_text(&cli->out, "\n");
	venv_string_free(schema);
	return STATUS_OK;
}

static int run_keys(struct cli *cli, const void *opts, char **operands)
{
	static const char *const columns[] = { "section", "key", "type", "default", "doc" };
	_cleanup_table_ struct table table = TABLE_INIT(ARRAY_SIZE(columns));
	venv_value *keys = NULL;
	venv_error *err = NULL;

	(void)opts;
	(void)operands;
	if (venv_config_keys(&keys, &err) < 0)
		return cli_fail_with(cli, err);
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		table_add(&table, STYLE_BOLD, "%s",
			  ((const char *[]){ "SECTION", "KEY", "TYPE", "DEFAULT", "MEANING" })[i]);
	for (size_t i = 0; i < venv_value_count(keys); i++)
		for (size_t j = 0; j < ARRAY_SIZE(columns); j++)
			table_add(&table, j == 1 ? STYLE_BOLD : STYLE_NONE, "%s",
				  j == 4 ? value_text(venv_value_at(keys, i), columns[j])
					 : value_or_dash(venv_value_at(keys, i), columns[j]));
	if (cli->format == FORMAT_JSON)
		json_result(cli, keys);
	else
		table_print(&table, &cli->out);
	venv_value_free(keys);
	return STATUS_OK;
}

const struct cli_command cli_cmd_logs = {
	.name = "logs",
	.group = GROUP_LOOK,
	.operands = "[MACHINE]",
	.max = 1,
	.word = WORD_MACHINE,
	.summary = "show the console of a machine",
	.options = logs_options,
	.options_size = sizeof(struct logs),
	.run = run_logs,
};

const struct cli_command cli_cmd_ssh_config = {
	.name = "ssh-config",
	.group = GROUP_LOOK,
	.operands = "[MACHINE]",
	.max = 1,
	.word = WORD_MACHINE,
	.summary = "print a block for the OpenSSH client",
	.description =
		"Prints what ssh, scp, sftp, rsync and editors need to reach a machine; without "
		"MACHINE a block for each machine that exists.",
	.examples = "venv ssh-config >> ~/.ssh/config\n"
		    "venv ssh-config > cfg && ssh -F cfg web\n",
	.options = ssh_config_options,
	.options_size = sizeof(struct ssh_config),
	.flags = CLI_VAGRANT,
	.run = run_ssh_config,
};

const struct cli_command cli_cmd_cp = {
	.name = "cp",
	.group = GROUP_MACHINES,
	.operands = "FROM TO",
	.min = 2,
	.max = 2,
	.word = WORD_FILE,
	.summary = "copy a file or directory into or out of a machine",
	.description = "One of FROM and TO is MACHINE:PATH, or :PATH for the primary machine.",
	.examples = "venv cp backup.sql db:/tmp/\n"
		    "venv cp :/var/log/syslog .\n",
	.run = run_cp,
};

const struct cli_command cli_cmd_validate = {
	.name = "validate",
	.group = GROUP_FILE,
	.summary = "check venv.yml",
	.run = run_validate,
};

static const struct cli_command config_schema = {
	.name = "schema",
	.summary = "print a JSON Schema of venv.yml, for editors",
	.examples = "venv config schema > venv.schema.json\n",
	.run = run_schema,
};

static const struct cli_command config_keys = {
	.name = "keys",
	.summary = "list the keys of venv.yml",
	.run = run_keys,
};

static const struct cli_command *const config_commands[] = { &config_schema, &config_keys, NULL };

const struct cli_command cli_cmd_config = {
	.name = "config",
	.group = GROUP_FILE,
	.operands = "COMMAND",
	.summary = "about the keys of venv.yml",
	.subcommands = config_commands,
};
