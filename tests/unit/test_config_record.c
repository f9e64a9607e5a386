/* SPDX-License-Identifier: Apache-2.0 */
/* What the table gives besides reading: records, differences, the list of keys, the schema. */
#include "config_full.h"
#include "config_support.h"

static void a_record_reads_back_as_it_was(void **state)
{
	_cleanup_spec_ struct project_spec *spec = parse_good(full_text);

	(void)state;
	for (size_t i = 0; i < spec->n_machines; i++) {
		_cleanup_json_ json_t *first = venv__spec_machine_to_json(&spec->machines[i]);
		_cleanup_free_ char *text = json_dumps(first, 0);
		_cleanup_json_ json_t *loaded = NULL;
		_cleanup_json_ json_t *second = NULL;
		_cleanup_error_ venv_error *err = NULL;
		struct machine_spec *machine = NULL;

		/* by way of the text on disk */
		assert_int_equal(venv__json_parse(text, strlen(text), &loaded, NULL), 0);
		if (venv__spec_machine_from_json(loaded, &machine, &err) < 0)
			fail_msg("%s", venv_error_message(err));
		assert_string_equal(machine->name, spec->machines[i].name);
		second = venv__spec_machine_to_json(machine);
		assert_true(json_equal(first, second));
		venv__spec_machine_free(machine);
	}
}

static void a_record_has_the_form_of_the_file(void **state)
{
	_cleanup_spec_ struct project_spec *spec = parse_good(full_text);
	_cleanup_json_ json_t *web = venv__spec_machine_to_json(venv__spec_machine(spec, "web"));

	(void)state;
	assert_string_equal(venv__json_str(web, "name"), "web");
	assert_string_equal(venv__json_str(web, "memory"), "2G");
	assert_string_equal(venv__json_str(web, "boot_timeout"), "90s");
	assert_string_equal(venv__json_str(web, "stop_timeout"), "1500ms");
	assert_string_equal(venv__json_str(web, "oom"), "freeze");
	assert_int_equal(venv__json_int(web, "pids", 0), 4096);
	assert_true(venv__json_bool(web, "primary", false));
	assert_string_equal(venv__json_str(json_object_get(web, "env"), "APP_ENV"), "dev ${x}");
	assert_string_equal(
		venv__json_str(json_array_get(json_object_get(web, "folders"), 0), "host"),
		DIR_OF_PROJECT);
}

static void a_damaged_record_is_named(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"{\"name\":\"a\"}",
		"{\"name\":\"a\",\"box\":\"b\",\"memory\":\"2X\"}",
		"{\"name\":\"a\",\"box\":\"b\",\"memory\":[[]]}",
		"{\"name\":\"a\",\"box\":\"b\",\"nope\":1}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_json_ json_t *recorded = json_loads(texts[i], 0, NULL);
		_cleanup_error_ venv_error *err = NULL;
		struct machine_spec *machine = NULL;

		assert_int_equal(venv__spec_machine_from_json(recorded, &machine, &err),
				 VENV_ERR_CORRUPT);
		assert_null(machine);
		assert_non_null(err);
	}
}

static void differences_are_found(void **state)
{
	_cleanup_spec_ struct project_spec *old = parse_good("box: a\nmemory: 1G\nuser: me\n");
	_cleanup_spec_ struct project_spec *new = parse_good("box: a\nmemory: 2G\ncpus: 2\n");
	_cleanup_json_ json_t *from = venv__spec_machine_to_json(&old->machines[0]);
	_cleanup_json_ json_t *to = venv__spec_machine_to_json(&new->machines[0]);
	_cleanup_json_ json_t *diff = venv__spec_diff(from, to);
	_cleanup_json_ json_t *none = venv__spec_diff(from, from);
	_cleanup_json_ json_t *expected =
		json_pack("[{s:s,s:n,s:i,s:b},{s:s,s:s,s:s,s:b},{s:s,s:s,s:n,s:b}]", "key", "cpus",
			  "from", "to", 2, "live", 1, "key", "memory", "from", "1G", "to", "2G",
			  "live", 1, "key", "user", "from", "me", "to", "live", 0);

	(void)state;
	assert_int_equal(json_array_size(none), 0);
	assert_true(json_equal(diff, expected));
}

static void every_key_is_documented(void **state)
{
	_cleanup_json_ json_t *keys = venv__config_keys();
	json_t *key;
	size_t i;

	(void)state;
	assert_true(json_array_size(keys) > 80);
	json_array_foreach(keys, i, key)
	{
		assert_non_null(venv__json_str(key, "section"));
		assert_non_null(venv__json_str(key, "key"));
		assert_non_null(venv__json_str(key, "type"));
		assert_non_null(venv__json_str(key, "since"));
		assert_true(strlen(venv__json_str(key, "doc")) > 3);
	}
}

/* Each example stands in hints: it must be what it says. */
static void every_example_is_taken(void **state)
{
	_cleanup_json_ json_t *keys = venv__config_keys();
	json_t *key;
	size_t i;

	(void)state;
	json_array_foreach(keys, i, key)
	{
		const char *name = venv__json_str(key, "key"),
			   *example = venv__json_str(key, "example");
		_cleanup_error_ venv_error *err = NULL;
		struct project_spec *spec = NULL;
		char text[512];
		int r;

		if (!example || strcmp(venv__json_str(key, "section"), "machine") != 0 ||
		    strcmp(name, "env_file") == 0)
			continue;
		(void)snprintf(text, sizeof(text),
			       "%smachines:\n  db: {box: a}\n  web:\n    %s%s: %s\n"
			       "networks: { backend: { subnet: 192.168.56.0/24 } }\n",
			       strcmp(name, "memory_low") == 0 ? "memory: 1G\n" : "",
			       strcmp(name, "box") == 0 ? "" : "box: a\n    ", name, example);
		r = parse_text(text, NULL, &spec, &err);
		if (r < 0 && r != VENV_ERR_UNSUPPORTED)
			fail_msg("%s\n%s", venv_error_message(err), text);
		venv__spec_free(spec);
	}
}

static void check_references(const json_t *node, const json_t *definitions)
{
	const char *reference = venv__json_str(node, "$ref"), *key;
	json_t *child;
	size_t i;

	if (reference && !json_object_get(definitions, reference + strlen("#/$defs/")))
		fail_msg("%s leads nowhere", reference);
	json_object_foreach((json_t *)(uintptr_t)node, key, child)
		check_references(child, definitions);
	json_array_foreach(node, i, child) check_references(child, definitions);
}

static void the_schema_is_whole(void **state)
{
	_cleanup_json_ json_t *schema = venv__config_schema();
	const json_t *properties = json_object_get(schema, "properties");

	(void)state;
	assert_string_equal(venv__json_str(schema, "$schema"),
			    "https://json-schema.org/draft/2020-12/schema");
	assert_non_null(json_object_get(properties, "machines"));
	assert_non_null(json_object_get(properties, "memory"));
	/* of the project or of a machine */
	assert_int_equal(
		json_array_size(json_object_get(json_object_get(properties, "networks"), "anyOf")),
		2);
	check_references(schema, json_object_get(schema, "$defs"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_reads_back_as_it_was),
		cmocka_unit_test(a_record_has_the_form_of_the_file),
		cmocka_unit_test(a_damaged_record_is_named),
		cmocka_unit_test(differences_are_found),
		cmocka_unit_test(every_key_is_documented),
		cmocka_unit_test(every_example_is_taken),
		cmocka_unit_test(the_schema_is_whole),
	};

	return cmocka_run_group_tests_name("config_record", tests, NULL, NULL);
}
