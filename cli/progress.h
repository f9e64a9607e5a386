/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is going on, a line per machine: kept from events, rendered into text. Knows no terminal and no
 * clock; all times are microseconds.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "output.h"

enum { PROGRESS_DEPTH = 8 };

struct progress_phase {
	char *name;
	char *text;
	uint64_t begun;
	uint64_t done, total;
	uint64_t rate_time, rate_done;
	double rate; /* bytes per second; 0: not known yet */
};

struct progress_row {
	char *machine; /* "" for what belongs to none */
	char *state;   /* the last one heard of, or NULL */
	bool failed;
	struct progress_phase phases[PROGRESS_DEPTH]; /* the innermost last */
	size_t depth;
};

struct progress {
	struct progress_row *rows;
	size_t count;
};

void progress_done(struct progress *progress);
void progress_begin(struct progress *progress, const char *machine, const char *phase,
		    const char *text, uint64_t now);
void progress_set(struct progress *progress, const char *machine, const char *phase, uint64_t done,
		  uint64_t total, uint64_t now);
void progress_end(struct progress *progress, const char *machine, const char *phase);
void progress_state(struct progress *progress, const char *machine, const char *state);
void progress_failed(struct progress *progress, const char *machine);
/* The innermost phase of a machine, or NULL. */
const struct progress_phase *progress_phase(const struct progress *progress, const char *machine);
bool progress_is_active(const struct progress *progress);

/*
 * A line per machine, none wider than columns, at most rows lines, into out's buffer; widths of the
 * lines into ret_widths (room for rows). Returns the number of lines.
 */
size_t progress_render(const struct progress *progress, struct output *out, unsigned rows,
		       unsigned columns, uint64_t now, size_t *ret_widths);
/* "45 %  92.1 MB of 203 MB  48.2 MB/s  3 s left" */
void progress_add_numbers(struct text *text, const struct progress_phase *phase);

#endif
