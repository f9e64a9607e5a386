/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine's end of a network: a TAP in the project's namespace, a port of the bridge, whose
 * descriptor goes to the monitor. Who holds it needs no right over the namespace, sends and receives only
 * as what the filter lets pass (nft.h), and may leave checksums and segmentation to others.
 *   The device lives as long as the descriptor, or until it is unplugged. A new netd does not get at the
 * descriptor of a device that an old one made: it is "held", and only connected again.
 */
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "../common/uplink.h"
#include "netns.h"

enum {
	HEADER_SIZE = 12
}; /* struct virtio_net_hdr_mrg_rxbuf: what virtio 1.x has in front of frames */

static int make_device(struct rtnl *rtnl, const char *name)
{
	_cleanup_close_ int fd = -1;
	int size = HEADER_SIZE, old = venv__rtnl_index(name), r;

	if (old >
	    0) { /* of a monitor that is about to end, or from before it was a virtual machine */
		venv__rtnl_delete(rtnl, old);
		r = venv__rtnl_commit(rtnl);
		if (r < 0 && r != -ENODEV)
			return r;
	}
	fd = venv__tap_open(name, IFF_VNET_HDR);
	if (fd < 0)
		return fd;
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)) < 0)
		return -errno;
	return take_fd(&fd);
}

static int no_device(int number, venv_error **err)
{
	int r = venv__fail_errno(err, number, "cannot make a TAP device");

	if (number != EACCES && number != ENOENT)
		return r;
	return venv__hint(r, err,
			  "load the module and let everybody use the device: 'sudo modprobe tun; "
			  "sudo chmod 666 /dev/net/tun'");
}

int venv__netns_tap(struct netns *netns, const json_t *request, struct msg_fds *ret_fds,
		    venv_error **err)
{
	bool held = venv__json_bool(request, "held", false);
	_cleanup_close_ int fd = -1;
	struct plug plug;
	struct rtnl rtnl;
	int r;

	(void)netns;
	if (!venv__plug_read(request, &plug))
		return venv__fail(err, VENV_ERR_INVALID, "bad interface");
	r = venv__rtnl_open(&rtnl);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot set up a TAP device");
	fd = held ? -1 : make_device(&rtnl, plug.device);
	if (held || fd >= 0)
		r = venv__plug_connect(&rtnl, &plug,
				       venv__json_bool(request, "host_access", false));
	venv__rtnl_done(&rtnl);
	if (!held && fd < 0)
		return no_device(-fd, err);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot set up a TAP device");
	if (!held)
		ret_fds->fd[ret_fds->count++] = take_fd(&fd);
	return 0;
}
