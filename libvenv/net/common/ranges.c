/* SPDX-License-Identifier: Apache-2.0 */
#include "ranges.h"

#include <string.h>

void venv__ranges_done(struct ranges *ranges)
{
	free(ranges->list);
	*ranges = (struct ranges){ 0 };
}

int venv__ranges_add(struct ranges *ranges, uint32_t first, uint32_t last)
{
	struct range *grown = realloc(ranges->list, (ranges->n + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grown[ranges->n++] = (struct range){ first, last };
	ranges->list = grown;
	return 0;
}

int venv__ranges_add_prefix(struct ranges *ranges, uint32_t address, unsigned prefix)
{
	uint32_t mask = (uint32_t)(UINT64_MAX << (32 - MIN(prefix, 32u)));

	return venv__ranges_add(ranges, address & mask, address | ~mask);
}

int venv__ranges_add_always(struct ranges *ranges)
{
	static const struct {
		uint32_t address;
		unsigned prefix;
	} always[] = {
		{ 0x00000000, 8 },  /* this host */
		{ 0x7f000000, 8 },  /* loopback */
		{ 0xa9fe0000, 16 }, /* link-local, the clouds' metadata services */
		{ 0xc0000000, 24 }, /* ours, between namespace and uplink (uplink.h) */
		{ 0xe0000000, 3 },  /* multicast, reserved, broadcast */
	};

	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		if (venv__ranges_add_prefix(ranges, always[i].address, always[i].prefix) < 0)
			return -ENOMEM;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return 0;
}

static void join(struct ranges *ranges, uint64_t gap)
{
	size_t n = 0;

	for (size_t i = 0; i < ranges->n; i++) {
		struct range *last = n ? &ranges->list[n - 1] : NULL;

		if (last && ranges->list[i].first <= last->last + gap)
			last->last = MAX(last->last, ranges->list[i].last);
		else
			ranges->list[n++] = ranges->list[i];
	}
	ranges->n = n;
}

void venv__ranges_settle(struct ranges *ranges, size_t max)
{
	if (!ranges->n)
		return;
	qsort(ranges->list, ranges->n, sizeof(*ranges->list), compare);
	join(ranges, 1);
	for (uint64_t gap = 2; ranges->n > max && gap < UINT32_MAX; gap *= 2)
		join(ranges, gap);
}

bool venv__ranges_overlap(const struct ranges *ranges, uint32_t first, uint32_t last)
{
	for (size_t i = 0; i < ranges->n; i++)
		if (first <= ranges->list[i].last && last >= ranges->list[i].first)
			return true;
	return false;
}

bool venv__ranges_have(const struct ranges *ranges, uint32_t address)
{
	return venv__ranges_overlap(ranges, address, address);
}

bool venv__ranges_equal(const struct ranges *a, const struct ranges *b)
{
	return a->n == b->n && (!a->n || memcmp(a->list, b->list, a->n * sizeof(*a->list)) == 0);
}

json_t *venv__ranges_to_json(const struct ranges *ranges)
{
	json_t *ret = json_array();

	for (size_t i = 0; ret && i < ranges->n; i++) {
		(void)json_array_append_new(ret, json_integer(ranges->list[i].first));
		(void)json_array_append_new(ret, json_integer(ranges->list[i].last));
	}
	return ret;
}

bool venv__ranges_from_json(const json_t *json, struct ranges *ret)
{
	_cleanup_ranges_ struct ranges ranges = { 0 };

	if (!json_is_array(json))
		return false;
	for (size_t i = 0; i + 1 < json_array_size(json); i += 2) {
		json_int_t first = json_integer_value(json_array_get(json, i));
		json_int_t last = json_integer_value(json_array_get(json, i + 1));

		if (first < 0 || last < first || last > UINT32_MAX ||
		    venv__ranges_add(&ranges, (uint32_t)first, (uint32_t)last) < 0)
			return false;
	}
	*ret = ranges;
	ranges = (struct ranges){ 0 };
	return true;
}
