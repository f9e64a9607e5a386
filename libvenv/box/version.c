/* SPDX-License-Identifier: Apache-2.0 */
/* Versions and constraints as RubyGems has them, because Vagrant's catalogues do. */
#include <ctype.h>
#include <string.h>

#include "store.h"

bool venv__version_valid(const char *version)
{
	bool segment = false;

	if (!isdigit((unsigned char)version[0]) || strlen(version) > 64)
		return false;
	for (const char *p = version; *p; p++) {
		if (isalnum((unsigned char)*p))
			segment = true;
		else if ((*p == '.' || *p == '-') && segment && p[1])
			segment = false;
		else
			return false;
	}
	return segment;
}

/* A segment is a run of digits or a run of letters; "-" is ".pre." */
struct segment {
	bool text, end;
	const char *start;
	size_t length;
};

static struct segment next_segment(const char **p)
{
	struct segment s = { .end = true };

	if (**p == '-') { /* gives "pre" once, then stands on what follows */
		(*p)++;
		return (struct segment){ .text = true, .start = "pre", .length = 3 };
	}
	while (**p == '.')
		(*p)++;
	if (!**p)
		return s;
	s = (struct segment){ .text = !isdigit((unsigned char)**p), .start = *p };
	while (isalnum((unsigned char)**p) && !isdigit((unsigned char)**p) == s.text) {
		(*p)++;
		s.length++;
	}
	return s;
}

static int compare_numbers(struct segment a, struct segment b)
{
	for (; a.length && *a.start == '0'; a.length--)
		a.start++;
	for (; b.length && *b.start == '0'; b.length--)
		b.start++;
	if (a.length != b.length)
		return a.length < b.length ? -1 : 1;
	return a.length ? strncmp(a.start, b.start, a.length) : 0;
}

static int compare_segments(struct segment a, struct segment b)
{
	const struct segment zero = { .start = "0", .length = 1 };
	int r;

	if (a.end)
		a = zero;
	if (b.end)
		b = zero;
	if (a.text != b.text) /* text is a prerelease: before any number */
		return a.text ? -1 : 1;
	if (!a.text)
		return compare_numbers(a, b);
	r = strncmp(a.start, b.start, MIN(a.length, b.length));
	return r ? r : (a.length > b.length) - (a.length < b.length);
}

int venv__version_compare(const char *a, const char *b)
{
	for (;;) {
		struct segment x = next_segment(&a), y = next_segment(&b);
		int r;

		if (x.end && y.end)
			return 0;
		r = compare_segments(x, y);
		if (r)
			return r < 0 ? -1 : 1;
	}
}

/* "~> 1.2.3" is >= 1.2.3 and < 1.3: the version without its last number, that before it one more. */
static bool pessimistic(const char *version, const char *wanted)
{
	_cleanup_free_ char *upper = NULL, *prefix = strdup(wanted);
	unsigned long number;
	char *dot;

	if (!prefix || venv__version_compare(version, wanted) < 0)
		return false;
	for (char *p = prefix; *p; p++) /* prerelease segments do not count */
		if (isalpha((unsigned char)*p) || *p == '-') {
			while (p > prefix && p[-1] != '.')
				p--;
			*(p > prefix ? p - 1 : p) = '\0';
			break;
		}
	dot = strrchr(prefix, '.');
	if (dot)
		*dot = '\0';
	dot = strrchr(prefix, '.');
	number = strtoul(dot ? dot + 1 : prefix, NULL, 10);
	if (dot)
		dot[1] = '\0';
	else
		*prefix = '\0';
	if (asprintf(&upper, "%s%lu", prefix, number + 1) < 0) {
		upper = NULL;
		return false;
	}
	return venv__version_compare(version, upper) < 0;
}

static const struct {
	const char *text;
	enum operator{
		EQUAL,
		UNEQUAL,
		LESS,
		GREATER,
		LESS_EQUAL,
		GREATER_EQUAL,
		PESSIMISTIC
	}
	operator;
} operators[] = {
	{ "~>", PESSIMISTIC }, { ">=", GREATER_EQUAL }, { "<=", LESS_EQUAL }, { "!=", UNEQUAL },
	{ "=", EQUAL },        { ">", GREATER },        { "<", LESS },
};

static bool holds(const char *version, enum operator operator, const char * wanted)
{
	int order = venv__version_compare(version, wanted);

	switch (operator) {
	case EQUAL:
		return order == 0;
	case UNEQUAL:
		return order != 0;
	case LESS:
		return order < 0;
	case GREATER:
		return order > 0;
	case LESS_EQUAL:
		return order <= 0;
	case GREATER_EQUAL:
		return order >= 0;
	default:
		return pessimistic(version, wanted);
	}
}

static int match_one(const char *version, char *term, const char *constraint, venv_error **err)
{
	enum operator operator= EQUAL;
	size_t length;
	int r;

	term += strspn(term, " \t");
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
		if (!strncmp(term, operators[i].text, strlen(operators[i].text))) {
			operator= operators[i].operator;
			term += strlen(operators[i].text);
			break;
		}
	term += strspn(term, " \t");
	length = strlen(term);
	while (length && isspace((unsigned char)term[length - 1]))
		term[--length] = '\0';
	if (venv__version_valid(term))
		return holds(version, operator, term);
	r = venv__fail(err, VENV_ERR_CONFIG, "'%s' is no version constraint", constraint);
	return venv__hint(r, err, "write for example '~> 1.2' or '>= 1.0, < 2.0'");
}

int venv__version_matches(const char *version, const char *constraint, venv_error **err)
{
	_cleanup_free_ char *copy = strdup(constraint);
	char *rest = copy, *term;
	int matches = 1;

	if (!copy)
		return venv__fail_nomem(err);
	while ((term = strsep(&rest, ","))) {
		int r = match_one(version, term, constraint, err);

		if (r < 0)
			return r;
		matches = matches && r;
	}
	return matches;
}
