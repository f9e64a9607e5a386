/* SPDX-License-Identifier: Apache-2.0 */
/* A line of the user's file with a caret below the place that is wrong. */
#ifndef CLI_QUOTE_H
#define CLI_QUOTE_H

#include "text.h"

/*
 * @param number of the line, from 1
 * @param column in characters, from 1; 0: no caret
 * @param width columns of the terminal; a longer line is cut around the caret
 */
void quote_line(struct text *ret, const char *line, unsigned number, unsigned column,
		unsigned width, const char *ellipsis);
/* Read line number of a file. false when there is none. */
bool quote_read(const char *path, unsigned number, struct text *ret);

#endif
