/* SPDX-License-Identifier: Apache-2.0 */
#include "rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "../common/uplink.h"
#include "util/cleanup.h"

enum {
	WAIT_US = 100,
	WAIT_TRIES = 2000,
	OPERATIONAL_UP = 6, /* IF_OPER_UP: linux/if.h and net/if.h do not go together */
};

int venv__rtnl_open(struct rtnl *rtnl)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int on = 1;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	*rtnl = (struct rtnl){ .fd = take_fd(&fd) };
	return 0;
}

void venv__rtnl_done(struct rtnl *rtnl)
{
	if (rtnl->fd >= 0)
		(void)close(rtnl->fd);
	rtnl->fd = -1;
}

int venv__rtnl_index(const char *name)
{
	/* not if_nametoindex(), which asks through a Unix socket: those are closed to us (confine.c) */
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { 0 };

	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return -ENODEV;
	return request.ifr_ifindex > 0 ? request.ifr_ifindex : -ENODEV;
}

/* One answer datagram: counts acknowledgements, keeps the first failure. */
static int take_answers(const char *data, size_t length, unsigned *acks)
{
	const struct nlmsghdr *header = (const void *)data;
	int left = (int)length, r = 0;

	for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
		const struct nlmsgerr *answer = mnl_nlmsg_get_payload(header);

		if (header->nlmsg_type != NLMSG_ERROR)
			continue;
		(*acks)++;
		if (answer->error && !r)
			r = answer->error;
	}
	return r;
}

int venv__rtnl_commit(struct rtnl *rtnl)
{
	_Alignas(8) char answer[8192];
	unsigned acks = 0;
	int result = 0;
	ssize_t n;

	n = send(rtnl->fd, rtnl->buffer, rtnl->length, 0);
	if (n < 0)
		result = -errno;
	while (n >= 0 && acks < rtnl->count) {
		int r;

		n = recv(rtnl->fd, answer, sizeof(answer), 0);
		if (n < 0 && errno == EINTR) {
			n = 0;
			continue;
		}
		r = n <= 0 ? -EIO : take_answers(answer, (size_t)n, &acks);
		if (r && !result)
			result = r;
	}
	rtnl->length = 0;
	rtnl->count = 0;
	return result;
}

static struct nlmsghdr *begin(struct rtnl *rtnl, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(rtnl->buffer + rtnl->length);

	header->nlmsg_type = type;
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	header->nlmsg_seq = ++rtnl->sequence;
	return header;
}

static void end(struct rtnl *rtnl, const struct nlmsghdr *header)
{
	rtnl->length += header->nlmsg_len; /* padded already */
	rtnl->count++;
}

static struct nlmsghdr *begin_link(struct rtnl *rtnl, uint16_t type, uint16_t flags, int index,
				   unsigned interface_flags)
{
	struct nlmsghdr *header = begin(rtnl, type, flags);
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));

	info->ifi_family = AF_UNSPEC;
	info->ifi_index = index;
	info->ifi_flags = interface_flags;
	info->ifi_change = interface_flags;
	return header;
}

void venv__rtnl_bridge(struct rtnl *rtnl, const char *name, const uint8_t mac[MAC_LENGTH])
{
	struct nlmsghdr *header =
		begin_link(rtnl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, IFF_UP);
	struct nlattr *info, *data;

	mnl_attr_put_strz(header, IFLA_IFNAME, name);
	mnl_attr_put_u32(header, IFLA_MTU, NET_MTU);
	mnl_attr_put(header, IFLA_ADDRESS, MAC_LENGTH, mac);
	info = mnl_attr_nest_start(header, IFLA_LINKINFO);
	mnl_attr_put_strz(header, IFLA_INFO_KIND, "bridge");
	data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
	mnl_attr_put_u32(header, IFLA_BR_FORWARD_DELAY, 0);
	mnl_attr_put_u32(header, IFLA_BR_STP_STATE, 0);
	mnl_attr_put_u8(header, IFLA_BR_MCAST_SNOOPING, 0);
	mnl_attr_nest_end(header, data);
	mnl_attr_nest_end(header, info);
	end(rtnl, header);
}

void venv__rtnl_veth(struct rtnl *rtnl, const struct rtnl_veth *veth)
{
	struct nlmsghdr *header = begin_link(rtnl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, 0);
	struct nlattr *info, *data, *peer;
	struct ifinfomsg *peer_info;

	mnl_attr_put_strz(header, IFLA_IFNAME, veth->name);
	mnl_attr_put_u32(header, IFLA_MTU, NET_MTU);
	info = mnl_attr_nest_start(header, IFLA_LINKINFO);
	mnl_attr_put_strz(header, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(header, VETH_INFO_PEER);
	peer_info = mnl_nlmsg_put_extra_header(header, sizeof(*peer_info));
	peer_info->ifi_family = AF_UNSPEC;
	mnl_attr_put_strz(header, IFLA_IFNAME, veth->peer);
	mnl_attr_put_u32(header, IFLA_MTU, NET_MTU);
	mnl_attr_put(header, IFLA_ADDRESS, MAC_LENGTH, veth->peer_mac);
	mnl_attr_put_u32(header, IFLA_NET_NS_FD, (uint32_t)veth->peer_netns);
	mnl_attr_nest_end(header, peer);
	mnl_attr_nest_end(header, data);
	mnl_attr_nest_end(header, info);
	end(rtnl, header);
}

void venv__rtnl_delete(struct rtnl *rtnl, int index)
{
	end(rtnl, begin_link(rtnl, RTM_DELLINK, 0, index, 0));
}

void venv__rtnl_up(struct rtnl *rtnl, int index, unsigned mtu, int bridge)
{
	struct nlmsghdr *header = begin_link(rtnl, RTM_NEWLINK, 0, index, IFF_UP);

	if (mtu)
		mnl_attr_put_u32(header, IFLA_MTU, mtu);
	if (bridge > 0)
		mnl_attr_put_u32(header, IFLA_MASTER, (uint32_t)bridge);
	end(rtnl, header);
}

void venv__rtnl_address(struct rtnl *rtnl, int index, uint32_t address, unsigned prefix)
{
	struct nlmsghdr *header = begin(rtnl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
	struct ifaddrmsg *body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
	uint32_t host_bits = prefix >= 32 ? 0 : UINT32_MAX >> prefix;

	body->ifa_family = AF_INET;
	body->ifa_prefixlen = (uint8_t)prefix;
	body->ifa_index = (uint32_t)index;
	mnl_attr_put_u32(header, IFA_LOCAL, htonl(address));
	mnl_attr_put_u32(header, IFA_ADDRESS, htonl(address));
	if (prefix < 31)
		mnl_attr_put_u32(header, IFA_BROADCAST, htonl(address | host_bits));
	end(rtnl, header);
}

void venv__rtnl_default_route(struct rtnl *rtnl, int index, uint32_t gateway)
{
	struct nlmsghdr *header = begin(rtnl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
	struct rtmsg *body = mnl_nlmsg_put_extra_header(header, sizeof(*body));

	body->rtm_family = AF_INET;
	body->rtm_table = RT_TABLE_MAIN;
	body->rtm_protocol = RTPROT_STATIC;
	body->rtm_scope = RT_SCOPE_UNIVERSE;
	body->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(header, RTA_GATEWAY, htonl(gateway));
	mnl_attr_put_u32(header, RTA_OIF, (uint32_t)index);
	end(rtnl, header);
}

struct link_state {
	uint8_t operational, port;
};

static int read_slave_data(const struct nlattr *attribute, void *user)
{
	struct link_state *state = user;

	if (mnl_attr_get_type(attribute) == IFLA_BRPORT_STATE &&
	    mnl_attr_validate(attribute, MNL_TYPE_U8) == 0)
		state->port = mnl_attr_get_u8(attribute);
	return MNL_CB_OK;
}

static int read_link_info(const struct nlattr *attribute, void *user)
{
	if (mnl_attr_get_type(attribute) == IFLA_INFO_SLAVE_DATA)
		return mnl_attr_parse_nested(attribute, read_slave_data, user);
	return MNL_CB_OK;
}

static int read_link(const struct nlattr *attribute, void *user)
{
	struct link_state *state = user;

	if (mnl_attr_get_type(attribute) == IFLA_OPERSTATE &&
	    mnl_attr_validate(attribute, MNL_TYPE_U8) == 0)
		state->operational = mnl_attr_get_u8(attribute);
	if (mnl_attr_get_type(attribute) == IFLA_LINKINFO)
		return mnl_attr_parse_nested(attribute, read_link_info, user);
	return MNL_CB_OK;
}

static bool get_state(struct rtnl *rtnl, int index, struct link_state *ret)
{
	_Alignas(8) char buffer[8192];
	struct nlmsghdr *header = begin_link(rtnl, RTM_GETLINK, 0, index, 0);
	ssize_t n;

	*ret = (struct link_state){ 0 };
	header->nlmsg_flags = NLM_F_REQUEST;
	if (send(rtnl->fd, header, header->nlmsg_len, 0) < 0)
		return false;
	n = recv(rtnl->fd, buffer, sizeof(buffer), 0);
	header = (struct nlmsghdr *)(void *)buffer;
	return n > 0 && mnl_nlmsg_ok(header, (int)n) && header->nlmsg_type == RTM_NEWLINK &&
	       mnl_attr_parse(header, sizeof(struct ifinfomsg), read_link, ret) >= 0;
}

void venv__rtnl_wait_port(struct rtnl *rtnl, int port, int bridge)
{
	struct link_state state;

	for (int i = 0; i < WAIT_TRIES; i++) {
		if (!get_state(rtnl, port, &state))
			return;
		if (state.port == BR_STATE_FORWARDING &&
		    (!get_state(rtnl, bridge, &state) || state.operational == OPERATIONAL_UP))
			return;
		(void)usleep(WAIT_US);
	}
}
