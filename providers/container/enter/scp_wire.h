/* SPDX-License-Identifier: Apache-2.0 */
/* The old scp protocol on descriptors 0 and 1: lines, one-byte answers, data. Private to scp*.c. */
#ifndef VENV_ENTER_SCP_WIRE_H
#define VENV_ENTER_SCP_WIRE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

enum { SCP_LINE_MAX = 2 * PATH_MAX, SCP_DEPTH_MAX = 256 };

struct scp {
	bool recursive, times, directory, to, from;
	bool failed;         /* something was reported */
	bool gone;           /* the other side is not there any more */
	char path[PATH_MAX]; /* what is being worked on; changed in place */
	size_t path_length;
};

/* Bytes from the other side; false: gone. */
bool scp_get(struct scp *scp, char *ret);
bool scp_get_line(struct scp *scp, char line[SCP_LINE_MAX]);
/* What is there, at most size bytes; 0: gone. */
size_t scp_get_some(struct scp *scp, const char **ret, size_t size);
bool scp_put(struct scp *scp, const void *data, size_t length);
void scp_ok(struct scp *scp);
/* Tell the other side "scp: PATH: text of errno". */
void scp_complain(struct scp *scp, const char *path, int number);
/* Read its answer to what was sent; false: it refused, or is gone. */
bool scp_answer(struct scp *scp);

/* Append a name to the path; false: too long. Cut it back with scp_pop(). */
bool scp_push(struct scp *scp, const char *name);
void scp_pop(struct scp *scp, size_t length);

void scp_receive(struct scp *scp, const char *target);       /* scp -t */
void scp_send(struct scp *scp, const char *const *patterns); /* scp -f */
/*
 * Call fn with every path that a shell pattern names; how many. Quoted characters have a backslash.
 */
size_t scp_expand(struct scp *scp, const char *pattern, void (*fn)(struct scp *scp));
/* The pattern as one path: "~" and backslashes resolved; false: too long. */
bool scp_literal(const char *pattern, char ret[PATH_MAX]);

#endif
