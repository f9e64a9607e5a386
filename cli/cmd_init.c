/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"

struct init {
	bool force;
};

static const struct cli_option options[] = {
	CLI_FLAG(0, "force", struct init, force, "replace a venv.yml that is there"), CLI_END
};

static int run(struct cli *cli, const void *opts, char **operands)
{
	const struct init *init = opts;
	venv_error *err = NULL;
	int status = cli_context(cli);

	if (status)
		return status;
	if (venv_project_init(cli->ctx, NULL, operands[0], init->force, &err) < 0)
		return cli_fail_with(cli, err);
	if (cli->format == FORMAT_JSON) {
		json_result_text(cli, "file", "venv.yml");
		return STATUS_OK;
	}
	if (cli->quiet)
		return STATUS_OK;
	out_printf(&cli->out, "wrote venv.yml %s next: ", out_dot(&cli->out));
	out_styled(&cli->out, STYLE_BOLD, "venv up");
	out_text(&cli->out, "\n");
	return STATUS_OK;
}

const struct cli_command cli_cmd_init = {
	.name = "init",
	.group = GROUP_MACHINES,
	.operands = "[BOX]",
	.max = 1,
	.word = WORD_BASE,
	.summary = "write a venv.yml here",
	.description =
		"Writes a short, commented venv.yml into the working directory. Without BOX it "
		"takes debian/12.",
	.examples = "venv init                # debian/12\n"
		    "venv init busybox && venv up\n",
	.options = options,
	.options_size = sizeof(struct init),
	.run = run,
};
