/* SPDX-License-Identifier: Apache-2.0 */
#include "lease.h"

#include <string.h>

#include "util/compiler.h"

static const char *const names[] = {
	[NET_LEASE_NONE] = "none",
	[NET_LEASE_ASKED] = "asked",
	[NET_LEASE_USED] = "used",
};

const char *venv__net_lease_name(enum net_lease lease)
{
	return names[lease];
}

enum net_lease venv__net_lease_of(const char *name)
{
	for (size_t i = NET_LEASE_NONE; name && i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return (enum net_lease)i;
	return NET_LEASE_UNKNOWN;
}
