/* SPDX-License-Identifier: Apache-2.0 */
/* Inside posix_files: what it asks of a file system. */
#ifndef POSIX_FILES_H
#define POSIX_FILES_H

#include <signal.h>
#include <stddef.h>

/* What a folder may do without on purpose, by the names of --without. */
enum posix_trait {
	POSIX_CHOWN = 1 << 0,  /* files of other users: owners are mapped */
	POSIX_SETID = 1 << 1,  /* set-id bits */
	POSIX_DEVICE = 1 << 2, /* device nodes */
	POSIX_ROOT = 1 << 3,   /* we are root, who can be others as well */
	POSIX_XATTR = 1 << 4,  /* user.* attributes */
};

enum { POSIX_OTHER = 4321, POSIX_ANOTHER = 4322, POSIX_TEXT_MAX = 4200 };

/* ---- rows: steps in a little language (posix_steps.c) -------------------------------------------- */

/*
 * "OP WORD... [= RESULT]", joined by "; ", in an empty directory. Without a result the step must be "ok";
 * one that fails gives the name of its errno. "@OP" is done by the user POSIX_OTHER. In words, {N} stands
 * for N letters.
 */
struct posix_row {
	const char *name, *steps;
	unsigned needs, not ; /* traits that must be there, and that must not */
};

extern const struct posix_row posix_rows[];
extern const size_t posix_n_rows;

/* @return whether all was as expected; else what was not, in text */
int posix_steps_run(const char *steps, char *text, size_t size);

/* ---- checks that need a function (posix_checks.c) ------------------------------------------------ */

struct posix_check {
	const char *name;
	int (*fn)(void); /* POSIX_OK, POSIX_LEFT_OUT, or what POSIX_MUST gives */
	unsigned needs;
};

enum { POSIX_OK = 0, POSIX_LEFT_OUT = -1 };

extern const struct posix_check posix_checks[];
extern const size_t posix_n_checks;

/* In a check: what does not hold ends it by its line. */
#define POSIX_MUST(condition)                                                                      \
	do {                                                                                       \
		posix_line = __LINE__;                                                             \
		if (!(condition))                                                                  \
			return posix_broken(__FILE__, __LINE__, #condition);                       \
	} while (0)
extern volatile sig_atomic_t posix_line; /* what a check that hangs is at */
int posix_broken(const char *file, int line, const char *condition);

#endif
