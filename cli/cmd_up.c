/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"

#include <string.h>

struct up {
	const char *provider;
	bool provision;
	bool no_provision;
	bool timings;
	bool no_wait;
	struct cli_list set;
};

static const char *const providers[] = { "auto", "container", "kvm", "libvirt", NULL };

static const struct cli_option options[] = {
	CLI_CHOICE('p', "provider", struct up, provider, "NAME", providers,
		   "create with this provider"),
	CLI_FLAG(0, "provision", struct up, provision, "run every provisioning step again"),
	CLI_FLAG(0, "no-provision", struct up, no_provision, "run no provisioning step"),
	CLI_FLAG(0, "timings", struct up, timings, "show how long each phase took"),
	CLI_LIST(0, "set", struct up, set, "KEY=VALUE", WORD_SETTING,
		 "override a key of venv.yml for this run"),
	CLI_FLAG(0, "no-wait", struct up, no_wait, "fail when another command is at work"),
	CLI_END
};

static void print_ports(struct cli *cli, const venv_value *machine)
{
	const venv_value *ports = venv_value_get(machine, "ports");

	for (size_t i = 0; i < venv_value_count(ports); i++) {
		_cleanup_text_ struct text port = { 0 };

		value_add_port(&port, venv_value_at(ports, i), out_arrow(&cli->out), true);
		out_printf(&cli->out, " %s %s", out_dot(&cli->out), port.data);
	}
}

static void print_machine(struct cli *cli, const venv_value *machine, const struct drive *drive)
{
	const char *name = value_text(machine, "name");
	const struct drive_machine *heard = drive_machine(drive, name);
	_cleanup_text_ struct text time = { 0 };

	bool failed = heard && heard->failed;

	out_styled(&cli->out, failed ? STYLE_YELLOW : STYLE_GREEN, "%s", name);
	if (failed) {
		out_text(&cli->out, " runs, but is not as venv.yml wants it");
	} else if (heard && heard->state) {
		text_add_duration(&time, drive_elapsed(drive, name));
		out_printf(&cli->out, " is up in %s", time.data);
	} else {
		out_text(&cli->out, " is up already");
	}
	out_printf(&cli->out, " %s ssh: venv ssh", out_dot(&cli->out));
	if (venv_project_count(cli->project) > 1)
		out_printf(&cli->out, " %s", name);
	print_ports(cli, machine);
	out_text(&cli->out, "\n");
}

void cli_print_status_result(struct cli *cli, char **operands)
{
	venv_value *status = NULL;

	if (cli->format != FORMAT_JSON)
		return;
	if (venv_status(cli->project, names_of(operands), &status, NULL) < 0)
		status = NULL;
	json_result(cli, status);
	venv_value_free(status);
}

/* Worth a line: what runs; after a failure only what came up in spite of it. */
static bool concerns(const struct drive *drive, const venv_value *machine, bool failed)
{
	const struct drive_machine *heard = drive_machine(drive, value_text(machine, "name"));

	if (strcmp(value_text(machine, "state"), "running") != 0)
		return false;
	return !failed || (heard && heard->state);
}

void cli_print_summary(struct cli *cli, char **operands, struct drive *drive, bool failed)
{
	const venv_value *machine;
	venv_value *status = NULL;

	if (cli->format != FORMAT_TEXT || cli->quiet)
		return;
	if (venv_status(cli->project, names_of(operands), &status, NULL) < 0)
		return;
	for (size_t i = 0; i < venv_value_count(status); i++) {
		machine = venv_value_at(status, i);
		if (concerns(drive, machine, failed))
			print_machine(cli, machine, drive);
	}
	venv_value_free(status);
}

static int run(struct cli *cli, const void *opts, char **operands)
{
	const struct up *up = opts;
	venv_up_options o = VENV_UP_OPTIONS_INIT;
	_cleanup_drive_ struct drive drive;
	venv_error *err = NULL;
	venv_op *op = NULL;
	int status;

	drive_init(&drive, cli);
	if (up->provision && up->no_provision)
		return cli_usage(cli, NULL, "--provision and --no-provision exclude each other");
	o.provider = up->provider;
	o.flags = (up->provision ? VENV_UP_PROVISION : 0) | (up->no_wait ? VENV_NO_WAIT : 0) |
		  (up->no_provision ? VENV_UP_NO_PROVISION : 0);
	cli->set = up->set.items;
	status = cli_project(cli);
	if (!status)
		status = cli_ask_approval(cli);
	if (status)
		return status;
	if (cli->format == FORMAT_VAGRANT)
		vagrant_line(cli, NULL, "action", "up", "start", NULL);
	if (venv_up(cli->project, names_of(operands), &o, &op, &err) < 0)
		return cli_fail_with(cli, err);
	status = drive_run(&drive, op);
	if (up->timings)
		drive_print_timings(&drive);
	cli_print_summary(cli, operands, &drive, status != 0);
	if (cli->format == FORMAT_VAGRANT)
		vagrant_line(cli, NULL, "action", "up", "end", NULL);
	if (!status)
		cli_print_status_result(cli, operands);
	return status;
}

const struct cli_command cli_cmd_up = {
	.name = "up",
	.group = GROUP_MACHINES,
	.operands = "[MACHINE...]",
	.max = CLI_MANY,
	.word = WORD_MACHINE,
	.summary = "create and start machines",
	.description =
		"Brings the machines of venv.yml up, creating those that do not exist; without MACHINE all "
		"with autostart. A box that is a known recipe is built first. Machines start in parallel "
		"along needs; one that fails stops only those that need it. A machine that runs already "
		"gets what can change live, and what needs a restart is named.\n\n"
		"Provisioning steps run until each succeeded with its present content; a failed step is "
		"tried again by the next up.",
	.examples = "venv up\n"
		    "venv up db web --timings\n"
		    "venv up --set memory=4G\n",
	.options = options,
	.options_size = sizeof(struct up),
	.flags = CLI_VAGRANT,
	.run = run,
};
