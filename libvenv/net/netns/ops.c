/* SPDX-License-Identifier: Apache-2.0 */
/* What netd asks: networks, machines' interfaces, sockets. */
#include <arpa/inet.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "../common/uplink.h"
#include "netns.h"
#include "nft.h"
#include "rtnl.h"

static bool read_mac(const json_t *object, uint8_t ret[MAC_LENGTH])
{
	const char *text = venv__json_str(object, "mac");
	unsigned byte[MAC_LENGTH];

	if (!text || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &byte[0], &byte[1], &byte[2], &byte[3],
			    &byte[4], &byte[5]) != MAC_LENGTH)
		return false;
	for (int i = 0; i < MAC_LENGTH; i++)
		ret[i] = (uint8_t)byte[i];
	return true;
}

static const char *device_name(const json_t *object, const char *key)
{
	const char *name = venv__json_str(object, key);

	return name && *name && strlen(name) < IFNAMSIZ ? name : NULL;
}

static int bound_socket(int type, uint32_t address, uint16_t port)
{
	struct sockaddr_in local = { .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(address) };
	_cleanup_close_ int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&local, sizeof(local)) < 0)
		return -errno;
	if (type == SOCK_STREAM && listen(fd, 64) < 0)
		return -errno;
	return take_fd(&fd);
}

/* Who asks for an address has none, and asks everybody: the bridge is what tells networks apart. */
static int dhcp_socket(const char *bridge)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(67) };
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, bridge, (socklen_t)strlen(bridge)) < 0 ||
	    bind(fd, (const struct sockaddr *)&local, sizeof(local)) < 0)
		return -errno;
	return take_fd(&fd);
}

/* Listeners of the resolver at the network's gateway, and of DHCP. */
static int open_services(const char *bridge, uint32_t gateway, struct msg_fds *ret_fds)
{
	int udp, tcp, dhcp;

	udp = bound_socket(SOCK_DGRAM, gateway, 53);
	if (udp < 0)
		return udp;
	ret_fds->fd[ret_fds->count++] = udp;
	tcp = bound_socket(SOCK_STREAM, gateway, 53);
	if (tcp < 0)
		return tcp;
	ret_fds->fd[ret_fds->count++] = tcp;
	dhcp = dhcp_socket(bridge);
	if (dhcp < 0)
		return dhcp;
	ret_fds->fd[ret_fds->count++] = dhcp;
	return 0;
}

static int make_bridge(const char *name, const uint8_t mac[MAC_LENGTH], uint32_t gateway,
		       unsigned prefix)
{
	struct rtnl rtnl;
	int index, r;

	r = venv__rtnl_open(&rtnl);
	if (r < 0)
		return r;
	index = venv__rtnl_index(name);
	if (index < 0) {
		venv__rtnl_bridge(&rtnl, name, mac);
		r = venv__rtnl_commit(&rtnl);
		index = r < 0 ? r : venv__rtnl_index(name);
	}
	if (index > 0) {
		venv__rtnl_address(&rtnl, index, gateway, prefix);
		venv__rtnl_up(&rtnl, index, 0, 0);
		r = venv__rtnl_commit(&rtnl);
	}
	venv__rtnl_done(&rtnl);
	return index < 0 ? index : r;
}

int venv__netns_network(struct netns *netns, const json_t *request, struct msg_fds *ret_fds,
			venv_error **err)
{
	const char *bridge = device_name(request, "bridge");
	uint32_t gateway = (uint32_t)venv__json_int(request, "gateway", 0);
	unsigned prefix = (unsigned)venv__json_int(request, "prefix", 0);
	uint8_t mac[MAC_LENGTH];
	int r;

	(void)netns;
	if (!bridge || !gateway || !prefix || prefix > 30 || !read_mac(request, mac))
		return venv__fail(err, VENV_ERR_INVALID, "bad network");
	r = make_bridge(bridge, mac, gateway, prefix);
	if (r < 0)
		return venv__hint(venv__fail_errno(err, -r, "cannot make a bridge"), err,
				  "load the module: 'sudo modprobe bridge'");
	r = venv__nft_network(bridge, gateway, venv__json_bool(request, "nat", false));
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot change the packet filter");
	r = open_services(bridge, gateway, ret_fds);
	return r < 0 ? venv__fail_errno(err, -r, "cannot open the sockets for names and addresses")
		     : 0;
}

static struct machine_ns **find_machine(struct netns *netns, const char *id)
{
	struct machine_ns **link = &netns->machines;

	while (*link && strcmp((*link)->id, id) != 0)
		link = &(*link)->next;
	return link;
}

static void forget_machine(struct netns *netns, const char *id)
{
	struct machine_ns **link = find_machine(netns, id);
	struct machine_ns *machine = *link;

	if (!machine)
		return;
	*link = machine->next;
	(void)close(machine->netns_fd);
	free(machine->id);
	free(machine);
}

static int remember_machine(struct netns *netns, const char *id, int fd)
{
	struct machine_ns *machine = calloc(1, sizeof(*machine));

	if (!machine)
		return -ENOMEM;
	forget_machine(netns, id);
	*machine = (struct machine_ns){ .next = netns->machines, .id = strdup(id), .netns_fd = fd };
	if (!machine->id) {
		free(machine);
		return -ENOMEM;
	}
	netns->machines = machine;
	return 0;
}

bool venv__plug_read(const json_t *object, struct plug *ret)
{
	*ret = (struct plug){
		.device = device_name(object, "device"),
		.name = device_name(object, "name"),
		.bridge = device_name(object, "bridge"),
		.address = (uint32_t)venv__json_int(object, "address", 0),
		.gateway = (uint32_t)venv__json_int(object, "gateway", 0),
		.prefix = (unsigned)venv__json_int(object, "prefix", 0),
	};
	return ret->device && ret->name && ret->bridge && ret->address && ret->prefix <= 30 &&
	       read_mac(object, ret->mac);
}

/* In the machine's namespace; must be followed by coming back. */
static int configure_inside(const json_t *interfaces)
{
	struct rtnl rtnl;
	struct plug plug;
	size_t i;
	json_t *item;
	int r;

	r = venv__rtnl_open(&rtnl);
	if (r < 0)
		return r;
	venv__rtnl_up(&rtnl, 1, 0, 0);
	json_array_foreach(interfaces, i, item)
	{
		int index = venv__plug_read(item, &plug) ? venv__rtnl_index(plug.name) : -EINVAL;

		if (index < 0) {
			r = index;
			break;
		}
		venv__rtnl_address(&rtnl, index, plug.address, plug.prefix);
		venv__rtnl_up(&rtnl, index, 0, 0);
		if (plug.gateway)
			venv__rtnl_default_route(&rtnl, index, plug.gateway);
		r = venv__rtnl_commit(&rtnl);
		if (r < 0)
			break;
	}
	venv__rtnl_done(&rtnl);
	return r;
}

/* Whether the machine has this interface already (plugged before our netd was started). */
static bool exists_inside(const struct netns *netns, int machine_fd, const char *name)
{
	bool ret;

	if (setns(machine_fd, CLONE_NEWNET) < 0)
		return false;
	ret = venv__rtnl_index(name) > 0;
	if (setns(netns->own_fd, CLONE_NEWNET) < 0)
		abort(); /* nothing may be done in the wrong namespace */
	return ret;
}

/* Our end of the machine's interface, which may be there already. 0 or -errno */
static int make_pair(const struct netns *netns, struct rtnl *rtnl, int machine_fd,
		     const struct plug *plug)
{
	struct rtnl_veth veth = { .name = plug->device,
				  .peer = plug->name,
				  .peer_netns = machine_fd };
	int old = venv__rtnl_index(plug->device), r;

	if (old > 0 && exists_inside(netns, machine_fd, plug->name))
		return 0;
	if (old > 0) {
		venv__rtnl_delete(rtnl, old);
		r = venv__rtnl_commit(rtnl);
		if (r < 0 && r != -ENODEV)
			return r;
	}
	memcpy(veth.peer_mac, plug->mac, MAC_LENGTH);
	venv__rtnl_veth(rtnl, &veth);
	return venv__rtnl_commit(rtnl);
}

int venv__plug_connect(struct rtnl *rtnl, const struct plug *plug, bool host_access)
{
	int index = venv__rtnl_index(plug->device), bridge = venv__rtnl_index(plug->bridge), r;

	if (index < 0 || bridge < 0)
		return -ENODEV;
	r = venv__nft_guard(plug->device, plug->mac, plug->address, host_access && plug->gateway);
	if (r < 0)
		return r;
	venv__rtnl_up(rtnl, index, NET_MTU, bridge);
	return venv__rtnl_commit(rtnl);
}

static int connect_all(const struct netns *netns, const json_t *interfaces, int machine_fd,
		       bool host_access)
{
	struct rtnl rtnl;
	struct plug plug;
	size_t i;
	json_t *item;
	int r;

	r = venv__rtnl_open(&rtnl);
	if (r < 0)
		return r;
	json_array_foreach(interfaces, i, item)
	{
		r = venv__plug_read(item, &plug) ? make_pair(netns, &rtnl, machine_fd, &plug)
						 : -EINVAL;
		if (r == 0)
			r = venv__plug_connect(&rtnl, &plug, host_access);
		if (r < 0)
			break;
	}
	venv__rtnl_done(&rtnl);
	return r;
}

static void wait_for_ports(const json_t *interfaces)
{
	struct rtnl rtnl;
	struct plug plug;
	size_t i;
	json_t *item;

	if (venv__rtnl_open(&rtnl) < 0)
		return;
	json_array_foreach(interfaces, i, item) if (venv__plug_read(item, &plug))
		venv__rtnl_wait_port(&rtnl, venv__rtnl_index(plug.device),
				     venv__rtnl_index(plug.bridge));
	venv__rtnl_done(&rtnl);
}

int venv__netns_plug(struct netns *netns, const json_t *request, int machine_fd, venv_error **err)
{
	_cleanup_close_ int fd = machine_fd;
	const char *id = venv__json_str(request, "machine");
	const json_t *interfaces = json_object_get(request, "interfaces");
	int r;

	if (!id || fd < 0 || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return venv__fail(err, VENV_ERR_INVALID, "no network namespace to plug");
	r = connect_all(netns, interfaces, fd, venv__json_bool(request, "host_access", false));
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot connect the machine to its networks");
	if (setns(fd, CLONE_NEWNET) < 0)
		return venv__fail_errno(err, errno, "cannot enter the machine's network namespace");
	r = configure_inside(interfaces);
	if (setns(netns->own_fd, CLONE_NEWNET) < 0)
		abort(); /* nothing may be done in the wrong namespace */
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot set up the machine's interfaces");
	r = remember_machine(netns, id, fd);
	if (r < 0)
		return venv__fail_nomem(err);
	(void)take_fd(&fd);
	wait_for_ports(interfaces);
	return 0;
}

int venv__netns_unplug(struct netns *netns, const json_t *request, venv_error **err)
{
	const char *id = venv__json_str(request, "machine");
	const json_t *devices = json_object_get(request, "devices");
	struct rtnl rtnl;
	size_t i;
	json_t *item;
	int r;

	if (!id)
		return venv__fail(err, VENV_ERR_INVALID, "no machine to unplug");
	forget_machine(netns, id);
	r = venv__rtnl_open(&rtnl);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot unplug a machine");
	json_array_foreach(devices, i, item)
	{
		const char *name = json_string_value(item);
		int index = name ? venv__rtnl_index(name) : -EINVAL;

		if (index > 0) { /* else it went with the machine's namespace */
			venv__rtnl_delete(&rtnl, index);
			(void)venv__rtnl_commit(&rtnl);
		}
		if (name)
			venv__nft_forget(name);
	}
	venv__rtnl_done(&rtnl);
	return 0;
}

int venv__netns_socket(struct netns *netns, const json_t *request, struct msg_fds *ret_fds,
		       venv_error **err)
{
	const char *id = venv__json_str(request, "machine");
	const char *type = venv__json_str(request, "type");
	const struct machine_ns *machine = id ? *find_machine(netns, id) : NULL;
	int fd, saved;

	if (id && !machine)
		return venv__fail(err, VENV_ERR_NOT_FOUND, "the machine is not plugged");
	if (machine && setns(machine->netns_fd, CLONE_NEWNET) < 0)
		return venv__fail_errno(err, errno, "cannot enter the machine's network namespace");
	fd = socket(AF_INET,
		    SOCK_CLOEXEC | SOCK_NONBLOCK |
			    (type && strcmp(type, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM),
		    0);
	saved = errno;
	if (machine && setns(netns->own_fd, CLONE_NEWNET) < 0)
		abort(); /* nothing may be done in the wrong namespace */
	if (fd < 0)
		return venv__fail_errno(err, saved, "cannot make a socket");
	ret_fds->fd[ret_fds->count++] = fd;
	return 0;
}
