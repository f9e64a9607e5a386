/* SPDX-License-Identifier: Apache-2.0 */
/* Events of an operation, in the form that was asked for. */
#include "drive.h"

#include <stdlib.h>
#include <string.h>

enum { SLOW_US = 1000000, PROGRESS_EVERY_US = 5000000, LINE_MAX_BYTES = 65536 };

static bool is_plain(const struct drive *drive)
{
	return drive->cli->format == FORMAT_TEXT && !drive->is_live && !drive->cli->quiet;
}

static struct drive_machine *get_machine(struct drive *drive, const char *name)
{
	struct drive_machine *machine;

	name = name ? name : "";
	for (size_t i = 0; i < drive->count; i++)
		if (!strcmp(drive->machines[i].name, name))
			return &drive->machines[i];
	drive->machines = xrealloc(drive->machines, drive->count + 1, sizeof(*machine));
	machine = &drive->machines[drive->count++];
	*machine = (struct drive_machine){ .name = xstrdup(name), .first = drive_now() };
	return machine;
}

static struct drive_phase *find_phase(struct drive_machine *machine, const char *name)
{
	for (size_t i = machine->n_phases; i > 0; i--)
		if (name && !strcmp(machine->phases[i - 1].name, name))
			return &machine->phases[i - 1];
	return NULL;
}

/* "web: " or nothing. */
static void print_machine(struct output *out, const char *machine)
{
	if (machine && *machine)
		out_styled(out, STYLE_BOLD, "%s: ", machine);
}

/* What is being done: the text says it, except for steps, where it is only their name. */
static void print_doing(struct output *out, const char *phase, const char *text)
{
	if (!text || !*text)
		out_printf(out, "%s", phase);
	else
		out_printf(out, strcmp(phase, "provision") ? "%s%s" : "%s: %s",
			   strcmp(phase, "provision") ? "" : phase, text);
}

static void on_begin(struct drive *drive, struct drive_machine *machine, const venv_event *event)
{
	const char *name = venv_event_phase(event), *text = venv_event_text(event);
	struct output *out = &drive->cli->out;
	uint64_t now = drive_now();

	machine->phases =
		xrealloc(machine->phases, machine->n_phases + 1, sizeof(*machine->phases));
	machine->phases[machine->n_phases++] = (struct drive_phase){
		.name = xstrdup(name ? name : ""),
		.text = xstrdup(text ? text : ""),
		.begun = now,
		.said = now,
	};
	progress_begin(&drive->progress, machine->name, name, text, now);
	if (!is_plain(drive))
		return;
	print_machine(out, machine->name);
	print_doing(out, name ? name : "", text);
	out_text(out, "\n");
}

static void on_end(struct drive *drive, struct drive_machine *machine, const venv_event *event)
{
	struct drive_phase *phase = find_phase(machine, venv_event_phase(event));
	struct output *out = &drive->cli->out;
	_cleanup_text_ struct text time = { 0 };

	drive_flush_streams(drive, machine->name, venv_event_phase(event));
	progress_end(&drive->progress, machine->name, venv_event_phase(event));
	if (!phase)
		return;
	phase->elapsed = venv_event_elapsed_us(event);
	if (phase->elapsed < SLOW_US || drive->cli->quiet || drive->cli->format != FORMAT_TEXT)
		return;
	text_add_duration(&time, phase->elapsed);
	drive_clear(drive);
	print_machine(out, machine->name);
	print_doing(out, phase->name, phase->text);
	out_printf(out, " (%s)\n", time.data);
}

static void on_progress(struct drive *drive, struct drive_machine *machine, const venv_event *event)
{
	struct drive_phase *phase = find_phase(machine, venv_event_phase(event));
	_cleanup_text_ struct text numbers = { 0 };
	uint64_t now = drive_now();

	progress_set(&drive->progress, machine->name, venv_event_phase(event),
		     venv_event_done(event), venv_event_total(event), now);
	if (!is_plain(drive) || !phase || now < phase->said + PROGRESS_EVERY_US)
		return;
	phase->said = now;
	progress_add_numbers(&numbers, progress_phase(&drive->progress, machine->name));
	print_machine(&drive->cli->out, machine->name);
	out_printf(&drive->cli->out, "%s: %s\n", phase->name, numbers.data);
}

/* What stands before a line of output: the step's name where there is one. */
static void print_prefix(struct drive *drive, const char *machine, const char *phase)
{
	struct drive_phase *p = find_phase(get_machine(drive, machine), phase);
	struct output *out = &drive->cli->out;

	out_style(out, STYLE_DIM);
	if (machine && *machine)
		out_printf(out, "%s ", machine);
	if (p && *p->text && strlen(p->text) <= 32)
		out_printf(out, "%s", p->text);
	else
		out_printf(out, "%s", phase ? phase : "");
	out_text(out, " |");
	out_style(out, STYLE_NONE);
}

static void print_stream(struct drive *drive, struct drive_stream *stream)
{
	const char *line = text_string(&stream->line), *last;
	size_t n = stream->line.length;

	while (n && line[n - 1] == '\r')
		stream->line.data[--n] = '\0';
	/* What a program wrote over itself, as a terminal would leave it. */
	last = strrchr(line, '\r');
	drive_clear(drive);
	print_prefix(drive, stream->machine, stream->phase);
	out_block(&drive->cli->out, " ", last ? last + 1 : line);
	if (!*(last ? last + 1 : line))
		out_text(&drive->cli->out, "\n");
	text_clear(&stream->line);
}

void drive_flush_streams(struct drive *drive, const char *machine, const char *phase)
{
	for (size_t i = 0; i < drive->n_streams; i++) {
		struct drive_stream *stream = &drive->streams[i];

		if (!stream->line.length || (machine && strcmp(stream->machine, machine) != 0) ||
		    (phase && strcmp(stream->phase, phase) != 0))
			continue;
		print_stream(drive, stream);
	}
}

static struct drive_stream *get_stream(struct drive *drive, const char *machine, const char *phase,
				       int number)
{
	struct drive_stream *stream;

	phase = phase ? phase : "";
	for (size_t i = 0; i < drive->n_streams; i++) {
		stream = &drive->streams[i];
		if (stream->number == number && !strcmp(stream->machine, machine) &&
		    !strcmp(stream->phase, phase))
			return stream;
	}
	drive->streams = xrealloc(drive->streams, drive->n_streams + 1, sizeof(*stream));
	stream = &drive->streams[drive->n_streams++];
	*stream = (struct drive_stream){ .machine = xstrdup(machine),
					 .phase = xstrdup(phase),
					 .number = number };
	return stream;
}

static void on_output(struct drive *drive, struct drive_machine *machine, const venv_event *event)
{
	struct drive_stream *stream;
	const char *text = venv_event_text(event);
	size_t n;

	if (drive->cli->quiet || !text)
		return;
	stream =
		get_stream(drive, machine->name, venv_event_phase(event), venv_event_stream(event));
	while (*text) {
		n = strcspn(text, "\n");
		text_add_n(&stream->line, text, n);
		text += n;
		if (*text == '\n' || stream->line.length > LINE_MAX_BYTES)
			print_stream(drive, stream);
		text += *text == '\n';
	}
}

bool drive_was_reported(const struct drive *drive, const venv_error *error)
{
	for (size_t i = 0; i < drive->n_messages; i++)
		if (!strcmp(drive->messages[i], venv_error_message(error)))
			return true;
	return false;
}

static void on_error(struct drive *drive, struct drive_machine *machine, const venv_event *event)
{
	const venv_error *error = venv_event_error(event);

	machine->failed = true;
	for (size_t i = 0; i < machine->n_phases; i++) /* what it did until now, for the timings */
		if (!machine->phases[i].elapsed)
			machine->phases[i].elapsed = drive_now() - machine->phases[i].begun;
	progress_failed(&drive->progress, machine->name);
	drive_flush_streams(drive, machine->name, NULL);
	drive_clear(drive);
	if (!error || drive_was_reported(drive, error))
		return;
	drive->messages = xrealloc(drive->messages, drive->n_messages + 1, sizeof(char *));
	drive->messages[drive->n_messages++] = xstrdup(venv_error_message(error));
	report_error(drive->cli, error);
}

static void on_notice(struct drive *drive, struct drive_machine *machine, const venv_event *event)
{
	const char *text = venv_event_text(event);

	if (drive->cli->quiet)
		return;
	drive_clear(drive);
	print_machine(&drive->cli->out, machine->name);
	out_printf(&drive->cli->out, "%s\n", text);
}

static void on_state(struct drive *drive, struct drive_machine *machine, const venv_event *event)
{
	const char *text = venv_event_text(event);

	free(machine->state);
	machine->state = xstrdup(text ? text : "");
	progress_state(&drive->progress, machine->name, text);
}

static void add_json_details(struct text *line, const venv_event *event, int type)
{
	if (type == VENV_EVENT_OUTPUT)
		json_add_member(line, "stream",
				venv_event_stream(event) == 2 ? "stderr" : "stdout");
	if (type == VENV_EVENT_PROGRESS) {
		json_add_number(line, "done", venv_event_done(event));
		json_add_number(line, "total", venv_event_total(event));
	}
	if (type == VENV_EVENT_PHASE_END)
		json_add_number(line, "elapsed_us", venv_event_elapsed_us(event));
	json_add_member(line, type == VENV_EVENT_STATE ? "state" : "text", venv_event_text(event));
}

static void print_json(struct drive *drive, const venv_event *event)
{
	static const char *const names[] = {
		[VENV_EVENT_PHASE_BEGIN] = "phase-begin",
		[VENV_EVENT_PHASE_END] = "phase-end",
		[VENV_EVENT_PROGRESS] = "progress",
		[VENV_EVENT_OUTPUT] = "output",
		[VENV_EVENT_NOTICE] = "notice",
		[VENV_EVENT_WARNING] = "warning",
		[VENV_EVENT_STATE] = "state",
	};
	_cleanup_text_ struct text line = { 0 };
	int type = venv_event_type(event);

	if (type < 1 || (size_t)type >= ARRAY_SIZE(names) || !names[type])
		return;
	json_open(&line, names[type]);
	json_add_member(&line, "machine", venv_event_machine(event));
	json_add_member(&line, "phase", venv_event_phase(event));
	add_json_details(&line, event, type);
	json_close(drive->cli, &line);
}

static void print_vagrant(struct drive *drive, const venv_event *event)
{
	const char *machine = venv_event_machine(event), *text = venv_event_text(event);
	const char *phase = venv_event_phase(event);

	switch (venv_event_type(event)) {
	case VENV_EVENT_PHASE_BEGIN:
		vagrant_line(drive->cli, machine, "ui", "info", text && *text ? text : phase, NULL);
		break;
	case VENV_EVENT_OUTPUT:
		vagrant_line(drive->cli, machine, "ui", "detail", text, NULL);
		break;
	case VENV_EVENT_NOTICE:
		vagrant_line(drive->cli, machine, "ui", "info", text, NULL);
		break;
	case VENV_EVENT_WARNING:
		vagrant_line(drive->cli, machine, "ui", "warn", text, NULL);
		break;
	case VENV_EVENT_STATE:
		vagrant_line(drive->cli, machine, "state", vagrant_state(text ? text : ""), NULL);
		break;
	default:
		break;
	}
}

static void print_text(struct drive *drive, struct drive_machine *machine, const venv_event *event)
{
	switch (venv_event_type(event)) {
	case VENV_EVENT_OUTPUT:
		on_output(drive, machine, event);
		break;
	case VENV_EVENT_NOTICE:
		on_notice(drive, machine, event);
		break;
	case VENV_EVENT_WARNING:
		drive_clear(drive);
		report_warning(drive->cli, venv_event_machine(event), venv_event_text(event));
		break;
	default:
		break;
	}
}

void drive_event(struct drive *drive, const venv_event *event)
{
	struct drive_machine *machine = get_machine(drive, venv_event_machine(event));
	int type = venv_event_type(event);

	machine->last = drive_now();
	if (type == VENV_EVENT_PHASE_BEGIN)
		on_begin(drive, machine, event);
	else if (type == VENV_EVENT_PHASE_END)
		on_end(drive, machine, event);
	else if (type == VENV_EVENT_PROGRESS)
		on_progress(drive, machine, event);
	else if (type == VENV_EVENT_STATE)
		on_state(drive, machine, event);
	else if (type == VENV_EVENT_ERROR)
		on_error(drive, machine, event);
	if (drive->cli->format == FORMAT_JSON)
		print_json(drive, event);
	else if (drive->cli->format == FORMAT_VAGRANT)
		print_vagrant(drive, event);
	else
		print_text(drive, machine, event);
}
