/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The old scp protocol: scripts of an honest and of a hostile client against the server in a child.
 */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "enter/enter.h"
#include "util/file.h"

static char directory[] = "/tmp/test-scp-XXXXXX";

int enter_complain(const char *what, const char *name, int number)
{
	(void)what;
	(void)name;
	(void)number;
	return ENTER_FAILED;
}

struct answer {
	char data[65536];
	size_t length;
	int status;
};

static void run_child(const char *const *argv, int in, int out)
{
	char *words[16];
	int n = 0;

	for (; argv[n]; n++)
		words[n] = strdup(argv[n]);
	words[n] = NULL;
	(void)dup2(in, 0);
	(void)dup2(out, 1);
	_exit(enter_scp(n, words));
}

/* What the server answers to all this input at once. */
static struct answer *talk(const char *const *argv, const void *input, size_t length)
{
	static struct answer answer;
	FILE *in = tmpfile(), *out = tmpfile();
	int status;
	pid_t pid;

	assert_non_null(in);
	assert_non_null(out);
	assert_int_equal(fwrite(input, 1, length, in), length);
	assert_int_equal(fflush(in), 0);
	rewind(in);
	pid = fork();
	if (pid == 0)
		run_child(argv, fileno(in), fileno(out));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	rewind(out);
	answer.length = fread(answer.data, 1, sizeof(answer.data) - 1, out);
	answer.data[answer.length] = '\0';
	answer.status = WEXITSTATUS(status);
	(void)fclose(in);
	(void)fclose(out);
	return &answer;
}

#define RECEIVE(...)                                                                               \
	(const char *const[])                                                                      \
	{                                                                                          \
		"scp", __VA_ARGS__, NULL                                                           \
	}

static int setup(void **state)
{
	(void)state;
	memcpy(directory + strlen(directory) - 6, "XXXXXX", 6);
	if (!mkdtemp(directory) || chdir(directory) < 0)
		return -1;
	return mkdir("in", 0755) < 0 || mkdir("in/target", 0755) < 0;
}

static int teardown(void **state)
{
	(void)state;
	return chdir("/") < 0 || venv__tree_delete(AT_FDCWD, directory, NULL) < 0;
}

static void assert_file(const char *path, const char *text)
{
	char got[128] = "";
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_true(fread(got, 1, sizeof(got) - 1, f) < sizeof(got));
	(void)fclose(f);
	assert_string_equal(got, text);
}

static void file_and_tree_arrive(void **state)
{
	static const char one[] = "C0640 5 f\nhello\0";
	static const char tree[] = "T100 0 200 0\nD0750 0 d\nD0700 0 e\nC0600 2 g\nab\0E\nE\n";
	const struct answer *answer;
	struct stat st;

	(void)state;
	answer = talk(RECEIVE("-t", "in/target"), one, sizeof(one) - 1);
	assert_int_equal(answer->status, 0);
	assert_int_equal(answer->length, 3);
	assert_file("in/target/f", "hello");
	answer = talk(RECEIVE("-r", "-p", "-d", "-t", "--", "in/target"), tree, sizeof(tree) - 1);
	assert_int_equal(answer->status, 0);
	assert_memory_equal(answer->data, "\0\0\0\0\0\0\0\0", answer->length);
	assert_file("in/target/d/e/g", "ab");
	assert_int_equal(stat("in/target/d", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0750);
	assert_int_equal(st.st_mtime, 100);
}

static void names_cannot_leave_the_target(void **state)
{
	static const char *const lines[] = {
		"C0644 1 ../evil\nx", "C0644 1 /tmp/evil\nx", "C0644 1 ..\nx",
		"C0644 1 .\nx",       "C0644 1 \nx",          "D0755 0 ..\nC0644 1 evil\nx",
		"D0755 0 a/b\n",      "D0755 0 ../evil\n",    "E\nC0644 1 evil\nx",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		const struct answer *answer =
			talk(RECEIVE("-r", "-t", "in/target"), lines[i], strlen(lines[i]));

		assert_true(answer->length < 200);
		assert_int_equal(access("in/evil", F_OK), -1);
		assert_int_equal(access("evil", F_OK), -1);
		assert_int_equal(access("in/target/evil", F_OK), -1);
	}
}

static void nonsense_ends_it(void **state)
{
	static const char *const lines[] = {
		"X\n",        "C644 1 f\n",  "C0644 -1 f\nx", "C0644 99999999999999999999 f\nx",
		"C0644 1\n",  "C\n",         "T1 2 3\n",      "T1 9999999 3 0\n",
		"C0644 1f\n", "Dxxxx 0 d\n", "C0644  1 f\n",
	};
	static char longest[20000];
	const struct answer *answer;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		answer = talk(RECEIVE("-r", "-t", "in/target"), lines[i], strlen(lines[i]));
		assert_int_equal(answer->status, 1);
		assert_int_equal(answer->data[1], 1);
	}
	memset(longest, 'C', sizeof(longest));
	answer = talk(RECEIVE("-t", "in/target"), longest, sizeof(longest));
	assert_int_equal(answer->length, 1);
}

static void cut_data_is_an_error(void **state)
{
	const struct answer *answer = talk(RECEIVE("-t", "in/target"), "C0644 100 f\nabc", 15);

	(void)state;
	assert_int_equal(answer->status, 1);
}

static void depth_is_bounded(void **state)
{
	static char deep[300 * 12];
	const struct answer *answer;

	(void)state;
	for (int i = 0; i < 300; i++)
		memcpy(deep + strlen(deep), "D0755 0 d\n", 11);
	answer = talk(RECEIVE("-r", "-t", "in/target"), deep, strlen(deep));
	assert_int_equal(answer->status, 1);
}

static void target_must_fit(void **state)
{
	const struct answer *answer = talk(RECEIVE("-d", "-t", "nosuch"), "", 0);

	(void)state;
	assert_int_equal(answer->status, 1);
	assert_string_equal(answer->data, "\001scp: nosuch: No such file or directory\n");
	assert_int_equal(talk(RECEIVE("-t"), "", 0)->status, ENTER_FAILED);
	assert_int_equal(talk(RECEIVE("-x", "-t", "a"), "", 0)->status, ENTER_FAILED);
	assert_int_equal(talk(RECEIVE("-t", "-f", "a"), "", 0)->status, ENTER_FAILED);
}

static void make_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(name, 0644), 0);
}

static void patterns_are_expanded(void **state)
{
	static const struct {
		const char *pattern,
			*sent; /* what follows must be in the answer; NULL: nothing found */
	} cases[] = {
		{ "in/target/a1", "C0644 2 a1\n" },
		{ "in/*/a1", "C0644 2 a1\n" },
		{ "in/target/[ab]1", "C0644 2 a1\n" },
		{ "in/target/?1", "C0644 2 a1\n" },
		{ "in/target/a\\*b", "C0644 2 a*b\n" },
		{ "in/target/*b", "C0644 2 a*b\n" },
		{ "in/target/a\\1", "C0644 2 a1\n" },
		{ "in/target/\\a1", "C0644 2 a1\n" },
		{ "in/target/z*", NULL },
		{ "in/target/*1/", "C0644 2 a1\n" },
		{ "~/in/target/a1", "C0644 2 a1\n" },
		{ "\\~/in/target/a1", NULL },
		{ "in/target/hid*", NULL },
	};
	static const char acks[64];

	(void)state;
	make_file("in/target/a1", "x\n");
	make_file("in/target/a*b", "x\n");
	make_file("in/target/.hid", "x\n");
	assert_int_equal(setenv("HOME", directory, 1), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct answer *answer =
			talk(RECEIVE("-f", cases[i].pattern), acks, sizeof(acks));

		if (cases[i].sent)
			assert_memory_equal(answer->data, cases[i].sent, strlen(cases[i].sent));
		else
			assert_int_equal(answer->data[0], 1);
		assert_int_equal(answer->status, cases[i].sent ? 0 : 1);
	}
}

static void refusing_client_ends_it(void **state)
{
	const struct answer *answer;

	(void)state;
	make_file("in/target/a", "x\n");
	make_file("in/target/b", "x\n");
	answer = talk(RECEIVE("-f", "in/target/a", "in/target/b"), "\0\001no\n\0\0\0", 8);
	assert_int_equal(answer->status, 1);
	assert_string_equal(answer->data, "C0644 2 a\nC0644 2 b\nx\n");
	answer = talk(RECEIVE("-f", "in/target/a"), "\002fatal\n", 7);
	assert_int_equal(answer->length, 0);
	answer = talk(RECEIVE("-f", "in/target"), "\0\0\0\0", 4);
	assert_string_equal(answer->data, "\001scp: in/target: Is a directory\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(file_and_tree_arrive),  TEST(names_cannot_leave_the_target),
		TEST(nonsense_ends_it),      TEST(cut_data_is_an_error),
		TEST(depth_is_bounded),      TEST(target_must_fit),
		TEST(patterns_are_expanded), TEST(refusing_client_ends_it),
	};

	return cmocka_run_group_tests_name("scp", tests, NULL, NULL);
}
