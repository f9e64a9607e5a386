/* SPDX-License-Identifier: Apache-2.0 */
/* Core through its public API, over a fake provider and a real store. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core_world.h"
#include "provider_fake.h"
#include "util/buf.h"
#include "util/file.h"

static void the_whole_life(void **state)
{
	venv_project *project = core_open_text(*state, SMALL);
	venv_op *op;

	assert_state(project, "default", "not created");
	core_up(project, 0);
	assert_string_equal(fake_calls(),
			    "default:probe default:create default:probe default:start");
	assert_state(project, "default", "running");
	core_up(project, 0);
	assert_string_equal(fake_calls(), "");
	assert_int_equal(venv_pause(project, NULL, 0, &op, NULL), 0);
	core_wait(op);
	assert_state(project, "default", "paused");
	assert_int_equal(venv_resume(project, NULL, 0, &op, NULL), 0);
	core_wait(op);
	assert_int_equal(venv_halt(project, NULL, 0, &op, NULL), 0);
	core_wait(op);
	assert_state(project, "default", "stopped");
	core_up(project, 0);
	assert_int_equal(venv_destroy(project, NULL, 0, &op, NULL), 0);
	core_wait(op);
	assert_state(project, "default", "not created");
	venv_project_free(project);
}

static void a_machine_that_ends_while_up_looks_is_started(void **state)
{
	venv_project *project = core_open_text(*state, SMALL);

	core_up(project, 0);
	(void)fake_calls();
	fake_ends_when_seen();
	core_up(project, 0);
	assert_non_null(strstr(fake_calls(), "default:start"));
	assert_state(project, "default", "running");
	venv_project_free(project);
}

static bool is_empty(const struct world *w, const char *name)
{
	_cleanup_free_ char *path = venv__path_join(w->data, name);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_strv_ char **names = NULL;

	return fd < 0 || (venv__dir_list(fd, &names, NULL) == 0 && !*names);
}

static void a_failed_first_start_leaves_nothing(void **state)
{
	static const char *const slots[] = { "probe", "create", "start" };
	const struct world *w = *state;
	venv_project *project = core_open_text(w, SMALL);

	for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
		fake_fail(slots[i], 1);
		core_up(project, VENV_ERR_HOST);
		assert_state(project, "default", "not created");
		assert_true(is_empty(w, "machines"));
		assert_true(is_empty(w, "trash"));
	}
	core_up(project, 0);
	venv_project_free(project);
}

enum half { NO_SPEC, NOT_MADE, UNMADE };

/* What is left of `up` when it is killed before it writes spec.json or before the provider makes the machine, and of
 * `destroy` after the provider did its part. */
static void make_half(const struct world *w, enum half half)
{
	_cleanup_free_ char *spec = NULL;
	_cleanup_free_ char *path = venv__path_join(w->data, "machines");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int dir = -1;
	_cleanup_strv_ char **ids = NULL;

	assert_int_equal(venv__dir_list(fd, &ids, NULL), 0);
	assert_true(ids[0] && !ids[1]);
	dir = openat(fd, ids[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(venv__file_read(dir, "spec.json", 65536, &spec, NULL, NULL), 0);
	assert_int_equal(venv__tree_delete(fd, ids[0], NULL), 0);
	assert_int_equal(mkdirat(fd, ids[0], 0700), 0);
	(void)close(dir);
	dir = openat(fd, ids[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (half != NO_SPEC)
		assert_int_equal(venv__file_write(dir, "spec.json", spec, strlen(spec), 0600,
						  WRITE_VOLATILE, NULL),
				 0);
	if (half == UNMADE)
		assert_int_equal(
			venv__file_write(dir, "state.json", "{}", 2, 0600, WRITE_VOLATILE, NULL),
			0);
}

static void a_half_made_machine_is_swept_up(void **state)
{
	const struct world *w = *state;
	venv_project *project = core_open_text(w, SMALL);
	venv_op *op;

	for (enum half made = NO_SPEC; made <= UNMADE; made++) {
		core_up(project, 0);
		make_half(w, made);
		core_up(project, 0);
		make_half(w, made); /* asserts that there is one */
		assert_state(project, "default", "not created");
		assert_int_equal(venv_repair(w->ctx, project, &op, NULL), 0);
		core_wait(op);
		assert_true(is_empty(w, "machines"));
		core_up(project, 0);
		make_half(w, made);
		assert_int_equal(venv_destroy(project, NULL, 0, &op, NULL), 0);
		core_wait(op);
		assert_true(is_empty(w, "machines"));
		assert_true(is_empty(w, "trash"));
	}
	venv_project_free(project);
}

static void a_failed_later_start_keeps_the_machine(void **state)
{
	venv_project *project = core_open_text(*state, SMALL);
	venv_op *op;

	core_up(project, 0);
	assert_int_equal(venv_halt(project, NULL, 0, &op, NULL), 0);
	core_wait(op);
	fake_fail("start", 1);
	core_up(project, VENV_ERR_HOST);
	assert_state(project, "default", "stopped");
	core_up(project, 0);
	venv_project_free(project);
}

/* The fake provider changes nothing while a machine runs. */
static void limits_are_live_where_the_provider_can(void **state)
{
	venv_project *project = core_open_text(*state, SMALL);
	const venv_value *change;
	venv_value *plan = NULL;

	core_up(project, 0);
	venv_project_free(project);
	project = core_open_text(*state, SMALL "autostart: false\nmemory: 1G\n");
	assert_int_equal(venv_plan(project, NULL, &plan, NULL), 0);
	for (size_t i = 0; i < 2; i++) {
		change = venv_value_at(venv_value_get(venv_value_at(plan, 0), "changes"), i);
		assert_non_null(change);
		assert_int_equal(
			venv_value_int(venv_value_get(change, "live")),
			strcmp(venv_value_string(venv_value_get(change, "key")), "memory") != 0);
	}
	venv_value_free(plan);
	venv_project_free(project);
}

static void failed_destroys_can_be_repeated(void **state)
{
	const struct world *w = *state;
	venv_project *project = core_open_text(w, SMALL);
	venv_op *op;

	core_up(project, 0);
	fake_fail("destroy", 1);
	assert_int_equal(venv_destroy(project, NULL, 0, &op, NULL), 0);
	venv_error_free(core_end_with(op, VENV_ERR_HOST));
	assert_int_equal(venv_destroy(project, NULL, 0, &op, NULL), 0);
	core_wait(op);
	assert_true(is_empty(w, "machines"));
	venv_project_free(project);
}

static void needs_go_first_and_failures_stop_what_depends(void **state)
{
	venv_project *project =
		core_open_text(*state, "box: busybox\nnetworks: []\nfolders: []\nmachines:\n"
				       "  web: { needs: { db: ready } }\n"
				       "  db: {}\n"
				       "  other: {}\n");
	const char *calls, *db, *web;
	venv_op *op;

	assert_int_equal(venv_up(project, (const char *[]){ "web", NULL }, NULL, &op, NULL), 0);
	core_wait(op);
	calls = fake_calls();
	db = strstr(calls, "db:start");
	web = strstr(calls, "web:start");
	assert_non_null(db);
	assert_non_null(web);
	assert_true(db < web);
	assert_state(project, "other", "not created");
	assert_int_equal(venv_destroy(project, NULL, 0, &op, NULL), 0);
	core_wait(op);

	fake_fail("create", 1);
	assert_int_equal(venv_up(project, (const char *[]){ "web", NULL }, NULL, &op, NULL), 0);
	venv_error_free(core_end_with(op, VENV_ERR_HOST));
	assert_state(project, "web", "not created");
	core_up(project, 0);
	assert_state(project, "web", "running");
	assert_state(project, "other", "running");
	venv_project_free(project);
}

static void only_one_command_works_on_a_machine(void **state)
{
	venv_project *project = core_open_text(*state, SMALL);
	venv_up_options no_wait = VENV_UP_OPTIONS_INIT;
	venv_op *first, *second;
	venv_error *err;

	no_wait.flags = VENV_NO_WAIT;
	fake_delay_ms(500);
	assert_int_equal(venv_up(project, NULL, NULL, &first, NULL), 0);
	(void)usleep(150000);
	assert_int_equal(venv_up(project, NULL, &no_wait, &second, NULL), 0);
	err = core_end_with(second, VENV_ERR_BUSY);
	assert_non_null(strstr(venv_error_message(err), "venv up (pid "));
	venv_error_free(err);
	assert_int_equal(venv_up(project, NULL, NULL, &second, NULL), 0);
	core_wait(second);
	core_wait(first);
	assert_state(project, "default", "running");
	venv_project_free(project);
}

static void steps_run_once_and_go_on_where_they_failed(void **state)
{
	const struct world *w = *state;
	_cleanup_free_ char *text = NULL, *seen = NULL, *dir = strdup(w->dir);
	venv_project *project;
	venv_error *err;
	venv_op *op;
	int fd;

	assert_true(asprintf(&text,
			     SMALL
			     "provision:\n  - run: echo one >> %s/seen\n"
			     "  - name: two\n    run: |\n      echo bad news\n      test -e %s/ok\n"
			     "      echo two >> %s/seen\n",
			     dir, dir, dir) > 0);
	project = core_open_text(w, text);
	assert_int_equal(venv_up(project, NULL, NULL, &op, NULL), 0);
	err = core_end_with(op, VENV_ERR_COMMAND);
	assert_non_null(strstr(venv_error_message(err), "provisioning step 'two'"));
	assert_string_equal(venv_error_details(err), "bad news\n");
	assert_string_equal(venv_error_machine(err), "default");
	venv_error_free(err);
	assert_state(project, "default", "running");
	core_write_file(w, NULL, "ok", "");
	core_up(project, 0);
	core_up(project, 0);
	fd = open(w->dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(venv__file_read(fd, "seen", 100, &seen, NULL, NULL), 0);
	assert_string_equal(seen, "one\ntwo\n");
	(void)close(fd);
	venv_project_free(project);
}

static void a_moved_project_keeps_its_machines_a_copy_does_not(void **state)
{
	const struct world *w = *state;
	_cleanup_free_ char *moved = venv__path_join(w->root, "moved");
	_cleanup_free_ char *copy = venv__path_join(w->root, "copy");
	_cleanup_free_ char *machines = venv__path_join(copy, ".machines");
	_cleanup_free_ char *from = venv__path_join(moved, ".machines/project.json");
	_cleanup_free_ char *uuid = NULL;
	venv_project *project = core_open_text(w, SMALL);

	core_up(project, 0);
	venv_project_free(project);
	assert_int_equal(rename(w->dir, moved), 0);
	project = core_open_at(w, moved);
	assert_state(project, "default", "running");
	venv_project_free(project);

	assert_int_equal(mkdir(copy, 0755), 0);
	assert_int_equal(mkdir(machines, 0755), 0);
	core_write_file(w, copy, "venv.yml", SMALL);
	assert_int_equal(venv__file_read(AT_FDCWD, from, 10000, &uuid, NULL, NULL), 0);
	core_write_file(w, machines, "project.json", uuid);
	project = core_open_at(w, copy);
	assert_state(project, "default", "not created");
	venv_project_free(project);
	project = core_open_at(w, moved);
	assert_state(project, "default", "running");
	venv_project_free(project);
}

static void wiped_pointers_are_found_again(void **state)
{
	const struct world *w = *state;
	venv_project *project = core_open_text(w, SMALL);
	int fd;

	core_up(project, 0);
	venv_project_free(project);
	fd = open(w->dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(venv__tree_delete(fd, ".machines", NULL), 0);
	(void)close(fd);
	project = core_open_at(w, w->dir);
	assert_state(project, "default", "running");
	venv_project_free(project);
}

static void a_planted_link_does_not_lead_the_writes_away(void **state)
{
	const struct world *w = *state;
	_cleanup_free_ char *victim = venv__path_join(w->root, "victim");
	_cleanup_free_ char *link = venv__path_join(w->dir, ".machines");
	venv_project *project;
	venv_op *op;

	assert_int_equal(mkdir(victim, 0755), 0);
	assert_int_equal(symlink(victim, link), 0);
	project = core_open_text(w, SMALL);
	assert_int_equal(venv_up(project, NULL, NULL, &op, NULL), 0);
	assert_true(venv_op_wait(op, NULL) < 0);
	venv_op_free(op);
	assert_int_equal(rmdir(victim), 0);
	venv_project_free(project);
}

static void keys_that_reach_the_host_need_approval(void **state)
{
	const struct world *w = *state;
	venv_project *project =
		core_open_text(w, "box: busybox\nnetworks: []\nfolders: [ /etc:/host-etc ]\n");
	venv_value *open_keys = NULL;
	venv_error *err;
	venv_op *op;

	assert_int_equal(venv_up(project, NULL, NULL, &op, NULL), 0);
	err = core_end_with(op, VENV_ERR_DENIED);
	assert_non_null(strstr(venv_error_hint(err), "venv approve"));
	venv_error_free(err);
	assert_string_equal(fake_calls(), "");
	assert_int_equal(venv_approvals(project, &open_keys, NULL), 0);
	assert_int_equal(venv_value_count(open_keys), 1);
	venv_value_free(open_keys);
	assert_int_equal(venv_approve(project, NULL), 0);
	core_up(project, 0);
	venv_project_free(project);
	project = core_open_text(w, "box: busybox\nnetworks: []\nfolders: [ /usr:/host-etc ]\n");
	core_up(project, VENV_ERR_DENIED);
	venv_project_free(project);
}

static void bad_folders_are_told_before_anything_is_made(void **state)
{
	const struct world *w = *state;
	_cleanup_free_ char *link = venv__path_join(w->dir, "link");
	venv_project *project =
		core_open_text(w, "box: busybox\nnetworks: []\nfolders:\n  - ./none:/none\n");
	venv_error *err;
	venv_op *op;

	assert_int_equal(venv_up(project, NULL, NULL, &op, NULL), 0);
	err = core_end_with(op, VENV_ERR_CONFIG);
	assert_int_equal(venv_error_line(err), 4);
	assert_non_null(strstr(venv_error_hint(err), "mkdir -p"));
	venv_error_free(err);
	venv_project_free(project);

	assert_int_equal(symlink("/etc", link), 0);
	project = core_open_text(w, "box: busybox\nnetworks: []\nfolders:\n  - ./link:/none\n");
	core_up(project, VENV_ERR_DENIED);
	assert_true(is_empty(w, "machines"));
	venv_project_free(project);
}

/* A guest with the project's folder can plant links: nothing outside is read for it through them. */
static void planted_links_are_not_read(void **state)
{
	static const char *const uses[] = { "provision: [ { script: ./link } ]\n",
					    "provision: [ { copy: ./link, to: /x } ]\n" };
	const struct world *w = *state;
	_cleanup_free_ char *link = venv__path_join(w->dir, "link");
	venv_project_options o = VENV_PROJECT_OPTIONS_INIT;
	venv_project *project = NULL;

	assert_int_equal(symlink("/etc/passwd", link), 0);
	for (size_t i = 0; i < ARRAY_SIZE(uses); i++) {
		_cleanup_free_ char *text = NULL;

		assert_true(asprintf(&text, SMALL "%s", uses[i]) > 0);
		project = core_open_text(w, text);
		core_up(project, VENV_ERR_DENIED);
		venv_project_free(project);
	}
	core_write_file(w, NULL, "venv.yml", SMALL "env_file: ./link\n");
	o.dir = w->dir;
	assert_int_equal(venv_project_open(w->ctx, &o, &project, NULL), VENV_ERR_CONFIG);
}

static void what_the_file_no_longer_names_can_be_destroyed(void **state)
{
	const struct world *w = *state;
	venv_project *project =
		core_open_text(w, "box: busybox\nnetworks: []\nfolders: []\nmachines: { a: {}, "
				  "b: {} }\n");
	venv_value *list = NULL;
	venv_op *op;

	core_up(project, 0);
	venv_project_free(project);
	project =
		core_open_text(w, "box: busybox\nnetworks: []\nfolders: []\nmachines: { a: {} }\n");
	assert_int_equal(venv_status(project, NULL, &list, NULL), 0);
	assert_int_equal(venv_value_count(list), 2);
	assert_int_equal(venv_value_int(venv_value_get(venv_value_at(list, 1), "orphan")), 1);
	venv_value_free(list);
	assert_int_equal(venv_destroy(project, NULL, 0, &op, NULL), 0);
	core_wait(op);
	assert_true(is_empty(w, "machines"));
	venv_project_free(project);
}

static void recipes_are_listed(void **state)
{
	const struct world *w = *state;
	const venv_value *recipe;
	venv_value *list = NULL;
	bool found = false;

	assert_int_equal(venv_box_recipes(w->ctx, &list, NULL), 0);
	for (size_t i = 0; i < venv_value_count(list); i++) {
		recipe = venv_value_at(list, i);
		found = found ||
			strcmp(venv_value_string(venv_value_get(recipe, "name")), "busybox") == 0;
		assert_non_null(venv_value_string(venv_value_get(recipe, "description")));
	}
	assert_true(found);
	venv_value_free(list);
}

static void a_box_in_use_stays(void **state)
{
	const struct world *w = *state;
	venv_project *project = core_open_text(w, SMALL);
	_cleanup_error_ venv_error *err = NULL;
	venv_op *op;

	core_up(project, 0);
	assert_int_equal(venv_box_remove(w->ctx, "busybox", &err), VENV_ERR_BUSY);
	assert_non_null(strstr(venv_error_message(err), "shop/default"));
	assert_int_equal(venv_destroy(project, NULL, 0, &op, NULL), 0);
	core_wait(op);
	assert_int_equal(venv_box_remove(w->ctx, "busybox", NULL), 0);
	venv_project_free(project);
}

static void an_operation_can_be_cancelled(void **state)
{
	venv_project *project = core_open_text(*state, SMALL "provision:\n  - run: sleep 100\n");
	const venv_event *event;
	venv_op *op;

	assert_int_equal(venv_up(project, NULL, NULL, &op, NULL), 0);
	while (venv_op_next(op, -1, &event, NULL) == VENV_OP_EVENT)
		if (venv_event_type(event) == VENV_EVENT_PHASE_BEGIN &&
		    strcmp(venv_event_phase(event), "provision") == 0)
			venv_op_cancel(op);
	venv_error_free(core_end_with(op, VENV_ERR_CANCELLED));
	assert_state(project, "default", "running");
	venv_project_free(project);
}

static void disk_boxes_want_a_provider_that_has_disks(void **state)
{
	static const char *const texts[] = { "networks: []\nbox: d\n",
					     "networks: []\nbox: d\nprovider: container\n" };
	const struct world *w = *state;
	_cleanup_free_ char *image = venv__path_join(w->root, "d.img");
	int fd = open(image, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	venv_op *op;

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	(void)close(fd);
	assert_int_equal(venv_box_add(w->ctx, NULL, image, &op, NULL), 0);
	core_wait(op);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		venv_project *project = core_open_text(w, texts[i]);
		venv_error *err;

		assert_int_equal(venv_up(project, NULL, NULL, &op, NULL), 0);
		err = core_end_with(op, VENV_ERR_UNSUPPORTED);
		assert_non_null(strstr(venv_error_message(err), "box 'd' is a disk"));
		assert_non_null(strstr(venv_error_hint(err), "root file system"));
		assert_int_equal(venv_error_line(err), 2);
		assert_int_equal(venv_error_column(err), 6);
		venv_error_free(err);
		venv_project_free(project);
	}
	assert_true(is_empty(w, "machines"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, core_setup, core_teardown)
		CASE(the_whole_life),
		CASE(a_machine_that_ends_while_up_looks_is_started),
		CASE(a_failed_first_start_leaves_nothing),
		CASE(a_half_made_machine_is_swept_up),
		CASE(a_failed_later_start_keeps_the_machine),
		CASE(limits_are_live_where_the_provider_can),
		CASE(failed_destroys_can_be_repeated),
		CASE(needs_go_first_and_failures_stop_what_depends),
		CASE(only_one_command_works_on_a_machine),
		CASE(steps_run_once_and_go_on_where_they_failed),
		CASE(a_moved_project_keeps_its_machines_a_copy_does_not),
		CASE(wiped_pointers_are_found_again),
		CASE(a_planted_link_does_not_lead_the_writes_away),
		CASE(keys_that_reach_the_host_need_approval),
		CASE(bad_folders_are_told_before_anything_is_made),
		CASE(planted_links_are_not_read),
		CASE(disk_boxes_want_a_provider_that_has_disks),
		CASE(what_the_file_no_longer_names_can_be_destroyed),
		CASE(recipes_are_listed),
		CASE(a_box_in_use_stays),
		CASE(an_operation_can_be_cancelled),
	};

	return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
