/* SPDX-License-Identifier: Apache-2.0 */
/* What a virtual machine is told at its start, as a disk of its own for cloud-init. Images without
 * cloud-init are told the same over ssh (first_contact.c). */
#include "first_start.h"
#include "seed/seed.h"

#include <string.h>

enum { KEY_MAX = 65536 };

struct texts { /* owned */
	char *host_key, *host_public, *domain;
	char **keys;
	struct seed_interface *interfaces;
	struct seed_mount *mounts;
	char (*tags)[32];
};

static void texts_done(struct texts *texts)
{
	free(texts->host_key);
	free(texts->host_public);
	free(texts->domain);
	venv__strv_free(texts->keys);
	free(texts->interfaces);
	free(texts->mounts);
	free(texts->tags);
}

static void cut_line(char *text)
{
	text[strcspn(text, "\r\n")] = '\0';
}

static int read_keys(const struct machine *machine, struct texts *texts, venv_error **err)
{
	_cleanup_free_ char *all = NULL;
	char *rest, *line;
	int r = venv__file_read(machine->dir_fd, "keys/host", KEY_MAX, &texts->host_key, NULL, err);

	if (r == 0)
		r = venv__file_read(machine->dir_fd, "keys/host.pub", KEY_MAX, &texts->host_public,
				    NULL, err);
	if (r == 0)
		r = venv__file_read(machine->dir_fd, "keys/authorized", KEY_MAX * 4, &all, NULL,
				    err);
	if (r < 0)
		return r;
	cut_line(texts->host_public);
	rest = all;
	while ((line = strsep(&rest, "\n")))
		if (*line && *line != '#' && venv__strv_add(&texts->keys, line) < 0)
			return venv__fail_nomem(err);
	return 0;
}

static int fill_interfaces(const struct net_attachment *net, struct seed *seed, struct texts *texts,
			   venv_error **err)
{
	if (!net)
		return 0;
	texts->interfaces = calloc(net->n_interfaces + 1, sizeof(*texts->interfaces));
	if (!texts->interfaces)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < net->n_interfaces; i++) {
		const struct net_interface *from = &net->interfaces[i];

		texts->interfaces[i] = (struct seed_interface){ .name = from->name,
								.mac = from->mac,
								.address = from->address,
								.prefix = from->prefix,
								.gateway = from->gateway,
								.mtu = from->mtu };
	}
	seed->interfaces = texts->interfaces;
	seed->n_interfaces = net->n_interfaces;
	seed->dns = net->dns;
	return 0;
}

static int fill_mounts(const struct machine *machine, struct seed *seed, struct texts *texts,
		       venv_error **err)
{
	texts->mounts = calloc(machine->n_folders + 1, sizeof(*texts->mounts));
	texts->tags = calloc(machine->n_folders + 1, sizeof(*texts->tags));
	if (!texts->mounts || !texts->tags)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < machine->n_folders; i++) {
		(void)snprintf(texts->tags[i], sizeof(texts->tags[i]), FOLDER_TAG "%zu", i);
		texts->mounts[i] =
			(struct seed_mount){ .tag = texts->tags[i],
					     .path = machine->folders[i].guest,
					     .read_only = machine->folders[i].read_only };
	}
	seed->mounts = texts->mounts;
	seed->n_mounts = machine->n_folders;
	return 0;
}

static int fill(const struct machine *machine, struct seed *seed, struct texts *texts,
		venv_error **err)
{
	const char *hostname = machine->spec->hostname;
	int r = read_keys(machine, texts, err);

	if (r == 0)
		r = fill_interfaces(machine->net, seed, texts, err);
	if (r == 0)
		r = fill_mounts(machine, seed, texts, err);
	if (r < 0)
		return r;
	if (asprintf(&texts->domain, "%s.venv", machine->project) < 0) {
		texts->domain = NULL;
		return venv__fail_nomem(err);
	}
	seed->instance = machine->id;
	seed->hostname = hostname ? hostname : machine->name;
	seed->user = machine->login;
	seed->keys = texts->keys;
	seed->host_key = texts->host_key;
	seed->host_public = texts->host_public;
	seed->domain = texts->domain;
	return 0;
}

int venv__seed_write(const struct machine *machine, venv_error **err)
{
	_cleanup_free_ unsigned char *image = NULL;
	struct texts texts = { .host_key = NULL };
	struct seed seed = { .instance = NULL };
	size_t size = 0;
	int r = fill(machine, &seed, &texts, err);

	if (r == 0)
		r = venv__seed_image(&seed, &image, &size, err);
	texts_done(&texts);
	return r < 0 ? r
		     : venv__file_write(machine->dir_fd, SEED_FILE, image, size, 0600,
					WRITE_VOLATILE, err);
}
