/* SPDX-License-Identifier: Apache-2.0 */
/* All commands, in the order of the help. */
#include "commands.h"

const struct cli_command *const cli_commands[] = {
	&cli_cmd_init,	     &cli_cmd_up,	     &cli_cmd_ssh,	 &cli_cmd_exec,
	&cli_cmd_cp,	     &cli_cmd_status,	     &cli_cmd_halt,	 &cli_cmd_reload,
	&cli_cmd_pause,	     &cli_cmd_resume,	     &cli_cmd_provision, &cli_cmd_destroy,
	&cli_cmd_port,	     &cli_cmd_stats,	     &cli_cmd_logs,	 &cli_cmd_ssh_config,
	&cli_cmd_plan,	     &cli_cmd_validate,	     &cli_cmd_approve,	 &cli_cmd_config,
	&cli_cmd_box,	     &cli_cmd_volume,	     &cli_cmd_global_status,
	&cli_cmd_doctor,     &cli_cmd_repair,	     &cli_cmd_completion, &cli_cmd_version,
	&cli_cmd_help,	     &cli_cmd_complete,	     NULL,
};
