/* SPDX-License-Identifier: Apache-2.0 */
/* Several machines: defaults, venv.local.yml, --set, needs, files on disk. */
#include "config_support.h"

#include <fcntl.h>
#include <sys/stat.h>

static void defaults_go_into_every_machine(void **state)
{
	_cleanup_spec_ struct project_spec *spec = parse_good(
		"box: a\nmemory: 1G\nenv: {A: 1, B: 2}\nfolders: [.:/x]\n"
		"machines:\n  one:\n  two: {memory: 2G, env: {B: 3, C: 4}, folders: []}\n"
		"  three: {memory: none}\n");
	const struct machine_spec *one = venv__spec_machine(spec, "one");
	const struct machine_spec *two = venv__spec_machine(spec, "two");

	(void)state;
	assert_int_equal(spec->n_machines, 3);
	assert_string_equal(spec->machines[0].name, "one"); /* in the order of the file */
	assert_string_equal(spec->machines[2].name, "three");
	assert_int_equal(one->memory, 1ull << 30);
	assert_int_equal(one->place.line, 6);
	assert_int_equal(one->place.column, 3);
	assert_int_equal(one->n_folders, 1);
	assert_int_equal(two->memory, 2ull << 30);
	assert_string_equal(venv__env_get(two->env, "A"), "1");
	assert_string_equal(venv__env_get(two->env, "B"), "3");
	assert_string_equal(venv__env_get(two->env, "C"), "4");
	assert_int_equal(two->n_folders, 0);
	assert_int_equal(venv__spec_machine(spec, "three")->memory, 0);
	assert_null(venv__spec_machine(spec, "four"));
}

static void wrong_defaults_cannot_hide(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nmemory: 2X\nmachines: {one: {memory: 1G}}\n", 2, 9,
		  "unknown size suffix 'X' in '2X'", NULL },
		{ "box: a\nmemroy: 2G\nmachines: {one: {}}\n", 2, 1, "unknown key 'memroy'", NULL },
	};

	(void)state;
	check_all_bad(cases);
}

static void the_primary_machine_is_found(void **state)
{
	_cleanup_spec_ struct project_spec *none = parse_good("box: a\nmachines: {a: {}, b: {}}\n");
	_cleanup_spec_ struct project_spec *only = parse_good("box: a\nmachines: {a: {}}\n");
	_cleanup_spec_ struct project_spec *named =
		parse_good("box: a\nmachines: {a: {}, default: {}}\n");
	_cleanup_spec_ struct project_spec *marked =
		parse_good("box: a\nmachines: {a: {primary: true}, default: {}}\n");
	static const struct bad two = {
		"box: a\nmachines: {a: {primary: true}, b: {primary: true}}\n", 2, 45,
		"both 'a' and 'b' are primary", NULL
	};

	(void)state;
	assert_null(venv__spec_primary(none));
	assert_string_equal(venv__spec_primary(only)->name, "a");
	assert_string_equal(venv__spec_primary(named)->name, "default");
	assert_string_equal(venv__spec_primary(marked)->name, "a");
	check_bad(&two, NULL);
}

static void needs_are_read_and_checked(void **state)
{
	static const struct bad cases[] = {
		{ "box: a\nmachines: {web: {needs: {dbb: ready}}, db: {}}\n", 2, 26,
		  "there is no machine 'dbb'", "'db'" },
		{ "box: a\nneeds: {db: ready}\n", 2, 9, "there is no machine 'db'", NULL },
		{ "box: a\nneeds: [db]\n", 2, 8, "'needs' wants a map, not a list",
		  "{ db: ready }" },
		{ "box: a\nmachines: {a: {needs: {b: up}}, b: {}}\n", 2, 27,
		  "'needs' cannot be 'up'", "started, ready or provisioned" },
		{ "box: a\nmachines: {a: {needs: {a: ready}}}\n", 2, 24,
		  "machines need each other: a needs a", NULL },
		{ "box: a\nmachines:\n  x: {needs: {a: ready}}\n  a: {needs: {b: ready}}\n"
		  "  b: {needs: {c: started}}\n  c: {needs: {x: ready, a: ready}}\n",
		  6, 15, "machines need each other: x needs a needs b needs c needs x", NULL },
		{ "box: a\nmachines:\n  x: {needs: {a: ready}}\n  a: {needs: {b: ready}}\n"
		  "  b: {needs: {c: started}}\n  c: {needs: {a: ready}}\n",
		  6, 15, "machines need each other: a needs b needs c needs a", NULL },
	};
	_cleanup_spec_ struct project_spec *spec =
		parse_good("box: a\nmachines:\n  a: {needs: {b: ready, c: started}}\n"
			   "  b: {needs: {c: provisioned}}\n  c:\n");

	(void)state;
	assert_int_equal(spec->machines[0].n_needs, 2);
	assert_string_equal(spec->machines[0].needs[1].machine, "c");
	assert_int_equal(spec->machines[0].needs[1].kind, NEED_STARTED);
	assert_int_equal(spec->machines[1].needs[0].kind, NEED_PROVISIONED);
	check_all_bad(cases);
}

static struct project_spec *parse_set(const char *text, const char *const *set)
{
	_cleanup_error_ venv_error *err = NULL;
	struct project_spec *spec = NULL;

	if (parse_text(text, set, &spec, &err) < 0)
		fail_msg("%s", venv_error_message(err));
	return spec;
}

static void set_overrides_a_single_machine(void **state)
{
	static const char *const set[] = { "memory=3G",
					   "ports=[8080:80, 81:81]",
					   "env.A=x=y",
					   "ssh.forward_agent=true",
					   "env.B=",
					   "box=b",
					   "machines.default.cpus=2",
					   NULL };
	_cleanup_spec_ struct project_spec *spec =
		parse_set("box: a\nmemory: 2X\nenv: {A: 1, Z: 2}\nports: [1:1]\n", set);
	const struct machine_spec *machine = &spec->machines[0];

	(void)state;
	assert_int_equal(machine->memory, 3ull << 30);
	assert_int_equal(machine->n_ports, 2);
	assert_string_equal(venv__env_get(machine->env, "A"), "x=y");
	assert_string_equal(venv__env_get(machine->env, "B"), "");
	assert_string_equal(venv__env_get(machine->env, "Z"), "2");
	assert_true(machine->ssh.forward_agent);
	assert_string_equal(machine->box, "b");
	assert_int_equal(machine->box_place.line, 0);
	assert_int_equal((int)machine->cpus, 2);
}

static void set_reaches_every_machine_or_one(void **state)
{
	static const char *const set[] = { "machines.b.memory=4G", "memory=3G", "name=other",
					   "networks.x.subnet=10.5.0.0/16", NULL };
	_cleanup_spec_ struct project_spec *spec =
		parse_set("box: a\nmemory: 1G\nmachines: {a: {memory: 2G}, b: {}, c: {}}\n", set);

	(void)state;
	assert_int_equal(spec->machines[0].memory, 3ull << 30);
	assert_int_equal(spec->machines[1].memory, 4ull << 30);
	assert_int_equal(spec->machines[2].memory, 3ull << 30);
	assert_string_equal(spec->name, "other");
	assert_string_equal(spec->networks[0].subnet, "10.5.0.0/16");
}

static void bad_set_names_itself(void **state)
{
	static const struct {
		const char *set, *text, *message, *hint;
	} cases[] = {
		{ "memory=2X", "box: a\n", "--set memory=2X: unknown size suffix 'X' in '2X'",
		  NULL },
		{ "memroy=2G", "box: a\n", "--set memroy=2G: unknown key 'memroy'", "'memory'" },
		{ "memory", "box: a\n", "--set 'memory' has no value", NULL },
		{ "=2G", "box: a\n", "--set '=2G' has no key", NULL },
		{ "a..b=c", "box: a\n", "--set 'a..b=c' has an empty key", NULL },
		{ "a.=c", "box: a\n", "--set 'a.=c' has an empty key", NULL },
		{ "a.b.c.d.e.f.g.h.i=c", "box: a\n",
		  "--set 'a.b.c.d.e.f.g.h.i=c' has too many dots", NULL },
		{ "memory=", "box: a\n", "--set memory=: 'memory' has no value", NULL },
		{ "machines.web.memory=2G", "box: a\n",
		  "--set machines.web.memory=2G: there is no machine 'web'", NULL },
		{ "machines.wbe.memory=2G", "box: a\nmachines: {web: {}}\n",
		  "--set machines.wbe.memory=2G: there is no machine 'wbe'", "'web'" },
		{ "machines=web", "box: a\nmachines: {web: {}}\n",
		  "--set machines=web: 'machines' wants a map by names", NULL },
		{ "ports=[80:80]", "box: a\nmachines: {web: {}, db: {}}\n",
		  "--set ports=[80:80]: 'ports' cannot be a default for 2 machines: a port of the "
		  "host leads to one of them",
		  NULL },
		{ "ports=[80", "box: a\n",
		  "--set ports=[80: YAML: did not find expected ',' or ']' while parsing a flow "
		  "sequence",
		  NULL },
		{ "env.A.B=1", "box: a\n", "--set env.A.B=1: variable 'A' is text, not a map",
		  NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct bad bad = { cases[i].text, 0, 0, cases[i].message, cases[i].hint };

		check_bad(&bad, cases[i].set);
	}
}

/* ---- Files ----------------------------------------------------------------------------------- */

struct project { /* a directory with files */
	char dir[64];
	char file[96];
};

static void write_file(const struct project *project, const char *name, const char *text)
{
	_cleanup_free_ char *path = venv__path_join(project->dir, name);
	_cleanup_fclose_ FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
}

static int project_setup(void **state)
{
	struct project *project = calloc(1, sizeof(*project));

	(void)snprintf(project->dir, sizeof(project->dir), "/tmp/venv-config-XXXXXX");
	if (!mkdtemp(project->dir))
		return -1;
	(void)snprintf(project->file, sizeof(project->file), "%s/venv.yml", project->dir);
	*state = project;
	return 0;
}

static int project_teardown(void **state)
{
	struct project *project = *state;
	int r = venv__tree_delete(AT_FDCWD, project->dir, NULL);

	free(project);
	return r;
}

static void the_local_file_overrides(void **state)
{
	const struct project *project = *state;
	_cleanup_spec_ struct project_spec *spec = NULL;
	const struct machine_spec *machine;

	write_file(project, "venv.yml",
		   "box: a\nmemory: 1G\nenv: {A: 1, B: 2, C: \"${NOT_SET_1}\"}\n"
		   "ports: [80:80, 81:81]\n");
	write_file(project, "venv.local.yml", "memory: 2G\nenv: {B: 3, C: 4}\nports: [82:82]\n");
	assert_int_equal(venv__spec_load(project->file, NULL, &spec, NULL), 0);
	machine = &spec->machines[0];
	assert_int_equal(machine->memory, 2ull << 30);
	assert_string_equal(venv__env_get(machine->env, "A"), "1");
	assert_string_equal(venv__env_get(machine->env, "B"), "3");
	assert_string_equal(venv__env_get(machine->env, "C"), "4");
	assert_int_equal(machine->n_ports, 1);
	assert_int_equal(machine->ports[0].host, 82);
	assert_int_equal(venv__strv_count(spec->files), 2);
	assert_string_equal(spec->dir, project->dir);
}

static void errors_of_the_local_file_name_it(void **state)
{
	const struct project *project = *state;
	_cleanup_error_ venv_error *err = NULL;
	struct project_spec *spec = NULL;

	write_file(project, "venv.yml", "box: a\n");
	write_file(project, "venv.local.yml", "# mine\nmemory: 2X\n");
	assert_int_equal(venv__spec_load(project->file, NULL, &spec, &err), VENV_ERR_CONFIG);
	assert_int_equal(venv_error_line(err), 2);
	assert_non_null(strstr(venv_error_file(err), "/venv.local.yml"));
}

static void an_empty_local_file_is_fine(void **state)
{
	const struct project *project = *state;
	_cleanup_spec_ struct project_spec *spec = NULL;

	write_file(project, "venv.yml", "box: a\n");
	write_file(project, "venv.local.yml", "# nothing yet\n");
	assert_int_equal(venv__spec_load(project->file, NULL, &spec, NULL), 0);
}

static void a_missing_file_is_not_found(void **state)
{
	const struct project *project = *state;
	struct project_spec *spec = NULL;
	_cleanup_error_ venv_error *err = NULL;

	assert_int_equal(venv__spec_load(project->file, NULL, &spec, &err), VENV_ERR_NOT_FOUND);
	assert_int_equal(venv__spec_load("/nowhere/at/all/venv.yml", NULL, &spec, NULL),
			 VENV_ERR_NOT_FOUND);
}

static void variables_come_from_a_file(void **state)
{
	const struct project *project = *state;
	_cleanup_spec_ struct project_spec *spec = NULL;

	write_file(project, "venv.yml", "box: a\nenv: {B: inline}\nenv_file: .env\n");
	write_file(project, ".env",
		   "# comment\n\nA=1 # not a comment\r\nB=file\nexport C='x y'\n"
		   "D=\"\"\nE=a=b\n  F = 2\n");
	assert_int_equal(venv__spec_load(project->file, NULL, &spec, NULL), VENV_ERR_CONFIG);
	write_file(project, ".env",
		   "# comment\n\nA=1 # not a comment\r\nB=file\nexport C='x y'\n"
		   "D=\"\"\nE=a=b");
	assert_int_equal(venv__spec_load(project->file, NULL, &spec, NULL), 0);
	assert_string_equal(venv__env_get(spec->machines[0].env, "A"), "1 # not a comment");
	assert_string_equal(venv__env_get(spec->machines[0].env, "B"), "inline");
	assert_string_equal(venv__env_get(spec->machines[0].env, "C"), "x y");
	assert_string_equal(venv__env_get(spec->machines[0].env, "D"), "");
	assert_string_equal(venv__env_get(spec->machines[0].env, "E"), "a=b");
	assert_int_equal(json_array_size(spec->approve), 0);
}

static void bad_lines_of_variables_name_their_file(void **state)
{
	const struct project *project = *state;
	_cleanup_error_ venv_error *err = NULL;
	struct project_spec *spec = NULL;

	write_file(project, "venv.yml", "box: a\nenv_file: .env\n");
	write_file(project, ".env", "A=1\nnonsense\n");
	assert_int_equal(venv__spec_load(project->file, NULL, &spec, &err), VENV_ERR_CONFIG);
	assert_string_equal(venv_error_message(err), "this is not NAME=value");
	assert_int_equal(venv_error_line(err), 2);
	assert_non_null(strstr(venv_error_file(err), "/.env"));
}

static void a_box_path_is_relative_to_the_file(void **state)
{
	_cleanup_spec_ struct project_spec *spec = parse_good(
		"machines: {a: {box: ./a.tar}, b: {box: ../b.tar}, c: {box: /c.tar}, d: {box: e/f}}\n");

	(void)state;
	assert_string_equal(spec->machines[0].box, DIR_OF_PROJECT "/a.tar");
	assert_string_equal(spec->machines[1].box, "/home/someone/b.tar");
	assert_string_equal(spec->machines[2].box, "/c.tar");
	assert_string_equal(spec->machines[3].box, "e/f");
}

static void the_directory_names_the_project(void **state)
{
	static const char *const cases[][2] = {
		{ "/home/me/shop", "shop" }, { "/home/me/My Shop (2)", "my-shop-2" },
		{ "/", "project" },          { "/x/\xc3\xa4", "project" },
		{ "/x/--a--b--", "a-b" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_spec_ struct project_spec *spec = NULL;

		assert_int_equal(
			venv__spec_parse("venv.yml", cases[i][0], "box: a", 6, NULL, &spec, NULL),
			0);
		assert_string_equal(spec->name, cases[i][1]);
	}
}

int main(void)
{
#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, project_setup, project_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_go_into_every_machine),
		cmocka_unit_test(wrong_defaults_cannot_hide),
		cmocka_unit_test(the_primary_machine_is_found),
		cmocka_unit_test(needs_are_read_and_checked),
		cmocka_unit_test(set_overrides_a_single_machine),
		cmocka_unit_test(set_reaches_every_machine_or_one),
		cmocka_unit_test(bad_set_names_itself),
		WITH_FILES(the_local_file_overrides),
		WITH_FILES(errors_of_the_local_file_name_it),
		WITH_FILES(an_empty_local_file_is_fine),
		WITH_FILES(a_missing_file_is_not_found),
		WITH_FILES(variables_come_from_a_file),
		WITH_FILES(bad_lines_of_variables_name_their_file),
		cmocka_unit_test(a_box_path_is_relative_to_the_file),
		cmocka_unit_test(the_directory_names_the_project),
	};

	return cmocka_run_group_tests_name("config_layers", tests, NULL, NULL);
}
