/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <stdlib.h>
#include <string.h>

enum { FRAME_US = 100000, NAME_MAX_COLUMNS = 20, PHASE_COLUMNS = 9, BAR_MIN = 8, BAR_MAX = 24 };

static void phase_done(struct progress_phase *phase)
{
	free(phase->name);
	free(phase->text);
	*phase = (struct progress_phase){ 0 };
}

void progress_done(struct progress *progress)
{
	for (size_t i = 0; i < progress->count; i++) {
		struct progress_row *row = &progress->rows[i];

		while (row->depth)
			phase_done(&row->phases[--row->depth]);
		free(row->machine);
		free(row->state);
	}
	free(progress->rows);
	*progress = (struct progress){ 0 };
}

static struct progress_row *find_row(const struct progress *progress, const char *machine)
{
	for (size_t i = 0; i < progress->count; i++)
		if (!strcmp(progress->rows[i].machine, machine ? machine : ""))
			return &progress->rows[i];
	return NULL;
}

static struct progress_row *get_row(struct progress *progress, const char *machine)
{
	struct progress_row *row = find_row(progress, machine);

	if (row)
		return row;
	progress->rows = xrealloc(progress->rows, progress->count + 1, sizeof(*row));
	row = &progress->rows[progress->count++];
	*row = (struct progress_row){ .machine = xstrdup(machine ? machine : "") };
	return row;
}

static struct progress_phase *find_phase(struct progress_row *row, const char *name)
{
	for (size_t i = row ? row->depth : 0; i > 0; i--)
		if (!strcmp(row->phases[i - 1].name, name ? name : ""))
			return &row->phases[i - 1];
	return NULL;
}

void progress_begin(struct progress *progress, const char *machine, const char *phase,
		    const char *text, uint64_t now)
{
	struct progress_row *row = get_row(progress, machine);

	if (row->depth == PROGRESS_DEPTH)
		phase_done(&row->phases[--row->depth]);
	row->phases[row->depth++] = (struct progress_phase){
		.name = xstrdup(phase ? phase : ""),
		.text = xstrdup(text ? text : ""),
		.begun = now,
		.rate_time = now,
	};
}

void progress_set(struct progress *progress, const char *machine, const char *phase, uint64_t done,
		  uint64_t total, uint64_t now)
{
	struct progress_phase *p = find_phase(get_row(progress, machine), phase);
	double seconds, rate;

	if (!p) {
		progress_begin(progress, machine, phase, NULL, now);
		p = find_phase(get_row(progress, machine), phase);
	}
	if (done < p->rate_done)
		p->rate_done = done;
	p->done = done;
	p->total = total;
	if (now < p->rate_time + 2 * FRAME_US)
		return;
	seconds = (double)(now - p->rate_time) / 1e6;
	rate = (double)(done - p->rate_done) / seconds;
	p->rate = p->rate > 0 ? 0.7 * p->rate + 0.3 * rate : rate;
	p->rate_time = now;
	p->rate_done = done;
}

void progress_end(struct progress *progress, const char *machine, const char *phase)
{
	struct progress_row *row = find_row(progress, machine);
	struct progress_phase *p = find_phase(row, phase);
	size_t i;

	if (!p)
		return;
	i = (size_t)(p - row->phases);
	phase_done(p);
	memmove(p, p + 1, (row->depth - i - 1) * sizeof(*p));
	row->depth--;
}

void progress_state(struct progress *progress, const char *machine, const char *state)
{
	struct progress_row *row = get_row(progress, machine);

	free(row->state);
	row->state = xstrdup(state ? state : "");
}

void progress_failed(struct progress *progress, const char *machine)
{
	get_row(progress, machine)->failed = true;
}

const struct progress_phase *progress_phase(const struct progress *progress, const char *machine)
{
	const struct progress_row *row = find_row(progress, machine);

	return row && row->depth ? &row->phases[row->depth - 1] : NULL;
}

bool progress_is_active(const struct progress *progress)
{
	for (size_t i = 0; i < progress->count; i++)
		if (progress->rows[i].depth && !progress->rows[i].failed)
			return true;
	return false;
}

void progress_add_numbers(struct text *text, const struct progress_phase *phase)
{
	uint64_t left = phase->total > phase->done ? phase->total - phase->done : 0, seconds;

	if (phase->total) {
		text_format(text, "%3u %%  ",
			    (unsigned)((double)(phase->total - left) * 100 / (double)phase->total));
		text_add_bytes(text, phase->done);
		text_add(text, " of ");
		text_add_bytes(text, phase->total);
	} else {
		text_add_bytes(text, phase->done);
	}
	if (phase->rate < 1)
		return;
	text_add(text, "  ");
	text_add_bytes(text, (uint64_t)phase->rate);
	text_add(text, "/s");
	if (!left)
		return;
	seconds = (uint64_t)((double)left / phase->rate + 0.9);
	text_add(text, "  ");
	if (seconds < 60)
		text_format(text, "%lu s", (unsigned long)seconds);
	else
		text_add_duration(text, seconds * 1000000);
	text_add(text, " left");
}

static void add_bar(struct text *text, const struct progress_phase *phase, size_t columns,
		    bool utf8)
{
	double part = phase->done < phase->total ? (double)phase->done / (double)phase->total : 1;
	size_t full = (size_t)(part * (double)columns);

	for (size_t i = 0; i < columns; i++)
		text_add(text, utf8 ? (i < full ? "█" : "░") : (i < full ? "#" : "-"));
	text_add(text, "  ");
}

/* What stands behind machine and phase, in so many columns. */
static void add_tail(struct text *text, const struct progress_phase *phase, size_t room,
		     uint64_t now, bool utf8)
{
	_cleanup_text_ struct text numbers = { 0 };
	size_t columns;

	if (phase->done || phase->total) {
		progress_add_numbers(&numbers, phase);
		columns = text_columns(numbers.data);
		if (phase->total && room >= columns + 2 + BAR_MIN)
			add_bar(text, phase,
				room - columns - 2 < BAR_MAX ? room - columns - 2 : BAR_MAX, utf8);
	} else {
		text_format(&numbers, "%s", phase->text);
		if (now > phase->begun + 2000000) {
			text_add(&numbers, numbers.length ? "  " : "");
			text_format(&numbers, "%lu s",
				    (unsigned long)((now - phase->begun) / 1000000));
		}
	}
	columns = text_columns(text_string(text));
	room = room > columns ? room - columns : 0;
	text_add_n(text, text_string(&numbers), text_fit(text_string(&numbers), room));
}

static const char *spinner(bool utf8, uint64_t now)
{
	static const char *const round[] = { "⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏" };
	static const char *const plain[] = { "|", "/", "-", "\\" };

	return utf8 ? round[now / FRAME_US % ARRAY_SIZE(round)]
		    : plain[now / FRAME_US % ARRAY_SIZE(plain)];
}

static void render_mark(struct output *out, const struct progress_row *row, uint64_t now)
{
	if (row->failed)
		out_styled(out, STYLE_RED, "%s", out->utf8 ? "✗" : "x");
	else if (row->depth)
		out_styled(out, STYLE_CYAN, "%s", spinner(out->utf8, now));
	else
		out_styled(out, STYLE_GREEN, "%s", out->utf8 ? "✓" : "*");
	out_text(out, " ");
}

/* The name, cut or padded to its column. */
static void render_name(struct output *out, const char *machine, size_t columns)
{
	_cleanup_text_ struct text name = { 0 };

	text_format(&name, "%s", machine);
	if (name.length)
		name.data[text_fit(name.data, columns)] = '\0';
	out_styled(out, STYLE_BOLD, "%s", text_string(&name));
	text_add_spaces(&out->buffer, columns + 2 - text_columns(text_string(&name)));
}

static size_t render_row(const struct progress_row *row, struct output *out, size_t name_columns,
			 size_t columns, uint64_t now)
{
	const struct progress_phase *phase = row->depth ? &row->phases[row->depth - 1] : NULL;
	const char *word = row->failed  ? "failed"
			   : phase      ? phase->name
			   : row->state ? row->state
					: "";
	_cleanup_text_ struct text text = { 0 };
	_cleanup_text_ struct text tail = { 0 };
	size_t used = 2;

	if (name_columns) {
		render_name(out, row->machine, name_columns);
		used += name_columns + 2;
	}
	text_format(&text, "%-*s", PHASE_COLUMNS, word);
	text.data[text_fit(text.data, columns - used)] = '\0';
	out_text(out, text.data);
	used += text_columns(text.data);
	if (!phase || row->failed || used + 2 >= columns)
		return used;
	out_text(out, "  ");
	add_tail(&tail, phase, columns - used - 2, now, out->utf8);
	out_text(out, text_string(&tail));
	return used + 2 + text_columns(text_string(&tail));
}

static size_t name_width(const struct progress *progress, unsigned columns)
{
	size_t width = 0, name;
	size_t most = columns / 3 < NAME_MAX_COLUMNS ? columns / 3 : NAME_MAX_COLUMNS;

	for (size_t i = 0; i < progress->count; i++) {
		_cleanup_text_ struct text visible = { 0 };

		text_format(&visible, "%s", progress->rows[i].machine);
		name = text_columns(text_string(&visible));
		width = name > width ? name : width;
	}
	return width < most ? width : most;
}

/* Has this row something to show? Rows at work come first when there is no room for all. */
static bool shown(const struct progress_row *row, bool working)
{
	if (working)
		return row->depth && !row->failed;
	return (row->failed || !row->depth) && row->state;
}

size_t progress_render(const struct progress *progress, struct output *out, unsigned rows,
		       unsigned columns, uint64_t now, size_t *ret_widths)
{
	size_t width = name_width(progress, columns), lines = 0;
	bool crowded = progress->count > rows;

	if (columns < 24)
		return 0;
	for (size_t i = 0; i < progress->count && lines < rows; i++) {
		const struct progress_row *row = &progress->rows[i];

		if (!shown(row, true) && (crowded || !shown(row, false)))
			continue;
		render_mark(out, row, now);
		ret_widths[lines++] = render_row(row, out, width, columns - 1, now);
		out_text(out, "\n");
	}
	return lines;
}
