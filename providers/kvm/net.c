/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's networks: for each a TAP, which netd makes (net/net.h has what it is asked). The connection
 * that they hang on, and the project's namespaces, which a new netd may want, are kept by venv-vmm.
 */
#include <fcntl.h>
#include <string.h>

#include "kvm.h"
#include "util/msg.h"

enum { NETD_MS = 30000, NETS_MAX = KVM_SLOT_FOLDER - KVM_SLOT_NET };

static int ask_tap(const struct net_attachment *net, const struct net_interface *interface,
		   bool held, int *ret, venv_error **err)
{
	_cleanup_json_ json_t *request = json_pack("{s:s, s:s, s:b}", "op", "tap", "interface",
						   interface->name, "held", held);
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	int r;

	if (!request)
		return venv__fail_nomem(err);
	r = venv__msg_call(net->socket, request, NULL, 0, NETD_MS, NULL, &fds, err);
	if (r < 0)
		return venv__wrap(r, err, "network '%s'", interface->network);
	if (held)
		return 0;
	*ret = venv__msg_fds_take(&fds, 0);
	return *ret < 0 ? venv__fail(err, VENV_ERR_NETWORK, "venv-netd gave no TAP") : 0;
}

int kvm_net_vhost(void)
{
	int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Speed, for who may use the device (group kvm, mostly). The filter at the TAP's port is what keeps a guest from
 * sending as somebody else, with it and without. */
static int add_vhost(struct venv *ctx, struct kvm_order *order, json_t *device, venv_error **err)
{
	int fd = kvm_net_vhost(), number;

	if (fd < 0) {
		venv__debug(ctx, "no vhost-net: /dev/vhost-net: %s", strerror(-fd));
		return 0;
	}
	number = kvm_order_fd(order, fd, err);
	if (number < 0)
		return number;
	return json_object_set_new(device, "vhost", json_integer(number)) < 0
		       ? venv__fail_nomem(err)
		       : 0;
}

static json_t *describe(size_t i, const struct net_interface *interface, int tap)
{
	return json_pack("{s:s, s:i, s:i, s:s, s:i, s:s*}", "kind", "net", "slot",
			 (int)(KVM_SLOT_NET + i), "tap", tap, "mac", interface->mac, "mtu",
			 (int)interface->mtu, "address", interface->address);
}

static int add_interface(const struct machine *machine, size_t i, struct kvm_order *order,
			 venv_error **err)
{
	const struct net_interface *interface = &machine->net->interfaces[i];
	_cleanup_json_ json_t *device = NULL;
	int tap = -1, r = ask_tap(machine->net, interface, false, &tap, err);

	if (r < 0)
		return r;
	tap = kvm_order_fd(order, tap, err); /* its number there */
	if (tap < 0)
		return tap;
	device = describe(i, interface, tap);
	r = device ? add_vhost(machine->ctx, order, device, err) : venv__fail_nomem(err);
	return r < 0 ? r : kvm_order_device(order, json_incref(device), err);
}

/* {"socket":FD,"userns":FD,"netns":FD} */
static int keep(const struct net_attachment *net, struct kvm_order *order, venv_error **err)
{
	static const char *const keys[] = { "socket", "userns", "netns" };
	const int fds[] = { net->socket, net->userns_fd, net->netns_fd };
	json_t *kept = json_object();

	if (!kept || json_object_set_new(order->json, "network", kept) < 0)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		int number = kvm_order_copy(order, fds[i], err);

		if (number < 0)
			return number;
		if (json_object_set_new(kept, keys[i], json_integer(number)) < 0)
			return venv__fail_nomem(err);
	}
	return 0;
}

int kvm_net_order(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	const struct net_attachment *net = machine->net;
	int r = 0;

	if (!net || net->socket < 0)
		return 0;
	if (net->n_interfaces > NETS_MAX)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "a virtual machine is in at most %d networks", NETS_MAX);
	for (size_t i = 0; r == 0 && i < net->n_interfaces; i++)
		r = add_interface(machine, i, order, err);
	return r < 0 ? r : keep(net, order, err);
}

int kvm_net_again(const struct machine *machine, venv_error **err)
{
	const struct net_attachment *net = machine->net;
	int r = 0;

	if (!net || net->socket < 0)
		return venv__fail(err, VENV_ERR_INVALID, "no connection to netd");
	for (size_t i = 0; r == 0 && i < net->n_interfaces; i++)
		r = ask_tap(net, &net->interfaces[i], true, NULL, err);
	return r;
}
