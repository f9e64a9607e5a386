/* SPDX-License-Identifier: Apache-2.0 */
/* Interfaces are found by their MAC address, named, addressed and brought up. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest.h"
#include "util/cleanup.h"

bool guest_net_parse(const char *text, struct guest_net *ret)
{
	struct in_addr address;
	int end = 0;

	*ret = (struct guest_net){ 0 };
	if (sscanf(text, "%17s %15[0-9.]/%2u %5u %15s %15s%n", ret->mac, ret->address, &ret->prefix,
		   &ret->mtu, ret->gateway, ret->name, &end) != 6 ||
	    text[end])
		return false;
	return ret->prefix <= 32 && ret->mtu >= 68 && ret->mtu <= 65535 &&
	       inet_pton(AF_INET, ret->address, &address) == 1 &&
	       (!strcmp(ret->gateway, "-") || inet_pton(AF_INET, ret->gateway, &address) == 1);
}

static bool has_mac(const char *name, const char *mac)
{
	char path[300], text[32] = "";
	_cleanup_close_ int fd = -1;

	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/address", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, text, sizeof(text) - 1) >= 17 && strncasecmp(text, mac, 17) == 0;
}

static bool find_interface(const char *mac, char ret[IFNAMSIZ])
{
	_cleanup_closedir_ DIR *dir = opendir("/sys/class/net");
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= IFNAMSIZ ||
		    !has_mac(entry->d_name, mac))
			continue;
		(void)snprintf(ret, IFNAMSIZ, "%.15s", entry->d_name);
		return true;
	}
	return false;
}

static struct sockaddr ipv4(const char *text, uint32_t mask)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(mask) };
	struct sockaddr address;

	if (text)
		(void)inet_pton(AF_INET, text, &in.sin_addr);
	memcpy(&address, &in, sizeof(address));
	return address;
}

static int bring_up(int fd, const char *name)
{
	struct ifreq request = { 0 };

	(void)snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	request.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int set_address(int fd, const struct guest_net *net)
{
	uint32_t mask = net->prefix ? ~0U << (32 - net->prefix) : 0;
	struct ifreq request = { 0 };

	(void)snprintf(request.ifr_name, IFNAMSIZ, "%s", net->name);
	request.ifr_mtu = (int)net->mtu;
	if (ioctl(fd, SIOCSIFMTU, &request) < 0)
		guest_say("network %s takes no packets of %u bytes: %s", net->name, net->mtu,
			  strerror(errno));
	request.ifr_addr = ipv4(net->address, 0);
	if (ioctl(fd, SIOCSIFADDR, &request) < 0)
		return -errno;
	request.ifr_netmask = ipv4(NULL, mask);
	return ioctl(fd, SIOCSIFNETMASK, &request) < 0 ? -errno : 0;
}

static int set_route(int fd, const struct guest_net *net)
{
	struct rtentry route = { .rt_dst = ipv4(NULL, 0),
				 .rt_genmask = ipv4(NULL, 0),
				 .rt_gateway = ipv4(net->gateway, 0),
				 .rt_flags = RTF_UP | RTF_GATEWAY };

	if (strcmp(net->gateway, "-") == 0)
		return 0;
	return ioctl(fd, SIOCADDRT, &route) < 0 && errno != EEXIST ? -errno : 0;
}

static int make(int fd, const struct guest_net *net)
{
	struct ifreq request = { 0 };
	int r;

	if (!find_interface(net->mac, request.ifr_name))
		return -ENODEV;
	if (strcmp(request.ifr_name, net->name) != 0) {
		(void)snprintf(request.ifr_newname, IFNAMSIZ, "%s", net->name);
		if (ioctl(fd, SIOCSIFNAME, &request) < 0)
			return -errno;
	}
	r = set_address(fd, net);
	if (r == 0)
		r = bring_up(fd, net->name);
	return r < 0 ? r : set_route(fd, net);
}

/* A network that fails is told, and the machine starts: it can be reached without. */
void guest_network_make(const struct guest *guest)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const char *at = NULL, *text;
	struct guest_net net;

	(void)bring_up(fd, "lo");
	while ((text = words_each(&guest->config, "net", &at))) {
		int r = guest_net_parse(text, &net) ? make(fd, &net) : -EINVAL;

		if (r < 0)
			guest_say("cannot set up the network '%s': %s", text, strerror(-r));
	}
}
