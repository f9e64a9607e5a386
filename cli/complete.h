/* SPDX-License-Identifier: Apache-2.0 */
/* Inside completion: the words that were typed, and what is offered for the last one. */
#ifndef CLI_COMPLETE_H
#define CLI_COMPLETE_H

#include "commands.h"

struct words {
	const struct cli_command *parent, *command;
	const struct cli_option *pending; /* the option whose argument is being typed */
	const char *last;
	struct text typed; /* what stands in front of last in the same word: "--option=" */
	const char **operands;
	size_t count;
	bool after_dashes;
	struct cli globals;
};

/* A word that may stand for words->last, if it begins like it. doc NULL: none. */
void complete_offer(struct cli *cli, const struct words *words, const char *word, const char *doc);
/* All machines, each between these two. */
void complete_machines(struct cli *cli, const struct words *words, const char *before,
		       const char *behind);
/* complete_set.c: [machines.NAME.]KEY=VALUE */
void complete_setting(struct cli *cli, const struct words *words);

#endif
