/* SPDX-License-Identifier: Apache-2.0 */
/* Shared folders and volumes: each a virtio-fs device. The guest is told by the seed, or over ssh, which
 * tag belongs where. */
#include <string.h>

#include "kvm.h"

enum { FIRST_PERSON = 1000, OWN_MS = 20000 };

struct ids {
	int64_t uid, gid;
};

/*
 * The guest's name of whoever runs venv here. Who logs in is known by name only until the machine was
 * reached once (core keeps what it said then); nearly every image's first person is 1000.
 */
static struct ids guest_ids(const struct machine *machine, const struct machine_folder *folder)
{
	const char *owner = folder->owner ? folder->owner : machine->login;
	unsigned long number;
	char *end;

	if (folder->volume || !owner || strcmp(owner, "root") == 0)
		return (struct ids){ 0, 0 };
	number = strtoul(owner, &end, 10);
	if (*owner >= '0' && *owner <= '9' && !*end && number < UINT32_MAX)
		return (struct ids){ (int64_t)number, (int64_t)number };
	if (machine->login_known && (!folder->owner || !strcmp(folder->owner, machine->login)))
		return (struct ids){ machine->login_uid, machine->login_gid };
	return (struct ids){ FIRST_PERSON, FIRST_PERSON };
}

/* venv-vmm hides ".machines" at the top of a folder. */
static bool hides_deeper(const struct machine_folder *folder)
{
	return folder->hide && strcmp(folder->hide, ".machines") != 0;
}

static int add_folder(const struct machine *machine, size_t i, struct kvm_order *order,
		      venv_error **err)
{
	const struct machine_folder *folder = &machine->folders[i];
	struct ids ids = guest_ids(machine, folder);
	int number;

	if (hides_deeper(folder))
		return venv__hint(venv__fail(err, VENV_ERR_UNSUPPORTED,
					     "a virtual machine cannot share '%s', which holds the "
					     "project's directory",
					     folder->host),
				  err, "share the project's directory, or others beside it");
	number = kvm_order_copy(order, folder->host_fd, err);
	if (number < 0)
		return number;
	return kvm_order_device(order,
				json_pack("{s:s, s:i, s:o, s:i, s:b, s:I, s:I}", "kind", "fs",
					  "slot", (int)(KVM_SLOT_FOLDER + i), "tag",
					  json_sprintf(FOLDER_TAG "%zu", i), "directory", number,
					  "read_only", folder->read_only, "uid",
					  (json_int_t)ids.uid, "gid", (json_int_t)ids.gid),
				err);
}

int kvm_folder_order(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	int r = 0;

	if (machine->n_folders > KVM_FOLDERS_MAX)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "a virtual machine shares at most %d folders and volumes",
				  KVM_FOLDERS_MAX);
	for (size_t i = 0; r == 0 && i < machine->n_folders; i++)
		r = add_folder(machine, i, order, err);
	return r;
}

int kvm_folder_own(struct machine *machine, venv_error **err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < machine->n_folders; i++) {
		struct ids ids = guest_ids(machine, &machine->folders[i]);

		r = venv__alive_call(machine,
				     json_pack("{s:s, s:i, s:I, s:I}", "op", "own", "slot",
					       (int)(KVM_SLOT_FOLDER + i), "uid",
					       (json_int_t)ids.uid, "gid", (json_int_t)ids.gid),
				     NULL, 0, OWN_MS, NULL, NULL, err);
	}
	return r;
}
