/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of the seed, in YAML. Every string that is not ours stands in double quotes with everything
 * but printable ASCII escaped: what a name or a path holds can be nothing but a string. They must be
 * UTF-8, which the caller has looked at.
 */
#include <string.h>

#include "seed.h"

/* The character that begins at *text, which is valid UTF-8. */
static unsigned next_character(const unsigned char **text)
{
	const unsigned char *c = *text;
	unsigned more = *c < 0x80 ? 0 : *c < 0xe0 ? 1 : *c < 0xf0 ? 2 : 3;
	unsigned value = more ? *c & (0x3fU >> more) : *c;

	for (c++; more > 0 && *c; more--, c++)
		value = value << 6 | (*c & 0x3f);
	*text = c;
	return value;
}

static void put_escaped(struct buf *out, const char *text)
{
	const unsigned char *c = (const unsigned char *)text;

	while (*c) {
		unsigned value = next_character(&c);

		if (value == '"' || value == '\\')
			venv__buf_printf(out, "\\%c", (int)value);
		else if (value >= ' ' && value <= '~')
			venv__buf_printf(out, "%c", (int)value);
		else if (value == '\n')
			venv__buf_puts(out, "\\n");
		else
			venv__buf_printf(out, value > 0xffff ? "\\U%08x" : "\\u%04x", value);
	}
}

static void put_quoted(struct buf *out, const char *text)
{
	venv__buf_puts(out, "\"");
	put_escaped(out, text);
	venv__buf_puts(out, "\"");
}

/* "  key: "value"\n" */
static void put(struct buf *out, const char *key, const char *value)
{
	venv__buf_puts(out, key);
	venv__buf_puts(out, ": ");
	put_quoted(out, value);
	venv__buf_puts(out, "\n");
}

void venv__seed_meta_data(const struct seed *seed, struct buf *ret)
{
	put(ret, "instance-id", seed->instance);
	put(ret, "local-hostname", seed->hostname);
}

/* ---- user-data ----------------------------------------------------------------------------- */

/*
 * "user" changes the name of the distribution's own default user and keeps its shell and groups; the
 * keys below it are the default user's and, where that is let in, root's.
 */
static void put_user(const struct seed *seed, struct buf *out)
{
	if (strcmp(seed->user, "root") == 0) {
		venv__buf_puts(out, "disable_root: false\n");
	} else {
		venv__buf_puts(out, "user:\n");
		put(out, "  name", seed->user);
		venv__buf_puts(out, "  lock_passwd: true\n"
				    "  sudo: [\"ALL=(ALL) NOPASSWD:ALL\"]\n");
	}
	venv__buf_puts(out, "users: [default]\nssh_authorized_keys:\n");
	for (char *const *key = seed->keys; key && *key; key++) {
		venv__buf_puts(out, "  - ");
		put_quoted(out, *key);
		venv__buf_puts(out, "\n");
	}
	if (!seed->keys || !*seed->keys)
		venv__buf_puts(out, "  []\n");
}

/* With a key given, cloud-init removes those of the image and makes no others. */
static void put_host_key(const struct seed *seed, struct buf *out)
{
	if (!seed->host_key)
		return;
	venv__buf_puts(out, "ssh_deletekeys: true\nssh_keys:\n");
	put(out, "  ed25519_private", seed->host_key);
	put(out, "  ed25519_public", seed->host_public);
}

/*
 * By commands of every boot and not by "mounts", which remembers those of the first one and cannot write a
 * path with a space. Words in a list get no second look by a shell.
 */
static void put_mounts(const struct seed *seed, struct buf *out)
{
	if (seed->n_mounts)
		venv__buf_puts(out, "bootcmd:\n");
	for (size_t i = 0; i < seed->n_mounts; i++) {
		const struct seed_mount *mount = &seed->mounts[i];

		venv__buf_puts(out,
			       "  - [sh, -c, 'mkdir -p \"$1\"; mountpoint -q \"$1\" || mount -t "
			       "virtiofs -o \"$2\" \"$3\" \"$1\"', sh, ");
		put_quoted(out, mount->path);
		venv__buf_printf(out, ", %s, ", mount->read_only ? "ro" : "rw");
		put_quoted(out, mount->tag);
		venv__buf_puts(out, "]\n");
	}
}

void venv__seed_user_data(const struct seed *seed, struct buf *ret)
{
	venv__buf_puts(ret, "#cloud-config\n");
	put(ret, "hostname", seed->hostname);
	venv__buf_puts(ret, "preserve_hostname: false\n"
			    "manage_etc_hosts: localhost\n");
	put_user(seed, ret);
	put_host_key(seed, ret);
	put_mounts(seed, ret);
	venv__buf_puts(ret, "growpart: {mode: auto, devices: [\"/\"]}\n"
			    "resize_rootfs: true\n"
			    "no_ssh_fingerprints: true\n"
			    "ssh: {emit_keys_to_console: false}\n");
}

/* ---- network-config ------------------------------------------------------------------------ */

static void put_address(const struct seed *seed, const struct seed_interface *interface,
			struct buf *out)
{
	if (!interface->address) {
		venv__buf_puts(out, "    dhcp4: true\n");
		return;
	}
	venv__buf_puts(out, "    dhcp4: false\n    addresses: [\"");
	put_escaped(out, interface->address);
	venv__buf_printf(out, "/%u\"]\n", interface->prefix);
	if (interface->gateway) {
		venv__buf_puts(out, "    routes: [{to: \"0.0.0.0/0\", via: ");
		put_quoted(out, interface->gateway);
		venv__buf_puts(out, "}]\n");
	}
	if (seed->dns) {
		venv__buf_puts(out, "    nameservers: {addresses: [");
		put_quoted(out, seed->dns);
		venv__buf_puts(out, "], search: [");
		if (seed->domain)
			put_quoted(out, seed->domain);
		venv__buf_puts(out, "]}\n");
	}
}

void venv__seed_network(const struct seed *seed, struct buf *ret)
{
	venv__buf_puts(ret, "version: 2\n");
	venv__buf_puts(ret, seed->n_interfaces ? "ethernets:\n" : "ethernets: {}\n");
	for (size_t i = 0; i < seed->n_interfaces; i++) {
		const struct seed_interface *interface = &seed->interfaces[i];

		venv__buf_printf(ret, "  venv%zu:\n    match: {macaddress: ", i);
		put_quoted(ret, interface->mac);
		venv__buf_puts(ret, "}\n");
		put(ret, "    set-name", interface->name);
		if (interface->mtu)
			venv__buf_printf(ret, "    mtu: %u\n", interface->mtu);
		put_address(seed, interface, ret);
	}
}
