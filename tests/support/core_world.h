/* SPDX-License-Identifier: Apache-2.0 */
/* A project on a store of its own, for tests of core over the fake provider. What goes wrong fails the test. */
#ifndef TESTS_CORE_WORLD_H
#define TESTS_CORE_WORLD_H

#include "tests/unit/test.h"

#include <venv.h>

struct world {
	char root[64], data[96], dir[96];
	venv *ctx;
};

/* The smallest project that runs. */
#define SMALL "box: busybox\nnetworks: []\nfolders: []\n"

int core_setup(void **state);
int core_teardown(void **state);
/* dir NULL: the project's */
void core_write_file(const struct world *w, const char *dir, const char *name, const char *text);
venv_project *core_open_at(const struct world *w, const char *dir);
venv_project *core_open_text(const struct world *w, const char *text);
void core_wait(venv_op *op); /* it must succeed */
/* Run an operation that must end with a code, and give its error. */
venv_error *core_end_with(venv_op *op, int code);
void core_up(venv_project *project, int code);
char *core_state_of(venv_project *project, const char *name);

#define assert_state(project, name, expected)                                                      \
	do {                                                                                       \
		_cleanup_free_ char *state_ = core_state_of(project, name);                        \
		assert_string_equal(state_, expected);                                             \
	} while (0)

#endif
