/* SPDX-License-Identifier: Apache-2.0 */
/* The commands, and what several of them share. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "drive.h"

#define GROUP_MACHINES "Machines"
#define GROUP_LOOK "Look"
#define GROUP_FILE "The file"
#define GROUP_HOST "This host"

extern const struct cli_command cli_cmd_init, cli_cmd_up, cli_cmd_ssh, cli_cmd_exec, cli_cmd_cp,
	cli_cmd_status, cli_cmd_halt, cli_cmd_reload, cli_cmd_pause, cli_cmd_resume,
	cli_cmd_suspend, cli_cmd_snapshot, cli_cmd_provision, cli_cmd_destroy, cli_cmd_port,
	cli_cmd_stats, cli_cmd_logs, cli_cmd_console, cli_cmd_ssh_config, cli_cmd_plan,
	cli_cmd_validate, cli_cmd_approve, cli_cmd_config, cli_cmd_box, cli_cmd_volume,
	cli_cmd_global_status, cli_cmd_doctor, cli_cmd_repair, cli_cmd_completion, cli_cmd_version,
	cli_cmd_help, cli_cmd_complete;

/* Operands as the library takes names. */
static inline const char *const *names_of(char **operands)
{
	return (const char *const *)operands;
}

/* The machine that was named, or the primary one. 0, or the exit status (reported). */
int cli_one_machine(struct cli *cli, const char *operand, const char **ret);
/* cmd_approve.c: at a terminal, show and ask for what is not approved. 0 or the exit status. */
int cli_ask_approval(struct cli *cli);
/* cmd_up.c: a line for each machine that runs, of those named. */
void cli_print_summary(struct cli *cli, char **operands, struct drive *drive, bool failed);
/* The end of an operation without an answer of its own: JSON gets the machines as they are now. */
void cli_print_status_result(struct cli *cli, char **operands);

/* capture.c: pipes whose other ends an operation writes to. */
struct capture {
	struct cli *cli;
	const char *machine;
	int read_fd[2]; /* standard output, standard error; -1: none */
	int write_fd[2];
	struct text partial[2];
};
int capture_open(struct capture *capture, struct cli *cli, const char *machine, size_t count);
/* Pass on what can be read now. */
void capture_pump(struct capture *capture);
/* Pass on all that is there, half a character too. */
void capture_finish(struct capture *capture);
/* The same and close. */
void capture_close(struct capture *capture);

/* session.c: a command in a machine, or a log, whose output is not ours. */
struct session {
	struct cli *cli;
	venv_op *op;
	bool tty;                /* the terminal is the machine's: raw */
	struct capture *capture; /* or NULL */
	unsigned interrupts;
	uint64_t give_up; /* when to cancel after a signal was passed on; 0: not yet */
	bool cancelled;
	bool only_looks; /* nothing over there is to get a signal: the first one ends it */
};
/* Runs it to its end. 0 (then ask venv_op_exit_status()), or the exit status of a failure. */
int session_run(struct session *session);

#endif
