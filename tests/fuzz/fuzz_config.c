/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile venv.yml: never crashes, fails with a message, and what is taken can be recorded and
 * read back as the same. A line "\n%%SET " ends the file and begins a --set.
 */
#include <stdint.h>
#include <string.h>

#include "spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void round_trip(const struct machine_spec *machine)
{
	_cleanup_json_ json_t *first = venv__spec_machine_to_json(machine);
	_cleanup_json_ json_t *second = NULL;
	_cleanup_json_ json_t *diff = NULL;
	struct machine_spec *copy = NULL;

	require(first != NULL);
	require(venv__spec_machine_from_json(first, &copy, NULL) == 0);
	second = venv__spec_machine_to_json(copy);
	diff = venv__spec_diff(first, second);
	require(json_array_size(diff) == 0);
	venv__spec_machine_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char mark[] = "\n%%SET ";
	const uint8_t *end = memmem(data, size, mark, sizeof(mark) - 1);
	_cleanup_free_ char *assignment = NULL;
	const char *set[] = { NULL, NULL };
	_cleanup_error_ venv_error *err = NULL;
	_cleanup_spec_ struct project_spec *spec = NULL;

	if (end) {
		const char *begin = (const char *)end + sizeof(mark) - 1;

		assignment = strndup(begin, size - (size_t)(begin - (const char *)data));
		set[0] = assignment;
		size = (size_t)(end - data);
	}
	if (venv__spec_parse("venv.yml", "/project", (const char *)data, size, set, &spec, &err) <
	    0) {
		require(err && *venv_error_message(err));
		return 0;
	}
	for (size_t i = 0; i < spec->n_machines; i++)
		round_trip(&spec->machines[i]);
	return 0;
}
