/* SPDX-License-Identifier: Apache-2.0 */
/* The console of a machine, with keyboard. */
#include "commands.h"
#include "signals.h"
#include "terminal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LEAVE = 0x1d /* Ctrl-] */, CHUNK = 4096 };
enum way { GOES_ON, LEFT, MACHINE_CLOSED, FAILED };

struct console {
	int fd, out;
	struct capture *capture; /* what `out` is read from, or NULL */
	bool raw;
	char typed[CHUNK]; /* what the machine has not taken yet */
	size_t n_typed;
	bool leave; /* when that is out: there is no more */
};

static enum way show(const struct console *console)
{
	char chunk[CHUNK];
	ssize_t n = read(console->fd, chunk, sizeof(chunk));

	if (n < 0 && errno == EINTR)
		return GOES_ON;
	if (n <= 0)
		return MACHINE_CLOSED;
	if (!out_write(console->out, chunk, (size_t)n))
		return FAILED;
	if (console->capture)
		capture_pump(console->capture);
	return GOES_ON;
}

/* At a terminal Ctrl-] ends it, else the end of the input does. */
static void take_input(struct console *console)
{
	char chunk[CHUNK];
	ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));
	const char *leave = n > 0 && console->raw ? memchr(chunk, LEAVE, (size_t)n) : NULL;
	size_t size = leave ? (size_t)(leave - chunk) : n > 0 ? (size_t)n : 0;

	if (n < 0 && errno == EINTR)
		return;
	console->leave = n <= 0 || leave;
	if (size >
	    sizeof(console->typed) - console->n_typed) /* a terminal's alone: see wait_for() */
		size = sizeof(console->typed) - console->n_typed;
	memcpy(console->typed + console->n_typed, chunk, size);
	console->n_typed += size;
}

static enum way pass_input(struct console *console)
{
	ssize_t n = 0;

	if (console->n_typed)
		n = send(console->fd, console->typed, console->n_typed,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return MACHINE_CLOSED;
	if (n > 0) {
		console->n_typed -= (size_t)n;
		memmove(console->typed, console->typed + n, console->n_typed);
	}
	return console->leave && (console->raw || !console->n_typed) ? LEFT : GOES_ON;
}

/* Also a machine that takes nothing more is left by Ctrl-], so a terminal is read on and on. */
static enum way wait_for(struct console *console, struct signals *signals)
{
	bool reads = !console->leave && (console->raw || !console->n_typed);
	struct pollfd fds[] = {
		{ .fd = console->fd, .events = (short)(POLLIN | (console->n_typed ? POLLOUT : 0)) },
		{ .fd = reads ? STDIN_FILENO : -1, .events = POLLIN },
	};
	enum way way = GOES_ON;

	if (signals_wait(signals, fds, 2, -1) < 0)
		return FAILED;
	if (signals_take_continued() && console->raw) {
		terminal_restore();
		(void)terminal_raw();
	}
	if (signals_take_interrupts() || signals_terminated())
		return LEFT;
	if (fds[0].revents & ~POLLOUT)
		way = show(console);
	if (way == GOES_ON && fds[1].revents)
		take_input(console);
	return way == GOES_ON ? pass_input(console) : way;
}

/* Until one of the ways out. */
static enum way converse(struct cli *cli, struct console *console, const char *machine)
{
	bool tell = !cli->quiet && cli->format == FORMAT_TEXT;
	struct signals signals;
	enum way way;

	signals_begin(&signals);
	console->raw = isatty(STDIN_FILENO);
	if (console->raw && tell)
		out_printf(&cli->err, "The console of '%s'. Ctrl-] leaves it.\n", machine);
	out_flush(&cli->err);
	console->raw = console->raw && terminal_raw();
	do
		way = wait_for(console, &signals);
	while (way == GOES_ON);
	terminal_restore();
	signals_end(&signals);
	if (console->raw && tell)
		out_text(&cli->err, "\n");
	if (way == MACHINE_CLOSED && tell)
		out_text(&cli->err, "The console is closed: the machine ended, or another 'venv "
				    "console' took it.\n");
	return way;
}

static int run_console(struct cli *cli, const void *opts, char **operands)
{
	struct console console = { .fd = -1, .out = STDOUT_FILENO };
	struct capture capture;
	const char *machine;
	venv_error *err = NULL;
	int status = cli_project(cli);

	(void)opts;
	if (!status)
		status = cli_one_machine(cli, operands[0], &machine);
	if (!status)
		status = capture_open(&capture, cli, machine, cli->format == FORMAT_JSON);
	if (status)
		return status;
	if (cli->format == FORMAT_JSON) {
		console.capture = &capture;
		console.out = capture.write_fd[0];
	}
	if (venv_console(cli->project, machine, &console.fd, &err) < 0)
		status = cli_fail_with(cli, err);
	else if (converse(cli, &console, machine) == FAILED)
		status = cli_fail(cli, VENV_ERR_SYSTEM, NULL,
				  "cannot write the console's output: %s", strerror(errno));
	else if (signals_terminated())
		status = 128 + signals_terminated();
	capture_close(&capture);
	if (console.fd >= 0)
		(void)close(console.fd);
	if (!status && cli->format == FORMAT_JSON)
		json_result_text(cli, "machine", machine);
	return status;
}

const struct cli_command cli_cmd_console = {
	.name = "console",
	.group = GROUP_LOOK,
	.operands = "[MACHINE]",
	.max = 1,
	.word = WORD_MACHINE,
	.summary = "see and type at the console of a machine",
	.description =
		"Shows what the machine says on its console from now on and types there what is typed here: a "
		"virtual machine's first serial port, a container's /dev/console. It works before the machine has "
		"a network, and while 'venv up' still waits for it.\n\n"
		"Ctrl-] leaves it; where standard input is no terminal, its end does. There is one such "
		"connection: a second 'venv console' takes it over. What was said before is shown by 'venv logs'.",
	.examples = "venv console\n"
		    "(echo root; sleep 2; echo poweroff; sleep 5) | venv console\n",
	.run = run_console,
};
