/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Is the user's character set UTF-8? By the variables alone: reading the locale costs milliseconds. */
static bool charset_is_utf8(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
	const char *value;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		value = getenv(names[i]);
		if (value && *value)
			return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
	}
	return false;
}

static bool wants_color(bool tty, enum color_when when)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	if (when != COLOR_AUTO)
		return when == COLOR_ALWAYS;
	return tty && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

void out_open(struct output *out, int fd, enum color_when color)
{
	*out = (struct output){ .fd = fd, .tty = isatty(fd) };
	out->color = wants_color(out->tty, color);
	out->utf8 = charset_is_utf8();
}

bool out_write(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n >= 0) {
			data += n;
			size -= (size_t)n;
		} else if (errno == EAGAIN) {
			(void)poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

void out_flush(struct output *out)
{
	if (out->fd < 0)
		return;
	out->broken = out->broken || !out_write(out->fd, out->buffer.data, out->buffer.length);
	text_clear(&out->buffer);
}

void out_done(struct output *out)
{
	out_flush(out);
	text_done(&out->buffer);
}

void out_style(struct output *out, enum style style)
{
	static const char *const codes[] = { "0", "1", "2", "31", "32", "33", "36" };

	if (!out->color)
		return;
	text_add(&out->buffer, "\033[");
	text_add(&out->buffer, codes[style]);
	text_add_char(&out->buffer, 'm');
}

void out_text(struct output *out, const char *text)
{
	text_add(&out->buffer, text);
}

void out_printf(struct output *out, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_vformat(&out->buffer, format, args);
	va_end(args);
}

void out_styled(struct output *out, enum style style, const char *format, ...)
{
	va_list args;

	if (style != STYLE_NONE)
		out_style(out, style);
	va_start(args, format);
	text_vformat(&out->buffer, format, args);
	va_end(args);
	if (style != STYLE_NONE)
		out_style(out, STYLE_NONE);
}

static void add_line(struct text *text, const char *line, size_t n)
{
	size_t piece;

	for (size_t at = 0; at < n; at += piece + 1) {
		const char *tab = memchr(line + at, '\t', n - at);

		piece = tab ? (size_t)(tab - line) - at : n - at;
		text_add_visible(text, line + at, piece);
		if (tab)
			text_add_char(text, '\t');
	}
}

void out_block(struct output *out, const char *indent, const char *text)
{
	size_t n;

	while (*text) {
		n = strcspn(text, "\n");
		text_add(&out->buffer, indent);
		add_line(&out->buffer, text, n && text[n - 1] == '\r' ? n - 1 : n);
		text_add_char(&out->buffer, '\n');
		text += n + (text[n] == '\n');
	}
}

const char *out_arrow(const struct output *out)
{
	return out->utf8 ? "→" : "->";
}

const char *out_dot(const struct output *out)
{
	return out->utf8 ? "·" : "-";
}

const char *out_ellipsis(const struct output *out)
{
	return out->utf8 ? "…" : "...";
}

void terminal_size(int fd, unsigned *ret_rows, unsigned *ret_columns)
{
	struct winsize size = { 0 };

	if (ioctl(fd, TIOCGWINSZ, &size) < 0)
		size = (struct winsize){ 0 };
	*ret_rows = size.ws_row ? size.ws_row : 24;
	*ret_columns = size.ws_col ? size.ws_col : 80;
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table->styles);
	*table = (struct table){ 0 };
}

void table_add(struct table *table, enum style style, const char *format, ...)
{
	struct text text = { 0 };
	va_list args;

	if (table->count == table->room) {
		table->room = table->room ? table->room * 2 : 64;
		table->cells = xrealloc(table->cells, table->room, sizeof(*table->cells));
		table->styles = xrealloc(table->styles, table->room, sizeof(*table->styles));
	}
	va_start(args, format);
	text_vformat(&text, format, args);
	va_end(args);
	table->styles[table->count] = (unsigned char)style;
	table->cells[table->count++] = text.data ? text.data : xstrdup("");
}

static void print_row(const struct table *table, struct output *out, size_t row,
		      const size_t *widths)
{
	size_t last = table->columns;

	while (last > 1 && !*table->cells[row * table->columns + last - 1])
		last--;
	for (size_t i = 0; i < last; i++) {
		size_t at = row * table->columns + i;
		enum style style = row ? (enum style)table->styles[at] : STYLE_BOLD;

		if (style != STYLE_NONE)
			out_style(out, style);
		out_text(out, table->cells[at]);
		if (style != STYLE_NONE)
			out_style(out, STYLE_NONE);
		if (i + 1 < last)
			text_add_spaces(&out->buffer,
					widths[i] + 2 - text_columns(table->cells[at]));
	}
	out_text(out, "\n");
}

void table_print(const struct table *table, struct output *out)
{
	size_t *widths = xcalloc(table->columns, sizeof(*widths));
	size_t rows = table->count / table->columns, columns;

	for (size_t i = 0; i < rows * table->columns; i++) {
		columns = text_columns(table->cells[i]);
		if (columns > widths[i % table->columns])
			widths[i % table->columns] = columns;
	}
	for (size_t row = 0; row < rows; row++)
		print_row(table, out, row, widths);
	free(widths);
}
