/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one way to a terminal. Text of ours is in format strings; everything that comes as %s, and all
 * blocks, is taken to be hostile and made visible (text.h).
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "text.h"

enum style {
	STYLE_NONE,
	STYLE_BOLD,
	STYLE_DIM,
	STYLE_RED,
	STYLE_GREEN,
	STYLE_YELLOW,
	STYLE_CYAN,
};

enum color_when { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

struct output {
	int fd; /* -1: only collects (tests) */
	bool tty;
	bool color;
	bool utf8;   /* the terminal shows more than ASCII */
	bool broken; /* nobody reads any more */
	struct text buffer;
};

void out_open(struct output *out, int fd, enum color_when color);
/* All of it as it is, waiting for who does not read yet. false: nobody reads any more */
bool out_write(int fd, const char *data, size_t size);
void out_flush(struct output *out);
void out_done(struct output *out);

void out_style(struct output *out, enum style style);
void out_printf(struct output *out, const char *format, ...) _printf_(2, 3);
void out_styled(struct output *out, enum style style, const char *format, ...) _printf_(3, 4);
/* Text of ours, as it is. */
void out_text(struct output *out, const char *text);
/* Hostile text of several lines, each behind an indent; tabs are kept. */
void out_block(struct output *out, const char *indent, const char *text);

/* Words that need more than ASCII, with what stands for them. */
const char *out_arrow(const struct output *out);
const char *out_dot(const struct output *out);
const char *out_ellipsis(const struct output *out);

/* Columns and rows of the terminal behind fd; 80 and 24 when there is none. */
void terminal_size(int fd, unsigned *ret_rows, unsigned *ret_columns);

/* A table: columns are as wide as their widest cell. */
struct table {
	char **cells;
	unsigned char *styles;
	size_t count, room;
	size_t columns;
};

#define TABLE_INIT(n)                                                                              \
	{                                                                                          \
		NULL, NULL, 0, 0, n                                                                \
	}
#define _cleanup_table_ __attribute__((cleanup(table_done)))
void table_done(struct table *table);
void table_add(struct table *table, enum style style, const char *format, ...) _printf_(3, 4);
/* The first row is the heading. */
void table_print(const struct table *table, struct output *out);

#endif
