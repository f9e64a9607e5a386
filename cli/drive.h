/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driving an operation to its end: its events become live lines, plain lines, JSON or Vagrant's lines;
 * Ctrl-C cancels it. What it remembers of each machine is there for the summary.
 */
#ifndef CLI_DRIVE_H
#define CLI_DRIVE_H

#include "cli.h"
#include "live.h"
#include "signals.h"

struct drive_phase {
	char *name;
	char *text;
	uint64_t begun;
	uint64_t elapsed; /* microseconds */
	uint64_t said;    /* when progress was printed last (plain lines) */
};

struct drive_machine {
	char *name;
	char *state; /* the last one heard of, or NULL */
	bool failed;
	uint64_t first, last; /* times of its first and last event */
	struct drive_phase *phases;
	size_t n_phases;
};

struct drive_stream { /* a line of output that is not complete yet */
	char *machine, *phase;
	int number;
	struct text line;
};

struct drive {
	struct cli *cli;
	venv_op *op;
	struct drive_machine *machines;
	size_t count;
	struct drive_stream *streams;
	size_t n_streams;
	struct progress progress;
	struct live live;
	bool is_live;
	uint64_t started, drawn;
	unsigned interrupts;
	bool cancelled;
	char **messages; /* of errors that were printed */
	size_t n_messages;
};

#define _cleanup_drive_ __attribute__((cleanup(drive_done)))
void drive_init(struct drive *drive, struct cli *cli);
void drive_done(struct drive *drive);
/* Runs op to its end. 0 or the exit status of a failure that was reported. op stays the caller's. */
int drive_run(struct drive *drive, venv_op *op);
/* The machine, or NULL when nothing was heard of it. */
const struct drive_machine *drive_machine(const struct drive *drive, const char *name);
uint64_t drive_elapsed(const struct drive *drive, const char *machine);
void drive_print_timings(struct drive *drive);
/* Make room for lines that are printed, and draw again when there is something to draw. */
void drive_clear(struct drive *drive);
uint64_t drive_now(void);

/* events.c: one event into the form that was asked for. */
void drive_event(struct drive *drive, const venv_event *event);
/* Print what is left of incomplete lines; machine and phase NULL: all. */
void drive_flush_streams(struct drive *drive, const char *machine, const char *phase);
bool drive_was_reported(const struct drive *drive, const venv_error *error);

#endif
