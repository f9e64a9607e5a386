/* SPDX-License-Identifier: Apache-2.0 */
#include "drive.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MS = 100, FIRST_FRAME_US = 80000, EVENTS_BETWEEN = 32 };

uint64_t drive_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void drive_init(struct drive *drive, struct cli *cli)
{
	*drive = (struct drive){ .cli = cli };
	drive->live.out = &cli->out;
	drive->is_live =
		cli->format == FORMAT_TEXT && cli->out.tty && cli->out.color && !cli->quiet;
}

static void machine_done(struct drive_machine *machine)
{
	for (size_t i = 0; i < machine->n_phases; i++) {
		free(machine->phases[i].name);
		free(machine->phases[i].text);
	}
	free(machine->phases);
	free(machine->name);
	free(machine->state);
}

void drive_done(struct drive *drive)
{
	for (size_t i = 0; i < drive->count; i++)
		machine_done(&drive->machines[i]);
	for (size_t i = 0; i < drive->n_streams; i++) {
		free(drive->streams[i].machine);
		free(drive->streams[i].phase);
		text_done(&drive->streams[i].line);
	}
	for (size_t i = 0; i < drive->n_messages; i++)
		free(drive->messages[i]);
	free(drive->messages);
	free(drive->machines);
	free(drive->streams);
	progress_done(&drive->progress);
	venv_op_free(drive->op);
	drive->op = NULL;
}

void drive_clear(struct drive *drive)
{
	live_clear(&drive->live);
}

static void draw(struct drive *drive, bool now)
{
	uint64_t time = drive_now();
	unsigned rows, columns;

	if (!drive->is_live || time < drive->started + FIRST_FRAME_US)
		return;
	if (!now && time < drive->drawn + FRAME_MS * 1000)
		return;
	drive->drawn = time;
	terminal_size(drive->cli->out.fd, &rows, &columns);
	live_draw(&drive->live, &drive->progress, rows, columns, time);
}

static void say(struct drive *drive, const char *text)
{
	if (drive->cli->format != FORMAT_TEXT)
		return;
	drive_clear(drive);
	out_flush(&drive->cli->out);
	/* The terminal may have echoed ^C just now. */
	out_text(&drive->cli->err, drive->cli->err.tty ? "\r" : "");
	out_printf(&drive->cli->err, "%s\n", text);
	out_flush(&drive->cli->err);
}

/* The second Ctrl-C: what takes so long? */
static void say_what_is_undone(struct drive *drive)
{
	_cleanup_text_ struct text text = { 0 };
	const struct progress_row *row;

	for (size_t i = 0; i < drive->progress.count; i++) {
		row = &drive->progress.rows[i];
		if (!row->depth)
			continue;
		text_format(&text, "%s%s%s%s", text.length ? ", " : "", row->machine,
			    *row->machine ? ": " : "", row->phases[row->depth - 1].name);
		if (*row->phases[row->depth - 1].text)
			text_format(&text, " (%s)", row->phases[row->depth - 1].text);
	}
	if (!text.length)
		text_add(&text, "the last step");
	text_add(&text,
		 " is being ended and undone; a third Ctrl-C leaves that to the next command");
	say(drive, text.data);
}

static bool check_signals(struct drive *drive)
{
	unsigned n = signals_take_interrupts();

	if (signals_terminated() && !drive->cancelled) {
		drive->cancelled = true;
		venv_op_cancel(drive->op);
	}
	for (; n; n--) {
		drive->interrupts++;
		if (drive->interrupts == 1) {
			drive->cancelled = true;
			venv_op_cancel(drive->op);
			say(drive, "cancelling (Ctrl-C again: what it is waiting for)");
		} else if (drive->interrupts == 2) {
			say_what_is_undone(drive);
		} else {
			return false;
		}
	}
	return true;
}

/* Wait for an event, a signal, or the time to draw. false: the user will not wait any longer. */
static bool wait_for_event(struct drive *drive, struct signals *signals)
{
	struct pollfd fd = { .fd = venv_op_fd(drive->op), .events = POLLIN };
	bool animate = drive->is_live && progress_is_active(&drive->progress);

	out_flush(&drive->cli->out);
	(void)signals_wait(signals, &fd, 1, animate ? FRAME_MS : -1);
	if (!check_signals(drive))
		return false;
	draw(drive, signals_take_resized());
	return true;
}

static int abandon(struct drive *drive)
{
	say(drive, "left as it is: 'venv repair' or the next command goes on from here");
	out_flush(&drive->cli->out);
	_exit(STATUS_INTERRUPTED);
}

static int loop(struct drive *drive, struct signals *signals, venv_error **err)
{
	const venv_event *event;
	unsigned events = 0;
	int r;

	while ((r = venv_op_next(drive->op, 0, &event, err)) > 0) {
		if (r != VENV_OP_EVENT) {
			if (!wait_for_event(drive, signals))
				return abandon(drive);
			continue;
		}
		drive_event(drive, event);
		/* A stream of events without a pause: Ctrl-C and the picture come in between. */
		if (++events % EVENTS_BETWEEN == 0) {
			signals_let_in(signals);
			if (!check_signals(drive))
				return abandon(drive);
			draw(drive, false);
		}
	}
	return r;
}

static int failure(struct drive *drive, int r, venv_error *err)
{
	int status = venv_code_exit_status(r);

	if (err && !drive_was_reported(drive, err))
		status = cli_fail_with(drive->cli, err);
	else
		venv_error_free(err);
	if (drive->cli->own_failure)
		status = STATUS_OWN_FAILURE;
	if (drive->cancelled)
		status = signals_terminated() ? 128 + signals_terminated() : STATUS_INTERRUPTED;
	return status;
}

int drive_run(struct drive *drive, venv_op *op)
{
	struct signals signals;
	venv_error *err = NULL;
	int r;

	drive->op = op;
	drive->started = drive_now();
	signals_begin(&signals);
	r = loop(drive, &signals, &err);
	drive_flush_streams(drive, NULL, NULL);
	drive_clear(drive);
	out_flush(&drive->cli->out);
	r = r < 0 ? failure(drive, r, err) : 0;
	signals_end(&signals);
	return r;
}

const struct drive_machine *drive_machine(const struct drive *drive, const char *name)
{
	for (size_t i = 0; i < drive->count; i++)
		if (!strcmp(drive->machines[i].name, name))
			return &drive->machines[i];
	return NULL;
}

uint64_t drive_elapsed(const struct drive *drive, const char *machine)
{
	const struct drive_machine *m = drive_machine(drive, machine);

	return m ? m->last - drive->started : 0;
}

void drive_print_timings(struct drive *drive)
{
	_cleanup_table_ struct table table = TABLE_INIT(4);

	if (drive->cli->format != FORMAT_TEXT)
		return;
	for (size_t i = 0; i < 4; i++)
		table_add(&table, STYLE_BOLD, "%s",
			  ((const char *[]){ "MACHINE", "PHASE", "TIME", "" })[i]);
	for (size_t i = 0; i < drive->count; i++)
		for (size_t j = 0; j < drive->machines[i].n_phases; j++) {
			const struct drive_phase *phase = &drive->machines[i].phases[j];
			_cleanup_text_ struct text time = { 0 };

			if (phase->elapsed < 1000000)
				text_format(&time, "%6.1f ms", (double)phase->elapsed / 1000);
			else
				text_format(&time, "%6.1f s", (double)phase->elapsed / 1e6);
			table_add(&table, STYLE_NONE, "%s",
				  *drive->machines[i].name ? drive->machines[i].name : "-");
			table_add(&table, STYLE_NONE, "%s", phase->name);
			table_add(&table, STYLE_NONE, "%s", time.data);
			table_add(&table, STYLE_DIM, "%s", phase->text);
		}
	table_print(&table, &drive->cli->out);
}
