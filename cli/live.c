/* SPDX-License-Identifier: Apache-2.0 */
#include "live.h"

#include <string.h>

/* Rows of the screen that the shown lines take now: a narrower terminal has wrapped them. */
static size_t rows_taken(const struct live *live, unsigned columns)
{
	size_t rows = 0;

	for (size_t i = 0; i < live->lines; i++)
		rows += live->widths[i] <= columns ? 1 : (live->widths[i] + columns - 1) / columns;
	return rows;
}

static void go_up(struct live *live, unsigned columns)
{
	size_t rows = rows_taken(live, columns);

	out_text(live->out, "\r");
	if (rows)
		out_printf(live->out, "\033[%luA", (unsigned long)rows);
}

void live_clear(struct live *live)
{
	unsigned rows, columns;

	if (!live->lines)
		return;
	terminal_size(live->out->fd, &rows, &columns);
	go_up(live, columns);
	out_text(live->out, "\033[J");
	live->lines = 0;
}

/* Copy a frame, clearing to the end of each line, so that nothing is ever blank in between. */
static void add_frame(struct output *out, const char *frame)
{
	size_t n;

	for (; *frame; frame += n + 1) {
		n = strcspn(frame, "\n");
		text_add_n(&out->buffer, frame, n);
		out_text(out, "\033[K\n");
	}
}

void live_draw(struct live *live, const struct progress *progress, unsigned rows, unsigned columns,
	       uint64_t now)
{
	struct output frame = { .fd = -1, .color = live->out->color, .utf8 = live->out->utf8 };
	unsigned most = rows > 2 ? rows - 2 : 1;

	if (live->lines) {
		go_up(live, columns);
		if (columns != live->columns)
			out_text(live->out, "\033[J");
	}
	live->columns = columns;
	live->lines = progress_render(progress, &frame, most < LIVE_ROWS ? most : LIVE_ROWS,
				      columns, now, live->widths);
	add_frame(live->out, text_string(&frame.buffer));
	out_text(live->out, "\033[J");
	text_done(&frame.buffer);
	out_flush(live->out);
}
