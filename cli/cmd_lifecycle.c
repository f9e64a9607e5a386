/* SPDX-License-Identifier: Apache-2.0 */
/* What changes machines that exist: halt, reload, pause, suspend, resume, provision, destroy, repair. */
#include "commands.h"

#include <stdlib.h>
#include <string.h>

struct halt {
	bool force;
	bool no_wait;
	const char *id;
};

struct reload {
	bool provision;
	bool no_provision;
	bool no_wait;
	bool timings;
	struct cli_list set;
};

static const struct cli_option halt_options[] = {
	CLI_FLAG('f', "force", struct halt, force, "without asking the machine first"),
	CLI_FLAG(0, "no-wait", struct halt, no_wait, "fail when another command is at work"),
	CLI_STRING(0, "id", struct halt, id, "ID", WORD_NONE,
		   "the machine of this id, of any project"),
	CLI_END
};

static const struct cli_option plain_options[] = { CLI_FLAG(0, "no-wait", struct halt, no_wait,
							    "fail when another command is at work"),
						   CLI_END };

static const struct cli_option destroy_options[] = {
	CLI_FLAG('f', "force", struct halt, force, "do not ask"),
	CLI_FLAG(0, "no-wait", struct halt, no_wait, "fail when another command is at work"),
	CLI_STRING(0, "id", struct halt, id, "ID", WORD_NONE,
		   "the machine of this id, of any project"),
	CLI_END
};

static const struct cli_option reload_options[] = {
	CLI_FLAG(0, "provision", struct reload, provision, "run every provisioning step again"),
	CLI_FLAG(0, "no-provision", struct reload, no_provision, "run no provisioning step"),
	CLI_FLAG(0, "timings", struct reload, timings, "show how long each phase took"),
	CLI_LIST(0, "set", struct reload, set, "KEY=VALUE", WORD_SETTING,
		 "override a key of venv.yml for this run"),
	CLI_FLAG(0, "no-wait", struct reload, no_wait, "fail when another command is at work"),
	CLI_END
};

typedef int (*verb_fn)(venv_project *project, const char *const *names, uint32_t flags,
		       venv_op **op, venv_error **err);

/* "web is stopped (0.31 s)" for each machine that was heard of. */
static void print_states(struct cli *cli, const struct drive *drive, const char *done)
{
	const struct drive_machine *machine;

	if (cli->format != FORMAT_TEXT || cli->quiet)
		return;
	for (size_t i = 0; i < drive->count; i++) {
		_cleanup_text_ struct text time = { 0 };

		machine = &drive->machines[i];
		if (machine->failed || !*machine->name || !machine->state)
			continue;
		text_add_duration(&time, drive_elapsed(drive, machine->name));
		out_styled(&cli->out, STYLE_BOLD, "%s", machine->name);
		out_printf(&cli->out, " is %s (%s)\n", done, time.data);
	}
}

static void vagrant_action(struct cli *cli, const char *when)
{
	if (cli->format == FORMAT_VAGRANT)
		vagrant_line(cli, NULL, "action", cli->command->name, when, NULL);
}

static int run_verb(struct cli *cli, verb_fn verb, char **operands, uint32_t flags,
		    const char *done)
{
	_cleanup_drive_ struct drive drive;
	venv_error *err = NULL;
	venv_op *op = NULL;
	int status;

	drive_init(&drive, cli);
	status = cli_project(cli);
	if (status)
		return status;
	vagrant_action(cli, "start");
	if (verb(cli->project, names_of(operands), flags, &op, &err) < 0)
		return cli_fail_with(cli, err);
	status = drive_run(&drive, op);
	print_states(cli, &drive, done);
	vagrant_action(cli, "end");
	if (!status)
		cli_print_status_result(cli, operands);
	return status;
}

static uint32_t flags_of(const struct halt *halt)
{
	return (halt->force ? VENV_FORCE : 0) | (halt->no_wait ? VENV_NO_WAIT : 0);
}

typedef int (*id_fn)(venv *ctx, const char *id, uint32_t flags, venv_op **op, venv_error **err);

/* One machine by its id from global-status: no project is needed. */
static int run_by_id(struct cli *cli, id_fn verb, const struct halt *halt, const char *done)
{
	_cleanup_drive_ struct drive drive;
	venv_error *err = NULL;
	venv_op *op = NULL;
	int status;

	drive_init(&drive, cli);
	status = cli_context(cli);
	if (status)
		return status;
	if (verb(cli->ctx, halt->id, flags_of(halt), &op, &err) < 0)
		return cli_fail_with(cli, err);
	status = drive_run(&drive, op);
	print_states(cli, &drive, done);
	return status;
}

static int run_halt(struct cli *cli, const void *opts, char **operands)
{
	const struct halt *halt = opts;
	int status;

	if (halt->id)
		return run_by_id(cli, venv_halt_id, halt, "stopped");
	status = cli_project_or_id(cli, operands);
	if (status)
		return status;
	return run_verb(cli, venv_halt, operands, flags_of(opts), "stopped");
}

static int run_pause(struct cli *cli, const void *opts, char **operands)
{
	return run_verb(cli, venv_pause, operands, flags_of(opts), "paused");
}

static int run_suspend(struct cli *cli, const void *opts, char **operands)
{
	return run_verb(cli, venv_suspend, operands, flags_of(opts), "suspended");
}

static int run_resume(struct cli *cli, const void *opts, char **operands)
{
	return run_verb(cli, venv_resume, operands, flags_of(opts), "running");
}

static int run_provision(struct cli *cli, const void *opts, char **operands)
{
	int status = cli_project(cli);

	if (!status)
		status = cli_ask_approval(cli);
	return status ? status
		      : run_verb(cli, venv_provision, operands, flags_of(opts), "provisioned");
}

static int run_reload(struct cli *cli, const void *opts, char **operands)
{
	const struct reload *reload = opts;
	venv_up_options o = VENV_UP_OPTIONS_INIT;
	_cleanup_drive_ struct drive drive;
	venv_error *err = NULL;
	venv_op *op = NULL;
	int status;

	drive_init(&drive, cli);
	o.flags = (reload->provision ? VENV_UP_PROVISION : 0) |
		  (reload->no_wait ? VENV_NO_WAIT : 0) |
		  (reload->no_provision ? VENV_UP_NO_PROVISION : 0);
	cli->set = reload->set.items;
	status = cli_project(cli);
	if (!status)
		status = cli_ask_approval(cli);
	if (status)
		return status;
	if (venv_reload(cli->project, names_of(operands), &o, &op, &err) < 0)
		return cli_fail_with(cli, err);
	status = drive_run(&drive, op);
	if (reload->timings)
		drive_print_timings(&drive);
	cli_print_summary(cli, operands, &drive, status != 0);
	if (!status)
		cli_print_status_result(cli, operands);
	return status;
}

/* The machines that there are, as "web, db". Returns how many. */
static size_t add_existing(const venv_value *status, struct text *ret)
{
	const venv_value *machine;
	size_t count = 0;

	for (size_t i = 0; i < venv_value_count(status); i++) {
		machine = venv_value_at(status, i);
		if (!strcmp(value_text(machine, "state"), "not created"))
			continue;
		text_format(ret, "%s%s", count++ ? ", " : "", value_text(machine, "name"));
	}
	return count;
}

/* 0: go on; 1: there is nothing to do; else the exit status plus 1. */
static int confirm_destroy(struct cli *cli, char **operands, bool force)
{
	_cleanup_text_ struct text names = { 0 };
	venv_value *status = NULL;
	venv_error *err = NULL;
	size_t count;

	if (force)
		return 0;
	if (!cli_interactive(cli))
		return 1 +
		       cli_usage(cli, "venv destroy -f", "destroy asks at a terminal only: say -f");
	if (venv_status(cli->project, names_of(operands), &status, &err) < 0)
		return 1 + cli_fail_with(cli, err);
	count = add_existing(status, &names);
	venv_value_free(status);
	if (!count) {
		out_text(&cli->out, "there is no machine to destroy\n");
		return 1;
	}
	if (cli_ask(cli, "Destroy %s and all that %s wrote? Named volumes stay.", names.data,
		    count == 1 ? "it" : "they"))
		return 0;
	return 1 + cli_fail(cli, VENV_ERR_CANCELLED, NULL, "nothing was destroyed");
}

static int run_destroy(struct cli *cli, const void *opts, char **operands)
{
	const struct halt *halt = opts;
	int status;

	if (halt->id && !halt->force && !cli_interactive(cli))
		return cli_usage(cli, "venv destroy -f --id ID",
				 "destroy asks at a terminal only: say -f");
	if (halt->id && !halt->force &&
	    !cli_ask(cli, "Destroy the machine %s and all that it wrote?", halt->id))
		return cli_fail(cli, VENV_ERR_CANCELLED, NULL, "nothing was destroyed");
	if (halt->id)
		return run_by_id(cli, venv_destroy_id, halt, "gone");
	status = cli_project_or_id(cli, operands);
	if (status)
		return status;
	status = confirm_destroy(cli, operands, halt->force);
	if (status)
		return status - 1;
	return run_verb(cli, venv_destroy, operands, flags_of(halt), "gone");
}

static int run_repair(struct cli *cli, const void *opts, char **operands)
{
	_cleanup_drive_ struct drive drive;
	venv_project_options options = VENV_PROJECT_OPTIONS_INIT;
	venv_error *err = NULL;
	venv_op *op = NULL;
	int status;

	(void)opts;
	(void)operands;
	drive_init(&drive, cli);
	status = cli_context(cli);
	if (status)
		return status;
	options.file = cli->file;
	/* Outside of a project: everything of this user. */
	if (venv_project_open(cli->ctx, &options, &cli->project, &err) < 0) {
		if (venv_error_code(err) != VENV_ERR_NOT_FOUND || cli->file)
			return cli_fail_with(cli, err);
		venv_error_free(err);
		err = NULL;
	}
	if (venv_repair(cli->ctx, cli->project, &op, &err) < 0)
		return cli_fail_with(cli, err);
	status = drive_run(&drive, op);
	if (!status && cli->format == FORMAT_JSON)
		json_result(cli, venv_op_result(op));
	else if (!status && cli->format == FORMAT_TEXT && !cli->quiet && !drive.count)
		out_text(&cli->out, "nothing to repair\n");
	return status;
}

#define VERB(symbol, verb, text, more, table, callback, bits)                                      \
	const struct cli_command symbol = {                                                        \
		.name = verb,                                                                      \
		.group = GROUP_MACHINES,                                                           \
		.operands = "[MACHINE...]",                                                        \
		.max = CLI_MANY,                                                                   \
		.word = WORD_MACHINE,                                                              \
		.summary = text,                                                                   \
		.description = more,                                                               \
		.options = table,                                                                  \
		.options_size = sizeof(struct halt),                                               \
		.flags = bits,                                                                     \
		.run = callback,                                                                   \
	}

VERB(cli_cmd_halt, "halt", "stop machines",
     "Asks each machine to shut down; after its stop_timeout it is stopped by force. What it wrote "
     "stays. A suspended machine goes on first, so that it can shut down; with -f what it did is "
     "given up.",
     halt_options, run_halt, CLI_VAGRANT);
VERB(cli_cmd_pause, "pause", "freeze machines where they are",
     "The machine keeps its memory and uses no processor time until 'venv resume'.", plain_options,
     run_pause, 0);
VERB(cli_cmd_suspend, "suspend", "keep on disk what machines do, and end them",
     "The machine uses neither memory nor processor time until 'venv resume' or 'venv up', over restarts of "
     "the host too. It goes on as it was started, with its clock put right; what venv.yml says by "
     "then takes effect with 'venv reload'. Files that it has open in shared folders are "
     "opened again; its locks there are given up. For virtual machines; containers are paused.",
     plain_options, run_suspend, CLI_VAGRANT);
VERB(cli_cmd_resume, "resume", "let paused and suspended machines go on", NULL, plain_options,
     run_resume, CLI_VAGRANT);
VERB(cli_cmd_provision, "provision", "run the provisioning steps again",
     "Runs every step of running machines, done or not, except those with 'when: never'.",
     plain_options, run_provision, 0);
VERB(cli_cmd_destroy, "destroy", "remove machines and what they wrote",
     "Stops and removes machines with all that they wrote. Named volumes stay (see 'venv volume'), and "
     "so do boxes and shared folders. Asks first; without a terminal it demands -f.",
     destroy_options, run_destroy, CLI_VAGRANT);

const struct cli_command cli_cmd_reload = {
	.name = "reload",
	.group = GROUP_MACHINES,
	.operands = "[MACHINE...]",
	.max = CLI_MANY,
	.word = WORD_MACHINE,
	.summary = "restart machines with what venv.yml now says",
	.options = reload_options,
	.options_size = sizeof(struct reload),
	.run = run_reload,
};

const struct cli_command cli_cmd_repair = {
	.name = "repair",
	.group = GROUP_HOST,
	.summary = "finish or undo what was interrupted",
	.description =
		"In a project: its machines. Elsewhere: everything of this user. Nothing that a "
		"machine wrote is ever removed.",
	.run = run_repair,
};
