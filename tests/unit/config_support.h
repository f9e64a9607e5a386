/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of libvenv/config share. */
#ifndef TESTS_UNIT_CONFIG_SUPPORT_H
#define TESTS_UNIT_CONFIG_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "spec.h"

#define DIR_OF_PROJECT "/home/someone/shop"

struct bad { /* text that must fail, and how */
	const char *text;
	unsigned line, column;
	const char *message;
	const char *hint; /* a part of it; NULL: any, but there must be one */
};

static inline int parse_text(const char *text, const char *const *set, struct project_spec **ret,
			     venv_error **err)
{
	return venv__spec_parse("venv.yml", DIR_OF_PROJECT, text, strlen(text), set, ret, err);
}

/* Of a text that must be good. */
static inline struct project_spec *parse_good(const char *text)
{
	_cleanup_error_ venv_error *err = NULL;
	struct project_spec *spec = NULL;

	if (parse_text(text, NULL, &spec, &err) < 0)
		fail_msg("%s:%u:%u: %s\n%s", venv_error_file(err), venv_error_line(err),
			 venv_error_column(err), venv_error_message(err), text);
	return spec;
}

static inline void check_bad(const struct bad *bad, const char *assignment)
{
	const char *set[] = { assignment, NULL };
	_cleanup_error_ venv_error *err = NULL;
	struct project_spec *spec = NULL;
	int r = parse_text(bad->text, set, &spec, &err);

	if (r >= 0) {
		venv__spec_free(spec);
		fail_msg("this is taken:\n%s", bad->text);
	}
	assert_null(spec);
	assert_non_null(err);
	if (strcmp(venv_error_message(err), bad->message) != 0 || !venv_error_hint(err) ||
	    (bad->hint && !strstr(venv_error_hint(err), bad->hint)) ||
	    venv_error_line(err) != bad->line || venv_error_column(err) != bad->column)
		fail_msg("%u:%u: %s (%s), not %u:%u: %s (%s)\n%s", venv_error_line(err),
			 venv_error_column(err), venv_error_message(err),
			 venv_error_hint(err) ? venv_error_hint(err) : "no hint", bad->line,
			 bad->column, bad->message, bad->hint ? bad->hint : "any hint", bad->text);
	assert_int_equal(r, strstr(bad->message, "not supported yet") ? VENV_ERR_UNSUPPORTED
								      : VENV_ERR_CONFIG);
	assert_int_equal(venv_error_code(err), r);
	if (bad->line)
		assert_string_equal(venv_error_file(err), "venv.yml");
	else
		assert_null(venv_error_file(err));
}

#define check_all_bad(cases)                                                                       \
	for (size_t i_ = 0; i_ < ARRAY_SIZE(cases); i_++)                                          \
	check_bad(&(cases)[i_], NULL)

#endif
