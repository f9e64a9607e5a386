/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtual machine is told at its first start: cloud-init's NoCloud data source, a small disk with
 * the label CIDATA. Who logs in with which key, the machine's host key, name, network, shared folders.
 */
#ifndef VENV_SEED_H
#define VENV_SEED_H

#include <stdbool.h>
#include <stddef.h>

#include "util/buf.h"
#include "util/error.h"

struct seed_interface {
	const char *name; /* in the guest: "eth0" */
	const char *mac;
	const char *address; /* NULL: by DHCP */
	unsigned prefix;
	const char *gateway; /* or NULL */
	unsigned mtu;        /* 0: the usual */
};

struct seed_mount {
	const char *tag; /* of virtio-fs */
	const char *path;
	bool read_only;
};

struct seed {                 /* borrowed */
	const char *instance; /* another one makes cloud-init begin from the first start again */
	const char *hostname;
	const char *user;     /* who logs in; made if missing, may become root without a password */
	char *const *keys;    /* public ones that let in, one line each */
	const char *host_key; /* ed25519, OpenSSH's private form; NULL: the guest makes its own */
	const char *host_public; /* one line */
	const struct seed_interface *interfaces;
	size_t n_interfaces;
	const char *dns;    /* or NULL */
	const char *domain; /* where names without dots are looked for, or NULL */
	const struct seed_mount *mounts;
	size_t n_mounts;
};

/* The disk. VENV_ERR_INVALID for text that is not UTF-8. */
int venv__seed_image(const struct seed *seed, unsigned char **ret, size_t *ret_size,
		     venv_error **err);

/* Its files, for the above and for tests: text that needs no more care, whatever the strings hold. */
void venv__seed_meta_data(const struct seed *seed, struct buf *ret);
void venv__seed_user_data(const struct seed *seed, struct buf *ret);
void venv__seed_network(const struct seed *seed, struct buf *ret);

#endif
