/* SPDX-License-Identifier: Apache-2.0 */
/* The namespaces themselves: made or entered, their switches, the TAP, the base of the filter. */
#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "../common/uplink.h"
#include "netns.h"
#include "nft.h"
#include "rtnl.h"

enum { USERNS_FD = 4, NETNS_FD = 5 };

static int become_root(venv_error **err)
{
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return venv__fail_errno(err, errno, "cannot become root of the user namespace");
	/* a change of ids cleared both; /proc/self must be ours for the switches in /proc/sys */
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return 0;
}

/* The two that enter or make the namespaces stay the host's user until the TAP is open: for a host whose
 * /dev/net/tun is root's alone. */
static int enter(venv_error **err)
{
	if (setns(USERNS_FD, CLONE_NEWUSER) < 0)
		return venv__fail_errno(err, errno, "cannot enter the project's user namespace");
	if (setns(NETNS_FD, CLONE_NEWNET) < 0)
		return venv__fail_errno(err, errno, "cannot enter the project's network namespace");
	(void)close(USERNS_FD);
	(void)close(NETNS_FD);
	return 0;
}

static int userns_refused(int number, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_HOST, "cannot make a user namespace: %s",
			   strerror(number));

	return venv__hint(r, err,
			  "allow them: 'sudo sysctl -w kernel.unprivileged_userns_clone=1 "
			  "user.max_user_namespaces=10000' ('venv doctor' says which is missing)");
}

/* netd writes the map of our user namespace when asked, and answers with what is closed. */
static int make(struct netns *netns, venv_error **err)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", "map");
	int r;

	if (unshare(CLONE_NEWUSER) < 0)
		return userns_refused(errno, err);
	r = venv__msg_call(netns->control, request, NULL, 0, -1, NULL, NULL, err);
	if (r < 0)
		return r;
	if (unshare(CLONE_NEWNET) < 0)
		return venv__fail_errno(err, errno, "cannot make a network namespace");
	return 0;
}

static int set_switch(const char *path, const char *value)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return -errno;
	return 0;
}

static int set_switches(venv_error **err)
{
	/* "all" holds for devices made later as well (or'ed or taken as the maximum); ip_forward comes
	 * first, because it resets others */
	static const struct {
		const char *path, *value;
		bool needed;
	} switches[] = {
		{ "/proc/sys/net/ipv4/ip_forward", "1", true },
		{ "/proc/sys/net/ipv4/conf/all/route_localnet", "0", true },
		{ "/proc/sys/net/ipv4/conf/default/route_localnet", "0", true },
		{ "/proc/sys/net/ipv4/conf/all/rp_filter", "1", true },
		{ "/proc/sys/net/ipv4/conf/all/send_redirects", "0", false },
		{ "/proc/sys/net/ipv4/conf/default/send_redirects", "0", false },
		{ "/proc/sys/net/ipv4/conf/all/accept_redirects", "0", false },
		{ "/proc/sys/net/ipv6/conf/all/disable_ipv6", "1", false },
		{ "/proc/sys/net/ipv6/conf/default/disable_ipv6", "1", false },
		{ "/proc/sys/net/bridge/bridge-nf-call-iptables", "0", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
		int r = set_switch(switches[i].path, switches[i].value);

		if (r < 0 && switches[i].needed)
			return venv__fail_errno(err, -r, "cannot write %s", switches[i].path);
	}
	return 0;
}

int venv__tap_open(const char *name, int flags)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq request = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags) };

	if (fd < 0)
		return -errno;
	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	return ioctl(fd, TUNSETIFF, &request) < 0 ? -errno : take_fd(&fd);
}

static int no_tap(int number, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_HOST, "cannot open /dev/net/tun: %s", strerror(number));

	return venv__hint(r, err,
			  "load the module and let everybody use the device: 'sudo modprobe tun; "
			  "sudo chmod 666 /dev/net/tun'");
}

static int set_up_links(venv_error **err)
{
	struct rtnl rtnl;
	int index = venv__rtnl_index(UPLINK_DEVICE), r;

	r = index < 0 ? index : venv__rtnl_open(&rtnl);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot set up the uplink");
	venv__rtnl_up(&rtnl, 1, 0, 0);
	venv__rtnl_address(&rtnl, index, UPLINK_ADDRESS, UPLINK_PREFIX);
	venv__rtnl_address(&rtnl, index, ACCESS_ADDRESS, UPLINK_PREFIX);
	venv__rtnl_up(&rtnl, index, NET_MTU, 0);
	venv__rtnl_default_route(&rtnl, index, UPLINK_ROUTER);
	r = venv__rtnl_commit(&rtnl);
	venv__rtnl_done(&rtnl);
	return r < 0 ? venv__fail_errno(err, -r, "cannot set up the uplink") : 0;
}

static int no_filter(int number, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_HOST, "cannot set up the packet filter: %s",
			   strerror(number));

	return venv__hint(r, err,
			  "load the modules: 'sudo modprobe -a nf_tables nft_masq nft_ct nf_nat'");
}

/* Ask for what is closed, set everything up, hand it over. */
static int prepare(struct netns *netns, bool adopt, venv_error **err)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", "closed");
	_cleanup_json_ json_t *answer = NULL, *ready = json_pack("{s:b}", "ready", 1);
	_cleanup_ranges_ struct ranges closed = { 0 };
	_cleanup_close_ int tap = venv__tap_open(UPLINK_DEVICE, 0), userns = -1;
	int r;

	if (tap < 0)
		return no_tap(-tap, err);
	r = become_root(err);
	if (r < 0)
		return r;
	userns = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	netns->own_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (userns < 0 || netns->own_fd < 0)
		return venv__fail_errno(err, errno, "cannot open the project's namespaces");
	r = set_switches(err);
	if (r == 0)
		r = set_up_links(err);
	if (r == 0)
		r = venv__msg_call(netns->control, request, NULL, 0, -1, &answer, NULL, err);
	if (r < 0)
		return r;
	if (!venv__ranges_from_json(json_object_get(answer, "closed"), &closed))
		return venv__fail(err, VENV_ERR_INVALID, "bad list of addresses");
	if (adopt)
		venv__nft_clear();
	r = venv__nft_base(&closed);
	if (r < 0)
		return no_filter(-r, err);
	r = venv__netns_confine(err);
	if (r < 0)
		return r;
	return venv__msg_send(netns->control, ready, (int[]){ userns, netns->own_fd, tap }, 3, err);
}

int venv__netns_setup(struct netns *netns, bool adopt, venv_error **err)
{
	int r = adopt ? enter(err) : make(netns, err);

	return r < 0 ? r : prepare(netns, adopt, err);
}
