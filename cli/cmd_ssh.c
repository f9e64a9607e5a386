/* SPDX-License-Identifier: Apache-2.0 */
/* A shell or a command in a machine: ssh and exec. */
#include "commands.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct remote {
	const char *command; /* ssh only */
	const char *user;
	const char *directory;
	struct cli_list env;
	bool agent;
	bool tty, no_tty;
};

static const struct cli_option ssh_options[] = {
	CLI_STRING('c', "command", struct remote, command, "CMD", WORD_NONE,
		   "run CMD in the machine's shell instead of a login"),
	CLI_STRING('u', "user", struct remote, user, "USER", WORD_NONE, "log in as USER"),
	CLI_STRING('w', "workdir", struct remote, directory, "DIR", WORD_NONE,
		   "start in this directory of the machine"),
	CLI_FLAG('A', "forward-agent", struct remote, agent, "forward the ssh agent"),
	CLI_FLAG('t', "tty", struct remote, tty, "give it a terminal"),
	CLI_FLAG('T', "no-tty", struct remote, no_tty, "give it no terminal"),
	CLI_END
};

static const struct cli_option exec_options[] = {
	CLI_STRING('u', "user", struct remote, user, "USER", WORD_NONE, "run as USER"),
	CLI_STRING('w', "workdir", struct remote, directory, "DIR", WORD_NONE,
		   "run in this directory of the machine"),
	CLI_LIST('e', "env", struct remote, env, "NAME=VALUE", WORD_NONE, "add to the environment"),
	CLI_FLAG('t', "tty", struct remote, tty, "give it a terminal"),
	CLI_FLAG('T', "no-tty", struct remote, no_tty, "give it no terminal"),
	CLI_END
};

/* The directory in the machine that is this one here, or NULL. Freed with venv_string_free(). */
static char *mapped_directory(struct cli *cli, const char *machine)
{
	char *cwd = getcwd(NULL, 0), *ret = NULL;

	if (cwd && venv_guest_path(cli->project, machine, cwd, &ret, NULL) < 0)
		ret = NULL;
	free(cwd);
	return ret;
}

static void add_quoted(struct text *text, const char *word)
{
	size_t n;

	text_add_char(text, '\'');
	for (; *word; word += n) {
		n = strcspn(word, "'");
		text_add_n(text, word, n);
		if (word[n] == '\'') {
			text_add(text, "'\\''");
			n++;
		}
	}
	text_add_char(text, '\'');
}

/*
 * What the shell over there is to do, "" for a plain login. A login goes on where the directory is
 * missing; a command does not run in a wrong one.
 */
static void add_script(struct text *ret, const struct remote *remote, char **rest,
		       const char *directory)
{
	bool command = remote->command || (rest && *rest);

	if (directory) {
		text_add(ret, "cd ");
		add_quoted(ret, directory);
		text_add(ret, command ? " || exit 125\n"
				      : " 2>/dev/null; exec \"${SHELL:-/bin/sh}\" -l");
	}
	if (remote->command)
		text_add(ret, remote->command);
	for (; !remote->command && rest && *rest; rest++) {
		text_add(ret, *rest);
		if (rest[1])
			text_add_char(ret, ' ');
	}
}

static bool wants_tty(const struct cli *cli, const struct remote *remote, bool command)
{
	if (remote->no_tty || cli->format != FORMAT_TEXT)
		return false;
	if (remote->tty)
		return true;
	if (!isatty(STDIN_FILENO) || !cli->out.tty)
		return false;
	return !command || cli->err.tty;
}

static void set_terminal(struct cli *cli, venv_run_options *o)
{
	o->tty = 1;
	o->term = getenv("TERM");
	terminal_size(isatty(STDIN_FILENO) ? STDIN_FILENO : cli->out.fd, &o->rows, &o->columns);
}

typedef int (*start_fn)(venv_project *project, const char *machine, const venv_run_options *options,
			venv_op **op, venv_error **err);

static int run_captured(struct cli *cli, const char *machine, venv_run_options *o, start_fn start)
{
	struct capture capture;
	struct session session = { .cli = cli, .capture = &capture };
	venv_error *err = NULL;
	int status = capture_open(&capture, cli, machine, 2);

	if (status) {
		capture_close(&capture);
		return status;
	}
	o->stdout_fd = capture.write_fd[0];
	o->stderr_fd = capture.write_fd[1];
	if (start(cli->project, machine, o, &session.op, &err) < 0)
		status = cli_fail_with(cli, err);
	else
		status = session_run(&session);
	capture_close(&capture);
	if (!status) {
		_cleanup_text_ struct text line = { 0 };

		status = venv_op_exit_status(session.op);
		json_open(&line, "result");
		json_add_member(&line, "command", cli->command->name);
		text_format(&line, ",\"result\":{\"machine\":");
		text_add_json(&line, machine);
		text_format(&line, ",\"exit_status\":%d}", status);
		json_close(cli, &line);
	}
	venv_op_free(session.op);
	return status;
}

static int run_remote(struct cli *cli, const char *machine, venv_run_options *o, start_fn start)
{
	struct session session = { .cli = cli, .tty = o->tty != 0 };
	venv_error *err = NULL;
	int status;

	o->stdin_fd = STDIN_FILENO;
	o->stdout_fd = STDOUT_FILENO;
	o->stderr_fd = STDERR_FILENO;
	if (cli->format == FORMAT_JSON)
		return run_captured(cli, machine, o, start);
	if (start(cli->project, machine, o, &session.op, &err) < 0)
		return cli_fail_with(cli, err);
	status = session_run(&session);
	if (!status)
		status = venv_op_exit_status(session.op);
	venv_op_free(session.op);
	return status;
}

static int run_ssh(struct cli *cli, const void *opts, char **operands)
{
	const struct remote *remote = opts;
	venv_run_options o = VENV_RUN_OPTIONS_INIT;
	_cleanup_text_ struct text script = { 0 };
	const char *machine, *argv[2] = { NULL, NULL };
	bool command = remote->command || (cli->rest && *cli->rest);
	char *directory = NULL;
	int status;

	cli->own_failure = true;
	status = cli_project(cli);
	if (!status)
		status = cli_one_machine(cli, operands[0], &machine);
	if (status)
		return status;
	if (!remote->directory)
		directory = mapped_directory(cli, machine);
	add_script(&script, remote, cli->rest, remote->directory ? remote->directory : directory);
	venv_string_free(directory);
	argv[0] = script.data;
	o.argv = script.length ? argv : NULL;
	o.user = remote->user;
	o.forward_agent = remote->agent;
	if (wants_tty(cli, remote, command))
		set_terminal(cli, &o);
	return run_remote(cli, machine, &o, venv_ssh);
}

static int run_exec(struct cli *cli, const void *opts, char **operands)
{
	const struct remote *remote = opts;
	venv_run_options o = VENV_RUN_OPTIONS_INIT;
	const char *machine;
	char *directory = NULL;
	int status;

	cli->own_failure = true;
	if (!cli->rest || !*cli->rest)
		return cli_usage(cli, "put the command behind '--': venv exec -- ls",
				 "a command to run is missing");
	status = cli_project(cli);
	if (!status)
		status = cli_one_machine(cli, operands[0], &machine);
	if (status)
		return status;
	if (!remote->directory)
		directory = mapped_directory(cli, machine);
	o.argv = names_of(cli->rest);
	o.user = remote->user;
	o.directory = remote->directory ? remote->directory : directory;
	if (wants_tty(cli, remote, true))
		set_terminal(cli, &o);
	o.env = remote->env.items;
	status = run_remote(cli, machine, &o, venv_exec);
	venv_string_free(directory);
	return status;
}

int cli_one_machine(struct cli *cli, const char *operand, const char **ret)
{
	_cleanup_text_ struct text names = { 0 };

	*ret = operand ? operand : venv_project_primary(cli->project);
	if (*ret)
		return 0;
	text_add(&names, "name one of:");
	for (size_t i = 0; i < venv_project_count(cli->project); i++)
		text_format(&names, " %s", venv_project_machine(cli->project, i));
	return cli_usage(cli, names.data, "several machines and none is primary");
}

const struct cli_command cli_cmd_ssh = {
	.name = "ssh",
	.group = GROUP_MACHINES,
	.operands = "[MACHINE] [-- CMD...]",
	.max = 1,
	.word = WORD_MACHINE,
	.summary = "log in, or run a command in a login shell",
	.description =
		"Logs in by ssh as the machine's user, in the directory that the working directory is in a "
		"shared folder. What is behind '--' is joined by spaces and run by the shell over there, as "
		"the OpenSSH client does. Without a terminal, standard input and output are passed byte by "
		"byte.\n\n"
		"Ends with the status of the command, with 125 when venv itself failed.",
	.examples = "venv ssh\n"
		    "venv ssh db -c 'tail -n 20 /var/log/syslog'\n"
		    "tar c src | venv ssh -c 'tar x -C /tmp'\n",
	.options = ssh_options,
	.options_size = sizeof(struct remote),
	.flags = CLI_TAKES_COMMAND,
	.run = run_ssh,
};

const struct cli_command cli_cmd_exec = {
	.name = "exec",
	.group = GROUP_MACHINES,
	.operands = "[MACHINE] -- CMD...",
	.max = 1,
	.word = WORD_MACHINE,
	.summary = "run a command directly, without a shell",
	.description =
		"Runs CMD with its arguments as they are, in the directory that the working directory is in "
		"a shared folder. It gets a terminal when standard input, output and error are one.\n\n"
		"Ends with the status of the command, with 125 when venv itself failed.",
	.examples = "venv exec -- make test\n"
		    "venv exec db -u postgres -- psql\n",
	.options = exec_options,
	.options_size = sizeof(struct remote),
	.flags = CLI_TAKES_COMMAND,
	.run = run_exec,
};
