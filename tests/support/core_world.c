/* SPDX-License-Identifier: Apache-2.0 */
#include "core_world.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "provider_fake.h"
#include "util/buf.h"
#include "util/file.h"

void core_write_file(const struct world *w, const char *dir, const char *name, const char *text)
{
	_cleanup_close_ int fd = open(dir ? dir : w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(venv__file_write(fd, name, text, strlen(text), 0644, WRITE_VOLATILE, NULL),
			 0);
}

void core_wait(venv_op *op)
{
	_cleanup_error_ venv_error *err = NULL;

	if (venv_op_wait(op, &err) < 0)
		fail_msg("%s (hint: %s)", venv_error_message(err),
			 venv_error_hint(err) ? venv_error_hint(err) : "-");
	venv_op_free(op);
}

int core_setup(void **state)
{
	venv_options o = VENV_OPTIONS_INIT;
	struct world *w = calloc(1, sizeof(*w));
	venv_op *op;

	(void)snprintf(w->root, sizeof(w->root), "/tmp/venv-test-core.XXXXXX");
	if (!mkdtemp(w->root))
		return -1;
	(void)snprintf(w->data, sizeof(w->data), "%s/data", w->root);
	(void)snprintf(w->dir, sizeof(w->dir), "%s/shop", w->root);
	if (mkdir(w->dir, 0755) < 0)
		return -1;
	o.data_dir = w->data;
	if (venv_new(&o, &w->ctx, NULL) < 0)
		return -1;
	assert_int_equal(venv_box_build(w->ctx, "busybox", &op, NULL), 0);
	core_wait(op);
	fake_fail(NULL, 0);
	fake_delay_ms(0);
	(void)fake_calls();
	*state = w;
	return 0;
}

int core_teardown(void **state)
{
	struct world *w = *state;

	venv_free(w->ctx);
	(void)chmod(w->root, 0700);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->root, NULL), 0);
	free(w);
	return 0;
}

venv_project *core_open_at(const struct world *w, const char *dir)
{
	venv_project_options o = VENV_PROJECT_OPTIONS_INIT;
	_cleanup_error_ venv_error *err = NULL;
	venv_project *project = NULL;

	o.dir = dir;
	if (venv_project_open(w->ctx, &o, &project, &err) < 0)
		fail_msg("%s", venv_error_message(err));
	return project;
}

venv_project *core_open_text(const struct world *w, const char *text)
{
	core_write_file(w, NULL, "venv.yml", text);
	return core_open_at(w, w->dir);
}

/* Run an operation that must end with a code, and give its error. */
venv_error *core_end_with(venv_op *op, int code)
{
	venv_error *err = NULL;
	int r = venv_op_wait(op, &err);

	if (r != code)
		fail_msg("ended with %d, not %d: %s", r, code, venv_error_message(err));
	venv_op_free(op);
	return err;
}

void core_up(venv_project *project, int code)
{
	venv_op *op = NULL;

	assert_int_equal(venv_up(project, NULL, NULL, &op, NULL), 0);
	venv_error_free(core_end_with(op, code));
}

char *core_state_of(venv_project *project, const char *name)
{
	const char *names[] = { name, NULL };
	venv_value *value = NULL;
	char *state;

	assert_int_equal(venv_status(project, names, &value, NULL), 0);
	state = strdup(venv_value_string(venv_value_get(venv_value_at(value, 0), "state")));
	venv_value_free(value);
	return state;
}
