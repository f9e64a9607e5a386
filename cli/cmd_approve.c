/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of venv.yml that reach the host: shown, asked for, remembered. */
#include "commands.h"

struct approve {
	bool yes;
};

static const struct cli_option options[] = {
	CLI_FLAG('y', "yes", struct approve, yes, "approve without asking"), CLI_END
};

static void print_list(struct cli *cli, const venv_value *list)
{
	const char *const heading[] = { "MACHINE", "KEY", "VALUE" };
	_cleanup_table_ struct table table = TABLE_INIT(3);
	const venv_value *item;

	for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
		table_add(&table, STYLE_BOLD, "%s", heading[i]);
	for (size_t i = 0; i < venv_value_count(list); i++) {
		item = venv_value_at(list, i);
		table_add(&table, STYLE_NONE, "%s", value_or_dash(item, "machine"));
		table_add(&table, STYLE_NONE, "%s", value_text(item, "key"));
		if (venv_value_type(venv_value_get(item, "value")) == VENV_NULL) {
			table_add(&table, STYLE_YELLOW, "from your environment");
		} else if (venv_value_string(venv_value_get(item, "value"))) {
			table_add(&table, STYLE_YELLOW, "%s", value_text(item, "value"));
		} else {
			_cleanup_text_ struct text value = { 0 };

			json_add_value(&value, venv_value_get(item, "value"));
			table_add(&table, STYLE_YELLOW, "%s", value.data);
		}
	}
	table_print(&table, &cli->out);
}

static int approve(struct cli *cli)
{
	venv_error *err = NULL;

	return venv_approve(cli->project, &err) < 0 ? cli_fail_with(cli, err) : 0;
}

static int ask(struct cli *cli, const venv_value *list)
{
	out_text(&cli->out, "These keys of venv.yml reach this host:\n\n");
	print_list(cli, list);
	if (cli_ask(cli, "\nApprove them for this project, until they change?"))
		return approve(cli);
	return cli_fail(cli, VENV_ERR_DENIED,
			cli_interactive(cli)
				? "take them out of venv.yml, or approve them"
				: "run 'venv approve' at a terminal, or 'venv approve --yes'",
			"these keys are not approved");
}

int cli_ask_approval(struct cli *cli)
{
	venv_value *list = NULL;
	venv_error *err = NULL;
	int status = 0;

	if (!cli_interactive(cli))
		return 0;
	if (venv_approvals(cli->project, &list, &err) < 0)
		return cli_fail_with(cli, err);
	if (venv_value_count(list))
		status = ask(cli, list);
	venv_value_free(list);
	return status;
}

static int finish(struct cli *cli, const venv_value *list, bool yes)
{
	int status;

	if (cli->format == FORMAT_TEXT && !venv_value_count(list)) {
		if (!cli->quiet)
			out_text(&cli->out, "nothing to approve\n");
		return STATUS_OK;
	}
	if (cli->format == FORMAT_TEXT && !yes)
		return ask(cli, list);
	if (venv_value_count(list) && !yes) {
		json_result(cli, list);
		return cli_fail(cli, VENV_ERR_DENIED, "run 'venv approve --yes'",
				"these keys are not approved");
	}
	if (cli->format == FORMAT_TEXT)
		print_list(cli, list);
	status = venv_value_count(list) ? approve(cli) : 0;
	if (!status && cli->format == FORMAT_JSON)
		json_result(cli, list);
	return status;
}

static int run(struct cli *cli, const void *opts, char **operands)
{
	const struct approve *o = opts;
	venv_value *list = NULL;
	venv_error *err = NULL;
	int status = cli_project(cli);

	(void)operands;
	if (status)
		return status;
	if (venv_approvals(cli->project, &list, &err) < 0)
		return cli_fail_with(cli, err);
	status = finish(cli, list, o->yes);
	venv_value_free(list);
	return status;
}

const struct cli_command cli_cmd_approve = {
	.name = "approve",
	.group = GROUP_FILE,
	.summary = "allow the keys of venv.yml that reach this host",
	.description =
		"Some keys let a machine reach the host: folders outside the project, ports beyond "
		"loopback, host_access, ssh.forward_agent, and ${NAME} where your environment has "
		"such a variable: its name is approved, its value neither shown nor kept. They "
		"take effect after they were approved, and are asked for again when they change. "
		"The approval is kept outside the project. At a terminal, 'venv up' asks by itself.",
	.options = options,
	.options_size = sizeof(struct approve),
	.run = run,
};
