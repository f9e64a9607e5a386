/* SPDX-License-Identifier: Apache-2.0 */
/* Suspending, going on and snapshots in core, over the fake provider: with every slot failing once, and after
 * commands that were killed. */
#include "core_world.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "provider_fake.h"
#include "util/buf.h"
#include "util/file.h"
#include "util/json.h"

typedef int (*verb_fn)(venv_project *project, const char *const *names, uint32_t flags,
		       venv_op **op, venv_error **err);
typedef int (*snapshot_fn)(venv_project *project, const char *machine, const char *name,
			   uint32_t flags, venv_op **op, venv_error **err);

static void call(venv_project *project, verb_fn verb, uint32_t flags, int code)
{
	venv_op *op = NULL;

	assert_int_equal(verb(project, NULL, flags, &op, NULL), 0);
	venv_error_free(core_end_with(op, code));
}

static venv_error *take(venv_project *project, snapshot_fn verb, const char *name, int code)
{
	venv_op *op = NULL;

	assert_int_equal(verb(project, NULL, name, 0, &op, NULL), 0);
	return core_end_with(op, code);
}

static void snap(venv_project *project, snapshot_fn verb, const char *name, int code)
{
	venv_error_free(take(project, verb, name, code));
}

/* The one machine's directory. */
static int machine_dir(const struct world *w)
{
	_cleanup_free_ char *path = venv__path_join(w->data, "machines");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_strv_ char **names = NULL;

	assert_int_equal(venv__dir_list(fd, &names, NULL), 0);
	return openat(fd, names[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void put(const struct world *w, const char *name, const char *text)
{
	_cleanup_close_ int fd = machine_dir(w);

	assert_int_equal(venv__file_write(fd, name, text, strlen(text), 0600, WRITE_VOLATILE, NULL),
			 0);
}

static char *get(const struct world *w, const char *name)
{
	_cleanup_close_ int fd = machine_dir(w);
	char *text = NULL;

	return venv__file_read(fd, name, 4096, &text, NULL, NULL) == 0 ? text : strdup("");
}

#define assert_content(w, name, expected)                                                          \
	do {                                                                                       \
		_cleanup_free_ char *text_ = get(w, name);                                         \
		assert_string_equal(text_, expected);                                              \
	} while (0)

/* What a command that was killed left in state.json. */
static void set_recorded_state(const struct world *w, const char *state)
{
	_cleanup_close_ int fd = machine_dir(w);
	_cleanup_json_ json_t *json = NULL;

	assert_int_equal(venv__json_read(fd, "state.json", &json, NULL), 0);
	(void)json_object_set_new(json, "state", json_string(state));
	assert_int_equal(venv__json_write(fd, "state.json", json, WRITE_VOLATILE, NULL), 0);
}

/* ---- suspend and resume --------------------------------------------------------------------- */

static void a_suspended_machine_goes_on(void **state)
{
	const struct world *w = *state;
	venv_project *project = core_open_text(w, SMALL "memory: 1G\n");

	core_up(project, 0);
	put(w, "running", "counting");
	call(project, venv_suspend, 0, 0);
	assert_state(project, "default", "suspended");
	call(project, venv_suspend, 0, 0); /* once more is fine */
	call(project, venv_resume, 0, 0);
	assert_state(project, "default", "running");
	assert_content(w, "running", "counting");

	call(project, venv_pause, 0, 0);
	call(project, venv_suspend, 0, 0); /* a paused one too */
	assert_state(project, "default", "suspended");
	venv_project_free(project);

	/* the file has changed meanwhile: it goes on with what it had */
	project = core_open_text(w, SMALL "memory: 3G\n");
	(void)fake_calls();
	core_up(project, 0);
	assert_string_equal(fake_calls(), "default:probe default:start default:exec");
	assert_int_equal(fake_went_on_with(), 1 << 30);
	assert_state(project, "default", "running");
	assert_content(w, "running", "counting");
	venv_project_free(project);
}

static void a_suspended_machine_is_told_in_questions(void **state)
{
	venv_project *project = core_open_text(*state, SMALL);
	_cleanup_error_ venv_error *err = NULL;
	venv_value *value = NULL;
	char *text = NULL;

	core_up(project, 0);
	call(project, venv_suspend, 0, 0);
	assert_int_equal(venv_plan(project, NULL, &value, NULL), 0);
	assert_string_equal(venv_value_string(venv_value_get(venv_value_at(value, 0), "action")),
			    "resume");
	venv_value_free(value);
	assert_int_equal(venv_ssh_config(project, NULL, NULL, &text, &err), VENV_ERR_STATE);
	assert_non_null(strstr(venv_error_message(err), "is suspended"));
	assert_non_null(strstr(venv_error_hint(err), "venv resume default"));
	venv_project_free(project);
}

static void halt_lets_it_shut_down(void **state)
{
	venv_project *project = core_open_text(*state, SMALL);

	core_up(project, 0);
	call(project, venv_suspend, 0, 0);
	(void)fake_calls();
	call(project, venv_halt, 0, 0);
	assert_string_equal(fake_calls(), "default:probe default:start default:stop");
	assert_state(project, "default", "stopped");

	core_up(project, 0);
	call(project, venv_suspend, 0, 0);
	(void)fake_calls();
	call(project, venv_halt, VENV_FORCE, 0);
	assert_string_equal(fake_calls(), "default:kill");
	assert_state(project, "default", "stopped");

	core_up(project, 0);
	call(project, venv_suspend, 0, 0);
	(void)fake_calls();
	call(project, venv_destroy, 0, 0);
	assert_string_equal(fake_calls(), "default:kill default:destroy");
	assert_state(project, "default", "not created");
	venv_project_free(project);
}

static void what_fails_leaves_it_as_it_was(void **state)
{
	venv_project *project = core_open_text(*state, SMALL);
	venv_error *err;
	venv_op *op;

	core_up(project, 0);
	fake_fail("suspend", 1);
	call(project, venv_suspend, 0, VENV_ERR_HOST);
	assert_state(project, "default", "running");
	call(project, venv_suspend, 0, 0);
	for (int i = 0; i < 2; i++) {
		static const char *const slots[] = { "probe", "start" };

		fake_fail(slots[i], 1);
		assert_int_equal(venv_resume(project, NULL, 0, &op, NULL), 0);
		err = core_end_with(op, VENV_ERR_HOST);
		assert_non_null(strstr(venv_error_hint(err), "venv halt -f default"));
		venv_error_free(err);
		assert_state(project, "default", "suspended");
	}
	fake_fail("kill", 1);
	call(project, venv_halt, VENV_FORCE, VENV_ERR_HOST);
	assert_state(project, "default", "suspended");
	call(project, venv_resume, 0, 0);
	assert_state(project, "default", "running");

	call(project, venv_halt, 0, 0);
	call(project, venv_suspend, 0, VENV_ERR_STATE);
	call(project, venv_destroy, 0, 0);
	call(project, venv_suspend, 0, VENV_ERR_STATE);
	venv_project_free(project);
}

static void killed_commands_leave_a_machine_that_goes_on(void **state)
{
	const struct world *w = *state;
	venv_project *project = core_open_text(w, SMALL);
	venv_op *op;

	core_up(project, 0);
	/* while it was being written: it stands still */
	set_recorded_state(w, "suspending");
	put(w, "paused", "");
	assert_state(project, "default", "paused");
	assert_int_equal(venv_repair(w->ctx, project, &op, NULL), 0);
	core_wait(op);
	assert_state(project, "default", "running");
	/* the user's own pause is left alone */
	call(project, venv_pause, 0, 0);
	assert_int_equal(venv_repair(w->ctx, project, &op, NULL), 0);
	core_wait(op);
	assert_state(project, "default", "paused");
	call(project, venv_resume, 0, 0);
	/* when it was written, before that was noted */
	call(project, venv_suspend, 0, 0);
	set_recorded_state(w, "suspending");
	assert_state(project, "default", "suspended");
	/* while it was let go on */
	set_recorded_state(w, "starting");
	assert_state(project, "default", "suspended");
	call(project, venv_resume, 0, 0);
	assert_state(project, "default", "running");
	venv_project_free(project);
}

/* ---- snapshots --------------------------------------------------------------------------------- */

static void snapshots_bring_everything_back(void **state)
{
	const struct world *w = *state;
	venv_project *project = core_open_text(w, SMALL "memory: 1G\n");

	core_up(project, 0);
	put(w, "running", "first");
	put(w, "disk", "one");
	snap(project, venv_snapshot_save, "a", 0);
	assert_state(project, "default", "running");
	put(w, "running", "second");
	put(w, "disk", "two");
	call(project, venv_suspend, 0, 0);
	snap(project, venv_snapshot_save, "b", 0);
	call(project, venv_halt, VENV_FORCE, 0);
	put(w, "disk", "three");
	snap(project, venv_snapshot_save, "c", 0);
	venv_project_free(project);

	project = core_open_text(w, SMALL "memory: 2G\n");
	core_up(project, 0);
	snap(project, venv_snapshot_restore, "a", 0);
	assert_state(project, "default", "running");
	assert_content(w, "running", "first");
	assert_content(w, "disk", "one");
	assert_int_equal(fake_went_on_with(), 1 << 30);
	snap(project, venv_snapshot_restore, "b", 0);
	assert_state(project, "default", "suspended");
	assert_content(w, "suspended", "second");
	assert_content(w, "disk", "two");
	snap(project, venv_snapshot_restore, "c", 0);
	assert_content(w, "disk", "three");
	venv_project_free(project);
}

static void snapshots_are_listed_and_deleted(void **state)
{
	venv_project *project = core_open_text(*state, SMALL);
	venv_value *list = NULL;
	venv_error *err;

	assert_int_equal(venv_snapshot_list(project, NULL, &list, NULL), 0);
	assert_int_equal(venv_value_count(list), 0);
	venv_value_free(list);
	snap(project, venv_snapshot_save, "x", VENV_ERR_STATE);
	core_up(project, 0);
	snap(project, venv_snapshot_save, "x", 0);
	snap(project, venv_snapshot_save, "y", 0);
	err = take(project, venv_snapshot_save, "x", VENV_ERR_EXISTS);
	assert_non_null(strstr(venv_error_hint(err), "venv snapshot delete x default"));
	venv_error_free(err);
	assert_int_equal(venv_snapshot_list(project, "default", &list, NULL), 0);
	assert_int_equal(venv_value_count(list), 2);
	assert_string_equal(venv_value_string(venv_value_get(venv_value_at(list, 0), "state")),
			    "running");
	venv_value_free(list);
	snap(project, venv_snapshot_delete, "x", 0);
	err = take(project, venv_snapshot_restore, "x", VENV_ERR_NOT_FOUND);
	assert_string_equal(venv_error_hint(err), "it has: y");
	venv_error_free(err);
	snap(project, venv_snapshot_delete, "x", VENV_ERR_NOT_FOUND);
	venv_project_free(project);
}

static void bad_names_are_refused(void **state)
{
	static const char too_long[] = "12345678901234567890123456789012345"
				       "678901234567890123456789012345";
	static const char *const names[] = { "",    ".",   "..", ".new", "a/b",
					     "-rf", "a b", "ä",  NULL,   too_long };
	venv_project *project = core_open_text(*state, SMALL);
	venv_op *op;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(venv_snapshot_save(project, NULL, names[i], 0, &op, NULL),
				 VENV_ERR_INVALID);
	assert_int_equal(venv_snapshot_save(project, "other", "x", 0, &op, NULL),
			 VENV_ERR_NOT_FOUND);
	venv_project_free(project);
}

static void failed_snapshots_leave_nothing(void **state)
{
	const struct world *w = *state;
	venv_project *project = core_open_text(w, SMALL);
	_cleanup_strv_ char **names = NULL;
	_cleanup_close_ int machine = -1, dir = -1;
	venv_op *op;

	core_up(project, 0);
	put(w, "running", "now");
	fake_fail("snapshot", 1);
	snap(project, venv_snapshot_save, "x", VENV_ERR_HOST);
	assert_state(project, "default", "running");
	machine = machine_dir(w);
	dir = openat(machine, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(venv__dir_list(dir, &names, NULL), 0);
	assert_null(names[0]);
	snap(project, venv_snapshot_save, "x", 0);
	put(w, "running", "later");
	fake_fail("restore", 1);
	snap(project, venv_snapshot_restore, "x", VENV_ERR_HOST);
	assert_state(project, "default", "running");
	fake_fail("start", 1); /* it is restored, but does not go on */
	snap(project, venv_snapshot_restore, "x", VENV_ERR_HOST);
	assert_state(project, "default", "suspended");
	call(project, venv_resume, 0, 0);
	assert_content(w, "running", "now");

	/* one that was killed while the machine stood still for it, and half of its snapshot */
	set_recorded_state(w, "snapshotting");
	put(w, "paused", "");
	assert_int_equal(mkdirat(dir, ".new", 0700), 0);
	assert_int_equal(mkdirat(dir, ".gone", 0700), 0);
	assert_int_equal(venv_repair(w->ctx, project, &op, NULL), 0);
	core_wait(op);
	assert_state(project, "default", "running");
	snap(project, venv_snapshot_save, "z", 0);
	assert_int_equal(faccessat(dir, ".gone", F_OK, 0), -1);
	venv_project_free(project);
}

/* The steps that had run belong to the disk. */
static void steps_go_back_with_the_disk(void **state)
{
	const struct world *w = *state;
	_cleanup_free_ char *text = NULL, *seen = NULL;
	_cleanup_close_ int fd = -1;
	venv_project *project = core_open_text(w, SMALL);

	core_up(project, 0);
	snap(project, venv_snapshot_save, "bare", 0);
	venv_project_free(project);
	assert_true(asprintf(&text, SMALL "provision:\n  - run: echo ran >> %s/seen\n", w->dir) >
		    0);
	project = core_open_text(w, text);
	core_up(project, 0);
	core_up(project, 0);
	snap(project, venv_snapshot_restore, "bare", 0);
	core_up(project, 0);
	fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(venv__file_read(fd, "seen", 100, &seen, NULL, NULL), 0);
	assert_string_equal(seen, "ran\nran\n");
	venv_project_free(project);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, core_setup, core_teardown)
		CASE(a_suspended_machine_goes_on),
		CASE(a_suspended_machine_is_told_in_questions),
		CASE(halt_lets_it_shut_down),
		CASE(what_fails_leaves_it_as_it_was),
		CASE(killed_commands_leave_a_machine_that_goes_on),
		CASE(snapshots_bring_everything_back),
		CASE(snapshots_are_listed_and_deleted),
		CASE(bad_names_are_refused),
		CASE(failed_snapshots_leave_nothing),
		CASE(steps_go_back_with_the_disk),
	};

	return cmocka_run_group_tests_name("core_suspend", tests, NULL, NULL);
}
