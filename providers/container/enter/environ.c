/* SPDX-License-Identifier: Apache-2.0 */
#include "environ.h"

#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "util/cleanup.h"

/* The rest of a line: without a comment, which nothing can quote, and without space at its ends. */
static char *trim(char *line)
{
	size_t n;

	line += strspn(line, " \t");
	n = strcspn(line, "#");
	while (n && strchr(" \t\r", line[n - 1]))
		n--;
	line[n] = '\0';
	return line;
}

static size_t name_length(const char *text)
{
	static const char digits[] = "0123456789",
			  letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
	size_t n = strspn(text, letters);

	while (n && text[n] && (strchr(digits, text[n]) || strchr(letters, text[n])))
		n++;
	return n;
}

/* A quote opens a value and need not close it; there are no escapes. */
static void unquote(char *value)
{
	size_t n = strlen(value);

	if (*value != '"' && *value != '\'')
		return;
	if (n > 1 && value[n - 1] == *value)
		n--;
	memmove(value, value + 1, n - 1);
	value[n - 1] = '\0';
}

char *enter_environ_next(char **text)
{
	while (*text && **text) {
		char *line = *text, *end = strchr(line, '\n');
		size_t n;

		if (end)
			*end++ = '\0';
		*text = end;
		line = trim(line);
		if (strncmp(line, "export ", 7) == 0)
			line = trim(line + 7);
		n = name_length(line);
		if (!n || line[n] != '=')
			continue;
		unquote(line + n + 1);
		return line;
	}
	return NULL;
}

static void add_file(int root_fd, const char *path)
{
	_cleanup_free_ char *text = enter_read_text(root_fd, path, ENVIRON_FILE_MAX);
	char *rest = text, *found[ENVIRON_MAX];
	size_t n = 0;

	while (n < ENVIRON_MAX && (found[n] = enter_environ_next(&rest)))
		n++;
	while (n--) { /* from its end, because the last one of a name counts */
		char *value = strchr(found[n], '=');

		*value++ = '\0';
		(void)setenv(found[n], value, 0);
	}
}

void enter_environ_add(int root_fd)
{
	/* in Debian's PAM files this is the second one, and overrides the first */
	add_file(root_fd, "/etc/default/locale");
	add_file(root_fd, "/etc/environment");
}
