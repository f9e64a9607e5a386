/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that runs out at every point: allocation n fails, for every n until the work succeeds.
 * Each time the answer is VENV_ERR_NOMEM and everything has been given back. The allocator is
 * replaced for the whole program, so that the C library, libyaml and jansson fail as well.
 */
#include "config_full.h"
#include "config_support.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAVE_SANITIZER 1
#endif
#endif

#ifdef HAVE_SANITIZER
int main(void)
{
	(void)fputs("skipped: a sanitizer has its own allocator\n", stderr);
	return 77;
}
#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static bool counting;
static long countdown; /* allocations until one fails */
static long live;      /* made while counting and not given back */

static bool allocation_fails(void)
{
	return counting && countdown-- == 0;
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
	void *p = allocation_fails() ? NULL : __libc_malloc(size);

	live += counting && p;
	return p;
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	void *p = allocation_fails() ? NULL : __libc_calloc(n, size);

	live += counting && p;
	return p;
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t size)
{
	void *p = allocation_fails() ? NULL : __libc_realloc(old, size);

	live += counting && p && !old;
	return p;
}

__attribute__((visibility("default"))) void free(void *p)
{
	live -= counting && p;
	__libc_free(p);
}

/* A failure that was overlooked would lose something. */
static int record_again(const json_t *record, venv_error **err)
{
	_cleanup_json_ json_t *again = NULL;
	struct machine_spec *copy = NULL;
	int r = venv__spec_machine_from_json(record, &copy, err);

	if (r < 0)
		return r;
	again = venv__spec_machine_to_json(copy);
	venv__spec_machine_free(copy);
	if (!again)
		return venv__fail_nomem(err);
	return json_equal(record, again) ? 0 : venv__fail(err, VENV_ERR_CORRUPT, "it differs");
}

static int load_and_record(venv_error **err)
{
	static const char *const set[] = { "machines.web.env.B=1", "name=other", NULL };
	struct project_spec *spec = NULL;
	json_t *record = NULL, *diff = NULL;
	int r = parse_text(full_text, set, &spec, err);

	if (r < 0)
		return r;
	record = venv__spec_machine_to_json(&spec->machines[1]);
	diff = record ? venv__spec_diff(record, NULL) : NULL;
	if (!diff)
		r = venv__fail_nomem(err);
	else
		r = record_again(record, err);
	json_decref(diff);
	json_decref(record);
	venv__spec_free(spec);
	return r;
}

static int fail_with_hint(venv_error **err)
{
	struct project_spec *spec = NULL;

	return parse_text("box: a\nmachines: {web: {needs: {dbb: ready}}, db: {}}\n", NULL, &spec,
			  err);
}

static int list_keys(venv_error **err)
{
	_cleanup_json_ json_t *keys = venv__config_keys();

	return keys ? 0 : venv__fail_nomem(err);
}

static int write_schema(venv_error **err)
{
	_cleanup_json_ json_t *schema = venv__config_schema();

	return schema ? 0 : venv__fail_nomem(err);
}

/* Let every allocation of the work fail once; expected is how it ends when none does. */
static void fail_each(int (*work)(venv_error **err), int expected)
{
	venv_error *err = NULL;
	long n, left;
	int r;

	(void)work(&err); /* what is allocated once and for all */
	venv_error_free(err);
	for (n = 0;; n++) {
		bool ended;

		err = NULL;
		live = 0;
		countdown = n;
		counting = true;
		r = work(&err);
		ended = countdown >= 0;
		venv_error_free(err);
		counting = false;
		left = live;
		if (left)
			fail_msg("%ld allocations lost when number %ld failed", left, n);
		if (ended)
			break;
		if (r != VENV_ERR_NOMEM && r != expected)
			fail_msg("code %d when allocation %ld failed", r, n);
	}
	assert_int_equal(r, expected);
	assert_true(n > 10);
}

static void loading(void **state)
{
	(void)state;
	fail_each(load_and_record, 0);
}

static void failing(void **state)
{
	(void)state;
	fail_each(fail_with_hint, VENV_ERR_CONFIG);
}

static void listing(void **state)
{
	(void)state;
	fail_each(list_keys, 0);
	fail_each(write_schema, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loading),
		cmocka_unit_test(failing),
		cmocka_unit_test(listing),
	};

	json_object_seed(1); /* else jansson opens /dev/urandom in the middle */
	return cmocka_run_group_tests_name("config_memory", tests, NULL, NULL);
}

#endif
