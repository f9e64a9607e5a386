/* SPDX-License-Identifier: Apache-2.0 */
/* Progress rendered into a buffer: no line wider than the terminal, the picture as it is drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/live.h"

enum { MS = 1000 };

static void fill(struct progress *progress)
{
	progress_begin(progress, "db", "boot", "starting", 0);
	progress_end(progress, "db", "boot");
	progress_state(progress, "db", "running");
	progress_begin(progress, "web", "unpack", "unpacking debian/12", 0);
	progress_set(progress, "web", "unpack", 0, 203000000, 0);
	progress_set(progress, "web", "unpack", 92100000, 203000000, 2000 * MS);
	progress_begin(progress, "cache", "create", "creating \033[31mfrom redis", 1900 * MS);
	progress_failed(progress, "mail");
	progress_state(progress, "mail", "absent");
}

static void a_line_for_each_machine(void **state)
{
	struct progress progress = { 0 };
	struct output out = { .fd = -1, .utf8 = true };
	size_t widths[8];

	(void)state;
	fill(&progress);
	assert_int_equal(progress_render(&progress, &out, 8, 100, 2000 * MS, widths), 4);
	assert_string_equal(
		out.buffer.data,
		"✓ db     running  \n"
		"⠋ web    unpack     ██████████░░░░░░░░░░░░░░   45 %  92.1 MB of 203 MB  46.0 MB/s  3 s left\n"
		"⠋ cache  create     creating \\x1b[31mfrom redis\n"
		"✗ mail   failed   \n");
	progress_done(&progress);
	out_done(&out);
}

static void ascii_where_there_is_no_more(void **state)
{
	struct progress progress = { 0 };
	struct output out = { .fd = -1 };
	size_t widths[8];

	(void)state;
	fill(&progress);
	(void)progress_render(&progress, &out, 8, 100, 2000 * MS, widths);
	for (size_t i = 0; i < out.buffer.length; i++)
		assert_true((unsigned char)out.buffer.data[i] < 0x80);
	progress_done(&progress);
	out_done(&out);
}

static void no_line_is_wider_than_the_terminal(void **state)
{
	struct progress progress = { 0 };
	size_t widths[8];

	(void)state;
	fill(&progress);
	progress_begin(&progress, "日本語日本語日本語日本語", "provision",
		       "日本語日本語日本語日本語日本語", 0);
	for (unsigned columns = 24; columns < 200; columns++) {
		struct output out = { .fd = -1, .utf8 = columns % 2 };
		size_t lines = progress_render(&progress, &out, 8, columns, 9000 * MS, widths);
		char *rest = NULL, *line = strtok_r(out.buffer.data, "\n", &rest);

		for (size_t i = 0; i < lines; i++, line = strtok_r(NULL, "\n", &rest)) {
			assert_int_equal(text_columns(line), widths[i]);
			assert_true(widths[i] < columns);
		}
		out_done(&out);
	}
	progress_done(&progress);
}

static void many_machines_show_those_at_work(void **state)
{
	struct progress progress = { 0 };
	struct output out = { .fd = -1 };
	size_t widths[4];
	char name[8] = "m00";

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		name[1] = (char)('0' + i / 10);
		name[2] = (char)('0' + i % 10);
		progress_begin(&progress, name, "boot", "starting", 0);
		progress_state(&progress, name, "starting");
		if (i < 47)
			progress_end(&progress, name, "boot");
	}
	assert_int_equal(progress_render(&progress, &out, 4, 80, 0, widths), 3);
	assert_non_null(strstr(out.buffer.data, "m47"));
	assert_null(strstr(out.buffer.data, "m46"));
	progress_done(&progress);
	out_done(&out);
}

static void phases_nest(void **state)
{
	struct progress progress = { 0 };

	(void)state;
	progress_begin(&progress, "web", "create", "a", 0);
	progress_begin(&progress, "web", "unpack", "b", 0);
	assert_string_equal(progress_phase(&progress, "web")->name, "unpack");
	progress_end(&progress, "web", "unpack");
	assert_string_equal(progress_phase(&progress, "web")->name, "create");
	progress_end(&progress, "web", "nothing");
	progress_end(&progress, "web", "create");
	assert_null(progress_phase(&progress, "web"));
	assert_false(progress_is_active(&progress));
	for (unsigned i = 0; i < 2 * PROGRESS_DEPTH; i++)
		progress_begin(&progress, "web", "deep", NULL, 0);
	assert_true(progress_is_active(&progress));
	progress_done(&progress);
}

/* What stands on a screen of so many columns after the bytes of a frame. Knows what live.c writes. */
static void a_second_frame_replaces_the_first(void **state)
{
	struct progress progress = { 0 };
	struct output out = { .fd = -1 };
	struct live live = { .out = &out };

	(void)state;
	progress_begin(&progress, "web", "boot", "starting", 0);
	live_draw(&live, &progress, 24, 80, 0);
	assert_int_equal(live.lines, 1);
	assert_string_equal(out.buffer.data, "| web  boot       starting\033[K\n\033[J");
	text_clear(&out.buffer);
	live_draw(&live, &progress, 24, 80, 100 * MS);
	assert_string_equal(out.buffer.data, "\r\033[1A/ web  boot       starting\033[K\n\033[J");
	text_clear(&out.buffer);
	/* Narrower than the line was: it takes two rows now, and all is cleared. */
	live.widths[0] = 26;
	live_draw(&live, &progress, 24, 25, 200 * MS);
	assert_ptr_equal(strstr(out.buffer.data, "\r\033[2A\033[J"), out.buffer.data);
	progress_done(&progress);
	out_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_for_each_machine),
		cmocka_unit_test(ascii_where_there_is_no_more),
		cmocka_unit_test(no_line_is_wider_than_the_terminal),
		cmocka_unit_test(many_machines_show_those_at_work),
		cmocka_unit_test(phases_nest),
		cmocka_unit_test(a_second_frame_replaces_the_first),
	};

	return cmocka_run_group_tests_name("cli_progress", tests, NULL, NULL);
}
