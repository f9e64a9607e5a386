/* SPDX-License-Identifier: Apache-2.0 */
/* What images say of their own program, read for the providers that run it. */
#include <signal.h>
#include <string.h>

#include "image.h"
#include "util/buf.h"

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "HUP", SIGHUP },     { "INT", SIGINT },   { "QUIT", SIGQUIT }, { "KILL", SIGKILL },
	{ "USR1", SIGUSR1 },   { "USR2", SIGUSR2 }, { "TERM", SIGTERM }, { "PWR", SIGPWR },
	{ "WINCH", SIGWINCH }, { "CONT", SIGCONT }, { "ABRT", SIGABRT }, { "ALRM", SIGALRM },
};

/* Real-time signals count from what libc leaves to programs: 34, also in the machine. */
int venv__signal_number(const char *text, int otherwise)
{
	char *end;
	unsigned long number, more;

	if (!text)
		return otherwise;
	if (strncmp(text, "SIG", 3) == 0)
		text += 3;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (strcmp(text, signals[i].name) == 0)
			return signals[i].number;
	number = 0;
	if (strncmp(text, "RTMIN", 5) == 0) {
		number = 34;
		text += 5 + (text[5] == '+');
		if (!*text)
			return (int)number;
	}
	if (*text < '0' || *text > '9')
		return otherwise;
	more = strtoul(text, &end, 10);
	number += MIN(more, 65UL);
	return *end || number < 1 || number > 64 ? otherwise : (int)number;
}

static const char *first_word(const struct machine_image *image)
{
	if (image->entrypoint && image->entrypoint[0])
		return image->entrypoint[0];
	return image->cmd && image->cmd[0] ? image->cmd[0] : NULL;
}

bool venv__image_is_system(const struct machine_image *image)
{
	static const char *const inits[] = { "/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd",
					     "/usr/lib/systemd/systemd" };
	const char *word = first_word(image);

	for (size_t i = 0; word && i < ARRAY_SIZE(inits); i++)
		if (strcmp(word, inits[i]) == 0)
			return true;
	return false;
}

char **venv__image_command(const struct machine_image *image)
{
	char **list = NULL;

	for (char **word = image->entrypoint; word && *word; word++)
		if (venv__strv_add(&list, *word) < 0)
			return list;
	for (char **word = image->cmd; word && *word; word++)
		if (venv__strv_add(&list, *word) < 0)
			return list;
	return list;
}
