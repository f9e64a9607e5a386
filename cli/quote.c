/* SPDX-License-Identifier: Apache-2.0 */
#include "quote.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TAB = 8, GUTTER = 7, FILE_MAX = 64 * 1024 * 1024 };

/* Make a line visible, tabs as spaces. Returns the display column (from 0) of the wanted character. */
static size_t expand(struct text *ret, const char *line, unsigned column)
{
	size_t n = strcspn(line, "\r\n"), at = 0, length, caret = SIZE_MAX, columns = 0;
	unsigned character = 1;
	int32_t c;

	for (; at < n; at += length, character++) {
		length = utf8_next(line + at, n - at, &c);
		if (character == column)
			caret = columns;
		if (c == '\t') {
			text_add_spaces(ret, TAB - columns % TAB);
			columns += TAB - columns % TAB;
			continue;
		}
		text_add_visible(ret, line + at, length);
		columns = columns + (char_is_hidden(c) ? 0 : char_columns(c));
		if (char_is_hidden(c))
			columns = text_columns(text_string(ret));
	}
	return caret == SIZE_MAX ? columns : caret;
}

/* The part of a long line that holds the caret; *caret becomes its column in that part. */
static void add_window(struct text *ret, const char *line, size_t *caret, size_t room,
		       const char *ellipsis)
{
	size_t total = text_columns(line), mark = text_columns(ellipsis), skip, start, fit;

	if (total <= room) {
		text_add(ret, line);
		return;
	}
	start = *caret + mark + 12 <= room ? 0
		: *caret + 12 > total      ? total - room
					   : *caret - room / 2;
	skip = text_fit(line, start ? start + mark : 0);
	if (start)
		text_add(ret, ellipsis);
	*caret -= start ? text_columns(line) - text_columns(line + skip) - mark : 0;
	line += skip;
	fit = text_fit(line, room - (start ? mark : 0));
	if (line[fit])
		fit = text_fit(line, room - (start ? mark : 0) - mark);
	text_add_n(ret, line, fit);
	if (line[fit])
		text_add(ret, ellipsis);
}

void quote_line(struct text *ret, const char *line, unsigned number, unsigned column,
		unsigned width, const char *ellipsis)
{
	_cleanup_text_ struct text expanded = { 0 };
	size_t room = width > GUTTER + 30 ? width - GUTTER - 1 : 30, end;
	size_t caret = expand(&expanded, line, column);

	text_format(ret, "%4u | ", number);
	add_window(ret, text_string(&expanded), &caret, room, ellipsis);
	for (end = ret->length; end && ret->data[end - 1] == ' '; end--)
		;
	ret->length = end;
	text_add_char(ret, '\n');
	if (!column)
		return;
	text_add(ret, "     | ");
	text_add_spaces(ret, caret);
	text_add(ret, "^\n");
}

bool quote_read(const char *path, unsigned number, struct text *ret)
{
	/* a machine or another user may have put a pipe, a device or a link there meanwhile */
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	FILE *file = NULL;
	struct stat st;
	char *line = NULL;
	size_t size = 0;
	ssize_t n = -1;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < FILE_MAX)
		file = fdopen(fd, "r");
	if (!file) {
		if (fd >= 0)
			(void)close(fd);
		return false;
	}
	while (number-- && (n = getline(&line, &size, file)) >= 0)
		;
	if (n >= 0)
		text_add_n(ret, line, strlen(line));
	free(line);
	(void)fclose(file);
	return n >= 0;
}
