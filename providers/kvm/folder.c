/* SPDX-License-Identifier: Apache-2.0 */
/* Shared folders and volumes: each a virtio-fs device. The guest is told by the seed, or over ssh, which
 * tag belongs where. */
#include <fcntl.h>
#include <string.h>

#include "alive.h"
#include "first_start.h"
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

	if (!owner || strcmp(owner, "root") == 0)
		return (struct ids){ 0, 0 };
	number = strtoul(owner, &end, 10);
	if (*owner >= '0' && *owner <= '9' && !*end && number < UINT32_MAX)
		return (struct ids){ (int64_t)number, (int64_t)number };
	if (machine->login_known && (!folder->owner || !strcmp(folder->owner, machine->login)))
		return (struct ids){ machine->login_uid, machine->login_gid };
	return (struct ids){ FIRST_PERSON, FIRST_PERSON };
}

/* Where below the folder ".machines" is hidden, if not at its top. */
static int set_hidden(const struct machine_folder *folder, struct kvm_order *order, json_t *device,
		      venv_error **err)
{
	const char *slash = folder->hide ? strrchr(folder->hide, '/') : NULL;
	_cleanup_free_ char *directory = NULL;
	int fd, number;

	if (!slash)
		return 0;
	directory = strndup(folder->hide, (size_t)(slash - folder->hide));
	if (!directory)
		return venv__fail_nomem(err);
	fd = venv__open_beneath(folder->host_fd, directory, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot open '%s/%s'", folder->host, directory);
	number = kvm_order_fd(order, fd, err);
	if (number < 0)
		return number;
	return json_object_set_new(device, "hide_in", json_integer(number)) < 0
		       ? venv__fail_nomem(err)
		       : 0;
}

static int set_owner(json_t *device, const struct ids *ids)
{
	return json_object_update_new(device, json_pack("{s:I, s:I}", "uid", (json_int_t)ids->uid,
							"gid", (json_int_t)ids->gid));
}

static int add_folder(const struct machine *machine, size_t i, struct kvm_order *order,
		      venv_error **err)
{
	const struct machine_folder *folder = &machine->folders[i];
	int number = kvm_order_copy(order, folder->host_fd, err);
	struct ids ids = guest_ids(machine, folder);
	json_t *device;

	if (number < 0)
		return number;
	device = json_pack("{s:s, s:i, s:o, s:i, s:b}", "kind", folder->volume ? "volume" : "fs",
			   "slot", (int)(KVM_SLOT_FOLDER + i), "tag",
			   json_sprintf(FOLDER_TAG "%zu", i), "directory", number, "read_only",
			   folder->read_only);
	if (device && !folder->volume && set_owner(device, &ids) < 0)
		json_decref(take_ptr(device));
	number = kvm_order_device(order, device, err);
	return number < 0 ? number : set_hidden(folder, order, device, err);
}

static bool has_volume(const struct machine *machine)
{
	for (size_t i = 0; i < machine->n_folders; i++)
		if (machine->folders[i].volume)
			return true;
	return false;
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
	if (r == 0 && has_volume(machine) &&
	    json_object_set_new(order->json, "ids", venv__idmap_to_json(machine->map)) < 0)
		r = venv__fail_nomem(err);
	return r;
}

int kvm_folder_own(struct machine *machine, venv_error **err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < machine->n_folders; i++) {
		struct ids ids = guest_ids(machine, &machine->folders[i]);

		if (machine->folders[i].volume)
			continue;
		r = venv__alive_call(machine,
				     json_pack("{s:s, s:i, s:I, s:I}", "op", "own", "slot",
					       (int)(KVM_SLOT_FOLDER + i), "uid",
					       (json_int_t)ids.uid, "gid", (json_int_t)ids.gid),
				     NULL, 0, OWN_MS, NULL, NULL, err);
	}
	return r;
}
