/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The project's networks, their subnets and the machines' addresses.
 *
 * What was given is remembered in net.json, so that a machine keeps its address from one start to the
 * next and under a netd that was started again:
 *   {"networks": {NAME: "10.88.0.0/24"}, "addresses": {NETWORK: {MACHINE: "10.88.0.5"}},
 *    "ports": {"MACHINE/tcp/9000": 40000}}
 */
#include <arpa/inet.h>
#include <string.h>

#include "netd.h"

enum { CHOSEN_PREFIX = 24, PREFIX_MIN = 8, PREFIX_MAX = 29 };

uint64_t venv__name_hash(const char *a, const char *b)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (; *a; a++)
		hash = (hash ^ (uint8_t)*a) * 1099511628211u;
	hash = (hash ^ 0xff) * 1099511628211u;
	for (; *b; b++)
		hash = (hash ^ (uint8_t)*b) * 1099511628211u;
	return hash ^ hash >> 32;
}

void venv__address_text(uint32_t address, char ret[INET_ADDRSTRLEN])
{
	struct in_addr in = { htonl(address) };

	(void)inet_ntop(AF_INET, &in, ret, INET_ADDRSTRLEN);
}

void venv__memory_load(struct netd *netd)
{
	static const char *const keys[] = { "networks", "addresses", "ports" };

	venv__file_sweep(netd->dir_fd, "net.json");
	if (venv__json_read(netd->dir_fd, "net.json", &netd->memory, NULL) < 0 ||
	    !json_is_object(netd->memory)) {
		json_decref(netd->memory);
		netd->memory = json_object(); /* what cannot be read is given anew */
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!json_is_object(json_object_get(netd->memory, keys[i])))
			(void)json_object_set_new(netd->memory, keys[i], json_object());
}

void venv__memory_save(const struct netd *netd)
{
	_cleanup_error_ venv_error *err = NULL;

	if (venv__json_write(netd->dir_fd, "net.json", netd->memory, WRITE_VOLATILE, &err) < 0)
		venv__netd_log("%s", venv_error_message(err));
}

static uint32_t mask_of(unsigned prefix)
{
	return UINT32_MAX << (32 - prefix);
}

static bool read_address(const char *text, uint32_t *ret)
{
	struct in_addr in;

	if (!text || inet_pton(AF_INET, text, &in) != 1)
		return false;
	*ret = ntohl(in.s_addr);
	return true;
}

static bool read_subnet(const char *text, uint32_t *ret_subnet, unsigned *ret_prefix)
{
	char address[INET_ADDRSTRLEN] = "", *end;
	const char *slash = text ? strchr(text, '/') : NULL;
	unsigned long prefix;
	uint32_t subnet;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return false;
	memcpy(address, text, (size_t)(slash - text));
	prefix = strtoul(slash + 1, &end, 10);
	if (end == slash + 1 || *end || prefix < PREFIX_MIN || prefix > PREFIX_MAX)
		return false;
	if (!read_address(address, &subnet))
		return false;
	*ret_prefix = (unsigned)prefix;
	*ret_subnet = subnet & mask_of(*ret_prefix);
	return true;
}

struct network *venv__network_find(struct netd *netd, const char *name)
{
	for (struct network *network = netd->networks; network; network = network->next)
		if (strcmp(network->name, name) == 0)
			return network;
	return NULL;
}

static const struct network *overlapping(const struct netd *netd, uint32_t first, uint32_t last)
{
	for (const struct network *network = netd->networks; network; network = network->next)
		if (first <= (network->subnet | ~mask_of(network->prefix)) &&
		    last >= network->subnet)
			return network;
	return NULL;
}

/* Free of our networks, of the host's routes and of what is closed anyway. */
static bool is_free(const struct netd *netd, uint32_t subnet, unsigned prefix)
{
	uint32_t last = subnet | ~mask_of(prefix);

	return !overlapping(netd, subnet, last) && !venv__host_routes(netd, subnet, last) &&
	       !venv__ranges_overlap(&netd->closed, subnet, last);
}

static bool choose(const struct netd *netd, uint32_t *ret)
{
	static const struct {
		uint32_t base;
		unsigned count;
	} pools[] = {
		{ 0x0a580000, 256 }, /* 10.88.0.0/16 */
		{ 0xac1d0000, 256 }, /* 172.29.0.0/16 */
		{ 0xc0a8c800, 50 },  /* 192.168.200.0 to 192.168.249.0 */
		{ 0x0ae00000, 4096 } /* 10.224.0.0/12 */
	};

	for (size_t i = 0; i < ARRAY_SIZE(pools); i++)
		for (uint32_t n = 0; n < pools[i].count; n++)
			if (is_free(netd, pools[i].base + (n << 8), CHOSEN_PREFIX)) {
				*ret = pools[i].base + (n << 8);
				return true;
			}
	return false;
}

static int given_subnet(struct netd *netd, struct network *network, const char *text,
			venv_error **err)
{
	const struct network *other;

	if (!read_subnet(text, &network->subnet, &network->prefix))
		return venv__fail(err, VENV_ERR_NETWORK,
				  "'%s' is no subnet such as 192.168.56.0/24", text);
	if (network->subnet >> 24 == 127 || network->subnet >> 24 == 0 ||
	    network->subnet >> 28 >= 14)
		return venv__fail(err, VENV_ERR_NETWORK, "machines cannot have addresses in '%s'",
				  text);
	other = overlapping(netd, network->subnet, network->subnet | ~mask_of(network->prefix));
	if (other)
		return venv__fail(err, VENV_ERR_NETWORK,
				  "the subnets of the networks '%s' and '%s' overlap",
				  network->name, other->name);
	return 0;
}

/* The subnet from the file, or the one it had (running machines have addresses in it), or a new one. */
static int set_subnet(struct netd *netd, struct network *network, const char *text,
		      venv_error **err)
{
	json_t *known = json_object_get(netd->memory, "networks");
	char subnet[INET_ADDRSTRLEN];

	if (text)
		return given_subnet(netd, network, text, err);
	text = venv__json_str(known, network->name);
	if (read_subnet(text, &network->subnet, &network->prefix) &&
	    (netd->adopted || is_free(netd, network->subnet, network->prefix)) &&
	    !overlapping(netd, network->subnet, network->subnet | ~mask_of(network->prefix)))
		return 0;
	network->prefix = CHOSEN_PREFIX;
	if (!choose(netd, &network->subnet))
		return venv__hint(venv__fail(err, VENV_ERR_NETWORK,
					     "no subnet is free for network '%s'", network->name),
				  err, "give it one in venv.yml: networks: { %s: { subnet: … } }",
				  network->name);
	venv__address_text(network->subnet, subnet);
	(void)json_object_set_new(known, network->name,
				  json_sprintf("%s/%u", subnet, network->prefix));
	return 0;
}

struct network *venv__network_get(struct netd *netd, const json_t *request, venv_error **err)
{
	const char *name = venv__json_str(request, "name");
	const char *mode = venv__json_str(request, "mode");
	struct network *network = name ? venv__network_find(netd, name) : NULL;

	if (network)
		return network;
	network = calloc(1, sizeof(*network));
	if (!network || !name || !*name) {
		free(network);
		(void)venv__fail(err, VENV_ERR_INVALID, "a network without a name");
		return NULL;
	}
	*network = (struct network){ .netd = netd,
				     .name = strdup(name),
				     .udp_fd = -1,
				     .tcp_fd = -1,
				     .dhcp_fd = -1,
				     .nat = !mode || strcmp(mode, "internal") != 0 };
	(void)snprintf(network->bridge, sizeof(network->bridge), "br%08x",
		       (unsigned)venv__name_hash("bridge", name));
	if (!network->name ||
	    set_subnet(netd, network, venv__json_str(request, "subnet"), err) < 0) {
		free(network->name);
		free(network);
		return NULL;
	}
	network->gateway = network->subnet + 1;
	network->next = netd->networks;
	netd->networks = network;
	return network;
}

static void on_made(void *user, const json_t *answer, struct msg_fds *fds, const venv_error *err)
{
	struct network *network = user;
	struct loop *loop = network->netd->loop;

	(void)answer;
	venv__error_clear(&network->failed);
	if (err) {
		network->asked = false;
		network->failed = venv__error_copy(err);
		return;
	}
	network->made = true;
	network->udp_fd = venv__msg_fds_take(fds, 0);
	network->tcp_fd = venv__msg_fds_take(fds, 1);
	network->udp = venv__loop_add(loop, network->udp_fd, EPOLLIN, venv__resolver_udp, network);
	network->tcp = venv__loop_add(loop, network->tcp_fd, EPOLLIN, venv__resolver_tcp, network);
	network->dhcp_fd = venv__msg_fds_take(fds, 2);
	network->dhcp =
		venv__loop_add(loop, network->dhcp_fd, EPOLLIN, venv__dhcp_receive, network);
	if (!network->udp || !network->tcp || !network->dhcp)
		venv__netd_log("cannot listen for names on network '%s'", network->name);
}

void venv__network_ask(struct network *network)
{
	uint64_t hash = venv__name_hash("mac of bridge", network->name);
	json_t *mac = json_sprintf("02:76:%02x:%02x:%02x:%02x", (unsigned)(hash >> 24 & 0xff),
				   (unsigned)(hash >> 16 & 0xff), (unsigned)(hash >> 8 & 0xff),
				   (unsigned)(hash & 0xff));

	if (network->asked)
		return;
	network->asked = true;
	venv__helper_ask(network->netd,
			 json_pack("{s:s, s:s, s:I, s:i, s:b, s:o}", "op", "network", "bridge",
				   network->bridge, "gateway", (json_int_t)network->gateway,
				   "prefix", (int)network->prefix, "nat", network->nat, "mac", mac),
			 -1, on_made, network);
}

static const struct machine *owner_of(const struct network *network, uint32_t address)
{
	for (const struct machine *m = network->netd->machines; m; m = m->next)
		for (size_t i = 0; i < m->n_interfaces; i++)
			if (m->interfaces[i].network == network &&
			    m->interfaces[i].address == address)
				return m;
	return NULL;
}

/* Whether the address was another machine's before. */
static bool is_remembered(const json_t *known, const char *text, const char *machine)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)known, name,
			    value) if (strcmp(name, machine) != 0 && json_string_value(value) &&
				       strcmp(json_string_value(value), text) == 0) return true;
	return false;
}

static int wanted_address(struct network *network, const char *wanted, uint32_t *ret,
			  venv_error **err)
{
	uint32_t mask = mask_of(network->prefix), address;
	const struct machine *owner;
	char subnet[INET_ADDRSTRLEN];

	venv__address_text(network->subnet, subnet);
	if (!read_address(wanted, &address) || (address & mask) != network->subnet)
		return venv__fail(err, VENV_ERR_NETWORK,
				  "address '%s' is not in network '%s' (%s/%u)", wanted,
				  network->name, subnet, network->prefix);
	if (address == network->gateway || address == network->subnet ||
	    address == (network->subnet | ~mask))
		return venv__hint(venv__fail(err, VENV_ERR_NETWORK,
					     "address '%s' is the network's own", wanted),
				  err, "take another one of %s/%u", subnet, network->prefix);
	owner = owner_of(network, address);
	if (owner)
		return venv__fail(err, VENV_ERR_NETWORK, "address '%s' belongs to machine '%s'",
				  wanted, owner->name);
	*ret = address;
	return 0;
}

/* From where the name's hash falls onwards: first an address that nobody ever had, then any free. */
static bool probe(const struct network *network, const json_t *known, const char *machine,
		  uint32_t *ret)
{
	uint32_t hosts = ~mask_of(network->prefix) - 2; /* without network, gateway, broadcast */
	uint32_t start = (uint32_t)(venv__name_hash(network->name, machine) % hosts);
	char text[INET_ADDRSTRLEN];

	for (int even_remembered = 0; even_remembered < 2; even_remembered++)
		for (uint32_t n = 0; n < MIN(hosts, 65536u); n++) {
			uint32_t address = network->subnet + 2 + (start + n) % hosts;

			venv__address_text(address, text);
			if (owner_of(network, address) ||
			    (!even_remembered && is_remembered(known, text, machine)))
				continue;
			*ret = address;
			return true;
		}
	return false;
}

int venv__network_address(struct network *network, const char *machine, const char *wanted,
			  uint32_t *ret, venv_error **err)
{
	json_t *all = json_object_get(network->netd->memory, "addresses");
	json_t *known = json_object_get(all, network->name);
	char text[INET_ADDRSTRLEN];
	const char *before;

	if (wanted)
		return wanted_address(network, wanted, ret, err);
	if (!known) {
		known = json_object();
		(void)json_object_set_new(all, network->name, known);
	}
	before = venv__json_str(known, machine);
	if (before && wanted_address(network, before, ret, NULL) == 0)
		return 0;
	if (!probe(network, known, machine, ret))
		return venv__fail(err, VENV_ERR_NETWORK, "network '%s' has no free address",
				  network->name);
	venv__address_text(*ret, text);
	return json_object_set_new(known, machine, json_string(text)) < 0 ? venv__fail_nomem(err)
									  : 0;
}
