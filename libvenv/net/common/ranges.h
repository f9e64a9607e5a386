/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of IPv4 addresses (in host byte order): what guests may not reach. */
#ifndef VENV_NET_RANGES_H
#define VENV_NET_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/json.h"

enum { RANGES_MAX = 400 }; /* so that they fit one message and stay cheap to walk */

struct range {
	uint32_t first, last;
};

struct ranges {
	struct range *list; /* ascending and apart from each other after venv__ranges_settle() */
	size_t n;
};

void venv__ranges_done(struct ranges *ranges);
int venv__ranges_add(struct ranges *ranges, uint32_t first, uint32_t last); /* 0 or -ENOMEM */
int venv__ranges_add_prefix(struct ranges *ranges, uint32_t address, unsigned prefix);
/* What is closed on every host: 0/8, 127/8, link-local with the metadata service, multicast, reserved,
 * and the addresses between the namespace and its uplink. */
int venv__ranges_add_always(struct ranges *ranges);
/* Sort and join; when there are more than max, the nearest are joined across their gaps: rather too
 * much is closed than too little. */
void venv__ranges_settle(struct ranges *ranges, size_t max);
bool venv__ranges_have(const struct ranges *ranges, uint32_t address);
bool venv__ranges_overlap(const struct ranges *ranges, uint32_t first, uint32_t last);
bool venv__ranges_equal(const struct ranges *a, const struct ranges *b);
json_t *venv__ranges_to_json(const struct ranges *ranges); /* [first, last, first, last…] */
bool venv__ranges_from_json(const json_t *json, struct ranges *ret);

#define _cleanup_ranges_ _cleanup_(venv__ranges_done)

#endif
