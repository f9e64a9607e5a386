/* SPDX-License-Identifier: Apache-2.0 */
/* The probe over programs that stand in for venv-vmm, and over the real one where there is /dev/kvm. */
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup/cgroup.h"
#include "providers/kvm/kvm.h"
#include "util/buf.h"
#include "util/file.h"

struct world {
	char root[64], data[96], libexec[96];
	venv *ctx;
};

static int setup(void **state)
{
	venv_options o = VENV_OPTIONS_INIT;
	struct world *w = calloc(1, sizeof(*w));

	(void)snprintf(w->root, sizeof(w->root), "/tmp/venv-test-probe.XXXXXX");
	if (!mkdtemp(w->root))
		return -1;
	(void)snprintf(w->data, sizeof(w->data), "%s/data", w->root);
	(void)snprintf(w->libexec, sizeof(w->libexec), "%s/libexec", w->root);
	if (mkdir(w->libexec, 0755) < 0)
		return -1;
	o.data_dir = w->data;
	o.libexec_dir = w->libexec;
	*state = w;
	return venv_new(&o, &w->ctx, NULL);
}

static int teardown(void **state)
{
	struct world *w = *state;

	venv_free(w->ctx);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->root, NULL), 0);
	free(w);
	return 0;
}

/* A venv-vmm that counts how often it is asked, and says this. */
static void write_program(const struct world *w, const char *says)
{
	_cleanup_close_ int fd = open(w->libexec, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text, "#!/bin/sh\necho \"$*\" >> %s/asked\ncat <<'END'\n%s\nEND\n",
			     w->root, says) > 0);
	assert_int_equal(
		venv__file_write(fd, "venv-vmm", text, strlen(text), 0755, WRITE_VOLATILE, NULL),
		0);
}

static unsigned times_asked(const struct world *w)
{
	_cleanup_close_ int fd = open(w->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	unsigned n = 0;

	if (venv__file_read(fd, "asked", 4096, &text, NULL, NULL) < 0)
		return 0;
	for (const char *line = text; (line = strstr(line, "probe\n")); line++)
		n++;
	return n;
}

static bool have_kvm(void)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return fd >= 0;
}

#define REASON "this host's KVM interprets guest kernels: unmodified kernels do not boot"

static void what_venv_vmm_says_is_the_verdict(void **state)
{
	static const struct {
		const char *says;
		bool accept;
		const char *reason, *hint;
	} cases[] = {
		{ "{\"ok\":true}", true, NULL, NULL },
		{ "{\"error\":{\"code\":-17,\"message\":\"" REASON
		  "\",\"hint\":\"use containers\"}}",
		  false, REASON, "use containers" },
		{ "{\"error\":{\"code\":-10,\"message\":\"not yours\"}}", false, "not yours",
		  NULL },
		{ "{}", false, "venv-vmm cannot look at this host", NULL },
		{ "[1,", false, "venv-vmm does not say whether this host runs virtual machines",
		  NULL },
		{ "", false, "venv-vmm does not say whether this host runs virtual machines",
		  NULL },
	};
	const struct machine_spec spec = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world *w = *state;
		struct verdict verdict = { 0 };

		write_program(w, cases[i].says);
		assert_int_equal(kvm_probe(w->ctx, &spec, &verdict, NULL), 0);
		assert_int_equal(verdict.accept, cases[i].accept);
		if (cases[i].reason)
			assert_string_equal(verdict.reason, cases[i].reason);
		if (cases[i].hint)
			assert_string_equal(verdict.hint, cases[i].hint);
		venv__verdict_done(&verdict);
	}
}

static void what_a_machine_cannot_have_is_refused(void **state)
{
	const struct {
		struct machine_spec spec;
		const char *reason;
	} cases[] = {
		{ { .pids = 10 }, "('pids')" },
		{ { .oom = OOM_FREEZE }, "('oom')" },
		{ { .profile = PROFILE_APP }, "('profile')" },
		{ { .cpus = 33 }, "more than 32 processors ('cpus')" },
		{ { .cpus = 32.5 }, "more than 32 processors ('cpus')" },
		{ { .cpus = 4096, .kvm.sockets = 3 }, "more than 32 processors ('cpus')" },
		{ { .cpus = 3, .kvm.sockets = 2 }, "('kvm.sockets')" },
	};
	const struct world *w = *state;

	write_program(w, "{\"ok\":true}");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct verdict verdict = { 0 };

		assert_int_equal(kvm_probe(w->ctx, &cases[i].spec, &verdict, NULL), 0);
		assert_false(verdict.accept);
		assert_non_null(strstr(verdict.reason, cases[i].reason));
		assert_non_null(verdict.hint);
		assert_ptr_equal(verdict.place, strstr(cases[i].reason, "'cpus'")
							? &cases[i].spec.cpus_place
							: &cases[i].spec.place);
		venv__verdict_done(&verdict);
	}
}

/* A part of a processor is a whole one, slowed down: 31 and a half are 32. */
static void a_machine_has_up_to_32_processors(void **state)
{
	static const double counts[] = { 0, 0.5, 31.5, 32 };
	const struct world *w = *state;

	write_program(w, "{\"ok\":true}");
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		const struct machine_spec spec = { .cpus = counts[i] };
		struct verdict verdict = { 0 };

		assert_int_equal(kvm_probe(w->ctx, &spec, &verdict, NULL), 0);
		assert_true(verdict.accept);
		assert_null(verdict.place);
		venv__verdict_done(&verdict);
	}
}

/* Of memory and whole processors it has its own. */
static void what_the_host_does_not_limit_is_warned_of(void **state)
{
	char set[] = "0";
	const struct machine_spec spec = { .memory = 1, .cpus = 2, .cpuset = set };
	const struct world *w = *state;
	struct verdict verdict = { 0 };
	struct cgroup_host host;

	write_program(w, "{\"ok\":true}");
	assert_int_equal(kvm_probe(w->ctx, &spec, &verdict, NULL), 0);
	assert_true(verdict.accept);
	venv__cgroup_host_find(&host);
	assert_int_equal(venv__strv_count(verdict.warnings),
			 !venv__strv_has(host.controllers, "cpuset"));
	venv__cgroup_host_done(&host);
	venv__verdict_done(&verdict);
}

static void a_lasting_answer_is_asked_for_once(void **state)
{
	const struct world *w = *state;

	if (!have_kvm())
		skip();
	write_program(w, "{\"ok\":true}");
	for (int i = 0; i < 3; i++)
		assert_int_equal(kvm_host_check(w->ctx, NULL), 0);
	assert_int_equal(times_asked(w), 1);
	/* another program is asked anew */
	write_program(w, "{\"error\":{\"code\":-17,\"message\":\"no\"}}");
	for (int i = 0; i < 3; i++)
		assert_int_equal(kvm_host_check(w->ctx, NULL), VENV_ERR_HOST);
	assert_int_equal(times_asked(w), 2);
}

static void a_passing_answer_is_asked_for_again(void **state)
{
	static const char *const says[] = { "{\"error\":{\"code\":-10,\"message\":\"no\"}}", "{}",
					    "?" };
	const struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(says); i++) {
		write_program(w, says[i]);
		assert_true(kvm_host_check(w->ctx, NULL) < 0);
		assert_true(kvm_host_check(w->ctx, NULL) < 0);
		assert_int_equal(times_asked(w), 2 * i + 2);
	}
}

static void a_damaged_record_is_no_answer(void **state)
{
	const struct world *w = *state;
	int data = venv__context_data(w->ctx, NULL);

	write_program(w, "{\"ok\":true}");
	assert_int_equal(venv__file_write(data, "kvm-probe.json", "{\"answer\":{", 11, 0600,
					  WRITE_VOLATILE, NULL),
			 0);
	assert_int_equal(kvm_host_check(w->ctx, NULL), 0);
}

static void a_missing_program_is_named(void **state)
{
	const struct world *w = *state;
	_cleanup_error_ venv_error *err = NULL;

	assert_int_equal(kvm_host_check(w->ctx, &err), VENV_ERR_HOST);
	assert_string_equal(venv_error_message(err), "venv-vmm is missing");
	assert_string_equal(venv_error_hint(err), "install venv completely");
}

static void doctor_advises(void **state)
{
	static const struct {
		const char *says, *status, *message;
	} cases[] = {
		{ "{\"ok\":true}", "ok", "this host runs unmodified kernels" },
		{ "{\"error\":{\"code\":-17,\"message\":\"" REASON "\",\"hint\":\"x\"}}", "warning",
		  REASON },
	};
	const struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *list = NULL;
		const json_t *finding;

		write_program(w, cases[i].says);
		assert_int_equal(kvm_doctor(w->ctx, &list, NULL), 0);
		assert_int_equal(json_array_size(list), 1);
		finding = json_array_get(list, 0);
		assert_string_equal(venv__json_str(finding, "status"), cases[i].status);
		assert_memory_equal(venv__json_str(finding, "message"), cases[i].message,
				    strlen(cases[i].message));
		assert_int_equal(venv__json_str(finding, "fix") != NULL, i == 1);
	}
}

/* Whatever the real one finds on this host, it says it, and in milliseconds. */
static void the_real_one_answers(void **state)
{
	const char *libexec = getenv("VENV_LIBEXEC");
	struct world *w = *state;
	_cleanup_error_ venv_error *err = NULL;
	int r;

	free(w->ctx->libexec_dir);
	w->ctx->libexec_dir = strdup(libexec ? libexec : "/nonexistent");
	r = kvm_host_check(w->ctx, &err);
	if (r < 0 && strcmp(venv_error_message(err), "venv-vmm is missing") == 0)
		skip();
	if (r < 0) {
		assert_true(r == VENV_ERR_HOST || r == VENV_ERR_DENIED);
		assert_non_null(venv_error_hint(err));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_venv_vmm_says_is_the_verdict, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_machine_cannot_have_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_machine_has_up_to_32_processors, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_host_does_not_limit_is_warned_of, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_lasting_answer_is_asked_for_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_passing_answer_is_asked_for_again, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_damaged_record_is_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_program_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(doctor_advises, setup, teardown),
		cmocka_unit_test_setup_teardown(the_real_one_answers, setup, teardown),
	};

	return cmocka_run_group_tests_name("kvm_probe", tests, NULL, NULL);
}
