/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: one table of commands and options gives parsing, help, completion and man pages.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <venv.h>

#include "output.h"

enum { STATUS_OK = 0, STATUS_USAGE = 2, STATUS_OWN_FAILURE = 125, STATUS_INTERRUPTED = 130 };

enum cli_kind { CLI_KIND_END, CLI_KIND_FLAG, CLI_KIND_COUNT, CLI_KIND_STRING, CLI_KIND_LIST };

/* What an operand or an argument of an option can be: for completion. */
enum cli_word {
	WORD_NONE,
	WORD_MACHINE,
	WORD_BOX,
	WORD_BASE,   /* what a machine can start from: a box or the name of a recipe */
	WORD_RECIPE, /* its name or directory */
	WORD_VOLUME,
	WORD_SNAPSHOT, /* the name of one, then the machine */
	WORD_COMMAND,  /* a command of ours */
	WORD_FILE,
	WORD_DIR,
	WORD_SETTING, /* a key of venv.yml with a value */
};

struct cli_list {
	const char **items; /* NULL-terminated; NULL when empty */
	size_t count;
};

struct cli_option {
	char letter; /* 0: none */
	const char *name;
	enum cli_kind kind;
	size_t offset; /* of the bool, unsigned, const char * or struct cli_list */
	const char *argument;
	const char *doc;
	const char *const *choices; /* NULL: anything */
	enum cli_word word;
};

#define CLI_FLAG(letter, name, type, member, doc)                                                  \
	{                                                                                          \
		letter, name, CLI_KIND_FLAG, offsetof(type, member), NULL, doc, NULL, WORD_NONE    \
	}
#define CLI_COUNT(letter, name, type, member, doc)                                                 \
	{                                                                                          \
		letter, name, CLI_KIND_COUNT, offsetof(type, member), NULL, doc, NULL, WORD_NONE   \
	}
#define CLI_STRING(letter, name, type, member, argument, word, doc)                                \
	{                                                                                          \
		letter, name, CLI_KIND_STRING, offsetof(type, member), argument, doc, NULL, word   \
	}
#define CLI_CHOICE(letter, name, type, member, argument, choices, doc)                             \
	{                                                                                          \
		letter, name, CLI_KIND_STRING, offsetof(type, member), argument, doc, choices,     \
			WORD_NONE                                                                  \
	}
#define CLI_LIST(letter, name, type, member, argument, word, doc)                                  \
	{                                                                                          \
		letter, name, CLI_KIND_LIST, offsetof(type, member), argument, doc, NULL, word     \
	}
#define CLI_END                                                                                    \
	{                                                                                          \
		0, NULL, CLI_KIND_END, 0, NULL, NULL, NULL, WORD_NONE                              \
	}

struct cli;

enum cli_command_flag {
	CLI_TAKES_COMMAND = 1, /* what is behind "--" runs in the machine */
	CLI_VAGRANT = 2,       /* knows --machine-readable */
	CLI_HIDDEN = 4,
};

struct cli_command {
	const char *name;
	const char *alias;
	const char *group;          /* heading in the help; NULL: a subcommand */
	const char *operands;       /* "[MACHINE...]" */
	unsigned min, max;          /* number of operands; max 0: none */
	const char *const *choices; /* of the first operand */
	enum cli_word word;         /* what operands are */
	const char *summary;
	const char
		*description; /* paragraphs for help and man page; NULL: the summary says it all */
	const char *examples; /* lines "command  # comment" */
	const struct cli_option *options;
	size_t options_size;
	const struct cli_command *const *subcommands; /* NULL-terminated */
	unsigned flags;
	int (*run)(struct cli *cli, const void *options, char **operands); /* exit status */
};
#define CLI_MANY 1000000U

extern const struct cli_command
	*const cli_commands[]; /* NULL-terminated, in the order of the help */
extern const struct cli_option cli_global_options[];

enum cli_format { FORMAT_TEXT, FORMAT_JSON, FORMAT_VAGRANT };

struct cli {
	/* global options */
	const char *file;
	const char *dir;
	const char *color;
	bool json;
	bool machine_readable;
	bool quiet;
	bool help;
	bool version;
	unsigned verbose;
	/* what parsing found */
	const struct cli_command *parent; /* of a subcommand, else NULL */
	const struct cli_command *command;
	void *options;
	char **operands; /* NULL-terminated */
	char **rest;     /* what is behind "--"; NULL without one */
	/* while it runs */
	enum cli_format format;
	bool own_failure; /* ssh and exec: failures of ours end with status 125 */
	const char *const *set;
	struct output out;
	struct output err;
	venv *ctx;
	venv_project *project;
};

/* option.c: fill cli from the arguments. 0, or the exit status of a usage error that was reported. */
int cli_parse(struct cli *cli, int argc, char **argv);
void cli_parse_done(struct cli *cli);
/* "up" or "box add". */
void cli_command_name(const struct cli_command *parent, const struct cli_command *command,
		      struct text *ret);
const struct cli_command *cli_find_command(const struct cli_command *const *commands,
					   const char *name);

/* help.c, man.c */
void help_print(struct cli *cli, struct output *out, const struct cli_command *parent,
		const struct cli_command *command);
void help_print_all(struct cli *cli, struct output *out);
void help_add_usage(struct text *text, const struct cli_command *parent,
		    const struct cli_command *command);
void help_add_option(struct text *text, const struct cli_option *option);
int man_print(struct cli *cli, const char *name);

/* report.c: what went wrong. All return the exit status. */
int cli_usage(struct cli *cli, const char *hint, const char *format, ...) _printf_(3, 4);
int cli_fail(struct cli *cli, int code, const char *hint, const char *format, ...) _printf_(4, 5);
/* Frees error. */
int cli_fail_with(struct cli *cli, venv_error *error);
int cli_fail_hinting(struct cli *cli, venv_error *error, const char *more);
/* Without an end: prints, keeps the error. */
void report_error(struct cli *cli, const venv_error *error);
void report_warning(struct cli *cli, const char *machine, const char *text);

/* cli.c */
/* The context, opened on first use. 0 or the exit status (reported). */
int cli_context(struct cli *cli);
int cli_project(struct cli *cli);
/* The same for a command that also takes --id: when the file is at fault, that is hinted at, with the
 * ids of the project's machines of these names (none: all). */
int cli_project_or_id(struct cli *cli, char **names);
/* Ask at the terminal. false without one. */
bool cli_ask(struct cli *cli, const char *format, ...) _printf_(2, 3);
bool cli_interactive(const struct cli *cli);

/* json.c: {"type":"result","command":…,"result":value}; NULL: null */
void json_result(struct cli *cli, const venv_value *value);
/* The same with a map of one text. */
void json_result_text(struct cli *cli, const char *key, const char *text);
void json_add_value(struct text *text, const venv_value *value);
/* ,"key":"value", nothing for a NULL value */
void json_add_member(struct text *text, const char *key, const char *value);
void json_add_number(struct text *text, const char *key, uint64_t value);
/* Start a line: {"type":"type" */
void json_open(struct text *text, const char *type);
void json_close(struct cli *cli, struct text *text);

/* vagrant.c: lines of --machine-readable: timestamp,target,type,data… with a NULL behind the data */
#define vagrant_line(cli, target, type, ...)                                                       \
	vagrant_write(cli, target, type, (const char *const[]){ __VA_ARGS__ })
void vagrant_write(struct cli *cli, const char *target, const char *type, const char *const *data);
const char *vagrant_state(const char *state);

/* value.c: reading answers; NULL and missing members are "" or 0 */
const char *value_text(const venv_value *map, const char *key);
int64_t value_number(const venv_value *map, const char *key);
bool value_true(const venv_value *map, const char *key);
/* "-" for nothing */
const char *value_or_dash(const venv_value *map, const char *key);
enum style state_style(const char *state);
/* "127.0.0.1:8080 → 80", with a scheme where it is a web server's port */
void value_add_port(struct text *text, const venv_value *port, const char *arrow, bool url);
/* Any value as indented lines of "key: value". */
void value_print(struct output *out, const venv_value *value, unsigned depth);

#endif
