/* SPDX-License-Identifier: Apache-2.0 */
/* What images say of their own program. */
#include "test.h"

#include <signal.h>

#include "image.h"

static void reads_signals(void **state)
{
	static const struct {
		const char *text;
		int number;
	} cases[] = {
		{ "SIGTERM", SIGTERM },
		{ "TERM", SIGTERM },
		{ "SIGQUIT", SIGQUIT },
		{ "SIGRTMIN+3", 37 },
		{ "RTMIN+4", 38 },
		{ "SIGRTMIN", 34 },
		{ "9", 9 },
		{ "64", 64 },
		{ "65", -7 },
		{ "0", -7 },
		{ "RTMIN+31", -7 },
		{ "RTMIN+18446744073709551615", -7 }, /* 33, if it went around */
		{ "18446744073709551625", -7 },
		{ "SIGNONE", -7 },
		{ "", -7 },
		{ "9x", -7 },
		{ NULL, -7 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(venv__signal_number(cases[i].text, -7), cases[i].number);
}

static void knows_system_images(void **state)
{
	char init[] = "/sbin/init", sh[] = "/bin/sh", *system[] = { init, NULL },
	     *shell[] = { sh, NULL };
	struct machine_image image = { .cmd = system };

	(void)state;
	assert_true(venv__image_is_system(&image));
	image.entrypoint = shell;
	assert_false(venv__image_is_system(&image));
	assert_false(venv__image_is_system(&(struct machine_image){ .cmd = NULL }));
}

static void joins_the_command(void **state)
{
	char run[] = "/run.sh", word[] = "--all", *entrypoint[] = { run, NULL },
	     *cmd[] = { word, NULL };
	struct machine_image image = { .entrypoint = entrypoint, .cmd = cmd };
	_cleanup_strv_ char **command = venv__image_command(&image);

	(void)state;
	assert_string_equal(command[0], run);
	assert_string_equal(command[1], word);
	assert_null(command[2]);
	assert_null(venv__image_command(&(struct machine_image){ .cmd = NULL }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_signals),
		cmocka_unit_test(knows_system_images),
		cmocka_unit_test(joins_the_command),
	};

	return cmocka_run_group_tests_name("image_program", tests, NULL, NULL);
}
