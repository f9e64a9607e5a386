/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept beside machines: boxes and named volumes. */
#include <string.h>

#include "commands.h"

struct add {
	const char *name;
};

static const struct cli_option add_options[] = {
	CLI_STRING('n', "name", struct add, name, "NAME", WORD_NONE,
		   "what venv.yml calls it (default: from the source)"),
	CLI_END
};

static int finish_box(struct cli *cli, venv_op *op, const char *what)
{
	_cleanup_drive_ struct drive drive;
	const venv_value *box;
	const char *name;
	int status;

	drive_init(&drive, cli);
	status = drive_run(&drive, op);
	if (status)
		return status;
	box = venv_op_result(op);
	name = value_text(box, "name");
	if (cli->format == FORMAT_JSON)
		json_result(cli, box);
	if (cli->format != FORMAT_TEXT || cli->quiet)
		return STATUS_OK;
	out_printf(&cli->out, "box ");
	out_styled(&cli->out, STYLE_BOLD, "%s", name);
	out_printf(&cli->out, "%s is %s", *name ? "" : "it", what);
	if (*name)
		out_printf(&cli->out, " %s use it: venv init %s", out_dot(&cli->out), name);
	out_text(&cli->out, "\n");
	return STATUS_OK;
}

static int run_add(struct cli *cli, const void *opts, char **operands)
{
	const struct add *add = opts;
	venv_error *err = NULL;
	venv_op *op = NULL;
	int status = cli_context(cli);

	if (status)
		return status;
	if (venv_box_add(cli->ctx, add->name, operands[0], &op, &err) < 0)
		return cli_fail_with(cli, err);
	return finish_box(cli, op, "added");
}

static int run_build(struct cli *cli, const void *opts, char **operands)
{
	venv_error *err = NULL;
	venv_op *op = NULL;
	int status = cli_context(cli);

	(void)opts;
	if (status)
		return status;
	if (venv_box_build(cli->ctx, operands[0], &op, &err) < 0)
		return cli_fail_with(cli, err);
	return finish_box(cli, op, "built");
}

static void print_boxes(struct cli *cli, const venv_value *list)
{
	static const char *const heading[] = { "NAME",         "VERSION", "KIND",
					       "ARCHITECTURE", "SIZE",    "DIGEST" };
	_cleanup_table_ struct table table = TABLE_INIT(ARRAY_SIZE(heading));
	const venv_value *box;

	if (!venv_value_count(list)) {
		out_text(&cli->out, "no box is in the store; 'venv up' builds what it knows, "
				    "'venv box add' takes others\n");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
		table_add(&table, STYLE_BOLD, "%s", heading[i]);
	for (size_t i = 0; i < venv_value_count(list); i++) {
		_cleanup_text_ struct text size = { 0 };

		box = venv_value_at(list, i);
		text_add_bytes(&size, (uint64_t)value_number(box, "size"));
		table_add(&table, STYLE_NONE, "%s", value_text(box, "name"));
		table_add(&table, STYLE_NONE, "%s", value_or_dash(box, "version"));
		table_add(&table, STYLE_NONE, "%s", value_or_dash(box, "kind"));
		table_add(&table, STYLE_NONE, "%s", value_or_dash(box, "architecture"));
		table_add(&table, STYLE_NONE, "%s", size.data);
		table_add(&table, STYLE_DIM, "%.19s", value_text(box, "digest"));
	}
	table_print(&table, &cli->out);
}

static void print_boxes_vagrant(struct cli *cli, const venv_value *list)
{
	const venv_value *box;

	for (size_t i = 0; i < venv_value_count(list); i++) {
		box = venv_value_at(list, i);
		if (strcmp(value_text(box, "kind"), "kernel") == 0)
			continue; /* no machine is made of it */
		vagrant_line(cli, NULL, "box-name", value_text(box, "name"), NULL);
		vagrant_line(cli, NULL, "box-provider",
			     strcmp(value_text(box, "kind"), "disk") ? "container" : "kvm", NULL);
		vagrant_line(cli, NULL, "box-version", value_text(box, "version"), NULL);
		vagrant_line(cli, NULL, "box-architecture", value_text(box, "architecture"), NULL);
	}
}

static int run_list(struct cli *cli, const void *opts, char **operands)
{
	venv_value *list = NULL;
	venv_error *err = NULL;
	int status = cli_context(cli);

	(void)opts;
	(void)operands;
	if (status)
		return status;
	if (venv_box_list(cli->ctx, &list, &err) < 0)
		return cli_fail_with(cli, err);
	if (cli->format == FORMAT_JSON)
		json_result(cli, list);
	else if (cli->format == FORMAT_VAGRANT)
		print_boxes_vagrant(cli, list);
	else
		print_boxes(cli, list);
	venv_value_free(list);
	return STATUS_OK;
}

static int run_info(struct cli *cli, const void *opts, char **operands)
{
	venv_value *box = NULL;
	venv_error *err = NULL;
	int status = cli_context(cli);

	(void)opts;
	if (status)
		return status;
	if (venv_box_info(cli->ctx, operands[0], &box, &err) < 0)
		return cli_fail_with(cli, err);
	if (cli->format == FORMAT_JSON)
		json_result(cli, box);
	else
		value_print(&cli->out, box, 0);
	venv_value_free(box);
	return STATUS_OK;
}

/* "gone" or an answer without a value. */
static int done(struct cli *cli, const char *what, const char *name)
{
	if (cli->format == FORMAT_JSON)
		json_result(cli, NULL);
	else if (!cli->quiet)
		out_printf(&cli->out, "%s %s is removed\n", what, name);
	return STATUS_OK;
}

static int run_remove(struct cli *cli, const void *opts, char **operands)
{
	venv_error *err = NULL;
	int status = cli_context(cli);

	(void)opts;
	if (status)
		return status;
	if (venv_box_remove(cli->ctx, operands[0], &err) < 0)
		return cli_fail_with(cli, err);
	return done(cli, "box", operands[0]);
}

static int run_prune(struct cli *cli, const void *opts, char **operands)
{
	_cleanup_text_ struct text size = { 0 };
	venv_value *result = NULL;
	venv_error *err = NULL;
	int status = cli_context(cli);

	(void)opts;
	(void)operands;
	if (status)
		return status;
	if (venv_box_prune(cli->ctx, &result, &err) < 0)
		return cli_fail_with(cli, err);
	text_add_bytes(&size, (uint64_t)value_number(result, "bytes"));
	if (cli->format == FORMAT_JSON)
		json_result(cli, result);
	else
		out_printf(&cli->out, "freed %s (%ld layer%s, %ld disk%s)\n", size.data,
			   (long)value_number(result, "layers"),
			   value_number(result, "layers") == 1 ? "" : "s",
			   (long)value_number(result, "disks"),
			   value_number(result, "disks") == 1 ? "" : "s");
	venv_value_free(result);
	return STATUS_OK;
}

static int run_volumes(struct cli *cli, const void *opts, char **operands)
{
	static const char *const heading[] = { "NAME", "USED BY", "DIRECTORY" };
	_cleanup_table_ struct table table = TABLE_INIT(ARRAY_SIZE(heading));
	const venv_value *volume, *users;
	venv_value *list = NULL;
	venv_error *err = NULL;
	int status = cli_project(cli);

	(void)opts;
	(void)operands;
	if (status)
		return status;
	if (venv_volume_list(cli->project, &list, &err) < 0)
		return cli_fail_with(cli, err);
	for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
		table_add(&table, STYLE_BOLD, "%s", heading[i]);
	for (size_t i = 0; i < venv_value_count(list); i++) {
		_cleanup_text_ struct text text = { 0 };

		volume = venv_value_at(list, i);
		users = venv_value_get(volume, "machines");
		table_add(&table, STYLE_NONE, "%s", value_text(volume, "name"));
		for (size_t j = 0; j < venv_value_count(users); j++)
			text_format(&text, "%s%s", j ? ", " : "",
				    venv_value_string(venv_value_at(users, j)));
		table_add(&table, STYLE_NONE, "%s", text.length ? text.data : "-");
		table_add(&table, STYLE_DIM, "%s", value_text(volume, "path"));
	}
	if (cli->format == FORMAT_JSON)
		json_result(cli, list);
	else if (venv_value_count(list))
		table_print(&table, &cli->out);
	else
		out_text(&cli->out, "this project has no volume\n");
	venv_value_free(list);
	return STATUS_OK;
}

static int run_volume_rm(struct cli *cli, const void *opts, char **operands)
{
	venv_error *err = NULL;
	int status = cli_project(cli);

	(void)opts;
	for (; !status && *operands; operands++) {
		err = NULL;
		if (venv_volume_remove(cli->project, *operands, &err) < 0)
			status = cli_fail_with(cli, err);
		else
			status = done(cli, "volume", *operands);
	}
	return status;
}

static const struct cli_command box_add = {
	.name = "add",
	.operands = "SOURCE",
	.min = 1,
	.max = 1,
	.word = WORD_FILE,
	.summary = "add a box from a file or directory",
	.description =
		"SOURCE is a root file system as tar (also .gz, .xz, .zst), an OCI image layout "
		"(directory or tar) or an archive of 'docker save'; or, for virtual machines, a Vagrant box "
		"for libvirt (.box), a qcow2 image, or a raw one (.img, .raw, or raw:FILE).",
	.examples = "venv box add --name debian/12 rootfs.tar.zst\n"
		    "venv box add --name generic/debian12 libvirt.box\n",
	.options = add_options,
	.options_size = sizeof(struct add),
	.run = run_add,
};

static const struct cli_command box_list = {
	.name = "list",
	.alias = "ls",
	.summary = "list the boxes in the store",
	.flags = CLI_VAGRANT,
	.run = run_list,
};

static const struct cli_command box_remove = {
	.name = "remove",
	.alias = "rm",
	.operands = "NAME",
	.min = 1,
	.max = 1,
	.word = WORD_BOX,
	.summary = "remove a box that no machine is based on",
	.run = run_remove,
};

static const struct cli_command box_info = {
	.name = "info",
	.operands = "NAME",
	.min = 1,
	.max = 1,
	.word = WORD_BOX,
	.summary = "show layers, configuration and users of a box",
	.run = run_info,
};

static const struct cli_command box_build = {
	.name = "build",
	.operands = "NAME|DIR",
	.min = 1,
	.max = 1,
	.word = WORD_RECIPE,
	.summary = "build a box from a recipe",
	.examples = "venv box build debian/12\n",
	.run = run_build,
};

static const struct cli_command box_prune = {
	.name = "prune",
	.summary = "remove layers and files that nothing needs",
	.run = run_prune,
};

static const struct cli_command *const box_commands[] = {
	&box_add, &box_list, &box_remove, &box_info, &box_build, &box_prune, NULL,
};

const struct cli_command cli_cmd_box = {
	.name = "box",
	.group = GROUP_HOST,
	.operands = "COMMAND",
	.summary = "the images that machines start from",
	.subcommands = box_commands,
};

static const struct cli_command volume_list = {
	.name = "list",
	.alias = "ls",
	.summary = "list the named volumes of this project",
	.run = run_volumes,
};

static const struct cli_command volume_rm = {
	.name = "rm",
	.alias = "remove",
	.operands = "NAME...",
	.min = 1,
	.max = CLI_MANY,
	.word = WORD_VOLUME,
	.summary = "remove named volumes and what is in them",
	.run = run_volume_rm,
};

static const struct cli_command *const volume_commands[] = { &volume_list, &volume_rm, NULL };

const struct cli_command cli_cmd_volume = {
	.name = "volume",
	.group = GROUP_FILE,
	.operands = "COMMAND",
	.summary = "named volumes, which survive destroy",
	.subcommands = volume_commands,
};
