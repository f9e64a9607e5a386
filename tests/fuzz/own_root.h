/* SPDX-License-Identifier: Apache-2.0 */
/* For fuzzers that change their root: the directories that libFuzzer's own arguments name must be there. */
#ifndef FUZZ_OWN_ROOT_H
#define FUZZ_OWN_ROOT_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The corpus directories and that of what breaks something are looked for after this: empty ones. */
static inline void make_path(const char *argument)
{
	static const char artifacts[] = "-artifact_prefix=";
	bool prefix = strncmp(argument, artifacts, sizeof(artifacts) - 1) == 0;
	char path[4096];

	if (*argument == '-' && !prefix)
		return;
	(void)snprintf(path, sizeof(path), "%s", argument + (prefix ? sizeof(artifacts) - 1 : 0));
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(path, 0700);
		*p = '/';
	}
	if (!prefix)
		(void)mkdir(path, 0700);
}

#endif
