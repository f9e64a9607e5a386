/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and printing answers of the library. */
#include "cli.h"

#include <string.h>

const char *value_text(const venv_value *map, const char *key)
{
	const char *text = venv_value_string(venv_value_get(map, key));

	return text ? text : "";
}

int64_t value_number(const venv_value *map, const char *key)
{
	return venv_value_int(venv_value_get(map, key));
}

bool value_true(const venv_value *map, const char *key)
{
	return venv_value_int(venv_value_get(map, key)) != 0;
}

const char *value_or_dash(const venv_value *map, const char *key)
{
	const char *text = value_text(map, key);

	return *text ? text : "-";
}

enum style state_style(const char *state)
{
	static const struct {
		const char *state;
		enum style style;
	} styles[] = {
		{ "running", STYLE_GREEN },    { "starting", STYLE_YELLOW },
		{ "stopping", STYLE_YELLOW },  { "paused", STYLE_YELLOW },
		{ "suspended", STYLE_YELLOW }, { "frozen", STYLE_RED },
		{ "crashed", STYLE_RED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(styles); i++)
		if (!strcmp(styles[i].state, state))
			return styles[i].style;
	return STYLE_DIM;
}

/* "http" where the guest's port is one of a web server, else NULL. */
static const char *port_scheme(const venv_value *port)
{
	static const int64_t web[] = { 80, 3000, 4200, 5000, 5173, 8000, 8080, 8888 };
	int64_t guest = value_number(port, "guest");

	if (!strcmp(value_text(port, "protocol"), "udp"))
		return NULL;
	if (guest == 443 || guest == 8443)
		return "https";
	for (size_t i = 0; i < ARRAY_SIZE(web); i++)
		if (guest == web[i])
			return "http";
	return NULL;
}

void value_add_port(struct text *text, const venv_value *port, const char *arrow, bool url)
{
	const char *scheme = url ? port_scheme(port) : NULL;
	const char *address = value_text(port, "address");
	bool bracket = strchr(address, ':') != NULL;

	if (scheme) {
		text_add(text, scheme);
		text_add(text, "://");
	}
	text_format(text, bracket ? "[%s]" : "%s", *address ? address : "127.0.0.1");
	text_format(text, ":%ld", (long)value_number(port, "host"));
	if (url)
		text_add_char(text, ' ');
	text_add(text, arrow);
	if (url)
		text_add_char(text, ' ');
	text_format(text, "%ld", (long)value_number(port, "guest"));
	if (!strcmp(value_text(port, "protocol"), "udp"))
		text_add(text, "/udp");
}

static void print_scalar(struct output *out, const venv_value *value)
{
	switch (venv_value_type(value)) {
	case VENV_BOOL:
		out_text(out, venv_value_int(value) ? "yes" : "no");
		break;
	case VENV_INT:
		out_printf(out, "%ld", (long)venv_value_int(value));
		break;
	case VENV_REAL:
		out_printf(out, "%.2f", venv_value_real(value));
		break;
	case VENV_STRING:
		out_printf(out, "%s", venv_value_string(value));
		break;
	default:
		out_text(out, "-");
	}
	out_text(out, "\n");
}

static bool is_nested(const venv_value *value)
{
	int type = venv_value_type(value);

	return type == VENV_LIST || type == VENV_MAP;
}

void value_print(struct output *out, const venv_value *value, unsigned depth)
{
	const venv_value *child;
	const char *key;

	for (size_t i = 0; i < venv_value_count(value); i++) {
		child = venv_value_at(value, i);
		key = venv_value_key(value, i);
		if (venv_value_type(child) == VENV_NULL ||
		    (is_nested(child) && !venv_value_count(child)))
			continue;
		text_add_spaces(&out->buffer, (size_t)depth * 2);
		if (key)
			out_styled(out, STYLE_BOLD, "%s:", key);
		else
			out_text(out, "-");
		if (is_nested(child)) {
			out_text(out, "\n");
			value_print(out, child, depth + 1);
		} else {
			out_text(out, " ");
			print_scalar(out, child);
		}
	}
}
