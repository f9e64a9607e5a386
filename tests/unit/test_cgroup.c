/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups as far as they need no rights: what a spec limits, what a host warns of, what is removed. */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cgroup/cgroup.h"
#include "spec.h"
#include "util/buf.h"
#include "util/file.h"

static void a_spec_says_what_is_limited(void **state)
{
	char set[] = "0-1,3";
	const struct machine_spec none = { 0 }, all = {
		.memory = 5,
		.memory_low = 4,
		.cpus = 1.5,
		.cpu_weight = 3,
		.io_weight = 2,
		.pids = 1,
		.cpuset = set,
		.oom = OOM_FREEZE,
	};
	_cleanup_json_ json_t *nothing = venv__cgroup_limits(&none);
	_cleanup_json_ json_t *limits = venv__cgroup_limits(&all);
	_cleanup_json_ json_t *expected = json_pack(
		"{s:i, s:i, s:f, s:i, s:i, s:i, s:s, s:s}", "memory", 5, "memory_low", 4, "cpus",
		1.5, "cpu_weight", 3, "io_weight", 2, "pids", 1, "cpuset", set, "oom", "freeze");

	(void)state;
	assert_int_equal(json_object_size(nothing), 0);
	assert_true(json_equal(limits, expected));
}

static void processors_of_a_set_are_counted(void **state)
{
	static const struct {
		const char *set;
		unsigned n;
	} cases[] = {
		{ NULL, 0 },  { "", 0 },  { "0", 1 },  { "0-3", 4 },          { "0-1,4,6-7", 5 },
		{ "3-1", 0 }, { "a", 0 }, { "1x", 0 }, { "0-4294967295", 0 }, { "-", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(venv__cgroup_cpuset_size(cases[i].set), cases[i].n);
}

/* A record is only text in a file: what it names is removed only if it is this machine's. */
static void cleans_only_its_groups(void **state)
{
	char template[] = "/tmp/venv-groups-XXXXXX", path[128], other[] = "/sys/fs/cgroup/unified";
	char *paths[] = { path, other, NULL };

	(void)state;
	assert_non_null(mkdtemp(template));
	(void)snprintf(path, sizeof(path), "%s/venv-abc", template);
	assert_int_equal(mkdir(path, 0700), 0);
	venv__cgroup_clean(paths, "abc");
	assert_int_equal(access(path, F_OK), 0);
	(void)venv__tree_delete(AT_FDCWD, template, NULL);
}

/* What a keeper leaves that is killed before it has written where its groups are. */
static void cleans_groups_that_nobody_noted(void **state)
{
	static const char id[] = "00000000000000000000000000c0ffee";
	_cleanup_free_ char *group = NULL, *leaf = NULL;
	struct cgroup_host host;

	(void)state;
	venv__cgroup_host_find(&host);
	if (!host.base || host.layout == CGROUP_SYSTEMD) {
		venv__cgroup_host_done(&host);
		skip();
	}
	assert_true(asprintf(&group, "%s/venv-%s", host.base, id) > 0);
	assert_true(asprintf(&leaf, "%s/payload", group) > 0);
	venv__cgroup_host_done(&host);
	assert_int_equal(mkdir(group, 0755), 0);
	assert_int_equal(mkdir(leaf, 0755), 0);
	venv__cgroup_clean_own("00000000000000000000000000c0ffe0");
	assert_int_equal(access(leaf, F_OK), 0);
	venv__cgroup_clean_own(id);
	assert_int_not_equal(access(group, F_OK), 0);
}

static void warns_of_limits_that_cannot_be(void **state)
{
	struct cgroup_host host = { .layout = CGROUP_NONE };
	_cleanup_json_ json_t *limits = json_pack("{s:i, s:i}", "memory", 1, "pids", 2);
	_cleanup_strv_ char **warnings = NULL;

	(void)state;
	assert_int_equal(venv__cgroup_host_warnings(&host, limits, &warnings), 0);
	assert_int_equal(venv__strv_count(warnings), 2);
	assert_non_null(strstr(warnings[0], "'memory' cannot be enforced"));
}

/* The file of a group is any file here. */
static void a_process_enters_all_groups(void **state)
{
	char template[] = "/tmp/venv-groups-XXXXXX", v1[] = "v1";
	struct cgroup cgroup = CGROUP_INIT;
	_cleanup_close_ int dir = -1, sub = -1;
	_cleanup_free_ char *first = NULL, *second = NULL;
	_cleanup_error_ venv_error *err = NULL;

	(void)state;
	assert_non_null(mkdtemp(template));
	dir = open(template, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(venv__cgroup_enter(&cgroup, 77, NULL), 0); /* there are none */
	assert_int_equal(venv__file_write(dir, "cgroup.procs", "", 0, 0600, WRITE_VOLATILE, NULL),
			 0);
	assert_int_equal(venv__dir_make_at(dir, "v1", 0700, &sub, NULL), 0);
	cgroup.payload_fd = dir;
	cgroup.v1[1].path = v1;
	cgroup.v1[1].fd = sub;
	assert_true(venv__cgroup_enter(&cgroup, 77, &err) < 0);
	assert_non_null(
		strstr(venv_error_message(err), "cannot enter the machine's control group"));
	assert_int_equal(venv__file_write(sub, "cgroup.procs", "", 0, 0600, WRITE_VOLATILE, NULL),
			 0);
	assert_int_equal(venv__cgroup_enter(&cgroup, 78, NULL), 0);
	assert_int_equal(venv__file_read(dir, "cgroup.procs", 64, &first, NULL, NULL), 0);
	assert_int_equal(venv__file_read(sub, "cgroup.procs", 64, &second, NULL, NULL), 0);
	assert_string_equal(first, "78");
	assert_string_equal(second, "78");
	(void)venv__tree_delete(AT_FDCWD, template, NULL);
}

/* A process that waits, in groups as a machine's: where this user may make any, and without systemd. */
static pid_t start_member(struct cgroup *cgroup, const json_t *limits)
{
	struct cgroup_order order = { .id = "00000000test", .limits = limits };
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)pause();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(venv__cgroup_open(cgroup, &order, NULL), 0);
	assert_int_equal(venv__cgroup_enter(cgroup, pid, NULL), 0);
	return pid;
}

static void expect_limit(const struct cgroup *cgroup, int64_t bytes)
{
	bool v1 = cgroup->layout == CGROUP_HYBRID;

	assert_int_equal(venv__cgroup_read_number(v1 ? venv__cgroup_v1_fd(cgroup, "memory")
						     : cgroup->machine_fd,
						  v1 ? "memory.limit_in_bytes" : "memory.max", -1),
			 bytes);
}

/* Whoever did not make them finds the same groups, and no others. */
static void groups_are_found_by_a_process(void **state)
{
	_cleanup_json_ json_t *first = json_pack("{s:i}", "memory", 64 << 20);
	_cleanup_json_ json_t *second = json_pack("{s:i}", "memory", 96 << 20);
	_cleanup_strv_ char **made = NULL, **found_paths = NULL;
	struct cgroup cgroup, found;
	struct cgroup_host host;
	bool can;
	pid_t pid;

	(void)state;
	venv__cgroup_host_find(&host);
	can = (host.layout == CGROUP_HYBRID || host.layout == CGROUP_V2) &&
	      venv__strv_has(host.controllers, "memory");
	venv__cgroup_host_done(&host);
	if (!can)
		skip();
	pid = start_member(&cgroup, first);
	expect_limit(&cgroup, 64 << 20);
	assert_int_equal(venv__cgroup_find(&found, "00000000test", pid, NULL), 0);
	assert_int_equal(found.layout, cgroup.layout);
	made = venv__cgroup_paths(&cgroup);
	found_paths = venv__cgroup_paths(&found);
	assert_int_equal(venv__strv_count(found_paths), venv__strv_count(made));
	for (char **path = found_paths; path && *path; path++)
		assert_true(venv__strv_has(made, *path));
	assert_int_equal(venv__cgroup_limit(&found, second, NULL), 0);
	expect_limit(&cgroup, 96 << 20);
	venv__cgroup_done(&found);
	/* another machine's are not its */
	assert_int_equal(venv__cgroup_find(&found, "00000000else", pid, NULL), 0);
	assert_int_equal(found.layout, CGROUP_NONE);
	assert_int_equal(venv__cgroup_limit(&found, first, NULL), 0);
	expect_limit(&cgroup, 96 << 20);
	venv__cgroup_done(&found);
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	venv__cgroup_remove(&cgroup);
	venv__cgroup_done(&cgroup);
}

static void a_process_that_is_gone_has_no_groups(void **state)
{
	_cleanup_error_ venv_error *err = NULL;
	struct cgroup cgroup;

	(void)state;
	assert_int_equal(venv__cgroup_find(&cgroup, "00000000test", 0, &err), VENV_ERR_STATE);
	assert_string_equal(venv_error_message(err), "the machine is not running");
	venv__cgroup_done(&cgroup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_spec_says_what_is_limited),
		cmocka_unit_test(processors_of_a_set_are_counted),
		cmocka_unit_test(cleans_only_its_groups),
		cmocka_unit_test(cleans_groups_that_nobody_noted),
		cmocka_unit_test(warns_of_limits_that_cannot_be),
		cmocka_unit_test(a_process_enters_all_groups),
		cmocka_unit_test(groups_are_found_by_a_process),
		cmocka_unit_test(a_process_that_is_gone_has_no_groups),
	};

	return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
