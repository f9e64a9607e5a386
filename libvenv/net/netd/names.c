/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that we answer for: MACHINE, MACHINE.PROJECT.venv, host.venv.internal (only to machines with
 * host_access), and addresses of our networks back to names. Below .venv and .venv.internal there is
 * nothing else.
 *
 * Our networks carry no IPv6, so no name has an IPv6 address here: the empty answer comes at once, and no
 * program spends its time on an address that it cannot reach, or on a server that leaves such queries
 * unanswered.
 */
#include <string.h>
#include <strings.h>

#include "../common/uplink.h"
#include "resolver.h"

enum { FOREIGN = -1 };

static bool ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return n >= m && strcasecmp(name + n - m, suffix) == 0;
}

/* The machine's part of the name if the rest of it is this project's, else 0. */
static size_t machine_part(const struct netd *netd, const char *name)
{
	_cleanup_free_ char *suffix = NULL;
	size_t length = strlen(name);

	if (length && !strchr(name, '.'))
		return length;
	if (asprintf(&suffix, ".%s.venv", netd->project) < 0) {
		suffix = NULL;
		return 0;
	}
	return ends_with(name, suffix) ? length - strlen(suffix) : 0;
}

static bool is_called(const struct machine *machine, const char *name, size_t length)
{
	return (strlen(machine->name) == length && strncasecmp(machine->name, name, length) == 0) ||
	       (strlen(machine->hostname) == length &&
		strncasecmp(machine->hostname, name, length) == 0);
}

static const struct machine *machine_at(const struct netd *netd, uint32_t address)
{
	for (const struct machine *m = netd->machines; m; m = m->next)
		for (size_t i = 0; i < m->n_interfaces; i++)
			if (m->interfaces[i].address == address)
				return m;
	return NULL;
}

static uint32_t address_on(const struct machine *machine, const struct network *network)
{
	for (size_t i = 0; i < machine->n_interfaces; i++)
		if (machine->interfaces[i].network == network)
			return machine->interfaces[i].address;
	return 0;
}

/* Where the asking machine reaches the other: on the network it asks from, else on any shared one. */
static uint32_t reachable(const struct machine *machine, const struct network *network,
			  const struct machine *asking)
{
	uint32_t address = address_on(machine, network);

	for (size_t i = 0; !address && asking && i < asking->n_interfaces; i++)
		address = address_on(machine, asking->interfaces[i].network);
	return address;
}

/* DNS_OK and the address, DNS_NO_NAME, or FOREIGN */
static int find_name(const struct network *network, uint32_t from, const char *name,
		     uint32_t *ret_address)
{
	const struct machine *asking = machine_at(network->netd, from);
	size_t length = machine_part(network->netd, name);

	if (strcasecmp(name, "host.venv.internal") == 0) {
		*ret_address = ACCESS_HOST;
		return asking && asking->host_access ? DNS_OK : DNS_NO_NAME;
	}
	for (const struct machine *m = network->netd->machines; length && m; m = m->next) {
		if (!is_called(m, name, length))
			continue;
		*ret_address = reachable(m, network, asking);
		if (*ret_address)
			return DNS_OK;
	}
	if (ends_with(name, ".venv") || ends_with(name, ".venv.internal"))
		return DNS_NO_NAME;
	return FOREIGN;
}

static bool is_ours(const struct netd *netd, uint32_t address)
{
	for (const struct network *n = netd->networks; n; n = n->next)
		if (address >> (32 - n->prefix) == n->subnet >> (32 - n->prefix))
			return true;
	return false;
}

/* DNS_OK and the name, DNS_NO_NAME, or FOREIGN */
static int find_address(const struct netd *netd, const char *question, char **ret_name)
{
	const struct machine *machine;
	uint32_t address;

	if (!venv__dns_reverse(question, &address) || !is_ours(netd, address))
		return FOREIGN;
	machine = machine_at(netd, address);
	if (!machine)
		return DNS_NO_NAME;
	if (asprintf(ret_name, "%s.%s.venv", machine->name, netd->project) < 0) {
		*ret_name = NULL;
		return DNS_SERVER_FAILURE;
	}
	return DNS_OK;
}

int venv__names_answer(const struct network *network, uint32_t from, const uint8_t *query,
		       size_t length, uint8_t reply[DNS_REPLY_MAX])
{
	_cleanup_free_ char *name = NULL;
	struct dns_question question;
	uint32_t address = 0;
	int code = venv__dns_parse(query, length, &question);

	if (code < 0)
		return 0;
	if (code != DNS_OK)
		return (int)venv__dns_reply(reply, query, NULL, code, 0, NULL);
	code = FOREIGN;
	if (question.type == DNS_TYPE_PTR && !question.odd)
		code = find_address(network->netd, question.name, &name);
	if (code == FOREIGN && !question.odd)
		code = find_name(network, from, question.name, &address);
	/* a query that went out would be a way out of an internal network */
	if (code == FOREIGN && !network->nat)
		code = DNS_REFUSED;
	if (code == FOREIGN && question.type == DNS_TYPE_AAAA && !question.dnssec)
		code = DNS_OK;
	if (code == FOREIGN)
		return -1;
	if (question.type != DNS_TYPE_A && question.type != DNS_TYPE_ANY)
		address = 0; /* the name exists, but has nothing of this kind */
	return (int)venv__dns_reply(reply, query, &question, code, address, name);
}
