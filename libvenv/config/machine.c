/* SPDX-License-Identifier: Apache-2.0 */
/* What one machine's keys must fulfil together. */
#include "forms.h"

#include <string.h>

/* A box that is a path is relative to the file, not to where the command runs. */
static int resolve_box(const struct reader *reader, const struct node *node,
		       struct machine_spec *machine, venv_error **err)
{
	const char *box = machine->box;
	const struct node *value = venv__node_get(node, "box");
	char *path;
	int r;

	if (!*box || strpbrk(box, " \t\r\n"))
		return venv__hint(
			venv__bad(err, value, "'%s' is not a box", box), err,
			"write a name, as in debian/12, a path or docker://HOST/NAME:TAG");
	if (*box != '/' && *box != '~' && strncmp(box, "./", 2) != 0 && strncmp(box, "../", 3) != 0)
		return 0;
	r = venv__host_path(reader, value, box, &path, err);
	if (r < 0)
		return r;
	free(machine->box);
	machine->box = path;
	return 0;
}

struct guest_path {
	const char *path;
	const struct place *place;
};

/* Folders and volumes share one tree. */
static struct guest_path guest_path(const struct machine_spec *machine, size_t i)
{
	const struct volume_spec *volume;

	if (i < machine->n_folders)
		return (struct guest_path){ machine->folders[i].guest, &machine->folders[i].place };
	volume = &machine->volumes[i - machine->n_folders];
	return (struct guest_path){ volume->guest, &volume->place };
}

static int fail_guest_path(const struct guest_path *one, const struct guest_path *other,
			   venv_error **err)
{
	int r = venv__fail_spec(err, VENV_ERR_CONFIG, one->place, "%s in the machine is used twice",
				one->path);

	if (!other->place->line)
		return venv__hint(r, err, "take another path: it is where the usual folder is");
	return venv__hint(r, err, "it is used in line %u as well: remove one of the two",
			  other->place->line);
}

static int check_guest_paths(const struct machine_spec *machine, venv_error **err)
{
	for (size_t i = 0; i < machine->n_folders + machine->n_volumes; i++)
		for (size_t j = 0; j < i; j++) {
			struct guest_path one = guest_path(machine, i),
					  other = guest_path(machine, j);

			if (strcmp(one.path, other.path) == 0)
				return fail_guest_path(&one, &other, err);
		}
	return 0;
}

/* 'project' is always there, and first; nothing is there twice. */
static int complete_networks(struct machine_spec *machine, venv_error **err)
{
	struct net_use *networks;
	size_t n = machine->n_networks;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(machine->networks[i].name, machine->networks[j].name) == 0)
				return venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG,
								  &machine->networks[i].place,
								  "network '%s' is named twice",
								  machine->networks[i].name),
						  err, "remove one of the two");
	for (size_t i = 0; i < n; i++)
		if (strcmp(machine->networks[i].name, "project") == 0)
			return 0;
	if (!n)
		return 0;
	networks = calloc(n + 1, sizeof(*networks));
	if (!networks)
		return venv__fail_nomem(err);
	networks[0].name = strdup("project");
	if (!networks[0].name) {
		free(networks);
		return venv__fail_nomem(err);
	}
	networks[0].place = machine->networks[0].place;
	memcpy(networks + 1, machine->networks, n * sizeof(*networks));
	free(machine->networks);
	machine->networks = networks;
	machine->n_networks = n + 1;
	return 0;
}

static int check_ports(const struct machine_spec *machine, venv_error **err)
{
	if (machine->n_ports && !machine->n_networks)
		return venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG, &machine->ports[0].place,
						  "a machine without a network cannot have ports"),
				  err, "remove 'networks: []' or the ports");
	for (size_t i = 0; i < machine->n_ports; i++)
		for (size_t j = 0; j < i && machine->ports[i].name; j++)
			if (machine->ports[j].name &&
			    strcmp(machine->ports[i].name, machine->ports[j].name) == 0)
				return venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG,
								  &machine->ports[i].place,
								  "two ports are called '%s'",
								  machine->ports[i].name),
						  err, "give one of them another name");
	return 0;
}

static int check_limits(const struct node *node, const struct machine_spec *machine,
			venv_error **err)
{
	if (!machine->memory || machine->memory_low <= machine->memory)
		return 0;
	return venv__hint(venv__bad(err, venv__node_get(node, "memory_low"),
				    "'memory_low' is more than 'memory'"),
			  err, "protect at most what the machine may use");
}

int venv__machine_finish(struct reader *reader, const struct node *node, void *base,
			 venv_error **err)
{
	struct machine_spec *machine = base;
	int r = machine->box ? resolve_box(reader, node, machine, err) : 0;

	if (!machine->hostname && machine->name) {
		machine->hostname = strdup(machine->name);
		if (!machine->hostname)
			return venv__fail_nomem(err);
	}
	if (r == 0)
		r = check_limits(node, machine, err);
	if (r == 0)
		r = complete_networks(machine, err);
	if (r == 0)
		r = check_ports(machine, err);
	return r < 0 ? r : check_guest_paths(machine, err);
}

static bool is_given(const char *path)
{
	return path && strcmp(path, "auto") != 0;
}

/* A kernel is booted directly, or a disk's boot loader by firmware. */
int venv__kvm_finish(struct reader *reader, const struct node *node, void *base, venv_error **err)
{
	const struct kvm_spec *kvm = base;

	(void)reader;
	if (is_given(kvm->kernel) && is_given(kvm->firmware))
		return venv__hint(venv__bad(err, node, "a kernel of its own needs no firmware"),
				  err, "remove 'kernel' or 'firmware'");
	if (is_given(kvm->kernel) || (!kvm->initrd && (!kvm->cmdline || !*kvm->cmdline)))
		return 0;
	return venv__hint(venv__bad(err, node, "'%s' is for a kernel that is booted directly",
				    kvm->initrd ? "initrd" : "cmdline"),
			  err, "name the kernel as well: 'kernel: ./vmlinuz'");
}
