/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of a machine. */
#include "commands.h"

#include <string.h>
#include <time.h>

struct options {
	bool no_wait;
};

static const struct cli_option plain_options[] = { CLI_FLAG(0, "no-wait", struct options, no_wait,
							    "fail when another command is at work"),
						   CLI_END };

typedef int (*snapshot_fn)(venv_project *project, const char *machine, const char *name,
			   uint32_t flags, venv_op **op, venv_error **err);

/* operands: NAME [MACHINE] */
static int run_verb(struct cli *cli, const void *opts, char **operands, snapshot_fn verb,
		    const char *done)
{
	const struct options *options = opts;
	_cleanup_drive_ struct drive drive;
	const char *machine = NULL;
	venv_error *err = NULL;
	venv_op *op = NULL;
	int status;

	drive_init(&drive, cli);
	status = cli_project(cli);
	if (!status)
		status = cli_one_machine(cli, operands[1], &machine);
	if (status)
		return status;
	if (verb(cli->project, machine, operands[0], options->no_wait ? VENV_NO_WAIT : 0, &op,
		 &err) < 0)
		return cli_fail_with(cli, err);
	status = drive_run(&drive, op);
	if (status)
		return status;
	if (cli->format == FORMAT_JSON)
		json_result(cli, NULL);
	else if (!cli->quiet)
		out_printf(&cli->out, "snapshot %s of %s is %s\n", operands[0], machine, done);
	return STATUS_OK;
}

static int run_save(struct cli *cli, const void *opts, char **operands)
{
	return run_verb(cli, opts, operands, venv_snapshot_save, "saved");
}

static int run_restore(struct cli *cli, const void *opts, char **operands)
{
	return run_verb(cli, opts, operands, venv_snapshot_restore, "restored");
}

static int run_delete(struct cli *cli, const void *opts, char **operands)
{
	return run_verb(cli, opts, operands, venv_snapshot_delete, "deleted");
}

static void add_time(struct table *table, int64_t seconds)
{
	time_t when = (time_t)seconds;
	char text[32] = "-";
	struct tm local;

	if (localtime_r(&when, &local))
		(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
	table_add(table, STYLE_NONE, "%s", text);
}

static void print_list(struct cli *cli, const venv_value *list)
{
	static const char *const heading[] = { "NAME", "TAKEN", "STATE", "SIZE" };
	_cleanup_table_ struct table table = TABLE_INIT(ARRAY_SIZE(heading));

	for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
		table_add(&table, STYLE_BOLD, "%s", heading[i]);
	for (size_t i = 0; i < venv_value_count(list); i++) {
		const venv_value *snapshot = venv_value_at(list, i);
		_cleanup_text_ struct text size = { 0 };

		text_add_bytes(&size, (uint64_t)value_number(snapshot, "size"));
		table_add(&table, STYLE_NONE, "%s", value_text(snapshot, "name"));
		add_time(&table, value_number(snapshot, "created"));
		table_add(&table, STYLE_NONE, "%s", value_or_dash(snapshot, "state"));
		table_add(&table, STYLE_NONE, "%s", size.data);
	}
	table_print(&table, &cli->out);
}

static int run_list(struct cli *cli, const void *opts, char **operands)
{
	const char *machine = NULL;
	venv_value *list = NULL;
	venv_error *err = NULL;
	int status = cli_project(cli);

	(void)opts;
	if (!status)
		status = cli_one_machine(cli, operands[0], &machine);
	if (status)
		return status;
	if (venv_snapshot_list(cli->project, machine, &list, &err) < 0)
		return cli_fail_with(cli, err);
	if (cli->format == FORMAT_JSON)
		json_result(cli, list);
	else if (venv_value_count(list))
		print_list(cli, list);
	else
		out_printf(&cli->out, "%s has no snapshot\n", machine);
	venv_value_free(list);
	return STATUS_OK;
}

#define VERB(symbol, verb, text, more, callback)                                                   \
	static const struct cli_command symbol = {                                                 \
		.name = verb,                                                                      \
		.operands = "NAME [MACHINE]",                                                      \
		.min = 1,                                                                          \
		.max = 2,                                                                          \
		.word = WORD_SNAPSHOT,                                                             \
		.summary = text,                                                                   \
		.description = more,                                                               \
		.options = plain_options,                                                          \
		.options_size = sizeof(struct options),                                            \
		.run = callback,                                                                   \
	}

VERB(snapshot_save, "save", "take a snapshot",
     "A machine that runs stands still meanwhile and then goes on; its memory is kept with its disk. Shared "
     "folders and named volumes are not part of a snapshot.",
     run_save);
VERB(snapshot_restore, "restore", "go back to a snapshot",
     "What the machine did and wrote since then is gone. It is then as it was: running, suspended or "
     "stopped. The snapshot stays.",
     run_restore);

static const struct cli_command snapshot_list = {
	.name = "list",
	.alias = "ls",
	.operands = "[MACHINE]",
	.max = 1,
	.word = WORD_MACHINE,
	.summary = "list the snapshots of a machine, the oldest first",
	.run = run_list,
};

static const struct cli_command snapshot_delete = {
	.name = "delete",
	.alias = "rm",
	.operands = "NAME [MACHINE]",
	.min = 1,
	.max = 2,
	.word = WORD_SNAPSHOT,
	.summary = "delete a snapshot",
	.options = plain_options,
	.options_size = sizeof(struct options),
	.run = run_delete,
};

static const struct cli_command *const snapshot_commands[] = {
	&snapshot_save, &snapshot_restore, &snapshot_list, &snapshot_delete, NULL,
};

const struct cli_command cli_cmd_snapshot = {
	.name = "snapshot",
	.group = GROUP_MACHINES,
	.operands = "COMMAND",
	.summary = "keep a machine as it is, and go back to it",
	.description = "For virtual machines. Without MACHINE: the primary one.",
	.examples = "venv snapshot save before-upgrade\n"
		    "venv snapshot restore before-upgrade  # and all of it never was\n",
	.subcommands = snapshot_commands,
};
