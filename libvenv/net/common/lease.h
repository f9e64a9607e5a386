/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a machine uses an address that it has; seen from DHCP, and from who calls it there. */
#ifndef VENV_NET_LEASE_H
#define VENV_NET_LEASE_H

enum net_lease {
	NET_LEASE_UNKNOWN, /* another netd may have seen it */
	NET_LEASE_NONE,
	NET_LEASE_ASKED,
	NET_LEASE_USED,
};

/* "none"…; NULL: unknown */
const char *venv__net_lease_name(enum net_lease lease);
enum net_lease venv__net_lease_of(const char *name); /* or NULL */

#endif
