/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines at the bottom of a terminal that are drawn again and again. What is printed in between
 * goes above them: live_clear(), print, live_draw().
 */
#ifndef CLI_LIVE_H
#define CLI_LIVE_H

#include "progress.h"

enum { LIVE_ROWS = 64 };

struct live {
	struct output *out;
	size_t widths[LIVE_ROWS]; /* of the lines that are shown */
	size_t lines;
	unsigned columns; /* of the terminal when they were drawn */
};

void live_clear(struct live *live);
/* rows and columns of the terminal now. */
void live_draw(struct live *live, const struct progress *progress, unsigned rows, unsigned columns,
	       uint64_t now);

#endif
