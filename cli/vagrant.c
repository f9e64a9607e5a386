/* SPDX-License-Identifier: Apache-2.0 */
/* Vagrant's machine-readable lines, for tools that read them: timestamp,target,type,data... */
#include "cli.h"

#include <string.h>
#include <time.h>

static void add_data(struct text *text, const char *data)
{
	size_t n;

	for (; *data; data += n) {
		n = strcspn(data, ",\n\r");
		text_add_visible(text, data, n);
		if (!data[n])
			break;
		text_add(text, data[n] == ','    ? "%!(VAGRANT_COMMA)"
			       : data[n] == '\n' ? "\\n"
						 : "\\r");
		n++;
	}
}

void vagrant_write(struct cli *cli, const char *target, const char *type, const char *const *data)
{
	_cleanup_text_ struct text line = { 0 };

	text_format(&line, "%lu,", (unsigned long)time(NULL));
	add_data(&line, target ? target : "");
	text_format(&line, ",%s", type);
	for (; *data; data++) {
		text_add_char(&line, ',');
		add_data(&line, *data);
	}
	text_add_char(&line, '\n');
	out_text(&cli->out, text_string(&line));
	out_flush(&cli->out);
}

/* The words that readers of Vagrant's output know. */
const char *vagrant_state(const char *state)
{
	static const char *const words[][2] = {
		{ "not created", "not_created" },
		{ "stopped", "poweroff" },
		{ "crashed", "aborted" },
		{ "suspended", "saved" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i][0], state))
			return words[i][1];
	return state;
}
