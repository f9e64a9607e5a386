/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of virtual machines: which are its groups', which can change while it runs. */
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "providers/kvm/kvm.h"
#include "util/file.h"

static void memory_and_whole_processors_are_the_guests(void **state)
{
	struct machine_spec spec = { .memory = 5, .cpus = 2, .cpu_weight = 3 };
	_cleanup_json_ json_t *whole = kvm_limits(&spec);
	_cleanup_json_ json_t *part = NULL;

	(void)state;
	assert_null(json_object_get(whole, "memory"));
	assert_null(json_object_get(whole, "cpus"));
	assert_int_equal(venv__json_int(whole, "cpu_weight", 0), 3);
	spec.cpus = 1.5;
	part = kvm_limits(&spec);
	assert_non_null(json_object_get(part, "cpus"));
}

static int apply(const char *directory, const struct machine_spec *spec, const char *key,
		 venv_error **err)
{
	_cleanup_close_ int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_json_ json_t *changed =
		json_pack("[{s:s, s:n, s:n, s:b}]", "key", key, "from", "to", "live", 1);
	struct machine machine = { .id = "00000000test", .dir_fd = dir, .spec = spec };

	return kvm_apply(&machine, changed, NULL, err);
}

/* Only what is a limit wants its process; this one is in no group of a machine's, which is no failure. */
static void what_changes_is_set_on_its_process(void **state)
{
	const struct machine_spec spec = { .cpu_weight = 3 };
	char template[] = "/tmp/venv-limits-XXXXXX", path[64], alive[128];
	_cleanup_error_ venv_error *err = NULL;
	_cleanup_close_ int fd = -1;

	(void)state;
	assert_non_null(mkdtemp(template));
	assert_int_equal(apply(template, &spec, "autostart", NULL), 0);
	assert_int_equal(apply(template, &spec, "memory", NULL), 0);
	assert_int_equal(apply(template, &spec, "cpu_weight", &err), VENV_ERR_STATE);
	assert_string_equal(venv_error_message(err), "the machine is not running");
	(void)snprintf(path, sizeof(path), "%s/alive", template);
	(void)snprintf(alive, sizeof(alive), "{\"state\":\"running\",\"pid\":%d}\n", (int)getpid());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, alive, strlen(alive)), strlen(alive));
	assert_int_equal(apply(template, &spec, "cpu_weight", NULL), 0);
	assert_int_equal(apply(template, &spec, "cpuset", NULL), 0); /* taken away */
	(void)venv__tree_delete(AT_FDCWD, template, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_and_whole_processors_are_the_guests),
		cmocka_unit_test(what_changes_is_set_on_its_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
