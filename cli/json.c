/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of JSON; their forms are promised in docs/JSON.md. */
#include "cli.h"

void json_open(struct text *text, const char *type)
{
	text_add(text, "{\"type\":");
	text_add_json(text, type);
}

void json_add_member(struct text *text, const char *key, const char *value)
{
	if (!value)
		return;
	text_format(text, ",\"%s\":", key);
	text_add_json(text, value);
}

void json_add_number(struct text *text, const char *key, uint64_t value)
{
	text_format(text, ",\"%s\":%lu", key, (unsigned long)value);
}

void json_close(struct cli *cli, struct text *text)
{
	text_add(text, "}\n");
	out_text(&cli->out, text_string(text));
	out_flush(&cli->out);
}

static void add_children(struct text *text, const venv_value *value, bool map)
{
	size_t n = venv_value_count(value);

	text_add_char(text, map ? '{' : '[');
	for (size_t i = 0; i < n; i++) {
		if (i)
			text_add_char(text, ',');
		if (map) {
			text_add_json(text, venv_value_key(value, i));
			text_add_char(text, ':');
		}
		json_add_value(text, venv_value_at(value, i));
	}
	text_add_char(text, map ? '}' : ']');
}

void json_add_value(struct text *text, const venv_value *value)
{
	switch (venv_value_type(value)) {
	case VENV_BOOL:
		text_add(text, venv_value_int(value) ? "true" : "false");
		break;
	case VENV_INT:
		text_format(text, "%ld", (long)venv_value_int(value));
		break;
	case VENV_REAL:
		text_format(text, "%.6f", venv_value_real(value));
		break;
	case VENV_STRING:
		text_add_json(text, venv_value_string(value));
		break;
	case VENV_LIST:
	case VENV_MAP:
		add_children(text, value, venv_value_type(value) == VENV_MAP);
		break;
	default:
		text_add(text, "null");
	}
}

static void open_result(struct cli *cli, struct text *line)
{
	_cleanup_text_ struct text name = { 0 };

	cli_command_name(cli->parent, cli->command, &name);
	json_open(line, "result");
	json_add_member(line, "command", name.data);
	text_add(line, ",\"result\":");
}

void json_result(struct cli *cli, const venv_value *value)
{
	_cleanup_text_ struct text line = { 0 };

	open_result(cli, &line);
	json_add_value(&line, value);
	json_close(cli, &line);
}

void json_result_text(struct cli *cli, const char *key, const char *text)
{
	_cleanup_text_ struct text line = { 0 };

	open_result(cli, &line);
	text_format(&line, "{\"%s\":", key);
	text_add_json(&line, text);
	text_add_char(&line, '}');
	json_close(cli, &line);
}
