/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing by the tables; and that the tables themselves are sound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"

/* Parses a line of words. The errors that it prints are in cli->err.buffer. */
static int parse(struct cli *cli, const char *line)
{
	static char words[512];
	static char *argv[32];
	char *rest = NULL;
	int argc = 0;

	*cli = (struct cli){ .out = { .fd = -1 }, .err = { .fd = -1 } };
	(void)snprintf(words, sizeof(words), "venv %s", line);
	for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	argv[argc] = NULL;
	return cli_parse(cli, argc, argv);
}

static void done(struct cli *cli)
{
	cli_parse_done(cli);
	out_done(&cli->out);
	out_done(&cli->err);
	text_done(&cli->err.buffer);
}

static void options_stand_anywhere(void **state)
{
	static const char *const lines[] = {
		"-v up web db --json",
		"--json up -v web db",
		"up web -v --json db",
		"up --json web -v -- db",
	};
	struct cli cli;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(parse(&cli, lines[i]), 0);
		assert_ptr_equal(cli.command, &cli_cmd_up);
		assert_int_equal(cli.format, FORMAT_JSON);
		assert_int_equal(cli.verbose, 1);
		assert_string_equal(cli.operands[0], "web");
		assert_string_equal(cli.operands[1], "db");
		assert_null(cli.operands[2]);
		done(&cli);
	}
}

static void the_commands_options_win(void **state)
{
	struct cli cli;

	(void)state;
	assert_int_equal(parse(&cli, "destroy -f"), 0);
	assert_null(cli.file);
	done(&cli);
	assert_int_equal(parse(&cli, "-f other.yml destroy"), 0);
	assert_string_equal(cli.file, "other.yml");
	done(&cli);
	assert_int_equal(parse(&cli, "up -f other.yml"), 0);
	assert_string_equal(cli.file, "other.yml");
	done(&cli);
}

static void values_come_in_all_forms(void **state)
{
	static const char *const lines[] = { "-C dir status", "-Cdir status",
					     "--directory dir status", "--directory=dir status" };
	struct cli cli;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(parse(&cli, lines[i]), 0);
		assert_string_equal(cli.dir, "dir");
		done(&cli);
	}
}

static void commands_for_the_machine_are_left_alone(void **state)
{
	struct cli cli;

	(void)state;
	assert_int_equal(parse(&cli, "exec web -- ls -la --json"), 0);
	assert_int_equal(cli.format, FORMAT_TEXT);
	assert_string_equal(cli.operands[0], "web");
	assert_string_equal(cli.rest[0], "ls");
	assert_string_equal(cli.rest[2], "--json");
	done(&cli);
	assert_int_equal(parse(&cli, "ssh"), 0);
	assert_null(cli.rest);
	done(&cli);
}

static void mistakes_are_named_with_advice(void **state)
{
	static const struct {
		const char *line, *error, *hint;
	} cases[] = {
		{ "stauts", "unknown command 'stauts'", "did you mean 'venv status'?" },
		{ "ps", "unknown command 'ps'", "did you mean 'venv status'?" },
		{ "images", "unknown command 'images'", "did you mean 'venv box list'?" },
		{ "box lsit", "unknown command 'box lsit'", "did you mean 'venv box list'?" },
		{ "up --timngs", "unknown option '--timngs'", "did you mean '--timings'?" },
		{ "up -Z", "unknown option '-Z'", "see 'venv help up'" },
		{ "exec ls -la", "unknown option '-l'", "put '--' before the command" },
		{ "exec web ls", "does not take 'ls'", "put '--' before the command" },
		{ "up --json=yes", "'--json' takes no value", "" },
		{ "up --provider", "'--provider' needs NAME", "" },
		{ "up --provider kwm", "unknown value 'kwm' of --provider", "did you mean 'kvm'?" },
		{ "up --provider x", "unknown value 'x'",
		  "give one of: auto container kvm libvirt" },
		{ "box", "'venv box' needs a command", "usage: venv box COMMAND" },
		{ "cp a", "'venv cp' needs FROM TO", "usage: venv cp FROM TO" },
		{ "version x", "'venv version' does not take 'x'", "usage: venv version" },
		{ "plan --machine-readable", "has no --machine-readable form", "use --json" },
		{ "up --json --machine-readable", "exclude each other", "" },
		{ "st\033[2Jatus", "unknown command 'st\\x1b[2Jatus'", "" },
	};
	struct cli cli;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (parse(&cli, cases[i].line) != STATUS_USAGE)
			fail_msg("'%s' was taken", cases[i].line);
		if (!strstr(text_string(&cli.err.buffer), cases[i].error) &&
		    !strstr(text_string(&cli.out.buffer), cases[i].error))
			fail_msg("'%s': %s", cases[i].line, text_string(&cli.err.buffer));
		if (!strstr(text_string(&cli.err.buffer), cases[i].hint))
			fail_msg("'%s': %s", cases[i].line, text_string(&cli.err.buffer));
		done(&cli);
	}
}

static void lists_gather(void **state)
{
	struct cli cli;
	const struct cli_option *option;

	(void)state;
	assert_int_equal(parse(&cli, "up --set memory=1G --set=cpus=2"), 0);
	for (option = cli_cmd_up.options; strcmp(option->name, "set") != 0; option++)
		;
	const struct cli_list *list = (const void *)((char *)cli.options + option->offset);

	assert_int_equal(list->count, 2);
	assert_string_equal(list->items[0], "memory=1G");
	assert_string_equal(list->items[1], "cpus=2");
	assert_null(list->items[2]);
	done(&cli);
}

/* Every row of the tables has what help, completion and man pages need. */
static void check_command(const struct cli_command *command)
{
	const struct cli_option *option = command->options, *other;

	assert_non_null(command->summary);
	assert_true(strlen(command->summary) <= 60);
	assert_true(command->run || command->subcommands);
	assert_true(!command->max == !command->operands || command->subcommands);
	for (; option && option->kind != CLI_KIND_END; option++) {
		assert_non_null(option->doc);
		assert_true(option->offset < command->options_size);
		for (other = command->options; other != option; other++) {
			assert_string_not_equal(other->name, option->name);
			assert_true(!option->letter || other->letter != option->letter);
		}
	}
	for (size_t i = 0; command->subcommands && command->subcommands[i]; i++)
		check_command(command->subcommands[i]);
}

static void the_tables_are_sound(void **state)
{
	(void)state;
	for (size_t i = 0; cli_commands[i]; i++) {
		assert_non_null(cli_commands[i]->group);
		check_command(cli_commands[i]);
	}
}

/* No line of any help is wider than a terminal of 80 columns. */
static void help_fits_80_columns(void **state)
{
	struct cli cli = { .out = { .fd = -1 } };
	struct output out = { .fd = -1 };

	(void)state;
	help_print_all(&cli, &out);
	for (size_t i = 0; cli_commands[i]; i++) {
		const struct cli_command *command = cli_commands[i];

		help_print(&cli, &out, NULL, command);
		for (size_t j = 0; command->subcommands && command->subcommands[j]; j++)
			help_print(&cli, &out, command, command->subcommands[j]);
	}
	for (char *rest = NULL, *line = strtok_r(out.buffer.data, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest))
		if (text_columns(line) > 80)
			fail_msg("too wide: %s", line);
	out_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_stand_anywhere),
		cmocka_unit_test(the_commands_options_win),
		cmocka_unit_test(values_come_in_all_forms),
		cmocka_unit_test(commands_for_the_machine_are_left_alone),
		cmocka_unit_test(mistakes_are_named_with_advice),
		cmocka_unit_test(lists_gather),
		cmocka_unit_test(the_tables_are_sound),
		cmocka_unit_test(help_fits_80_columns),
	};

	return cmocka_run_group_tests_name("cli_option", tests, NULL, NULL);
}
