/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's own addresses, which guests must not reach, and its routes, which a subnet that we choose
 * must not hide. The kernel's table of local routes is the truth about "own": it has every address of
 * every device and whole ranges that are routed to the host itself. Changes are followed; venv-netns
 * and venv-uplink are told.
 */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "netd.h"

enum { DUMP_SIZE = 32768, SETTLE_MS = 5 };

struct host {
	int dump_fd, monitor_fd;
	uint32_t sequence;
	struct ranges routes;
	bool routes_known;
	struct loop_source *settle;
};

static int open_socket(uint32_t groups)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int on = 1;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	/* lets the kernel pick the table (5.0); older ones send all, and we pick again */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	return take_fd(&fd);
}

static int ask_routes(struct host *host, uint32_t table)
{
	_Alignas(8) char buffer[128];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct rtmsg *body = mnl_nlmsg_put_extra_header(header, sizeof(*body));

	header->nlmsg_type = RTM_GETROUTE;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = ++host->sequence;
	body->rtm_family = AF_INET;
	mnl_attr_put_u32(header, RTA_TABLE, table);
	return send(host->dump_fd, header, header->nlmsg_len, 0) < 0 ? -errno : 0;
}

struct route {
	uint32_t table, destination;
	unsigned prefix, type;
};

static int read_attribute(const struct nlattr *attribute, void *user)
{
	struct route *route = user;

	if (mnl_attr_validate(attribute, MNL_TYPE_U32) < 0)
		return MNL_CB_OK;
	if (mnl_attr_get_type(attribute) == RTA_DST)
		route->destination = ntohl(mnl_attr_get_u32(attribute));
	if (mnl_attr_get_type(attribute) == RTA_TABLE)
		route->table = mnl_attr_get_u32(attribute);
	return MNL_CB_OK;
}

static int take_route(const struct nlmsghdr *header, struct ranges *ret_own,
		      struct ranges *ret_routes)
{
	const struct rtmsg *body = mnl_nlmsg_get_payload(header);
	struct route route = { .table = body->rtm_table,
			       .prefix = body->rtm_dst_len,
			       .type = body->rtm_type };

	(void)mnl_attr_parse(header, sizeof(*body), read_attribute, &route);
	if (route.type == RTN_LOCAL || route.type == RTN_BROADCAST || route.type == RTN_ANYCAST)
		return ret_own ? venv__ranges_add_prefix(ret_own, route.destination, route.prefix)
			       : 0;
	if (!ret_routes || route.table == RT_TABLE_LOCAL || route.prefix == 0)
		return 0;
	return venv__ranges_add_prefix(ret_routes, route.destination, route.prefix);
}

enum { MORE = 1 };

/* One datagram of a dump: MORE, 0 at its end, or -errno */
static int take_part(const struct host *host, const char *data, int length, struct ranges *ret_own,
		     struct ranges *ret_routes)
{
	const struct nlmsghdr *header = (const void *)data;
	int r;

	for (; mnl_nlmsg_ok(header, length); header = mnl_nlmsg_next(header, &length)) {
		if (header->nlmsg_seq != host->sequence)
			continue;
		switch (header->nlmsg_type) {
		case NLMSG_DONE:
			return 0;
		case NLMSG_ERROR:
			r = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(header))->error;
			return r == -ENOENT ? 0 : r; /* a table that does not exist */
		case RTM_NEWROUTE:
			r = take_route(header, ret_own, ret_routes);
			if (r < 0)
				return r;
			break;
		default:
			break;
		}
	}
	return MORE;
}

static int dump(struct host *host, uint32_t table, struct ranges *ret_own,
		struct ranges *ret_routes)
{
	_cleanup_free_ char *buffer = malloc(DUMP_SIZE);
	int r;

	if (!buffer)
		return -ENOMEM;
	r = ask_routes(host, table);
	if (r < 0)
		return r;
	do {
		ssize_t n = recv(host->dump_fd, buffer, DUMP_SIZE, 0);

		if (n < 0 && errno == EINTR)
			r = MORE;
		else if (n <= 0)
			return n < 0 ? -errno : -EIO;
		else
			r = take_part(host, buffer, (int)n, ret_own, ret_routes);
	} while (r == MORE);
	return r;
}

/* The list for filter and uplink: what is closed everywhere and what this host has. */
static int refresh(struct netd *netd, bool *ret_changed)
{
	_cleanup_ranges_ struct ranges closed = { 0 };
	int r;

	r = venv__ranges_add_always(&closed);
	if (r == 0)
		r = dump(netd->host, RT_TABLE_LOCAL, &closed, NULL);
	if (r < 0)
		return r;
	venv__ranges_settle(&closed, RANGES_MAX);
	*ret_changed = !venv__ranges_equal(&closed, &netd->closed);
	if (*ret_changed) {
		struct ranges old = netd->closed;

		netd->closed = closed;
		closed = old;
	}
	return 0;
}

int venv__host_start(struct netd *netd, venv_error **err)
{
	struct host *host = calloc(1, sizeof(*host));
	bool changed;
	int r = 0;

	if (!host)
		return venv__fail_nomem(err);
	netd->host = host;
	host->monitor_fd = open_socket(RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_IFADDR);
	host->dump_fd = open_socket(0);
	if (host->monitor_fd < 0 || host->dump_fd < 0)
		r = -errno;
	if (r == 0)
		r = refresh(netd, &changed);
	return r < 0 ? venv__fail_errno(err, -r, "cannot list the host's addresses") : 0;
}

static void tell(struct netd *netd)
{
	_cleanup_json_ json_t *news = json_pack("{s:s, s:o}", "op", "close", "closed",
						venv__ranges_to_json(&netd->closed));

	if (!news || venv__msg_send(netd->uplink, news, NULL, 0, NULL) < 0) {
		venv__netd_fail(netd, "cannot tell the uplink the host's addresses");
		return;
	}
	venv__helper_ask(netd, json_incref(news), -1, NULL, NULL);
}

static void on_settle(void *user, int fd, uint32_t events)
{
	struct netd *netd = user;
	bool changed = false;

	(void)fd;
	(void)events;
	netd->host->settle = NULL;
	if (refresh(netd, &changed) < 0)
		venv__netd_fail(netd, "cannot list the host's addresses");
	else if (changed)
		tell(netd);
}

static void on_change(void *user, int fd, uint32_t events)
{
	struct netd *netd = user;
	char buffer[4096];
	ssize_t n;

	(void)events;
	/* what it says does not matter, nor that some of it was lost: the whole list is read again */
	do
		n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	while (n > 0 || (n < 0 && errno == ENOBUFS));
	if (!netd->host->settle)
		netd->host->settle = venv__loop_timer(netd->loop, SETTLE_MS, 0, on_settle, netd);
}

int venv__host_follow(struct netd *netd)
{
	return venv__loop_add(netd->loop, netd->host->monitor_fd, EPOLLIN, on_change, netd)
		       ? 0
		       : -ENOMEM;
}

bool venv__host_routes(const struct netd *netd, uint32_t first, uint32_t last)
{
	struct host *host = netd->host;

	if (!host->routes_known) {
		/* all tables: VPNs have some of their own */
		if (dump(host, RT_TABLE_UNSPEC, NULL, &host->routes) < 0)
			return false;
		venv__ranges_settle(&host->routes, SIZE_MAX);
		host->routes_known = true;
	}
	return venv__ranges_overlap(&host->routes, first, last);
}
