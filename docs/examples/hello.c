/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine from a program: bring it up, run a command in it, destroy it.
 *
 *   cc hello.c $(pkg-config --cflags --libs libvenv) -o hello && ./hello PROJECT-DIRECTORY
 */
#include <stdio.h>
#include <unistd.h>
#include <venv.h>

static int failed(venv_error *err)
{
	fprintf(stderr, "error: %s\n", venv_error_message(err));
	if (venv_error_hint(err))
		fprintf(stderr, "hint: %s\n", venv_error_hint(err));
	venv_error_free(err);
	return 1;
}

/* Pull the events of an operation until its end. */
static int drive(venv_op *op, venv_error **err)
{
	const venv_event *event;
	int r;

	while ((r = venv_op_next(op, -1, &event, err)) == VENV_OP_EVENT)
		if (venv_event_type(event) == VENV_EVENT_PHASE_BEGIN)
			printf("%s: %s\n", venv_event_phase(event), venv_event_text(event));
	return r;
}

int main(int argc, char **argv)
{
	static const char *const command[] = { "echo", "hello from the machine", NULL };
	venv_project_options where = VENV_PROJECT_OPTIONS_INIT;
	venv_run_options run = VENV_RUN_OPTIONS_INIT;
	venv_project *project = NULL;
	venv_error *err = NULL;
	venv *ctx = NULL;
	venv_op *op = NULL;
	int status = 1;

	where.dir = argc > 1 ? argv[1] : ".";
	run.argv = command;
	run.stdout_fd = STDOUT_FILENO;
	run.stderr_fd = STDERR_FILENO;
	if (venv_new(NULL, &ctx, &err) < 0 || venv_project_open(ctx, &where, &project, &err) < 0)
		goto out;
	if (venv_up(project, NULL, NULL, &op, &err) < 0 || drive(op, &err) < 0)
		goto out;
	venv_op_free(op);
	op = NULL;
	(void)fflush(stdout);
	if (venv_exec(project, NULL, &run, &op, &err) < 0 || drive(op, &err) < 0)
		goto out;
	status = venv_op_exit_status(op);
	venv_op_free(op);
	op = NULL;
	if (venv_destroy(project, NULL, 0, &op, &err) < 0 || drive(op, &err) < 0)
		status = 1;
out:
	if (err)
		status = failed(err);
	venv_op_free(op);
	venv_project_free(project);
	venv_free(ctx);
	return status;
}
