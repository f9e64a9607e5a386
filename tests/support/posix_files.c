/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a file system do what POSIX and Linux say of files?
 *
 *	posix_files [--without TRAIT,...] [-k WORD] DIRECTORY
 *
 * TRAIT: what is left out on purpose there: chown, setid, device, xattr. Where a rule says what happens
 * instead, that is tested. Each rule has an empty directory of its own below DIRECTORY. Prints "ok 12 NAME",
 * "not ok 12 NAME: what differs" or "ok 12 NAME # left out"; ends with 1 when there was a "not ok".
 */
#include "posix_files.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DESCRIPTORS = 16, SECONDS = 120, TEXT = 512 };

static const struct {
	const char *name;
	unsigned trait;
} traits[] = {
	{ "chown", POSIX_CHOWN },
	{ "setid", POSIX_SETID },
	{ "device", POSIX_DEVICE },
	{ "xattr", POSIX_XATTR },
};

static unsigned without(char *names)
{
	unsigned all = 0;
	char *rest;

	for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		unsigned before = all;

		for (size_t i = 0; i < sizeof(traits) / sizeof(*traits); i++)
			if (strcmp(traits[i].name, name) == 0)
				all |= traits[i].trait;
		if (all == before) {
			(void)fprintf(stderr, "posix_files: unknown trait '%s'\n", name);
			exit(2);
		}
	}
	return all;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* A directory for one rule, which we go to. */
static int enter(char *path, size_t size, const char *top, size_t number)
{
	(void)snprintf(path, size, "%s/posix.%zu", top, number);
	if (mkdir(path, 0755) < 0 || chdir(path) < 0) {
		(void)fprintf(stderr, "posix_files: %s: %s\n", path, strerror(errno));
		return -1;
	}
	return 0;
}

static int leave(const char *path)
{
	if (chdir("/") < 0 || nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS) != 0) {
		(void)printf("not ok: %s cannot be removed: %s\n", path, strerror(errno));
		return -1;
	}
	return 0;
}

static char broken[TEXT];

int posix_broken(const char *file, int line, const char *condition)
{
	const char *name = strrchr(file, '/');

	(void)snprintf(broken, sizeof(broken), "%s:%d: %s (%s)", name ? name + 1 : file, line,
		       condition, strerrorname_np(errno) ? strerrorname_np(errno) : "0");
	return 1;
}

struct rule {
	const char *name;
	const struct posix_row *row;
	const struct posix_check *check;
	unsigned needs, not ;
};

static struct rule rule_at(size_t number)
{
	const struct posix_row *row = &posix_rows[number];
	const struct posix_check *check = &posix_checks[number - posix_n_rows];

	if (number < posix_n_rows)
		return (struct rule){ row->name, row, NULL, row->needs, row->not };
	return (struct rule){ check->name, NULL, check, check->needs, 0 };
}

volatile sig_atomic_t posix_line;

static void on_alarm(int signal)
{
	static const char text[] = "not ok: hangs at or behind line ";
	char line[] = "0000 of posix_checks.c\n";

	(void)signal;
	for (int i = 3, n = posix_line; i >= 0; i--, n /= 10)
		line[i] = (char)('0' + n % 10);
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0 ||
	    write(STDOUT_FILENO, line, sizeof(line) - 1) < 0)
		_exit(2);
	_exit(1);
}

/* POSIX_OK, POSIX_LEFT_OUT or another: the text in `broken` */
static int try(const struct rule *rule, unsigned there)
{
	if (rule->needs & ~there || rule->not &there)
		return POSIX_LEFT_OUT;
	*broken = '\0';
	errno = 0;
	posix_line = 0;
	(void)alarm(SECONDS);
	return rule->row ? !posix_steps_run(rule->row->steps, broken, sizeof(broken))
			 : rule->check->fn();
}

/* @return how many rules were broken */
static unsigned run_all(const char *top, const char *word, unsigned there)
{
	unsigned bad = 0, good = 0;
	char path[TEXT];

	for (size_t i = 0; i < posix_n_rows + posix_n_checks; i++) {
		struct rule rule = rule_at(i);
		int r;

		if (word && !strstr(rule.name, word))
			continue;
		if (enter(path, sizeof(path), top, i) < 0)
			return bad + 1;
		r = try(&rule, there);
		(void)printf("%s %zu %s%s%s%s\n", r > 0 ? "not ok" : "ok", i, rule.name,
			     r > 0 ? ": " : "", r > 0 ? broken : "", r < 0 ? " # left out" : "");
		(void)fflush(stdout);
		bad += r > 0 || leave(path) < 0;
		good += r == POSIX_OK;
	}
	(void)printf("posix_files: %u hold, %u do not\n", good, bad);
	return bad;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "without", required_argument, NULL, 'w' },
		{ 0 },
	};
	unsigned there = POSIX_SETID | POSIX_XATTR;
	const char *word = NULL;
	char *top;
	int option;

	if (geteuid() == 0)
		there |= POSIX_CHOWN | POSIX_DEVICE | POSIX_ROOT;
	while ((option = getopt_long(argc, argv, "k:", options, NULL)) != -1)
		if (option == 'k')
			word = optarg;
		else if (option == 'w')
			there &= ~without(optarg);
		else
			return 2;
	if (argc - optind != 1) {
		(void)fprintf(stderr,
			      "usage: posix_files [--without TRAIT,...] [-k WORD] DIRECTORY\n");
		return 2;
	}
	top = realpath(argv[optind], NULL);
	if (!top) {
		(void)fprintf(stderr, "posix_files: %s: %s\n", argv[optind], strerror(errno));
		return 2;
	}
	(void)umask(0);
	(void)signal(SIGALRM, on_alarm);
	option = run_all(top, word, there) != 0;
	free(top);
	return option;
}
