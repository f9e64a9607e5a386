/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command in a machine: its bytes pass by us. With a terminal, ours is raw and every key is the
 * machine's; without one, Ctrl-C is passed on as a signal and cancels when that does not help.
 */
#include "commands.h"
#include "terminal.h"

#include <unistd.h>

enum { GRACE_US = 2000000 };

static void resize(struct session *session)
{
	unsigned rows, columns;

	terminal_size(STDIN_FILENO, &rows, &columns);
	venv_op_resize(session->op, rows, columns);
}

static void cancel(struct session *session)
{
	if (!session->cancelled)
		venv_op_cancel(session->op);
	session->cancelled = true;
}

static void check_signals(struct session *session)
{
	unsigned interrupts = signals_take_interrupts();
	int number = signals_terminated();

	if (session->tty && signals_take_continued()) {
		terminal_restore();
		(void)terminal_raw();
		resize(session);
	}
	if (signals_take_resized() && session->tty)
		resize(session);
	session->interrupts += interrupts;
	if ((interrupts || number) &&
	    (session->tty || session->only_looks || session->interrupts > 2))
		cancel(session);
	else if (interrupts)
		venv_op_signal(session->op, SIGINT);
	if (number && !session->give_up) {
		venv_op_signal(session->op, number);
		session->give_up = drive_now() + GRACE_US;
	}
	if (session->give_up && drive_now() >= session->give_up)
		cancel(session);
}

static void wait_for_event(struct session *session, struct signals *signals)
{
	const struct capture *capture = session->capture;
	struct pollfd fds[3] = {
		{ .fd = venv_op_fd(session->op), .events = POLLIN },
		{ .fd = capture ? capture->read_fd[0] : -1, .events = POLLIN },
		{ .fd = capture ? capture->read_fd[1] : -1, .events = POLLIN },
	};

	(void)signals_wait(signals, fds, 3, session->give_up && !session->cancelled ? 100 : -1);
	if (session->capture)
		capture_pump(session->capture);
	check_signals(session);
}

static void on_event(struct session *session, const venv_event *event)
{
	struct cli *cli = session->cli;

	if (venv_event_type(event) == VENV_EVENT_WARNING && !session->tty)
		report_warning(cli, venv_event_machine(event), venv_event_text(event));
	if (venv_event_type(event) != VENV_EVENT_NOTICE || session->tty || cli->quiet ||
	    cli->format != FORMAT_TEXT)
		return;
	out_printf(&cli->err, "%s\n", venv_event_text(event));
	out_flush(&cli->err);
}

static int failure(struct session *session, venv_error *err)
{
	int status = STATUS_OWN_FAILURE;

	if (session->cancelled && session->interrupts && !session->tty)
		venv_error_free(err);
	else
		status = cli_fail_with(session->cli, err);
	if (session->cancelled)
		status = signals_terminated() ? 128 + signals_terminated() : STATUS_INTERRUPTED;
	return status;
}

int session_run(struct session *session)
{
	const venv_event *event;
	struct signals signals;
	venv_error *err = NULL;
	int r;

	signals_begin(&signals);
	if (session->tty) {
		session->tty = terminal_raw();
		resize(session);
	}
	while ((r = venv_op_next(session->op, 0, &event, &err)) > 0) {
		if (r == VENV_OP_EVENT)
			on_event(session, event);
		else
			wait_for_event(session, &signals);
	}
	terminal_restore();
	if (session->capture)
		capture_finish(session->capture); /* an error is the last line */
	r = r < 0 ? failure(session, err) : 0;
	signals_end(&signals);
	return r;
}
