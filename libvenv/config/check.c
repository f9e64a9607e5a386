/* SPDX-License-Identifier: Apache-2.0 */
/* What the machines of a project must fulfil together. */
#include "keys.h"

#include <arpa/inet.h>
#include <string.h>

/* "line 5", or what else tells where */
static const char *where(const struct place *place, const struct place *from, char *ret,
			 size_t size)
{
	if (!place->line)
		return place->file ? place->file : "a default";
	if (from->file && place->file && strcmp(from->file, place->file) != 0)
		(void)snprintf(ret, size, "%s:%u", place->file, place->line);
	else
		(void)snprintf(ret, size, "line %u", place->line);
	return ret;
}

enum { WHERE_SIZE = 4096 + 32 };

/* ---- needs ----------------------------------------------------------------------------------- */

static int fail_unknown_machine(const struct project_spec *spec, const struct need_spec *need,
				venv_error **err)
{
	struct suggestion suggestion = { .wanted = need->machine };
	int r = venv__fail_spec(err, VENV_ERR_CONFIG, &need->place, "there is no machine '%s'",
				need->machine);

	for (size_t i = 0; i < spec->n_machines; i++)
		venv__suggest(&suggestion, spec->machines[i].name);
	if (suggestion.best)
		return venv__hint(r, err, "did you mean '%s'?", suggestion.best);
	return venv__hint(r, err, "name one of the file's machines");
}

/* A walk through the needs, depth first, without recursion: machines have no limit. */
struct walk {
	const struct project_spec *spec;
	size_t *path;        /* machines from the root to here */
	size_t *next;        /* per machine: the need to look at next */
	unsigned char *done; /* per machine: 1 on the path, 2 finished */
	size_t depth;
};

static int fail_cycle(const struct walk *walk, size_t back, const struct need_spec *need,
		      venv_error **err)
{
	_cleanup_buf_ struct buf text = { 0 };
	size_t i = walk->depth - 1;
	int r;

	while (walk->path[i] != back)
		i--;
	for (; i < walk->depth; i++)
		venv__buf_printf(&text, "%s needs ", walk->spec->machines[walk->path[i]].name);
	venv__buf_puts(&text, walk->spec->machines[back].name);
	if (text.failed)
		return venv__fail_nomem(err);
	r = venv__fail_spec(err, VENV_ERR_CONFIG, &need->place, "machines need each other: %s",
			    text.data);
	return venv__hint(r, err, "remove one of these needs");
}

static size_t machine_index(const struct project_spec *spec, const char *name)
{
	size_t i = 0;

	while (i < spec->n_machines && strcmp(spec->machines[i].name, name) != 0)
		i++;
	return i;
}

/* Look at one more need of the machine at the end of the path, or leave it. */
static int walk_step(struct walk *walk, venv_error **err)
{
	size_t here = walk->path[walk->depth - 1], there;
	const struct machine_spec *machine = &walk->spec->machines[here];
	const struct need_spec *need;

	if (walk->next[here] == machine->n_needs) {
		walk->done[here] = 2;
		walk->depth--;
		return 0;
	}
	need = &machine->needs[walk->next[here]++];
	there = machine_index(walk->spec, need->machine);
	if (there == walk->spec->n_machines)
		return fail_unknown_machine(walk->spec, need, err);
	if (walk->done[there] == 1)
		return fail_cycle(walk, there, need, err);
	if (walk->done[there] == 0) {
		walk->done[there] = 1;
		walk->path[walk->depth++] = there;
	}
	return 0;
}

static int check_needs(const struct project_spec *spec, venv_error **err)
{
	_cleanup_free_ size_t *path = calloc(spec->n_machines, sizeof(*path));
	_cleanup_free_ size_t *next = calloc(spec->n_machines, sizeof(*next));
	_cleanup_free_ unsigned char *done = calloc(spec->n_machines, 1);
	struct walk walk = { .spec = spec, .path = path, .next = next, .done = done };
	int r = 0;

	if (!path || !next || !done)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < spec->n_machines && r == 0; i++) {
		if (done[i])
			continue;
		done[i] = 1;
		path[0] = i;
		walk.depth = 1;
		while (walk.depth && r == 0)
			r = walk_step(&walk, err);
	}
	return r;
}

/* ---- ports ----------------------------------------------------------------------------------- */

struct listener { /* on the host */
	const char *machine, *address;
	uint16_t port;
	enum protocol protocol;
	const struct place *place;
};

static bool is_any(const char *address)
{
	return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

static bool collide(const struct listener *a, const struct listener *b)
{
	return a->port == b->port && a->protocol == b->protocol &&
	       (is_any(a->address) || is_any(b->address) || strcmp(a->address, b->address) == 0);
}

static size_t list_listeners(const struct project_spec *spec, struct listener *list)
{
	size_t n = 0;

	for (size_t i = 0; i < spec->n_machines; i++) {
		const struct machine_spec *machine = &spec->machines[i];

		for (size_t j = 0; j < machine->n_ports; j++) {
			const struct port_spec *port = &machine->ports[j];

			if (port->host && port->if_taken == TAKEN_FAIL)
				list[n++] =
					(struct listener){ machine->name, port->address, port->host,
							   port->protocol, &port->place };
		}
		if (machine->ssh.port)
			list[n++] =
				(struct listener){ machine->name, "127.0.0.1", machine->ssh.port,
						   PROTOCOL_TCP, &machine->ssh.place };
	}
	return n;
}

static int fail_port(const struct listener *port, const struct listener *first, venv_error **err)
{
	char text[WHERE_SIZE];
	int r = venv__fail_spec(err, VENV_ERR_CONFIG, port->place,
				"port %u of the host is given to '%s' and, in %s, to '%s'",
				port->port, port->machine,
				where(first->place, port->place, text, sizeof(text)),
				first->machine);

	return venv__hint(r, err,
			  "take another port, 'host: auto' or 'if_taken: next' for one of them");
}

static int check_ports(const struct project_spec *spec, venv_error **err)
{
	_cleanup_free_ struct listener *list = NULL;
	size_t n = 0;

	for (size_t i = 0; i < spec->n_machines; i++)
		n += spec->machines[i].n_ports + 1;
	list = calloc(n, sizeof(*list));
	if (!list)
		return venv__fail_nomem(err);
	n = list_listeners(spec, list);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (collide(&list[i], &list[j]))
				return fail_port(&list[i], &list[j], err);
	return 0;
}

/* ---- networks -------------------------------------------------------------------------------- */

static int check_subnets(const struct project_spec *spec, venv_error **err)
{
	for (size_t i = 0; i < spec->n_networks; i++)
		for (size_t j = 0; j < i; j++) {
			const struct network_spec *a = &spec->networks[i], *b = &spec->networks[j];
			uint32_t one, two;
			unsigned m, n;

			if (!a->subnet || !b->subnet || !venv__parse_subnet(a->subnet, &one, &m) ||
			    !venv__parse_subnet(b->subnet, &two, &n))
				continue;
			if ((one ^ two) >> (32 - MIN(m, n)) == 0)
				return venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG, &a->place,
								  "network '%s' overlaps '%s'",
								  a->name, b->name),
						  err, "give it another subnet");
		}
	return 0;
}

static int fail_unknown_network(const struct project_spec *spec, const struct net_use *use,
				venv_error **err)
{
	struct suggestion suggestion = { .wanted = use->name };
	int r = venv__fail_spec(err, VENV_ERR_CONFIG, &use->place, "there is no network '%s'",
				use->name);

	venv__suggest(&suggestion, "project");
	for (size_t i = 0; i < spec->n_networks; i++)
		venv__suggest(&suggestion, spec->networks[i].name);
	if (suggestion.best)
		return venv__hint(r, err, "did you mean '%s'?", suggestion.best);
	return venv__hint(r, err,
			  "add 'networks: { %s: {} }' at the top of the file, beside 'machines'",
			  use->name);
}

static int check_address(const struct network_spec *network, const struct net_use *use,
			 venv_error **err)
{
	uint32_t subnet = 0, address = 0, host, mask;
	unsigned prefix = 0;
	int r;

	if (!network || !network->subnet)
		return venv__hint(
			venv__fail_spec(err, VENV_ERR_CONFIG, &use->place,
					"network '%s' has no subnet to take %s from", use->name,
					use->address),
			err,
			"add 'networks: { %s: { subnet: 192.168.56.0/24 } }' at the top of "
			"the file",
			use->name);
	(void)venv__parse_subnet(network->subnet, &subnet, &prefix);
	(void)venv__parse_ipv4(use->address, &address);
	mask = UINT32_MAX << (32 - prefix);
	host = address & ~mask;
	if ((address & mask) != subnet)
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &use->place,
				    "%s is not in %s, network '%s'", use->address, network->subnet,
				    use->name);
	else if (host == 0 || host == ~mask)
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &use->place,
				    "%s is the %s address of network '%s'", use->address,
				    host ? "broadcast" : "first", use->name);
	else if (host == 1)
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &use->place,
				    "%s is the gateway of network '%s'", use->address, use->name);
	else
		return 0;
	return venv__hint(r, err, "take another address in %s", network->subnet);
}

struct net_member {
	const struct machine_spec *machine;
	const struct net_use *use;
};

static int fail_address(const struct net_member *a, const struct net_member *b, venv_error **err)
{
	char text[WHERE_SIZE];
	int r = venv__fail_spec(err, VENV_ERR_CONFIG, &a->use->place,
				"address %s is given to '%s' and, in %s, to '%s'", a->use->address,
				a->machine->name,
				where(&b->use->place, &a->use->place, text, sizeof(text)),
				b->machine->name);

	return venv__hint(r, err, "give one of them another address");
}

static int check_members(const struct net_member *members, size_t n, venv_error **err)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(members[i].use->address, members[j].use->address) == 0 &&
			    strcmp(members[i].use->name, members[j].use->name) == 0)
				return fail_address(&members[i], &members[j], err);
	return 0;
}

static int check_networks(const struct project_spec *spec, venv_error **err)
{
	_cleanup_free_ struct net_member *members = NULL;
	size_t n = 0;
	int r = check_subnets(spec, err);

	for (size_t i = 0; i < spec->n_machines; i++)
		n += spec->machines[i].n_networks;
	members = calloc(n + 1, sizeof(*members));
	if (!members)
		return venv__fail_nomem(err);
	n = 0;
	for (size_t i = 0; i < spec->n_machines && r == 0; i++)
		for (size_t j = 0; j < spec->machines[i].n_networks && r == 0; j++) {
			const struct net_use *use = &spec->machines[i].networks[j];
			const struct network_spec *network = venv__spec_network(spec, use->name);

			if (!network && strcmp(use->name, "project") != 0)
				return fail_unknown_network(spec, use, err);
			if (!use->address)
				continue;
			r = check_address(network, use, err);
			members[n++] = (struct net_member){ &spec->machines[i], use };
		}
	return r < 0 ? r : check_members(members, n, err);
}

/* ---- volumes, primary ------------------------------------------------------------------------ */

/* spec->volumes is NULL when the file has no list of them: then every name is good. */
static int check_volumes(const struct project_spec *spec, const struct machine_spec *machine,
			 venv_error **err)
{
	for (size_t i = 0; i < machine->n_volumes && spec->volumes; i++) {
		const struct volume_spec *volume = &machine->volumes[i];
		struct suggestion suggestion = { .wanted = volume->name };
		int r;

		if (venv__strv_has(spec->volumes, volume->name))
			continue;
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &volume->place, "there is no volume '%s'",
				    volume->name);
		for (char **name = spec->volumes; *name; name++)
			venv__suggest(&suggestion, *name);
		if (suggestion.best)
			return venv__hint(r, err, "did you mean '%s'?", suggestion.best);
		return venv__hint(r, err, "add '%s: {}' to the volumes at the top of the file",
				  volume->name);
	}
	return 0;
}

static int check_primary(const struct project_spec *spec, venv_error **err)
{
	const struct machine_spec *first = NULL;

	for (size_t i = 0; i < spec->n_machines; i++) {
		const struct machine_spec *machine = &spec->machines[i];

		if (!machine->primary)
			continue;
		if (first)
			return venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG,
							  &machine->primary_place,
							  "both '%s' and '%s' are primary",
							  first->name, machine->name),
					  err, "leave 'primary: true' with one of them");
		first = machine;
	}
	return 0;
}

int venv__spec_check(const struct project_spec *spec, venv_error **err)
{
	int r = check_primary(spec, err);

	if (r == 0)
		r = check_needs(spec, err);
	if (r == 0)
		r = check_ports(spec, err);
	if (r == 0)
		r = check_networks(spec, err);
	for (size_t i = 0; i < spec->n_machines && r == 0; i++)
		r = check_volumes(spec, &spec->machines[i], err);
	return r;
}
