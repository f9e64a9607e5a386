/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about machines: status, global-status, port, stats. */
#include "commands.h"

#include <stdlib.h>
#include <string.h>

static void add_heading(struct table *table, const char *const *names)
{
	for (size_t i = 0; i < table->columns; i++)
		table_add(table, STYLE_BOLD, "%s", names[i]);
}

/* An address of a machine: the first text that is found in the answer. */
static const char *first_address(const venv_value *machine)
{
	const venv_value *addresses = venv_value_get(machine, "addresses");
	const venv_value *first = venv_value_at(addresses, 0);

	if (venv_value_string(first))
		return venv_value_string(first);
	return value_or_dash(first, "address");
}

static void add_ports(struct text *text, const venv_value *machine, const char *arrow)
{
	const venv_value *ports = venv_value_get(machine, "ports");

	for (size_t i = 0; i < venv_value_count(ports); i++) {
		if (i)
			text_add(text, ", ");
		value_add_port(text, venv_value_at(ports, i), arrow, false);
	}
}

/* What the table has no room for: who is at work on it, that venv.yml knows it no more, warnings. */
static void print_remarks(struct cli *cli, const venv_value *machine)
{
	const venv_value *warnings = venv_value_get(machine, "warnings");
	const char *name = value_text(machine, "name"), *busy = value_text(machine, "busy");

	if (*busy)
		out_printf(&cli->out, "%s: %s is at work on it\n", name, busy);
	if (value_true(machine, "orphan"))
		out_printf(&cli->out,
			   "%s: no longer in venv.yml; remove it with 'venv destroy %s'\n", name,
			   name);
	out_flush(&cli->out);
	for (size_t i = 0; i < venv_value_count(warnings); i++)
		report_warning(cli, value_text(machine, "name"),
			       venv_value_string(venv_value_at(warnings, i)));
}

static void print_status(struct cli *cli, const venv_value *status)
{
	static const char *const heading[] = { "NAME", "STATE",   "PROVIDER",
					       "BOX",  "ADDRESS", "PORTS" };
	_cleanup_table_ struct table table = TABLE_INIT(ARRAY_SIZE(heading));
	const venv_value *machine;

	add_heading(&table, heading);
	for (size_t i = 0; i < venv_value_count(status); i++) {
		_cleanup_text_ struct text ports = { 0 };

		machine = venv_value_at(status, i);
		add_ports(&ports, machine, out_arrow(&cli->out));
		table_add(&table, STYLE_NONE, "%s", value_text(machine, "name"));
		table_add(&table, state_style(value_text(machine, "state")), "%s",
			  value_or_dash(machine, "state"));
		table_add(&table, STYLE_NONE, "%s", value_or_dash(machine, "provider"));
		table_add(&table, STYLE_NONE, "%s", value_or_dash(machine, "box"));
		table_add(&table, STYLE_NONE, "%s", first_address(machine));
		table_add(&table, STYLE_NONE, "%s", text_string(&ports));
	}
	table_print(&table, &cli->out);
	for (size_t i = 0; i < venv_value_count(status); i++)
		print_remarks(cli, venv_value_at(status, i));
}

static void print_status_vagrant(struct cli *cli, const venv_value *status)
{
	const venv_value *machine;
	const char *name, *state, *provider;

	for (size_t i = 0; i < venv_value_count(status); i++) {
		machine = venv_value_at(status, i);
		name = value_text(machine, "name");
		state = vagrant_state(value_text(machine, "state"));
		provider = value_text(machine, "provider");
		vagrant_line(cli, name, "metadata", "provider", provider, NULL);
		vagrant_line(cli, name, "provider-name", provider, NULL);
		vagrant_line(cli, name, "state", state, NULL);
		vagrant_line(cli, name, "state-human-short", value_text(machine, "state"), NULL);
		vagrant_line(cli, name, "state-human-long", value_text(machine, "state"), NULL);
	}
}

static int run_status(struct cli *cli, const void *opts, char **operands)
{
	venv_value *status = NULL;
	venv_error *err = NULL;
	int r = cli_project(cli);

	(void)opts;
	if (r)
		return r;
	if (venv_status(cli->project, names_of(operands), &status, &err) < 0)
		return cli_fail_with(cli, err);
	if (cli->format == FORMAT_JSON)
		json_result(cli, status);
	else if (cli->format == FORMAT_VAGRANT)
		print_status_vagrant(cli, status);
	else
		print_status(cli, status);
	venv_value_free(status);
	return STATUS_OK;
}

static void print_global(struct cli *cli, const venv_value *list)
{
	static const char *const heading[] = { "ID",    "PROJECT",  "NAME",
					       "STATE", "PROVIDER", "DIRECTORY" };
	_cleanup_table_ struct table table = TABLE_INIT(ARRAY_SIZE(heading));
	const venv_value *machine;
	bool gone = false;

	if (!venv_value_count(list)) {
		out_text(&cli->out, "no machine of yours exists\n");
		return;
	}
	add_heading(&table, heading);
	for (size_t i = 0; i < venv_value_count(list); i++) {
		machine = venv_value_at(list, i);
		table_add(&table, STYLE_DIM, "%.7s", value_or_dash(machine, "id"));
		table_add(&table, STYLE_NONE, "%s", value_or_dash(machine, "project"));
		table_add(&table, STYLE_NONE, "%s", value_text(machine, "name"));
		table_add(&table, state_style(value_text(machine, "state")), "%s",
			  value_or_dash(machine, "state"));
		table_add(&table, STYLE_NONE, "%s", value_or_dash(machine, "provider"));
		table_add(&table, STYLE_NONE, "%s%s", value_or_dash(machine, "directory"),
			  value_true(machine, "directory_gone") ? " (gone)" : "");
		gone |= value_true(machine, "directory_gone");
	}
	table_print(&table, &cli->out);
	if (gone)
		out_text(&cli->out, "gone: moved (run 'venv status' where it is now) or deleted "
				    "('venv destroy --id ID' removes the machine)\n");
}

static void print_global_vagrant(struct cli *cli, const venv_value *list)
{
	_cleanup_text_ struct text count = { 0 };
	const venv_value *machine;

	text_format(&count, "%lu", (unsigned long)venv_value_count(list));
	vagrant_line(cli, NULL, "metadata", "machine-count", count.data, NULL);
	for (size_t i = 0; i < venv_value_count(list); i++) {
		_cleanup_text_ struct text id = { 0 };

		machine = venv_value_at(list, i);
		text_format(&id, "%.7s", value_text(machine, "id"));
		vagrant_line(cli, NULL, "machine-id", text_string(&id), NULL);
		vagrant_line(cli, NULL, "provider-name", value_text(machine, "provider"), NULL);
		vagrant_line(cli, NULL, "machine-home", value_text(machine, "directory"), NULL);
		vagrant_line(cli, NULL, "state", vagrant_state(value_text(machine, "state")), NULL);
	}
}

static int run_global(struct cli *cli, const void *opts, char **operands)
{
	venv_value *list = NULL;
	venv_error *err = NULL;
	int r = cli_context(cli);

	(void)opts;
	(void)operands;
	if (r)
		return r;
	if (venv_global_status(cli->ctx, &list, &err) < 0)
		return cli_fail_with(cli, err);
	if (cli->format == FORMAT_JSON)
		json_result(cli, list);
	else if (cli->format == FORMAT_VAGRANT)
		print_global_vagrant(cli, list);
	else
		print_global(cli, list);
	venv_value_free(list);
	return STATUS_OK;
}

static void add_port_rows(struct table *table, const venv_value *machine)
{
	const venv_value *ports = venv_value_get(machine, "ports"), *port;

	for (size_t i = 0; i < venv_value_count(ports); i++) {
		port = venv_value_at(ports, i);
		table_add(table, STYLE_NONE, "%s", value_text(machine, "name"));
		table_add(table, STYLE_NONE, "%s:%ld", value_or_dash(port, "address"),
			  (long)value_number(port, "host"));
		table_add(table, STYLE_NONE, "%ld", (long)value_number(port, "guest"));
		table_add(table, STYLE_NONE, "%s", value_or_dash(port, "protocol"));
		table_add(table, STYLE_NONE, "%s", value_text(port, "name"));
	}
}

/* "no port" must not be said of ports that are only down. */
static bool warn_of_network(struct cli *cli, const venv_value *status)
{
	bool down = false;

	out_flush(&cli->out);
	for (size_t i = 0; i < venv_value_count(status); i++) {
		const venv_value *machine = venv_value_at(status, i);
		const venv_value *warnings = venv_value_get(machine, "warnings");
		size_t n = venv_value_count(warnings);

		if (!value_true(machine, "network_down") || !n)
			continue;
		down = true;
		report_warning(cli, value_text(machine, "name"),
			       venv_value_string(venv_value_at(warnings, n - 1)));
	}
	return down;
}

static void print_ports_json(struct cli *cli, const venv_value *status)
{
	_cleanup_text_ struct text line = { 0 };
	size_t n = 0;

	json_open(&line, "result");
	json_add_member(&line, "command", "port");
	text_add(&line, ",\"result\":[");
	for (size_t i = 0; i < venv_value_count(status); i++) {
		const venv_value *machine = venv_value_at(status, i);
		const venv_value *ports = venv_value_get(machine, "ports");

		for (size_t j = 0; j < venv_value_count(ports); j++) {
			const venv_value *port = venv_value_at(ports, j);

			text_add(&line, n++ ? ",{\"machine\":" : "{\"machine\":");
			text_add_json(&line, value_text(machine, "name"));
			json_add_member(&line, "address", value_text(port, "address"));
			json_add_number(&line, "host", (uint64_t)value_number(port, "host"));
			json_add_number(&line, "guest", (uint64_t)value_number(port, "guest"));
			json_add_member(&line, "protocol", value_text(port, "protocol"));
			json_add_member(&line, "name",
					venv_value_string(venv_value_get(port, "name")));
			text_add_char(&line, '}');
		}
	}
	text_add_char(&line, ']');
	json_close(cli, &line);
}

static int run_port(struct cli *cli, const void *opts, char **operands)
{
	static const char *const heading[] = { "MACHINE", "HOST", "GUEST", "PROTOCOL", "NAME" };
	_cleanup_table_ struct table table = TABLE_INIT(ARRAY_SIZE(heading));
	venv_value *status = NULL;
	venv_error *err = NULL;
	bool down;
	int r = cli_project(cli);

	(void)opts;
	if (r)
		return r;
	if (venv_status(cli->project, names_of(operands), &status, &err) < 0)
		return cli_fail_with(cli, err);
	add_heading(&table, heading);
	for (size_t i = 0; i < venv_value_count(status); i++)
		add_port_rows(&table, venv_value_at(status, i));
	down = warn_of_network(cli, status);
	if (cli->format == FORMAT_JSON)
		print_ports_json(cli, status);
	else if (table.count > table.columns)
		table_print(&table, &cli->out);
	else if (!down)
		out_text(&cli->out, "no port is forwarded\n");
	venv_value_free(status);
	return STATUS_OK;
}

static void add_size(struct table *table, const venv_value *machine, const char *key,
		     const char *limit)
{
	_cleanup_text_ struct text text = { 0 };

	if (!venv_value_get(machine, key)) {
		table_add(table, STYLE_NONE, "-");
		return;
	}
	text_add_bytes(&text, (uint64_t)value_number(machine, key));
	if (limit && value_number(machine, limit) > 0) {
		text_add(&text, " of ");
		text_add_bytes(&text, (uint64_t)value_number(machine, limit));
	}
	table_add(table, STYLE_NONE, "%s", text.data);
}

/* Of a machine that wrote very many files, they are not all counted. */
static void add_disk(struct table *table, const venv_value *machine)
{
	_cleanup_text_ struct text text = { 0 };

	if (value_true(machine, "disk_partial"))
		text_add(&text, "over ");
	text_add_bytes(&text, (uint64_t)value_number(machine, "disk"));
	table_add(table, STYLE_NONE, "%s", venv_value_get(machine, "disk") ? text.data : "-");
}

static void print_stats(struct cli *cli, const venv_value *list)
{
	static const char *const heading[] = { "NAME", "MEMORY",    "PEAK",     "CPU TIME",
					       "DISK", "PROCESSES", "OOM KILLS" };
	_cleanup_table_ struct table table = TABLE_INIT(ARRAY_SIZE(heading));
	const venv_value *machine;

	add_heading(&table, heading);
	for (size_t i = 0; i < venv_value_count(list); i++) {
		_cleanup_text_ struct text time = { 0 };

		machine = venv_value_at(list, i);
		table_add(&table, STYLE_NONE, "%s", value_text(machine, "name"));
		add_size(&table, machine, "memory", "memory_limit");
		add_size(&table, machine, "memory_peak", NULL);
		text_add_duration(&time, (uint64_t)value_number(machine, "cpu_us"));
		table_add(&table, STYLE_NONE, "%s",
			  venv_value_get(machine, "cpu_us") ? time.data : "-");
		add_disk(&table, machine);
		table_add(&table, STYLE_NONE, venv_value_get(machine, "pids") ? "%ld" : "-",
			  (long)value_number(machine, "pids"));
		table_add(&table, value_number(machine, "oom_kills") ? STYLE_RED : STYLE_NONE,
			  venv_value_get(machine, "oom_kills") ? "%ld" : "-",
			  (long)value_number(machine, "oom_kills"));
	}
	table_print(&table, &cli->out);
}

static bool any_running(const venv_value *list)
{
	for (size_t i = 0; i < venv_value_count(list); i++)
		if (venv_value_get(venv_value_at(list, i), "memory") ||
		    venv_value_get(venv_value_at(list, i), "disk")) /* without control groups */
			return true;
	return false;
}

static int run_stats(struct cli *cli, const void *opts, char **operands)
{
	venv_value *list = NULL;
	venv_error *err = NULL;
	int r = cli_project(cli);

	(void)opts;
	if (r)
		return r;
	if (venv_stats(cli->project, names_of(operands), &list, &err) < 0)
		return cli_fail_with(cli, err);
	if (cli->format == FORMAT_JSON)
		json_result(cli, list);
	else if (any_running(list))
		print_stats(cli, list);
	else
		out_text(&cli->out, "no machine is running\n");
	venv_value_free(list);
	return STATUS_OK;
}

#define QUESTION(symbol, verb, text, more, callback, bits)                                         \
	const struct cli_command symbol = {                                                        \
		.name = verb,                                                                      \
		.group = GROUP_LOOK,                                                               \
		.operands = "[MACHINE...]",                                                        \
		.max = CLI_MANY,                                                                   \
		.word = WORD_MACHINE,                                                              \
		.summary = text,                                                                   \
		.description = more,                                                               \
		.flags = bits,                                                                     \
		.run = callback,                                                                   \
	}

QUESTION(
	cli_cmd_status, "status", "show the machines of this project",
	"States: not created, stopped, starting, running, paused, frozen (out of memory with 'oom: freeze'), "
	"stopping, crashed, suspended.",
	run_status, CLI_VAGRANT);
QUESTION(cli_cmd_port, "port", "list forwarded ports", NULL, run_port, 0);
QUESTION(cli_cmd_stats, "stats", "show use of memory, processor and disk",
	 "Disk is what the machine wrote itself: neither its box, nor volumes and shared folders.",
	 run_stats, 0);

const struct cli_command cli_cmd_global_status = {
	.name = "global-status",
	.group = GROUP_HOST,
	.summary = "show all machines of this user",
	.flags = CLI_VAGRANT,
	.run = run_global,
};
