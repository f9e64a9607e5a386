/* SPDX-License-Identifier: Apache-2.0 */
/* Text to numbers and back. */
#include "keys.h"

#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first, for formatting. */
static const struct unit size_units[] = {
	{ "T", 1ull << 40 }, { "G", 1ull << 30 }, { "M", 1ull << 20 }, { "K", 1ull << 10 }, { 0 },
};
static const struct unit time_units[] = {
	{ "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { 0 },
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits with at most three behind a point, in thousandths; NULL: none. */
static const char *read_thousandths(const char *text, uint64_t *ret)
{
	uint64_t value = 0;
	const char *p = text;
	int behind = 0;

	for (; is_digit(*p); p++) {
		if (value <= UINT64_MAX / 20000) /* stays too large for every caller */
			value = value * 10 + (uint64_t)(*p - '0');
	}
	if (p == text)
		return NULL;
	if (*p == '.' && is_digit(p[1]))
		for (p++; is_digit(*p) && behind < 3; p++, behind++)
			value = value * 10 + (uint64_t)(*p - '0');
	for (; behind < 3; behind++)
		value *= 10;
	*ret = value;
	return p;
}

/* The number before the unit, for hints. */
static int number_length(const char *text)
{
	return (int)strspn(text, "0123456789.");
}

int venv__parse_size(const struct node *node, uint64_t *ret, venv_error **err)
{
	const char *text = node->text, *suffix;
	const struct unit *unit = size_units;
	uint64_t thousandths, bytes;
	int r;

	suffix = read_thousandths(text, &thousandths);
	if (!suffix)
		return venv__hint(venv__bad(err, node, "'%s' is not a size", text), err,
				  "write a number and K, M, G or T, as in 512M");
	if (!thousandths)
		return venv__hint(venv__bad(err, node, "size '%s' is too small", text), err,
				  "write at least 1K, or leave the key away for none");
	if (!*suffix)
		return venv__hint(venv__bad(err, node, "size '%s' has no unit", text), err,
				  "write %sM for mebibytes, or %sG for gibibytes", text, text);
	while (unit->name && strcmp(unit->name, suffix) != 0)
		unit++;
	if (!unit->name) {
		r = venv__bad(err, node, "unknown size suffix '%s' in '%s'", suffix, text);
		return venv__hint(r, err, "write %.*sG for gibibytes, %.*sM for mebibytes",
				  number_length(text), text, number_length(text), text);
	}
	if (__builtin_mul_overflow(thousandths, unit->factor, &bytes) || bytes / 1000 > INT64_MAX)
		return venv__hint(venv__bad(err, node, "size '%s' is too large", text), err,
				  "write less than 8388608T");
	bytes = bytes / 1000 & ~(uint64_t)1023;
	if (!bytes)
		return venv__hint(venv__bad(err, node, "size '%s' is too small", text), err,
				  "write at least 1K");
	*ret = bytes;
	return 0;
}

int venv__parse_time(const struct node *node, uint32_t *ret_ms, venv_error **err)
{
	const char *text = node->text, *suffix;
	const struct unit *unit = time_units;
	uint64_t thousandths, ms;
	int r;

	suffix = read_thousandths(text, &thousandths);
	if (!suffix)
		return venv__hint(venv__bad(err, node, "'%s' is not a time", text), err,
				  "write a number and ms, s, m or h, as in 30s");
	if (!*suffix)
		return venv__hint(venv__bad(err, node, "time '%s' has no unit", text), err,
				  "write %ss for seconds, or %sm for minutes", text, text);
	while (unit->name && strcmp(unit->name, suffix) != 0)
		unit++;
	if (!unit->name) {
		r = venv__bad(err, node, "unknown time suffix '%s' in '%s'", suffix, text);
		return venv__hint(r, err, "write %.*ss for seconds, %.*sm for minutes",
				  number_length(text), text, number_length(text), text);
	}
	if (__builtin_mul_overflow(thousandths, unit->factor, &ms) || ms / 1000 > INT32_MAX)
		return venv__hint(venv__bad(err, node, "time '%s' is too long", text), err,
				  "write at most 24 days (576h)");
	if (ms == 0)
		return venv__hint(venv__bad(err, node, "time '%s' is no time at all", text), err,
				  "write at least 1ms");
	*ret_ms = (uint32_t)(ms / 1000);
	return 0;
}

int venv__parse_decimal(const struct node *node, double *ret, venv_error **err)
{
	uint64_t thousandths;
	const char *end = read_thousandths(node->text, &thousandths);

	if (!end || *end)
		return venv__hint(venv__bad(err, node, "'%s' is not a number", node->text), err,
				  "write a number, as in 2 or 0.5");
	*ret = (double)thousandths / 1000;
	return 0;
}

int venv__parse_integer(const struct node *node, int64_t min, int64_t max, int64_t *ret,
			venv_error **err)
{
	const char *p = node->text;
	int64_t value = 0;
	bool large = false;
	int r;

	for (; is_digit(*p); p++)
		large = large || __builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, *p - '0', &value);
	if (*p || p == node->text)
		r = venv__bad(err, node, "'%s' is not a whole number", node->text);
	else if (large || value < min || value > max)
		r = venv__bad(err, node, "%s is out of range", node->text);
	else
		r = 0;
	if (r < 0)
		return venv__hint(r, err, "write a number from %lld to %lld", (long long)min,
				  (long long)max);
	*ret = value;
	return 0;
}

int venv__parse_port(const struct node *node, const char *text, size_t length, uint16_t *ret,
		     venv_error **err)
{
	struct place place = venv__node_at(node, text);
	unsigned value = 0;
	size_t i;
	int r;

	for (i = 0; i < length && is_digit(text[i]) && value <= UINT16_MAX; i++)
		value = value * 10 + (unsigned)(text[i] - '0');
	if (length && i == length && value && value <= UINT16_MAX) {
		*ret = (uint16_t)value;
		return 0;
	}
	r = venv__fail_spec(err, VENV_ERR_CONFIG, &place, "'%.*s' is not a port", (int)length,
			    text);
	return venv__hint(r, err, "write a number from 1 to 65535");
}

/* In the largest unit that leaves no rest. */
static void format_units(uint64_t value, const struct unit *unit, char *ret, size_t size)
{
	while (unit[1].name && (!value || value % unit->factor))
		unit++;
	(void)snprintf(ret, size, "%llu%s", (unsigned long long)(value / unit->factor), unit->name);
}

void venv__size_format(uint64_t value, char *ret, size_t size)
{
	format_units(value, size_units, ret, size);
}

void venv__time_format(uint32_t ms, char *ret, size_t size)
{
	format_units(ms, time_units, ret, size);
}
