/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of the old scp protocol ("scp -t -- dir", "scp -r -f *.txt"), recognised so that
 * it works in machines without an scp. A shell would have split and expanded it; the words are
 * split here, and come out as patterns: what was quoted is escaped by a backslash, and venv-enter
 * expands the rest (~ and * ? [). Whatever needs more of a shell is left to a shell.
 */
#include <string.h>

#include "sess.h"

/* Characters that only a shell understands, outside of quotes. */
#define SHELL_ONLY ";|&$`<>(){}!\n#"
#define PATTERN "*?[]\\~"

struct words {
	char **list;
	struct buf word;
	bool open, failed;
};

static void add_char(struct words *words, char c, bool quoted)
{
	if (quoted && strchr(PATTERN, c))
		venv__buf_add(&words->word, "\\", 1);
	venv__buf_add(&words->word, &c, 1);
	words->open = true;
}

static void end_word(struct words *words)
{
	char *text;

	if (!words->open)
		return;
	text = venv__buf_steal(&words->word);
	words->failed |= !text || venv__strv_add(&words->list, text) < 0;
	free(text);
	words->open = false;
}

/* The quoted part that begins at *p; NULL when it has no end or needs a shell. */
static const char *quoted_part(struct words *words, const char *p)
{
	char quote = *p++;

	words->open = true;
	for (; *p && *p != quote; p++) {
		if (quote == '"' && strchr("$`", *p))
			return NULL;
		if (quote == '"' && *p == '\\' && p[1] && strchr("\"\\$`", p[1]))
			p++;
		add_char(words, *p, true);
	}
	return *p ? p + 1 : NULL;
}

static const char *one_part(struct words *words, const char *p)
{
	if (*p == '\'' || *p == '"')
		return quoted_part(words, p);
	if (*p == '\\' && p[1]) {
		add_char(words, p[1], true);
		return p + 2;
	}
	if (strchr(SHELL_ONLY, *p) || *p == '\\')
		return NULL;
	if (*p == ' ' || *p == '\t')
		end_word(words);
	else
		add_char(words, *p, false);
	return p + 1;
}

/* -t or -f among options that we know */
static bool is_server(char *const *list)
{
	bool found = false;
	size_t i;

	for (i = 1; list[i] && list[i][0] == '-' && list[i][1]; i++) {
		if (strcmp(list[i], "--") == 0)
			return found && list[i + 1];
		if (strspn(list[i] + 1, "rpdvqtf") != strlen(list[i] + 1))
			return false;
		found |= strpbrk(list[i], "tf") != NULL;
	}
	return found && list[i];
}

char **sess_scp_words(const char *command)
{
	struct words words = { 0 };

	if (strncmp(command, "scp ", 4) != 0)
		return NULL;
	while (command && *command)
		command = one_part(&words, command);
	if (command)
		end_word(&words);
	venv__buf_done(&words.word);
	if (command && !words.failed && is_server(words.list))
		return words.list;
	venv__strv_free(words.list);
	return NULL;
}
